//! Loops over entries, compiled for the widest vectors that the processor has.
//!
//! Which these are changes no bit: entries do not depend on each other, sums have a fixed number of
//! lanes, and products and sums are not contracted.

use std::slice::from_mut;

use layerwise_linalg::Scalar;
use ndarray::{ArrayRef2, Zip};
use pulp::{Arch, Simd, WithSimd};

/// Changes each entry by those of one array at its place.
pub(crate) fn update1<A: Scalar>(out: &mut ArrayRef2<A>, a: &ArrayRef2<A>, f: impl Fn(&mut A, A)) {
    match (out.as_slice_mut(), a.as_slice()) {
        (Some(out), Some(a)) => Arch::new().dispatch(move || {
            for (out, &a) in out.iter_mut().zip(a) {
                f(out, a);
            }
        }),
        _ => Zip::from(out).and(a).for_each(|out, &a| f(out, a)),
    }
}

/// Changes each entry by those of two arrays at its place.
pub(crate) fn update2<A: Scalar>(
    out: &mut ArrayRef2<A>,
    a: &ArrayRef2<A>,
    b: &ArrayRef2<A>,
    f: impl Fn(&mut A, A, A),
) {
    match (out.as_slice_mut(), a.as_slice(), b.as_slice()) {
        (Some(out), Some(a), Some(b)) => Arch::new().dispatch(move || {
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                f(out, a, b);
            }
        }),
        _ => Zip::from(out).and(a).and(b).for_each(|out, &a, &b| f(out, a, b)),
    }
}

/// Changes the entries of two arrays at the same places: of all at once, or of one after another where
/// there are gaps between them.
pub(crate) fn update_pair<A: Scalar>(
    first: &mut ArrayRef2<A>,
    second: &mut ArrayRef2<A>,
    f: impl Fn(&mut [A], &mut [A]),
) {
    match (first.as_slice_mut(), second.as_slice_mut()) {
        (Some(first), Some(second)) => Arch::new().dispatch(Pair(f, first, second)),
        _ => Zip::from(first).and(second).for_each(|first, second| {
            f(from_mut(first), from_mut(second));
        }),
    }
}

struct Pair<'a, A, F>(F, &'a mut [A], &'a mut [A]);

impl<A: Scalar, F: Fn(&mut [A], &mut [A])> WithSimd for Pair<'_, A, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Pair(f, first, second) = self;
        f(first, second);
    }
}

/// How many sums go on side by side.
pub(crate) const LANES: usize = 8;

/// A sum over entries in [`LANES`] lanes. Slices can be added one after another; all but the last must
/// be of whole [`LANES`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lanes {
    lanes: [f64; LANES],
    rest: f64,
}

impl Lanes {
    /// Adds a term per entry of two slices of one length.
    #[inline(always)]
    pub(crate) fn add<A: Scalar>(&mut self, a: &[A], b: &[A], term: impl Fn(A, A) -> f64) {
        let (a_chunks, a_rest) = a.as_chunks::<LANES>();
        let (b_chunks, b_rest) = b.as_chunks::<LANES>();
        let mut lanes = self.lanes;
        for (a, b) in a_chunks.iter().zip(b_chunks) {
            for lane in 0..LANES {
                lanes[lane] += term(a[lane], b[lane]);
            }
        }
        self.lanes = lanes;
        for (&x, &y) in a_rest.iter().zip(b_rest) {
            self.rest += term(x, y);
        }
    }

    pub(crate) fn total(self) -> f64 {
        self.lanes.iter().sum::<f64>() + self.rest
    }
}

/// The sum of a term per entry of two slices of one length.
///
/// It is not written as a closure, as that would be called through a function that is compiled for
/// any processor.
struct Sum<'a, A, F>(&'a [A], &'a [A], F);

impl<A: Scalar, F: Fn(A, A) -> f64> WithSimd for Sum<'_, A, F> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Sum(a, b, term) = self;
        let mut lanes = Lanes::default();
        lanes.add(a, b, term);
        lanes.total()
    }
}

/// The sum of a term per entry of two slices of one length, in [`Lanes`].
pub(crate) fn sum<A: Scalar>(a: &[A], b: &[A], term: impl Fn(A, A) -> f64) -> f64 {
    Arch::new().dispatch(Sum(a, b, term))
}

/// Whether all are finite. `0·x` is zero exactly for finite x and NaN else, so that a sum tells,
/// without a branch per entry.
pub(crate) fn all_finite<A: Scalar>(slice: &[A]) -> bool {
    const LANES: usize = 32;
    Arch::new().dispatch(move || {
        let mut sums = [A::zero(); LANES];
        let (chunks, rest) = slice.as_chunks::<LANES>();
        for chunk in chunks {
            for (sum, &x) in sums.iter_mut().zip(chunk) {
                *sum += x * A::zero();
            }
        }
        sums.iter().all(|&sum| sum == A::zero()) && rest.iter().all(|x| x.is_finite())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    fn numbers(seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((7, 11), |(i, j)| ((seed + 5 * i + 3 * j) as f32).sin())
    }

    /// What the processor's widest vectors make of each entry is, in every bit, what a plain loop
    /// makes of it, and what arrays with gaps give.
    #[test]
    fn vectors_change_no_bit() {
        let (x, y) = (numbers(1), numbers(2));
        let f = move |out: &mut f32, a: f32, b: f32| {
            *out = (0.9 * *out + a * b) / (b.abs().sqrt() + 1e-3)
        };
        let mut expected = numbers(3);
        for ((out, &a), &b) in expected.iter_mut().zip(&x).zip(&y) {
            f(out, a, b);
        }
        let mut whole = numbers(3);
        update2(&mut whole, &x, &y, f);
        assert_eq!(whole, expected);

        let mut wide = Array2::zeros((7, 22));
        wide.slice_mut(s![.., ..;2]).assign(&numbers(3));
        update2(&mut wide.slice_mut(s![.., ..;2]), &x, &y, f);
        assert_eq!(wide.slice(s![.., ..;2]), expected);

        let (mut one, mut other) = (numbers(3), numbers(3));
        update1(&mut one, &x, move |out, _| f(out, 0.7, 2.0));
        update1(&mut other, &x, move |out, _| f(out, 0.7, 3.0));
        let (mut first, mut second) = (numbers(3), numbers(3));
        update_pair(&mut first, &mut second, move |first, second| {
            for (first, second) in first.iter_mut().zip(second) {
                f(first, 0.7, 2.0);
                f(second, 0.7, 3.0);
            }
        });
        assert_eq!((first, second), (one, other));
    }

    #[test]
    fn sums_do_not_depend_on_the_vectors_width() {
        let (x, y) = (numbers(1), numbers(2));
        let (x, y) = (x.as_slice().unwrap(), y.as_slice().unwrap());
        let term = |a: f32, b: f32| f64::from(a) * f64::from(b);
        let mut lanes = [0.0; 8];
        for (i, (&a, &b)) in x.iter().zip(y).enumerate().take(72) {
            lanes[i % 8] += term(a, b);
        }
        let rest: f64 = x[72..].iter().zip(&y[72..]).map(|(&a, &b)| term(a, b)).sum();
        assert_eq!(sum(x, y, term), lanes.iter().sum::<f64>() + rest);
    }
}
