//! The machine of each stage.

use std::ops::{Deref, DerefMut};

use layerwise_linalg::Scalar;

use crate::config::diagonal::{DiagonalConfig, MomentSharing};
use crate::config::stage::StageConfig;
use crate::error::Result;
use crate::numeric::pool::Pool;
use crate::stages::add_weight::AddWeight;
use crate::stages::blocks::Blocks;
use crate::stages::bounded::Bounded;
use crate::stages::curvature_diagonal::CurvatureDiagonal;
use crate::stages::custom::CustomMachine;
use crate::stages::diagonal::{Diagonal, Observed};
use crate::stages::diagonal_factor::DiagonalFactor;
use crate::stages::difference::AddDifference;
use crate::stages::eigenbasis::EigenbasisDiagonal;
use crate::stages::graft::Graft;
use crate::stages::kronecker::Kronecker;
use crate::stages::momentum::MomentumState;
use crate::stages::negate::Negate;
use crate::stages::norm_constraint::NormConstraint;
use crate::stages::normalize::NormalizeRms;
use crate::stages::polar::Polar;
use crate::stages::psgd::Psgd;
use crate::stages::scale::{Cautious, RelativeToWeight, Scale};
use crate::stages::shared_moments::SharedMoments;
use crate::stages::sign::Sign;

/// A stage that was built. What concerns a single kind is asked by its variant, all else through the
/// trait.
#[derive(Debug)]
pub(crate) enum Machine<A> {
    Momentum(Box<MomentumState<A>>),
    Diagonal(Box<Diagonal<A>>),
    Eigenbasis(Box<EigenbasisDiagonal<A>>),
    Graft(Box<Graft<A, Machine<A>>>),
    Blocks(Blocks<Machine<A>>),
    Other(Box<dyn Bounded<A>>),
}

impl<A: Scalar> Machine<A> {
    /// The stage of a weight of this shape. It can tell the loss's curvature where the step
    /// `predicts`, if it has a model of that. What it works in, it is lent from the pool.
    ///
    /// The configuration must have been checked.
    pub(crate) fn new(
        config: &StageConfig,
        shape: (usize, usize),
        predicts: bool,
        pool: &Pool<A>,
    ) -> Result<Self> {
        let diagonal = |config: &DiagonalConfig, of| match config.sharing {
            MomentSharing::None => Machine::Diagonal(Box::new(Diagonal::new(config, of, shape))),
            _ => Machine::other(SharedMoments::new(config, of, shape)),
        };
        Ok(match config {
            StageConfig::Clip(clipping) => Machine::other(clipping.clone()),
            StageConfig::Negate => Machine::other(Negate),
            StageConfig::AddWeight(rate) => Machine::other(AddWeight(rate.clone())),
            StageConfig::Momentum(momentum) => {
                Machine::Momentum(Box::new(MomentumState::new(momentum, shape)))
            }
            StageConfig::Diagonal(config) => diagonal(config, Observed::Gradient),
            StageConfig::DiagonalOfDirection(config) => diagonal(config, Observed::Direction),
            StageConfig::Kronecker(config) => {
                Machine::other(Kronecker::new(config, shape, predicts, pool)?)
            }
            StageConfig::Eigenbasis(config) => {
                Machine::Eigenbasis(Box::new(EigenbasisDiagonal::new(config, shape, pool)?))
            }
            StageConfig::Polar(config) => Machine::other(Polar::new(config, shape, pool)),
            StageConfig::Psgd(config) => Machine::other(Psgd::new(config, shape, pool)?),
            StageConfig::DiagonalFactor(config) => {
                Machine::other(DiagonalFactor::new(config, shape, pool))
            }
            StageConfig::CurvatureDiagonal(config) => {
                Machine::other(CurvatureDiagonal::new(config, shape))
            }
            StageConfig::Sign(scale) => Machine::other(Sign::new(*scale, shape)),
            StageConfig::Scale(scale) => Machine::other(Scale(scale.of_shape(shape))),
            StageConfig::RelativeToWeight(least) => Machine::other(RelativeToWeight(least.clone())),
            StageConfig::Cautious => Machine::other(Cautious),
            StageConfig::AddDifference(factor) => Machine::other(AddDifference::new(factor, shape)),
            StageConfig::NormalizeRms => Machine::other(NormalizeRms),
            StageConfig::NormConstraint(bound) => Machine::other(NormConstraint(bound.clone())),
            StageConfig::Graft { stage, length } => {
                let stage = Machine::new(stage, shape, predicts, pool)?;
                Machine::Graft(Box::new(Graft::new(stage, length, shape, pool)))
            }
            StageConfig::Blocks { partition, stage } => {
                let build = |stage: &StageConfig, shape| Machine::new(stage, shape, predicts, pool);
                Machine::Blocks(Blocks::new(partition, stage, shape, build)?)
            }
            StageConfig::Custom(custom) => Machine::other(CustomMachine::new(custom, shape)?),
        })
    }

    fn other(stage: impl Bounded<A> + 'static) -> Self {
        Machine::Other(Box::new(stage))
    }

    /// How many parts of the weight have a machine of their own.
    pub(crate) fn parts(&self) -> usize {
        match self {
            Machine::Blocks(blocks) => blocks.parts.len(),
            Machine::Graft(graft) => graft.stage.parts(),
            _ => 1,
        }
    }

    /// Whether gradients have to be in standard layout.
    pub(crate) fn reshapes(&self) -> bool {
        match self {
            Machine::Blocks(blocks) => blocks.parts.iter().any(|(extent, _)| extent.reshapes()),
            Machine::Graft(graft) => graft.stage.reshapes(),
            _ => false,
        }
    }

    /// Those that are diagonals in eigenbases, in this one.
    pub(crate) fn eigenbases_mut(&mut self) -> Vec<&mut EigenbasisDiagonal<A>> {
        match self {
            Machine::Eigenbasis(eigenbasis) => vec![eigenbasis],
            Machine::Graft(graft) => graft.stage.eigenbases_mut(),
            Machine::Blocks(blocks) => {
                blocks.parts.iter_mut().flat_map(|(_, part)| part.eigenbases_mut()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl<A: Scalar> Deref for Machine<A> {
    type Target = dyn Bounded<A>;

    fn deref(&self) -> &Self::Target {
        match self {
            Machine::Momentum(stage) => &**stage,
            Machine::Diagonal(stage) => &**stage,
            Machine::Eigenbasis(stage) => &**stage,
            Machine::Graft(stage) => &**stage,
            Machine::Blocks(stage) => stage,
            Machine::Other(stage) => &**stage,
        }
    }
}

impl<A: Scalar> DerefMut for Machine<A> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Machine::Momentum(stage) => &mut **stage,
            Machine::Diagonal(stage) => &mut **stage,
            Machine::Eigenbasis(stage) => &mut **stage,
            Machine::Graft(stage) => &mut **stage,
            Machine::Blocks(stage) => stage,
            Machine::Other(stage) => &mut **stage,
        }
    }
}
