//! Muon.

use serde::{Deserialize, Serialize};

use crate::config::chain::Chain;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::polar::PolarConfig;
use crate::config::shape_scale::ShapeScale;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Muon (Jordan et al. 2024): the approximate polar factor of an average of gradients.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, Muon, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0], [3.0, 4.0]];
/// let mut optimizer = Muon::default().build(weight.dim())?;
/// let gradient = array![[0.5, -1.0], [2.0, 0.25]];
/// let report = optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// // Five Newton-Schulz steps bring each of the two singular values near 1: the step's norm is
/// // near η √2, whatever the gradient's.
/// let ratio = report.update_norm / (0.02 * 2.0_f64.sqrt());
/// assert!((0.65..1.25).contains(&ratio));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Muon {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β` in [0, 1) of `m ← β m + (1−β) g`.
    pub momentum: Schedule,
    /// Step along `β m + (1−β) g` with the new `m`.
    pub nesterov: bool,
    /// The Newton-Schulz iteration.
    pub polar: PolarConfig,
    /// `λ` ≥ 0, decoupled.
    pub weight_decay: Schedule,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Muon {
    /// The author's: `η` = 0.02, β = 0.95 with Nesterov, five steps, no decay.
    fn default() -> Self {
        Muon {
            learning_rate: 0.02.into(),
            momentum: 0.95.into(),
            nesterov: true,
            polar: PolarConfig::default(),
            weight_decay: 0.0.into(),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Muon {
    /// As for large models (Liu et al. 2025): entries of root mean square 0.2, so that Adam's rates serve,
    /// here 0.002, and decoupled decay 0.1.
    #[must_use]
    pub fn at_scale() -> Self {
        Muon {
            learning_rate: 0.002.into(),
            polar: PolarConfig { scale: ShapeScale::RootMeanSquare, ..PolarConfig::default() },
            weight_decay: 0.1.into(),
            ..Muon::default()
        }
    }
}

impl Method for Muon {
    fn chain(&self) -> Chain {
        Chain::new(self.learning_rate.clone())
            .then(Momentum::Ema {
                beta: self.momentum.clone(),
                bias_correction: false,
                filter: if self.nesterov { Filter::Nesterov } else { Filter::Average },
            })
            .then(self.polar.clone())
            .with_weight_decay(&WeightDecay::Decoupled(self.weight_decay.clone()))
    }
}
