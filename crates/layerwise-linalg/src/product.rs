//! Matrix products and triangular solves.
//!
//! None of these allocates, once warmed up, for row- or column-major operands, their transposes and
//! sub-blocks, on one thread. OpenBLAS gets a temporary copy of an operand with other strides. NaN and
//! infinities in the operands propagate as in IEEE arithmetic.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

use crate::{
    LinalgError, Result, Scalar,
    backend::{Action, Side},
    check,
};

/// C ← α A B + β C, for A m × k, B k × n, C m × n.
///
/// With β = 0, C is overwritten whatever it holds, NaN included.
///
/// # Errors
///
/// [`LinalgError::Shape`] where B or C does not match, [`LinalgError::TooLarge`].
pub fn gemm<A: Scalar>(
    alpha: A,
    a: ArrayView2<A>,
    b: ArrayView2<A>,
    beta: A,
    c: &mut ArrayViewMut2<A>,
) -> Result<()> {
    let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
    check::shape("B in A B", b.dim(), (k, n))?;
    check::shape("C in C = A B", c.dim(), (m, n))?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    if k == 0 {
        scale(beta, c);
        return Ok(());
    }
    (A::ROUTINES.gemm)(alpha, a, b, beta, c)
}

/// C ← α A Aᵀ + β C, for A m × k and a symmetric m × m C. For AᵀA pass `a.t()`.
///
/// Reads C's lower triangle (for β ≠ 0) and fills both triangles: C is symmetric in every bit.
/// With β = 0, C is overwritten whatever it holds. Costs half of [`gemm`].
///
/// # Errors
///
/// [`LinalgError::Shape`] where C is not m × m, [`LinalgError::TooLarge`].
pub fn gram<A: Scalar>(
    alpha: A,
    a: ArrayView2<A>,
    beta: A,
    c: &mut ArrayViewMut2<A>,
) -> Result<()> {
    let (m, k) = a.dim();
    check::shape("C in C = A Aᵀ", c.dim(), (m, m))?;
    if m == 0 {
        return Ok(());
    }
    if k == 0 {
        scale(beta, c);
    } else {
        (A::ROUTINES.syrk)(alpha, a, beta, c)?;
    }
    mirror_lower(c);
    Ok(())
}

/// y ← α A x + β y, for A m × n.
///
/// With β = 0, y is overwritten whatever it holds, NaN included.
///
/// # Errors
///
/// [`LinalgError::Shape`] where x or y does not match, [`LinalgError::TooLarge`].
pub fn gemv<A: Scalar>(
    alpha: A,
    a: ArrayView2<A>,
    x: ArrayView1<A>,
    beta: A,
    y: &mut ArrayViewMut1<A>,
) -> Result<()> {
    let (m, n) = a.dim();
    check::shape("x in A x", (x.len(), 1), (n, 1))?;
    check::shape("y in y = A x", (y.len(), 1), (m, 1))?;
    if m == 0 {
        return Ok(());
    }
    if n == 0 {
        y.mapv_inplace(|v| if beta == A::zero() { beta } else { beta * v });
        return Ok(());
    }
    (A::ROUTINES.gemv)(alpha, a, x, beta, y)
}

/// B ← L B, for a lower triangular n × n L and B n × m. What is above L's diagonal is not read.
///
/// # Errors
///
/// [`LinalgError::NotSquare`], [`LinalgError::Shape`] where B has not n rows,
/// [`LinalgError::TooLarge`].
pub fn triangular_product<A: Scalar>(l: ArrayView2<A>, b: &mut ArrayViewMut2<A>) -> Result<()> {
    triangular(Action::Multiply, Side::Left, l, b)
}

/// B ← L⁻¹ B, for a lower triangular n × n L and B n × m. What is above L's diagonal is not read.
///
/// # Errors
///
/// [`LinalgError::NotSquare`], [`LinalgError::Shape`] where B has not n rows,
/// [`LinalgError::SingularTriangle`], [`LinalgError::TooLarge`].
pub fn solve_lower<A: Scalar>(l: ArrayView2<A>, b: &mut ArrayViewMut2<A>) -> Result<()> {
    triangular(Action::Solve, Side::Left, l, b)
}

/// B ← L⁻ᵀ B, for a lower triangular n × n L and B n × m. What is above L's diagonal is not read.
///
/// # Errors
///
/// As [`solve_lower`].
pub fn solve_lower_transposed<A: Scalar>(l: ArrayView2<A>, b: &mut ArrayViewMut2<A>) -> Result<()> {
    triangular(Action::SolveTransposed, Side::Left, l, b)
}

/// Checks and runs one triangular product or solve.
pub(crate) fn triangular<A: Scalar>(
    action: Action,
    side: Side,
    l: ArrayView2<A>,
    b: &mut ArrayViewMut2<A>,
) -> Result<()> {
    let n = check::square(l.dim())?;
    let (rows, cols) = b.dim();
    let needed = match side {
        Side::Left => (n, cols),
        Side::Right => (rows, n),
    };
    check::shape("right-hand side", (rows, cols), needed)?;
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    if !matches!(action, Action::Multiply)
        && let Some(index) = l.diag().iter().position(|&x| x == A::zero())
    {
        return Err(LinalgError::SingularTriangle { index });
    }
    (A::ROUTINES.triangular)(action, side, l, b)
}

fn scale<A: Scalar>(beta: A, c: &mut ArrayViewMut2<A>) {
    if beta == A::zero() { c.fill(beta) } else { c.mapv_inplace(|v| beta * v) }
}

/// Copies a square matrix's lower triangle onto the upper one. Other matrices are left alone.
pub fn mirror_lower<A: Scalar>(c: &mut ArrayViewMut2<A>) {
    let n = c.nrows();
    if n != c.ncols() {
        return;
    }
    let by_rows = c.is_standard_layout();
    let by_columns = c.t().is_standard_layout();
    match c.as_slice_memory_order_mut() {
        // Without gaps, but with an axis backwards, a mirror image in memory is not one in C.
        Some(entries) if by_rows || by_columns => mirror(entries, n, by_rows),
        _ => {
            for i in 0..n {
                for j in 0..i {
                    c[[j, i]] = c[[i, j]];
                }
            }
        }
    }
}

/// Copies one triangle of an n × n matrix without gaps onto the other, tile by tile: each row of a tile
/// and of its image is read or written once, as a whole.
fn mirror<A: Scalar>(entries: &mut [A], n: usize, lower_is_source: bool) {
    const TILE: usize = 8;
    let tiled = n - n % TILE;
    for top in (0..tiled).step_by(TILE) {
        for left in (0..top).step_by(TILE) {
            let (from, to) = if lower_is_source { (top, left) } else { (left, top) };
            let mut tile = [[A::zero(); TILE]; TILE];
            for (row, copy) in tile.iter_mut().enumerate() {
                let start = (from + row) * n + to;
                copy.copy_from_slice(&entries[start..start + TILE]);
            }
            for row in 0..TILE {
                let start = (to + row) * n + from;
                for (col, entry) in entries[start..start + TILE].iter_mut().enumerate() {
                    *entry = tile[col][row];
                }
            }
        }
    }
    // The tiles on the diagonal, and what is below the last whole one.
    for i in 0..n {
        let start = if i < tiled { i - i % TILE } else { 0 };
        for j in start..i {
            let (from, to) = (i * n + j, j * n + i);
            if lower_is_source {
                entries[to] = entries[from];
            } else {
                entries[from] = entries[to];
            }
        }
    }
}

/// Replaces a square matrix by its symmetric part, `M ← (M + Mᵀ)/2`, exactly symmetric.
///
/// For products that are symmetric in exact arithmetic, such as `(G S) Gᵀ`, before they are
/// factored. The part of a matrix that is not square beyond its square is left alone.
pub fn symmetrize<A: Scalar>(m: &mut ArrayViewMut2<'_, A>) {
    let half = A::from_f64(0.5);
    for i in 0..m.nrows().min(m.ncols()) {
        for j in 0..i {
            let mean = half * (m[[i, j]] + m[[j, i]]);
            m[[i, j]] = mean;
            m[[j, i]] = mean;
        }
    }
}
