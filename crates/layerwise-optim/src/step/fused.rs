//! A whole step in one loop over entries, in place.
//!
//! One stage after another reads and writes arrays that do not fit into the cache. Here all stages are
//! taken on a few entries before the next few. What they do to an entry is written with the stages.
//! Nothing is checked: the step is known to succeed before it is taken.

use layerwise_linalg::Scalar;
use pulp::{Arch, Simd, WithSimd};

use crate::numeric::entrywise::{LANES, Lanes};
use crate::stages::momentum::MomentumRule;
use crate::statistics::second_moments::SecondMomentRule;
use crate::step::weight::WeightRule;

/// How many entries are taken at a time: several vectors, and so few that the next ones are fetched
/// while these are computed with. (Pieces of the size of a cache are slower: the processor waits at
/// the beginning of each.)
const CHUNK: usize = 8 * LANES;

/// A step of a weight, whose arrays are slices of one length.
pub(crate) struct Fused<'a, A> {
    pub(crate) gradient: &'a [A],
    pub(crate) weight: &'a mut [A],
    /// Without, the direction is the gradient.
    pub(crate) momentum: Option<(MomentumRule<A>, &'a mut [A])>,
    /// Without, the direction is taken as it is.
    pub(crate) second_moment: Option<(SecondMomentRule<A>, &'a mut [A])>,
    pub(crate) weight_rule: WeightRule<A>,
}

/// 2⁶⁰⁰: what a change is multiplied by for a sum of squares in which changes down to the least positive
/// number do not vanish. Those whose squares overflow there are told by the plain sum.
const MAGNIFIED: f64 = {
    let x = (1_u128 << 120) as f64;
    x * x * x * x * x
};

/// Sums of the squares of the weight's changes.
pub(crate) struct Sums {
    changes: Lanes,
    magnified: Lanes,
}

impl<A: Scalar> Fused<'_, A> {
    /// Takes the step; returns the Frobenius norm of the weight's change.
    pub(crate) fn run(mut self) -> f64 {
        let sums = Arch::new().dispatch(&mut self);
        let squares = sums.changes.total();
        // Squares below this have lost digits; those of f32 stay above it.
        if squares < f64::MIN_POSITIVE / f64::EPSILON {
            return sums.magnified.total().sqrt() / MAGNIFIED;
        }
        squares.sqrt()
    }

    /// All stages on some entries.
    #[inline(always)]
    fn step(&mut self, start: usize, count: usize, sums: &mut Sums) {
        let at = start..start + count;
        let g = &self.gradient[at.clone()];
        let w = &mut self.weight[at.clone()];
        let mut place = [A::zero(); CHUNK];
        let d = &mut place[..count];
        d.copy_from_slice(g);
        if let Some((rule, state)) = &mut self.momentum {
            rule.entries(&mut state[at.clone()], d);
        }
        if let Some((rule, state)) = &mut self.second_moment {
            let rule = *rule;
            for ((d, v), &g) in d.iter_mut().zip(&mut state[at]).zip(g) {
                *v = rule.average(*v, g * g);
                *d = rule.divide(*d, v.sqrt());
            }
        }
        let rule = self.weight_rule;
        for (d, w) in d.iter_mut().zip(&mut *w) {
            let new = rule.entry(*w, *d);
            *d = new - *w;
            *w = new;
        }
        sums.changes.add(d, d, |x, _| square(x.as_f64()));
        if size_of::<A>() == size_of::<f64>() {
            sums.magnified.add(d, d, |x, _| square(x.as_f64() * MAGNIFIED));
        }
    }
}

#[inline(always)]
fn square(x: f64) -> f64 {
    x * x
}

impl<A: Scalar> WithSimd for &mut Fused<'_, A> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        let mut sums = Sums { changes: Lanes::default(), magnified: Lanes::default() };
        let entries = self.weight.len();
        let rest = entries % CHUNK;
        for start in (0..entries - rest).step_by(CHUNK) {
            self.step(start, CHUNK, &mut sums);
        }
        self.step(entries - rest, rest, &mut sums);
        sums
    }
}
