//! A whole step in one loop over entries.
//!
//! One stage after another reads and writes arrays that do not fit into the cache. Here all stages are
//! taken on a few entries before the next few. What they do to an entry is written with the stages.

use layerwise_linalg::Scalar;
use pulp::{Arch, Simd, WithSimd};

use crate::numeric::entrywise::{InOut, LANES, Lanes};
use crate::numeric::finite::{root_of_sum, square_of, square_of_difference};
use crate::stages::momentum::MomentumRule;
use crate::statistics::second_moments::SecondMomentRule;
use crate::step::weight::WeightRule;

/// How many entries are taken at a time: several vectors, and so few that the next ones are fetched
/// while these are computed with. (Pieces of the size of a cache are slower: the processor waits at
/// the beginning of each.)
const CHUNK: usize = 8 * LANES;

/// A step of a weight, whose arrays are slices of one length.
pub(crate) struct Fused<'a, A> {
    /// The gradient as it was given, and as the method takes it.
    pub(crate) given: &'a [A],
    pub(crate) gradient: &'a [A],
    pub(crate) weight: &'a [A],
    /// Becomes the new weight.
    pub(crate) proposal: &'a mut [A],
    /// Without, the direction is the gradient.
    pub(crate) momentum: Option<InOut<'a, MomentumRule<A>, A>>,
    /// Without, the direction is taken as it is.
    pub(crate) second_moment: Option<InOut<'a, SecondMomentRule<A>, A>>,
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
        d.copy_from_slice(g);
        if let Some((rule, state, next)) = &mut self.momentum {
            rule.entries(&mut next[at.clone()], d, &state[at.clone()]);
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
