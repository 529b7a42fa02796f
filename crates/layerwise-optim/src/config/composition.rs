//! A whole method as plain data, and its checks.

use serde::{Deserialize, Serialize};

use crate::config::adaptation::LevenbergMarquardt;
use crate::config::clipping::Clipping;
use crate::config::diagonal::DiagonalConfig;
use crate::config::eigenbasis::EigenbasisConfig;
use crate::config::kronecker::KroneckerConfig;
use crate::config::momentum::{Direction, Momentum};
use crate::config::partition::Partition;
use crate::config::polar::PolarConfig;
use crate::config::sign::SignScale;
use crate::config::weight_averaging::IterateAveraging;
use crate::error::{OptimError, Result};
use crate::schedule::{Schedule, When};
use crate::signal::Signals;

/// A method, unchecked: anything can be written here, and only what is valid can be
/// [built](Composition::build).
///
/// A step takes the gradient `g`, clips it, turns its sign where the objective is to be maximized,
/// adds `λ W` under [`WeightDecay::L2`], makes it a [`Direction`], preconditions that (in the parts
/// that the [`Partition`] lays out, each of which [`Grafting`] rescales), normalizes it, passes it
/// through `velocity`, clips it, and subtracts `η` times the result from the weight.
///
/// ```
/// use layerwise_optim::{Composition, Direction, Momentum, PreconditionerConfig};
/// # use layerwise_optim::{OptimError, PolarConfig};
/// // Orthogonalized heavy-ball momentum.
/// let method = Composition {
///     learning_rate: 0.01.into(),
///     direction: Direction::Momentum(Momentum::heavy_ball(0.9)),
///     preconditioner: PreconditionerConfig::Polar(PolarConfig::default()),
///     ..Composition::default()
/// };
/// let optimizer = method.build::<f32>((64, 128))?;
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Composition {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// The direction, made of gradients.
    pub direction: Direction,
    /// What preconditions it.
    pub preconditioner: PreconditionerConfig,
    /// Whose step length it takes, if not its own.
    pub grafting: Option<Grafting>,
    /// Momentum of preconditioned directions (RMSprop's).
    pub velocity: Option<Momentum>,
    /// How the weight itself shrinks.
    pub weight_decay: WeightDecay,
    /// How the weight is laid out for its preconditioner.
    pub partition: Partition,
    /// How long the preconditioned direction is.
    pub normalization: Normalization,
    /// Bounds of the gradient as it is given.
    pub gradient_clipping: Clipping,
    /// Bounds of the direction that `η` multiplies.
    pub update_clipping: Clipping,
    /// Step up the gradient instead of down.
    pub maximize: bool,
    /// Averaging of the weights themselves.
    pub iterate_averaging: Option<IterateAveraging>,
    /// Adaptation of the preconditioner's dampings.
    pub damping_adaptation: Option<LevenbergMarquardt>,
}

impl Default for Composition {
    /// Gradient descent with `η` = 0.01.
    fn default() -> Self {
        Composition {
            learning_rate: 0.01.into(),
            direction: Direction::Gradient,
            preconditioner: PreconditionerConfig::Identity,
            grafting: None,
            velocity: None,
            weight_decay: WeightDecay::None,
            partition: Partition::default(),
            normalization: Normalization::None,
            gradient_clipping: Clipping::None,
            update_clipping: Clipping::None,
            maximize: false,
            iterate_averaging: None,
            damping_adaptation: None,
        }
    }
}

/// How long a preconditioned direction `D` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Normalization {
    /// As it comes.
    #[default]
    None,
    /// `D ← D / (rms(D) + 10⁻³⁰)`, without the bias corrections of direction and statistic, which
    /// multiply the result (`normalize_grads` of SOAP's authors).
    RootMeanSquare,
}

/// Which preconditioner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "an optimizer has one, and users build it")]
pub enum PreconditionerConfig {
    /// None.
    #[default]
    Identity,
    /// The signs of the direction's entries.
    Sign(SignScale),
    /// Entry-wise.
    Diagonal(DiagonalConfig),
    /// By a left and a right factor.
    Kronecker(KroneckerConfig),
    /// Entry-wise in the factors' eigenbases.
    Eigenbasis(EigenbasisConfig),
    /// The polar factor.
    Polar(PolarConfig),
}

/// How a weight `W` shrinks, at rate `λ` ≥ 0.
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
    /// `λ W` is added to the preconditioned direction, and enters `velocity` (Distributed
    /// Shampoo). Without `velocity` it is the decoupled decay.
    Direction(Schedule),
}

/// The step length of another method: the preconditioned direction `D` becomes
/// `D · ‖D'‖_F / (‖D‖_F + 10⁻¹⁶)` with `D'` the other method's (Agarwal et al. 2020). Before the
/// first roots exist, the direction is `D'` itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Grafting {
    /// The direction before it is preconditioned.
    Direction,
    /// An entry-wise preconditioned direction.
    Diagonal(DiagonalConfig),
}

impl Composition {
    /// Which signals beyond the gradient the method needs.
    #[must_use]
    pub fn required(&self) -> Signals {
        match &self.preconditioner {
            PreconditionerConfig::Kronecker(config) => config.required(),
            PreconditionerConfig::Eigenbasis(config) => config.required(),
            PreconditionerConfig::Identity
            | PreconditionerConfig::Sign(_)
            | PreconditionerConfig::Diagonal(_)
            | PreconditionerConfig::Polar(_) => Signals::GRADIENT,
        }
    }

    /// Whether a step reports what the quadratic model of the loss predicts of it.
    pub(crate) fn predicts(&self) -> bool {
        self.damping_adaptation.is_some()
            && match &self.preconditioner {
                PreconditionerConfig::Kronecker(config) => config.models_curvature(),
                PreconditionerConfig::Eigenbasis(config) => config.models_curvature(),
                _ => false,
            }
    }

    /// Whether an entry of the new weight is made of those at its place alone, once the gradient is
    /// prepared, by few enough stages to be one loop.
    pub(crate) fn is_entrywise(&self) -> bool {
        let is_simple = match &self.preconditioner {
            PreconditionerConfig::Identity => true,
            PreconditionerConfig::Diagonal(config) => config.is_average_and_root(),
            _ => false,
        };
        is_simple
            && self.grafting.is_none()
            && self.velocity.is_none()
            && !matches!(self.weight_decay, WeightDecay::Direction(_))
            && self.partition == Partition::default()
            && self.normalization == Normalization::None
            && self.update_clipping == Clipping::None
            && self.iterate_averaging.is_none()
    }

    /// Schedules that are functions can leave their range at any step, so that this is asked at
    /// each; it does not allocate.
    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.learning_rate.check_non_negative(when, "learning_rate")?;
        self.direction.check(when)?;
        match &self.preconditioner {
            PreconditionerConfig::Identity | PreconditionerConfig::Sign(_) => {}
            PreconditionerConfig::Diagonal(config) => config.check(when)?,
            PreconditionerConfig::Kronecker(config) => config.check(when)?,
            PreconditionerConfig::Eigenbasis(config) => config.check(when)?,
            PreconditionerConfig::Polar(config) => config.check()?,
        }
        if let Some(Grafting::Diagonal(config)) = &self.grafting {
            config.check(when)?;
        }
        if let Some(velocity) = &self.velocity {
            velocity.check(when)?;
        }
        self.partition.check()?;
        self.gradient_clipping.check(when, "gradient_clipping")?;
        self.update_clipping.check(when, "update_clipping")?;
        if let Some(averaging) = &self.iterate_averaging {
            averaging.check(when)?;
        }
        if let Some(adaptation) = &self.damping_adaptation {
            adaptation.check()?;
            let damped = matches!(
                self.preconditioner,
                PreconditionerConfig::Kronecker(_) | PreconditionerConfig::Eigenbasis(_)
            );
            if !damped {
                return Err(OptimError::Incompatible {
                    first: "adapted damping",
                    second: "a preconditioner without factors",
                    why: "it has no damping",
                });
            }
        }
        match &self.weight_decay {
            WeightDecay::None => Ok(()),
            WeightDecay::L2(rate)
            | WeightDecay::Decoupled(rate)
            | WeightDecay::DecoupledAfter(rate)
            | WeightDecay::Direction(rate) => rate.check_non_negative(when, "weight_decay"),
        }
    }
}
