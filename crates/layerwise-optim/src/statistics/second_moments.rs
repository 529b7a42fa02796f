//! Entry-wise second moments, and what dividing by their root makes of a direction.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::diagonal::{DiagonalConfig, EpsilonPlacement};
use crate::error::{OptimError, Result};
use crate::numeric::entrywise::{InOut, update1, update2};
use crate::numeric::finite::{bytes, first_non_finite};
use crate::state::persist::{Persist, join, persist};
use crate::state::staged::Staged;
use crate::statistics::clock::AverageClock;
use crate::values::refuse;

/// What overflows, where its entries are those of the weight.
pub(crate) const SECOND_MOMENT: &str = "the second moment of the gradient";

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

    /// Proposes `v` with the squares of `entries` taken in, at the step that has begun.
    pub(crate) fn observe(&mut self, entries: &ArrayView2<A>) -> Result<()> {
        self.take_in(entries, |x| x * x)
    }

    /// Proposes `v` with these squares taken in.
    pub(crate) fn observe_squares(&mut self, squares: &ArrayView2<A>) -> Result<()> {
        self.take_in(squares, |x| x)
    }

    fn take_in(&mut self, entries: &ArrayView2<A>, square: impl Fn(A) -> A) -> Result<()> {
        let rule = self.rule;
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

    /// Begins a step: forgets a former proposal, and fixes what this one does to an entry.
    pub(crate) fn begin(&mut self, time: u64) {
        self.discard();
        let (clock, weights) = self.clock.current().tick(&self.config.averaging, time);
        *self.clock.split_proposed().1 = clock;
        // (v/c)^p + ε = (v^p + ε c^p)/c^p
        let root = power(weights.correction, self.config.exponent);
        self.correction = A::from_f64(weights.correction);
        let epsilon = self.config.epsilon.value(time) * self.epsilon_factor;
        self.rule = SecondMomentRule {
            old: A::from_f64(weights.old),
            new: A::from_f64(weights.new),
            scale: A::from_f64(root),
            epsilon: A::from_f64(match self.config.epsilon_placement {
                EpsilonPlacement::AfterCorrection => epsilon * root,
                EpsilonPlacement::BeforeCorrection => epsilon,
            }),
        };
    }

    pub(crate) fn is_average_and_root(&self) -> bool {
        self.config.is_average_and_root()
    }

    /// For a step in one loop, where that is possible: the rule of an entry, `v`, and the place of the
    /// next `v`.
    pub(crate) fn advance(&mut self) -> Option<InOut<'_, SecondMomentRule<A>, A>> {
        let (moments, next) = self.moments.split_proposed();
        Some((self.rule, moments.as_slice()?, next.as_slice_mut()?))
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
