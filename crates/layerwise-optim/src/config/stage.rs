//! The stages of a chain, as data.

use serde::{Deserialize, Serialize};

use crate::config::basis::BasisUse;
use crate::config::clipping::Clipping;
use crate::config::custom::{Custom, CustomStage};
use crate::config::diagonal::DiagonalConfig;
use crate::config::eigenbasis::EigenbasisConfig;
use crate::config::grafting::Grafting;
use crate::config::kronecker::KroneckerConfig;
use crate::config::momentum::Momentum;
use crate::config::partition::Partition;
use crate::config::polar::PolarConfig;
use crate::config::sign::SignScale;
use crate::error::{OptimError, Result};
use crate::schedule::{Schedule, When};
use crate::signal::Signals;

/// A stage of a [`Chain`](crate::Chain): what it makes of the direction `D` that arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a chain has a few, and users build them")]
pub enum StageConfig {
    /// `D` within bounds.
    Clip(Clipping),
    /// `−D`: the objective is maximized.
    Negate,
    /// `D + λ W`, with `λ` ≥ 0.
    AddWeight(Schedule),
    /// What is accumulated of the directions that arrive.
    Momentum(Momentum),
    /// `D / (v̂^p + ε)` entry by entry, with `v` a second moment of the gradient.
    Diagonal(DiagonalConfig),
    /// The same with `v` a second moment of the direction that arrives.
    DiagonalOfDirection(DiagonalConfig),
    /// `P^{-p} D Q^{-q}`, with a left and a right factor.
    Kronecker(KroneckerConfig),
    /// Entry by entry in the factors' eigenbases.
    Eigenbasis(EigenbasisConfig),
    /// The polar factor of `D`.
    Polar(PolarConfig),
    /// The signs of `D`'s entries.
    Sign(SignScale),
    /// `D / (rms(D) + 10⁻³⁰)`, without the bias corrections of the stages before, which multiply the
    /// result (`normalize_grads` of SOAP's authors).
    NormalizeRms,
    /// `D min(1, √(κ / (η² |⟨g, D⟩|)))` with `κ` > 0: where `g` is the gradient and `D` its product with an
    /// inverse curvature, the step changes the model's predictions by no more than `κ` in the quadratic
    /// approximation of their divergence (the norm constraint or KL clip of Ba, Grosse and Martens 2017).
    /// Over all parameters of a set it is
    /// [`OptimizerSet::constrain_norm`](crate::OptimizerSet::constrain_norm).
    NormConstraint(Schedule),
    /// What a stage makes of `D`, with the step length of another method.
    Graft {
        /// The stage.
        stage: Box<StageConfig>,
        /// Whose step length it takes.
        length: Grafting,
    },
    /// A stage for each part of the weight.
    Blocks {
        /// The parts.
        partition: Partition,
        /// The stage.
        stage: Box<StageConfig>,
    },
    /// A stage from outside of this crate.
    Custom(Custom),
}

impl StageConfig {
    /// A stage from outside of this crate.
    #[must_use]
    pub fn custom(stage: impl CustomStage) -> Self {
        StageConfig::Custom(Custom::new(stage))
    }

    /// This stage with the step length of another method, where there is one.
    #[must_use]
    pub fn grafted(self, length: Option<Grafting>) -> Self {
        match length {
            Some(length) => StageConfig::Graft { stage: Box::new(self), length },
            None => self,
        }
    }

    /// This stage for each part of the weight, where it is not taken as the matrix that it is.
    #[must_use]
    pub fn in_parts(self, partition: &Partition) -> Self {
        if *partition == Partition::default() {
            return self;
        }
        StageConfig::Blocks { partition: partition.clone(), stage: Box::new(self) }
    }

    /// What its state is called.
    pub(crate) fn name(&self) -> &str {
        match self {
            StageConfig::Clip(_) => "clip",
            StageConfig::Negate => "negate",
            StageConfig::AddWeight(_) => "add_weight",
            StageConfig::Momentum(_) => "momentum",
            StageConfig::Diagonal(_) => "diagonal",
            StageConfig::DiagonalOfDirection(_) => "diagonal_of_direction",
            StageConfig::Kronecker(_) => "kronecker",
            StageConfig::Eigenbasis(_) => "eigenbasis",
            StageConfig::Polar(_) => "polar",
            StageConfig::Sign(_) => "sign",
            StageConfig::NormalizeRms => "normalize_rms",
            StageConfig::NormConstraint(_) => "norm_constraint",
            StageConfig::Graft { .. } => "graft",
            StageConfig::Blocks { .. } => "blocks",
            StageConfig::Custom(custom) => custom.name(),
        }
    }

    /// The stage that it puts around no other.
    pub(crate) fn innermost(&self) -> &StageConfig {
        match self {
            StageConfig::Graft { stage, .. } | StageConfig::Blocks { stage, .. } => {
                stage.innermost()
            }
            stage => stage,
        }
    }

    pub(crate) fn innermost_mut(&mut self) -> &mut StageConfig {
        match self {
            StageConfig::Graft { stage, .. } | StageConfig::Blocks { stage, .. } => {
                stage.innermost_mut()
            }
            stage => stage,
        }
    }

    /// Whether it sees the weight in parts.
    fn is_in_blocks(&self) -> bool {
        match self {
            StageConfig::Blocks { .. } => true,
            StageConfig::Graft { stage, .. } => stage.is_in_blocks(),
            _ => false,
        }
    }

    /// Refuses what has no place among the stages that change the gradient.
    pub(crate) fn check_on_gradient(&self) -> Result<()> {
        let first = match self {
            StageConfig::Blocks { .. } | StageConfig::Graft { .. } => "blocks or grafting",
            StageConfig::Eigenbasis(config) if config.basis_use == BasisUse::Previous => {
                "a stage that skips steps"
            }
            _ => return Ok(()),
        };
        Err(OptimError::Incompatible {
            first,
            second: "a place among the stages of the gradient",
            why: "they belong to what makes the update",
        })
    }

    /// Which signals beyond the gradient it needs.
    pub(crate) fn required(&self) -> Signals {
        match self.innermost() {
            StageConfig::Kronecker(config) => config.required(),
            StageConfig::Eigenbasis(config) => config.required(),
            StageConfig::Custom(custom) => custom.required(),
            _ => Signals::GRADIENT,
        }
    }

    /// Whether it has factors that model the loss's curvature.
    pub(crate) fn models_curvature(&self) -> bool {
        match self.innermost() {
            StageConfig::Kronecker(config) => config.models_curvature(),
            StageConfig::Eigenbasis(config) => config.models_curvature(),
            StageConfig::Custom(custom) => custom.models_curvature(),
            _ => false,
        }
    }

    /// Schedules that are functions can leave their range at any step, so that this is asked at
    /// each; it does not allocate.
    pub(crate) fn check(&self, when: When) -> Result<()> {
        match self {
            StageConfig::Negate | StageConfig::Sign(_) | StageConfig::NormalizeRms => Ok(()),
            StageConfig::Clip(clipping) => clipping.check(when),
            StageConfig::NormConstraint(bound) => bound.check_positive(when, "norm_constraint"),
            StageConfig::AddWeight(rate) => rate.check_non_negative(when, "weight_decay"),
            StageConfig::Momentum(momentum) => momentum.check(when),
            StageConfig::Diagonal(config) | StageConfig::DiagonalOfDirection(config) => {
                config.check(when)
            }
            StageConfig::Kronecker(config) => config.check(when),
            StageConfig::Eigenbasis(config) => config.check(when),
            StageConfig::Polar(config) => config.check(),
            StageConfig::Graft { stage, length } => {
                stage.check(when)?;
                length.check(when)
            }
            StageConfig::Blocks { partition, stage } => {
                if stage.is_in_blocks() {
                    return Err(OptimError::Incompatible {
                        first: "blocks",
                        second: "blocks inside of them",
                        why: "the parts of a part are parts of the weight",
                    });
                }
                partition.check()?;
                stage.check(when)
            }
            StageConfig::Custom(custom) => custom.check(),
        }
    }
}

/// Data that is a stage by itself.
macro_rules! stages {
    ($($data:ident),+) => {$(
        impl From<$data> for StageConfig {
            fn from(data: $data) -> Self {
                stages!(@variant $data)(data)
            }
        }
    )+};
    (@variant Clipping) => { StageConfig::Clip };
    (@variant Momentum) => { StageConfig::Momentum };
    (@variant DiagonalConfig) => { StageConfig::Diagonal };
    (@variant KroneckerConfig) => { StageConfig::Kronecker };
    (@variant EigenbasisConfig) => { StageConfig::Eigenbasis };
    (@variant PolarConfig) => { StageConfig::Polar };
    (@variant SignScale) => { StageConfig::Sign };
}
stages!(
    Clipping,
    Momentum,
    DiagonalConfig,
    KroneckerConfig,
    EigenbasisConfig,
    PolarConfig,
    SignScale
);
