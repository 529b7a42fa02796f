//! Momentum, as data.

use serde::{Deserialize, Serialize};

use crate::config::growth::NonExhaustive;
use crate::error::Result;
use crate::schedule::{Schedule, When};

/// What is accumulated of the directions `g` that arrive, and takes their place: of gradients, where it
/// is the first stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Momentum {
    /// Heavy-ball or Nesterov momentum.
    HeavyBall(HeavyBall),
    /// An exponential moving average, `m ← β m + (1−β) g` from zero.
    Ema {
        /// `β`, in [0, 1).
        beta: Schedule,
        /// Divide by the sum of the weights of what arrived: `1 − Π β` for the average itself.
        bias_correction: bool,
        /// What of the average is the direction.
        filter: Filter,
    },
}

/// Momentum as in `torch.optim.SGD` (Sutskever et al. 2013): `b ← μ b + (1−δ) g`, where the first
/// buffer is the first gradient, undampened, unless it is to start [from zero](Self::from_zero).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeavyBall {
    /// `μ`, in [0, 1]; with 1 the buffer is a sum.
    pub momentum: Schedule,
    /// `δ`, in [0, 1].
    pub dampening: Schedule,
    /// Step along `(1−δ) g + μ b` instead of `b`; needs `μ > 0`, and `δ = 0` where the buffer does
    /// not start from zero.
    pub nesterov: bool,
    /// The buffer starts from zero, so that the first gradient is dampened as all others
    /// (Distributed Shampoo).
    pub from_zero: bool,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl HeavyBall {
    /// Without dampening.
    #[must_use]
    pub fn new(momentum: impl Into<Schedule>) -> Self {
        HeavyBall {
            momentum: momentum.into(),
            dampening: 0.0.into(),
            nesterov: false,
            from_zero: false,
            non_exhaustive: NonExhaustive::default(),
        }
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.momentum.check_share(when, "momentum")?;
        self.dampening.check_share(when, "dampening")?;
        if self.nesterov {
            if !self.from_zero {
                self.dampening
                    .check(when, "dampening", "0 with Nesterov momentum", |x| x == 0.0)?;
            }
            self.momentum
                .check(when, "momentum", "in (0, 1] with Nesterov momentum", |x| x > 0.0)?;
        }
        Ok(())
    }
}

/// What of an exponential moving average is the direction. `m` is the average before the step's
/// gradient `g` enters, `m₊` after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Filter {
    /// `D = m₊`.
    #[default]
    Average,
    /// `D = β m₊ + (1−β) g`, Nesterov's look-ahead as Muon takes it.
    Nesterov,
    /// `D = β₃ m + (1−β₃) g` with a `β₃` in [0, 1) of its own (Distributed Shampoo's `beta3`,
    /// Lion's `β₁`).
    Separate(Schedule),
}

impl Momentum {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        match self {
            Momentum::HeavyBall(heavy_ball) => heavy_ball.check(when),
            Momentum::Ema { beta, filter, .. } => {
                beta.check_decay(when, "momentum.beta")?;
                match filter {
                    Filter::Separate(beta) => beta.check_decay(when, "momentum.filter"),
                    Filter::Average | Filter::Nesterov => Ok(()),
                }
            }
        }
    }
}

impl From<HeavyBall> for Momentum {
    fn from(heavy_ball: HeavyBall) -> Self {
        Momentum::HeavyBall(heavy_ball)
    }
}
