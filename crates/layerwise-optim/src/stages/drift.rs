//! How far a factor has turned away from the eigenbasis that is held of it.

use layerwise_linalg::{Scalar, gemm};
use ndarray::{Array2, ArrayView2};

use crate::error::Result;
use crate::numeric::finite::frobenius_norm;
use crate::numeric::pool::{Needs, Pool};

/// The share of `VᵀSV` off its diagonal, in the Frobenius norm: 0 where the columns of `V` are
/// eigenvectors of `S`, or `S` is zero; at most 1.
pub(crate) fn drift<A: Scalar>(
    basis: ArrayView2<'_, A>,
    moment: ArrayView2<'_, A>,
    pool: &Pool<A>,
) -> Result<f64> {
    let (one, zero) = (A::one(), A::zero());
    let (mut product, mut rotated) = (pool.array(basis.dim()), pool.array(basis.dim()));
    gemm(one, moment, basis, zero, &mut product.view_mut())?;
    gemm(one, basis.t(), product.view(), zero, &mut rotated.view_mut())?;
    Ok(off_diagonal_share(&mut rotated))
}

/// What [`drift`] is lent, for an n × n factor.
pub(crate) fn needs(n: usize) -> Needs {
    Needs::arrays(2, (n, n))
}

/// The share of a matrix off its diagonal, in the Frobenius norm; 0 of zero. The diagonal is zero
/// afterwards.
pub(crate) fn off_diagonal_share<A: Scalar>(matrix: &mut Array2<A>) -> f64 {
    let all = frobenius_norm(&matrix.view());
    matrix.diag_mut().fill(A::zero());
    let off = frobenius_norm(&matrix.view());
    if all > 0.0 { off / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_rotation_by_an_angle_shows_as_its_sine() {
        // V turned by θ against the eigenvectors of diag(1, −1): VᵀSV = [[c, s], [s, −c]] of 2θ.
        let s = array![[1.0, 0.0], [0.0, -1.0]];
        for angle in [0.0_f64, 0.1, 0.5] {
            let basis = array![[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]];
            let found = drift(basis.view(), s.view(), &Pool::new()).unwrap();
            assert!((found - (2.0 * angle).sin()).abs() < 8.0 * f64::EPSILON, "{angle}: {found}");
        }
        let nothing = Array2::<f64>::zeros((2, 2));
        let found = drift(s.view(), nothing.view(), &Pool::new()).unwrap();
        assert_eq!(found, 0.0);
    }
}
