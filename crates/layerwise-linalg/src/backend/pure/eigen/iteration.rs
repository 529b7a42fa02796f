//! Eigendecomposition of small tridiagonal blocks.

use pulp::{Simd, WithSimd};

use super::{super::simd::Real, NoConvergence};

/// Implicit QR iterations with Wilkinson's shift on the tridiagonal matrix `(d, e)`; the rotations
/// are applied to the columns of `z` (Golub and Van Loan, Matrix Computations, 8.3.3).
///
/// The rotations of a sweep are collected and applied in one pass, which carries the column shared
/// by neighbouring rotations in registers. Backward error `c m ε ‖T‖`.
pub(crate) struct QrIteration<'a, T> {
    pub d: &'a mut [T],
    pub e: &'a mut [T],
    /// Columns of `z`, `ld` apart; rows `top..bottom` (whole registers) are rotated.
    pub z: &'a mut [T],
    pub ld: usize,
    pub top: usize,
    pub bottom: usize,
    pub rotations: &'a mut [[T; 2]],
}

impl<T: Real> WithSimd for QrIteration<'_, T> {
    type Output = Result<(), NoConvergence>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { d, e, z, ld, top, bottom, rotations } = self;
        let m = d.len();
        // The iteration converges at the end: the small entries belong there, as in a graded matrix the
        // large ones' rounding would swamp them (LAPACK's `steqr` goes one way or the other).
        if d[m - 1].magnitude() > d[0].magnitude() {
            d.reverse();
            e[..m - 1].reverse();
            for i in 0..m / 2 {
                let (low, high) = z.split_at_mut((m - 1 - i) * ld);
                low[i * ld..][top..bottom].swap_with_slice(&mut high[top..bottom]);
            }
        }
        let mut norm = T::zero();
        for x in d.iter().chain(e.iter()) {
            norm = if x.magnitude() > norm { x.magnitude() } else { norm };
        }
        let floor = T::EPS * T::EPS * norm;
        let negligible = |d: &[T], e: &[T], i: usize| {
            let e = e[i].magnitude();
            e <= floor || e <= T::EPS * (d[i].magnitude() + d[i + 1].magnitude())
        };
        let mut end = m - 1;
        // Two to three sweeps an eigenvalue are usual; the bound is LAPACK's.
        let mut sweeps = 30 * m;
        while end > 0 {
            if negligible(d, e, end - 1) {
                e[end - 1] = T::zero();
                end -= 1;
                continue;
            }
            if sweeps == 0 {
                return Err(NoConvergence);
            }
            sweeps -= 1;
            let mut start = end - 1;
            while start > 0 && !negligible(d, e, start - 1) {
                start -= 1;
            }
            if start + 1 == end {
                rotations[start] = diagonalize(d, e, start);
            } else {
                sweep_values(d, e, rotations, start, end);
            }
            let lanes = T::lanes::<S>();
            let z = &mut z[start * ld..];
            let rotations = &rotations[start..end];
            let mut row = top;
            while row + 4 * lanes <= bottom {
                sweep::<T, S, 4>(simd, z, ld, row, rotations);
                row += 4 * lanes;
            }
            while row < bottom {
                sweep::<T, S, 1>(simd, z, ld, row, rotations);
                row += lanes;
            }
        }
        Ok(())
    }
}

/// One sweep of the iteration on the block `start..=end`, with its rotations.
#[inline(always)]
fn sweep_values<T: Real>(
    d: &mut [T],
    e: &mut [T],
    rotations: &mut [[T; 2]],
    start: usize,
    end: usize,
) {
    let g = (d[end - 1] - d[end]) / (T::of(2.0) * e[end - 1]);
    let r = (g * g + T::one()).root().with_sign(g);
    let mut x = d[start] - (d[end] - e[end - 1] / (g + r));
    let mut y = e[start];
    for k in start..end {
        let (c, s, r) = rotation(x, y);
        if k > start {
            e[k - 1] = r;
        }
        let (p, q, ek) = (d[k], d[k + 1], e[k]);
        let g = (q - p) * s + T::of(2.0) * c * ek;
        d[k] = p + s * g;
        d[k + 1] = q - s * g;
        e[k] = c * g - ek;
        x = e[k];
        if k + 1 < end {
            y = s * e[k + 1];
            e[k + 1] = c * e[k + 1];
        }
        rotations[k] = [c, s];
    }
}

/// Jacobi's rotation, which finishes a block of two (Golub and Van Loan, Matrix Computations, 8.5.2).
#[inline(always)]
fn diagonalize<T: Real>(d: &mut [T], e: &mut [T], i: usize) -> [T; 2] {
    let b = e[i];
    let tau = (d[i + 1] - d[i]) / (T::of(2.0) * b);
    let t = T::one().with_sign(tau) / (tau.magnitude() + (T::one() + tau * tau).root());
    let c = T::one() / (T::one() + t * t).root();
    d[i] -= t * b;
    d[i + 1] += t * b;
    e[i] = T::zero();
    [c, -t * c]
}

/// `c`, `s` and `r` with `c x + s y = r`, `c y - s x = 0`.
#[inline(always)]
fn rotation<T: Real>(x: T, y: T) -> (T, T, T) {
    let h = x * x + y * y;
    if h > T::TINY / (T::EPS * T::EPS) {
        let r = h.root();
        let inv = T::one() / r;
        return (x * inv, y * inv, r);
    }
    let largest = if x.magnitude() > y.magnitude() { x.magnitude() } else { y.magnitude() };
    if largest == T::zero() {
        return (T::one(), T::zero(), T::zero());
    }
    let (up, down) = largest.normalizer();
    let (x, y) = (x * up, y * up);
    let r = (x * x + y * y).root();
    (x / r, y / r, r * down)
}

/// Applies a sweep's rotations to `R` registers of rows.
#[inline(always)]
fn sweep<T: Real, S: Simd, const R: usize>(
    simd: S,
    z: &mut [T],
    ld: usize,
    row: usize,
    rotations: &[[T; 2]],
) {
    let len = R * T::lanes::<S>();
    let mut carried = [T::splat(simd, T::zero()); R];
    carried.copy_from_slice(T::split::<S>(&z[row..row + len]).0);
    for (i, &[c, s]) in rotations.iter().enumerate() {
        let pair = &mut z[i * ld + row..][..ld + len];
        let (left, right) = pair.split_at_mut(ld);
        let left = T::split_mut::<S>(&mut left[..len]).0;
        let right = T::split::<S>(&right[..len]).0;
        let (c, s) = (T::splat(simd, c), T::splat(simd, s));
        for ((x, left), &y) in carried.iter_mut().zip(left).zip(right) {
            *left = T::vfma(simd, s, y, T::vmul(simd, c, *x));
            *x = T::vfnma(simd, s, *x, T::vmul(simd, c, y));
        }
    }
    let last = &mut z[rotations.len() * ld + row..][..len];
    T::split_mut::<S>(last).0.copy_from_slice(&carried);
}
