//! EKFAC.

use serde::{Deserialize, Serialize};

use crate::config::adaptation::LevenbergMarquardt;
use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::diagonal::DiagonalConfig;
use crate::config::eigenbasis::{DiagonalEstimate, EigenbasisConfig, TurnedMoments};
use crate::config::growth::NonExhaustive;
use crate::config::momentum::Momentum;
use crate::config::partition::Partition;
use crate::config::refresh::Refresh;
use crate::config::stage::StageConfig;
use crate::config::statistic::Statistic;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Eigenvalue-corrected KFAC (George et al. 2018):
/// `W ← W − η U [(UᵀDV) / (v̂ + λ)] Vᵀ`, with `U` and `V` the eigenvectors of the layer's output and
/// input factor, and `v` the second moment of gradients in that basis, estimated anew at each step
/// where KFAC would take products of eigenvalues.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Ekfac, Factor, Method, Signal};
///
/// // One linear layer on four samples: errors δ as rows, inputs as rows.
/// let inputs = array![[1.0_f64, 0.5], [-1.0, 2.0], [0.0, 1.0], [2.0, -0.5]];
/// let errors = array![[0.5, 0.1], [-0.2, 0.4], [0.3, -0.3], [0.1, 0.2]];
/// let gradient = errors.t().dot(&inputs) / 4.0;
/// let mut weight = array![[0.0, 0.0], [0.0, 0.0]];
/// let mut optimizer = Ekfac::default().build(weight.dim())?;
/// let signal = Signal::new(gradient.view())
///     .with_input(Factor::Samples(inputs.view()))
///     .with_output(Factor::Samples(errors.view()));
/// optimizer.step(&mut weight.view_mut(), &signal)?;
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ekfac {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `λ` ≥ 0, added to `v̂`.
    pub damping: Schedule,
    /// `λ` ≥ 0, added to `v̂` as a multiple of its mean, so that the scale of inputs and losses does not
    /// matter, as long as gradients are far above 10⁻¹⁰.
    pub relative_damping: Schedule,
    /// How factors remember.
    pub averaging: Averaging,
    /// How `v` remembers.
    pub diagonal_averaging: Averaging,
    /// What `v` is estimated from.
    pub estimate: DiagonalEstimate,
    /// What becomes of `v` when a refresh turns the bases.
    pub turned_moments: TurnedMoments,
    /// When bases are computed anew.
    pub refresh: Refresh,
    /// Momentum of gradients, before the bases; without, the gradient is taken as it is.
    pub momentum: Option<Momentum>,
    /// `κ` > 0 of the norm constraint (KL clip) on this weight's step; see
    /// [`StageConfig::NormConstraint`].
    pub norm_constraint: Option<Schedule>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// Up to which dimension a side is rotated; it is not cut, as the layer's factors are whole.
    pub partition: Partition,
    /// Adaptation of the damping; the predicted reduction is in the report where `v` is estimated from
    /// samples.
    pub damping_adaptation: Option<LevenbergMarquardt>,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Ekfac {
    /// The update by itself: an absolute damping of 10⁻³, averages with β = 0.95, estimates that stay as they are when bases turn, no
    /// norm constraint.
    #[must_use]
    pub fn stylised() -> Self {
        let averaging = Averaging::Ema { beta: 0.95.into(), bias_correction: true };
        Ekfac {
            averaging: averaging.clone(),
            diagonal_averaging: averaging,
            damping: 1e-3.into(),
            relative_damping: 0.0.into(),
            turned_moments: TurnedMoments::Kept,
            norm_constraint: None,
            partition: Partition::default(),
            ..Ekfac::default()
        }
    }
}

impl Default for Ekfac {
    /// For networks (our choice): `η` = 0.1, damping of 0.1 of the mean of `v̂` (and an absolute 10⁻²⁰, so that
    /// no quotient overflows), averages with β = 0.99 corrected, estimates from samples, which turn with the
    /// bases, bases at the first step and then at each multiple of 10, norm constraint 10⁻³; sides above 4096
    /// left alone.
    fn default() -> Self {
        let averaging = Averaging::Ema { beta: 0.99.into(), bias_correction: true };
        Ekfac {
            learning_rate: 0.1.into(),
            damping: 1e-20.into(),
            relative_damping: 0.1.into(),
            averaging: averaging.clone(),
            diagonal_averaging: averaging,
            estimate: DiagonalEstimate::Samples,
            turned_moments: TurnedMoments::Transported,
            refresh: Refresh::every(10),
            momentum: None,
            norm_constraint: Some(1e-3.into()),
            weight_decay: WeightDecay::None,
            partition: Partition::leaving_large_sides(),
            damping_adaptation: None,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Ekfac {
    fn chain(&self) -> Chain {
        Chain {
            damping_adaptation: self.damping_adaptation,
            ..Chain::new(self.learning_rate.clone())
                .then_maybe(self.momentum.clone())
                .then(
                    StageConfig::Eigenbasis(EigenbasisConfig {
                        averaging: self.averaging.clone(),
                        refresh: self.refresh.clone(),
                        diagonal: DiagonalConfig {
                            averaging: self.diagonal_averaging.clone(),
                            epsilon: self.damping.clone(),
                            exponent: 1.0,
                            ..DiagonalConfig::default()
                        },
                        relative_damping: self.relative_damping.clone(),
                        estimate: self.estimate,
                        turned_moments: self.turned_moments,
                        ..EigenbasisConfig::new(Statistic::Signal, Statistic::Signal)
                    })
                    .in_parts(&self.partition),
                )
                .then_maybe(self.norm_constraint.clone().map(StageConfig::NormConstraint))
                .with_weight_decay(&self.weight_decay)
        }
    }
}
