//! What of a chain shapes its state, apart from hyperparameters that may change in a run.

use crate::config::averaging::Averaging;
use crate::config::basis::{BasisMethod, ColumnOrder};
use crate::config::chain::Chain;
use crate::config::clipping::Clipping;
use crate::config::curvature_diagonal::CurvatureDiagonalConfig;
use crate::config::damping::{Damping, JointDamping};
use crate::config::diagonal::{DiagonalConfig, EpsilonPlacement};
use crate::config::diagonal_factor::DiagonalFactorConfig;
use crate::config::eigenbasis::TurnedMoments;
use crate::config::factor::FactorConfig;
use crate::config::grafting::Grafting;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, HeavyBall, Momentum};
use crate::config::polar::PolarConfig;
use crate::config::psgd::PsgdConfig;
use crate::config::refresh::Refresh;
use crate::config::root::RootMethod;
use crate::config::shape_scale::ShapeScale;
use crate::config::sign::SignScale;
use crate::config::stage::StageConfig;
use crate::config::weight_averaging::WeightAveraging;
use crate::config::weight_decay::DecoupledDecay;
use crate::schedule::Schedule;

/// A hyperparameter that may change.
const FREE: Schedule = Schedule::Constant(0.0);

impl Chain {
    /// The chain with everything that may change in a run at one value. Chains have states of one shape and
    /// meaning where these are equal: stages of the same kinds in the same order, of the same statistics,
    /// roots and layout.
    pub(crate) fn structure(&self) -> Chain {
        let stages = |list: &[StageConfig]| list.iter().map(of_stage).collect();
        Chain {
            learning_rate: FREE,
            gradient: stages(&self.gradient),
            update: stages(&self.update),
            weight_decay: DecoupledDecay::None,
            weight_averaging: self.weight_averaging.as_ref().map(of_weight_averaging),
            damping_adaptation: self.damping_adaptation.map(|_| Default::default()),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

fn of_stage(stage: &StageConfig) -> StageConfig {
    let mut stage = stage.clone();
    match &mut stage {
        StageConfig::Negate | StageConfig::NormalizeRms | StageConfig::Cautious => {}
        StageConfig::Clip(clipping) => *clipping = Clipping::Norm(FREE),
        StageConfig::AddWeight(schedule)
        | StageConfig::NormConstraint(schedule)
        | StageConfig::RelativeToWeight(schedule)
        | StageConfig::AddDifference(schedule) => *schedule = FREE,
        StageConfig::DiagonalFactor(config) => {
            *config = DiagonalFactorConfig {
                averaging: of_averaging(&config.averaging),
                damping: Damping::None,
                ..DiagonalFactorConfig::new(config.side)
            };
        }
        StageConfig::CurvatureDiagonal(config) => {
            *config = CurvatureDiagonalConfig {
                averaging: of_averaging(&config.averaging),
                ..CurvatureDiagonalConfig::default()
            };
        }
        StageConfig::Psgd(config) => {
            // Which sides are triangular; and signs go on from the seed.
            let PsgdConfig { max_dimension, seed, .. } = *config;
            *config = PsgdConfig { max_dimension, seed, ..PsgdConfig::default() };
        }
        StageConfig::Momentum(momentum) => *momentum = of_momentum(momentum),
        StageConfig::Diagonal(config) | StageConfig::DiagonalOfDirection(config) => {
            of_diagonal(config);
        }
        StageConfig::Kronecker(config) => {
            [&mut config.left, &mut config.right].into_iter().for_each(of_factor);
            of_refresh(&mut config.refresh);
            config.damping = match &config.damping {
                JointDamping::Exact(_) => JointDamping::Exact(FREE),
                JointDamping::None | JointDamping::FactoredTikhonov(_) => JointDamping::None,
            };
        }
        StageConfig::Eigenbasis(config) => {
            config.averaging = of_averaging(&config.averaging);
            // The second moment is by columns, in the basis's order.
            config.basis = match config.basis.order() {
                ColumnOrder::Ascending => BasisMethod::default(),
                ColumnOrder::Descending => BasisMethod::qr_step(FREE),
            };
            of_refresh(&mut config.refresh);
            of_diagonal(&mut config.diagonal);
            config.relative_damping = FREE;
            config.turned_moments = TurnedMoments::Kept;
        }
        StageConfig::Polar(config) => *config = PolarConfig::default(),
        StageConfig::Sign(scale) => *scale = SignScale::default(),
        StageConfig::Scale(scale) => *scale = ShapeScale::default(),
        StageConfig::Graft { stage, length } => {
            **stage = of_stage(stage);
            if let Grafting::Diagonal(config) = length {
                of_diagonal(config);
            }
        }
        StageConfig::Blocks { stage, .. } => **stage = of_stage(stage),
        StageConfig::Custom(custom) => *custom = custom.structure(),
    }
    stage
}

fn of_averaging(averaging: &Averaging) -> Averaging {
    match averaging {
        Averaging::None => Averaging::None,
        Averaging::Sum => Averaging::Sum,
        Averaging::Decay { .. } => Averaging::Decay { beta: FREE },
        Averaging::Ema { .. } => Averaging::Ema { beta: FREE, bias_correction: false },
    }
}

fn of_momentum(momentum: &Momentum) -> Momentum {
    match momentum {
        Momentum::HeavyBall(_) => Momentum::HeavyBall(HeavyBall::new(FREE)),
        Momentum::Ema { .. } => {
            Momentum::Ema { beta: FREE, bias_correction: false, filter: Filter::Average }
        }
    }
}

fn of_diagonal(config: &mut DiagonalConfig) {
    *config = DiagonalConfig {
        averaging: of_averaging(&config.averaging),
        epsilon: FREE,
        epsilon_placement: EpsilonPlacement::default(),
        exponent: 1.0,
        maximum: config.maximum,
        centered: config.centered,
        initial: 0.0,
        sharing: config.sharing,
        non_exhaustive: NonExhaustive::default(),
    };
}

/// A root that is held is of its exponent, its method and its scaling.
fn of_factor(config: &mut FactorConfig) {
    config.averaging = of_averaging(&config.averaging);
    config.damping = Damping::None;
    config.root = match &config.root {
        RootMethod::Cholesky => RootMethod::Cholesky,
        RootMethod::Inverse => RootMethod::Inverse,
        RootMethod::Eigen { basis, .. } => RootMethod::Eigen {
            pseudo_inverse: None,
            basis: match basis {
                // Without a tolerance no basis is held.
                BasisMethod::Eigendecomposition { tolerance: 0.0 } => basis.clone(),
                BasisMethod::Eigendecomposition { .. } => {
                    BasisMethod::Eigendecomposition { tolerance: 0.5 }
                }
                BasisMethod::QrStep { order, .. } => {
                    BasisMethod::QrStep { ridge: FREE, steps: 1, tolerance: 0.0, order: *order }
                }
            },
        },
        RootMethod::CoupledNewton { .. } => RootMethod::coupled_newton(),
    };
}

/// Drift is measured from eigenvectors, which are held for it, and with a staleness there is what is under way.
fn of_refresh(refresh: &mut Refresh) {
    *refresh = Refresh {
        drift: refresh.drift.map(|_| 0.5),
        staleness: refresh.staleness.min(1),
        ..Refresh::default()
    };
}

fn of_weight_averaging(averaging: &WeightAveraging) -> WeightAveraging {
    match averaging {
        WeightAveraging::Primal { .. } => WeightAveraging::Primal { train: FREE, evaluate: FREE },
        // What is summed is a power of the rates.
        WeightAveraging::ScheduleFree { power, .. } => {
            WeightAveraging::ScheduleFree { train: FREE, power: *power }
        }
        WeightAveraging::Ema { bias_correction, .. } => {
            WeightAveraging::Ema { decay: FREE, bias_correction: *bias_correction }
        }
    }
}
