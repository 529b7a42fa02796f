//! Shape and finiteness of what comes in; norms.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2};

use crate::error::{OptimError, Result};
use crate::numeric::entrywise::{all_finite, sum};

/// Refuses an array of another shape.
pub(crate) fn check_shape<A>(
    what: &'static str,
    array: &ArrayView2<A>,
    expected: (usize, usize),
) -> Result<()> {
    let found = array.dim();
    if found == expected { Ok(()) } else { Err(OptimError::Shape { what, expected, found }) }
}

/// Refuses a weight without entries, or with more than an array can have.
pub(crate) fn check_weight<A>((rows, cols): (usize, usize)) -> Result<()> {
    if rows == 0 || cols == 0 {
        return Err(OptimError::EmptyShape { rows, cols });
    }
    check_size::<A>("a weight", (rows, cols))
}

/// Refuses an array of more bytes than can be addressed, or than there is memory for (an allocation that fails
/// would end the process).
pub(crate) fn check_size<A>(what: &'static str, (rows, cols): (usize, usize)) -> Result<()> {
    let most = isize::MAX as usize / size_of::<A>();
    let Some(entries) = rows.checked_mul(cols).filter(|&entries| entries <= most) else {
        return Err(OptimError::TooLarge { what, rows, cols });
    };
    let bytes = entries * size_of::<A>();
    let reserved = Vec::<A>::new().try_reserve_exact(entries);
    reserved.map_err(|_| OptimError::OutOfMemory { what, rows, cols, bytes })
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

/// Frobenius norm; not finite exactly where an entry is not. Accumulated in f64, and scaled by the
/// largest entry only where the plain sum of squares leaves the range of f64.
pub(crate) fn frobenius_norm<A: Scalar>(array: &ArrayView2<A>) -> f64 {
    let squares = match array.as_slice_memory_order() {
        Some(slice) => sum(slice, slice, square_of),
        None => array.iter().map(|&x| square_of(x, x)).sum(),
    };
    root_of_sum(squares, || array.iter().map(|x| x.as_f64()))
}

/// Frobenius norm of `a − b`, for arrays of one shape, as [`frobenius_norm`].
pub(crate) fn distance<A: Scalar>(a: &ArrayView2<A>, b: &ArrayView2<A>) -> f64 {
    let squares = match (a.as_slice(), b.as_slice()) {
        (Some(a), Some(b)) => sum(a, b, square_of_difference),
        _ => a.iter().zip(b).map(|(&x, &y)| square_of_difference(x, y)).sum(),
    };
    root_of_sum(squares, || a.iter().zip(b).map(|(&x, &y)| (x - y).as_f64()))
}

/// `⟨a, b⟩`, for arrays of one shape, accumulated in f64.
pub(crate) fn inner_product<A: Scalar>(a: &ArrayView2<A>, b: &ArrayView2<A>) -> f64 {
    match (a.as_slice(), b.as_slice()) {
        (Some(a), Some(b)) => sum(a, b, |x, y| x.as_f64() * y.as_f64()),
        _ => a.iter().zip(b).map(|(x, y)| x.as_f64() * y.as_f64()).sum(),
    }
}

fn square(x: f64) -> f64 {
    x * x
}

/// The terms of [`frobenius_norm`]; both entries are the same.
#[inline(always)]
pub(crate) fn square_of<A: Scalar>(x: A, _: A) -> f64 {
    square(x.as_f64())
}

/// The terms of [`distance`].
#[inline(always)]
pub(crate) fn square_of_difference<A: Scalar>(x: A, y: A) -> f64 {
    square((x - y).as_f64())
}

/// The root of a sum of squares; where that is too large or small for its digits, from the entries
/// anew. A NaN comes out as it is.
pub(crate) fn root_of_sum<I: Iterator<Item = f64>>(squares: f64, entries: impl Fn() -> I) -> f64 {
    let loses_digits = squares < f64::MIN_POSITIVE / f64::EPSILON;
    if squares.is_nan() || !(loses_digits || squares.is_infinite()) {
        return squares.sqrt();
    }
    let largest = entries().fold(0.0_f64, |m, x| m.max(x.abs()));
    if largest == 0.0 || largest.is_infinite() {
        return largest;
    }
    largest * entries().map(|x| square(x / largest)).sum::<f64>().sqrt()
}

/// `M ← M / √rms(M)`, where it is not zero.
pub(crate) fn divide_by_root_of_size<A: Scalar>(matrix: &mut Array2<A>) -> Result<()> {
    let size = frobenius_norm(&matrix.view()) / (matrix.len() as f64).sqrt();
    if !size.is_finite() {
        let what = "the root mean square of the gradient";
        return Err(OptimError::Overflow { what, row: 0, col: 0, value: size });
    }
    if size > 0.0 {
        let factor = A::from_f64(1.0 / size.sqrt());
        matrix.mapv_inplace(|x| x * factor);
    }
    Ok(())
}

/// The bound, with room for the rounding of what it is of, where that is far from overflow: sums of
/// squares of such numbers are finite in `f64`, and eight of them in the scalar's type.
///
/// Rounding of a dot product of n entries adds at most n ε of its norms' product, 2⁻¹⁰ in `f32` at
/// n = 16384; beyond that the eighth that is left of the range has it.
pub(crate) fn within_limit<A: Scalar>(bound: f64) -> Option<f64> {
    let bound = bound * (1.0 + 1.0 / 1024.0);
    (bound <= (A::max_value().as_f64() / 8.0).min(1e150)).then_some(bound)
}

/// Bytes of an array of this shape.
pub(crate) fn bytes<A>(shape: (usize, usize)) -> usize {
    shape.0 * shape.1 * size_of::<A>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    #[test]
    fn norms_survive_extreme_entries() {
        let ones = Array2::<f64>::ones((5, 7));
        let zeros = Array2::<f64>::zeros((5, 7));
        for scale in [1e-308, 1e-200, 1e-150, 1.0, 1e150, 1e300] {
            let array = &ones * scale;
            // 35 additions, a root and a product.
            let close = |x: f64| (x / scale - 35.0_f64.sqrt()).abs() < 40.0 * f64::EPSILON * 6.0;
            assert!(close(frobenius_norm(&array.view())), "{scale:e}");
            assert!(close(distance(&array.view(), &zeros.view())), "{scale:e}");
            assert!(close(distance(&zeros.t(), &array.t())), "{scale:e}");
        }
        assert_eq!(frobenius_norm(&zeros.view()), 0.0);
        let strided = ones.slice(s![..;2, ..;3]);
        assert_eq!(frobenius_norm(&strided), 3.0);
    }

    #[test]
    fn what_is_not_finite_is_found_wherever_it_stands() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [(0, 0), (1, 2), (4, 6)] {
                let mut array = Array2::<f32>::from_elem((5, 7), f32::MAX);
                assert_eq!(first_non_finite(&array.view()), None);
                array[at] = value;
                let found = first_non_finite(&array.view()).map(|(row, col, _)| (row, col));
                assert_eq!(found, Some(at));
                assert!(!frobenius_norm(&array.view()).is_finite());
                let columns = array.slice(s![.., ..;2]);
                assert_eq!(first_non_finite(&columns).is_some(), at.1 % 2 == 0);
            }
        }
    }
}
