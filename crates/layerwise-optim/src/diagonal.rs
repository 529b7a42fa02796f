//! Entry-wise preconditioning: Adagrad, RMSprop, Adam.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip};
use serde::{Deserialize, Serialize};

use crate::averaging::{AverageClock, Averaging};
use crate::error::{OptimError, Result};
use crate::finite::{check_shape, first_non_finite};
use crate::preconditioner::{Observation, Preconditioner, bytes};
use crate::schedule::{Schedule, check_number};
use crate::signal::Signal;
use crate::staged::Staged;

/// Entry-wise second moments `v` of gradients, and the map `D ← D / (√v̂ + ε)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiagonalConfig {
    /// How `v` takes in `g²`.
    pub averaging: Averaging,
    /// `ε` ≥ 0. Where `v` and `ε` are both zero, the entry does not move.
    pub epsilon: Schedule,
    /// Where `ε` enters.
    pub epsilon_placement: EpsilonPlacement,
    /// What `v` starts from, ≥ 0 (Adagrad's initial accumulator).
    pub initial: f64,
}

impl Default for DiagonalConfig {
    /// Adam's: an average with β = 0.999, corrected; ε = 10⁻⁸ after the correction.
    fn default() -> Self {
        DiagonalConfig {
            averaging: Averaging::Ema { beta: 0.999.into(), bias_correction: true },
            epsilon: 1e-8.into(),
            epsilon_placement: EpsilonPlacement::default(),
            initial: 0.0,
        }
    }
}

/// Where `ε` enters relative to the bias correction `c`. They agree where `c = 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EpsilonPlacement {
    /// `√(v/c) + ε` (Kingma and Ba 2015, algorithm 1; PyTorch; Distributed Shampoo).
    #[default]
    AfterCorrection,
    /// `(√v + ε)/√c` (Kingma and Ba 2015, end of §2; SOAP's authors).
    BeforeCorrection,
}

impl DiagonalConfig {
    pub(crate) fn check(&self) -> Result<()> {
        self.averaging.check("diagonal.averaging.beta")?;
        self.epsilon.check_non_negative("diagonal.epsilon")?;
        check_number("diagonal.initial", self.initial, "finite and ≥ 0", |x| x >= 0.0)
    }
}

/// The statistic `v`, shared with the diagonal in an eigenbasis.
#[derive(Debug)]
pub(crate) struct SecondMoments<A> {
    config: DiagonalConfig,
    moments: Staged<Array2<A>>,
    clock: Staged<AverageClock>,
    /// Of the latest observation: `D ← D·scale/(√v + ε)`.
    scale: A,
    epsilon: A,
}

impl<A: Scalar> SecondMoments<A> {
    pub(crate) fn new(config: &DiagonalConfig, shape: (usize, usize)) -> Self {
        SecondMoments {
            config: config.clone(),
            moments: Staged::twice(Array2::from_elem(shape, A::from_f64(config.initial))),
            clock: Staged::twice(AverageClock::start()),
            scale: A::one(),
            epsilon: A::zero(),
        }
    }

    /// Proposes `v` with the squares of `entries` taken in.
    pub(crate) fn observe(&mut self, entries: &ArrayView2<A>) -> Result<()> {
        self.discard();
        let step = self.clock.current().count;
        let (clock, weights) = self.clock.current().tick(&self.config.averaging);
        *self.clock.split().1 = clock;
        self.clock.propose();
        let (old, new) = (A::from_f64(weights.old), A::from_f64(weights.new));
        let (moments, next) = self.moments.split();
        Zip::from(next).and(moments).and(entries).for_each(|next, &v, &g| {
            *next = old * v + new * g * g;
        });
        if let Some((row, col, value)) = first_non_finite(&self.moments.split().1.view()) {
            let what = "the second moment of the gradient";
            return Err(OptimError::Overflow { what, row, col, value });
        }
        self.moments.propose();
        // √(v/c) + ε = (√v + ε√c)/√c
        let root = weights.correction.sqrt();
        let epsilon = self.config.epsilon.value(step);
        self.scale = A::from_f64(root);
        self.epsilon = A::from_f64(match self.config.epsilon_placement {
            EpsilonPlacement::AfterCorrection => epsilon * root,
            EpsilonPlacement::BeforeCorrection => epsilon,
        });
        Ok(())
    }

    pub(crate) fn apply(&self, direction: &mut ArrayViewMut2<'_, A>) {
        let (scale, epsilon) = (self.scale, self.epsilon);
        Zip::from(direction).and(self.moments.latest()).for_each(|d, &v| {
            let denominator = v.sqrt() + epsilon;
            // An entry whose statistic is zero never had a gradient.
            *d = if denominator > A::zero() { *d * scale / denominator } else { A::zero() };
        });
    }

    pub(crate) fn discard(&mut self) {
        self.moments.discard();
        self.clock.discard();
    }

    pub(crate) fn commit(&mut self) {
        self.moments.commit();
        self.clock.commit();
    }

    /// The latest `v`, to be rearranged before it is committed.
    pub(crate) fn latest_mut(&mut self) -> &mut Array2<A> {
        self.moments.latest_mut()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.moments.current().dim())
    }
}

/// Entry-wise preconditioning in the coordinates of the weight.
#[derive(Debug)]
pub struct Diagonal<A> {
    moments: SecondMoments<A>,
    shape: (usize, usize),
}

impl<A: Scalar> Diagonal<A> {
    /// For weights of this shape.
    ///
    /// # Errors
    ///
    /// Hyperparameters out of range.
    pub fn new(config: &DiagonalConfig, shape: (usize, usize)) -> Result<Self> {
        config.check()?;
        Ok(Diagonal { moments: SecondMoments::new(config, shape), shape })
    }
}

impl<A: Scalar> Preconditioner<A> for Diagonal<A> {
    fn observe(&mut self, signal: &Signal<'_, A>) -> Result<Observation> {
        let gradient = signal.gradient();
        check_shape("gradient", &gradient, self.shape)?;
        self.moments.observe(&gradient)?;
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        self.moments.apply(direction);
        Ok(())
    }

    fn commit(&mut self) {
        self.moments.commit();
    }

    fn memory_bytes(&self) -> usize {
        self.moments.memory_bytes()
    }
}
