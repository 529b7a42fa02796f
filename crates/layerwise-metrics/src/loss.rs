//! Population losses of linear predictors above their floors.

use layerwise_linalg::{gemm, orthonormal_rows};
use ndarray::{Array2, ArrayView2};

use crate::{MetricsError, Result};

/// Excess loss `½ tr((W − W⋆) Σ (W − W⋆)ᵀ)` of the linear predictor `x ↦ W x`: its population
/// loss above the floor that the noise sets.
///
/// `predictor` (`F G`) and `target` (`F⋆ G⋆`) are `d_Y × d_X`; `covariance_factor` is a square
/// factor `L` with `L Lᵀ = Σ`, so that the value is `½‖(W − W⋆) L‖_F²`, never negative. With
/// `W = 0` it is the zero predictor's loss.
///
/// # Errors
/// [`MetricsError::Shape`] where the matrices do not fit.
pub fn excess_loss(
    predictor: ArrayView2<f64>,
    target: ArrayView2<f64>,
    covariance_factor: ArrayView2<f64>,
) -> Result<f64> {
    let (outputs, inputs) = target.dim();
    check("predictor", (outputs, inputs), predictor.dim())?;
    check("covariance factor", (inputs, inputs), covariance_factor.dim())?;
    let difference = &predictor - &target;
    let mut whitened = Array2::zeros((outputs, inputs));
    gemm(1.0, difference.view(), covariance_factor, 0.0, &mut whitened.view_mut())?;
    Ok(0.5 * whitened.iter().map(|x| x * x).sum::<f64>())
}

/// Excess transfer loss of the representation `G` with the best linear head on the population:
/// `½ tr(F_t G⋆ Σ_{·G} G⋆ᵀ F_tᵀ)`, `Σ_{·G} = Σ_t − Σ_t Gᵀ (G Σ_t Gᵀ)⁻¹ G Σ_t`.
///
/// `g` is `k × d`, of full row rank; `head` (`F_t`) is `d_Y × k⋆`; `reference` (`G⋆`) is
/// `k⋆ × d`; `covariance_factor` is a square factor `L` of `Σ_t = L Lᵀ`. It depends on the row
/// space of `G` alone. Evaluated as `½‖F_t (G⋆L − proj)‖_F²`, with the projection of the rows of
/// `G⋆ L` on those of `G L` removed, so that nothing cancels near `G⋆`.
///
/// # Errors
/// [`MetricsError::Shape`] where the matrices do not fit; [`MetricsError::Linalg`] where `G L` is
/// rank-deficient or not finite.
pub fn excess_transfer_loss(
    g: ArrayView2<f64>,
    head: ArrayView2<f64>,
    reference: ArrayView2<f64>,
    covariance_factor: ArrayView2<f64>,
) -> Result<f64> {
    let d = reference.ncols();
    check("representation", (g.nrows(), d), g.dim())?;
    check("head", (head.nrows(), reference.nrows()), head.dim())?;
    check("covariance factor", (d, d), covariance_factor.dim())?;
    let mut learned = Array2::zeros(g.dim());
    gemm(1.0, g, covariance_factor, 0.0, &mut learned.view_mut())?;
    let learned = orthonormal_rows(learned.view())?;
    let mut rest = Array2::zeros(reference.dim());
    gemm(1.0, reference, covariance_factor, 0.0, &mut rest.view_mut())?;
    let mut overlap = Array2::zeros((reference.nrows(), g.nrows()));
    gemm(1.0, rest.view(), learned.t(), 0.0, &mut overlap.view_mut())?;
    gemm(-1.0, overlap.view(), learned.view(), 1.0, &mut rest.view_mut())?;
    let mut error = Array2::zeros((head.nrows(), d));
    gemm(1.0, head, rest.view(), 0.0, &mut error.view_mut())?;
    Ok(0.5 * error.iter().map(|x| x * x).sum::<f64>())
}

fn check(what: &'static str, expected: (usize, usize), found: (usize, usize)) -> Result<()> {
    if expected == found { Ok(()) } else { Err(MetricsError::Shape { what, expected, found }) }
}
