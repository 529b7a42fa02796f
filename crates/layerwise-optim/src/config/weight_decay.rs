//! How a weight shrinks, as data.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::{Schedule, When};

/// How a weight `W` shrinks under a named method, at rate `λ` ≥ 0.
/// [`Chain::with_weight_decay`](crate::Chain::with_weight_decay) puts it in its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightDecay {
    /// Not at all.
    #[default]
    None,
    /// `λ W` is added to the gradient, and enters all that is made of it.
    L2(Schedule),
    /// `W ← W − η (D + λ W)`: apart from direction and statistics (Loshchilov and Hutter 2019).
    Decoupled(Schedule),
    /// `W ← (1 − η λ)(W − η D)`: the same, of the new weight.
    DecoupledAfter(Schedule),
    /// `λ W` is added to the direction that the stages so far have made, and enters those after it, such
    /// as a momentum of updates (Distributed Shampoo). Where there is none, it is the decoupled decay.
    Update(Schedule),
}

/// A decay in the step itself, apart from all stages, at rate `λ` ≥ 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DecoupledDecay {
    /// None.
    #[default]
    None,
    /// `W ← W − η (D + λ W)`.
    Before(Schedule),
    /// `W ← (1 − η λ)(W − η D)`.
    After(Schedule),
}

impl DecoupledDecay {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        match self {
            DecoupledDecay::None => Ok(()),
            DecoupledDecay::Before(rate) | DecoupledDecay::After(rate) => {
                rate.check_non_negative(when, "weight_decay")
            }
        }
    }
}
