//! Matrix products and triangular solves.
//!
//! None of these allocates for row- or column-major operands, their transposes and sub-blocks.
//! An operand with other strides is copied into a temporary matrix first. NaN and infinities in
//! the operands propagate as in IEEE arithmetic.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

use crate::{
    LinalgError, Result, Scalar,
    backend::{self, Action, Operand, OperandMut, Side},
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
    with_operand(a, |a| {
        with_operand(b, |b| {
            with_operand_mut(c, |c| {
                backend::gemm(alpha, a, b, beta, c);
                Ok(())
            })
        })
    })
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
    // Some OpenBLAS versions multiply by β = 0, which keeps NaN.
    if beta == A::zero() {
        c.fill(beta);
    }
    if k == 0 {
        scale(beta, c);
        return with_operand_mut(c, |mut c| {
            backend::mirror_lower(&mut c);
            Ok(())
        });
    }
    with_operand(a, |a| {
        with_operand_mut(c, |c| {
            backend::syrk(alpha, a, beta, c);
            Ok(())
        })
    })
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
    if beta == A::zero() {
        y.fill(beta);
    }
    if m == 0 {
        return Ok(());
    }
    if n == 0 {
        y.mapv_inplace(|v| beta * v);
        return Ok(());
    }
    with_operand(a, |a| {
        if !backend::gemv(alpha, a, x, beta, y) {
            let x = Array1::from_iter(x.iter().copied());
            let mut product = Array1::from_iter(y.iter().copied());
            backend::gemv(alpha, a, x.view(), beta, &mut product.view_mut());
            y.assign(&product);
        }
        Ok(())
    })
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
    with_operand(l, |l| {
        with_operand_mut(b, |b| {
            backend::triangular(action, side, l, A::one(), b);
            Ok(())
        })
    })
}

fn scale<A: Scalar>(beta: A, c: &mut ArrayViewMut2<A>) {
    if beta == A::zero() { c.fill(beta) } else { c.mapv_inplace(|v| beta * v) }
}

fn too_large((rows, cols): (usize, usize)) -> LinalgError {
    LinalgError::TooLarge { rows, cols }
}

/// Hands the view to `run` as BLAS can address it: as it is, or copied.
fn with_operand<A: Scalar, T>(
    view: ArrayView2<A>,
    run: impl FnOnce(Operand<'_, A>) -> Result<T>,
) -> Result<T> {
    if let Some(operand) = Operand::new(view) {
        return run(operand);
    }
    let mut copy = Array2::zeros(view.dim());
    copy.assign(&view);
    run(Operand::new(copy.view()).ok_or(too_large(view.dim()))?)
}

/// As [`with_operand`], for a matrix that is read and written.
fn with_operand_mut<A: Scalar, T>(
    view: &mut ArrayViewMut2<A>,
    run: impl FnOnce(OperandMut<'_, A>) -> Result<T>,
) -> Result<T> {
    if OperandMut::new(view).is_some()
        && let Some(operand) = OperandMut::new(view)
    {
        return run(operand);
    }
    let dim = view.dim();
    let mut copy = Array2::zeros(dim);
    copy.assign(view);
    let result = run(OperandMut::new(&mut copy.view_mut()).ok_or(too_large(dim))?)?;
    view.assign(&copy);
    Ok(result)
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
