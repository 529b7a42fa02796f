//! A whole step in one loop over entries.
//!
//! One stage after another reads and writes arrays that do not fit into the cache. Here all stages are
//! taken on a few entries before the next few. What they do to an entry is written with the stages.

use layerwise_linalg::Scalar;
use pulp::{Arch, Simd, WithSimd};

use crate::diagonal::SecondMomentRule;
use crate::direction::DirectionRule;
use crate::entrywise::{LANES, Lanes};
use crate::finite::{root_of_sum, square_of, square_of_difference};
use crate::optimizer::WeightRule;

/// How many entries are taken at a time: several vectors, and so few that the next ones are fetched
/// while these are computed with. (Pieces of the size of a cache are slower: the processor waits at
/// the beginning of each.)
const CHUNK: usize = 8 * LANES;

/// A state with its rule: as it is, and the place of the next.
pub(crate) type Stage<'a, R, A> = (R, &'a [A], &'a mut [A]);

/// A step of a weight, whose arrays are slices of one length.
pub(crate) struct Fused<'a, A> {
    /// The gradient as it was given, and as the method takes it.
    pub(crate) given: &'a [A],
    pub(crate) gradient: &'a [A],
    pub(crate) weight: &'a [A],
    /// Becomes the new weight.
    pub(crate) proposal: &'a mut [A],
    /// Without, the direction is the gradient.
    pub(crate) direction: Option<Stage<'a, DirectionRule<A>, A>>,
    /// Without, the direction is not preconditioned.
    pub(crate) second_moment: Option<Stage<'a, SecondMomentRule<A>, A>>,
    pub(crate) weight_rule: WeightRule<A>,
}

/// Frobenius norms.
pub(crate) struct Norms {
    pub(crate) gradient: f64,
    pub(crate) update: f64,
}

/// What is summed over all entries.
pub(crate) struct Sums<A> {
    gradient: Lanes,
    change: Lanes,
    /// Zeros as long as the second moment is finite, and NaN after.
    zeros: [A; CHUNK],
}

impl<A: Scalar> Fused<'_, A> {
    /// Writes the next states and the new weight; `None` if anything is not finite.
    pub(crate) fn run(mut self) -> Option<Norms> {
        let sums = Arch::new().dispatch(&mut self);
        let finite = sums.zeros.iter().all(|&zero| zero == A::zero());
        let changes = || self.proposal.iter().zip(self.weight).map(|(&new, &w)| (new - w).as_f64());
        let norms = Norms {
            gradient: root_of_sum(sums.gradient.total(), || self.given.iter().map(|x| x.as_f64())),
            update: root_of_sum(sums.change.total(), changes),
        };
        (finite && norms.gradient.is_finite() && norms.update.is_finite()).then_some(norms)
    }

    /// All stages on some entries.
    #[inline(always)]
    fn step(&mut self, start: usize, count: usize, sums: &mut Sums<A>) {
        let at = start..start + count;
        let given = &self.given[at.clone()];
        let g = &self.gradient[at.clone()];
        let w = &self.weight[at.clone()];
        let d = &mut self.proposal[at.clone()];
        match &mut self.direction {
            None => d.copy_from_slice(g),
            Some((rule, state, next)) => {
                rule.entries(&mut next[at.clone()], d, &state[at.clone()], g);
            }
        }
        if let Some((rule, state, next)) = &mut self.second_moment {
            let rule = *rule;
            let next = &mut next[at.clone()];
            for ((next, &v), &g) in next.iter_mut().zip(&state[at]).zip(g) {
                *next = rule.average(v, g * g);
            }
            for (zero, &v) in sums.zeros.iter_mut().zip(&*next) {
                *zero += v * A::zero();
            }
            for (d, &v) in d.iter_mut().zip(&*next) {
                *d = rule.divide(*d, v.sqrt());
            }
        }
        let rule = self.weight_rule;
        for (d, &w) in d.iter_mut().zip(w) {
            *d = rule.entry(w, *d);
        }
        sums.gradient.add(given, given, square_of);
        sums.change.add(d, w, square_of_difference);
    }
}

impl<A: Scalar> WithSimd for &mut Fused<'_, A> {
    type Output = Sums<A>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums<A> {
        let mut sums = Sums {
            gradient: Lanes::default(),
            change: Lanes::default(),
            zeros: [A::zero(); CHUNK],
        };
        let entries = self.proposal.len();
        let rest = entries % CHUNK;
        for start in (0..entries - rest).step_by(CHUNK) {
            self.step(start, CHUNK, &mut sums);
        }
        self.step(entries - rest, rest, &mut sums);
        sums
    }
}

#[cfg(test)]
mod tests {
    use layerwise_linalg::Scalar;
    use ndarray::{Array2, ShapeBuilder};
    use rand::{Rng, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use crate::{
        Adagrad, Adam, AdamW, Averaging, Clipping, Composition, DiagonalConfig, Direction,
        EpsilonPlacement, Filter, Method, Momentum, OptimError, Optimizer, PreconditionerConfig,
        RmsProp, Schedule, Sgd, Signal, WeightDecay,
    };

    /// Neither whole chunks nor whole lanes.
    const SHAPE: (usize, usize) = (29, 37);

    fn normals<A: Scalar>(seed: u64) -> Array2<A> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Array2::from_shape_simple_fn(SHAPE, || A::from_f64(rng.sample(StandardNormal)))
    }

    fn bits<A: Scalar>(array: &Array2<A>) -> Vec<u64> {
        array.iter().map(|x| x.as_f64().to_bits()).collect()
    }

    /// Every direction with every statistic that is taken in one loop, and each other option.
    fn compositions() -> Vec<Composition> {
        let momentum = |nesterov, from_zero| {
            let dampening = if nesterov { 0.0 } else { 0.3 };
            Direction::Momentum(Momentum {
                dampening: dampening.into(),
                nesterov,
                from_zero,
                ..Momentum::heavy_ball(0.9)
            })
        };
        let ema = |filter, bias_correction| Direction::Ema {
            beta: Schedule::linear(0.5, 0.9, 10),
            bias_correction,
            filter,
        };
        let diagonal = |averaging, epsilon_placement| {
            PreconditionerConfig::Diagonal(DiagonalConfig {
                averaging,
                epsilon_placement,
                epsilon: 1e-3.into(),
                ..DiagonalConfig::default()
            })
        };
        let average = Averaging::Ema { beta: 0.99.into(), bias_correction: true };
        let mut all = Vec::new();
        for direction in [
            Direction::Gradient,
            momentum(false, false),
            momentum(false, true),
            momentum(true, false),
            ema(Filter::Average, true),
            ema(Filter::Nesterov, true),
            ema(Filter::Separate(0.7.into()), false),
        ] {
            for preconditioner in [
                PreconditionerConfig::Identity,
                diagonal(Averaging::None, EpsilonPlacement::AfterCorrection),
                diagonal(Averaging::Decay { beta: 0.9.into() }, EpsilonPlacement::AfterCorrection),
                diagonal(average.clone(), EpsilonPlacement::BeforeCorrection),
            ] {
                let direction = direction.clone();
                all.push(Composition { direction, preconditioner, ..Composition::default() });
            }
        }
        let decay = || Schedule::from(0.1);
        for weight_decay in [
            WeightDecay::L2(decay()),
            WeightDecay::Decoupled(decay()),
            WeightDecay::DecoupledAfter(decay()),
        ] {
            all.push(Adam { weight_decay, maximize: true, ..Adam::default() }.composition());
        }
        for gradient_clipping in [Clipping::Norm(3.0.into()), Clipping::Value(0.5.into())] {
            all.push(Composition { gradient_clipping, ..AdamW::default().composition() });
        }
        all.push(Adagrad { initial: 0.1, ..Adagrad::default() }.composition());
        all.push(RmsProp::default().composition());
        all
    }

    fn agree<A: Scalar>() {
        for composition in compositions() {
            // The same, but for a bound that is never met, and for which stages are taken apart.
            let largest = A::max_value().as_f64();
            let apart = Composition {
                update_clipping: Clipping::Value(largest.into()),
                ..composition.clone()
            };
            let mut fused = composition.build::<A>(SHAPE).unwrap();
            let mut apart = apart.build::<A>(SHAPE).unwrap();
            let mut by_columns = composition.build::<A>(SHAPE).unwrap();
            let start = normals::<A>(0);
            let (mut a, mut b) = (start.clone(), start.clone());
            let mut c = Array2::zeros(SHAPE.f());
            c.assign(&start);
            for step in 1..=10 {
                let gradient = normals::<A>(step);
                let signal = Signal::new(gradient.view());
                assert!(fused.propose_fused(&a.view(), &gradient.view()).is_some());
                assert!(apart.propose_fused(&b.view(), &gradient.view()).is_none());
                assert!(by_columns.propose_fused(&c.view(), &gradient.view()).is_none());
                let report = fused.step(&mut a.view_mut(), &signal).unwrap();
                assert_eq!(report, apart.step(&mut b.view_mut(), &signal).unwrap());
                by_columns.step(&mut c.view_mut(), &signal).unwrap();
                assert_eq!(bits(&a), bits(&b), "step {step} of {composition:?}");
                assert_eq!(bits(&a), bits(&c), "step {step} of {composition:?}, by columns");
            }
        }
    }

    #[test]
    fn one_loop_gives_the_bits_of_one_stage_after_another() {
        agree::<f32>();
        agree::<f64>();
    }

    fn refuses(
        optimizer: &mut Optimizer<f64>,
        weight: &Array2<f64>,
        gradient: &Array2<f64>,
    ) -> OptimError {
        let (mut after, state) = (weight.clone(), optimizer.state());
        let signal = Signal::new(gradient.view());
        let error = optimizer.step(&mut after.view_mut(), &signal).unwrap_err();
        assert_eq!(bits(&after), bits(weight));
        assert_eq!(optimizer.state(), state);
        error
    }

    /// All other entries have been stepped when the last one turns out wrong.
    #[test]
    fn what_is_wrong_with_the_last_entry_is_named_and_changes_nothing() {
        let last = (SHAPE.0 - 1, SHAPE.1 - 1);
        let with_last = |array: &Array2<f64>, value: f64| {
            let mut array = array.clone();
            array[last] = value;
            array
        };
        for composition in compositions() {
            let mut optimizer = composition.build::<f64>(SHAPE).unwrap();
            let mut undisturbed = composition.build::<f64>(SHAPE).unwrap();
            let (mut weight, mut expected) = (normals(0), normals(0));
            for step in 1..=3 {
                let gradient = normals(step);
                for value in [f64::NAN, f64::INFINITY] {
                    let error = refuses(&mut optimizer, &weight, &with_last(&gradient, value));
                    let OptimError::NonFinite { what, row, col, .. } = error else {
                        panic!("{error}")
                    };
                    assert_eq!((what, row, col), ("gradient", last.0, last.1));
                    let error = refuses(&mut optimizer, &with_last(&weight, value), &gradient);
                    let OptimError::NonFinite { row, col, .. } = error else { panic!("{error}") };
                    assert_eq!((row, col), last);
                }
                if matches!(composition.preconditioner, PreconditionerConfig::Diagonal(_))
                    && composition.gradient_clipping == Clipping::None
                {
                    let error = refuses(&mut optimizer, &weight, &with_last(&gradient, 1e200));
                    let OptimError::Overflow { what, row, col, .. } = error else {
                        panic!("{error}")
                    };
                    assert_eq!((what, row, col), (crate::diagonal::SECOND_MOMENT, last.0, last.1));
                }
                let signal = Signal::new(gradient.view());
                optimizer.step(&mut weight.view_mut(), &signal).unwrap();
                undisturbed.step(&mut expected.view_mut(), &signal).unwrap();
                assert_eq!(bits(&weight), bits(&expected));
            }
        }
        let sgd = Sgd { learning_rate: 1.0.into(), ..Sgd::default() };
        let mut optimizer = sgd.build::<f64>(SHAPE).unwrap();
        let weight = with_last(&normals(0), f64::MAX);
        let error = refuses(&mut optimizer, &weight, &with_last(&normals(1), -f64::MAX));
        let OptimError::Overflow { what, row, col, .. } = error else { panic!("{error}") };
        assert_eq!((what, row, col), ("the new weight", last.0, last.1));
    }
}
