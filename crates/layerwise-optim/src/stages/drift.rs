//! How far a factor has turned away from the eigenbasis that is held of it.

use layerwise_linalg::{Scalar, gemm};
use ndarray::{Array2, ArrayView2};

use crate::error::Result;
use crate::numeric::finite::{bytes, frobenius_norm};

/// Workspace of the criterion on one side.
#[derive(Debug)]
pub(crate) struct DriftProbe<A> {
    product: Array2<A>,
    rotated: Array2<A>,
}

impl<A: Scalar> DriftProbe<A> {
    pub(crate) fn with_dimension(n: usize) -> Self {
        DriftProbe { product: Array2::zeros((n, n)), rotated: Array2::zeros((n, n)) }
    }

    /// The share of `VᵀSV` off its diagonal, in the Frobenius norm: 0 where the columns of `V` are
    /// eigenvectors of `S`, or `S` is zero; at most 1.
    pub(crate) fn measure(
        &mut self,
        basis: ArrayView2<'_, A>,
        moment: ArrayView2<'_, A>,
    ) -> Result<f64> {
        let (one, zero) = (A::one(), A::zero());
        gemm(one, moment, basis, zero, &mut self.product.view_mut())?;
        gemm(one, basis.t(), self.product.view(), zero, &mut self.rotated.view_mut())?;
        Ok(off_diagonal_share(&mut self.rotated))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.product.dim())
    }
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
            let found = DriftProbe::with_dimension(2).measure(basis.view(), s.view()).unwrap();
            assert!((found - (2.0 * angle).sin()).abs() < 8.0 * f64::EPSILON, "{angle}: {found}");
        }
        let nothing = Array2::<f64>::zeros((2, 2));
        let found = DriftProbe::with_dimension(2).measure(s.view(), nothing.view()).unwrap();
        assert_eq!(found, 0.0);
    }
}
