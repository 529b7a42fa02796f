//! Samples of inputs: white ones, and their colouring by a covariance.

use layerwise_linalg::{gemm, triangular_product};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use rand::Rng;

use crate::covariance::Covariance;
use crate::covariates::Law;
use crate::error::{DataError, Result};
use crate::normal::fill_normal;

/// Fills the rows of `out` (n × d, any layout) with independent white samples.
pub(crate) fn fill_white<R: Rng + ?Sized>(law: Law, rng: &mut R, out: &mut ArrayViewMut2<'_, f64>) {
    match law {
        Law::Gaussian => fill_normal(1.0, rng, out),
        Law::Signs => {
            for mut row in out.outer_iter_mut() {
                for mut chunk in row.axis_chunks_iter_mut(Axis(0), 64) {
                    let bits: u64 = rng.random();
                    for (k, value) in chunk.iter_mut().enumerate() {
                        *value = sign(bits, k);
                    }
                }
            }
        }
        Law::Interval => {
            let half_width = 3.0_f64.sqrt();
            for value in out {
                *value = half_width * (2.0 * rng.random::<f64>() - 1.0);
            }
        }
    }
}

/// +1 where bit k is clear, −1 where it is set.
pub(crate) fn sign(bits: u64, k: usize) -> f64 {
    1.0 - 2.0 * ((bits >> k) & 1) as f64
}

/// Turns white rows u into rows x of covariance Σ, in place: x = L u for normals (the law of
/// Σ^{1/2}u, at half the cost), x = Σ^{1/2}u for the others.
pub(crate) fn colour(
    law: Law,
    covariance: &Covariance,
    rows: &mut ArrayViewMut2<'_, f64>,
) -> Result<()> {
    if covariance.is_diagonal() {
        *rows *= &covariance.square_root().diag();
    } else if law == Law::Gaussian {
        triangular_product(covariance.lower(), &mut rows.view_mut().reversed_axes())?;
    } else {
        multiply_rows(covariance.square_root(), rows)?;
    }
    Ok(())
}

/// Rows x ← S x, S symmetric, block by block through a buffer on the stack (on the heap for
/// d > 8192 only).
fn multiply_rows(matrix: ArrayView2<'_, f64>, rows: &mut ArrayViewMut2<'_, f64>) -> Result<()> {
    let d = matrix.nrows();
    let mut on_stack = [0.0; 8192];
    let mut on_heap = vec![0.0; if d > on_stack.len() { d } else { 0 }];
    let buffer = if d > on_stack.len() { &mut on_heap[..] } else { &mut on_stack[..] };
    let capacity = buffer.len() / d;
    let misfit = (buffer.len(), 1);
    let mut copy = ArrayViewMut2::from_shape((capacity, d), &mut buffer[..capacity * d])
        .map_err(|_| DataError::Shape { what: "buffer", expected: (capacity, d), found: misfit })?;
    for mut block in rows.axis_chunks_iter_mut(Axis(0), capacity) {
        let mut copy = copy.slice_mut(s![..block.nrows(), ..]);
        copy.assign(&block);
        gemm(1.0, copy.view(), matrix, 0.0, &mut block)?;
    }
    Ok(())
}
