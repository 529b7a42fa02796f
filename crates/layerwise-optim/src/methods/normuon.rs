//! NorMuon.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::diagonal::{DiagonalConfig, MomentSharing};
use crate::config::grafting::Grafting;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::polar::PolarConfig;
use crate::config::stage::StageConfig;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// NorMuon (Li et al. 2025): Muon's polar factor, each row divided by the root of its second moment, and the whole
/// at the length that it had, as in the authors' code. Outputs then move alike over time, which a polar factor of
/// tall matrices does not grant.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, NorMuon, Signal};
///
/// // A tall matrix: the rows of its polar factor have different lengths, those of the step do not.
/// let mut weight = array![[0.0_f64, 0.0], [0.0, 0.0], [0.0, 0.0]];
/// let mut optimizer = NorMuon::default().build(weight.dim())?;
/// let gradient = array![[0.5, -1.0], [2.0, 0.25], [0.1, 0.1]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// let lengths: Vec<f64> = weight.rows().into_iter().map(|row| row.dot(&row).sqrt()).collect();
/// assert!(lengths.iter().all(|length| (length / lengths[0] - 1.0).abs() < 1e-8));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NorMuon {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1) of `m ← β₁ m + (1−β₁) g`.
    pub momentum: Schedule,
    /// Step along `β₁ m + (1−β₁) g` with the new `m`.
    pub nesterov: bool,
    /// `β₂` in [0, 1), of the average of rows' mean squares.
    pub beta2: Schedule,
    /// `ε` ≥ 0, beside the root of a row's mean square.
    pub epsilon: Schedule,
    /// The Newton-Schulz iteration.
    pub polar: PolarConfig,
    /// `λ` ≥ 0, decoupled.
    pub weight_decay: Schedule,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for NorMuon {
    /// Muon's, with β₂ = 0.95 and ε = 10⁻¹⁰.
    fn default() -> Self {
        NorMuon {
            learning_rate: 0.02.into(),
            momentum: 0.95.into(),
            nesterov: true,
            beta2: 0.95.into(),
            epsilon: 1e-10.into(),
            polar: PolarConfig::default(),
            weight_decay: 0.0.into(),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for NorMuon {
    fn chain(&self) -> Chain {
        let rows = DiagonalConfig {
            averaging: Averaging::Ema { beta: self.beta2.clone(), bias_correction: false },
            epsilon: self.epsilon.clone(),
            sharing: MomentSharing::Rows,
            ..DiagonalConfig::default()
        };
        Chain::new(self.learning_rate.clone())
            .then(Momentum::Ema {
                beta: self.momentum.clone(),
                bias_correction: false,
                filter: if self.nesterov { Filter::Nesterov } else { Filter::Average },
            })
            .then(self.polar.clone())
            .then(StageConfig::DiagonalOfDirection(rows).grafted(Some(Grafting::Sgd)))
            .with_weight_decay(&WeightDecay::Decoupled(self.weight_decay.clone()))
    }
}
