//! RMSprop.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::diagonal::DiagonalConfig;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{HeavyBall, Momentum};
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// RMSprop, as `torch.optim.RMSprop`: `v ← α v + (1−α) g²` without bias correction,
/// `b ← μ b + g / (√v + ε)`, `W ← W − η b`.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, RmsProp, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0]];
/// let mut optimizer = RmsProp::default().build(weight.dim())?;
/// let gradient = array![[0.25, -4.0]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// // Without bias correction, the first step moves each entry by η / √(1 − α) = 0.1.
/// assert!((weight - array![[0.9, 2.1]]).iter().all(|x| x.abs() < 1e-7));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `α` in [0, 1].
    pub alpha: Schedule,
    /// `ε` ≥ 0.
    pub epsilon: Schedule,
    /// `μ` in [0, 1], of the scaled gradients.
    pub momentum: Schedule,
    /// Take the square of the averaged gradient off `v` (Graves 2013).
    pub centered: bool,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// Step up the gradient instead of down.
    pub maximize: bool,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for RmsProp {
    /// PyTorch's: `η` = 0.01, α = 0.99, ε = 10⁻⁸, no momentum, no decay.
    fn default() -> Self {
        RmsProp {
            learning_rate: 0.01.into(),
            alpha: 0.99.into(),
            epsilon: 1e-8.into(),
            momentum: 0.0.into(),
            centered: false,
            weight_decay: WeightDecay::None,
            maximize: false,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for RmsProp {
    fn chain(&self) -> Chain {
        let plain = self.momentum.is_zero();
        Chain::new(self.learning_rate.clone())
            .maximizing(self.maximize)
            .then(DiagonalConfig {
                averaging: Averaging::Ema { beta: self.alpha.clone(), bias_correction: false },
                epsilon: self.epsilon.clone(),
                centered: self.centered,
                ..DiagonalConfig::default()
            })
            .with_weight_decay(&self.weight_decay)
            .then_maybe(
                (!plain).then(|| Momentum::HeavyBall(HeavyBall::new(self.momentum.clone()))),
            )
    }
}
