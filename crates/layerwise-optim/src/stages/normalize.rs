//! Directions of a given size.

use layerwise_linalg::Scalar;
use ndarray::Array2;

use crate::numeric::finite::frobenius_norm;

/// What is added to the root mean square that a normalized direction is divided by.
const NORMALIZATION_FLOOR: f64 = 1e-30;

/// Gives a direction the root mean square of its corrections, which it already carries.
pub(crate) fn normalize<A: Scalar>(direction: &mut Array2<A>, corrections: f64) {
    let entries = direction.len() as f64;
    let size = frobenius_norm(&direction.view()) / entries.sqrt() / corrections;
    let factor = A::from_f64(1.0 / (size + NORMALIZATION_FLOOR));
    direction.mapv_inplace(|x| x * factor);
}
