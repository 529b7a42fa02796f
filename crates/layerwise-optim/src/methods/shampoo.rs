//! Shampoo.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::damping::{Damping, JointDamping};
use crate::config::diagonal::DiagonalConfig;
use crate::config::factor::FactorConfig;
use crate::config::grafting::Grafting;
use crate::config::growth::NonExhaustive;
use crate::config::kronecker::KroneckerConfig;
use crate::config::momentum::{Filter, HeavyBall, Momentum};
use crate::config::partition::Partition;
use crate::config::refresh::Refresh;
use crate::config::root::RootMethod;
use crate::config::stage::StageConfig;
use crate::config::statistic::Statistic;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Shampoo (Gupta, Koren and Singer 2018): `W ← W − η L^{-e} D R^{-e}` with `L` and `R` averages
/// or sums of `G Gᵀ` and `GᵀG`; one-sided with [`Exponents::left`] or [`Exponents::right`].
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Averaging, Damping, Method, Shampoo, Signal};
///
/// // The first step of undamped Shampoo is the gradient's polar factor: both singular values of the
/// // step are η.
/// let mut weight = array![[1.0_f64, 2.0], [3.0, 4.0]];
/// let method = Shampoo {
///     learning_rate: 0.1.into(),
///     averaging: Averaging::Sum,
///     damping: Damping::None,
///     ..Shampoo::stylised()
/// };
/// let mut optimizer = method.build(weight.dim())?;
/// let gradient = array![[0.5, -1.0], [2.0, 0.25]];
/// let report = optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// assert!((report.update_norm - 0.1 * 2.0_f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shampoo {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// Momentum of gradients, before the factors; without, the gradient is taken as it is.
    pub momentum: Option<Momentum>,
    /// How `L` and `R` remember.
    pub averaging: Averaging,
    /// `e` of each side, ≥ 0; a side with exponent 0 is left alone.
    pub exponent: Exponents,
    /// What is added to each before its root is taken.
    pub damping: Damping,
    /// How roots are computed.
    pub root: RootMethod,
    /// Multiply `L` and `R` by this negative power of their traces, in [0, 1], before damping and
    /// root; 0 for not at all.
    pub trace_scaling: f64,
    /// When roots are computed anew.
    pub refresh: Refresh,
    /// Whose step length it takes.
    pub grafting: Option<Grafting>,
    /// Momentum of updates, after the factors.
    pub update_momentum: Option<HeavyBall>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// How the weight is laid out: limits of the factors' size, merging of small dimensions.
    pub partition: Partition,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

/// The exponents of both sides' roots. A number converts into the same for both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exponents {
    /// Of the left factor.
    pub left: f64,
    /// Of the right factor.
    pub right: f64,
}

impl From<f64> for Exponents {
    fn from(exponent: f64) -> Self {
        Exponents { left: exponent, right: exponent }
    }
}

impl Exponents {
    /// The left side alone.
    #[must_use]
    pub fn left(exponent: f64) -> Self {
        Exponents { left: exponent, right: 0.0 }
    }

    /// The right side alone.
    #[must_use]
    pub fn right(exponent: f64) -> Self {
        Exponents { left: 0.0, right: exponent }
    }
}

/// KL-Shampoo (arXiv 2509.03378): Shampoo whose factors are second moments of the gradient whitened
/// by the other side,
///
/// ```text
/// L ← β L + (1−β) G R⁻¹ Gᵀ/n,    R ← β R + (1−β) Gᵀ L⁻¹ G/m,    W ← W − η L^{-½} D R^{-½}
/// ```
///
/// with the inverses as they were last refreshed. Before the first refresh they are `I/r`, with `r`
/// the root mean square of the gradient's entries (our choice), so that steps do not depend on the
/// gradient's scale.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{KlShampoo, Method, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0, 3.0], [4.0, 5.0, 6.5]];
/// let mut optimizer = KlShampoo::default().build(weight.dim())?;
/// for _ in 0..10 {
///     let gradient = weight.clone(); // of ½‖W‖²
///     optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// }
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlShampoo {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// Momentum of gradients, before the factors; without, the gradient is taken as it is.
    pub momentum: Option<Momentum>,
    /// How `L` and `R` remember.
    pub averaging: Averaging,
    /// Divide by `n` and `m`, and start from `r I`; where it is false, as Distributed Shampoo does:
    /// no divisors, and a start from the identity.
    pub normalized: bool,
    /// The exponents of the roots, ≥ 0; the whitening takes twice that. A side with 0 is left alone.
    pub exponent: Exponents,
    /// What is added to each factor before its root is taken.
    pub damping: Damping,
    /// How roots are computed.
    pub root: RootMethod,
    /// When roots are computed anew.
    pub refresh: Refresh,
    /// Whose step length it takes.
    pub grafting: Option<Grafting>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// How the weight is laid out: limits of the factors' size, merging of small dimensions.
    pub partition: Partition,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl KlShampoo {
    /// As [`Shampoo::stylised`].
    #[must_use]
    pub fn stylised() -> Self {
        KlShampoo {
            learning_rate: 0.01.into(),
            momentum: None,
            refresh: Refresh::default(),
            grafting: None,
            partition: Partition::default(),
            ..KlShampoo::default()
        }
    }
}

impl Default for KlShampoo {
    /// For networks (our choice): as [`Shampoo`]'s, with exponent ½, factors that are normalized, and a
    /// ridge of 10⁻⁶ λ_max.
    fn default() -> Self {
        KlShampoo {
            learning_rate: 0.003.into(),
            momentum: Some(averaged_gradients()),
            averaging: Averaging::Ema { beta: 0.95.into(), bias_correction: true },
            normalized: true,
            exponent: 0.5.into(),
            damping: Damping::RelativeToLargest(1e-6.into()),
            root: RootMethod::default(),
            refresh: Refresh::every(10),
            grafting: Some(Grafting::Diagonal(DiagonalConfig::default())),
            weight_decay: WeightDecay::None,
            partition: Partition::for_networks(),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for KlShampoo {
    fn chain(&self) -> Chain {
        Shampoo {
            learning_rate: self.learning_rate.clone(),
            momentum: self.momentum.clone(),
            averaging: self.averaging.clone(),
            exponent: self.exponent,
            damping: self.damping.clone(),
            root: self.root.clone(),
            refresh: self.refresh.clone(),
            grafting: self.grafting.clone(),
            weight_decay: self.weight_decay.clone(),
            partition: self.partition.clone(),
            ..Shampoo::default()
        }
        .chain_of(Statistic::Whitened { normalized: self.normalized })
    }
}

/// Adam's first moment.
fn averaged_gradients() -> Momentum {
    Momentum::Ema { beta: 0.9.into(), bias_correction: true, filter: Filter::Average }
}

impl Shampoo {
    /// The update by itself, as it is analysed: `η` = 0.01, gradients as they are, roots at every step, no
    /// grafting, every weight as the matrix that it is.
    #[must_use]
    pub fn stylised() -> Self {
        Shampoo {
            learning_rate: 0.01.into(),
            momentum: None,
            refresh: Refresh::default(),
            grafting: None,
            partition: Partition::default(),
            ..Shampoo::default()
        }
    }
}

impl Default for Shampoo {
    /// For networks (our choice, after Distributed Shampoo): `η` = 0.003, Adam's first moment (β = 0.9) and
    /// step length, averages with β = 0.95 corrected, exponent ¼, ridge 10⁻⁸ λ_max, roots at the first step
    /// and then at each multiple of 10, [`Partition::for_networks`].
    fn default() -> Self {
        Shampoo {
            learning_rate: 0.003.into(),
            momentum: Some(averaged_gradients()),
            averaging: Averaging::Ema { beta: 0.95.into(), bias_correction: true },
            exponent: 0.25.into(),
            damping: Damping::RelativeToLargest(1e-8.into()),
            root: RootMethod::default(),
            trace_scaling: 0.0,
            refresh: Refresh::every(10),
            grafting: Some(Grafting::Diagonal(DiagonalConfig::default())),
            update_momentum: None,
            weight_decay: WeightDecay::None,
            partition: Partition::for_networks(),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Shampoo {
    fn chain(&self) -> Chain {
        self.chain_of(Statistic::Gradient)
    }
}

impl Shampoo {
    fn chain_of(&self, statistic: Statistic) -> Chain {
        let factor = |exponent| {
            if exponent == 0.0 {
                return FactorConfig::left_alone();
            }
            FactorConfig {
                statistic,
                averaging: self.averaging.clone(),
                damping: self.damping.clone(),
                exponent,
                root: self.root.clone(),
                trace_scaling: self.trace_scaling,
                non_exhaustive: NonExhaustive::default(),
            }
        };
        let kronecker = KroneckerConfig {
            left: factor(self.exponent.left),
            right: factor(self.exponent.right),
            damping: JointDamping::None,
            refresh: self.refresh.clone(),
            non_exhaustive: NonExhaustive::default(),
        };
        Chain::new(self.learning_rate.clone())
            .then_maybe(self.momentum.clone())
            .then(
                StageConfig::Kronecker(kronecker)
                    .grafted(self.grafting.clone())
                    .in_parts(&self.partition),
            )
            .with_weight_decay(&self.weight_decay)
            .then_maybe(self.update_momentum.clone().map(Momentum::HeavyBall))
    }
}
