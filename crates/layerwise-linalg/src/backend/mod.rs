//! The interface to a backend: the operations that this crate needs of one, for `f32` and `f64`.
//!
//! A backend is one module that fills a [`Routines`] for each type, and says how it is described and
//! how many threads it uses. `openblas` serves where one of its features is on, else `pure`. What
//! calls a routine has checked shapes and finiteness, and leaves empty operands out.

#[cfg(any(feature = "openblas-system", feature = "openblas-static"))]
mod kernels;
#[cfg(any(feature = "openblas-system", feature = "openblas-static"))]
mod openblas;
#[cfg(not(any(feature = "openblas-system", feature = "openblas-static")))]
mod pure;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};
#[cfg(any(feature = "openblas-system", feature = "openblas-static"))]
use openblas as chosen;
#[cfg(not(any(feature = "openblas-system", feature = "openblas-static")))]
use pure as chosen;

pub(crate) use chosen::{CholeskyWork, EigenWork, QrWork, SvdWork, description, set_threads};

use crate::Result;

/// Which side a triangular matrix stands on.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Left,
    Right,
}

/// What is done with a lower triangular L.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Multiply by L.
    Multiply,
    /// Multiply by L⁻¹.
    Solve,
    /// Multiply by L⁻ᵀ.
    SolveTransposed,
}

/// U, the singular values in descending order, and Vᵀ.
pub(crate) type Svd<A> = (Array2<A>, Array1<A>, Array2<A>);

/// What a backend does. Its fields are out of reach for users.
///
/// Matrices given as slices are row-major and without gaps.
#[expect(clippy::type_complexity, reason = "a signature is clearer than a name for it")]
pub struct Routines<A: 'static> {
    /// C ← α A B + β C.
    pub(crate) gemm:
        fn(A, ArrayView2<'_, A>, ArrayView2<'_, A>, A, &mut ArrayViewMut2<'_, A>) -> Result<()>,
    /// C ← α A Aᵀ + β C in C's lower triangle; what is above it may be anything.
    pub(crate) syrk: fn(A, ArrayView2<'_, A>, A, &mut ArrayViewMut2<'_, A>) -> Result<()>,
    /// y ← α A x + β y.
    pub(crate) gemv:
        fn(A, ArrayView2<'_, A>, ArrayView1<'_, A>, A, &mut ArrayViewMut1<'_, A>) -> Result<()>,
    /// B ← op(L) B or B op(L), from L's lower triangle, whose diagonal has no zero.
    pub(crate) triangular:
        fn(Action, Side, ArrayView2<'_, A>, &mut ArrayViewMut2<'_, A>) -> Result<()>,
    /// Workspace for n × n matrices.
    pub(crate) cholesky_work: fn(usize) -> CholeskyWork,
    /// Overwrites the upper triangle of an n × n matrix with Lᵀ, of its Cholesky factor L.
    pub(crate) cholesky: fn(usize, &mut [A], &mut CholeskyWork) -> Result<()>,
    /// Workspace for n × n matrices.
    pub(crate) eigen_work: fn(usize) -> EigenWork<A>,
    /// Overwrites a symmetric matrix, of which the lower triangle is read, with its eigenvectors, one
    /// a *row*, and gives the eigenvalues, ascending. Its entries are of moderate size.
    pub(crate) eigen: fn(&mut [A], &mut [A], &mut EigenWork<A>) -> Result<()>,
    /// Workspace for k × d matrices, k ≤ d.
    pub(crate) qr_work: fn(usize, usize) -> QrWork<A>,
    /// Replaces the rows of a k × d matrix L Q by Q's orthonormal ones, and gives L's diagonal. Its rows
    /// are of moderate size.
    pub(crate) orthonormalize: fn(&mut [A], &mut [A], &mut QrWork<A>) -> Result<()>,
    /// Workspace for r × c matrices.
    pub(crate) svd_work: fn(usize, usize) -> SvdWork<A>,
    /// The thin singular value decomposition of an r × c matrix, which is destroyed: values in
    /// descending order, U (r × k) and Vᵀ (k × c), k = min(r, c). Its entries are of moderate size.
    pub(crate) svd: fn(&mut [A], &mut [A], &mut [A], &mut [A], &mut SvdWork<A>) -> Result<()>,
    /// The same for a row-major matrix, with storage of its own.
    pub(crate) thin_svd: fn(ArrayView2<'_, A>) -> Result<Svd<A>>,
    /// Singular values alone, as `thin_svd`.
    pub(crate) singular_values: fn(ArrayView2<'_, A>) -> Result<Array1<A>>,
}

/// Types that a backend computes with.
pub trait Kernel: Copy + Sized + 'static {
    /// The routines: a static, so that they are compiled here and not in each crate that uses them.
    #[doc(hidden)]
    const ROUTINES: &'static Routines<Self>;
}
