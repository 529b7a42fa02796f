//! What a direction does to a weight.

use layerwise_linalg::Scalar;

use crate::config::composition::WeightDecay;

/// What a direction `d` does to an entry `w` of the weight: `(before w − rate d) after`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightRule<A> {
    before: A,
    rate: A,
    after: A,
}

impl<A: Scalar> WeightRule<A> {
    /// The rule of a step after `steps` others.
    pub(crate) fn new(decay: &WeightDecay, learning_rate: f64, steps: u64) -> Self {
        let (before, after) = match decay {
            WeightDecay::None | WeightDecay::L2(_) | WeightDecay::Direction(_) => (1.0, 1.0),
            WeightDecay::Decoupled(decay) => (1.0 - learning_rate * decay.value(steps), 1.0),
            WeightDecay::DecoupledAfter(decay) => (1.0, 1.0 - learning_rate * decay.value(steps)),
        };
        WeightRule {
            before: A::from_f64(before),
            rate: A::from_f64(learning_rate),
            after: A::from_f64(after),
        }
    }

    #[inline(always)]
    pub(crate) fn entry(self, w: A, d: A) -> A {
        (self.before * w - self.rate * d) * self.after
    }
}
