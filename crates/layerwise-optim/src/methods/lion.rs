//! Lion.

use serde::{Deserialize, Serialize};

use crate::config::chain::Chain;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::sign::SignScale;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Lion (Chen et al. 2023, algorithm 2): `W ← W − η (sign(β₁ m + (1−β₁) g) + λ W)`, then
/// `m ← β₂ m + (1−β₂) g`.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Lion, Method, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0], [3.0, 4.0]];
/// let lion = Lion { learning_rate: 0.5.into(), ..Lion::default() };
/// let mut optimizer = lion.build(weight.dim())?;
/// let gradient = array![[0.1, -0.2], [0.0, 7.0]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// assert_eq!(weight, array![[0.5, 2.5], [3.0, 3.5]]);
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lion {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1), of the direction.
    pub beta1: Schedule,
    /// `β₂` in [0, 1), of the average that is kept.
    pub beta2: Schedule,
    /// `λ` ≥ 0, decoupled.
    pub weight_decay: Schedule,
    /// Step up the gradient instead of down.
    pub maximize: bool,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Lion {
    /// `η` = 10⁻⁴, β = (0.9, 0.99), no decay.
    fn default() -> Self {
        Lion {
            learning_rate: 1e-4.into(),
            beta1: 0.9.into(),
            beta2: 0.99.into(),
            weight_decay: 0.0.into(),
            maximize: false,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Lion {
    fn chain(&self) -> Chain {
        Chain::new(self.learning_rate.clone())
            .maximizing(self.maximize)
            .then(Momentum::Ema {
                beta: self.beta2.clone(),
                bias_correction: false,
                filter: Filter::Separate(self.beta1.clone()),
            })
            .then(SignScale::One)
            .with_weight_decay(&WeightDecay::Decoupled(self.weight_decay.clone()))
    }
}
