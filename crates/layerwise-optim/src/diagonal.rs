//! Entry-wise preconditioning: Adagrad, RMSprop, Adam, AMSGrad.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::averaging::{AverageClock, Averaging};
use crate::entrywise::{InOut, update1, update2};
use crate::error::{OptimError, Result};
use crate::finite::{bytes, check_shape, check_weight, first_non_finite};
use crate::persist::{Persist, join, persist};
use crate::preconditioner::sealed::Sealed;
use crate::preconditioner::{Observation, Preconditioner};
use crate::schedule::{Schedule, When, check_number};
use crate::signal::Signal;
use crate::staged::Staged;
use crate::values::{StateReader, StateWriter, refuse};

/// What overflows, where its entries are those of the weight.
pub(crate) const SECOND_MOMENT: &str = "the second moment of the gradient";

/// Entry-wise second moments `v` of gradients, and the map `D ← D / (v̂^p + ε)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiagonalConfig {
    /// How `v` takes in `g²`.
    pub averaging: Averaging,
    /// `ε` ≥ 0. Where `v` and `ε` are both zero, the entry does not move.
    pub epsilon: Schedule,
    /// Where `ε` enters.
    pub epsilon_placement: EpsilonPlacement,
    /// `p` > 0: ½ for a root of squares.
    pub exponent: f64,
    /// Use the largest `v` so far in place of `v`, entry by entry and before the bias correction
    /// (Reddi et al. 2018, AMSGrad; PyTorch).
    pub maximum: bool,
    /// Take the square of the averaged gradient off `v`, so that it is a variance (Graves 2013,
    /// centred RMSprop). Where rounding makes that negative, it counts as zero.
    pub centered: bool,
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
            exponent: 0.5,
            maximum: false,
            centered: false,
            initial: 0.0,
        }
    }
}

/// Where `ε` enters relative to the bias correction `c`. They agree where `c = 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EpsilonPlacement {
    /// `(v/c)^p + ε` (Kingma and Ba 2015, algorithm 1; PyTorch; Distributed Shampoo).
    #[default]
    AfterCorrection,
    /// `(v^p + ε)/c^p` (Kingma and Ba 2015, end of §2; SOAP's authors).
    BeforeCorrection,
}

impl DiagonalConfig {
    /// Whether an entry is divided by the root of an average, or of a sum, and nothing else.
    pub(crate) fn is_average_and_root(&self) -> bool {
        !self.maximum && !self.centered && self.exponent == 0.5
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.averaging.check(when, "diagonal.averaging.beta")?;
        self.epsilon.check_non_negative(when, "diagonal.epsilon")?;
        check_number("diagonal.exponent", self.exponent, "finite and > 0", |x| x > 0.0)?;
        check_number("diagonal.initial", self.initial, "finite and ≥ 0", |x| x >= 0.0)?;
        let no_average = matches!(self.averaging, Averaging::Sum | Averaging::Decay { .. });
        if self.centered && (self.maximum || no_average) {
            return Err(OptimError::Incompatible {
                first: "a centred second moment",
                second: "its maximum, or a statistic that is not an average",
                why: "the square of a mean is taken off the mean of squares",
            });
        }
        Ok(())
    }
}

/// The statistic `v`, shared with the diagonal in an eigenbasis.
#[derive(Debug)]
pub(crate) struct SecondMoments<A> {
    config: DiagonalConfig,
    moments: Staged<Array2<A>>,
    /// The largest moments so far, and the mean, where they are asked for.
    largest: Option<Staged<Array2<A>>>,
    mean: Option<Staged<Array2<A>>>,
    clock: Staged<AverageClock>,
    /// Of the latest observation.
    rule: SecondMomentRule<A>,
    /// The divisor `c` of the bias correction.
    correction: A,
    /// What `ε` is multiplied by.
    epsilon_factor: f64,
}

/// What a step does to an entry of `v`, and `v` to one of `D`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecondMomentRule<A> {
    old: A,
    new: A,
    scale: A,
    epsilon: A,
}

impl<A: Scalar> SecondMomentRule<A> {
    #[inline(always)]
    pub(crate) fn average(self, v: A, square: A) -> A {
        self.old * v + self.new * square
    }

    /// `D·scale/(v^p + ε)`.
    #[inline(always)]
    pub(crate) fn divide(self, d: A, power: A) -> A {
        let denominator = power + self.epsilon;
        let quotient = d * self.scale / denominator;
        // An entry whose statistic is zero never had a gradient.
        if denominator == A::zero() { A::zero() } else { quotient }
    }
}

persist!(SecondMoments<A> { moments, largest, mean, clock } checked by check_loaded);

impl<A: Scalar> SecondMoments<A> {
    pub(crate) fn new(config: &DiagonalConfig, shape: (usize, usize)) -> Self {
        SecondMoments {
            config: config.clone(),
            moments: Staged::twice(Array2::from_elem(shape, A::from_f64(config.initial))),
            largest: config.maximum.then(|| Staged::twice(Array2::zeros(shape))),
            mean: config.centered.then(|| Staged::twice(Array2::zeros(shape))),
            clock: Staged::twice(AverageClock::start()),
            rule: SecondMomentRule {
                old: A::zero(),
                new: A::one(),
                scale: A::one(),
                epsilon: A::zero(),
            },
            correction: A::one(),
            epsilon_factor: 1.0,
        }
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        for (name, array) in [("moments", Some(&self.moments)), ("largest", self.largest.as_ref())]
        {
            if array.is_some_and(|array| array.current().iter().any(|&v| v < A::zero())) {
                return Err(refuse(&join(path, name), "has a negative entry"));
            }
        }
        Ok(())
    }

    /// Proposes `v` with the squares of `entries` taken in.
    pub(crate) fn observe(&mut self, entries: &ArrayView2<A>) -> Result<()> {
        self.take_in(entries, |x| x * x)
    }

    /// Proposes `v` with these squares taken in.
    pub(crate) fn observe_squares(&mut self, squares: &ArrayView2<A>) -> Result<()> {
        self.take_in(squares, |x| x)
    }

    fn take_in(&mut self, entries: &ArrayView2<A>, square: impl Fn(A) -> A) -> Result<()> {
        let rule = self.begin();
        let (moments, next) = self.moments.split();
        update2(next, moments, entries, move |next, v, g| *next = rule.average(v, square(g)));
        if let Some((row, col, value)) = first_non_finite(&self.moments.split().1.view()) {
            return Err(OptimError::Overflow { what: SECOND_MOMENT, row, col, value });
        }
        self.moments.propose();
        if let Some(largest) = &mut self.largest {
            let (current, next) = largest.split();
            update2(next, current, self.moments.latest(), move |next, u, v| {
                *next = if v > u { v } else { u };
            });
            largest.propose();
        }
        if let Some(mean) = &mut self.mean {
            let (current, next) = mean.split();
            update2(next, current, entries, move |next, mean, g| *next = rule.average(mean, g));
            mean.propose();
        }
        Ok(())
    }

    /// Forgets a former proposal; what the next does to an entry.
    fn begin(&mut self) -> SecondMomentRule<A> {
        self.discard();
        let step = self.clock.current().count;
        let (clock, weights) = self.clock.current().tick(&self.config.averaging);
        *self.clock.split_proposed().1 = clock;
        // (v/c)^p + ε = (v^p + ε c^p)/c^p
        let root = power(weights.correction, self.config.exponent);
        self.correction = A::from_f64(weights.correction);
        let epsilon = self.config.epsilon.value(step) * self.epsilon_factor;
        self.rule = SecondMomentRule {
            old: A::from_f64(weights.old),
            new: A::from_f64(weights.new),
            scale: A::from_f64(root),
            epsilon: A::from_f64(match self.config.epsilon_placement {
                EpsilonPlacement::AfterCorrection => epsilon * root,
                EpsilonPlacement::BeforeCorrection => epsilon,
            }),
        };
        self.rule
    }

    /// For a step in one loop, where that [is possible](DiagonalConfig::is_average_and_root): the rule
    /// of an entry, `v`, and the place of the next `v`.
    pub(crate) fn begin_fused(&mut self) -> Option<InOut<'_, SecondMomentRule<A>, A>> {
        let rule = self.begin();
        let (moments, next) = self.moments.split_proposed();
        Some((rule, moments.as_slice()?, next.as_slice_mut()?))
    }

    pub(crate) fn apply(&self, direction: &mut ArrayViewMut2<'_, A>) {
        self.apply_above(A::zero(), direction);
    }

    /// As [`apply`](Self::apply), for the squares of m × n entries that were rotated: each is known to
    /// some √(m + n) ε of the largest, and a square that rounding made zero would divide the rounding of
    /// another entry by nothing.
    pub(crate) fn apply_rotated(&self, direction: &mut ArrayViewMut2<'_, A>) {
        let squares = self.largest.as_ref().unwrap_or(&self.moments).latest();
        let largest = squares.iter().fold(A::zero(), |largest, &v| largest.max(v));
        let sides = A::from_f64((squares.nrows() + squares.ncols()) as f64);
        self.apply_above(sides * A::epsilon() * A::epsilon() * largest, direction);
    }

    /// With `v` no smaller than `least`, but where `v` and `ε` are both zero.
    fn apply_above(&self, least: A, direction: &mut ArrayViewMut2<'_, A>) {
        let exponent = A::from_f64(self.config.exponent);
        let moves = self.rule.epsilon > A::zero();
        let above = move |v: A| if moves || v > A::zero() { v.max(least) } else { v };
        match self.config.exponent {
            0.5 => self.divide(direction, move |v| above(v).sqrt()),
            1.0 => self.divide(direction, above),
            _ => self.divide(direction, move |v| above(v).powf(exponent)),
        }
    }

    fn divide(&self, direction: &mut ArrayViewMut2<'_, A>, root: impl Fn(A) -> A + Copy) {
        let rule = self.rule;
        let divide = move |d: &mut A, v: A| *d = rule.divide(*d, root(v));
        let moments = self.moments.latest();
        match (&self.largest, &self.mean) {
            (Some(largest), _) => update1(direction, largest.latest(), divide),
            (None, Some(mean)) => {
                let correction = self.correction;
                update2(direction, moments, mean.latest(), move |d, v, mean| {
                    divide(d, (v - mean * mean / correction).max(A::zero()));
                });
            }
            (None, None) => update1(direction, moments, divide),
        }
    }

    /// `D ← v̂ D`.
    pub(crate) fn multiply(&self, direction: &mut ArrayViewMut2<'_, A>) {
        let correction = self.correction;
        update1(direction, self.moments.latest(), move |d, v| *d = *d * v / correction);
    }

    pub(crate) fn set_epsilon_factor(&mut self, factor: f64) {
        self.epsilon_factor = factor;
    }

    /// What the bias correction of the latest observation multiplies directions by.
    pub(crate) fn scale(&self) -> f64 {
        self.rule.scale.as_f64()
    }

    pub(crate) fn discard(&mut self) {
        for array in self.arrays_mut() {
            array.discard();
        }
        self.clock.discard();
    }

    pub(crate) fn commit(&mut self) {
        for array in self.arrays_mut() {
            array.commit();
        }
        self.clock.commit();
    }

    /// All that there is for each entry, for instance to be rearranged before it is committed.
    pub(crate) fn arrays_mut(&mut self) -> impl Iterator<Item = &mut Staged<Array2<A>>> {
        [Some(&mut self.moments), self.largest.as_mut(), self.mean.as_mut()].into_iter().flatten()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let arrays = 1 + usize::from(self.largest.is_some()) + usize::from(self.mean.is_some());
        2 * arrays * bytes::<A>(self.moments.current().dim())
    }
}

fn power(x: f64, exponent: f64) -> f64 {
    if exponent == 0.5 { x.sqrt() } else { x.powf(exponent) }
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
    /// Hyperparameters out of range, and shapes that are empty or too large.
    pub fn new(config: &DiagonalConfig, shape: (usize, usize)) -> Result<Self> {
        config.check(When::Build)?;
        check_weight::<A>(shape)?;
        Ok(Diagonal { moments: SecondMoments::new(config, shape), shape })
    }

    pub(crate) fn moments_mut(&mut self) -> &mut SecondMoments<A> {
        &mut self.moments
    }
}

impl<A> Sealed for Diagonal<A> {}

impl<A: Scalar> Preconditioner<A> for Diagonal<A> {
    fn observe(&mut self, signal: &Signal<'_, A>) -> Result<Observation> {
        let gradient = signal.gradient();
        check_shape("gradient", &gradient, self.shape)?;
        self.moments.observe(&gradient)?;
        Ok(Observation { scale: Some(self.moments.scale()), ..Observation::default() })
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

    fn save_state(&self, path: &str, out: &mut StateWriter<A>) {
        self.moments.save(path, out);
    }

    fn load_state(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.moments.load(path, from)
    }
}
