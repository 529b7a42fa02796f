//! What can go wrong, with the numbers that were at fault.

use thiserror::Error;

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, LinalgError>;

/// Why an operation was refused or failed.
///
/// Whatever the error, the caller's arrays and the factorization held by the object that returned
/// it are as they were before the call.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LinalgError {
    /// A square matrix was needed.
    #[error("a square matrix is needed, found {rows} x {cols}")]
    NotSquare {
        /// Number of rows found.
        rows: usize,
        /// Number of columns found.
        cols: usize,
    },
    /// A symmetric matrix was needed: |a_ij − a_ji| exceeds 8 ε n max|a|.
    #[error(
        "a symmetric matrix is needed, but entries ({row}, {col}) and ({col}, {row}) differ by \
         {difference:e}"
    )]
    NotSymmetric {
        /// Row of the worst entry below the diagonal.
        row: usize,
        /// Column of the worst entry below the diagonal.
        col: usize,
        /// |a_ij − a_ji| there.
        difference: f64,
    },
    /// A Cholesky factorization met a pivot that is not positive.
    #[error("not positive definite: the leading minor of order {minor} is not positive")]
    NotPositiveDefinite {
        /// Order of the leading minor, from 1.
        minor: usize,
    },
    /// An inverse root met an eigenvalue that is not positive beyond rounding.
    #[error(
        "the inverse root needs eigenvalues above {floor:e} (rounding or cut-off, after the \
         ridge), found {value:e}"
    )]
    EigenvalueNotPositive {
        /// The eigenvalue, ridge included.
        value: f64,
        /// What it must exceed.
        floor: f64,
    },
    /// An entry is NaN or infinite.
    #[error("entry ({row}, {col}) is {value}, not a finite number")]
    NonFinite {
        /// Row of the first such entry, in row-major order.
        row: usize,
        /// Column of the first such entry, in row-major order.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// An array has the wrong shape. A vector counts as one column.
    #[error("{what} must be {} x {}, found {} x {}", expected.0, expected.1, found.0, found.1)]
    Shape {
        /// Which array.
        what: &'static str,
        /// The shape needed: (rows, columns).
        expected: (usize, usize),
        /// The shape found: (rows, columns).
        found: (usize, usize),
    },
    /// The matrix has a lower rank than the operation needs.
    #[error("rank {rank} where {needed} is needed")]
    RankDeficient {
        /// The numerical rank found.
        rank: usize,
        /// The rank needed.
        needed: usize,
    },
    /// A triangular matrix has a zero on its diagonal and cannot be inverted.
    #[error("the triangular matrix is singular: diagonal entry {index} is zero")]
    SingularTriangle {
        /// Index of the diagonal entry, from 0.
        index: usize,
    },
    /// An iteration did not converge.
    #[error("{routine} did not converge (info {info})")]
    NoConvergence {
        /// The decomposition, LAPACK's routine, or the iteration.
        routine: &'static str,
        /// LAPACK's `info` (1 in Rust), or the number of steps taken.
        info: i32,
    },
    /// A parameter is outside its range.
    #[error("{name} = {value} is not allowed: it must be {allowed}")]
    InvalidParameter {
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values allowed.
        allowed: &'static str,
    },
    /// The operation is not defined for a matrix without entries.
    #[error("{what} has no entries")]
    Empty {
        /// Which array.
        what: &'static str,
    },
    /// A dimension exceeds what OpenBLAS can index (a 32-bit signed integer).
    #[error("a {rows} x {cols} matrix is too large for BLAS with 32-bit indices")]
    TooLarge {
        /// Number of rows found.
        rows: usize,
        /// Number of columns found.
        cols: usize,
    },
}
