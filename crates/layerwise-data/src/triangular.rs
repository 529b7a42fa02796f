//! Products of lower triangular matrices, block by block, without the blocks that are zero.
//!
//! A third of the multiplications of a general product; `triangular_product` and `gram`, which see one
//! triangle at most, need half.

use layerwise_linalg::{gemm, mirror_lower};
use ndarray::{Array2, ArrayView2, s};

use crate::error::Result;

/// Rows of a block: five blocks, unless they get so small that calls dominate, or so large that
/// they leave the cache.
fn block_size(d: usize) -> usize {
    d.div_ceil(5).clamp(16, 128)
}

/// The first and the end of each block.
fn blocks(d: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = block_size(d);
    (0..d).step_by(size).map(move |start| (start, (start + size).min(d)))
}

/// `out` ← L A, all d × d and lower triangular; the zeros above L's and A's diagonals are read.
pub(crate) fn lower_product(
    l: ArrayView2<'_, f64>,
    a: ArrayView2<'_, f64>,
    out: &mut Array2<f64>,
) -> Result<()> {
    let d = out.nrows();
    for (top, bottom) in blocks(d) {
        for (left, right) in blocks(bottom) {
            let l = l.slice(s![top..bottom, left..bottom]);
            let a = a.slice(s![left..bottom, left..right]);
            gemm(1.0, l, a, 0.0, &mut out.slice_mut(s![top..bottom, left..right]))?;
        }
        out.slice_mut(s![top..bottom, bottom..]).fill(0.0);
    }
    Ok(())
}

/// `out` ← B Bᵀ, d × d and symmetric in every bit, B lower triangular; the zeros above its
/// diagonal are read.
pub(crate) fn lower_gram(b: ArrayView2<'_, f64>, out: &mut Array2<f64>) -> Result<()> {
    let d = out.nrows();
    for (top, bottom) in blocks(d) {
        for (left, right) in blocks(bottom) {
            let rows = b.slice(s![top..bottom, ..right]);
            let columns = b.slice(s![left..right, ..right]);
            let block = &mut out.slice_mut(s![top..bottom, left..right]);
            gemm(1.0, rows, columns.t(), 0.0, block)?;
        }
    }
    mirror_lower(&mut out.view_mut());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Streams;
    use crate::normal::fill_normal;

    /// A dense lower triangle, rows of very different size, zeros above.
    fn lower(d: usize, purpose: &str) -> Array2<f64> {
        let mut rng = Streams::new(3).stream("triangular", purpose, d as u64);
        let mut a = Array2::zeros((d, d));
        for (i, mut row) in a.outer_iter_mut().enumerate() {
            fill_normal(10_f64.powi(i as i32 % 7 - 3), &mut rng, row.iter_mut().take(i + 1));
        }
        a
    }

    /// Entry by entry within the rounding of sums of at most d products, d ε |A||B|, taken twice
    /// as both sides round.
    fn check(found: &Array2<f64>, a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) {
        let d = found.nrows();
        let bound = a.mapv(f64::abs).dot(&b.mapv(f64::abs)) * (2.0 * d as f64 * f64::EPSILON);
        let difference = (found - &a.dot(&b)).mapv(f64::abs);
        assert!(difference.iter().zip(&bound).all(|(x, bound)| x <= bound), "d = {d}");
    }

    #[test]
    fn blocks_give_the_whole_product() {
        for d in [1, 2, 15, 16, 17, 33, 79, 81, 100, 130, 700] {
            let (l, a) = (lower(d, "left"), lower(d, "right"));
            // What stands in the storage must not matter.
            let mut out = Array2::from_elem((d, d), f64::NAN);
            lower_product(l.view(), a.view(), &mut out).unwrap();
            check(&out, l.view(), a.view());
            assert!(out.indexed_iter().all(|((i, j), &x)| j <= i || x == 0.0), "d = {d}");

            let mut out = Array2::from_elem((d, d), f64::NAN);
            lower_gram(l.view(), &mut out).unwrap();
            check(&out, l.view(), l.t());
            assert_eq!(out, out.t(), "d = {d}");
        }
    }
}
