//! The secular equation of a join, and the eigenvectors that its roots give.

use pulp::{Simd, WithSimd};

use super::{
    super::simd::{Real, dot},
    NoConvergence,
};

/// Solves `1 / rho + Σ weights / (poles - λ) = 0` for all roots, and forms the differences
/// `grouped - λ` (a column a root) and Löwner's products of them. Pole `j` is row `place[j]` of
/// `grouped`, which is padded to whole registers with a value that is no pole.
pub(super) struct Secular<'a, T> {
    pub(super) ld: usize,
    pub(super) poles: &'a [T],
    pub(super) weights: &'a [T],
    pub(super) rho: T,
    pub(super) grouped: &'a [T],
    pub(super) place: &'a [usize],
    pub(super) values: &'a mut [T],
    pub(super) inner: &'a mut [T],
    pub(super) product: &'a mut [T],
}

impl<T: Real> WithSimd for Secular<'_, T> {
    type Output = Result<(), NoConvergence>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { ld, poles, weights, rho, grouped, place, values, inner, product } = self;
        let k = poles.len();
        let rows = k.div_ceil(T::lanes::<S>()) * T::lanes::<S>();
        let grouped = T::split::<S>(&grouped[..rows]).0;
        let product = &mut product[..rows];
        product.fill(T::one());
        for j in 0..k {
            let (origin, shift) = root(simd, poles, weights, rho, j).ok_or(NoConvergence)?;
            values[j] = origin + shift;
            let column = &mut inner[j * ld..][..rows];
            let (os, ss) = (T::splat(simd, origin), T::splat(simd, shift));
            let pole = T::splat(simd, poles[j]);
            // The column's own pole has a factor without a denominator.
            let own = place[j];
            let before = product[own];
            let products = T::split_mut::<S>(product).0.iter_mut();
            for ((to, &g), p) in T::split_mut::<S>(column).0.iter_mut().zip(grouped).zip(products) {
                *to = T::vsub(simd, T::vsub(simd, g, os), ss);
                *p = T::vmul(simd, *p, T::vdiv(simd, *to, T::vsub(simd, g, pole)));
            }
            product[own] = before * column[own];
        }
        Ok(())
    }
}

/// `Σ w / (p - origin - shift)` and its derivative, over some of the poles.
#[inline(always)]
fn secular_sum<T: Real, S: Simd>(
    simd: S,
    poles: &[T],
    weights: &[T],
    origin: T,
    shift: T,
) -> (T, T) {
    let (pv, pt) = T::split::<S>(poles);
    let (wv, wt) = T::split::<S>(weights);
    let one = T::splat(simd, T::one());
    let (os, ss) = (T::splat(simd, origin), T::splat(simd, shift));
    let mut value = [T::splat(simd, T::zero()); 2];
    let mut slope = value;
    for (i, (&p, &w)) in pv.iter().zip(wv).enumerate() {
        let inv = T::vdiv(simd, one, T::vsub(simd, T::vsub(simd, p, os), ss));
        let term = T::vmul(simd, w, inv);
        value[i % 2] = T::vadd(simd, value[i % 2], term);
        slope[i % 2] = T::vfma(simd, term, inv, slope[i % 2]);
    }
    let mut total = T::sum(simd, T::vadd(simd, value[0], value[1]));
    let mut derivative = T::sum(simd, T::vadd(simd, slope[0], slope[1]));
    for (&p, &w) in pt.iter().zip(wt) {
        let inv = T::one() / ((p - origin) - shift);
        let term = w * inv;
        total += term;
        derivative += term * inv;
    }
    (total, derivative)
}

/// The root of the secular equation above pole `j`, as the nearer pole and the distance from it.
///
/// The middle way (Li 1994, LAPACK working note 89): the sums over the poles on either side of the
/// root are interpolated by simple rational functions. A bracket guards each step; bisection
/// replaces a step that leaves it.
#[inline(always)]
fn root<T: Real, S: Simd>(simd: S, poles: &[T], weights: &[T], rho: T, j: usize) -> Option<(T, T)> {
    let k = poles.len();
    let two = T::of(2.0);
    let inv_rho = T::one() / rho;
    let last = j + 1 == k;
    if k == 1 {
        return Some((poles[0], rho * weights[0]));
    }
    // The model has a pole on either side; the last root borrows the pole below its own.
    let (left, right) = if last { (j - 1, j) } else { (j, j + 1) };
    let split = left + 1;
    let gap = poles[right] - poles[left];
    let (mut low, mut high);
    let origin;
    let mut shift;
    if last {
        origin = poles[j];
        low = T::zero();
        // The weights sum to one up to rounding.
        high =
            rho * weights.iter().fold(T::zero(), |s, &w| s + w) * (T::one() + T::of(8.0) * T::EPS);
        shift = high / two;
    } else {
        let half = gap / two;
        let below = secular_sum(simd, &poles[..split], &weights[..split], poles[j], half).0;
        let above = secular_sum(simd, &poles[split..], &weights[split..], poles[j], half).0;
        let middle = inv_rho + below + above;
        let (wl, wr) = (weights[left], weights[right]);
        let c = middle + wl / half - wr / half;
        if middle >= T::zero() {
            (origin, low, high) = (poles[left], T::zero(), half);
            let (a, b) = (c * gap + wl + wr, wl * gap);
            shift = lesser_root(a, b, c);
        } else {
            (origin, low, high) = (poles[right], -half, T::zero());
            let (a, b) = (c * gap - wl - wr, wr * gap);
            let disc = (a * a + T::of(4.0) * b * c).magnitude().root();
            shift = if a < T::zero() { two * b / (a - disc) } else { -(a + disc) / (two * c) };
        }
        if !(shift > low && shift < high) {
            shift = (low + high) / two;
        }
    }
    let (pl, pr) = (poles[left] - origin, poles[right] - origin);
    for _ in 0..200 {
        let (psi, dpsi) = secular_sum(simd, &poles[..split], &weights[..split], origin, shift);
        let (phi, dphi) = secular_sum(simd, &poles[split..], &weights[split..], origin, shift);
        let value = inv_rho + psi + phi;
        let slope = dpsi + dphi;
        // The rounding error of the sums, and that of the shift itself.
        let error =
            T::of(8.0) * (psi.magnitude() + phi.magnitude() + inv_rho) + shift.magnitude() * slope;
        if value.magnitude() <= T::EPS * error {
            return Some((origin, shift));
        }
        if value < T::zero() {
            low = shift;
        } else {
            high = shift;
        }
        let (dl, dr) = (pl - shift, pr - shift);
        let a = (dl + dr) * value - dl * dr * slope;
        let b = dl * dr * value;
        let c = value - dl * dpsi - dr * dphi;
        let mut step = if last {
            let disc = (a * a - T::of(4.0) * b * c).magnitude().root();
            if a >= T::zero() { (a + disc) / (two * c) } else { two * b / (a - disc) }
        } else {
            lesser_root(a, b, c)
        };
        // False also for a step that is not a number.
        let sensible = value * step < T::zero();
        if !sensible {
            step = -value / slope;
        }
        let mut next = shift + step;
        if !(next > low && next < high) {
            next = (low + high) / two;
        }
        if next == shift || next == low || next == high {
            return Some((origin, shift));
        }
        shift = next;
    }
    None
}

/// The root `(a - √(a² - 4 b c)) / 2c`, without cancellation.
#[inline(always)]
fn lesser_root<T: Real>(a: T, b: T, c: T) -> T {
    let two = T::of(2.0);
    let disc = (a * a - T::of(4.0) * b * c).magnitude().root();
    if a <= T::zero() { (a - disc) / (two * c) } else { two * b / (a + disc) }
}

/// Replaces the differences in each column of `inner` by the unit eigenvector
/// `product / difference`.
pub(super) struct Vectors<'a, T> {
    pub(super) ld: usize,
    pub(super) k: usize,
    pub(super) inner: &'a mut [T],
    pub(super) product: &'a [T],
}

impl<T: Real> WithSimd for Vectors<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { ld, k, inner, product } = self;
        let rows = k.div_ceil(T::lanes::<S>()) * T::lanes::<S>();
        let product = T::split::<S>(&product[..rows]).0;
        for column in inner.chunks_exact_mut(ld).take(k) {
            let column = &mut column[..rows];
            for (x, &p) in T::split_mut::<S>(column).0.iter_mut().zip(product) {
                *x = T::vdiv(simd, p, *x);
            }
            let scale = T::splat(simd, T::one() / dot(simd, column, column).root());
            for x in T::split_mut::<S>(column).0 {
                *x = T::vmul(simd, *x, scale);
            }
        }
    }
}
