//! SOAP.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::basis::{BasisMethod, BasisUse};
use crate::config::chain::Chain;
use crate::config::diagonal::{DiagonalConfig, EpsilonPlacement};
use crate::config::eigenbasis::{EigenbasisConfig, TurnedMoments};
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::partition::{LargeDimension, Partition};
use crate::config::polar::PolarConfig;
use crate::config::refresh::Refresh;
use crate::config::stage::StageConfig;
use crate::config::statistic::Statistic;
use crate::config::weight_decay::WeightDecay;
use crate::error::Side;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// SOAP (Vyas et al. 2024): Adam in the eigenbases of Shampoo's factors.
///
/// The default takes Distributed Shampoo's conventions (each step moves the weight, by the
/// refreshed basis); [`Soap::as_published`] those of the authors' code.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, Signal, Soap};
///
/// // In the basis of its first gradient, that gradient is diagonal, and Adam's first step makes both
/// // entries of the diagonal η: another polar factor.
/// let mut weight = array![[1.0_f64, 2.0], [3.0, 4.0]];
/// let mut optimizer = Soap { learning_rate: 0.1.into(), ..Soap::default() }.build(weight.dim())?;
/// let gradient = array![[0.5, -1.0], [2.0, 0.25]];
/// let report = optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// assert!((report.update_norm - 0.1 * 2.0_f64.sqrt()).abs() < 1e-6);
/// assert!(report.refreshed);
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Soap {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1), of the average of gradients.
    pub beta1: Schedule,
    /// `β₂` in [0, 1), of the average of squares in the basis.
    pub beta2: Schedule,
    /// `β` in [0, 1), of both factors.
    pub factor_beta: Schedule,
    /// `ε` ≥ 0.
    pub epsilon: Schedule,
    /// Where `ε` enters.
    pub epsilon_placement: EpsilonPlacement,
    /// Divide averages of gradients and squares by `1 − Π β`.
    pub bias_correction: bool,
    /// How bases are computed.
    pub basis: BasisMethod,
    /// Which basis a step uses.
    pub basis_use: BasisUse,
    /// When bases are computed anew.
    pub refresh: Refresh,
    /// What becomes of the average of squares when a refresh turns the bases; where it stays and bases are decomposed
    /// at every step, directions without a gradient can make steps of any length.
    pub turned_moments: TurnedMoments,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// The exponent of the squares' average, > 0: ½ for Adam's.
    pub exponent: f64,
    /// What the factors are of: of gradients, or for KL-SOAP (Lin et al. 2025) of gradients that the other
    /// side's factor has [whitened](Statistic::Whitened).
    pub statistic: Statistic,
    /// The only side that is rotated into an eigenbasis; without, both are.
    pub one_sided: Option<Side>,
    /// How the weight is laid out: limits of the factors' size, merging.
    pub partition: Partition,
    /// Normalize the direction that comes out of the bases ([`StageConfig::NormalizeRms`]).
    pub normalize: bool,
    /// The polar factor of the direction in the bases. (It is the one outside of them, rotated, so that the
    /// stage comes after.)
    pub polar: Option<PolarConfig>,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Soap {
    /// `η` = 0.003, β = (0.95, 0.95), factors 0.95, ε = 10⁻⁸; bases by eigendecomposition, at the
    /// first step and then at each multiple of 10; [`Partition::for_networks`].
    fn default() -> Self {
        Soap {
            learning_rate: 0.003.into(),
            beta1: 0.95.into(),
            beta2: 0.95.into(),
            factor_beta: 0.95.into(),
            epsilon: 1e-8.into(),
            epsilon_placement: EpsilonPlacement::AfterCorrection,
            bias_correction: true,
            basis: BasisMethod::default(),
            basis_use: BasisUse::Refreshed,
            refresh: Refresh::every(10),
            turned_moments: TurnedMoments::Kept,
            weight_decay: WeightDecay::None,
            exponent: 0.5,
            statistic: Statistic::Gradient,
            one_sided: None,
            partition: Partition::for_networks(),
            normalize: false,
            polar: None,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Soap {
    /// KL-SOAP (Lin et al. 2025): the eigenbases of the Kronecker product that is nearest to the gradients'
    /// second moment in the sense of Kullback and Leibler. Its factors are of gradients that the other side's
    /// factor has whitened, along the basis and by the eigenvalues from before the step.
    #[must_use]
    pub fn kl() -> Self {
        Soap { statistic: Statistic::Whitened { normalized: true }, ..Soap::default() }
    }

    /// The conventions and defaults of the authors' code: the first step only collects
    /// statistics; a step uses the basis from before it; bases by one QR step every 10 steps;
    /// ε before the bias correction; decoupled decay 0.01 of the new weight; sides with more than
    /// 10,000 dimensions left alone.
    #[must_use]
    pub fn as_published() -> Self {
        Soap {
            epsilon_placement: EpsilonPlacement::BeforeCorrection,
            basis: BasisMethod::qr_step(0.0),
            basis_use: BasisUse::Previous,
            weight_decay: WeightDecay::DecoupledAfter(0.01.into()),
            partition: Partition {
                max_dimension: Some(10_000),
                large: LargeDimension::LeftAlone,
                ..Partition::default()
            },
            ..Soap::default()
        }
    }
}

impl Method for Soap {
    fn chain(&self) -> Chain {
        let bias_correction = self.bias_correction;
        let side = |side| match self.one_sided {
            Some(only) if only != side => Statistic::None,
            _ => self.statistic,
        };
        let eigenbasis = EigenbasisConfig {
            // Eigenvectors do not see the factors' scale; what they whiten does.
            averaging: Averaging::Ema {
                beta: self.factor_beta.clone(),
                bias_correction: bias_correction
                    && (self.basis_use == BasisUse::Refreshed
                        || self.statistic != Statistic::Gradient),
            },
            basis: self.basis.clone(),
            basis_use: self.basis_use,
            refresh: self.refresh.clone(),
            turned_moments: self.turned_moments,
            diagonal: DiagonalConfig {
                averaging: Averaging::Ema { beta: self.beta2.clone(), bias_correction },
                epsilon: self.epsilon.clone(),
                epsilon_placement: self.epsilon_placement,
                exponent: self.exponent,
                ..DiagonalConfig::default()
            },
            ..EigenbasisConfig::new(side(Side::Left), side(Side::Right))
        };
        Chain::new(self.learning_rate.clone())
            .then(Momentum::Ema {
                beta: self.beta1.clone(),
                bias_correction,
                filter: Filter::Average,
            })
            .then(StageConfig::Eigenbasis(eigenbasis).in_parts(&self.partition))
            .then_maybe(self.normalize.then_some(StageConfig::NormalizeRms))
            .then_maybe(self.polar.clone())
            .with_weight_decay(&self.weight_decay)
    }
}
