//! Gradient descent with momentum.

use serde::{Deserialize, Serialize};

use crate::config::chain::Chain;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{HeavyBall, Momentum};
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Gradient descent, as `torch.optim.SGD`: `b ← μ b + (1−δ) g`, `W ← W − η b`.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, Sgd, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0]];
/// let method = Sgd { learning_rate: 0.1.into(), momentum: 0.9.into(), ..Sgd::default() };
/// let mut optimizer = method.build(weight.dim())?;
/// let gradient = array![[0.5, -1.0]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// assert_eq!(weight, array![[0.95, 2.1]]);
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `μ` in [0, 1].
    pub momentum: Schedule,
    /// `δ` in [0, 1]; the first gradient enters undampened.
    pub dampening: Schedule,
    /// Step along `g + μ b`.
    pub nesterov: bool,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// Step up the gradient instead of down.
    pub maximize: bool,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Sgd {
    /// `η` = 0.01, nothing else.
    fn default() -> Self {
        Sgd {
            learning_rate: 0.01.into(),
            momentum: 0.0.into(),
            dampening: 0.0.into(),
            nesterov: false,
            weight_decay: WeightDecay::None,
            maximize: false,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Sgd {
    fn chain(&self) -> Chain {
        // Without momentum there is nothing to dampen and no buffer to hold.
        let plain = self.momentum.is_zero() && !self.nesterov;
        let momentum = (!plain).then(|| HeavyBall {
            momentum: self.momentum.clone(),
            dampening: self.dampening.clone(),
            nesterov: self.nesterov,
            from_zero: false,
            non_exhaustive: NonExhaustive::default(),
        });
        Chain::new(self.learning_rate.clone())
            .maximizing(self.maximize)
            .then_maybe(momentum.map(Momentum::HeavyBall))
            .with_weight_decay(&self.weight_decay)
    }
}
