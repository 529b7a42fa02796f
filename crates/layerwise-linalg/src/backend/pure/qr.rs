//! LQ factorization by Householder reflections, which is QR of the transpose: ours, as faer's takes twice
//! as long at the sizes of layers, and leaves dependent columns out, so that its R is a staircase.

use faer::{
    Accum, MatMut, MatRef, Par,
    linalg::{
        matmul::matmul,
        triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place},
    },
};
use pulp::{Arch, Simd, WithSimd};

use super::buffer::{Buffer, column_stride};
use super::simd::{Real, dot};
use crate::Result;

/// Workspace of [`orthonormalize`].
#[derive(Debug, Clone)]
pub(crate) struct QrWork<T> {
    arch: Arch,
    k: usize,
    d: usize,
    ld: usize,
    v: Buffer<T>,
    c: Buffer<T>,
    w: Buffer<T>,
    tau: Vec<T>,
}

/// The number of reflections applied at a time.
fn block(k: usize) -> usize {
    if k <= UNBLOCKED {
        k
    } else if k <= 256 {
        16
    } else {
        32
    }
}

/// The largest number of columns that are reflected one by one.
const UNBLOCKED: usize = 32;

impl<T> QrWork<T> {
    pub(crate) fn memory_bytes(&self) -> usize {
        [&self.v, &self.c, &self.w].iter().map(|buffer| buffer.memory_bytes()).sum::<usize>()
            + size_of_val(&self.tau[..])
    }
}

impl<T: Real> QrWork<T> {
    /// For k × d matrices, k ≤ d; about k d entries.
    pub(super) fn new(k: usize, d: usize) -> Self {
        let (ld, nb) = (column_stride(d), block(k));
        Self {
            arch: Arch::new(),
            k,
            d,
            ld,
            v: Buffer::new(k * ld),
            c: Buffer::new(nb * nb),
            w: Buffer::new(nb * k),
            tau: vec![T::zero(); k],
        }
    }

    fn orthonormalize(&mut self, a: &mut [T], diagonal: &mut [T]) {
        let (arch, k, d, ld) = (self.arch, self.k, self.d, self.ld);
        let (v, c, w) = (self.v.get(), self.c.get(), self.w.get());
        let tau = &mut self.tau;
        if k == 0 {
            return;
        }
        for (to, from) in v.chunks_exact_mut(ld).zip(a.chunks_exact(d)) {
            to[..d].copy_from_slice(from);
            to[d..].fill(T::zero());
        }
        let nb = block(k);
        let one = T::one();
        let starts = (0..k).step_by(nb);
        for start in starts.clone() {
            let end = k.min(start + nb);
            let (tau, diagonal) = (&mut tau[start..end], &mut diagonal[start..end]);
            let panel = &mut v[start * ld..];
            arch.dispatch(Panel { start, ld, v: &mut panel[..(end - start) * ld], tau, diagonal });
            if end < k {
                let m = end - start;
                let (left, right) = panel.split_at_mut(m * ld);
                let left = columns(left, ld, start, d, m);
                let mut right = MatMut::from_column_major_slice_with_stride_mut(
                    &mut right[start..],
                    d - start,
                    k - end,
                    ld,
                );
                let c = factor(left, tau, c);
                let mut w =
                    MatMut::from_column_major_slice_mut(&mut w[..m * (k - end)], m, k - end);
                matmul(w.as_mut(), Accum::Replace, left.transpose(), right.as_ref(), one, Par::Seq);
                solve_lower_triangular_in_place(c.transpose(), w.as_mut(), Par::Seq);
                matmul(right.as_mut(), Accum::Add, left, w.as_ref(), -one, Par::Seq);
            }
        }
        if k <= nb {
            arch.dispatch(Form { ld, v, tau });
            for (to, from) in a.chunks_exact_mut(d).zip(v.chunks_exact(ld)) {
                to.copy_from_slice(&from[..d]);
            }
            return;
        }
        a.fill(T::zero());
        for start in starts.rev() {
            let end = k.min(start + nb);
            let m = end - start;
            for i in start..end {
                a[i * d + i] = one;
            }
            let v = columns(&v[start * ld..], ld, start, d, m);
            let c = factor(v, &tau[start..end], c);
            let (top, bottom) = v.split_at_row(m);
            let mut q = MatMut::from_column_major_slice_with_stride_mut(
                &mut a[start * d + start..],
                d - start,
                k - start,
                d,
            );
            let mut w =
                MatMut::from_column_major_slice_mut(&mut w[..m * (k - start)], m, k - start);
            w.as_mut().subcols_mut(0, m).copy_from(top.transpose());
            // The rows of the block are still those of the identity.
            let later = q.as_ref().submatrix(m, m, d - end, k - end);
            matmul(
                w.as_mut().subcols_mut(m, k - end),
                Accum::Replace,
                bottom.transpose(),
                later,
                one,
                Par::Seq,
            );
            solve_upper_triangular_in_place(c, w.as_mut(), Par::Seq);
            matmul(q.as_mut(), Accum::Add, v, w.as_ref(), -one, Par::Seq);
        }
    }
}

/// Replaces the rows of a row-major k × d matrix A = L Q by Q's orthonormal ones, without allocating, and
/// gives L's diagonal.
///
/// Householder reflections in blocks, and their product formed from the last block to the first on the
/// trailing columns only, as in LAPACK's `geqrf` and `orgqr`. Q is orthonormal to c d ε whatever the rank.
/// The rows' largest entries are near one: entries below √(smallest normal / ε) count as zero.
pub(super) fn orthonormalize<T: Real>(
    matrix: &mut [T],
    diagonal: &mut [T],
    work: &mut QrWork<T>,
) -> Result<()> {
    work.orthonormalize(matrix, diagonal);
    Ok(())
}

/// Rows `start..d` of `m` columns.
fn columns<T: Real>(v: &[T], ld: usize, start: usize, d: usize, m: usize) -> MatRef<'_, T> {
    MatRef::from_column_major_slice_with_stride(&v[start..], d - start, m, ld)
}

/// The matrix `C` of a block of reflections `I - V C⁻¹ Vᵀ`: its upper triangle is that of `VᵀV`,
/// its diagonal `1 / τ` (Puglisi 1992).
fn factor<'a, T: Real>(v: MatRef<'_, T>, tau: &[T], c: &'a mut [T]) -> MatRef<'a, T> {
    let m = v.ncols();
    let c = &mut c[..m * m];
    let product = MatMut::from_column_major_slice_mut(c, m, m);
    matmul(product, Accum::Replace, v.transpose(), v, T::one(), Par::Seq);
    for (i, &t) in tau.iter().enumerate() {
        c[i * (m + 1)] = if t == T::zero() { T::one() } else { T::one() / t };
    }
    MatRef::from_column_major_slice(c, m, m)
}

/// Replaces the columns of a panel, whose first has its diagonal in row `start`, by the vectors of
/// its reflections: zero above the diagonal and one on it, so that later products need no
/// triangular structure.
struct Panel<'a, T> {
    start: usize,
    ld: usize,
    v: &'a mut [T],
    tau: &'a mut [T],
    diagonal: &'a mut [T],
}

impl<T: Real> WithSimd for Panel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { start, ld, v, tau, diagonal } = self;
        for i in 0..tau.len() {
            let (column, rest) = v[i * ld..].split_at_mut(ld);
            let row = start + i;
            let first = row / T::lanes::<S>() * T::lanes::<S>();
            let alpha = column[row];
            column[..=row].fill(T::zero());
            let column = &mut column[first..];
            let tail = dot(simd, column, column);
            if tail <= T::TINY / T::EPS {
                column.fill(T::zero());
                (diagonal[i], tau[i]) = (alpha, T::zero());
                continue;
            }
            let beta = -(alpha * alpha + tail).root().with_sign(alpha);
            (diagonal[i], tau[i]) = (beta, (beta - alpha) / beta);
            scale(simd, column, T::one() / (alpha - beta));
            column[row - first] = T::one();
            reflect(simd, column, tau[i], rest, ld, first);
        }
    }
}

/// Replaces the reflections' vectors by the leading columns of the reflections' product.
struct Form<'a, T> {
    ld: usize,
    v: &'a mut [T],
    tau: &'a [T],
}

impl<T: Real> WithSimd for Form<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { ld, v, tau } = self;
        for i in (0..tau.len()).rev() {
            let (column, rest) = v[i * ld..].split_at_mut(ld);
            let first = i / T::lanes::<S>() * T::lanes::<S>();
            reflect(simd, &column[first..], tau[i], rest, ld, first);
            scale(simd, &mut column[first..], -tau[i]);
            column[i] += T::one();
        }
    }
}

/// `x *= f`.
#[inline(always)]
fn scale<T: Real, S: Simd>(simd: S, x: &mut [T], f: T) {
    let f = T::splat(simd, f);
    for x in T::split_mut::<S>(x).0 {
        *x = T::vmul(simd, *x, f);
    }
}

/// Applies `I - τ v vᵀ` to the columns of `c`, whose rows from `first` on it changes.
#[inline(always)]
fn reflect<T: Real, S: Simd>(simd: S, v: &[T], tau: T, c: &mut [T], ld: usize, first: usize) {
    let mut quads = c.chunks_exact_mut(4 * ld);
    for quad in &mut quads {
        reflect_some::<T, S, 4>(simd, v, tau, quad, ld, first);
    }
    for column in quads.into_remainder().chunks_exact_mut(ld) {
        reflect_some::<T, S, 1>(simd, v, tau, column, ld, first);
    }
}

/// Applies `I - τ v vᵀ` to `C` columns at once.
#[inline(always)]
fn reflect_some<T: Real, S: Simd, const C: usize>(
    simd: S,
    v: &[T],
    tau: T,
    c: &mut [T],
    ld: usize,
    first: usize,
) {
    let v = T::split::<S>(v).0;
    let mut columns = c.chunks_exact_mut(ld);
    let columns: [&mut [T::V<S>]; C] = core::array::from_fn(|_| {
        let column = &mut columns.next().unwrap_or_default()[first..];
        &mut T::split_mut::<S>(column).0[..v.len()]
    });
    let zero = T::splat(simd, T::zero());
    let mut sums = [[zero; C]; 2];
    let (pairs, odd) = v.as_chunks::<2>();
    for (i, pair) in pairs.iter().enumerate() {
        for (s, &v) in pair.iter().enumerate() {
            for j in 0..C {
                sums[s][j] = T::vfma(simd, v, columns[j][2 * i + s], sums[s][j]);
            }
        }
    }
    for &v in odd {
        for j in 0..C {
            sums[0][j] = T::vfma(simd, v, columns[j][2 * pairs.len()], sums[0][j]);
        }
    }
    let mut f = [zero; C];
    for j in 0..C {
        f[j] = T::splat(simd, tau * T::sum(simd, T::vadd(simd, sums[0][j], sums[1][j])));
    }
    for (i, &v) in v.iter().enumerate() {
        for j in 0..C {
            columns[j][i] = T::vfnma(simd, f[j], v, columns[j][i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::pure::dense;

    /// The widest vectors of this processor are those of all other tests.
    #[test]
    fn a_processor_without_wide_vectors_orthonormalizes_too() {
        for (k, d) in [(1, 1), (3, 10), (33, 50), (100, 100), (290, 300)] {
            let factored = |arch| {
                let mut work = QrWork::new(k, d);
                work.arch = arch;
                let (mut rows, mut diagonal) = (dense(k, d), vec![0.0; k]);
                orthonormalize(&mut rows, &mut diagonal, &mut work).unwrap();
                for (row, sign) in rows.chunks_exact_mut(d).zip(&diagonal) {
                    row.iter_mut().for_each(|x| *x *= sign.signum());
                }
                (rows, diagonal)
            };
            let (rows, diagonal) = factored(Arch::Scalar);
            let (wide, _) = factored(Arch::new());
            // Q is a function of G whose condition is that of G: here at most some k d, in which both err
            // by d ε of a row.
            let bound = 4.0 * d as f64 * f64::EPSILON * (k * d) as f64;
            assert!(rows.iter().zip(&wide).all(|(a, b)| (a - b).abs() <= bound), "{k} {d}");
            assert!(diagonal.iter().all(|x| x.abs() > 1e-3), "{k} {d}: well-conditioned");
            let departure = 4.0 * d as f64 * f64::EPSILON;
            for (i, a) in rows.chunks_exact(d).enumerate() {
                for (j, b) in rows.chunks_exact(d).enumerate() {
                    let product = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() <= departure, "{k} {d}, {i} {j}");
                }
            }
        }
    }
}
