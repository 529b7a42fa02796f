//! Adam and AdamW.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::diagonal::DiagonalConfig;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Adam (Kingma and Ba 2015, algorithm 1): `W ← W − η m̂ / (√v̂ + ε)`.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Adam, Method, Schedule, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0]];
/// let method =
///     Adam { learning_rate: Schedule::cosine(0.1, 0.0, 1000), ..Adam::default() };
/// let mut optimizer = method.build(weight.dim())?;
/// let gradient = array![[0.25, -4.0]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// // The first step moves each entry by η.
/// assert!((weight - array![[0.9, 2.1]]).iter().all(|x| x.abs() < 1e-7));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// `η` ≥ 0 (the paper's `α`).
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1), of the average of gradients `m`.
    pub beta1: Schedule,
    /// `β₂` in [0, 1), of the average of squares `v`.
    pub beta2: Schedule,
    /// `ε` ≥ 0.
    pub epsilon: Schedule,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// Use the largest `v` so far in place of `v` (Reddi et al. 2018, AMSGrad).
    pub amsgrad: bool,
    /// Step up the gradient instead of down.
    pub maximize: bool,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Adam {
    /// The paper's: `η` = 0.001, β = (0.9, 0.999), ε = 10⁻⁸, no decay.
    fn default() -> Self {
        Adam {
            learning_rate: 0.001.into(),
            beta1: 0.9.into(),
            beta2: 0.999.into(),
            epsilon: 1e-8.into(),
            weight_decay: WeightDecay::None,
            amsgrad: false,
            maximize: false,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Adam {
    fn chain(&self) -> Chain {
        Chain::new(self.learning_rate.clone())
            .maximizing(self.maximize)
            .then(Momentum::Ema {
                beta: self.beta1.clone(),
                bias_correction: true,
                filter: Filter::Average,
            })
            .then(DiagonalConfig {
                averaging: Averaging::Ema { beta: self.beta2.clone(), bias_correction: true },
                epsilon: self.epsilon.clone(),
                maximum: self.amsgrad,
                ..DiagonalConfig::default()
            })
            .with_weight_decay(&self.weight_decay)
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{AdamW, Method, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0]];
/// let method =
///     AdamW { learning_rate: 0.1.into(), weight_decay: 0.5.into(), ..AdamW::default() };
/// let mut optimizer = method.build(weight.dim())?;
/// let gradient = array![[0.25, -4.0]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// // (1 − η λ) W, and then Adam's step.
/// assert!((weight - array![[0.95 - 0.1, 1.9 + 0.1]]).iter().all(|x| x.abs() < 1e-7));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1).
    pub beta1: Schedule,
    /// `β₂` in [0, 1).
    pub beta2: Schedule,
    /// `ε` ≥ 0.
    pub epsilon: Schedule,
    /// `λ` ≥ 0.
    pub weight_decay: Schedule,
    /// Use the largest `v` so far in place of `v` (Reddi et al. 2018, AMSGrad).
    pub amsgrad: bool,
    /// Step up the gradient instead of down.
    pub maximize: bool,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for AdamW {
    /// PyTorch's: `η` = 0.001, β = (0.9, 0.999), ε = 10⁻⁸, λ = 0.01.
    fn default() -> Self {
        AdamW {
            learning_rate: 0.001.into(),
            beta1: 0.9.into(),
            beta2: 0.999.into(),
            epsilon: 1e-8.into(),
            weight_decay: 0.01.into(),
            amsgrad: false,
            maximize: false,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for AdamW {
    fn chain(&self) -> Chain {
        Adam {
            learning_rate: self.learning_rate.clone(),
            beta1: self.beta1.clone(),
            beta2: self.beta2.clone(),
            epsilon: self.epsilon.clone(),
            weight_decay: WeightDecay::Decoupled(self.weight_decay.clone()),
            amsgrad: self.amsgrad,
            maximize: self.maximize,
            non_exhaustive: NonExhaustive::default(),
        }
        .chain()
    }
}
