//! Products.

use faer::{
    Accum, MatMut, MatRef, Par,
    linalg::matmul::{
        matmul,
        triangular::{self, BlockStructure},
    },
};
use faer_ext::IntoFaer;
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, s};

use super::{
    Element,
    threads::{both, pieces},
};
use crate::Result;

/// Sides of a tile of C, and how many columns of A it takes at a time. Multiples of faer's micro-tiles
/// and depths.
const ROWS: usize = 384;
const COLUMNS: usize = 512;
const DEPTH: usize = 1024;
/// Below it a copy of B costs more than what it saves.
const WORTH_A_COPY: usize = 192 * 192 * 192;
/// The side up to which a triangle is one of faer's products, and up to which it is a whole square.
const TRIANGLE: usize = 256;
const SQUARE: usize = 24;

pub(super) fn gemm<A: Element>(
    alpha: A,
    a: ArrayView2<'_, A>,
    b: ArrayView2<'_, A>,
    beta: A,
    c: &mut ArrayViewMut2<'_, A>,
) -> Result<()> {
    let multiplications = a.len().saturating_mul(b.ncols());
    let accumulate = scaled(beta, c, false);
    let (a, b, c) = (a.into_faer(), b.into_faer(), c.view_mut().into_faer());
    product(c, accumulate, a, b, alpha, pieces(multiplications));
    Ok(())
}

pub(super) fn gemv<A: Element>(
    alpha: A,
    a: ArrayView2<'_, A>,
    x: ArrayView1<'_, A>,
    beta: A,
    y: &mut ArrayViewMut1<'_, A>,
) -> Result<()> {
    gemm(alpha, a, x.insert_axis(Axis(1)), beta, &mut y.view_mut().insert_axis(Axis(1)))
}

pub(super) fn syrk<A: Element>(
    alpha: A,
    a: ArrayView2<'_, A>,
    beta: A,
    c: &mut ArrayViewMut2<'_, A>,
) -> Result<()> {
    let multiplications = (a.len() / 2).saturating_mul(a.nrows());
    let accumulate = scaled(beta, c, true);
    let (a, c) = (a.into_faer(), c.view_mut().into_faer());
    lower_gram(c, accumulate, a, alpha, pieces(multiplications));
    Ok(())
}

/// faer adds C itself or nothing: C ← β C, line by line as it is stored, and which of both is left to do.
fn scaled<A: Element>(beta: A, c: &mut ArrayViewMut2<'_, A>, lower: bool) -> Accum {
    if beta == A::zero_impl() {
        return Accum::Replace;
    }
    if beta != A::one_impl() {
        let by_rows = c.strides()[0].unsigned_abs() > c.strides()[1].unsigned_abs();
        let mut lines = if by_rows { c.view_mut() } else { c.view_mut().reversed_axes() };
        for (i, mut line) in lines.rows_mut().into_iter().enumerate() {
            let triangle = if by_rows { 0..i + 1 } else { i..line.len() };
            let part = if lower { triangle } else { 0..line.len() };
            line.slice_mut(s![part]).mapv_inplace(|x| beta * x);
        }
    }
    Accum::Add
}

/// C ← α A B, or C + α A B, in tiles.
pub(super) fn product<A: Element>(
    c: MatMut<'_, A>,
    accumulate: Accum,
    a: MatRef<'_, A>,
    b: MatRef<'_, A>,
    alpha: A,
    pieces: usize,
) {
    let by_rows = c.row_stride().unsigned_abs() > c.col_stride().unsigned_abs();
    let (c, a, b) =
        if by_rows { (c.transpose_mut(), b.transpose(), a.transpose()) } else { (c, a, b) };
    // faer reads B where it lies: slow where the entries of a column are far apart.
    let multiplications = a.nrows().saturating_mul(b.nrows()).saturating_mul(b.ncols());
    let copies = b.row_stride() != 1 && multiplications >= WORTH_A_COPY;
    tiles(c, accumulate, a, b, (alpha, copies), pieces);
}

/// As [`product`], for a C stored by columns: cuts it between columns, then between rows where there are
/// threads left. With α comes whether B is copied, which the whole product decides.
fn tiles<A: Element>(
    c: MatMut<'_, A>,
    accumulate: Accum,
    a: MatRef<'_, A>,
    b: MatRef<'_, A>,
    how: (A, bool),
    pieces: usize,
) {
    let (m, n) = c.shape();
    if n > COLUMNS {
        let at = half(n, COLUMNS);
        let (c1, c2) = c.split_at_col_mut(at);
        let (b1, b2) = b.split_at_col(at);
        both(
            pieces,
            |pieces| tiles(c1, accumulate, a, b1, how, pieces),
            |pieces| tiles(c2, accumulate, a, b2, how, pieces),
        );
    } else if pieces > 1 && m > ROWS {
        let at = half(m, ROWS);
        let (c1, c2) = c.split_at_row_mut(at);
        let (a1, a2) = a.split_at_row(at);
        both(
            pieces,
            |pieces| tiles(c1, accumulate, a1, b, how, pieces),
            |pieces| tiles(c2, accumulate, a2, b, how, pieces),
        );
    } else {
        panel(c, accumulate, a, b, how);
    }
}

/// About half of a length, in whole tiles.
fn half(length: usize, tile: usize) -> usize {
    (length / 2).next_multiple_of(tile)
}

/// A column of tiles, one after another.
fn panel<A: Element>(
    mut c: MatMut<'_, A>,
    mut accumulate: Accum,
    a: MatRef<'_, A>,
    b: MatRef<'_, A>,
    (alpha, copies): (A, bool),
) {
    for from in (0..b.nrows()).step_by(DEPTH) {
        let depth = DEPTH.min(b.nrows() - from);
        let (a, b) = (a.subcols(from, depth), b.subrows(from, depth));
        let mut multiply = |b: MatRef<'_, A>| {
            for top in (0..c.nrows()).step_by(ROWS) {
                let rows = ROWS.min(c.nrows() - top);
                let tile = c.as_mut().subrows_mut(top, rows);
                matmul(tile, accumulate, a.subrows(top, rows), b, alpha, Par::Seq);
            }
        };
        if copies {
            A::with_buffer(b.nrows() * b.ncols(), |buffer| multiply(copied(b, buffer)));
        } else {
            multiply(b);
        }
        accumulate = Accum::Add;
    }
}

/// A copy of B whose columns lie without gaps, made in blocks that stay in cache.
fn copied<'a, A: Element>(b: MatRef<'_, A>, buffer: &'a mut [A]) -> MatRef<'a, A> {
    const BLOCK: usize = 16;
    let (rows, cols) = b.shape();
    let mut copy = MatMut::from_column_major_slice_mut(&mut *buffer, rows, cols);
    for left in (0..cols).step_by(BLOCK) {
        let width = BLOCK.min(cols - left);
        for top in (0..rows).step_by(BLOCK) {
            let height = BLOCK.min(rows - top);
            copy.as_mut()
                .submatrix_mut(top, left, height, width)
                .copy_from(b.submatrix(top, left, height, width));
        }
    }
    MatRef::from_column_major_slice(buffer, rows, cols)
}

/// C's lower triangle ← α A Aᵀ, or C + α A Aᵀ: half of it a product, and two triangles.
fn lower_gram<A: Element>(
    c: MatMut<'_, A>,
    accumulate: Accum,
    a: MatRef<'_, A>,
    alpha: A,
    pieces: usize,
) {
    let n = c.nrows();
    if n <= SQUARE {
        matmul(c, accumulate, a, a.transpose(), alpha, Par::Seq);
    } else if n <= TRIANGLE {
        triangular::matmul(
            c,
            BlockStructure::TriangularLower,
            accumulate,
            a,
            BlockStructure::Rectangular,
            a.transpose(),
            BlockStructure::Rectangular,
            alpha,
            Par::Seq,
        );
    } else {
        let at = half(n, TRIANGLE / 2);
        let (a1, a2) = a.split_at_row(at);
        let (c1, _, c21, c2) = c.split_at_mut(at, at);
        both(
            pieces,
            |pieces| product(c21, accumulate, a2, a1.transpose(), alpha, pieces),
            |pieces| {
                both(
                    pieces,
                    |pieces| lower_gram(c1, accumulate, a1, alpha, pieces),
                    |pieces| lower_gram(c2, accumulate, a2, alpha, pieces),
                );
            },
        );
    }
}
