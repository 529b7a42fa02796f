//! MARS.

use serde::{Deserialize, Serialize};

use crate::config::chain::Chain;
use crate::config::clipping::Clipping;
use crate::config::growth::NonExhaustive;
use crate::config::stage::StageConfig;
use crate::config::weight_decay::WeightDecay;
use crate::methods::Adam;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// MARS-AdamW (Yuan et al. 2024), in the approximate form that needs one gradient a step: AdamW of gradients
/// to which their change since the step before is added, within a norm of 1. [`Mars::before`] does so before
/// any other method.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Mars, Method, Muon, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0]];
/// let mut optimizer = Mars::default().build(weight.dim())?;
/// for gradient in [array![[0.25, -0.5]], array![[0.3, -0.4]]] {
///     optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// }
/// let muon = Mars::default().before(Muon::default().chain());
/// assert_eq!(muon.gradient.len(), 2);
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mars {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1), of the average of gradients.
    pub beta1: f64,
    /// `β₂` in [0, 1), of the average of squares.
    pub beta2: Schedule,
    /// `γ` ≥ 0: the change of the gradient enters times `γ β₁/(1−β₁)`.
    pub gamma: f64,
    /// `ε` ≥ 0.
    pub epsilon: Schedule,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Mars {
    /// The paper's: `η` = 0.003, β = (0.95, 0.99), γ = 0.025, ε = 10⁻⁸; no decay.
    fn default() -> Self {
        Mars {
            learning_rate: 0.003.into(),
            beta1: 0.95,
            beta2: 0.99.into(),
            gamma: 0.025,
            epsilon: 1e-8.into(),
            weight_decay: WeightDecay::None,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Mars {
    /// Another method of the gradients that MARS makes, with this `γ` and `β₁`: the stages come last of those
    /// that change the gradient.
    #[must_use]
    pub fn before(&self, chain: Chain) -> Chain {
        let factor = self.gamma * self.beta1 / (1.0 - self.beta1);
        chain
            .on_gradient(StageConfig::AddDifference(factor.into()))
            .on_gradient(Clipping::Norm(1.0.into()))
    }
}

impl Method for Mars {
    fn chain(&self) -> Chain {
        let adam = Adam {
            learning_rate: self.learning_rate.clone(),
            beta1: self.beta1.into(),
            beta2: self.beta2.clone(),
            epsilon: self.epsilon.clone(),
            weight_decay: self.weight_decay.clone(),
            ..Adam::default()
        };
        self.before(adam.chain())
    }
}
