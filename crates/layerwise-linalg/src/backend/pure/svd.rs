//! Singular value decomposition.

use std::marker::PhantomData;

use faer::{
    MatMut, MatRef, Par,
    diag::DiagMut,
    linalg::svd::{ComputeSvdVectors, svd, svd_scratch},
};
use faer_ext::IntoFaer;
use ndarray::{Array1, Array2, ArrayView2};

use super::{super::Svd, Element, Workspace};
use crate::{LinalgError, Result};

/// Workspace of [`destructive`].
#[derive(Debug, Clone)]
pub(crate) struct SvdWork<A> {
    shape: (usize, usize),
    workspace: Workspace,
    element: PhantomData<A>,
}

impl<A> SvdWork<A> {
    pub(crate) fn memory_bytes(&self) -> usize {
        self.workspace.memory_bytes()
    }
}

impl<A: Element> SvdWork<A> {
    /// For r × c matrices.
    pub(super) fn new(r: usize, c: usize) -> Self {
        Self::with_vectors(r, c, ComputeSvdVectors::Thin)
    }

    fn with_vectors(r: usize, c: usize, vectors: ComputeSvdVectors) -> Self {
        let size = svd_scratch::<A>(c, r, vectors, vectors, Par::Seq, Default::default());
        Self { shape: (r, c), workspace: Workspace::new(size), element: PhantomData }
    }
}

/// Singular values in descending order, row-major U and Vᵀ of a non-empty, row-major r × c matrix.
pub(super) fn destructive<A: Element>(
    matrix: &mut [A],
    values: &mut [A],
    u: &mut [A],
    vt: &mut [A],
    work: &mut SvdWork<A>,
) -> Result<()> {
    let (r, c) = work.shape;
    let k = values.len();
    // The transpose, V diag(s) Uᵀ, is stored by columns, as faer has it faster.
    let transpose = MatRef::from_column_major_slice(matrix, c, r);
    let left = MatMut::from_column_major_slice_mut(vt, c, k);
    let right = MatMut::from_row_major_slice_mut(u, r, k);
    run(transpose, values, Some((left, right)), &mut work.workspace)
}

/// The decomposition M = U diag(s) Vᵀ.
pub(super) fn thin<A: Element>(m: ArrayView2<'_, A>) -> Result<Svd<A>> {
    let (r, c) = m.dim();
    let k = r.min(c);
    let zeros = |rows, cols| Array2::from_elem((rows, cols), A::zero_impl());
    let (mut u, mut vt) = (zeros(r, k), zeros(k, c));
    let mut values = vec![A::zero_impl(); k];
    let vectors = (vt.view_mut().reversed_axes().into_faer(), u.view_mut().into_faer());
    let mut work = SvdWork::<A>::new(r, c);
    run(m.reversed_axes().into_faer(), &mut values, Some(vectors), &mut work.workspace)?;
    Ok((u, values.into(), vt))
}

/// The singular values alone.
pub(super) fn values<A: Element>(m: ArrayView2<'_, A>) -> Result<Array1<A>> {
    let (r, c) = m.dim();
    let mut values = vec![A::zero_impl(); r.min(c)];
    let mut work = SvdWork::<A>::with_vectors(r, c, ComputeSvdVectors::No);
    run(m.reversed_axes().into_faer(), &mut values, None, &mut work.workspace)?;
    Ok(values.into())
}

fn run<A: Element>(
    transpose: MatRef<'_, A>,
    values: &mut [A],
    vectors: Option<(MatMut<'_, A>, MatMut<'_, A>)>,
    workspace: &mut Workspace,
) -> Result<()> {
    let (v, u) = vectors.unzip();
    let values = DiagMut::from_slice_mut(values);
    let stack = workspace.stack();
    let outcome = svd(transpose, values, v, u, Par::Seq, stack, Default::default());
    let routine = "singular value decomposition";
    outcome.map_err(|_| LinalgError::NoConvergence { routine, info: 1 })
}
