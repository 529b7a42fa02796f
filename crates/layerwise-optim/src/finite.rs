//! Shape and finiteness of what comes in; norms.

use layerwise_linalg::Scalar;
use ndarray::ArrayView2;

use crate::error::{OptimError, Result};

/// Refuses an array of another shape.
pub(crate) fn check_shape<A>(
    what: &'static str,
    array: &ArrayView2<A>,
    expected: (usize, usize),
) -> Result<()> {
    let found = array.dim();
    if found == expected { Ok(()) } else { Err(OptimError::Shape { what, expected, found }) }
}

/// Refuses NaN and infinities; names the first, in row order.
pub(crate) fn check_finite<A: Scalar>(what: &'static str, array: &ArrayView2<A>) -> Result<()> {
    match first_non_finite(array) {
        None => Ok(()),
        Some((row, col, value)) => Err(OptimError::NonFinite { what, row, col, value }),
    }
}

/// Row, column and value of the first entry that is not finite.
pub(crate) fn first_non_finite<A: Scalar>(array: &ArrayView2<A>) -> Option<(usize, usize, f64)> {
    let all_finite = match array.as_slice_memory_order() {
        Some(slice) => all_finite(slice),
        None => array.iter().all(|x| x.is_finite()),
    };
    if all_finite {
        return None;
    }
    array.indexed_iter().find(|(_, x)| !x.is_finite()).map(|((row, col), x)| (row, col, x.as_f64()))
}

/// Whether all are finite. `0·x` is zero exactly for finite x and NaN else, so that a sum tells,
/// without a branch per entry.
fn all_finite<A: Scalar>(slice: &[A]) -> bool {
    const LANES: usize = 8;
    let mut sums = [A::zero(); LANES];
    let chunks = slice.chunks_exact(LANES);
    let mut rest = A::zero();
    for &x in chunks.remainder() {
        rest += x * A::zero();
    }
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x * A::zero();
        }
    }
    sums.iter().fold(rest, |a, &b| a + b) == A::zero()
}

/// Frobenius norm; not finite exactly where an entry is not. Accumulated in f64, and scaled by the largest entry only where the plain sum
/// of squares leaves the range of f64.
pub(crate) fn frobenius_norm<A: Scalar>(array: &ArrayView2<A>) -> f64 {
    let squares = sum_of_squares(array, 1.0);
    // A NaN comes out as it is; below 1e16 times the least normal number, squares lose digits.
    if squares.is_nan() || (squares.is_finite() && squares > f64::MIN_POSITIVE * 1e16) {
        return squares.sqrt();
    }
    let largest = array.iter().fold(0.0_f64, |m, x| m.max(x.as_f64().abs()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    largest * sum_of_squares(array, largest).sqrt()
}

fn sum_of_squares<A: Scalar>(array: &ArrayView2<A>, scale: f64) -> f64 {
    const LANES: usize = 8;
    let term = |x: A| {
        let y = x.as_f64() / scale;
        y * y
    };
    match array.as_slice_memory_order() {
        Some(slice) => {
            let chunks = slice.chunks_exact(LANES);
            let mut total: f64 = chunks.remainder().iter().map(|&x| term(x)).sum();
            let mut sums = [0.0; LANES];
            for chunk in chunks {
                for (sum, &x) in sums.iter_mut().zip(chunk) {
                    *sum += term(x);
                }
            }
            total += sums.iter().sum::<f64>();
            total
        }
        None => array.iter().map(|&x| term(x)).sum(),
    }
}
