//! Checks on entries: finiteness, symmetry, shapes.

use ndarray::ArrayView2;
use pulp::{Arch, Simd, WithSimd};

use crate::{LinalgError, Result, Scalar};

/// Independent accumulators per loop, so that the compiler can use vector registers; the side of tiles.
const LANES: usize = 8;

/// Fails with the first entry, in row-major order, that is NaN or infinite.
pub(crate) fn finite<A: Scalar>(m: ArrayView2<A>) -> Result<()> {
    let all = match m.as_slice_memory_order() {
        Some(entries) => all_finite(entries),
        None => m.rows().into_iter().all(|row| match row.as_slice() {
            Some(entries) => all_finite(entries),
            None => row.iter().all(|x| x.is_finite()),
        }),
    };
    if all {
        return Ok(());
    }
    match m.indexed_iter().find(|(_, x)| !x.is_finite()) {
        Some(((row, col), x)) => Err(LinalgError::NonFinite { row, col, value: x.as_f64() }),
        None => Ok(()),
    }
}

/// Loops over entries, compiled for the widest vectors that the processor has: no answer depends on them.
enum Loop<'a, A> {
    /// 1 where all entries are finite, else 0.
    Finite(&'a [A]),
    /// [`max_abs`].
    Largest(&'a [A]),
    /// The largest |a_ij − a_ji| of an n × n matrix without gaps.
    Asymmetry(&'a [A], usize),
}

impl<A: Scalar> WithSimd for Loop<'_, A> {
    type Output = A;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> A {
        match self {
            Loop::Finite(entries) if finite_loop(entries) => A::one(),
            Loop::Finite(_) => A::zero(),
            Loop::Largest(entries) => largest_loop(entries),
            Loop::Asymmetry(entries, n) => asymmetry_loop(entries, n),
        }
    }
}

fn all_finite<A: Scalar>(entries: &[A]) -> bool {
    Arch::new().dispatch(Loop::Finite(entries)) == A::one()
}

/// The largest modulus; finite entries.
pub(crate) fn max_abs<A: Scalar>(entries: &[A]) -> A {
    Arch::new().dispatch(Loop::Largest(entries))
}

/// 0 · x is zero exactly where x is finite, else NaN.
#[inline(always)]
fn finite_loop<A: Scalar>(entries: &[A]) -> bool {
    let mut sums = [A::zero(); LANES];
    let (chunks, rest) = entries.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x * A::zero();
        }
    }
    sums.iter().all(|&sum| sum == A::zero()) && rest.iter().all(|x| x.is_finite())
}

#[inline(always)]
fn largest_loop<A: Scalar>(entries: &[A]) -> A {
    let mut largest = [A::zero(); LANES];
    let (chunks, rest) = entries.as_chunks::<LANES>();
    for chunk in chunks {
        for (m, &x) in largest.iter_mut().zip(chunk) {
            let x = x.abs();
            *m = if x > *m { x } else { *m };
        }
    }
    let rest = rest.iter().fold(A::zero(), |m, &x| m.max(x.abs()));
    largest.iter().fold(rest, |m, &x| m.max(x))
}

/// Fails where a square matrix has an entry that is not finite, or where
/// |a_ij − a_ji| > 8 ε n max|a|: the check that every factorization of a symmetric matrix begins
/// with.
///
/// Sums of N products that are computed entry by entry differ by some √N ε max|a| between a_ij and
/// a_ji, so that the bound leaves room for second moments of up to 16 n² samples, and for general
/// products of length n.
///
/// # Errors
///
/// [`LinalgError::NotSquare`], [`LinalgError::NonFinite`], and [`LinalgError::NotSymmetric`] with
/// the entry that differs most.
pub fn check_symmetric<A: Scalar>(m: ArrayView2<A>) -> Result<()> {
    let n = square(m.dim())?;
    finite(m)?;
    // Without gaps, but with an axis backwards, a mirror image in memory is not one in the matrix.
    let worst = match m.as_slice().or(m.t().to_slice()) {
        Some(entries) => Arch::new().dispatch(Loop::Asymmetry(entries, n)),
        None => m
            .indexed_iter()
            .fold(A::zero(), |worst, ((row, col), &x)| worst.max((x - m[[col, row]]).abs())),
    };
    if worst == A::zero() {
        return Ok(());
    }
    let largest = match m.as_slice_memory_order() {
        Some(entries) => max_abs(entries),
        None => m.iter().fold(A::zero(), |largest, x| largest.max(x.abs())),
    };
    if worst.as_f64() <= 8.0 * A::epsilon().as_f64() * n as f64 * largest.as_f64() {
        return Ok(());
    }
    for row in 0..n {
        for col in 0..row {
            if (m[[row, col]] - m[[col, row]]).abs() == worst {
                return Err(LinalgError::NotSymmetric { row, col, difference: worst.as_f64() });
            }
        }
    }
    Ok(())
}

/// Tile by tile: each row of a tile and of its mirror image is read once, as a whole.
#[inline(always)]
fn asymmetry_loop<A: Scalar>(entries: &[A], n: usize) -> A {
    let tile = |top: usize, left: usize| {
        let mut tile = [[A::zero(); LANES]; LANES];
        for (row, to) in tile.iter_mut().enumerate() {
            let start = (top + row) * n + left;
            to.copy_from_slice(&entries[start..start + LANES]);
        }
        tile
    };
    let mut worst = [A::zero(); LANES];
    let tiled = n - n % LANES;
    for top in (0..tiled).step_by(LANES) {
        for left in (0..=top).step_by(LANES) {
            let (lower, upper) = (tile(top, left), tile(left, top));
            for row in 0..LANES {
                for col in 0..LANES {
                    let difference = (lower[row][col] - upper[col][row]).abs();
                    worst[col] = if difference > worst[col] { difference } else { worst[col] };
                }
            }
        }
    }
    // The rows below the last whole tile.
    for row in tiled..n {
        for col in 0..row {
            let difference = (entries[row * n + col] - entries[col * n + row]).abs();
            worst[0] = if difference > worst[0] { difference } else { worst[0] };
        }
    }
    largest_loop(&worst)
}

/// Fails unless `found` is `expected`.
pub(crate) fn shape(
    what: &'static str,
    found: (usize, usize),
    expected: (usize, usize),
) -> Result<()> {
    if found == expected { Ok(()) } else { Err(LinalgError::Shape { what, expected, found }) }
}

/// The dimension of a square matrix.
pub(crate) fn square(m: (usize, usize)) -> Result<usize> {
    if m.0 == m.1 { Ok(m.0) } else { Err(LinalgError::NotSquare { rows: m.0, cols: m.1 }) }
}

/// Fails unless `value` is finite and not negative.
pub(crate) fn non_negative(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(LinalgError::InvalidParameter { name, value, allowed: "finite and at least 0" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    /// Wherever it stands, in whole tiles and beyond them, and in every storage order.
    #[test]
    fn an_asymmetric_entry_is_found() {
        let n = 19;
        for (row, col) in [(1, 0), (7, 3), (12, 4), (15, 14), (16, 2), (18, 17)] {
            let mut m = Array2::from_shape_fn((n, n), |(i, j)| 1.0 / (1 + i + j) as f64);
            assert_eq!(check_symmetric(m.view()), Ok(()));
            let mut wide = Array2::zeros((n, 2 * n));
            wide.slice_mut(s![.., ..;2]).assign(&m);
            assert_eq!(check_symmetric(wide.slice(s![.., ..;2])), Ok(()));

            // The bound is 8 ε n max|a|, with a largest entry of 1.
            let bound = 8.0 * f64::EPSILON * n as f64;
            m[[row, col]] += 0.9 * bound;
            assert_eq!(check_symmetric(m.view()), Ok(()));
            m[[row, col]] += 0.2 * bound;
            wide.slice_mut(s![.., ..;2]).assign(&m);
            for view in [m.view(), m.t(), wide.slice(s![.., ..;2])] {
                let found = check_symmetric(view);
                assert!(
                    matches!(found, Err(LinalgError::NotSymmetric { row: r, col: c, .. }) if (r, c) == (row, col)),
                    "{found:?}"
                );
            }
        }
    }
}
