//! Fixed points and bounds for learned representations.

use layerwise_linalg::{
    Cholesky, SymmetricEigen, gemm, orthonormal_rows, singular_values, symmetrize,
};
use ndarray::{Array2, ArrayView2};

use crate::Result;
use crate::error::{check_shape, require};

/// Where KFAC's wrong part settles under label noise, at η_F = 1:
/// `E‖F⋆Δ‖_F² = σ_ε² k · tr(P⊥Σ⁻¹)/(n − d − 1) · η_G/(2 − η_G)` with `Δ = (GG⋆ᵀ)⁻¹ G P⊥`.
///
/// `representation` is `G⋆` (k × d, full row rank), `covariance` is Σ ≻ 0 of Gaussian inputs,
/// `samples` is n > d + 1 fresh samples a step, `noise` is σ_ε ≥ 0, `eta` is η_G ∈ (0, 2).
/// Leading order in the noise.
///
/// # Errors
/// Where a parameter is outside its range, shapes do not fit, or Σ is not positive definite.
pub fn kfac_noise_floor(
    representation: ArrayView2<f64>,
    covariance: ArrayView2<f64>,
    samples: usize,
    noise: f64,
    eta: f64,
) -> Result<f64> {
    let (k, d) = representation.dim();
    check_shape("covariance", (d, d), covariance.dim())?;
    require("number of samples", samples as f64, samples > d + 1, "above d + 1")?;
    require("noise level", noise, noise >= 0.0 && noise.is_finite(), "zero or positive, finite")?;
    require("learning rate", eta, eta > 0.0 && eta < 2.0, "in (0, 2)")?;
    let rows = orthonormal_rows(representation)?;
    let factor = Cholesky::new(covariance, 0.0)?;
    let mut inverse = Array2::eye(d);
    factor.solve_left(&mut inverse.view_mut())?;
    let mut inside = Array2::zeros((k, d));
    gemm(1.0, rows.view(), inverse.view(), 0.0, &mut inside.view_mut())?;
    let removed: f64 = inside.iter().zip(&rows).map(|(a, b)| a * b).sum();
    let outside = inverse.diag().sum() - removed;
    let per_step = noise * noise * k as f64 * outside / (samples - d - 1) as f64;
    Ok(per_step * eta / (2.0 - eta))
}

/// Excess transfer loss of a representation G with the population's best head:
/// `½ tr(F_t G⋆ S G⋆ᵀ F_tᵀ)`, with the Schur complement `S = Σ_t − Σ_tGᵀ(GΣ_tGᵀ)⁻¹GΣ_t` of what G x
/// leaves unexplained of x.
///
/// `g` and `reference` (G⋆) are k × d, `g` of full row rank; `head` is `F_t` (d_Y × k), `covariance`
/// is Σ_t ≻ 0. Evaluated as it stands, so that near G⋆ it is exact relative to the loss of the zero
/// head, not to itself.
///
/// # Errors
/// Where shapes do not fit, or `GΣ_tGᵀ` is not positive definite.
pub fn transfer_loss(
    g: ArrayView2<f64>,
    head: ArrayView2<f64>,
    reference: ArrayView2<f64>,
    covariance: ArrayView2<f64>,
) -> Result<f64> {
    let (k, d) = reference.dim();
    check_shape("representation", (k, d), g.dim())?;
    check_shape("head", (head.nrows(), k), head.dim())?;
    check_shape("covariance", (d, d), covariance.dim())?;
    let across = g.dot(&covariance);
    let mut features = across.dot(&g.t());
    symmetrize(&mut features.view_mut());
    let mut explained = across.clone();
    Cholesky::new(features.view(), 0.0)?.solve_left(&mut explained.view_mut())?;
    let unexplained = &covariance - &across.t().dot(&explained);
    let target = head.dot(&reference);
    Ok(0.5 * (target.dot(&unexplained) * &target).sum())
}

/// Lower and upper bound of the excess transfer loss with the population's best head:
/// `½ λ_min(Σ_t) σ_k²(F_t) ‖G⋆(I − P_G)‖_F²` and `½ λ_max(Σ_t) ‖F_t‖_F² dist(G, G⋆)²`.
///
/// `g` and `reference` are k × d of full row rank, `head` is `F_t` (d_Y × k), `covariance` is Σ_t.
/// `σ_k` is the k-th singular value, zero where d_Y < k.
///
/// # Errors
/// Where shapes do not fit, k = 0, or a representation is rank-deficient.
pub fn transfer_bounds(
    g: ArrayView2<f64>,
    head: ArrayView2<f64>,
    reference: ArrayView2<f64>,
    covariance: ArrayView2<f64>,
) -> Result<(f64, f64)> {
    let (k, d) = reference.dim();
    require("rank k", k as f64, k >= 1, "at least 1")?;
    check_shape("representation", (k, d), g.dim())?;
    check_shape("head", (head.nrows(), k), head.dim())?;
    check_shape("covariance", (d, d), covariance.dim())?;
    let learned = orthonormal_rows(g)?;
    let mut missed = orthonormal_rows(reference)?;
    let mut overlap = Array2::zeros((k, k));
    gemm(1.0, missed.view(), learned.t(), 0.0, &mut overlap.view_mut())?;
    gemm(-1.0, overlap.view(), learned.view(), 1.0, &mut missed.view_mut())?;
    // For equal ranks ‖G⋆(I − P_G)‖_op is the subspace distance itself.
    let distance = singular_values(missed.view())?[0];
    let missed_square: f64 = missed.iter().map(|x| x * x).sum();
    let eigen = SymmetricEigen::new(covariance)?;
    let (least, most) = (eigen.values()[0], eigen.values()[d - 1]);
    let singular = singular_values(head)?;
    let smallest = if head.nrows() < k { 0.0 } else { singular[k - 1] };
    let head_square: f64 = head.iter().map(|x| x * x).sum();
    Ok((
        0.5 * least * smallest * smallest * missed_square,
        0.5 * most * head_square * distance * distance,
    ))
}

/// The row space that batch-norm learns in place of `G⋆`: that of `G⋆ D⁻¹`, `D = diag(Σ)^{-1/2}`.
///
/// On inputs `x̃ = D x` the target is `F⋆ (G⋆ D⁻¹) x̃`, so the layer that acts on `x̃` tends to that
/// row space, while the effective layer `G D` on `x` tends to `G⋆`'s. Returns `G⋆ D⁻¹` (k × d),
/// its rows not orthonormal.
///
/// # Errors
/// Where shapes do not fit, or Σ's diagonal is not positive.
pub fn batch_norm_representation(
    representation: ArrayView2<f64>,
    covariance: ArrayView2<f64>,
) -> Result<Array2<f64>> {
    let d = representation.ncols();
    check_shape("covariance", (d, d), covariance.dim())?;
    let mut scaled = representation.to_owned();
    for (mut column, &variance) in scaled.columns_mut().into_iter().zip(covariance.diag()) {
        require("variance of an input", variance, variance > 0.0, "positive")?;
        column *= variance.sqrt();
    }
    Ok(scaled)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn transfer_loss_is_what_the_other_coordinate_leaves_unexplained() {
        // G sees x₁, the target is 3 x₂: what x₁ does not explain of x₂ has variance 2 − ½ · ½.
        let covariance = array![[1.0, 0.5], [0.5, 2.0]];
        let loss = |g: [f64; 2], head: f64| {
            let reference = array![[0.0, 1.0]];
            transfer_loss(
                array![g].view(),
                array![[head]].view(),
                reference.view(),
                covariance.view(),
            )
        };
        assert!((loss([1.0, 0.0], 3.0).unwrap() - 0.5 * 9.0 * 1.75).abs() < 1e-14);
        // Any basis of the target's own row space leaves nothing.
        assert!(loss([0.0, -4.0], 3.0).unwrap().abs() < 1e-14);
        assert!(matches!(
            loss([0.0, 0.0], 3.0),
            Err(crate::TheoryError::Linalg(
                layerwise_linalg::LinalgError::NotPositiveDefinite { .. }
            ))
        ));
    }

    #[test]
    fn both_bounds_are_the_loss_for_one_feature_and_isotropic_inputs() {
        let (g, reference) = (array![[0.8, 0.6]], array![[1.0, 0.0]]);
        let (head, covariance) = (array![[1.0], [-2.0]], array![[3.0, 0.0], [0.0, 3.0]]);
        let arguments = (g.view(), head.view(), reference.view(), covariance.view());
        let (lower, upper) =
            transfer_bounds(arguments.0, arguments.1, arguments.2, arguments.3).unwrap();
        let loss = transfer_loss(arguments.0, arguments.1, arguments.2, arguments.3).unwrap();
        // ½ · 3 · 5 · sin², sin = 0.6.
        for value in [lower, upper, loss] {
            assert!((value - 2.7).abs() < 1e-14, "{value}");
        }
    }
}
