//! The direction that is preconditioned: the gradient, or an average of gradients.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2};

use crate::config::averaging::Averaging;
use crate::config::momentum::{Direction, Filter, Momentum};
use crate::numeric::entrywise::update_pair;
use crate::numeric::finite::bytes;
use crate::state::persist::persist;
use crate::state::staged::Staged;
use crate::statistics::clock::AverageClock;

/// A direction's state.
#[derive(Debug)]
pub(crate) enum DirectionState<A> {
    Gradient,
    Momentum(MomentumState<A>),
    Ema(EmaState<A>),
}

#[derive(Debug)]
pub(crate) struct EmaState<A> {
    averaging: Averaging,
    filter: Filter,
    mean: Staged<Array2<A>>,
    clock: Staged<AverageClock>,
}

persist!(
    enum DirectionState<A> {
        Gradient,
        Momentum(state),
        Ema(state),
    }
);
persist!(EmaState<A> { mean, clock });

impl<A: Scalar> DirectionState<A> {
    pub(crate) fn new(config: &Direction, shape: (usize, usize)) -> Self {
        match config {
            Direction::Gradient => DirectionState::Gradient,
            Direction::Momentum(momentum) => {
                DirectionState::Momentum(MomentumState::new(momentum, shape))
            }
            Direction::Ema { beta, bias_correction, filter } => DirectionState::Ema(EmaState {
                averaging: Averaging::Ema { beta: beta.clone(), bias_correction: *bias_correction },
                filter: filter.clone(),
                mean: Staged::twice(Array2::zeros(shape)),
                clock: Staged::twice(AverageClock::start()),
            }),
        }
    }

    /// Writes the direction, and proposes the state after this gradient. Returns the divisor of
    /// the bias correction.
    pub(crate) fn propose(&mut self, gradient: &ArrayView2<A>, direction: &mut Array2<A>) -> f64 {
        match self {
            DirectionState::Gradient => direction.assign(gradient),
            DirectionState::Momentum(state) => state.propose(gradient, direction),
            DirectionState::Ema(state) => {
                let (correction, stage) = state.begin();
                advance(stage, gradient, direction);
                return correction;
            }
        }
        1.0
    }

    /// The rule of a step, the state, and the place of the next state, where there is one.
    pub(crate) fn begin(&mut self) -> Option<ArrayStage<'_, A>> {
        match self {
            DirectionState::Gradient => None,
            DirectionState::Momentum(state) => Some(state.begin()),
            DirectionState::Ema(state) => Some(state.begin().1),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            DirectionState::Gradient => 0,
            DirectionState::Momentum(state) => state.memory_bytes(),
            DirectionState::Ema(state) => 2 * bytes::<A>(state.mean.current().dim()),
        }
    }
}

/// What a step makes of an entry of the state and of the gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DirectionRule<A> {
    /// `D = b₊` or, Nesterov's, `take g + momentum b₊`.
    Momentum { momentum: A, take: A, starts: bool, nesterov: bool },
    /// `D = keep m₊`.
    Average { old: A, new: A, keep: A },
    /// `D = keep m₊ + take g`.
    Nesterov { old: A, new: A, keep: A, take: A },
    /// `D = keep m + take g`.
    Separate { old: A, new: A, keep: A, take: A },
}

impl<A: Scalar> DirectionRule<A> {
    /// Writes the next states and the directions.
    #[inline(always)]
    pub(crate) fn entries(self, next: &mut [A], direction: &mut [A], state: &[A], gradient: &[A]) {
        let places = (next, direction, state, gradient);
        match self {
            DirectionRule::Momentum { momentum, take, starts, nesterov } => each(places, |b, g| {
                let next = if starts { g } else { momentum * b + take * g };
                (next, if nesterov { take * g + momentum * next } else { next })
            }),
            DirectionRule::Average { old, new, keep } => each(places, |mean, g| {
                let next = old * mean + new * g;
                (next, next * keep)
            }),
            DirectionRule::Nesterov { old, new, keep, take } => each(places, |mean, g| {
                let next = old * mean + new * g;
                (next, keep * next + take * g)
            }),
            DirectionRule::Separate { old, new, keep, take } => {
                each(places, |mean, g| (old * mean + new * g, keep * mean + take * g))
            }
        }
    }
}

#[inline(always)]
fn each<A: Scalar>(
    (next, direction, state, gradient): (&mut [A], &mut [A], &[A], &[A]),
    entry: impl Fn(A, A) -> (A, A),
) {
    for ((next, d), (&state, &g)) in next.iter_mut().zip(direction).zip(state.iter().zip(gradient))
    {
        (*next, *d) = entry(state, g);
    }
}

/// A rule, the state, and the place of the next.
type ArrayStage<'a, A> = (DirectionRule<A>, &'a Array2<A>, &'a mut Array2<A>);

fn advance<A: Scalar>(
    (rule, state, next): ArrayStage<'_, A>,
    gradient: &ArrayView2<A>,
    direction: &mut Array2<A>,
) {
    update_pair(next, direction, state, gradient, move |next, direction, state, gradient| {
        rule.entries(next, direction, state, gradient);
    });
}

impl<A: Scalar> EmaState<A> {
    /// The divisor of the bias correction beside what [`DirectionState::begin`] gives.
    fn begin(&mut self) -> (f64, ArrayStage<'_, A>) {
        let (clock, weights) = self.clock.current().tick(&self.averaging);
        let step = self.clock.current().count;
        *self.clock.split_proposed().1 = clock;
        let (old, new) = (A::from_f64(weights.old), A::from_f64(weights.new));
        let (keep, take, correction) = match &self.filter {
            Filter::Average => (1.0, 0.0, weights.correction),
            // The weights sum to β (1 − Π β) + (1−β).
            Filter::Nesterov => {
                (weights.old, weights.new, 1.0 - weights.old * (1.0 - weights.correction))
            }
            Filter::Separate(beta) => {
                let beta = beta.value(step);
                (beta, 1.0 - beta, self.separate_correction(beta))
            }
        };
        let divisor = A::from_f64(correction);
        let (keep, take) = (A::from_f64(keep) / divisor, A::from_f64(take) / divisor);
        let rule = match &self.filter {
            Filter::Average => DirectionRule::Average { old, new, keep },
            Filter::Nesterov => DirectionRule::Nesterov { old, new, keep, take },
            Filter::Separate(_) => DirectionRule::Separate { old, new, keep, take },
        };
        let (mean, next) = self.mean.split_proposed();
        (correction, (rule, mean, next))
    }

    /// The weights of all gradients in `β₃ m + (1−β₃) g` sum to `1 − β₃ Π β` over earlier steps.
    fn separate_correction(&self, beta: f64) -> f64 {
        match self.averaging {
            Averaging::Ema { bias_correction: true, .. } => {
                1.0 - beta * self.clock.current().decay()
            }
            _ => 1.0,
        }
    }
}

/// The buffer of a [`Momentum`].
#[derive(Debug)]
pub(crate) struct MomentumState<A> {
    config: Momentum,
    buffer: Staged<Array2<A>>,
    steps: Staged<u64>,
}

persist!(MomentumState<A> { buffer, steps });

impl<A: Scalar> MomentumState<A> {
    pub(crate) fn new(config: &Momentum, shape: (usize, usize)) -> Self {
        MomentumState {
            config: config.clone(),
            buffer: Staged::twice(Array2::zeros(shape)),
            steps: Staged::twice(0),
        }
    }

    /// As [`DirectionState::propose`].
    pub(crate) fn propose(&mut self, gradient: &ArrayView2<A>, direction: &mut Array2<A>) {
        advance(self.begin(), gradient, direction);
    }

    fn begin(&mut self) -> ArrayStage<'_, A> {
        let (&step, next_step) = self.steps.split_proposed();
        *next_step = step + 1;
        let rule = DirectionRule::Momentum {
            momentum: A::from_f64(self.config.momentum.value(step)),
            take: A::from_f64(1.0 - self.config.dampening.value(step)),
            starts: step == 0 && !self.config.from_zero,
            nesterov: self.config.nesterov,
        };
        let (buffer, next) = self.buffer.split_proposed();
        (rule, buffer, next)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.buffer.current().dim())
    }
}
