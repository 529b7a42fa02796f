//! OpenBLAS: BLAS and LAPACK behind safe functions, the only module with `unsafe`.
//!
//! Operands are made from array views alone, and hold their pointer, dimensions and leading
//! dimension; the functions check that the operands' dimensions agree before they call. LAPACK
//! expects column-major storage; the factorizations here take row-major arrays and treat them as
//! the transposed column-major ones, which costs nothing.
#![expect(unsafe_code, reason = "foreign calls to BLAS and LAPACK, each with its SAFETY comment")]

use std::{
    ffi::{CStr, c_char, c_int},
    marker::PhantomData,
};

use cblas_sys::{CBLAS_DIAG, CBLAS_LAYOUT, CBLAS_SIDE, CBLAS_TRANSPOSE, CBLAS_UPLO};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};
use ndarray_linalg::{JobSvd, SVDDC};

use super::{Action, Kernel, Routines, Side, Svd, kernels};
use crate::{Backend, Library, LinalgError, Result, Scalar, runtime::KERNEL_VARIABLE};

// Links the library that the declarations below refer to.
extern crate openblas_src as _;

type Gemm<A> = unsafe extern "C" fn(
    CBLAS_LAYOUT,
    CBLAS_TRANSPOSE,
    CBLAS_TRANSPOSE,
    c_int,
    c_int,
    c_int,
    A,
    *const A,
    c_int,
    *const A,
    c_int,
    A,
    *mut A,
    c_int,
);
type Syrk<A> = unsafe extern "C" fn(
    CBLAS_LAYOUT,
    CBLAS_UPLO,
    CBLAS_TRANSPOSE,
    c_int,
    c_int,
    A,
    *const A,
    c_int,
    A,
    *mut A,
    c_int,
);
type Gemv<A> = unsafe extern "C" fn(
    CBLAS_LAYOUT,
    CBLAS_TRANSPOSE,
    c_int,
    c_int,
    A,
    *const A,
    c_int,
    *const A,
    c_int,
    A,
    *mut A,
    c_int,
);
type Triangular<A> = unsafe extern "C" fn(
    CBLAS_LAYOUT,
    CBLAS_SIDE,
    CBLAS_UPLO,
    CBLAS_TRANSPOSE,
    CBLAS_DIAG,
    c_int,
    c_int,
    A,
    *const A,
    c_int,
    *mut A,
    c_int,
);
type Potrf<A> = unsafe extern "C" fn(*const c_char, *const c_int, *mut A, *const c_int, *mut c_int);
type Syevd<A> = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const c_int,
    *mut A,
    *const c_int,
    *mut A,
    *mut A,
    *const c_int,
    *mut c_int,
    *const c_int,
    *mut c_int,
);
type Geqrf<A> = unsafe extern "C" fn(
    *const c_int,
    *const c_int,
    *mut A,
    *const c_int,
    *mut A,
    *mut A,
    *const c_int,
    *mut c_int,
);
type Orgqr<A> = unsafe extern "C" fn(
    *const c_int,
    *const c_int,
    *const c_int,
    *mut A,
    *const c_int,
    *const A,
    *mut A,
    *const c_int,
    *mut c_int,
);

type Gesdd<A> = unsafe extern "C" fn(
    *const c_char,
    *const c_int,
    *const c_int,
    *mut A,
    *const c_int,
    *mut A,
    *mut A,
    *const c_int,
    *mut A,
    *const c_int,
    *mut A,
    *const c_int,
    *mut c_int,
    *mut c_int,
);

type SvdFn<A> =
    fn(ArrayView2<A>, JobSvd) -> Option<(Option<Array2<A>>, Array1<A>, Option<Array2<A>>)>;

/// The library's functions for one type.
pub(crate) struct Functions<A> {
    gemm: Gemm<A>,
    syrk: Syrk<A>,
    gemv: Gemv<A>,
    trmm: Triangular<A>,
    trsm: Triangular<A>,
    potrf: Potrf<A>,
    syevd: Syevd<A>,
    geqrf: Geqrf<A>,
    orgqr: Orgqr<A>,
    gesdd: Gesdd<A>,
    svd: SvdFn<A>,
}

/// Types that the library has functions for.
pub(crate) trait Element: Scalar {
    const FUNCTIONS: Functions<Self>;
}

macro_rules! element {
    ($type:ty, $gemm:ident, $syrk:ident, $gemv:ident, $trmm:ident, $trsm:ident,
     $potrf:ident, $syevd:ident, $geqrf:ident, $orgqr:ident, $gesdd:ident) => {
        impl Element for $type {
            const FUNCTIONS: Functions<Self> = Functions {
                gemm: cblas_sys::$gemm,
                syrk: cblas_sys::$syrk,
                gemv: cblas_sys::$gemv,
                trmm: cblas_sys::$trmm,
                trsm: cblas_sys::$trsm,
                potrf: lapack_sys::$potrf,
                syevd: lapack_sys::$syevd,
                geqrf: lapack_sys::$geqrf,
                orgqr: lapack_sys::$orgqr,
                gesdd: lapack_sys::$gesdd,
                svd: |m, job| m.svddc(job).ok(),
            };
        }

        impl Kernel for $type {
            const ROUTINES: &'static Routines<Self> = {
                static TABLE: Routines<$type> = Routines {
                    gemm,
                    syrk,
                    gemv,
                    triangular,
                    cholesky_work: CholeskyWork::new,
                    cholesky,
                    eigen_work: EigenWork::new,
                    eigen,
                    qr_work: QrWork::new,
                    orthonormalize,
                    svd_work: SvdWork::new,
                    svd,
                    thin_svd,
                    singular_values,
                };
                &TABLE
            };
        }
    };
}

element!(
    f32,
    cblas_sgemm,
    cblas_ssyrk,
    cblas_sgemv,
    cblas_strmm,
    cblas_strsm,
    spotrf_,
    ssyevd_,
    sgeqrf_,
    sorgqr_,
    sgesdd_
);
element!(
    f64,
    cblas_dgemm,
    cblas_dsyrk,
    cblas_dgemv,
    cblas_dtrmm,
    cblas_dtrsm,
    dpotrf_,
    dsyevd_,
    dgeqrf_,
    dorgqr_,
    dgesdd_
);

unsafe extern "C" {
    // Declared in OpenBLAS's cblas.h; cblas-sys leaves them out.
    fn openblas_set_num_threads(threads: c_int);
    fn openblas_get_config() -> *const c_char;
    fn openblas_get_corename() -> *const c_char;
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Row,
    Column,
}

impl Order {
    fn layout(self) -> CBLAS_LAYOUT {
        match self {
            Self::Row => CBLAS_LAYOUT::CblasRowMajor,
            Self::Column => CBLAS_LAYOUT::CblasColMajor,
        }
    }
}

/// Order and leading dimension of a matrix that BLAS can address: one unit stride, and the other
/// at least as long as a line, both within 32 bits.
fn order(dim: (usize, usize), strides: &[isize]) -> Option<(Order, c_int)> {
    let (rows, cols) = dim;
    let (&down, &along) = (strides.first()?, strides.get(1)?);
    let leading = |lines: usize, length: usize, stride: isize, unit: isize| {
        if length > 1 && unit != 1 {
            return None;
        }
        let length = c_int::try_from(length.max(1)).ok()?;
        c_int::try_from(lines).ok()?;
        if lines <= 1 {
            return Some(length);
        }
        c_int::try_from(stride).ok().filter(|&stride| stride >= length)
    };
    leading(rows, cols, down, along)
        .map(|ld| (Order::Row, ld))
        .or_else(|| leading(cols, rows, along, down).map(|ld| (Order::Column, ld)))
}

/// A matrix that BLAS may read.
///
/// Invariant: for the lifetime `'a`, every entry of the `rows` × `cols` matrix at `pointer` with
/// this order and leading dimension is readable.
#[derive(Clone, Copy)]
struct Operand<'a, A> {
    pointer: *const A,
    rows: c_int,
    cols: c_int,
    order: Order,
    ld: c_int,
    lifetime: PhantomData<&'a A>,
}

impl<'a, A> Operand<'a, A> {
    /// `None` where the strides or dimensions are not BLAS's.
    fn new(view: ArrayView2<'a, A>) -> Option<Self> {
        let (order, ld) = order(view.dim(), view.strides())?;
        Some(Self {
            pointer: view.as_ptr(),
            rows: c_int::try_from(view.nrows()).ok()?,
            cols: c_int::try_from(view.ncols()).ok()?,
            order,
            ld,
            lifetime: PhantomData,
        })
    }

    fn transpose_in(&self, order: Order) -> CBLAS_TRANSPOSE {
        if self.order == order {
            CBLAS_TRANSPOSE::CblasNoTrans
        } else {
            CBLAS_TRANSPOSE::CblasTrans
        }
    }
}

/// A matrix that BLAS may write.
///
/// Invariant: as [`Operand`]'s, writable and not aliased.
struct OperandMut<'a, A> {
    pointer: *mut A,
    rows: c_int,
    cols: c_int,
    order: Order,
    ld: c_int,
    lifetime: PhantomData<&'a mut A>,
}

impl<'a, A> OperandMut<'a, A> {
    /// `None` where the strides or dimensions are not BLAS's.
    fn new(view: &'a mut ArrayViewMut2<'_, A>) -> Option<Self> {
        let (order, ld) = order(view.dim(), view.strides())?;
        Some(Self {
            rows: c_int::try_from(view.nrows()).ok()?,
            cols: c_int::try_from(view.ncols()).ok()?,
            pointer: view.as_mut_ptr(),
            order,
            ld,
            lifetime: PhantomData,
        })
    }
}

/// Hands the view to `run` as BLAS can address it: as it is, or copied.
fn with_operand<A: Element, T>(
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
fn with_operand_mut<A: Element, T>(
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

fn too_large((rows, cols): (usize, usize)) -> LinalgError {
    LinalgError::TooLarge { rows, cols }
}

fn gemm<A: Element>(
    alpha: A,
    a: ArrayView2<'_, A>,
    b: ArrayView2<'_, A>,
    beta: A,
    c: &mut ArrayViewMut2<'_, A>,
) -> Result<()> {
    let run = |a: Operand<'_, A>, b: Operand<'_, A>, c: OperandMut<'_, A>| {
        assert!(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows, "shapes are checked");
        // SAFETY: the operands' invariants make all three matrices valid for these dimensions and
        // leading dimensions; C is not aliased since it was borrowed mutably.
        unsafe {
            (A::FUNCTIONS.gemm)(
                c.order.layout(),
                a.transpose_in(c.order),
                b.transpose_in(c.order),
                c.rows,
                c.cols,
                a.cols,
                alpha,
                a.pointer,
                a.ld,
                b.pointer,
                b.ld,
                beta,
                c.pointer,
                c.ld,
            );
        }
        Ok(())
    };
    with_operand(a, |a| with_operand(b, |b| with_operand_mut(c, |c| run(a, b, c))))
}

fn syrk<A: Element>(
    alpha: A,
    a: ArrayView2<'_, A>,
    beta: A,
    c: &mut ArrayViewMut2<'_, A>,
) -> Result<()> {
    // Some versions multiply by β = 0, which keeps NaN.
    if beta == A::zero() {
        c.fill(beta);
    }
    let run = |a: Operand<'_, A>, c: OperandMut<'_, A>| {
        assert!(a.rows == c.rows && c.rows == c.cols, "shapes are checked");
        // SAFETY: the operands' invariants make both matrices valid for these dimensions and leading
        // dimensions; C is not aliased since it was borrowed mutably.
        unsafe {
            (A::FUNCTIONS.syrk)(
                c.order.layout(),
                CBLAS_UPLO::CblasLower,
                a.transpose_in(c.order),
                c.rows,
                a.cols,
                alpha,
                a.pointer,
                a.ld,
                beta,
                c.pointer,
                c.ld,
            );
        }
        Ok(())
    };
    with_operand(a, |a| with_operand_mut(c, |c| run(a, c)))
}

fn gemv<A: Element>(
    alpha: A,
    a: ArrayView2<'_, A>,
    x: ArrayView1<'_, A>,
    beta: A,
    y: &mut ArrayViewMut1<'_, A>,
) -> Result<()> {
    if beta == A::zero() {
        y.fill(beta);
    }
    with_operand(a, |a| {
        if !gemv_in_place(alpha, a, x, beta, y) {
            let x = Array1::from_iter(x.iter().copied());
            let mut product = Array1::from_iter(y.iter().copied());
            gemv_in_place(alpha, a, x.view(), beta, &mut product.view_mut());
            y.assign(&product);
        }
        Ok(())
    })
}

/// As [`gemv`] where the vectors' strides are positive; `false` where they are not.
fn gemv_in_place<A: Element>(
    alpha: A,
    a: Operand<'_, A>,
    x: ArrayView1<'_, A>,
    beta: A,
    y: &mut ArrayViewMut1<'_, A>,
) -> bool {
    assert!(a.cols as usize == x.len() && a.rows as usize == y.len(), "shapes are checked");
    let stride = |length: usize, strides: &[isize]| match strides {
        _ if length <= 1 => Some(1),
        [stride] => c_int::try_from(*stride).ok().filter(|&stride| stride > 0),
        _ => None,
    };
    let (Some(along_x), Some(along_y)) =
        (stride(x.len(), x.strides()), stride(y.len(), y.strides()))
    else {
        return false;
    };
    // SAFETY: A by its operand's invariant; x and y are views of these lengths and positive
    // strides, starting at their first entries; y is borrowed mutably, so not aliased.
    unsafe {
        (A::FUNCTIONS.gemv)(
            a.order.layout(),
            CBLAS_TRANSPOSE::CblasNoTrans,
            a.rows,
            a.cols,
            alpha,
            a.pointer,
            a.ld,
            x.as_ptr(),
            along_x,
            beta,
            y.as_mut_ptr(),
            along_y,
        );
    }
    true
}

fn triangular<A: Element>(
    action: Action,
    side: Side,
    l: ArrayView2<'_, A>,
    b: &mut ArrayViewMut2<'_, A>,
) -> Result<()> {
    let run = |l: Operand<'_, A>, b: OperandMut<'_, A>| {
        let (side, length) = match side {
            Side::Left => (CBLAS_SIDE::CblasLeft, b.rows),
            Side::Right => (CBLAS_SIDE::CblasRight, b.cols),
        };
        assert!(l.rows == l.cols && l.rows == length, "shapes are checked");
        let same = l.order == b.order;
        // In the other order the memory of L reads as the upper triangular Lᵀ.
        let uplo = if same { CBLAS_UPLO::CblasLower } else { CBLAS_UPLO::CblasUpper };
        let (routine, transposed) = match action {
            Action::Multiply => (A::FUNCTIONS.trmm, false),
            Action::Solve => (A::FUNCTIONS.trsm, false),
            Action::SolveTransposed => (A::FUNCTIONS.trsm, true),
        };
        let trans = if transposed == same {
            CBLAS_TRANSPOSE::CblasTrans
        } else {
            CBLAS_TRANSPOSE::CblasNoTrans
        };
        // SAFETY: the operands' invariants make both matrices valid for these dimensions and leading
        // dimensions; B is not aliased since it was borrowed mutably.
        unsafe {
            routine(
                b.order.layout(),
                side,
                uplo,
                trans,
                CBLAS_DIAG::CblasNonUnit,
                b.rows,
                b.cols,
                A::one(),
                l.pointer,
                l.ld,
                b.pointer,
                b.ld,
            );
        }
        Ok(())
    };
    with_operand(l, |l| with_operand_mut(b, |b| run(l, b)))
}

/// A dimension for LAPACK.
fn dimension(n: usize) -> Result<c_int> {
    c_int::try_from(n).map_err(|_| too_large((n, n)))
}

/// What LAPACK answered where its arguments are legal and an iteration may fail.
fn converged(routine: &'static str, info: c_int) -> Result<()> {
    if info == 0 { Ok(()) } else { Err(LinalgError::NoConvergence { routine, info }) }
}

/// No workspace.
#[derive(Debug, Clone)]
pub(crate) struct CholeskyWork;

impl CholeskyWork {
    fn new(_n: usize) -> Self {
        Self
    }
}

fn cholesky<A: Element>(n: usize, matrix: &mut [A], _work: &mut CholeskyWork) -> Result<()> {
    assert!(matrix.len() == n * n, "the factorization's buffers are n × n");
    let (n, mut info) = (dimension(n)?, 0);
    let ld = n.max(1);
    // SAFETY: the buffer holds n² entries, the leading dimension is n, and the scalars outlive
    // the call. 'L' in column-major order is the upper triangle in row-major order.
    unsafe {
        (A::FUNCTIONS.potrf)(&(b'L' as c_char), &n, matrix.as_mut_ptr(), &ld, &mut info);
    }
    match usize::try_from(info) {
        Ok(0) => Ok(()),
        Ok(minor) => Err(LinalgError::NotPositiveDefinite { minor }),
        Err(_) => Err(too_large((matrix.len() / ld as usize, ld as usize))),
    }
}

/// Workspace of [`eigen`].
#[derive(Debug, Clone)]
pub(crate) struct EigenWork<A> {
    floats: Vec<A>,
    integers: Vec<c_int>,
}

impl<A> EigenWork<A> {
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&self.floats[..]) + size_of_val(&self.integers[..])
    }
}

impl<A: Element> EigenWork<A> {
    /// What the routine asks for, but at least what its documentation demands.
    pub(crate) fn new(n: usize) -> Self {
        let mut floats = 1 + 6 * n + 2 * n * n;
        let mut integers = 3 + 5 * n;
        let mut asked = A::zero();
        let (mut asked_integer, mut info) = (0, 0);
        if let Ok(n) = dimension(n) {
            let nothing = &mut A::zero() as *mut A;
            // SAFETY: with both lengths −1 the routine only writes its demands to the first
            // entries of the workspaces and `info`; the matrix and the values are not touched.
            unsafe {
                (A::FUNCTIONS.syevd)(
                    &(b'V' as c_char),
                    &(b'U' as c_char),
                    &n,
                    nothing,
                    &n.max(1),
                    nothing,
                    &mut asked,
                    &-1,
                    &mut asked_integer,
                    &-1,
                    &mut info,
                );
            }
            floats = floats.max(length(asked));
            integers = integers.max(usize::try_from(asked_integer).unwrap_or(0));
        }
        Self { floats: vec![A::zero(); floats], integers: vec![0; integers] }
    }
}

/// A workspace length that LAPACK returned as a floating-point number, with room for its rounding.
fn length<A: Element>(asked: A) -> usize {
    (asked.as_f64() * (1.0 + A::epsilon().as_f64())).ceil().max(1.0) as usize
}

fn eigen<A: Element>(matrix: &mut [A], values: &mut [A], work: &mut EigenWork<A>) -> Result<()> {
    let n = values.len();
    assert!(matrix.len() == n * n, "the decomposition's buffers are n × n");
    assert!(work.floats.len() > 6 * n + 2 * n * n && work.integers.len() >= 3 + 5 * n);
    let (n, mut info) = (dimension(n)?, 0);
    let (floats, integers) = (dimension(work.floats.len())?, dimension(work.integers.len())?);
    // SAFETY: matrix, values and workspaces have at least the documented lengths (asserted), and
    // the leading dimension is n. 'U' in column-major order is the lower triangle in row-major
    // order; the eigenvectors in the columns of a column-major matrix are rows in row-major order.
    unsafe {
        (A::FUNCTIONS.syevd)(
            &(b'V' as c_char),
            &(b'U' as c_char),
            &n,
            matrix.as_mut_ptr(),
            &n.max(1),
            values.as_mut_ptr(),
            work.floats.as_mut_ptr(),
            &floats,
            work.integers.as_mut_ptr(),
            &integers,
            &mut info,
        );
    }
    converged("eigendecomposition", info)
}

/// Storage of the reflectors' scalars and workspace of [`orthonormalize`].
#[derive(Debug, Clone)]
pub(crate) struct QrWork<A> {
    shape: (usize, usize),
    tau: Vec<A>,
    floats: Vec<A>,
}

impl<A> QrWork<A> {
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&self.tau[..]) + size_of_val(&self.floats[..])
    }
}

impl<A: Element> QrWork<A> {
    /// For k ≤ d rows of length d.
    pub(crate) fn new(k: usize, d: usize) -> Self {
        let mut floats = k.max(1);
        if let (Ok(rows), Ok(cols)) = (dimension(d), dimension(k)) {
            let (mut first, mut second, mut info) = (A::zero(), A::zero(), 0);
            let nothing = &mut A::zero() as *mut A;
            // SAFETY: with length −1 the routines only write their demand to the first entry of
            // the workspace and `info`; matrix and tau are not touched.
            unsafe {
                (A::FUNCTIONS.geqrf)(
                    &rows,
                    &cols,
                    nothing,
                    &rows.max(1),
                    nothing,
                    &mut first,
                    &-1,
                    &mut info,
                );
                (A::FUNCTIONS.orgqr)(
                    &rows,
                    &cols,
                    &cols,
                    nothing,
                    &rows.max(1),
                    nothing,
                    &mut second,
                    &-1,
                    &mut info,
                );
            }
            floats = floats.max(length(first)).max(length(second));
        }
        Self { shape: (k, d), tau: vec![A::zero(); k], floats: vec![A::zero(); floats] }
    }
}

fn orthonormalize<A: Element>(
    matrix: &mut [A],
    diagonal: &mut [A],
    work: &mut QrWork<A>,
) -> Result<()> {
    let (k, d) = work.shape;
    assert!(
        k <= d && matrix.len() == k * d && work.tau.len() == k && work.floats.len() >= k.max(1)
    );
    let (rows, cols, mut info) = (dimension(d)?, dimension(k)?, 0);
    let floats = dimension(work.floats.len())?;
    // SAFETY: a row-major k × d matrix is a column-major d × k one with leading dimension d; tau
    // and workspace have the documented lengths (asserted).
    unsafe {
        (A::FUNCTIONS.geqrf)(
            &rows,
            &cols,
            matrix.as_mut_ptr(),
            &rows.max(1),
            work.tau.as_mut_ptr(),
            work.floats.as_mut_ptr(),
            &floats,
            &mut info,
        );
    }
    if info != 0 {
        return Err(too_large((k, d)));
    }
    for (i, entry) in diagonal.iter_mut().enumerate() {
        *entry = matrix[i * d + i];
    }
    // SAFETY: as above; as many columns as reflectors are asked for.
    unsafe {
        (A::FUNCTIONS.orgqr)(
            &rows,
            &cols,
            &cols,
            matrix.as_mut_ptr(),
            &rows.max(1),
            work.tau.as_ptr(),
            work.floats.as_mut_ptr(),
            &floats,
            &mut info,
        );
    }
    if info == 0 { Ok(()) } else { Err(too_large((k, d))) }
}

/// Workspace of [`svd`].
#[derive(Debug, Clone)]
pub(crate) struct SvdWork<A> {
    shape: (usize, usize),
    floats: Vec<A>,
    integers: Vec<c_int>,
}

impl<A> SvdWork<A> {
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&self.floats[..]) + size_of_val(&self.integers[..])
    }
}

impl<A: Element> SvdWork<A> {
    /// For r × c matrices: what the routine asks for, but at least what its documentation demands.
    pub(crate) fn new(r: usize, c: usize) -> Self {
        let (short, long) = (r.min(c), r.max(c));
        let mut floats = least_svd_work(short, long);
        if let (Ok(rows), Ok(cols), Ok(k)) = (dimension(c), dimension(r), dimension(short)) {
            let (mut asked, mut integer, mut info) = (A::zero(), 0, 0);
            let nothing = &mut A::zero() as *mut A;
            // SAFETY: with length −1 the routine only writes its demand to the first entry of the
            // workspace and `info`; matrix, values and vectors are not touched.
            unsafe {
                (A::FUNCTIONS.gesdd)(
                    &(b'S' as c_char),
                    &rows,
                    &cols,
                    nothing,
                    &rows.max(1),
                    nothing,
                    nothing,
                    &rows.max(1),
                    nothing,
                    &k.max(1),
                    &mut asked,
                    &-1,
                    &mut integer,
                    &mut info,
                );
            }
            floats = floats.max(length(asked));
        }
        Self { shape: (r, c), floats: vec![A::zero(); floats], integers: vec![0; 8 * short] }
    }
}

/// The least workspace of `gesdd` with singular vectors.
fn least_svd_work(short: usize, long: usize) -> usize {
    4 * short * short + 7 * short + long.max(1)
}

fn svd<A: Element>(
    matrix: &mut [A],
    values: &mut [A],
    u: &mut [A],
    vt: &mut [A],
    work: &mut SvdWork<A>,
) -> Result<()> {
    let (r, c) = work.shape;
    let k = r.min(c);
    assert!(matrix.len() == r * c && values.len() == k && u.len() == r * k && vt.len() == k * c);
    assert!(work.floats.len() >= least_svd_work(k, r.max(c)) && work.integers.len() >= 8 * k);
    let (rows, cols, k, mut info) = (dimension(c)?, dimension(r)?, dimension(k)?, 0);
    let floats = dimension(work.floats.len())?;
    // SAFETY: a row-major r × c matrix is a column-major c × r one, of which the left singular
    // vectors, column-major c × k, are Vᵀ row-major, and the right ones U; the buffers have the
    // documented lengths (asserted), with leading dimensions c, c and k.
    unsafe {
        (A::FUNCTIONS.gesdd)(
            &(b'S' as c_char),
            &rows,
            &cols,
            matrix.as_mut_ptr(),
            &rows.max(1),
            values.as_mut_ptr(),
            vt.as_mut_ptr(),
            &rows.max(1),
            u.as_mut_ptr(),
            &k.max(1),
            work.floats.as_mut_ptr(),
            &floats,
            work.integers.as_mut_ptr(),
            &mut info,
        );
    }
    converged(SVD, info)
}

const SVD: &str = "singular value decomposition";
const SVD_FAILED: LinalgError = LinalgError::NoConvergence { routine: SVD, info: 1 };

fn thin_svd<A: Element>(m: ArrayView2<'_, A>) -> Result<Svd<A>> {
    match (A::FUNCTIONS.svd)(m, JobSvd::Some) {
        Some((Some(u), s, Some(vt))) => Ok((u, s, vt)),
        _ => Err(SVD_FAILED),
    }
}

fn singular_values<A: Element>(m: ArrayView2<'_, A>) -> Result<Array1<A>> {
    (A::FUNCTIONS.svd)(m, JobSvd::None).map(|(_, s, _)| s).ok_or(SVD_FAILED)
}

/// Sets OpenBLAS's number of threads.
pub(crate) fn set_threads(threads: usize) {
    let threads = c_int::try_from(threads.max(1)).unwrap_or(c_int::MAX);
    // SAFETY: the function takes any positive number, and limits it itself.
    unsafe { openblas_set_num_threads(threads) };
}

/// Version and kernel, and what the variable asked for.
pub(crate) fn description() -> Backend {
    // SAFETY: both functions return pointers to constant NUL-terminated strings.
    let (config, kernel) =
        unsafe { (CStr::from_ptr(openblas_get_config()), CStr::from_ptr(openblas_get_corename())) };
    let config = config.to_string_lossy();
    let version: Vec<&str> = config.split_whitespace().take(2).collect();
    let kernel = kernel.to_string_lossy().into_owned();
    let asked = std::env::var(KERNEL_VARIABLE).ok().filter(|asked| !asked.is_empty());
    let processor = kernels::of_processor();
    let better_kernel = kernels::better(&kernel, asked.as_deref(), processor);
    let beyond_processor = kernels::is_beyond(&kernel, processor);
    let refused_kernel = asked.filter(|asked| !asked.eq_ignore_ascii_case(&kernel));
    Backend {
        library: Library::OpenBlas,
        name: version.join(" "),
        kernel,
        better_kernel,
        refused_kernel,
        beyond_processor,
    }
}
