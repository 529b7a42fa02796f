//! Muon.

use serde::{Deserialize, Serialize};

use crate::composition::{Composition, PreconditionerConfig, WeightDecay};
use crate::direction::{Direction, Filter};
use crate::method::Method;
use crate::polar::PolarConfig;
use crate::schedule::Schedule;

/// Muon (Jordan et al. 2024): the approximate polar factor of an average of gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Muon {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β` in [0, 1) of `m ← β m + (1−β) g`.
    pub momentum: Schedule,
    /// Step along `β m + (1−β) g` with the new `m`.
    pub nesterov: bool,
    /// The Newton-Schulz iteration.
    pub polar: PolarConfig,
    /// `λ` ≥ 0, decoupled.
    pub weight_decay: Schedule,
}

impl Default for Muon {
    /// The author's: `η` = 0.02, β = 0.95 with Nesterov, five steps, no decay.
    fn default() -> Self {
        Muon {
            learning_rate: 0.02.into(),
            momentum: 0.95.into(),
            nesterov: true,
            polar: PolarConfig::default(),
            weight_decay: 0.0.into(),
        }
    }
}

impl Method for Muon {
    fn composition(&self) -> Composition {
        Composition {
            learning_rate: self.learning_rate.clone(),
            direction: Direction::Ema {
                beta: self.momentum.clone(),
                bias_correction: false,
                filter: if self.nesterov { Filter::Nesterov } else { Filter::Average },
            },
            preconditioner: PreconditionerConfig::Polar(self.polar.clone()),
            weight_decay: WeightDecay::Decoupled(self.weight_decay.clone()),
            ..Composition::default()
        }
    }
}
