//! Gradients and updates within their bounds.

use layerwise_linalg::Scalar;
use ndarray::Array2;

use crate::config::clipping::Clipping;
use crate::numeric::finite::frobenius_norm;

/// `D ← (D/s) c/‖D/s‖_F` with `s` the largest modulus, for a norm that `c` is nothing against, or that
/// overflows. What is not finite stays, so that the step is refused.
fn clip_in_units_of_the_largest<A: Scalar>(array: &mut Array2<A>, bound: f64) {
    let largest = array.iter().fold(A::zero(), |m, x| m.max(x.abs()));
    if !array.iter().all(|x| x.is_finite()) {
        return;
    }
    array.mapv_inplace(|x| x / largest);
    let ratio = A::from_f64(bound / frobenius_norm(&array.view()));
    array.mapv_inplace(|x| x * ratio);
}

impl Clipping {
    pub(crate) fn apply<A: Scalar>(&self, array: &mut Array2<A>, step: u64) {
        match self {
            Clipping::None => {}
            Clipping::Norm(bound) => {
                let bound = bound.value(step);
                let norm = frobenius_norm(&array.view());
                if norm > bound {
                    let ratio = A::from_f64(bound / norm);
                    if ratio >= A::min_positive_value() {
                        array.mapv_inplace(|x| x * ratio);
                    } else {
                        clip_in_units_of_the_largest(array, bound);
                    }
                }
            }
            Clipping::Value(bound) => {
                let bound = A::from_f64(bound.value(step));
                // What is not finite stays, so that the step is refused.
                array.mapv_inplace(|x| if x.is_finite() { x.max(-bound).min(bound) } else { x });
            }
        }
    }
}
