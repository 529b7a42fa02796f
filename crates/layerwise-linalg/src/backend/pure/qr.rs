//! QR factorization of the transpose, which is LQ.

use faer::{
    Conj, MatMut, MatRef, Par,
    linalg::{
        householder::{
            apply_block_householder_sequence_on_the_left_in_place_scratch,
            apply_block_householder_sequence_on_the_left_in_place_with_conj,
        },
        qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size},
    },
};

use super::{Element, Workspace};
use crate::Result;

/// Storage of the reflectors' block factors, and workspace.
#[derive(Debug, Clone)]
pub(crate) struct QrWork<A> {
    shape: (usize, usize),
    block: usize,
    coefficients: Vec<A>,
    reflectors: Vec<A>,
    workspace: Workspace,
}

impl<A: Element> QrWork<A> {
    /// For k ≤ d rows of length d.
    pub(super) fn new(k: usize, d: usize) -> Self {
        let block = recommended_block_size::<A>(d, k);
        let size = qr_in_place_scratch::<A>(d, k, block, Par::Seq, Default::default()).or(
            apply_block_householder_sequence_on_the_left_in_place_scratch::<A>(d, block, k),
        );
        Self {
            shape: (k, d),
            block,
            coefficients: vec![A::zero_impl(); block * k],
            reflectors: vec![A::zero_impl(); k * d],
            workspace: Workspace::new(size),
        }
    }
}

/// Factors a row-major k × d matrix as L Q: row i then holds L_i0 … L_ii, and the rest of a reflector.
pub(super) fn factor<A: Element>(matrix: &mut [A], work: &mut QrWork<A>) -> Result<()> {
    let (k, d) = work.shape;
    let coefficients = MatMut::from_column_major_slice_mut(&mut work.coefficients, work.block, k);
    let transpose = MatMut::from_column_major_slice_mut(matrix, d, k);
    qr_in_place(transpose, coefficients, Par::Seq, work.workspace.stack(), Default::default());
    Ok(())
}

/// Overwrites what [`factor`] left with Q's k orthonormal rows.
pub(super) fn basis<A: Element>(matrix: &mut [A], work: &mut QrWork<A>) -> Result<()> {
    let (k, d) = work.shape;
    work.reflectors.copy_from_slice(matrix);
    matrix.fill(A::zero_impl());
    for i in 0..k {
        matrix[i * d + i] = A::one_impl();
    }
    apply_block_householder_sequence_on_the_left_in_place_with_conj(
        MatRef::from_column_major_slice(&work.reflectors, d, k),
        MatRef::from_column_major_slice(&work.coefficients, work.block, k),
        Conj::No,
        MatMut::from_column_major_slice_mut(matrix, d, k),
        Par::Seq,
        work.workspace.stack(),
    );
    Ok(())
}
