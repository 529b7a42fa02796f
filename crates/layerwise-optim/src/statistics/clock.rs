//! How far an average has come, and what it makes of the next observation.

use crate::config::averaging::Averaging;
use crate::error::Result;
use crate::state::persist::{join, persist};
use crate::values::refuse;

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

    /// The divisor of the bias correction of what has been taken in.
    pub(crate) fn correction(&self, averaging: &Averaging) -> f64 {
        match averaging {
            Averaging::Ema { bias_correction: true, .. } => 1.0 - self.decay,
            _ => 1.0,
        }
    }

    /// The clock after one more observation, with that observation's weights; schedules are evaluated at
    /// the run's step `time`.
    pub(crate) fn tick(self, averaging: &Averaging, time: u64) -> (Self, AverageWeights) {
        let count = self.count + 1;
        match averaging {
            Averaging::None => (
                AverageClock { count, decay: self.decay },
                AverageWeights { old: 0.0, new: 1.0, correction: 1.0 },
            ),
            Averaging::Decay { beta } => {
                let beta = beta.value(time);
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
                let beta = beta.value(time);
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
