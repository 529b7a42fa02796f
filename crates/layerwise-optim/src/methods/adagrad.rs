//! Adagrad.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::diagonal::DiagonalConfig;
use crate::config::growth::NonExhaustive;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Adagrad, entry-wise (Duchi et al. 2011): `s ← s + g²`, `W ← W − η g / (√s + ε)`. PyTorch's
/// `lr_decay` is the learning rate [`Schedule::InverseTime`].
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Adagrad, Method, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0]];
/// let method = Adagrad { learning_rate: 0.5.into(), ..Adagrad::default() };
/// let mut optimizer = method.build(weight.dim())?;
/// let gradient = array![[0.01, -100.0]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// // The first step moves each entry by η.
/// assert!((weight - array![[0.5, 2.5]]).iter().all(|x| x.abs() < 1e-7));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adagrad {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `ε` ≥ 0.
    pub epsilon: Schedule,
    /// What `s` starts from, ≥ 0.
    pub initial: f64,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// Step up the gradient instead of down.
    pub maximize: bool,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Adagrad {
    /// PyTorch's: `η` = 0.01, ε = 10⁻¹⁰, from zero, no decay.
    fn default() -> Self {
        Adagrad {
            learning_rate: 0.01.into(),
            epsilon: 1e-10.into(),
            initial: 0.0,
            weight_decay: WeightDecay::None,
            maximize: false,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Adagrad {
    fn chain(&self) -> Chain {
        Chain::new(self.learning_rate.clone())
            .maximizing(self.maximize)
            .then(DiagonalConfig {
                averaging: Averaging::Sum,
                epsilon: self.epsilon.clone(),
                initial: self.initial,
                ..DiagonalConfig::default()
            })
            .with_weight_decay(&self.weight_decay)
    }
}
