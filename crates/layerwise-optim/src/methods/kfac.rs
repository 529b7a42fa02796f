//! KFAC.

use serde::{Deserialize, Serialize};

use crate::config::adaptation::LevenbergMarquardt;
use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::damping::{Damping, JointDamping};
use crate::config::factor::FactorConfig;
use crate::config::growth::NonExhaustive;
use crate::config::kronecker::KroneckerConfig;
use crate::config::momentum::{HeavyBall, Momentum};
use crate::config::partition::Partition;
use crate::config::refresh::Refresh;
use crate::config::root::RootMethod;
use crate::config::stage::StageConfig;
use crate::config::statistic::Statistic;
use crate::config::weight_decay::WeightDecay;
use crate::number::number_or_spelled_out;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Kronecker-factored approximate curvature (Martens and Grosse 2015):
/// `W ← W − η (P + λ_P I)⁻¹ D (Q + λ_Q I)⁻¹`, with `P` the layer's output factor and `Q` its input
/// factor; by Cholesky solves, where [`Kfac::root`] does not say otherwise.
///
/// The defaults are for networks: averaged factors, damping relative to them, and a norm constraint.
/// [`Kfac::stylised`] is the update of Zhang et al. 2025, eq. (1), for one layer.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Factor, Kfac, Method, Signal};
///
/// // ½ tr(A (W − W⋆) B (W − W⋆)ᵀ) curves by A on the output and by B on the input side: a step of
/// // length 1 by exact factors is a step to the minimum.
/// let (a, b) = (array![[2.0_f64, 0.5], [0.5, 1.0]], array![[1.0, -0.3], [-0.3, 4.0]]);
/// let minimum = array![[1.0, 2.0], [3.0, 4.0]];
/// let mut weight = array![[0.0, 0.0], [0.0, 0.0]];
/// let gradient = a.dot(&(&weight - &minimum)).dot(&b);
/// let method = Kfac {
///     learning_rate: 1.0.into(),
///     damping: 0.0.into(),
///     ..Kfac::stylised()
/// };
/// let mut optimizer = method.build(weight.dim())?;
/// let signal = Signal::new(gradient.view())
///     .with_input(Factor::SecondMoment(b.view()))
///     .with_output(Factor::SecondMoment(a.view()));
/// let report = optimizer.step(&mut weight.view_mut(), &signal)?;
/// assert!((weight - minimum).iter().all(|x| x.abs() < 1e-12));
/// assert!(report.left_condition.is_some_and(|condition| condition >= 1.0));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kfac {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// What the left factor is.
    pub output: OutputFactor,
    /// What is added to the factors. A number is the same absolute `λ` for each of them.
    pub damping: KfacDamping,
    /// How they are inverted; [`KfacDamping::Exact`] decomposes them itself.
    pub root: RootMethod,
    /// How factors remember.
    pub averaging: Averaging,
    /// When they are factored anew.
    pub refresh: Refresh,
    /// Momentum of gradients, before the factors; without, the gradient is taken as it is.
    pub momentum: Option<Momentum>,
    /// `κ` > 0 of the norm constraint (KL clip) on this weight's step; see
    /// [`StageConfig::NormConstraint`].
    pub norm_constraint: Option<Schedule>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// Up to which dimension a side has a factor; it is not cut, as the layer's factors are whole.
    pub partition: Partition,
    /// Adaptation of the dampings.
    pub damping_adaptation: Option<LevenbergMarquardt>,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

/// The left factor of KFAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OutputFactor {
    /// The output factor that the layer reports.
    #[default]
    Signal,
    /// The identity: one-sided KFAC.
    Identity,
}

/// The damping of KFAC. The rules agree at `λ = 0`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[non_exhaustive]
pub enum KfacDamping {
    /// Each factor by its own: `(P + λ_P I)⁻¹ D (Q + λ_Q I)⁻¹`.
    PerFactor {
        /// `λ_P` ≥ 0; not added to an [identity](OutputFactor::Identity).
        output: Schedule,
        /// `λ_Q` ≥ 0 (`λ_G` for the first layer of Zhang et al.).
        input: Schedule,
    },
    /// One `λ` ≥ 0 split between them, [`JointDamping::FactoredTikhonov`].
    FactoredTikhonov(Schedule),
    /// One `λ` ≥ 0 of the product, [`JointDamping::Exact`].
    Exact(Schedule),
    /// `λ` ≥ 0 of each factor's mean eigenvalue, [`Damping::RelativeToTrace`], so that the scale of inputs
    /// and losses does not matter. It is factored Tikhonov with `λ² (tr P/m)(tr Q/n)` of the product.
    Relative(Schedule),
}

number_or_spelled_out!(KfacDamping, "a number, or a damping by its name");

impl KfacDamping {
    /// Each factor by its own, `λ_P` and `λ_Q`.
    #[must_use]
    pub fn per_factor(output: impl Into<Schedule>, input: impl Into<Schedule>) -> Self {
        KfacDamping::PerFactor { output: output.into(), input: input.into() }
    }

    /// That of the left factor, of the right one, and of their product.
    fn of_factors(&self) -> (Damping, Damping, JointDamping) {
        match self {
            KfacDamping::PerFactor { output, input } => {
                (output.clone().into(), input.clone().into(), JointDamping::None)
            }
            KfacDamping::FactoredTikhonov(damping) => {
                (Damping::None, Damping::None, JointDamping::FactoredTikhonov(damping.clone()))
            }
            KfacDamping::Exact(damping) => {
                (Damping::None, Damping::None, JointDamping::Exact(damping.clone()))
            }
            KfacDamping::Relative(damping) => {
                let damping = Damping::RelativeToTrace(damping.clone());
                (damping.clone(), damping, JointDamping::None)
            }
        }
    }
}

impl From<f64> for KfacDamping {
    fn from(damping: f64) -> Self {
        KfacDamping::per_factor(damping, damping)
    }
}

impl Kfac {
    /// The stylised update of Zhang et al. 2025, eq. (1): `η` = 0.1, an absolute damping of 10⁻⁶ on each
    /// factor, the latest factors at every step by Cholesky solves, and nothing else.
    #[must_use]
    pub fn stylised() -> Self {
        Kfac {
            damping: 1e-6.into(),
            root: RootMethod::Cholesky,
            averaging: Averaging::None,
            refresh: Refresh::default(),
            norm_constraint: None,
            partition: Partition::default(),
            ..Kfac::default()
        }
    }
}

impl Default for Kfac {
    /// For networks (our choice, after Martens and Grosse 2015 and Ba et al. 2017): `η` = 0.1, damping of
    /// 0.3 of each factor's mean eigenvalue, averages with β = 0.99 corrected, inverted at the first step
    /// and then at each multiple of 10, norm constraint 10⁻³, no momentum; sides above 4096 left alone.
    ///
    /// A shorter memory forgets the curvature of what a network has learned to be sure of: the Fisher matrix of
    /// the latest batches is then next to nothing, and the next surprise makes a step that undoes the training.
    fn default() -> Self {
        Kfac {
            learning_rate: 0.1.into(),
            output: OutputFactor::Signal,
            damping: KfacDamping::Relative(0.3.into()),
            root: RootMethod::Inverse,
            averaging: Averaging::Ema { beta: 0.99.into(), bias_correction: true },
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

impl Method for Kfac {
    fn chain(&self) -> Chain {
        self.chain_of(self.damping.of_factors(), 1.0)
    }
}

impl Kfac {
    fn chain_of(
        &self,
        (output_damping, input_damping, joint_damping): (Damping, Damping, JointDamping),
        input_exponent: f64,
    ) -> Chain {
        let root = match self.damping {
            KfacDamping::Exact(_) => RootMethod::default(),
            _ => self.root.clone(),
        };
        let factor = |damping| FactorConfig {
            averaging: self.averaging.clone(),
            damping,
            root: root.clone(),
            ..FactorConfig::of(Statistic::Signal)
        };
        let left = match self.output {
            OutputFactor::Signal => factor(output_damping),
            OutputFactor::Identity => FactorConfig::left_alone(),
        };
        let right = match input_exponent {
            0.0 => FactorConfig::left_alone(),
            exponent => factor(input_damping).with_exponent(exponent),
        };
        Chain {
            damping_adaptation: self.damping_adaptation,
            ..Chain::new(self.learning_rate.clone())
                .then_maybe(self.momentum.clone())
                .then(
                    StageConfig::Kronecker(KroneckerConfig {
                        damping: joint_damping,
                        refresh: self.refresh.clone(),
                        ..KroneckerConfig::new(left, right)
                    })
                    .in_parts(&self.partition),
                )
                .then_maybe(self.norm_constraint.clone().map(StageConfig::NormConstraint))
                .with_weight_decay(&self.weight_decay)
        }
    }
}

/// KFAC with the identity on the output side: `W ← W − η D (Q + λ I)^{-p}`, with p = 1.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Factor, Method, OneSidedKfac, Signal};
///
/// // Least squares in one step: the inputs' second moment is all of the curvature.
/// let inputs = array![[1.0_f64, 0.5], [-1.0, 2.0], [0.0, 1.0], [2.0, -0.5]];
/// let solution = array![[3.0, -1.0]];
/// let targets = inputs.dot(&solution.t());
/// let mut weight = array![[0.0, 0.0]];
/// let errors = inputs.dot(&weight.t()) - &targets;
/// let gradient = errors.t().dot(&inputs) / 4.0;
/// let method = OneSidedKfac {
///     learning_rate: 1.0.into(),
///     damping: 0.0.into(),
///     ..OneSidedKfac::stylised()
/// };
/// let mut optimizer = method.build(weight.dim())?;
/// let signal = Signal::new(gradient.view()).with_input(Factor::Samples(inputs.view()));
/// optimizer.step(&mut weight.view_mut(), &signal)?;
/// assert!((weight - solution).iter().all(|x| x.abs() < 1e-12));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneSidedKfac {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// What is added to the input factor. A number is absolute.
    pub damping: Damping,
    /// `p` ≥ 0; with 0 the factor is left out, and what remains is gradient descent. Other than 1 it
    /// takes eigendecompositions.
    pub exponent: f64,
    /// How the factor is inverted.
    pub root: RootMethod,
    /// How the factor remembers.
    pub averaging: Averaging,
    /// When it is factored anew.
    pub refresh: Refresh,
    /// Momentum of gradients, before the factors; without, the gradient is taken as it is.
    pub momentum: Option<Momentum>,
    /// `κ` > 0 of the norm constraint (KL clip) on this weight's step; see
    /// [`StageConfig::NormConstraint`].
    pub norm_constraint: Option<Schedule>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    /// Up to which dimension the input side has a factor.
    pub partition: Partition,
    /// Adaptation of the damping.
    pub damping_adaptation: Option<LevenbergMarquardt>,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl OneSidedKfac {
    /// As [`Kfac::stylised`].
    #[must_use]
    pub fn stylised() -> Self {
        OneSidedKfac {
            learning_rate: 0.1.into(),
            damping: 1e-6.into(),
            root: RootMethod::Cholesky,
            averaging: Averaging::None,
            refresh: Refresh::default(),
            momentum: None,
            partition: Partition::default(),
            ..OneSidedKfac::default()
        }
    }
}

impl Default for OneSidedKfac {
    /// For networks (our choice): `η` = 0.01, momentum 0.9, and else as [`Kfac`]'s, but without a norm
    /// constraint, as the step is not one by an inverse Fisher matrix.
    fn default() -> Self {
        OneSidedKfac {
            learning_rate: 0.01.into(),
            damping: Damping::RelativeToTrace(0.3.into()),
            exponent: 1.0,
            root: RootMethod::Inverse,
            averaging: Averaging::Ema { beta: 0.99.into(), bias_correction: true },
            refresh: Refresh::every(10),
            momentum: Some(HeavyBall::new(0.9).into()),
            norm_constraint: None,
            weight_decay: WeightDecay::None,
            partition: Partition::leaving_large_sides(),
            damping_adaptation: None,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for OneSidedKfac {
    fn chain(&self) -> Chain {
        Kfac {
            learning_rate: self.learning_rate.clone(),
            output: OutputFactor::Identity,
            root: self.root.clone(),
            averaging: self.averaging.clone(),
            refresh: self.refresh.clone(),
            momentum: self.momentum.clone(),
            norm_constraint: self.norm_constraint.clone(),
            weight_decay: self.weight_decay.clone(),
            partition: self.partition.clone(),
            damping_adaptation: self.damping_adaptation,
            ..Kfac::default()
        }
        .chain_of((Damping::None, self.damping.clone(), JointDamping::None), self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::Sgd;
    use crate::signal::{Factor, Signal};

    /// −Δ/η of a step from zero on this gradient.
    fn direction(method: &dyn Method, gradient: &Array2<f64>, factor: &Array2<f64>) -> Array2<f64> {
        let mut weight = Array2::zeros(gradient.raw_dim());
        let signal = Signal::new(gradient.view()).with_input(Factor::SecondMoment(factor.view()));
        let mut optimizer = method.chain().build::<f64>(weight.dim()).unwrap();
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        weight * -1.0
    }

    #[test]
    fn the_exponent_goes_from_gradient_descent_to_the_inverse() {
        let factor = array![[2.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 40.0]];
        let gradient = array![[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]];
        let kfac = |exponent| OneSidedKfac {
            learning_rate: 1.0.into(),
            damping: 0.1.into(),
            exponent,
            ..OneSidedKfac::stylised()
        };
        let sgd = Sgd { learning_rate: 1.0.into(), ..Sgd::default() };
        let none = direction(&kfac(0.0), &gradient, &factor);
        assert_eq!(none, direction(&sgd, &gradient, &factor));
        // Q^{-p} Q^{-(1-p)} is the inverse, within a few ε κ.
        let inverse = direction(&kfac(1.0), &gradient, &factor);
        for p in [0.25, 0.5] {
            let rest = direction(&kfac(p), &gradient, &factor);
            let both = direction(&kfac(1.0 - p), &rest, &factor);
            assert!((&both - &inverse).iter().all(|x| x.abs() < 1e-13), "{p}");
            assert!((&rest - &inverse).iter().any(|x| x.abs() > 0.1));
        }
    }

    #[test]
    fn numbers_are_read_and_spelled_out_forms_stay() {
        let read = |text| serde_json::from_str::<Kfac>(text).unwrap();
        let short = read(r#"{"learning_rate": 1, "damping": 0.5}"#);
        assert_eq!(short.learning_rate, Schedule::Constant(1.0));
        assert_eq!(short.damping, KfacDamping::per_factor(0.5, 0.5));
        let text = serde_json::to_string(&short).unwrap();
        assert!(text.contains(r#""learning_rate":{"Constant":1.0}"#), "{text}");
        assert_eq!(read(&text), short);
        assert_eq!(serde_json::from_str::<Damping>("0.25").unwrap(), 0.25.into());
        assert_eq!(serde_json::from_str::<Damping>(r#""None""#).unwrap(), Damping::None);
        let cosine: Schedule =
            serde_json::from_str(r#"{"Cosine": {"from": 1, "to": 0.5, "steps": 9}}"#).unwrap();
        assert_eq!(cosine, Schedule::cosine(1.0, 0.5, 9));
    }

    #[test]
    fn what_is_neither_is_refused_with_what_is_allowed() {
        let refused = |text| serde_json::from_str::<Schedule>(text).unwrap_err().to_string();
        assert!(refused("true").contains("a number, or a schedule"), "{}", refused("true"));
        let unknown = refused(r#"{"Constnat": 1}"#);
        assert!(unknown.contains("unknown variant `Constnat`, expected one of"), "{unknown}");
    }
}
