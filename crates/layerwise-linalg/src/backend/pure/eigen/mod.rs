//! Eigendecomposition of symmetric matrices: ours, as faer's takes twice as long at the sizes of layers
//! (`benches/README.md`).

mod divide;
mod iteration;
mod secular;
mod tridiagonal;

use faer::{
    Accum, MatMut, MatRef, Par,
    linalg::{matmul::matmul, triangular_solve::solve_lower_triangular_in_place},
};
use pulp::{Arch, Simd, WithSimd};

use self::{
    divide::{BASE, Divide, SCRATCH, sort},
    iteration::QrIteration,
    tridiagonal::{DEFER, PANEL, Tridiagonalize},
};
use super::buffer::{ALIGN, Buffer, column_stride};
use super::simd::{Real, dot};
use crate::{LinalgError, Result};

/// An iteration did not converge.
pub(crate) struct NoConvergence;

impl From<NoConvergence> for LinalgError {
    fn from(_: NoConvergence) -> Self {
        Self::NoConvergence { routine: "eigendecomposition", info: 1 }
    }
}

/// Workspace of [`decompose`].
#[derive(Debug, Clone)]
pub(crate) struct EigenWork<T> {
    arch: Arch,
    n: usize,
    ld: usize,
    a: Buffer<T>,
    z: Buffer<T>,
    pack: Buffer<T>,
    inner: Buffer<T>,
    vectors: Buffer<T>,
    rotations: Vec<[T; 2]>,
    index: Vec<usize>,
    order: Vec<usize>,
    kind: Vec<u8>,
}

/// Overwrites a row-major symmetric matrix, of which the lower triangle is read, with its eigenvectors,
/// one a *row*, and gives the eigenvalues, ascending, without allocating.
///
/// Householder tridiagonalization, divide and conquer, and application of the reflections, as in LAPACK's
/// `syevd`. The largest entry is near one. ‖S V − V Λ‖ is within c n ε ‖S‖ and ‖VᵀV − I‖ within c n ε,
/// with a modest c.
pub(super) fn decompose<T: Real>(
    matrix: &mut [T],
    values: &mut [T],
    work: &mut EigenWork<T>,
) -> Result<()> {
    work.decompose(matrix, values)
}

/// Vectors of the workspace: the tridiagonal matrix, the reflections' factors, and scratch.
const VECTORS: usize = 3 + SCRATCH;

/// The number of reflections applied at a time.
fn block(n: usize) -> usize {
    if n <= 256 { 16 } else { 32 }
}

impl<T> EigenWork<T> {
    pub(crate) fn memory_bytes(&self) -> usize {
        let buffers = [&self.a, &self.z, &self.pack, &self.inner, &self.vectors];
        buffers.iter().map(|buffer| buffer.memory_bytes()).sum::<usize>()
            + size_of_val(&self.rotations[..])
            + size_of_val(&self.index[..])
            + size_of_val(&self.order[..])
            + self.kind.len()
    }
}

impl<T: Real> EigenWork<T> {
    /// For n × n matrices; about 4 n² entries.
    pub(super) fn new(n: usize) -> Self {
        let ld = column_stride(n);
        let blocked = if n > BASE { 1 } else { 0 };
        Self {
            arch: Arch::new(),
            n,
            ld,
            a: Buffer::new(n * ld),
            z: Buffer::new(n * ld),
            pack: Buffer::new(blocked * n.max(block(n)) * ld),
            inner: Buffer::new(blocked * n.max(2 * block(n)) * ld),
            vectors: Buffer::new(VECTORS * ld),
            rotations: vec![[T::zero(); 2]; n],
            index: vec![0; 4 * n],
            order: vec![0; n],
            kind: vec![0; n],
        }
    }

    fn decompose(&mut self, matrix: &mut [T], values: &mut [T]) -> Result<()> {
        let (n, ld) = (self.n, self.ld);
        if n == 0 {
            return Ok(());
        }
        let a = self.a.get();
        let z = self.z.get();
        load(n, matrix, a, ld);
        let (d, rest) = self.vectors.get().split_at_mut(ld);
        let (e, rest) = rest.split_at_mut(ld);
        let (tau, scratch) = rest.split_at_mut(ld);
        let (d, e, tau) = (&mut d[..n], &mut e[..n - 1], &mut tau[..n]);
        let work = &mut scratch[..4 * ld];
        let pairs = if n > DEFER { &mut z[..2 * PANEL * ld] } else { &mut [] };
        self.arch.dispatch(Tridiagonalize { n, ld, a, d, e, tau, work, pairs });
        z.fill(T::zero());
        if n <= BASE {
            self.arch.dispatch(Accumulate { n, ld, v: a, tau, z });
            self.arch.dispatch(QrIteration {
                d,
                e,
                z,
                ld,
                top: 0,
                bottom: n.div_ceil(ALIGN) * ALIGN,
                rotations: &mut self.rotations,
            })?;
            sort(d, &mut self.order);
        } else {
            let (pack, inner) = (self.pack.get(), self.inner.get());
            Divide {
                arch: self.arch,
                ld,
                d,
                e,
                z,
                order: &mut self.order,
                rotations: &mut self.rotations,
                scratch,
                pack,
                inner,
                index: &mut self.index,
                kind: &mut self.kind,
            }
            .solve(0, n)?;
            apply_reflections(n, ld, a, tau, z, pack, inner);
        }
        for ((value, row), &i) in values.iter_mut().zip(matrix.chunks_exact_mut(n)).zip(&self.order)
        {
            *value = d[i];
            row.copy_from_slice(&z[i * ld..][..n]);
        }
        Ok(())
    }
}

/// Copies the lower triangle of a row-major matrix into the layout of [`Tridiagonalize`].
fn load<T: Real>(n: usize, matrix: &[T], a: &mut [T], ld: usize) {
    for (i, (from, to)) in matrix.chunks_exact(n).zip(a.chunks_exact_mut(ld)).enumerate() {
        to[..=i].copy_from_slice(&from[..=i]);
        to[i + 1..].fill(T::zero());
    }
    for start in (0..n).step_by(ALIGN) {
        for j in start..n.min(start + ALIGN) {
            for i in start..j {
                a[i * ld + j] = a[j * ld + i];
            }
        }
    }
}

/// Forms the product of the reflections in `z`.
struct Accumulate<'a, T> {
    n: usize,
    ld: usize,
    v: &'a [T],
    tau: &'a [T],
    z: &'a mut [T],
}

impl<T: Real> WithSimd for Accumulate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { n, ld, v, tau, z } = self;
        let lanes = T::lanes::<S>();
        z[0] = T::one();
        // H(k) changes the leading k rows, and the product of the earlier ones is the identity
        // outside its leading k - 1.
        for k in 1..n {
            z[k * ld + k] = T::one();
            let rows = k.div_ceil(lanes) * lanes;
            let v = &v[k * ld..][..rows];
            for column in z.chunks_exact_mut(ld).take(k) {
                let column = &mut column[..rows];
                let f = T::splat(simd, tau[k] * dot(simd, v, column));
                for (x, &v) in T::split_mut::<S>(column).0.iter_mut().zip(T::split::<S>(v).0) {
                    *x = T::vfnma(simd, f, v, *x);
                }
            }
        }
    }
}

/// Multiplies `z` by the product of the reflections, a block at a time: `I - V C⁻¹ Vᵀ`, where the
/// lower triangle of `C` is that of `VᵀV`, and its diagonal is `1 / τ` (Puglisi 1992; Joffrain et
/// al. 2006, "Accumulating Householder transformations, revisited").
fn apply_reflections<T: Real>(
    n: usize,
    ld: usize,
    v: &[T],
    tau: &[T],
    z: &mut [T],
    pack: &mut [T],
    inner: &mut [T],
) {
    let nb = block(n);
    let one = T::one();
    let mut start = 1;
    while start < n {
        let count = nb.min(n - start);
        let rows = start + count - 1;
        let v = MatRef::from_column_major_slice_with_stride(&v[start * ld..], rows, count, ld);
        let mut z = MatMut::from_column_major_slice_with_stride_mut(z, rows, n, ld);
        let mut c = MatMut::from_column_major_slice_mut(&mut inner[..count * count], count, count);
        matmul(c.as_mut(), Accum::Replace, v.transpose(), v, one, Par::Seq);
        for i in 0..count {
            let t = tau[start + i];
            c[(i, i)] = if t == T::zero() { one } else { one / t };
        }
        let mut w = MatMut::from_column_major_slice_mut(&mut pack[..count * n], count, n);
        matmul(w.as_mut(), Accum::Replace, v.transpose(), z.as_ref(), one, Par::Seq);
        solve_lower_triangular_in_place(c.as_ref(), w.as_mut(), Par::Seq);
        matmul(z.as_mut(), Accum::Add, v, w.as_ref(), -one, Par::Seq);
        start += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::pure::dense;

    /// The widest vectors of this processor are those of all other tests.
    #[test]
    fn a_processor_without_wide_vectors_decomposes_too() {
        for n in [1, 2, 7, 33, 100, 330] {
            let m = dense(n, n);
            let s: Vec<f64> = (0..n * n).map(|at| m[at] + m[at % n * n + at / n]).collect();
            let decomposed = |arch| {
                let mut work = EigenWork::new(n);
                work.arch = arch;
                let (mut rows, mut values) = (s.clone(), vec![0.0; n]);
                decompose(&mut rows, &mut values, &mut work).unwrap();
                (rows, values)
            };
            let (rows, values) = decomposed(Arch::Scalar);
            // ‖S v − λ v‖ and |vᵢ·vⱼ − δ| for each row v, within what the tests of families derive.
            let bound = 4.0 * n as f64 * f64::EPSILON;
            let norm = s.iter().map(|x| x * x).sum::<f64>().sqrt();
            for (v, &value) in rows.chunks_exact(n).zip(&values) {
                let residual = |row: &[f64], own: f64| {
                    (row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>() - value * own).powi(2)
                };
                let residual =
                    s.chunks_exact(n).zip(v).map(|(row, &own)| residual(row, own)).sum::<f64>();
                assert!(residual.sqrt() <= bound * norm, "{n}: {residual:e}");
                for (at, other) in rows.chunks_exact(n).enumerate() {
                    let product = v.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
                    let same = std::ptr::eq(v, &rows[at * n..(at + 1) * n]);
                    let expected = if same { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() <= bound, "{n}, {at}: {product:e}");
                }
            }
            // By Weyl, both err by at most the bound.
            let (_, wide) = decomposed(Arch::new());
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 2.0 * bound * norm;
            assert!(values.iter().zip(&wide).all(close), "{n}");
        }
    }
}
