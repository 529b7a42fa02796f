//! The stages of a chain, as data.

use serde::{Deserialize, Serialize};

use crate::config::basis::BasisUse;
use crate::config::clipping::Clipping;
use crate::config::curvature_diagonal::CurvatureDiagonalConfig;
use crate::config::custom::{Custom, CustomStage};
use crate::config::diagonal::DiagonalConfig;
use crate::config::diagonal_factor::DiagonalFactorConfig;
use crate::config::eigenbasis::EigenbasisConfig;
use crate::config::grafting::Grafting;
use crate::config::kronecker::KroneckerConfig;
use crate::config::momentum::Momentum;
use crate::config::partition::Partition;
use crate::config::polar::PolarConfig;
use crate::config::psgd::PsgdConfig;
use crate::config::shape_scale::ShapeScale;
use crate::config::sign::SignScale;
use crate::error::{OptimError, Result, Side};
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
    /// `Q₁ᵀQ₁ D Q₂ᵀQ₂`, with factors that are fitted to whiten what arrives.
    Psgd(PsgdConfig),
    /// `D diag(a + λ)^{-p}`, with the diagonal of one of the layer's factors.
    DiagonalFactor(DiagonalFactorConfig),
    /// `D / max(ĥ, ε)` entry by entry, with `h` the diagonal of the loss's second derivative.
    CurvatureDiagonal(CurvatureDiagonalConfig),
    /// The polar factor of `D`.
    Polar(PolarConfig),
    /// The signs of `D`'s entries.
    Sign(SignScale),
    /// `D` times a factor that depends on the weight's shape.
    Scale(ShapeScale),
    /// `D max(ε, rms(W))`, with `ε` ≥ 0 and the root mean square of the weight's entries: steps relative to
    /// the weight (Shazeer and Stern 2018, Adafactor).
    RelativeToWeight(Schedule),
    /// `D`, where it points down the gradient; zero where it points up, with the rest so much longer as there
    /// is less of it: `D_ij [D_ij g_ij > 0] / max(share, 10⁻³)`, with the share of entries that are left
    /// (Liang et al. 2024, Cautious optimizers).
    Cautious,
    /// `D + γ (D − D⁻)`, with `γ` ≥ 0 and what arrived at the step before, `D⁻`; nothing is added at the
    /// first step (Yuan et al. 2024, MARS, whose `γ` is this over `β₁/(1−β₁)`).
    AddDifference(Schedule),
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
            StageConfig::Psgd(_) => "psgd",
            StageConfig::DiagonalFactor(_) => "diagonal_factor",
            StageConfig::CurvatureDiagonal(_) => "curvature_diagonal",
            StageConfig::Polar(_) => "polar",
            StageConfig::Sign(_) => "sign",
            StageConfig::Scale(_) => "scale",
            StageConfig::RelativeToWeight(_) => "relative_to_weight",
            StageConfig::Cautious => "cautious",
            StageConfig::AddDifference(_) => "add_difference",
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
            StageConfig::DiagonalFactor(config) => match config.side {
                Side::Left => Signals::OUTPUT,
                Side::Right => Signals::INPUT,
            },
            StageConfig::CurvatureDiagonal(_) => Signals::DIAGONAL,
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
            StageConfig::Negate
            | StageConfig::Sign(_)
            | StageConfig::NormalizeRms
            | StageConfig::Cautious => Ok(()),
            StageConfig::Scale(scale) => scale.check("scale"),
            StageConfig::RelativeToWeight(least) => {
                least.check_non_negative(when, "relative_to_weight")
            }
            StageConfig::AddDifference(factor) => factor.check_non_negative(when, "add_difference"),
            StageConfig::Psgd(config) => config.check(when),
            StageConfig::DiagonalFactor(config) => config.check(when),
            StageConfig::CurvatureDiagonal(config) => config.check(when),
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
    (@variant PsgdConfig) => { StageConfig::Psgd };
    (@variant CurvatureDiagonalConfig) => { StageConfig::CurvatureDiagonal };
    (@variant DiagonalFactorConfig) => { StageConfig::DiagonalFactor };
    (@variant ShapeScale) => { StageConfig::Scale };
    (@variant SignScale) => { StageConfig::Sign };
}
stages!(
    Clipping,
    Momentum,
    DiagonalConfig,
    KroneckerConfig,
    EigenbasisConfig,
    PolarConfig,
    PsgdConfig,
    CurvatureDiagonalConfig,
    DiagonalFactorConfig,
    ShapeScale,
    SignScale
);
