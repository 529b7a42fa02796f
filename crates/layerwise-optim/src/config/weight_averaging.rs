//! Averages of iterates, as data: primal averaging and schedule-free steps.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::{Schedule, When};

/// Steps are taken by `z`, evaluation is of an average `x` of it, and gradients are taken at
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
pub enum IterateAveraging {
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
}

impl IterateAveraging {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        let train = |train: &Schedule| {
            train.check(when, "iterate_averaging.train", "in (0, 1]", |x| x > 0.0 && x <= 1.0)
        };
        match self {
            IterateAveraging::Primal { train: mu, evaluate } => {
                train(mu)?;
                evaluate.check_decay(when, "iterate_averaging.evaluate")
            }
            IterateAveraging::ScheduleFree { train: mu, power } => {
                train(mu)?;
                Schedule::from(*power).check_non_negative(when, "iterate_averaging.power")
            }
        }
    }

    pub(crate) fn train(&self) -> &Schedule {
        match self {
            IterateAveraging::Primal { train, .. }
            | IterateAveraging::ScheduleFree { train, .. } => train,
        }
    }
}
