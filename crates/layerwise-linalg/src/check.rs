//! Checks on entries: finiteness, symmetry, shapes.

use ndarray::ArrayView2;

use crate::{LinalgError, Result, Scalar};

/// Independent accumulators per loop, so that the compiler can use vector registers.
const LANES: usize = 8;

/// Side of the square blocks in which a matrix is compared with its transpose.
const BLOCK: usize = 16;

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

/// 0 · x is zero exactly where x is finite, else NaN.
fn all_finite<A: Scalar>(entries: &[A]) -> bool {
    let mut sums = [A::zero(); LANES];
    let (chunks, rest) = entries.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x * A::zero();
        }
    }
    sums.iter().all(|&sum| sum == A::zero()) && rest.iter().all(|x| x.is_finite())
}

/// The largest modulus; finite entries.
pub(crate) fn max_abs<A: Scalar>(entries: &[A]) -> A {
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
    let worst = match m.as_slice() {
        Some(entries) => worst_asymmetry(n, |i, j| entries[i * n + j]),
        None => worst_asymmetry(n, |i, j| m[[i, j]]),
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

/// The largest |a_ij − a_ji|.
fn worst_asymmetry<A: Scalar>(n: usize, entry: impl Fn(usize, usize) -> A) -> A {
    let mut worst = A::zero();
    for top in (0..n).step_by(BLOCK) {
        for left in (0..=top).step_by(BLOCK) {
            for i in top..(top + BLOCK).min(n) {
                for j in left..(left + BLOCK).min(i) {
                    let difference = (entry(i, j) - entry(j, i)).abs();
                    worst = if difference > worst { difference } else { worst };
                }
            }
        }
    }
    worst
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
