//! Momentum: what is accumulated of the directions that arrive.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayViewMut2};

use crate::config::averaging::Averaging;
use crate::config::momentum::{Filter, HeavyBall, Momentum};
use crate::error::Result;
use crate::numeric::entrywise::update_pair;
use crate::numeric::finite::{check_shape, within_limit};
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::state::held::Held;
use crate::state::persist::{Persist, persist, stage_state};
use crate::state::staged::Staged;
use crate::statistics::clock::{AverageClock, AverageWeights};

/// The buffer of a heavy ball, or an average.
#[derive(Debug)]
pub(crate) struct MomentumState<A> {
    config: Momentum,
    averaging: Averaging,
    buffer: Held<A>,
    clock: Staged<AverageClock>,
    /// Of the latest observation.
    rule: MomentumRule<A>,
}

persist!(MomentumState<A> { buffer, clock });

/// What a step makes of an entry `m` of the state and of the direction `g` that arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MomentumRule<A> {
    /// `D = b₊` or, Nesterov's, `take g + momentum b₊`.
    HeavyBall { momentum: A, take: A, starts: bool, nesterov: bool },
    /// `D = keep m₊`.
    Average { old: A, new: A, keep: A },
    /// `D = keep m₊ + take g`.
    Nesterov { old: A, new: A, keep: A, take: A },
    /// `D = keep m + take g`.
    Separate { old: A, new: A, keep: A, take: A },
}

impl<A: Scalar> MomentumRule<A> {
    /// Turns states into the next ones, and what arrives into directions.
    #[inline(always)]
    pub(crate) fn entries(self, states: &mut [A], directions: &mut [A]) {
        let places = (states, directions);
        match self {
            MomentumRule::HeavyBall { momentum, take, starts, nesterov } => {
                each(places, |b, g| {
                    let next = if starts { g } else { momentum * b + take * g };
                    (next, if nesterov { take * g + momentum * next } else { next })
                });
            }
            MomentumRule::Average { old, new, keep } => each(places, |mean, g| {
                let next = old * mean + new * g;
                (next, next * keep)
            }),
            MomentumRule::Nesterov { old, new, keep, take } => each(places, |mean, g| {
                let next = old * mean + new * g;
                (next, keep * next + take * g)
            }),
            MomentumRule::Separate { old, new, keep, take } => {
                each(places, |mean, g| (old * mean + new * g, keep * mean + take * g));
            }
        }
    }

    /// Bounds of the norms of the next state and of the direction, of those of the state and of what
    /// arrives.
    fn bounds(self, state: f64, arrives: f64) -> (f64, f64) {
        let sum = |a: A, x: f64, b: A, y: f64| a.as_f64().abs() * x + b.as_f64().abs() * y;
        match self {
            MomentumRule::HeavyBall { momentum, take, starts, nesterov } => {
                let next = if starts { arrives } else { sum(momentum, state, take, arrives) };
                (next, if nesterov { sum(momentum, next, take, arrives) } else { next })
            }
            MomentumRule::Average { old, new, keep } => {
                let next = sum(old, state, new, arrives);
                (next, sum(keep, next, A::zero(), 0.0))
            }
            MomentumRule::Nesterov { old, new, keep, take } => {
                let next = sum(old, state, new, arrives);
                (next, sum(keep, next, take, arrives))
            }
            MomentumRule::Separate { old, new, keep, take } => {
                (sum(old, state, new, arrives), sum(keep, state, take, arrives))
            }
        }
    }
}

#[inline(always)]
fn each<A: Scalar>((states, directions): (&mut [A], &mut [A]), entry: impl Fn(A, A) -> (A, A)) {
    for (state, d) in states.iter_mut().zip(directions) {
        (*state, *d) = entry(*state, *d);
    }
}

impl<A: Scalar> MomentumState<A> {
    pub(crate) fn new(config: &Momentum, shape: (usize, usize)) -> Self {
        let averaging = match config {
            Momentum::HeavyBall(_) => Averaging::None,
            Momentum::Ema { beta, bias_correction, .. } => {
                Averaging::Ema { beta: beta.clone(), bias_correction: *bias_correction }
            }
        };
        MomentumState {
            config: config.clone(),
            averaging,
            buffer: Held::new(Array2::zeros(shape)),
            clock: Staged::twice(AverageClock::start()),
            rule: MomentumRule::Average { old: A::zero(), new: A::one(), keep: A::one() },
        }
    }

    /// Forgets a former proposal, and fixes the rule of this step. Returns the divisor of the bias
    /// correction.
    fn begin(&mut self, time: u64) -> f64 {
        Persist::<A>::discard(self);
        let (&clock, next) = self.clock.split_proposed();
        let (ticked, weights) = clock.tick(&self.averaging, time);
        *next = ticked;
        let (rule, divisor) = match &self.config {
            Momentum::HeavyBall(heavy_ball) => (heavy_ball_rule(heavy_ball, clock, time), 1.0),
            Momentum::Ema { bias_correction, filter, .. } => {
                ema_rule(filter, clock, weights, *bias_correction, time)
            }
        };
        self.rule = rule;
        divisor
    }

    /// For a step in one loop, which has begun and takes place: its rule, and the state.
    pub(crate) fn in_place(&mut self) -> Option<(MomentumRule<A>, &mut [A])> {
        Some((self.rule, self.buffer.place(true).as_slice_mut()?))
    }
}

fn heavy_ball_rule<A: Scalar>(
    config: &HeavyBall,
    clock: AverageClock,
    time: u64,
) -> MomentumRule<A> {
    MomentumRule::HeavyBall {
        momentum: A::from_f64(config.momentum.value(time)),
        take: A::from_f64(1.0 - config.dampening.value(time)),
        starts: clock.count == 0 && !config.from_zero,
        nesterov: config.nesterov,
    }
}

/// The rule, and the divisor of the bias correction.
fn ema_rule<A: Scalar>(
    filter: &Filter,
    clock: AverageClock,
    weights: AverageWeights,
    bias_correction: bool,
    time: u64,
) -> (MomentumRule<A>, f64) {
    let (keep, take, correction) = match filter {
        Filter::Average => (1.0, 0.0, weights.correction),
        // The weights sum to β (1 − Π β) + (1−β).
        Filter::Nesterov => {
            (weights.old, weights.new, 1.0 - weights.old * (1.0 - weights.correction))
        }
        // The weights in `β₃ m + (1−β₃) g` sum to `1 − β₃ Π β` over earlier steps.
        Filter::Separate(beta) => {
            let beta = beta.value(time);
            let correction = if bias_correction { 1.0 - beta * clock.decay() } else { 1.0 };
            (beta, 1.0 - beta, correction)
        }
    };
    let (old, new) = (A::from_f64(weights.old), A::from_f64(weights.new));
    let divisor = A::from_f64(correction);
    let (keep, take) = (A::from_f64(keep) / divisor, A::from_f64(take) / divisor);
    let rule = match filter {
        Filter::Average => MomentumRule::Average { old, new, keep },
        Filter::Nesterov => MomentumRule::Nesterov { old, new, keep, take },
        Filter::Separate(_) => MomentumRule::Separate { old, new, keep, take },
    };
    (rule, correction)
}

impl<A: Scalar> Stage<A> for MomentumState<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        let divisor = self.begin(step.time);
        Ok(Observation { scale: Some(1.0 / divisor), ..Observation::default() })
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.buffer.current().dim())?;
        let rule = self.rule;
        update_pair(self.buffer.place(step.in_place), direction, move |states, directions| {
            rule.entries(states, directions);
        });
        Ok(())
    }

    stage_state!();

    fn memory_bytes(&self) -> usize {
        self.buffer.memory_bytes()
    }
}

impl<A: Scalar> Bounded<A> for MomentumState<A> {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        let (next, leaves) = self.rule.bounds(self.buffer.norm(), arrives);
        self.buffer.will_be_within(within_limit::<A>(next)?);
        within_limit::<A>(leaves)
    }

    fn reserve(&mut self) {
        self.buffer.reserve();
    }
}
