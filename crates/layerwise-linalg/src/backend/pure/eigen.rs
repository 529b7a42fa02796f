//! Eigendecomposition of symmetric matrices.

use std::marker::PhantomData;

use faer::{
    MatMut, MatRef, Par, Spec,
    diag::DiagMut,
    linalg::evd::{
        ComputeEigenvectors, SelfAdjointEvdParams, self_adjoint_evd, self_adjoint_evd_scratch,
    },
};

use super::{Element, Workspace};
use crate::{LinalgError, Result};

/// Workspace of [`decompose`].
#[derive(Debug, Clone)]
pub(crate) struct EigenWork<A> {
    workspace: Workspace,
    copy: Vec<A>,
}

impl<A: Element> EigenWork<A> {
    /// For n × n matrices.
    pub(super) fn new(n: usize) -> Self {
        let vectors = ComputeEigenvectors::Yes;
        let size = self_adjoint_evd_scratch::<A>(n, vectors, Par::Seq, parameters(n));
        Self { workspace: Workspace::new(size), copy: vec![A::zero_impl(); n * n] }
    }
}

fn parameters<A: Element>(_n: usize) -> Spec<SelfAdjointEvdParams, A> {
    Default::default()
}

/// Overwrites a row-major symmetric matrix, of which the lower triangle is read, with its eigenvectors,
/// one a *row*, and gives the eigenvalues, ascending.
pub(super) fn decompose<A: Element>(
    matrix: &mut [A],
    values: &mut [A],
    work: &mut EigenWork<A>,
) -> Result<()> {
    let n = values.len();
    work.copy.copy_from_slice(matrix);
    let symmetric = MatRef::from_row_major_slice(&work.copy, n, n);
    let vectors = MatMut::from_column_major_slice_mut(matrix, n, n);
    let stack = work.workspace.stack();
    let values = DiagMut::from_slice_mut(values);
    self_adjoint_evd(symmetric, values, Some(vectors), Par::Seq, stack, parameters(n)).map_err(|_| {
        LinalgError::NoConvergence { routine: "eigendecomposition", info: 1 }
    })
}
