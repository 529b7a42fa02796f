//! How a statistic remembers.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::{Schedule, When};

/// How a statistic `S` takes in the observation `X` of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Averaging {
    /// `S ← X`: the latest alone.
    None,
    /// `S ← β S + (1−β) X`, from zero.
    Ema {
        /// `β`, in [0, 1), or [0, 1] where it is not corrected.
        beta: Schedule,
        /// Divide by `1 − Π β` where it is used, which removes the weight of the zero start
        /// (Kingma and Ba 2015, §3).
        bias_correction: bool,
    },
    /// `S ← β S + X`, from zero.
    Decay {
        /// `β`, in [0, 1).
        beta: Schedule,
    },
    /// `S ← S + X` (Adagrad, and Shampoo as first published).
    Sum,
}

impl Averaging {
    pub(crate) fn check(&self, when: When, name: &'static str) -> Result<()> {
        match self {
            Averaging::Ema { beta, bias_correction: false } => beta.check_share(when, name),
            Averaging::Ema { beta, .. } | Averaging::Decay { beta } => beta.check_decay(when, name),
            Averaging::None | Averaging::Sum => Ok(()),
        }
    }
}
