//! Averages of iterates, as data: exponential averages, primal averaging and schedule-free steps.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::{Schedule, When};

/// An exponential average is taken beside the steps and changes none of them. Of the others, steps are
/// taken by `z`, evaluation is of an average `x` of it, and gradients are taken at
/// `y = μ_y x + (1−μ_y) z`, which is the weight that [`Optimizer::step`](crate::Optimizer::step)
/// changes:
///
/// ```text
/// z ← z − η D,    x ← μ_x x + (1−μ_x) z
/// ```
///
/// All three start from the weight of the first step that moves it.
/// [`Optimizer::evaluation_weight`](crate::Optimizer::evaluation_weight) gives `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightAveraging {
    /// Generalized primal averaging (arXiv 2512.17131): `μ_x` in [0, 1) and `μ_y` in (0, 1].
    Primal {
        /// `μ_y`.
        train: Schedule,
        /// `μ_x`.
        evaluate: Schedule,
    },
    /// Schedule-free (Defazio et al. 2024, eq. (23)): `μ_x = 1 − η_t^r / Σ η_i^r`.
    ScheduleFree {
        /// `μ_y`.
        train: Schedule,
        /// `r` ≥ 0, finite.
        power: f64,
    },
    /// `x ← β x + (1−β) W` after each step, from the weight before the first: the ordinary exponential
    /// average of weights (Polyak and Juditsky 1992, with forgetting). `β` in [0, 1).
    Ema {
        /// `β`.
        decay: Schedule,
        /// Start from zero instead, and divide by `1 − Π β` what is evaluated, so that the weight before
        /// the first step has no part in it.
        #[serde(default)]
        bias_correction: bool,
    },
}

impl WeightAveraging {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        if let Some(train) = self.train() {
            train.check(when, "weight_averaging.train", "in (0, 1]", |x| x > 0.0 && x <= 1.0)?;
        }
        match self {
            WeightAveraging::Primal { evaluate, .. } => {
                evaluate.check_decay(when, "weight_averaging.evaluate")
            }
            WeightAveraging::ScheduleFree { power, .. } => {
                Schedule::from(*power).check_non_negative(when, "weight_averaging.power")
            }
            WeightAveraging::Ema { decay, .. } => decay.check_decay(when, "weight_averaging.decay"),
        }
    }

    /// `μ_y`, where gradients are taken at an average.
    pub(crate) fn train(&self) -> Option<&Schedule> {
        match self {
            WeightAveraging::Primal { train, .. } | WeightAveraging::ScheduleFree { train, .. } => {
                Some(train)
            }
            WeightAveraging::Ema { .. } => None,
        }
    }
}
