//! Distances between row spaces.

use layerwise_linalg::{gemm, orthonormal_rows, singular_values};
use ndarray::{Array1, Array2, ArrayView2};

use crate::{MetricsError, Result};

/// Subspace distance `dist(G, G⋆) = ‖orth(G) (I − P⋆)‖_op`, the sine of the largest principal
/// angle between the row spaces of `G` and `G⋆` (Definition 3.2 of arXiv 2502.01763).
///
/// `g` is `k × d`, `reference` is `k⋆ × d` with `k ≤ k⋆ ≤ d`, both of full row rank; neither needs
/// orthonormal rows. The value lies in `[0, 1]`, does not change under `G → A G` with invertible
/// `A`, and is symmetric where `k = k⋆`. Small distances are found to an absolute error of a few
/// machine epsilons: the residual is formed before its norm, not as `√(1 − cos²)`.
///
/// # Errors
/// [`MetricsError::Shape`] where the columns differ in number or `k > k⋆`;
/// [`MetricsError::Linalg`] for rank-deficient or non-finite matrices.
pub fn subspace_distance(g: ArrayView2<f64>, reference: ArrayView2<f64>) -> Result<f64> {
    let (rows, reference_rows) = orthonormal_pair(g, reference)?;
    let mut overlap = Array2::zeros((rows.nrows(), reference_rows.nrows()));
    gemm(1.0, rows.view(), reference_rows.t(), 0.0, &mut overlap.view_mut())?;
    let mut residual = rows;
    gemm(-1.0, overlap.view(), reference_rows.view(), 1.0, &mut residual.view_mut())?;
    // ‖R‖_op from the k × k Gram matrix: its largest eigenvalue keeps full relative accuracy.
    let mut gram = Array2::zeros((residual.nrows(), residual.nrows()));
    layerwise_linalg::gram(1.0, residual.view(), 0.0, &mut gram.view_mut())?;
    let eigen = layerwise_linalg::SymmetricEigen::new(gram.view())?;
    let largest = eigen.values().iter().copied().fold(0.0, f64::max);
    Ok(largest.sqrt().min(1.0))
}

/// Principal angles between the row spaces of `a` (`k × d`) and `b` (`l × d`), in radians,
/// ascending, `min(k, l)` of them.
///
/// Found from the cosines, hence with an absolute error of `√ε` near zero; for the largest angle
/// alone, `asin` of [`subspace_distance`] is accurate there.
///
/// # Errors
/// As [`subspace_distance`], except that `k > l` is allowed.
pub fn principal_angles(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<Array1<f64>> {
    let (small, large) = if a.nrows() <= b.nrows() { (a, b) } else { (b, a) };
    let (small, large) = orthonormal_pair(small, large)?;
    let mut overlap = Array2::zeros((small.nrows(), large.nrows()));
    gemm(1.0, small.view(), large.t(), 0.0, &mut overlap.view_mut())?;
    Ok(singular_values(overlap.view())?.mapv(|cosine| cosine.clamp(0.0, 1.0).acos()))
}

fn orthonormal_pair(
    g: ArrayView2<f64>,
    reference: ArrayView2<f64>,
) -> Result<(Array2<f64>, Array2<f64>)> {
    if g.ncols() != reference.ncols() || g.nrows() > reference.nrows() {
        return Err(MetricsError::Shape {
            what: "representation",
            expected: reference.dim(),
            found: g.dim(),
        });
    }
    Ok((orthonormal_rows(g)?, orthonormal_rows(reference)?))
}
