//! PSGD with Kronecker factors.

use serde::{Deserialize, Serialize};

use crate::config::chain::Chain;
use crate::config::clipping::Clipping;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::psgd::PsgdConfig;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// PSGD with Kronecker factors (Li 2018, and its form for whitening): an average of gradients, whitened by two
/// triangular factors that are themselves fitted by descent.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, PsgdKron, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0, 3.0], [3.0, 4.0, 5.0]];
/// let mut optimizer = PsgdKron::default().build(weight.dim())?;
/// let gradient = array![[0.5, -1.0, 3.0], [2.0, 0.25, 1.0]];
/// let before = weight.clone();
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// // Entries of root mean square 1.1 at most, times the rate.
/// let step = weight - before;
/// assert!((step.iter().map(|x| x * x).sum::<f64>() / 6.0).sqrt() <= 1.1 * 0.001 + 1e-12);
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PsgdKron {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β` in [0, 1), of the average of gradients, which is what is whitened.
    pub beta: Schedule,
    /// The factors, and how they are fitted.
    pub preconditioner: PsgdConfig,
    /// The most that the root mean square of a direction's entries may be, > 0.
    pub largest_size: Option<Schedule>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for PsgdKron {
    /// `η` = 0.001, β = 0.9, directions of a root mean square of 1.1 at most, no decay.
    fn default() -> Self {
        PsgdKron {
            learning_rate: 0.001.into(),
            beta: 0.9.into(),
            preconditioner: PsgdConfig::default(),
            largest_size: Some(1.1.into()),
            weight_decay: WeightDecay::None,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for PsgdKron {
    fn chain(&self) -> Chain {
        Chain::new(self.learning_rate.clone())
            .then(Momentum::Ema {
                beta: self.beta.clone(),
                bias_correction: true,
                filter: Filter::Average,
            })
            .then(self.preconditioner.clone())
            .then_maybe(self.largest_size.clone().map(Clipping::RootMeanSquare))
            .with_weight_decay(&self.weight_decay)
    }
}
