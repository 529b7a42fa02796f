//! How a statistic remembers.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::persist::{join, persist};
use crate::schedule::{Schedule, When};
use crate::values::refuse;

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

/// How many observations a statistic holds, and `Π β` over them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AverageClock {
    pub(crate) count: u64,
    decay: f64,
}

/// What one observation does: `S ← old S + new X`, used as `S / correction`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AverageWeights {
    pub(crate) old: f64,
    pub(crate) new: f64,
    pub(crate) correction: f64,
}

persist!(AverageClock { count, decay } checked by check_loaded);

impl AverageClock {
    pub(crate) fn start() -> Self {
        AverageClock { count: 0, decay: 1.0 }
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        if (0.0..=1.0).contains(&self.decay) {
            return Ok(());
        }
        Err(refuse(&join(path, "decay"), "is not in [0, 1]"))
    }

    /// `Π β` over the observations so far.
    pub(crate) fn decay(&self) -> f64 {
        self.decay
    }

    /// The clock after one more observation, with that observation's weights.
    pub(crate) fn tick(self, averaging: &Averaging) -> (Self, AverageWeights) {
        let count = self.count + 1;
        match averaging {
            Averaging::None => (
                AverageClock { count, decay: self.decay },
                AverageWeights { old: 0.0, new: 1.0, correction: 1.0 },
            ),
            Averaging::Decay { beta } => {
                let beta = beta.value(self.count);
                (
                    AverageClock { count, decay: self.decay * beta },
                    AverageWeights { old: beta, new: 1.0, correction: 1.0 },
                )
            }
            Averaging::Sum => (
                AverageClock { count, decay: self.decay },
                AverageWeights { old: 1.0, new: 1.0, correction: 1.0 },
            ),
            Averaging::Ema { beta, bias_correction } => {
                let beta = beta.value(self.count);
                let decay = self.decay * beta;
                let correction = if *bias_correction { 1.0 - decay } else { 1.0 };
                (
                    AverageClock { count, decay },
                    AverageWeights { old: beta, new: 1.0 - beta, correction },
                )
            }
        }
    }
}
