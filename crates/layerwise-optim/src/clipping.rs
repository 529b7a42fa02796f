//! Bounds of gradients and updates.

use layerwise_linalg::Scalar;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::finite::frobenius_norm;
use crate::schedule::{Schedule, When};

/// Bounds of a gradient or a direction `D`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Clipping {
    /// None.
    #[default]
    None,
    /// `D ← D min(1, c/‖D‖_F)`, `c` > 0.
    Norm(Schedule),
    /// Each entry into `[−c, c]`, `c` > 0.
    Value(Schedule),
}

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
    pub(crate) fn check(&self, when: When, name: &'static str) -> Result<()> {
        match self {
            Clipping::None => Ok(()),
            Clipping::Norm(bound) | Clipping::Value(bound) => {
                bound.check(when, name, "finite and > 0", |x| x > 0.0)
            }
        }
    }

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
