//! A whole method as plain data, and its checks.

use layerwise_linalg::Scalar;
use serde::{Deserialize, Serialize};

use crate::diagonal::{Diagonal, DiagonalConfig};
use crate::direction::{Direction, Momentum};
use crate::eigenbasis::{EigenbasisConfig, EigenbasisDiagonal};
use crate::error::{OptimError, Result};
use crate::kronecker::{Kronecker, KroneckerConfig};
use crate::optimizer::Optimizer;
use crate::polar::{Polar, PolarConfig};
use crate::preconditioner::{Identity, Preconditioner};
use crate::schedule::Schedule;
use crate::signal::Signals;

/// A method, unchecked: anything can be written here, and only what is valid can be
/// [built](Composition::build).
///
/// A step takes the gradient `g` (plus `λ W` under [`WeightDecay::L2`]), makes it a
/// [`Direction`], preconditions that, rescales it under [`Grafting`], passes it through
/// `velocity`, and subtracts `η` times the result from the weight.
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
        }
    }
}

/// Which preconditioner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PreconditionerConfig {
    /// None.
    #[default]
    Identity,
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
    /// The optimizer of a weight of this shape (m × n; 1 × n for a vector).
    ///
    /// A layer that does not give the signals of [`Composition::required`] fails at its first
    /// step; [`Composition::build_for`] refuses it here.
    ///
    /// # Errors
    ///
    /// Any hyperparameter out of range, combinations that make no sense, and empty shapes.
    pub fn build<A: Scalar>(&self, shape: (usize, usize)) -> Result<Optimizer<A>> {
        self.check()?;
        let (rows, cols) = shape;
        if rows == 0 || cols == 0 {
            return Err(OptimError::EmptyShape { rows, cols });
        }
        Optimizer::new(self.clone(), shape)
    }

    /// The optimizer of a weight whose layer gives these signals beyond the gradient.
    ///
    /// # Errors
    ///
    /// As [`Composition::build`], and [`OptimError::MissingSignal`] where the method needs more.
    pub fn build_for<A: Scalar>(
        &self,
        shape: (usize, usize),
        available: Signals,
    ) -> Result<Optimizer<A>> {
        self.required().check_available(available)?;
        self.build(shape)
    }

    /// Which signals beyond the gradient the method needs.
    #[must_use]
    pub fn required(&self) -> Signals {
        match &self.preconditioner {
            PreconditionerConfig::Kronecker(config) => config.required(),
            PreconditionerConfig::Eigenbasis(config) => config.required(),
            PreconditionerConfig::Identity
            | PreconditionerConfig::Diagonal(_)
            | PreconditionerConfig::Polar(_) => Signals::GRADIENT,
        }
    }

    fn check(&self) -> Result<()> {
        self.learning_rate.check_non_negative("learning_rate")?;
        self.direction.check()?;
        match &self.preconditioner {
            PreconditionerConfig::Identity => {}
            PreconditionerConfig::Diagonal(config) => config.check()?,
            PreconditionerConfig::Kronecker(config) => config.check()?,
            PreconditionerConfig::Eigenbasis(config) => config.check()?,
            PreconditionerConfig::Polar(config) => config.check()?,
        }
        if let Some(Grafting::Diagonal(config)) = &self.grafting {
            config.check()?;
        }
        if let Some(velocity) = &self.velocity {
            velocity.check()?;
        }
        match &self.weight_decay {
            WeightDecay::None => Ok(()),
            WeightDecay::L2(rate)
            | WeightDecay::Decoupled(rate)
            | WeightDecay::DecoupledAfter(rate) => rate.check_non_negative("weight_decay"),
        }
    }
}

impl PreconditionerConfig {
    pub(crate) fn build<A: Scalar>(
        &self,
        shape: (usize, usize),
    ) -> Result<Box<dyn Preconditioner<A>>> {
        Ok(match self {
            PreconditionerConfig::Identity => Box::new(Identity),
            PreconditionerConfig::Diagonal(config) => Box::new(Diagonal::new(config, shape)?),
            PreconditionerConfig::Kronecker(config) => Box::new(Kronecker::new(config, shape)?),
            PreconditionerConfig::Eigenbasis(config) => {
                Box::new(EigenbasisDiagonal::new(config, shape)?)
            }
            PreconditionerConfig::Polar(config) => Box::new(Polar::new(config, shape)?),
        })
    }
}
