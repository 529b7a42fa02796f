//! The norm over all parameters of a set.

use layerwise_linalg::Scalar;
use ndarray::ArrayView2;

use crate::error::{OptimError, Result};
use crate::numeric::finite::{check_finite, frobenius_norm};

/// The norm of all gradients as one vector; with NaN or infinities among them NaN or infinite, as each
/// parameter tells better which entry that is.
///
/// # Errors
///
/// A norm that overflows, of gradients that are finite.
pub(crate) fn norm_of_all<'g, A: Scalar>(
    gradients: impl Iterator<Item = ArrayView2<'g, A>> + Clone,
) -> Result<f64> {
    let norm = gradients.clone().map(|g| frobenius_norm(&g)).fold(0.0, f64::hypot);
    let is_finite = |g: ArrayView2<'g, A>| check_finite("gradient", &g).is_ok();
    if norm.is_infinite() && gradients.clone().all(is_finite) {
        let what = "the norm of all gradients";
        return Err(OptimError::Overflow { what, row: 0, col: 0, value: norm });
    }
    Ok(norm)
}
