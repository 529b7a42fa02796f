//! Gradients and updates within their bounds.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::clipping::Clipping;
use crate::error::Result;
use crate::numeric::finite::frobenius_norm;
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};

/// `D ← (D/s) c/‖D/s‖_F` with `s` the largest modulus, for a norm that `c` is nothing against, or that
/// overflows. What is not finite stays, so that the step is refused.
fn clip_in_units_of_the_largest<A: Scalar>(array: &mut ArrayViewMut2<'_, A>, bound: f64) {
    let largest = array.iter().fold(A::zero(), |m, x| m.max(x.abs()));
    if !array.iter().all(|x| x.is_finite()) {
        return;
    }
    array.mapv_inplace(|x| x / largest);
    let ratio = A::from_f64(bound / frobenius_norm(&array.view()));
    array.mapv_inplace(|x| x * ratio);
}

fn clip_norm<A: Scalar>(direction: &mut ArrayViewMut2<'_, A>, bound: f64) {
    let norm = frobenius_norm(&direction.view());
    if norm > bound {
        let ratio = A::from_f64(bound / norm);
        if ratio >= A::min_positive_value() {
            direction.mapv_inplace(|x| x * ratio);
        } else {
            clip_in_units_of_the_largest(direction, bound);
        }
    }
}

impl<A: Scalar> Stage<A> for Clipping {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        match self {
            Clipping::Norm(bound) => clip_norm(direction, bound.value(step.time)),
            Clipping::RootMeanSquare(bound) => {
                let entries = direction.len() as f64;
                clip_norm(direction, bound.value(step.time) * entries.sqrt());
            }
            Clipping::Value(bound) => {
                let bound = A::from_f64(bound.value(step.time));
                // What is not finite stays, so that the step is refused.
                direction
                    .mapv_inplace(|x| if x.is_finite() { x.max(-bound).min(bound) } else { x });
            }
        }
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for Clipping {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        Some(arrives)
    }
}
