//! SPlus.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::basis::BasisUse;
use crate::config::chain::Chain;
use crate::config::diagonal::DiagonalConfig;
use crate::config::eigenbasis::{DiagonalEstimate, EigenbasisConfig};
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::partition::Partition;
use crate::config::refresh::Refresh;
use crate::config::shape_scale::ShapeScale;
use crate::config::stage::StageConfig;
use crate::config::statistic::Statistic;
use crate::config::weight_averaging::WeightAveraging;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// SPlus (Frans, Levine and Abbeel 2025): the signs of an average of gradients in the eigenbases of Shampoo's
/// factors, which are decomposed rarely; a rate by the shape, `2/(m + n)`; averaged weights to evaluate
/// ([`Optimizer::evaluation_weight`](crate::Optimizer::evaluation_weight)).
///
/// A sign is an entry by the root of its square, which is held: in `f32` entries below 10⁻²³ do not move, and those
/// above 10¹⁹ are refused.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, SPlus, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0], [3.0, 4.0]];
/// let mut optimizer = SPlus { weight_decay: 0.0.into(), ..SPlus::default() }.build(weight.dim())?;
/// let gradient = array![[0.5, -1.0], [2.0, 0.25]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// // No basis yet: signs of the gradient, at a rate of 0.1 · 2/(2 + 2).
/// assert!((weight - array![[0.95, 2.05], [2.95, 3.95]]).iter().all(|x| x.abs() < 1e-12));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SPlus {
    /// `η` ≥ 0, for directions of `2/(m + n)` per coordinate.
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1), of the average of gradients.
    pub beta1: Schedule,
    /// `β₂` in [0, 1), of both factors.
    pub beta2: Schedule,
    /// `β₃` in [0, 1), of the average of weights.
    pub weight_beta: Schedule,
    /// When bases are computed anew. A step uses those from before it, the first the coordinates as they are.
    pub refresh: Refresh,
    /// `λ` ≥ 0: the weight shrinks by `η λ 2/(m + n)` a step.
    pub weight_decay: Schedule,
    /// How the weight is laid out.
    pub partition: Partition,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for SPlus {
    /// The paper's: `η` = 0.1, β = (0.9, 0.999, 0.999), bases at the first step and then at each multiple of
    /// 100, λ = 0.01; [`Partition::for_networks`].
    fn default() -> Self {
        SPlus {
            learning_rate: 0.1.into(),
            beta1: 0.9.into(),
            beta2: 0.999.into(),
            weight_beta: 0.999.into(),
            refresh: Refresh::every(100),
            weight_decay: 0.01.into(),
            partition: Partition::for_networks(),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for SPlus {
    fn chain(&self) -> Chain {
        let ema = |beta: &Schedule| Averaging::Ema { beta: beta.clone(), bias_correction: false };
        let eigenbasis = EigenbasisConfig {
            averaging: ema(&self.beta2),
            basis_use: BasisUse::PreviousOrIdentity,
            refresh: self.refresh.clone(),
            estimate: DiagonalEstimate::Direction,
            // Divided by their own moduli, entries leave their signs.
            diagonal: DiagonalConfig {
                averaging: Averaging::None,
                epsilon: 0.0.into(),
                ..DiagonalConfig::default()
            },
            ..EigenbasisConfig::new(Statistic::Gradient, Statistic::Gradient)
        };
        let chain = Chain::new(self.learning_rate.clone())
            .then(Momentum::Ema {
                beta: self.beta1.clone(),
                bias_correction: false,
                filter: Filter::Average,
            })
            .then(StageConfig::Eigenbasis(eigenbasis).in_parts(&self.partition))
            .with_weight_decay(&WeightDecay::Update(self.weight_decay.clone()))
            .then(ShapeScale::InverseMean);
        let decay = self.weight_beta.clone();
        Chain {
            weight_averaging: Some(WeightAveraging::Ema { decay, bias_correction: true }),
            ..chain
        }
    }
}
