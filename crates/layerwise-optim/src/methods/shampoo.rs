//! Shampoo.

use serde::{Deserialize, Serialize};

use crate::averaging::Averaging;
use crate::composition::{Composition, Grafting, PreconditionerConfig, WeightDecay};
use crate::direction::Direction;
use crate::factor::{Damping, FactorConfig, InverseRoot, Statistic};
use crate::kronecker::{JointDamping, KroneckerConfig};
use crate::method::Method;
use crate::refresh::Refresh;
use crate::schedule::Schedule;

/// Shampoo (Gupta, Koren and Singer 2018): `W ← W − η L^{-e} D R^{-e}` with `L` and `R` averages
/// or sums of `G Gᵀ` and `GᵀG`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shampoo {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// What is preconditioned.
    pub direction: Direction,
    /// How `L` and `R` remember.
    pub averaging: Averaging,
    /// `e` > 0.
    pub exponent: f64,
    /// What is added to each before its root is taken.
    pub damping: Damping,
    /// Count eigenvalues up to this multiple of the largest as zero, and their roots too, instead
    /// of refusing a factor that is not positive definite.
    pub pseudo_inverse: Option<f64>,
    /// When roots are computed anew.
    pub refresh: Refresh,
    /// Whose step length it takes.
    pub grafting: Option<Grafting>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
}

impl Default for Shampoo {
    /// `η` = 0.01, gradients as they are, averages with β = 0.95 corrected, exponent ¼, ridge
    /// 10⁻⁸ λ_max, roots at every step, no grafting.
    fn default() -> Self {
        Shampoo {
            learning_rate: 0.01.into(),
            direction: Direction::Gradient,
            averaging: Averaging::Ema { beta: 0.95.into(), bias_correction: true },
            exponent: 0.25,
            damping: Damping::RelativeToLargest(1e-8.into()),
            pseudo_inverse: None,
            refresh: Refresh::default(),
            grafting: None,
            weight_decay: WeightDecay::None,
        }
    }
}

impl Method for Shampoo {
    fn composition(&self) -> Composition {
        let factor = FactorConfig {
            statistic: Statistic::Gradient,
            averaging: self.averaging.clone(),
            damping: self.damping.clone(),
            root: InverseRoot::Eigen {
                exponent: self.exponent,
                pseudo_inverse: self.pseudo_inverse,
            },
        };
        Composition {
            learning_rate: self.learning_rate.clone(),
            direction: self.direction.clone(),
            preconditioner: PreconditionerConfig::Kronecker(KroneckerConfig {
                left: factor.clone(),
                right: factor,
                damping: JointDamping::None,
                refresh: self.refresh.clone(),
            }),
            grafting: self.grafting.clone(),
            weight_decay: self.weight_decay.clone(),
            ..Composition::default()
        }
    }
}
