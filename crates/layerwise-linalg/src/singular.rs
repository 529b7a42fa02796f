//! Singular values and vectors.

use ndarray::{Array1, Array2, ArrayView2};

use crate::{
    Cholesky, LinalgError, Result, Scalar, check,
    product::{gemv, gram},
    scaling::Scaling,
};

/// The min(m, n) singular values of an m × n matrix, descending.
///
/// # Errors
///
/// [`LinalgError::NonFinite`], [`LinalgError::NoConvergence`].
pub fn singular_values<A: Scalar>(m: ArrayView2<A>) -> Result<Array1<A>> {
    check::finite(m)?;
    if m.is_empty() {
        return Ok(Array1::zeros(0));
    }
    let (scaled, scaling) = scaled(m);
    Ok((A::ROUTINES.singular_values)(scaled.view())?.mapv_into(|value| scaling.undo(value)))
}

/// The thin singular value decomposition M = U diag(s) Vᵀ of an m × n matrix, as (U, s, Vᵀ): U is
/// m × r with orthonormal columns, Vᵀ is r × n with orthonormal rows, r = min(m, n), s descending.
///
/// # Errors
///
/// [`LinalgError::NonFinite`], [`LinalgError::NoConvergence`].
pub fn thin_svd<A: Scalar>(m: ArrayView2<A>) -> Result<(Array2<A>, Array1<A>, Array2<A>)> {
    check::finite(m)?;
    let (rows, cols) = m.dim();
    if m.is_empty() {
        return Ok((Array2::zeros((rows, 0)), Array1::zeros(0), Array2::zeros((0, cols))));
    }
    let (scaled, scaling) = scaled(m);
    let (u, s, vt) = (A::ROUTINES.thin_svd)(scaled.view())?;
    Ok((u, s.mapv_into(|value| scaling.undo(value)), vt))
}

/// The matrix, row-major, brought to a largest entry in [1, 2), and how.
fn scaled<A: Scalar>(m: ArrayView2<A>) -> (Array2<A>, Scaling<A>) {
    let mut copy = row_major(m);
    let scaling = Scaling::balance(copy.as_slice_mut().unwrap_or_default());
    (copy, scaling)
}

fn row_major<A: Scalar>(m: ArrayView2<A>) -> Array2<A> {
    let mut copy = Array2::zeros(m.dim());
    copy.assign(&m);
    copy
}

/// Power steps before a singular value decomposition takes over.
const POWER_STEPS: usize = 300;
/// Bound on ‖MᵀM v − σ² v‖ / σ². Products of length n err by about ε √n, far below it.
const RESIDUAL: f64 = 1e-12;
/// Nothing above σ² (1 + this) is tolerated in the spectrum of MᵀM.
const GAP: f64 = 1e-10;

/// The right singular vector of an m × n matrix that belongs to its largest singular value: a unit
/// vector of length n whose entry of largest modulus is positive.
///
/// Power iteration on MᵀM from a fixed start, until ‖MᵀM v − σ² v‖ ≤ 10⁻¹² σ²; then a Cholesky
/// factorization proves that no eigenvalue of MᵀM exceeds σ² (1 + 10⁻¹⁰). Where the iteration is
/// too slow or the proof fails, a singular value decomposition takes over. The same input gives
/// the same bits.
///
/// # Errors
///
/// [`LinalgError::Empty`] for n = 0, [`LinalgError::NonFinite`], [`LinalgError::RankDeficient`]
/// for a zero matrix, [`LinalgError::NoConvergence`].
pub fn leading_right_singular_vector(m: ArrayView2<f64>) -> Result<Array1<f64>> {
    check::finite(m)?;
    if m.ncols() == 0 {
        return Err(LinalgError::Empty { what: "matrix" });
    }
    let largest = m.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    if largest == 0.0 {
        return Err(LinalgError::RankDeficient { rank: 0, needed: 1 });
    }
    // Entries of modulus at most 1 keep the squares in range. Two factors: 1/largest may overflow.
    let half = largest.sqrt();
    let scaled = row_major(m).mapv(|x| x / half / half);
    let mut v = match power_iteration(&scaled)? {
        Some(v) => v,
        None => thin_svd(scaled.view())?.2.row(0).to_owned(),
    };
    let peak = v.iter().fold(0.0_f64, |peak, &x| if x.abs() > peak.abs() { x } else { peak });
    if peak < 0.0 {
        v.mapv_inplace(|x| -x);
    }
    Ok(v)
}

/// The leading right singular vector, or `None` where it was not found and proved in time.
fn power_iteration(m: &Array2<f64>) -> Result<Option<Array1<f64>>> {
    let (rows, cols) = m.dim();
    let mut v = start(cols);
    let mut image = Array1::zeros(rows);
    let mut next = Array1::zeros(cols);
    for _ in 0..POWER_STEPS {
        gemv(1.0, m.view(), v.view(), 0.0, &mut image.view_mut())?;
        gemv(1.0, m.t(), image.view(), 0.0, &mut next.view_mut())?;
        let square = image.iter().map(|x| x * x).sum::<f64>();
        let residual =
            next.iter().zip(&v).map(|(x, y)| (x - square * y).powi(2)).sum::<f64>().sqrt();
        if residual <= RESIDUAL * square && square > 0.0 {
            return Ok(bounds_spectrum(m, square)?.then_some(v));
        }
        let norm = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Ok(None);
        }
        v.zip_mut_with(&next, |v, x| *v = x / norm);
    }
    Ok(None)
}

/// Whether no eigenvalue of MᵀM exceeds `square` (1 + [`GAP`]).
fn bounds_spectrum(m: &Array2<f64>, square: f64) -> Result<bool> {
    // The eigenvalues of MᵀM sum to ‖M‖_F²: more than half of it in one leaves less for any other.
    if m.iter().map(|x| x * x).sum::<f64>() < 2.0 * square {
        return Ok(true);
    }
    // τ I − G is positive definite exactly if all eigenvalues of the smaller Gram matrix G are
    // below τ.
    let small = if m.nrows() <= m.ncols() { m.view() } else { m.t() };
    let mut shifted = Array2::eye(small.nrows());
    gram(-1.0, small, square * (1.0 + GAP), &mut shifted.view_mut())?;
    match Cholesky::new(shifted.view(), 0.0) {
        Ok(_) => Ok(true),
        Err(LinalgError::NotPositiveDefinite { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A fixed unit vector without structure, so that it is orthogonal to no vector of interest: its
/// entries are uniform in [−1, 1) from the SplitMix64 generator (Steele, Lea, Flood 2014).
fn start(n: usize) -> Array1<f64> {
    let mut state = 0_u64;
    let mut v = Array1::from_shape_simple_fn(n, || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    });
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v.mapv_inplace(|x| x / norm);
    v
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{leading_right_singular_vector, power_iteration, start};

    /// M = 2 e₁ aᵀ + 1.9 e₂ bᵀ, where b is the iteration's own start and a is orthogonal to it: the
    /// iteration stands still on b, with no residual, and only the proof can tell.
    #[test]
    fn a_start_on_a_lower_singular_vector_does_not_mislead() {
        for n in [2, 3, 40] {
            let b = start(n);
            let mut a = b.mapv(|x| -b[0] * x);
            a[0] += 1.0;
            a /= a.dot(&a).sqrt();
            let mut m = Array2::zeros((2, n));
            m.row_mut(0).assign(&(&a * 2.0));
            m.row_mut(1).assign(&(&b * 1.9));
            // For n = 2 half of the start's rounding error is in direction a, and may grow.
            assert!(power_iteration(&m).unwrap().is_none_or(|v| v.dot(&a).abs() > 1.0 - 1e-12));
            let found = leading_right_singular_vector(m.view()).unwrap();
            // Rounding over the gap 1 − (1.9/2)² ≈ 0.1, squared in the cosine: below ε.
            assert!(1.0 - found.dot(&a).abs() <= 8.0 * f64::EPSILON, "n = {n}");
        }
    }
}
