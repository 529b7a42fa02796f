//! Householder reduction of a symmetric matrix to tridiagonal form.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use pulp::{Simd, WithSimd};

use super::super::simd::{Real, dot};

/// Reduces the symmetric matrix `a = Q T Qᵀ`, `Q = H(n-1) ⋯ H(1)`, `H(k) = I - τ v vᵀ`.
///
/// `a` holds columns `ld` apart: the upper triangle, and both triangles of the diagonal blocks of
/// [`ALIGN`](super::super::simd::ALIGN) columns, so that every pass works on whole registers. On return column
/// `k` holds `v` of `H(k)`, which is one at row `k - 1` and zero below it.
///
/// Each step subtracts the previous reflection's rank-2 update and multiplies by the new vector
/// in a single pass over the matrix (Golub and Van Loan, Matrix Computations, 8.3.1); large
/// matrices are updated once in [`PANEL`] steps by matrix products instead (Dongarra, Hammarling
/// and Sorensen 1989). Backward error `c n ε ‖A‖`.
pub(crate) struct Tridiagonalize<'a, T> {
    pub n: usize,
    pub ld: usize,
    pub a: &'a mut [T],
    pub d: &'a mut [T],
    pub e: &'a mut [T],
    pub tau: &'a mut [T],
    /// Four vectors of length `ld`.
    pub work: &'a mut [T],
    /// `2 PANEL` vectors of length `ld`, where `n` exceeds [`DEFER`].
    pub pairs: &'a mut [T],
}

/// The order from which on updates are deferred: the matrix no longer fits the cache next to the
/// core, and a pass that writes it costs twice one that reads it.
pub(crate) const DEFER: usize = 320;

/// The number of deferred updates.
pub(crate) const PANEL: usize = 16;

impl<T: Real> WithSimd for Tridiagonalize<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { n, ld, a, d, e, tau, work, pairs } = self;
        let lanes = T::lanes::<S>();
        let whole = |rows: usize| rows.div_ceil(lanes) * lanes;
        work.fill(T::zero());
        let (mut u, rest) = work.split_at_mut(ld);
        let (mut w, rest) = rest.split_at_mut(ld);
        let (mut v, mut z) = rest.split_at_mut(ld);

        let mut active = n;
        while active > DEFER {
            let count = PANEL.min(active - DEFER);
            for s in 0..count {
                let k = active - 1 - s;
                let rows = whole(k);
                let (us, ws) = pairs.split_at_mut(PANEL * ld);
                let earlier = || us.chunks_exact(ld).zip(ws.chunks_exact(ld)).take(s);
                let col = &mut a[k * ld..(k + 1) * ld];
                for (u, w) in earlier() {
                    rank_two(simd, &mut col[..whole(k + 1)], u, w, u[k], w[k]);
                }
                d[k] = col[k];
                (e[k - 1], tau[k]) = reflector(simd, k, &mut col[..rows], v);
                col[k..].fill(T::zero());
                z[..rows].fill(T::zero());
                product_pass(simd, k, ld, &a[..k * ld], v, z);
                z[k..rows].fill(T::zero());
                for (u, w) in earlier() {
                    let uv = dot(simd, &u[..rows], &v[..rows]);
                    let wv = dot(simd, &w[..rows], &v[..rows]);
                    rank_two(simd, &mut z[..rows], u, w, uv, wv);
                }
                finish(simd, tau[k], &v[..rows], &mut z[..rows]);
                us[s * ld..][..rows].copy_from_slice(&v[..rows]);
                ws[s * ld..][..rows].copy_from_slice(&z[..rows]);
            }
            active -= count;
            let (us, ws) = pairs.split_at(PANEL * ld);
            update(active, ld, a, &us[..count * ld], &ws[..count * ld]);
        }
        for k in (1..active).rev() {
            let rows = whole(k);
            let col = &mut a[k * ld..(k + 1) * ld];
            rank_two(simd, &mut col[..whole(k + 1)], u, w, u[k], w[k]);
            d[k] = col[k];
            (e[k - 1], tau[k]) = reflector(simd, k, &mut col[..rows], v);
            col[k..].fill(T::zero());
            z[..rows].fill(T::zero());
            fused_pass(simd, k, ld, &mut a[..k * ld], u, w, v, z);
            z[k..rows].fill(T::zero());
            finish(simd, tau[k], &v[..rows], &mut z[..rows]);
            core::mem::swap(&mut u, &mut v);
            core::mem::swap(&mut w, &mut z);
        }
        d[0] = a[0] - T::of(2.0) * u[0] * w[0];
    }
}

/// Replaces the leading `k` entries of `col` by the vector of the reflection that maps them to
/// a multiple of the last unit vector, and copies it to `v`; the multiple and `τ`.
#[inline(always)]
fn reflector<T: Real, S: Simd>(simd: S, k: usize, col: &mut [T], v: &mut [T]) -> (T, T) {
    let alpha = col[k - 1];
    col[k - 1..].fill(T::zero());
    let tail = dot(simd, col, col);
    // Entries whose squares underflow are below ε times the matrix's largest, which is near one;
    // leaving them out is a smaller error than rounding.
    if tail <= T::TINY / T::EPS {
        col.fill(T::zero());
        v[..col.len()].fill(T::zero());
        return (alpha, T::zero());
    }
    let beta = -(alpha * alpha + tail).root().with_sign(alpha);
    let scale = T::one() / (alpha - beta);
    for (v, x) in v.iter_mut().zip(col.iter_mut()) {
        *x *= scale;
        *v = *x;
    }
    v[k - 1] = T::one();
    col[k - 1] = T::one();
    (beta, (beta - alpha) / beta)
}

/// From `z = A v` the vector `w` of the update `A - v wᵀ - w vᵀ`.
#[inline(always)]
fn finish<T: Real, S: Simd>(simd: S, tau: T, v: &[T], z: &mut [T]) {
    let half = tau * tau * T::of(0.5) * dot(simd, z, v);
    for (z, v) in z.iter_mut().zip(v) {
        *z = tau * *z - half * *v;
    }
}

/// Subtracts `U Wᵀ + W Uᵀ` from the leading `k` columns.
fn update<T: Real>(k: usize, ld: usize, a: &mut [T], u: &[T], w: &[T]) {
    let count = u.len() / ld;
    let view = |x| MatRef::from_column_major_slice_with_stride(x, k, count, ld);
    let (u, w) = (view(u), view(w));
    for start in (0..k).step_by(COLUMNS) {
        let width = COLUMNS.min(k - start);
        // Whole diagonal blocks are wanted below the diagonal too.
        let rows = start + width;
        for (x, y) in [(u, w), (w, u)] {
            let to = &mut a[start * ld..];
            let to = MatMut::from_column_major_slice_with_stride_mut(to, rows, width, ld);
            let y = y.subrows(start, width).transpose();
            matmul(to, Accum::Add, x.subrows(0, rows), y, -T::one(), Par::Seq);
        }
    }
}

/// The width of the blocks of a deferred update, a multiple of [`ALIGN`](super::super::simd::ALIGN).
const COLUMNS: usize = 64;

/// Adds the product of the leading `k` columns with `v` to `z`.
#[inline(always)]
fn product_pass<T: Real, S: Simd>(simd: S, k: usize, ld: usize, a: &[T], v: &[T], z: &mut [T]) {
    let lanes = T::lanes::<S>();
    for (block, start) in (0..k).step_by(lanes).enumerate() {
        let end = k.min(start + lanes);
        let mut c = start;
        while c < end {
            if c + 4 <= end {
                product_some::<T, S, 4>(simd, block, c, ld, a, v, z);
                c += 4;
            } else {
                product_some::<T, S, 1>(simd, block, c, ld, a, v, z);
                c += 1;
            }
        }
    }
}

/// Adds the product of `C` columns from `c` on, down to the register `block` that holds their
/// diagonal, and of their mirror images, with `v` to `z`.
#[inline(always)]
fn product_some<T: Real, S: Simd, const C: usize>(
    simd: S,
    block: usize,
    c: usize,
    ld: usize,
    a: &[T],
    v: &[T],
    z: &mut [T],
) {
    let columns: [&[T::V<S>]; C] =
        core::array::from_fn(|j| &T::split::<S>(&a[(c + j) * ld..][..ld]).0[..block + 1]);
    let vs: [T::V<S>; C] = core::array::from_fn(|j| T::splat(simd, v[c + j]));
    let mut acc = [T::splat(simd, T::zero()); C];
    let vv = &T::split::<S>(v).0[..block];
    let zv = &mut T::split_mut::<S>(z).0[..block + 1];
    for i in 0..block {
        let mut sum = zv[i];
        for j in 0..C {
            let x = columns[j][i];
            acc[j] = T::vfma(simd, x, vv[i], acc[j]);
            sum = T::vfma(simd, x, vs[j], sum);
        }
        zv[i] = sum;
    }
    for j in 0..C {
        zv[block] = T::vfma(simd, columns[j][block], vs[j], zv[block]);
    }
    for j in 0..C {
        z[c + j] += T::sum(simd, acc[j]);
    }
}

/// `x -= w_k u + u_k w`.
#[inline(always)]
fn rank_two<T: Real, S: Simd>(simd: S, x: &mut [T], u: &[T], w: &[T], uk: T, wk: T) {
    let (uk, wk) = (T::splat(simd, uk), T::splat(simd, wk));
    let vectors = T::split::<S>(u).0.iter().zip(T::split::<S>(w).0);
    for (x, (&u, &w)) in T::split_mut::<S>(x).0.iter_mut().zip(vectors) {
        *x = T::vfnma(simd, w, uk, T::vfnma(simd, u, wk, *x));
    }
}

/// Subtracts `u wᵀ + w uᵀ` from the leading `k` columns, then adds their product with `v` to `z`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the vectors of one step")]
fn fused_pass<T: Real, S: Simd>(
    simd: S,
    k: usize,
    ld: usize,
    a: &mut [T],
    u: &[T],
    w: &[T],
    v: &[T],
    z: &mut [T],
) {
    let lanes = T::lanes::<S>();
    let zero = T::splat(simd, T::zero());
    let uv = T::split::<S>(u).0;
    let wv = T::split::<S>(w).0;
    let vv = T::split::<S>(v).0;
    for (block, start) in (0..k).step_by(lanes).enumerate() {
        let (uv, wv, vv) = (&uv[..block + 1], &wv[..block + 1], &vv[..block + 1]);
        let end = k.min(start + lanes);
        let mut c = start;
        while c < end {
            if c + 1 < end {
                let (us, ws, vs) = (
                    [T::splat(simd, u[c]), T::splat(simd, u[c + 1])],
                    [T::splat(simd, w[c]), T::splat(simd, w[c + 1])],
                    [T::splat(simd, v[c]), T::splat(simd, v[c + 1])],
                );
                let (a0, a1) = a[c * ld..(c + 2) * ld].split_at_mut(ld);
                let a0 = &mut T::split_mut::<S>(a0).0[..block + 1];
                let a1 = &mut T::split_mut::<S>(a1).0[..block + 1];
                let zv = &mut T::split_mut::<S>(z).0[..block + 1];
                let mut acc = [zero; 2];
                for i in 0..block {
                    let (u, w, v) = (uv[i], wv[i], vv[i]);
                    let x0 = T::vfnma(simd, w, us[0], T::vfnma(simd, u, ws[0], a0[i]));
                    let x1 = T::vfnma(simd, w, us[1], T::vfnma(simd, u, ws[1], a1[i]));
                    a0[i] = x0;
                    a1[i] = x1;
                    acc[0] = T::vfma(simd, x0, v, acc[0]);
                    acc[1] = T::vfma(simd, x1, v, acc[1]);
                    zv[i] = T::vfma(simd, x1, vs[1], T::vfma(simd, x0, vs[0], zv[i]));
                }
                let (u, w) = (uv[block], wv[block]);
                let x0 = T::vfnma(simd, w, us[0], T::vfnma(simd, u, ws[0], a0[block]));
                let x1 = T::vfnma(simd, w, us[1], T::vfnma(simd, u, ws[1], a1[block]));
                a0[block] = x0;
                a1[block] = x1;
                zv[block] = T::vfma(simd, x1, vs[1], T::vfma(simd, x0, vs[0], zv[block]));
                z[c] += T::sum(simd, acc[0]);
                z[c + 1] += T::sum(simd, acc[1]);
                c += 2;
            } else {
                let (us, ws, vs) =
                    (T::splat(simd, u[c]), T::splat(simd, w[c]), T::splat(simd, v[c]));
                let a0 = &mut T::split_mut::<S>(&mut a[c * ld..(c + 1) * ld]).0[..block + 1];
                let zv = &mut T::split_mut::<S>(z).0[..block + 1];
                let mut acc = zero;
                for i in 0..=block {
                    let x = T::vfnma(simd, wv[i], us, T::vfnma(simd, uv[i], ws, a0[i]));
                    a0[i] = x;
                    if i < block {
                        acc = T::vfma(simd, x, vv[i], acc);
                    }
                    zv[i] = T::vfma(simd, x, vs, zv[i]);
                }
                z[c] += T::sum(simd, acc);
                c += 1;
            }
        }
    }
}
