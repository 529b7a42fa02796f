//! Eigendecomposition of a symmetric tridiagonal matrix: implicit QR for small blocks, joined by
//! divide and conquer.

use std::cmp::Ordering;

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use pulp::{Arch, Simd, WithSimd};

use super::{
    super::{buffer::ALIGN, simd::Real},
    NoConvergence,
    iteration::QrIteration,
    secular::{Secular, Vectors},
};

/// The largest block that the QR iteration decomposes.
pub(crate) const BASE: usize = 32;

/// Divide and conquer (Cuppen 1981; Gu and Eisenstat 1995, "A divide-and-conquer algorithm for the
/// symmetric tridiagonal eigenproblem"). Residual and loss of orthogonality `c n ε ‖T‖`.
pub(crate) struct Divide<'a, T> {
    pub arch: Arch,
    pub ld: usize,
    pub d: &'a mut [T],
    pub e: &'a mut [T],
    /// The eigenvectors, zero outside the diagonal blocks decomposed so far.
    pub z: &'a mut [T],
    /// The indices of `d` by ascending value, for each block relative to its start.
    pub order: &'a mut [usize],
    pub rotations: &'a mut [[T; 2]],
    pub scratch: &'a mut [T],
    pub pack: &'a mut [T],
    pub inner: &'a mut [T],
    pub index: &'a mut [usize],
    pub kind: &'a mut [u8],
}

/// The vectors of scratch that a join takes.
pub(crate) const SCRATCH: usize = 6;

/// Which rows of a column of the two blocks' eigenvectors are not zero.
const TOP: u8 = 0;
const BOTH: u8 = 1;
const BOTTOM: u8 = 2;

impl<T: Real> Divide<'_, T> {
    /// Decomposes the block `at..at + n`.
    pub(crate) fn solve(&mut self, at: usize, n: usize) -> Result<(), NoConvergence> {
        if n <= BASE {
            return self.base(at, n);
        }
        let n1 = n / 2;
        let rho = self.e[at + n1 - 1];
        self.d[at + n1 - 1] -= rho.magnitude();
        self.d[at + n1] -= rho.magnitude();
        self.solve(at, n1)?;
        self.solve(at + n1, n - n1)?;
        self.join(at, n, n1, rho)
    }

    fn base(&mut self, at: usize, n: usize) -> Result<(), NoConvergence> {
        for i in at..at + n {
            self.z[i * self.ld + i] = T::one();
        }
        let d = &mut self.d[at..at + n];
        // The rows outside the block that complete a register are zero in these columns.
        self.arch.dispatch(QrIteration {
            d,
            e: &mut self.e[at..at + n - 1],
            z: &mut self.z[at * self.ld..],
            ld: self.ld,
            top: at / ALIGN * ALIGN,
            bottom: (at + n).div_ceil(ALIGN) * ALIGN,
            rotations: self.rotations,
        })?;
        sort(d, &mut self.order[at..at + n]);
        Ok(())
    }

    /// Joins the blocks `at..at + n1` and `at + n1..at + n`, which `rho` couples.
    fn join(&mut self, at: usize, n: usize, n1: usize, rho: T) -> Result<(), NoConvergence> {
        let ld = self.ld;
        let n2 = n - n1;
        let d = &mut self.d[at..at + n];
        let order = &mut self.order[at..at + n];
        let (slots, rest) = self.index.split_at_mut(n);
        let (merged, rest) = rest.split_at_mut(n);
        let (deflated, place) = rest.split_at_mut(n);
        let kind = &mut self.kind[..n];
        let mut parts = self.scratch.chunks_exact_mut(ld);
        let mut part = || parts.next().unwrap_or_default();
        let (w, poles, weights, values, grouped, product) =
            (part(), part(), part(), part(), part(), part());

        let half = T::of(0.5).root();
        for i in 0..n1 {
            w[i] = half * self.z[(at + i) * ld + at + n1 - 1];
            kind[i] = TOP;
        }
        let half = half.with_sign(rho);
        for i in n1..n {
            w[i] = half * self.z[(at + i) * ld + at + n1];
            kind[i] = BOTTOM;
        }
        let rho = T::of(2.0) * rho.magnitude();

        let (mut i, mut j) = (0, 0);
        for slot in merged.iter_mut().take(n) {
            let left = j == n2 || (i < n1 && d[order[i]] <= d[n1 + order[n1 + j]]);
            if left {
                *slot = order[i];
                i += 1;
            } else {
                *slot = n1 + order[n1 + j];
                j += 1;
            }
        }

        // Deflation: a negligible weight, or two close poles whose weights a rotation concentrates
        // on one of them.
        let largest = |x: &[T]| {
            x.iter().fold(T::zero(), |m, x| if x.magnitude() > m { x.magnitude() } else { m })
        };
        let (dmax, wmax) = (largest(d), largest(&w[..n]));
        let tolerance = T::of(4.0) * T::EPS * if dmax > wmax { dmax } else { wmax };
        let (mut k, mut dropped) = (0, 0);
        let mut previous: Option<usize> = None;
        for &next in merged[..n].iter() {
            if rho * w[next].magnitude() <= tolerance {
                deflated[dropped] = next;
                dropped += 1;
                continue;
            }
            if let Some(p) = previous {
                let r = (w[next] * w[next] + w[p] * w[p]).root();
                let (c, s) = (w[next] / r, -w[p] / r);
                if ((d[next] - d[p]) * c * s).magnitude() <= tolerance {
                    w[next] = r;
                    if kind[next] != kind[p] {
                        kind[next] = BOTH;
                    }
                    self.arch.dispatch(Rotate {
                        z: self.z,
                        ld,
                        columns: [at + p, at + next],
                        rows: [at, at + n],
                        rotation: [c, s],
                    });
                    let (dp, dn) = (d[p], d[next]);
                    d[p] = dp * c * c + dn * s * s;
                    d[next] = dp * s * s + dn * c * c;
                    deflated[dropped] = p;
                    dropped += 1;
                } else {
                    slots[k] = p;
                    k += 1;
                }
            }
            previous = Some(next);
        }
        if let Some(p) = previous {
            slots[k] = p;
            k += 1;
        }
        if k == 0 {
            order.copy_from_slice(&merged[..n]);
            return Ok(());
        }
        let (slots, deflated) = (&mut slots[..k], &deflated[..dropped]);
        for (i, &slot) in slots.iter().enumerate() {
            poles[i] = d[slot];
            weights[i] = w[slot] * w[slot];
        }

        // Group the columns by their nonzero rows, so that the products skip the zeros.
        let mut count = [0; 3];
        for &slot in slots.iter() {
            count[usize::from(kind[slot])] += 1;
        }
        let mut next = [0, count[0], count[0] + count[1]];
        for (&slot, place) in slots.iter().zip(place.iter_mut()) {
            let to = &mut next[usize::from(kind[slot])];
            merged[*to] = slot;
            *place = *to;
            *to += 1;
        }
        let [_, both, _] = count;
        let above = count[0] + both;
        let below = both + count[2];
        for (i, &slot) in merged[..k].iter().enumerate() {
            grouped[i] = d[slot];
        }
        grouped[k..].fill(T::of(4.0) * (dmax + rho) + T::one());
        self.arch.dispatch(Secular {
            ld,
            poles: &poles[..k],
            weights: &weights[..k],
            rho,
            grouped,
            place,
            values: &mut values[..k],
            inner: self.inner,
            product,
        })?;
        // Gu and Eisenstat: the computed values are the exact ones of nearby weights, whose
        // eigenvectors are orthogonal to working accuracy.
        for i in 0..k {
            product[i] = product[i].magnitude().root().with_sign(w[merged[i]]);
        }
        product[k..].fill(T::zero());
        self.arch.dispatch(Vectors { ld, k, inner: self.inner, product });

        let (top, rest) = self.pack.split_at_mut(above * n1);
        let (bottom, rest) = rest.split_at_mut(below * n2);
        for (to, &slot) in top.chunks_exact_mut(n1).zip(&merged[..above]) {
            to.copy_from_slice(&self.z[(at + slot) * ld + at..][..n1]);
        }
        for (to, &slot) in bottom.chunks_exact_mut(n2).zip(&merged[count[0]..k]) {
            to.copy_from_slice(&self.z[(at + slot) * ld + at + n1..][..n2]);
        }
        for (to, &slot) in rest.chunks_exact_mut(n).zip(deflated) {
            to.copy_from_slice(&self.z[(at + slot) * ld + at..][..n]);
        }
        for (i, &slot) in deflated.iter().enumerate() {
            product[i] = d[slot];
        }
        d[..k].copy_from_slice(&values[..k]);
        d[k..].copy_from_slice(&product[..dropped]);
        let z = &mut self.z[at * ld + at..];
        for (i, from) in rest.chunks_exact(n).take(dropped).enumerate() {
            z[(k + i) * ld..][..n].copy_from_slice(from);
        }
        let inner = MatRef::from_column_major_slice_with_stride(&*self.inner, k, k, ld);
        let z = MatMut::from_column_major_slice_with_stride_mut(z, n, k, ld);
        let (ztop, zbottom) = z.split_at_row_mut(n1);
        let top = MatRef::from_column_major_slice(top, n1, above);
        let bottom = MatRef::from_column_major_slice(bottom, n2, below);
        let one = T::one();
        matmul(ztop, Accum::Replace, top, inner.subrows(0, above), one, Par::Seq);
        matmul(zbottom, Accum::Replace, bottom, inner.subrows(count[0], below), one, Par::Seq);
        sort(d, order);
        Ok(())
    }
}

/// Orders the indices of `d` by its values.
pub(crate) fn sort<T: Real>(d: &[T], order: &mut [usize]) {
    for (i, slot) in order.iter_mut().enumerate() {
        *slot = i;
    }
    order.sort_unstable_by(|&i, &j| {
        d[i].partial_cmp(&d[j]).unwrap_or(Ordering::Equal).then(i.cmp(&j))
    });
}

/// `(x, y) = (c x + s y, c y - s x)` on two columns.
struct Rotate<'a, T> {
    z: &'a mut [T],
    ld: usize,
    columns: [usize; 2],
    rows: [usize; 2],
    rotation: [T; 2],
}

impl<T: Real> WithSimd for Rotate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { z, ld, columns: [p, q], rows: [top, bottom], rotation: [c, s] } = self;
        let (low, high) = z.split_at_mut(p.max(q) * ld);
        let low = &mut low[p.min(q) * ld..][top..bottom];
        let high = &mut high[top..bottom];
        let s = if p < q { s } else { -s };
        for (x, y) in low.iter_mut().zip(high) {
            (*x, *y) = (c * *x + s * *y, c * *y - s * *x);
        }
    }
}
