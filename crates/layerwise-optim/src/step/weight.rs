//! What a direction does to a weight.

use layerwise_linalg::Scalar;

use crate::config::weight_decay::DecoupledDecay;
use crate::stage::Step;

/// What a direction `d` does to an entry `w` of the weight: `(before w − rate d) after`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightRule<A> {
    before: A,
    rate: A,
    after: A,
}

impl<A: Scalar> WeightRule<A> {
    pub(crate) fn new(decay: &DecoupledDecay, step: &Step<'_, A>) -> Self {
        let (learning_rate, time) = (step.learning_rate, step.time);
        let (before, after) = match decay {
            DecoupledDecay::None => (1.0, 1.0),
            DecoupledDecay::Before(decay) => (1.0 - learning_rate * decay.value(time), 1.0),
            DecoupledDecay::After(decay) => (1.0, 1.0 - learning_rate * decay.value(time)),
        };
        WeightRule {
            before: A::from_f64(before),
            rate: A::from_f64(learning_rate),
            after: A::from_f64(after),
        }
    }

    /// Of a weight that is left as it is.
    pub(crate) fn identity() -> Self {
        WeightRule { before: A::one(), rate: A::zero(), after: A::one() }
    }

    /// A bound of the new weight's norm, and of all numbers on the way, given those of the weight and of the
    /// direction.
    pub(crate) fn bound(self, weight: f64, direction: f64) -> f64 {
        let sum = self.before.as_f64().abs() * weight + self.rate.as_f64().abs() * direction;
        sum * self.after.as_f64().abs().max(1.0)
    }

    #[inline(always)]
    pub(crate) fn entry(self, w: A, d: A) -> A {
        (self.before * w - self.rate * d) * self.after
    }
}
