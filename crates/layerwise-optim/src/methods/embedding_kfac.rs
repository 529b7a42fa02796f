//! KFAC of embeddings.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::damping::Damping;
use crate::config::diagonal_factor::DiagonalFactorConfig;
use crate::config::factor::FactorConfig;
use crate::config::growth::NonExhaustive;
use crate::config::kronecker::KroneckerConfig;
use crate::config::momentum::Momentum;
use crate::config::refresh::Refresh;
use crate::config::root::RootMethod;
use crate::config::stage::StageConfig;
use crate::config::statistic::Statistic;
use crate::config::weight_decay::WeightDecay;
use crate::error::Side;
use crate::methods::Kfac;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// KFAC of an embedding of `V` tokens in `d` dimensions, as a dense layer of d × V whose inputs are unit vectors:
/// the input factor, the tokens' frequencies, is a diagonal. What the layer reports is made by
/// [`layers::Embedding`](crate::layers::Embedding).
///
/// ```
/// use layerwise_optim::layers::{Derivatives, Embedding};
/// use layerwise_optim::ndarray::{Array2, array};
/// use layerwise_optim::{EmbeddingKfac, Method};
///
/// // Two dimensions, five tokens, as a table of 5 × 2; the layer's weight is its transpose.
/// let mut table = Array2::<f32>::ones((5, 2));
/// let mut layer = Embedding::<f32>::new(2, 5);
/// let mut optimizer = EmbeddingKfac::default().build(layer.weight_shape())?;
/// let tokens = array![3, 0, 3, 1];
/// let derivatives = array![[0.5, 0.1], [-0.2, 0.4], [0.1, 0.3], [0.2, 0.2]];
/// let signal = layer.report(tokens.view(), Derivatives::OfEachLoss(derivatives.view()))?;
/// optimizer.step(&mut table.view_mut().reversed_axes(), &signal)?;
/// assert!(table.row(3).iter().all(|&w| w != 1.0) && table.row(2).iter().all(|&w| w == 1.0));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingKfac {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// What is added to the output factor.
    pub output_damping: Damping,
    /// What is added to the tokens' frequencies.
    pub input_damping: Damping,
    /// How the output factor is inverted.
    pub root: RootMethod,
    /// How factors remember.
    pub averaging: Averaging,
    /// When the output factor is inverted anew; frequencies serve at once.
    pub refresh: Refresh,
    /// Momentum of gradients, before the factors.
    pub momentum: Option<Momentum>,
    /// `κ` > 0 of the norm constraint; see [`StageConfig::NormConstraint`].
    pub norm_constraint: Option<Schedule>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for EmbeddingKfac {
    /// As [`Kfac`]'s.
    fn default() -> Self {
        let kfac = Kfac::default();
        let damping = Damping::RelativeToTrace(0.3.into());
        EmbeddingKfac {
            learning_rate: kfac.learning_rate,
            output_damping: damping.clone(),
            input_damping: damping,
            root: kfac.root,
            averaging: kfac.averaging,
            refresh: kfac.refresh,
            momentum: kfac.momentum,
            norm_constraint: kfac.norm_constraint,
            weight_decay: kfac.weight_decay,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for EmbeddingKfac {
    fn chain(&self) -> Chain {
        let output = FactorConfig {
            averaging: self.averaging.clone(),
            damping: self.output_damping.clone(),
            root: self.root.clone(),
            ..FactorConfig::of(Statistic::Signal)
        };
        Chain::new(self.learning_rate.clone())
            .then_maybe(self.momentum.clone())
            .then(DiagonalFactorConfig {
                averaging: self.averaging.clone(),
                damping: self.input_damping.clone(),
                ..DiagonalFactorConfig::new(Side::Right)
            })
            .then(KroneckerConfig {
                refresh: self.refresh.clone(),
                ..KroneckerConfig::new(output, FactorConfig::left_alone())
            })
            .then_maybe(self.norm_constraint.clone().map(StageConfig::NormConstraint))
            .with_weight_decay(&self.weight_decay)
    }
}
