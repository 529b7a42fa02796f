//! A whole method as plain data, and its checks.

use serde::{Deserialize, Serialize};

use crate::config::adaptation::LevenbergMarquardt;
use crate::config::growth::NonExhaustive;
use crate::config::stage::StageConfig;
use crate::config::weight_averaging::WeightAveraging;
use crate::config::weight_decay::{DecoupledDecay, WeightDecay};
use crate::error::{OptimError, Result};
use crate::schedule::{Schedule, When};
use crate::signal::Signals;

/// A method, unchecked: anything can be written here, and only what is valid can be
/// [built](Chain::build).
///
/// A step passes the gradient through the stages of [`gradient`](Self::gradient), which change what all
/// others observe. Every stage of [`update`](Self::update) observes the result; it is then the
/// direction that each of them in turn makes another of, and `η` times the last is subtracted from the
/// weight. What a stage from outside of this crate has to promise stands with the trait
/// [`Stage`](crate::stage::Stage).
///
/// ```
/// use layerwise_optim::chain::{DiagonalConfig, HeavyBall, PolarConfig, StageConfig};
/// use layerwise_optim::{Chain, Momentum};
/// # use layerwise_optim::OptimError;
/// // Orthogonalized momentum, and then a second moment of what that gives, entry by entry.
/// let method = Chain::new(0.01)
///     .then(Momentum::from(HeavyBall::new(0.9)))
///     .then(PolarConfig::default())
///     .then(StageConfig::DiagonalOfDirection(DiagonalConfig::default()));
/// let optimizer = method.build::<f32>((64, 128))?;
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chain {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// What the gradient goes through before anything is observed of it. These stages themselves observe it
    /// as it is given; what they report of refreshes is not in the step's report, and none may skip a step.
    pub gradient: Vec<StageConfig>,
    /// What makes the update of it, in this order.
    pub update: Vec<StageConfig>,
    /// How the weight shrinks, apart from all stages.
    pub weight_decay: DecoupledDecay,
    /// Averaging of the weights themselves.
    pub weight_averaging: Option<WeightAveraging>,
    /// Adaptation of the stages' dampings.
    pub damping_adaptation: Option<LevenbergMarquardt>,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Chain {
    /// Gradient descent with `η` = 0.01.
    fn default() -> Self {
        Chain::new(0.01)
    }
}

impl Chain {
    /// Gradient descent: no stage yet.
    #[must_use]
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Chain {
            learning_rate: learning_rate.into(),
            gradient: Vec::new(),
            update: Vec::new(),
            weight_decay: DecoupledDecay::None,
            weight_averaging: None,
            damping_adaptation: None,
            non_exhaustive: NonExhaustive::default(),
        }
    }

    /// The same with one more stage of the update.
    #[must_use]
    pub fn then(mut self, stage: impl Into<StageConfig>) -> Self {
        self.update.push(stage.into());
        self
    }

    /// The same with one more stage of the update, where there is one.
    #[must_use]
    pub fn then_maybe(mut self, stage: Option<impl Into<StageConfig>>) -> Self {
        self.update.extend(stage.map(Into::into));
        self
    }

    /// The same with one more stage that changes the gradient before anything is observed of it.
    #[must_use]
    pub fn on_gradient(mut self, stage: impl Into<StageConfig>) -> Self {
        self.gradient.push(stage.into());
        self
    }

    /// The same up the gradient instead of down, where that is asked for.
    #[must_use]
    pub fn maximizing(self, maximize: bool) -> Self {
        if maximize { self.on_gradient(StageConfig::Negate) } else { self }
    }

    /// The same with a decay in its place: as the last stage that changes the gradient, as the next
    /// stage of the update, or in the step itself.
    #[must_use]
    pub fn with_weight_decay(self, decay: &WeightDecay) -> Self {
        match decay.clone() {
            WeightDecay::None => self,
            WeightDecay::L2(rate) => self.on_gradient(StageConfig::AddWeight(rate)),
            WeightDecay::Update(rate) => self.then(StageConfig::AddWeight(rate)),
            WeightDecay::Decoupled(rate) => {
                Chain { weight_decay: DecoupledDecay::Before(rate), ..self }
            }
            WeightDecay::DecoupledAfter(rate) => {
                Chain { weight_decay: DecoupledDecay::After(rate), ..self }
            }
        }
    }

    /// All stages, those of the gradient and then those of the update, each without the grafting or the
    /// blocks around it.
    pub fn stages(&self) -> impl Iterator<Item = &StageConfig> {
        self.gradient.iter().chain(&self.update).map(StageConfig::innermost)
    }

    /// As [`stages`](Self::stages), for instance to change what a named method has set.
    pub fn stages_mut(&mut self) -> impl Iterator<Item = &mut StageConfig> {
        self.gradient.iter_mut().chain(&mut self.update).map(StageConfig::innermost_mut)
    }

    /// Which signals beyond the gradient the method needs.
    #[must_use]
    pub fn required(&self) -> Signals {
        self.stages().map(StageConfig::required).fold(Signals::GRADIENT, Signals::and)
    }

    /// Whether a step reports what the quadratic model of the loss predicts of it.
    pub(crate) fn predicts(&self) -> bool {
        self.damping_adaptation.is_some() && self.update.iter().any(StageConfig::models_curvature)
    }

    /// Whether the gradient is that of an objective to be maximized.
    pub(crate) fn maximizes(&self) -> bool {
        self.gradient.iter().filter(|stage| **stage == StageConfig::Negate).count() % 2 == 1
    }

    /// Schedules that are functions can leave their range at any step, so that this is asked at
    /// each; it does not allocate.
    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.learning_rate.check_non_negative(when, "learning_rate")?;
        self.gradient.iter().chain(&self.update).try_for_each(|stage| stage.check(when))?;
        self.gradient.iter().try_for_each(StageConfig::check_on_gradient)?;
        self.weight_decay.check(when)?;
        if let Some(averaging) = &self.weight_averaging {
            averaging.check(when)?;
        }
        if let Some(adaptation) = &self.damping_adaptation {
            adaptation.check()?;
            let is_damped = |stage: &StageConfig| {
                matches!(
                    stage,
                    StageConfig::Kronecker(_) | StageConfig::Eigenbasis(_) | StageConfig::Custom(_)
                )
            };
            let is_diagonal = |stage: &StageConfig| matches!(stage, StageConfig::DiagonalFactor(_));
            if self.update.iter().map(StageConfig::innermost).any(is_diagonal) {
                return Err(OptimError::Incompatible {
                    first: "adapted damping",
                    second: "the diagonal of a factor",
                    why: "no quadratic model is made of it",
                });
            }
            if !self.update.iter().map(StageConfig::innermost).any(is_damped) {
                return Err(OptimError::Incompatible {
                    first: "adapted damping",
                    second: "a chain without factors",
                    why: "it has no damping",
                });
            }
            for stage in self.update.iter().map(StageConfig::innermost) {
                if let StageConfig::Kronecker(config) = stage {
                    let why = "another damping asks for new roots at once";
                    config.refresh.check_at_once("adapted damping", why)?;
                }
            }
        }
        Ok(())
    }
}
