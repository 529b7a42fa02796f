//! Cholesky factorization.

use faer::{
    MatMut, Par,
    linalg::cholesky::llt::factor::{LltError, cholesky_in_place, cholesky_in_place_scratch},
};

use super::{Element, Workspace};
use crate::{LinalgError, Result};

/// Workspace of [`factor`].
#[derive(Debug, Clone)]
pub(crate) struct CholeskyWork(Workspace);

impl CholeskyWork {
    /// For n × n matrices.
    pub(crate) fn new<A: Element>(n: usize) -> Self {
        Self(Workspace::new(cholesky_in_place_scratch::<A>(n, Par::Seq, Default::default())))
    }
}

/// Overwrites the upper triangle of a row-major n × n matrix with Lᵀ, of its Cholesky factor L.
pub(super) fn factor<A: Element>(
    n: usize,
    matrix: &mut [A],
    work: &mut CholeskyWork,
) -> Result<()> {
    // The upper triangle by rows is the lower one by columns.
    let lower = MatMut::from_column_major_slice_mut(matrix, n, n);
    let stack = work.0.stack();
    let factored =
        cholesky_in_place(lower, Default::default(), Par::Seq, stack, Default::default());
    match factored {
        Ok(_) => Ok(()),
        Err(LltError::NonPositivePivot { index }) => {
            Err(LinalgError::NotPositiveDefinite { minor: index + 1 })
        }
    }
}
