//! Products with a matrix on each side.

use layerwise_linalg::{Result, Scalar, gemm};
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::numeric::pool::Pool;

/// A matrix, and what it is multiplied by; `None` for a side that is left alone.
pub(crate) type Multiplier<'a, A> = Option<(A, ArrayView2<'a, A>)>;

/// `X ← L X R`, by way of a matrix of the pool, of the size of `X`.
pub(crate) fn multiply_sides<A: Scalar>(
    left: Multiplier<'_, A>,
    right: Multiplier<'_, A>,
    x: &mut ArrayViewMut2<'_, A>,
    pool: &Pool<A>,
) -> Result<()> {
    if left.is_none() && right.is_none() {
        return Ok(());
    }
    let zero = A::zero();
    let mut scratch = pool.array(x.dim());
    match (left, right) {
        (Some((a, left)), Some((b, right))) => {
            gemm(a, left, x.view(), zero, &mut scratch.view_mut())?;
            gemm(b, scratch.view(), right, zero, x)
        }
        (Some((a, left)), None) => {
            scratch.assign(x);
            gemm(a, left, scratch.view(), zero, x)
        }
        (None, Some((b, right))) => {
            scratch.assign(x);
            gemm(b, scratch.view(), right, zero, x)
        }
        (None, None) => Ok(()),
    }
}
