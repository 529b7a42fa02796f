//! Entry-wise second moments, and what dividing by their root makes of a direction.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::averaging::Averaging;
use crate::config::diagonal::{DiagonalConfig, EpsilonPlacement};
use crate::error::{OptimError, Result};
use crate::numeric::entrywise::{update1, update2};
use crate::numeric::finite::{first_non_finite, within_limit};
use crate::state::held::Held;
use crate::state::persist::{Persist, join, persist};
use crate::state::staged::Staged;
use crate::statistics::clock::{AverageClock, AverageWeights};
use crate::values::refuse;

/// What overflows, where its entries are those of the weight.
pub(crate) const SECOND_MOMENT: &str = "the second moment of the gradient";

/// The statistic `v`, shared with the diagonal in an eigenbasis.
#[derive(Debug)]
pub(crate) struct SecondMoments<A> {
    config: DiagonalConfig,
    moments: Held<A>,
    /// The largest moments so far, and the mean, where they are asked for.
    largest: Option<Held<A>>,
    mean: Option<Held<A>>,
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
    /// Before the first observation.
    pub(crate) fn start() -> Self {
        let (zero, one) = (A::zero(), A::one());
        SecondMomentRule { old: zero, new: one, scale: one, epsilon: zero }
    }

    /// Of an observation with these weights, at the run's step `time`; `ε` times a factor.
    pub(crate) fn new(
        config: &DiagonalConfig,
        weights: AverageWeights,
        time: u64,
        epsilon_factor: f64,
    ) -> Self {
        // (v/c)^p + ε = (v^p + ε c^p)/c^p
        let root = power(weights.correction, config.exponent);
        let epsilon = config.epsilon.value(time) * epsilon_factor;
        SecondMomentRule {
            old: A::from_f64(weights.old),
            new: A::from_f64(weights.new),
            scale: A::from_f64(root),
            epsilon: A::from_f64(match config.epsilon_placement {
                EpsilonPlacement::AfterCorrection => epsilon * root,
                EpsilonPlacement::BeforeCorrection => epsilon,
            }),
        }
    }

    /// A bound of the norm of averages, given those of the norms of what is held and of what is taken in.
    pub(crate) fn bound(self, held: f64, taken: f64) -> f64 {
        self.old.as_f64() * held + self.new.as_f64() * taken
    }

    /// A bound of the norm of quotients, given that of what arrives.
    pub(crate) fn bound_quotient(self, arrives: f64, exponent: f64) -> Option<f64> {
        // A denominator of 0 gives 0; any other is at least the root of the least positive number.
        let least = A::from_f64(A::min_positive_value().as_f64() * A::epsilon().as_f64()).as_f64();
        let denominator = self.epsilon.as_f64().max(power(least, exponent));
        within_limit::<A>(arrives * self.scale.as_f64().max(1.0) / denominator)
    }

    /// What the bias correction multiplies directions by.
    pub(crate) fn scale(&self) -> f64 {
        self.scale.as_f64()
    }

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
            moments: Held::new(Array2::from_elem(shape, A::from_f64(config.initial))),
            largest: config.maximum.then(|| Held::new(Array2::zeros(shape))),
            mean: config.centered.then(|| Held::new(Array2::zeros(shape))),
            clock: Staged::twice(AverageClock::start()),
            rule: SecondMomentRule::start(),
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

    /// Takes the squares of `entries` in, at the step that has begun.
    pub(crate) fn observe(&mut self, entries: &ArrayView2<A>, in_place: bool) -> Result<()> {
        self.take_in(entries, in_place, |x| x * x, |_| Ok(()))
    }

    /// Takes in the squares of `entries`, or `entries` that are squares, once `turn` has been done to `v`.
    pub(crate) fn observe_turned(
        &mut self,
        entries: &ArrayView2<A>,
        are_squares: bool,
        in_place: bool,
        turn: impl Fn(&mut Array2<A>) -> Result<()>,
    ) -> Result<()> {
        if are_squares {
            self.take_in(entries, in_place, |x| x, turn)
        } else {
            self.take_in(entries, in_place, |x| x * x, turn)
        }
    }

    fn take_in(
        &mut self,
        entries: &ArrayView2<A>,
        in_place: bool,
        square: impl Fn(A) -> A,
        turn: impl Fn(&mut Array2<A>) -> Result<()>,
    ) -> Result<()> {
        let rule = self.rule;
        let moments = self.moments.place(in_place);
        turn(moments)?;
        update1(moments, entries, move |v, g| *v = rule.average(*v, square(g)));
        if !in_place && let Some((row, col, value)) = first_non_finite(&moments.view()) {
            return Err(OptimError::Overflow { what: SECOND_MOMENT, row, col, value });
        }
        if let Some(largest) = &mut self.largest {
            update1(largest.place(in_place), moments, |u, v| *u = if v > *u { v } else { *u });
        }
        if let Some(mean) = &mut self.mean {
            update1(mean.place(in_place), entries, move |mean, g| *mean = rule.average(*mean, g));
        }
        Ok(())
    }

    /// A bound of the norm of what dividing makes of a direction, given bounds of the norm of what arrives
    /// and of that of the squares which the step takes in. `turn` bounds what the norm of `v` grows by before.
    pub(crate) fn bound(&mut self, arrives: f64, squares: f64, turn: f64) -> Option<f64> {
        self.bound_moments(squares, turn)?;
        self.rule.bound_quotient(arrives, self.config.exponent)
    }

    /// Whether squares of the direction itself, taken in, leave of each entry its sign or less.
    pub(crate) fn leaves_signs(&self) -> bool {
        self.config.averaging == Averaging::None && self.config.exponent == 0.5
    }

    /// What bounds the moments after a step that takes in squares of this norm; `None` where they may leave the
    /// scalar's range.
    pub(crate) fn bound_moments(&mut self, squares: f64, turn: f64) -> Option<()> {
        let rule = self.rule;
        let moments = within_limit::<A>(rule.bound(turn * self.moments.norm(), squares))?;
        self.moments.will_be_within(moments);
        if let Some(largest) = &mut self.largest {
            let bound = within_limit::<A>(largest.norm() + moments)?;
            largest.will_be_within(bound);
        }
        if let Some(mean) = &mut self.mean {
            let bound = within_limit::<A>(rule.bound(turn * mean.norm(), squares.sqrt()))?;
            mean.will_be_within(bound);
        }
        Some(())
    }

    pub(crate) fn reserve(&mut self) {
        self.arrays_mut().for_each(Held::reserve);
    }

    /// Begins a step: forgets a former proposal, and fixes what this one does to an entry.
    pub(crate) fn begin(&mut self, time: u64) {
        self.discard();
        let clock = *self.clock.current();
        self.begin_from(clock, time);
    }

    fn begin_from(&mut self, clock: AverageClock, time: u64) {
        let (clock, weights) = clock.tick(&self.config.averaging, time);
        *self.clock.split_proposed().1 = clock;
        self.correction = A::from_f64(weights.correction);
        self.rule = SecondMomentRule::new(&self.config, weights, time, self.epsilon_factor);
    }

    /// As [`begin`](Self::begin), without what was taken in before.
    pub(crate) fn begin_anew(&mut self, time: u64) {
        self.discard();
        self.begin_from(AverageClock::start(), time);
        self.rule.old = A::zero();
    }

    pub(crate) fn is_average_and_root(&self) -> bool {
        self.config.is_average_and_root()
    }

    /// For a step in one loop, which has begun and takes place: the rule of an entry, and `v`.
    pub(crate) fn in_place(&mut self) -> Option<(SecondMomentRule<A>, &mut [A])> {
        Some((self.rule, self.moments.place(true).as_slice_mut()?))
    }

    pub(crate) fn apply(&self, direction: &mut ArrayViewMut2<'_, A>) {
        self.apply_above(A::zero(), A::zero(), direction);
    }

    /// As [`apply`](Self::apply), for the squares of m × n entries that were rotated: each is known to
    /// some √(m + n) ε of the largest, and a square that rounding made zero would divide the rounding of
    /// another entry by nothing. `damping` times the mean of the squares is added to each.
    pub(crate) fn apply_rotated(&self, damping: f64, direction: &mut ArrayViewMut2<'_, A>) {
        let squares = self.largest.as_ref().unwrap_or(&self.moments).latest();
        let largest = squares.iter().fold(A::zero(), |largest, &v| largest.max(v));
        let sides = A::from_f64((squares.nrows() + squares.ncols()) as f64);
        let added = if damping > 0.0 {
            let sum = squares.iter().map(|v| v.as_f64()).sum::<f64>();
            A::from_f64(damping * self.epsilon_factor * sum / squares.len() as f64)
        } else {
            A::zero()
        };
        self.apply_above(sides * A::epsilon() * A::epsilon() * largest, added, direction);
    }

    /// With `v` no smaller than `least`, but where `v` and `ε` are both zero, and with `added`.
    fn apply_above(&self, least: A, added: A, direction: &mut ArrayViewMut2<'_, A>) {
        let exponent = A::from_f64(self.config.exponent);
        let moves = self.rule.epsilon > A::zero() || added > A::zero();
        let above = move |v: A| if moves || v > A::zero() { v.max(least) + added } else { v };
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
        self.rule.scale()
    }

    /// All that there is for each entry, for instance to be rearranged before it is committed.
    pub(crate) fn arrays_mut(&mut self) -> impl Iterator<Item = &mut Held<A>> {
        [Some(&mut self.moments), self.largest.as_mut(), self.mean.as_mut()].into_iter().flatten()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        [Some(&self.moments), self.largest.as_ref(), self.mean.as_ref()]
            .into_iter()
            .flatten()
            .map(Held::memory_bytes)
            .sum()
    }
}

fn power(x: f64, exponent: f64) -> f64 {
    if exponent == 0.5 { x.sqrt() } else { x.powf(exponent) }
}
