//! Products with triangular matrices, and their solves, in place.

use faer::{
    Accum, MatMut, MatRef, Par,
    linalg::{
        matmul::triangular::{self, BlockStructure},
        triangular_solve::solve_lower_triangular_in_place,
    },
};
use faer_ext::IntoFaer;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::{
    super::{Action, Side},
    Element,
    product::product,
    threads::{both, pieces},
};
use crate::Result;

/// How many columns of B are worked on at a time.
const COLUMNS: usize = 256;
/// The sides up to which a triangle is faer's.
const SOLVED: usize = 128;
const MULTIPLIED: usize = 32;

pub(super) fn triangular<A: Element>(
    action: Action,
    side: Side,
    l: ArrayView2<'_, A>,
    b: &mut ArrayViewMut2<'_, A>,
) -> Result<()> {
    let pieces = pieces((l.len() / 2).saturating_mul(b.len() / l.nrows()));
    let (l, b) = (l.into_faer(), b.view_mut().into_faer());
    // From the right it is the transpose, from the left; an upper triangle is a lower one, backwards.
    let (b, transposed) = match side {
        Side::Left => (b, matches!(action, Action::SolveTransposed)),
        Side::Right => (b.transpose_mut(), !matches!(action, Action::SolveTransposed)),
    };
    let (l, b) = if transposed {
        (l.transpose().reverse_rows_and_cols(), b.reverse_rows_mut())
    } else {
        (l, b)
    };
    let step = match action {
        Action::Multiply => multiply,
        Action::Solve | Action::SolveTransposed => solve,
    };
    columns(l, b, step, pieces);
    Ok(())
}

/// Runs `step` on B, some columns at a time.
fn columns<A: Element>(
    l: MatRef<'_, A>,
    b: MatMut<'_, A>,
    step: fn(MatRef<'_, A>, MatMut<'_, A>),
    pieces: usize,
) {
    let n = b.ncols();
    if n <= COLUMNS {
        return step(l, b);
    }
    let (b1, b2) = b.split_at_col_mut((n / 2).next_multiple_of(COLUMNS));
    both(pieces, |pieces| columns(l, b1, step, pieces), |pieces| columns(l, b2, step, pieces));
}

/// Where a triangle is cut in two.
fn half(n: usize) -> usize {
    (n / 2).next_multiple_of(MULTIPLIED)
}

/// B ← L⁻¹ B.
fn solve<A: Element>(l: MatRef<'_, A>, b: MatMut<'_, A>) {
    let n = l.nrows();
    if n <= SOLVED {
        return solve_lower_triangular_in_place(l, b, Par::Seq);
    }
    let at = half(n);
    let (l1, _, l21, l2) = l.split_at(at, at);
    let (mut b1, mut b2) = b.split_at_row_mut(at);
    solve(l1, b1.as_mut());
    product(b2.as_mut(), Accum::Add, l21, b1.as_ref(), -A::one_impl(), 1);
    solve(l2, b2);
}

/// B ← L B.
fn multiply<A: Element>(l: MatRef<'_, A>, b: MatMut<'_, A>) {
    let n = l.nrows();
    if n <= MULTIPLIED {
        return multiply_small(l, b);
    }
    let at = half(n);
    let (l1, _, l21, l2) = l.split_at(at, at);
    let (mut b1, mut b2) = b.split_at_row_mut(at);
    multiply(l2, b2.as_mut());
    product(b2, Accum::Add, l21, b1.as_ref(), A::one_impl(), 1);
    multiply(l1, b1.as_mut());
}

/// The same from a copy of B.
fn multiply_small<A: Element>(l: MatRef<'_, A>, mut b: MatMut<'_, A>) {
    let (rows, cols) = b.shape();
    A::with_buffer(rows * cols, |buffer| {
        let by_columns = b.row_stride().unsigned_abs() <= b.col_stride().unsigned_abs();
        let mut copy = if by_columns {
            MatMut::from_column_major_slice_mut(buffer, rows, cols)
        } else {
            MatMut::from_row_major_slice_mut(buffer, rows, cols)
        };
        copy.copy_from(b.as_ref());
        triangular::matmul(
            b.as_mut(),
            BlockStructure::Rectangular,
            Accum::Replace,
            l,
            BlockStructure::TriangularLower,
            copy.as_ref(),
            BlockStructure::Rectangular,
            A::one_impl(),
            Par::Seq,
        );
    });
}
