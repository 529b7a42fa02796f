//! How far rounding can bring the steps from their exact values, in measured norms and condition
//! numbers.

use layerwise_data::Moments;
use layerwise_models::{LinearPass, TwoLayerLinear};
use ndarray::ArrayView2;

use crate::Result;
use crate::theorems::problems::{extreme_eigenvalues, extreme_singular_values, norm};

/// A sum of `length` products is off by at most `length · ε` times the sum of their sizes (Higham,
/// Accuracy and Stability of Numerical Algorithms, §3.1); this is for a chain of four sums, as
/// a gradient followed by two solves is.
#[must_use]
pub fn chain(length: usize) -> f64 {
    4.0 * length as f64 * f64::EPSILON
}

/// Relative error, in ‖G‖_F, of a KFAC step with η_G ≤ 1 on the representation.
///
/// The gradient `FᵀFGΣ̂ − FᵀĈ` is off by ε times the size of its terms, whatever cancels; the
/// solves magnify that by `1/(σ_k(F)² (λ_min(Σ̂) + λ_G))`.
///
/// # Errors
/// Where something is not finite.
pub fn representation_step(net: &TwoLayerLinear, moments: &Moments, damping: f64) -> Result<f64> {
    let (outputs, k, inputs) = net.shape();
    let (least, most) = extreme_eigenvalues(moments.xx())?;
    let (largest, smallest) = extreme_singular_values(net.head())?;
    // Fewer outputs than features: FᵀF is singular.
    let smallest = if outputs < k { 0.0 } else { smallest };
    let g = norm(net.representation());
    let terms = largest * largest * most * g + largest * norm(moments.yx());
    // Σ̂ itself is known to d ε ‖Σ̂‖, so a smaller λ_min means nothing.
    let least = (least + damping).max(inputs as f64 * f64::EPSILON * most);
    Ok(chain(outputs + k + inputs) * (terms / (smallest * smallest * least * g)).max(1.0))
}

/// Relative error, in ‖F‖ + ‖F_ls‖, of a KFAC step with η_F ≤ 1 on the head of `net`, at its
/// present representation: as [`representation_step`], with `Ê[zzᵀ]` as the only factor.
///
/// # Errors
/// Where something is not finite.
pub fn head_step(net: &TwoLayerLinear, moments: &Moments) -> Result<f64> {
    let (outputs, k, inputs) = net.shape();
    let mut pass = LinearPass::with_shape(net.shape());
    pass.head(net, moments)?;
    let (least, _) = extreme_eigenvalues(pass.features())?;
    let (g, _) = extreme_singular_values(net.representation())?;
    let (_, most) = extreme_eigenvalues(moments.xx())?;
    // Relative to F_ls, of size at least ‖Ê[yzᵀ]‖/‖Ê[zzᵀ]‖: the targets' terms are of the same kind.
    let magnified = g * g * most / least.max(0.0);
    Ok(chain(outputs + k + inputs) * magnified.max(1.0))
}

/// The relative error that a least-squares head on features `G x` has: that of
/// [`head_step`] for a covariance and a representation.
///
/// # Errors
/// Where something is not finite.
pub fn least_squares(g: ArrayView2<f64>, covariance: ArrayView2<f64>) -> Result<f64> {
    let features = g.dot(&covariance).dot(&g.t());
    let symmetric = (&features + &features.t()) * 0.5;
    let (least, _) = extreme_eigenvalues(symmetric.view())?;
    let (size, _) = extreme_singular_values(g)?;
    let (_, most) = extreme_eigenvalues(covariance)?;
    Ok(chain(g.nrows() + g.ncols()) * (size * size * most / least.max(0.0)).max(1.0))
}
