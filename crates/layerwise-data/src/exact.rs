//! Moments of Gaussian inputs and noise without the samples.
//!
//! The inputs are Xᵀ = B Qᵀ, B = L A with L Lᵀ = Σ, Q with orthonormal columns uniform on the
//! Stiefel manifold and independent of A (Bartlett's decomposition of the Wishart
//! distribution). A is lower triangular: A_ii² ~ χ²_{n−i} (i from 0), standard normals below the
//! diagonal; for n < d lower trapezoidal, d × n. Noise enters through Z = Qᵀε/σ (standard
//! normal), the constant through q = Qᵀ1/√n, and both through what lies outside the span of Q.

use layerwise_linalg::{gemm, gemv, gram, triangular_product};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rand::Rng;

use crate::batch::reshape;
use crate::covariance::Covariance;
use crate::error::Result;
use crate::moments::{Moments, scale_rows};
use crate::normal::{chi_squared, fill_normal};
use crate::triangular::{lower_gram, lower_product};
use crate::workspace::resize;

/// Draws the moments of n inputs N(0, Σ) with targets N(0, σ² I). Arguments are checked by the
/// caller.
pub(crate) fn draw<R: Rng + ?Sized>(
    covariance: &Covariance,
    n: usize,
    noise: f64,
    rng: &mut R,
    out: &mut Moments,
) -> Result<()> {
    let d = covariance.dimension();
    let rank = n.min(d);
    let full = rank == d;
    let scale = noise / (n as f64).sqrt();

    let factor = if full {
        draw_factor(covariance, n, rng, &mut out.workspace.factor, &mut out.lower)?;
        lower_gram(out.lower.view(), &mut out.xx)?;
        &out.lower
    } else {
        let factor = &mut out.workspace.factor;
        reshape(factor, (d, n));
        fill_bartlett(n, rng, factor);
        multiply_by_lower(covariance, factor)?;
        gram(1.0, factor.view(), 0.0, &mut out.xx.view_mut())?;
        factor
    };

    let constant = &mut out.workspace.constant;
    resize(constant, rank);
    let outside = fill_constant(n, rng, constant);
    gemv(1.0, factor.view(), constant.view(), 0.0, &mut out.x_mean.view_mut())?;

    let (q, mean) = (constant.view(), &mut out.y_mean);
    let z = &mut out.workspace.noise;
    reshape(z, (mean.len(), rank));
    fill_normal(scale, rng, &mut *z);
    out.yy_trace = noise_beside(z.view(), q, outside, n, scale, rng, mean)?;
    gemm(1.0, z.view(), factor.t(), 0.0, &mut out.yx.view_mut())?;
    out.lower_is_known = full;
    out.n = n;
    Ok(())
}

/// A/√n, d × min(n, d).
fn fill_bartlett<R: Rng + ?Sized>(n: usize, rng: &mut R, out: &mut Array2<f64>) {
    let scale = (n as f64).sqrt().recip();
    for (i, mut row) in out.outer_iter_mut().enumerate() {
        row.fill(0.0);
        fill_normal(scale, rng, row.iter_mut().take(i));
        if let Some(diagonal) = row.get_mut(i) {
            *diagonal = scale * chi_squared((n - i) as f64, rng).sqrt();
        }
    }
}

/// L A/√n for n ≥ d, lower triangular; `bartlett` is room for A.
fn draw_factor<R: Rng + ?Sized>(
    covariance: &Covariance,
    n: usize,
    rng: &mut R,
    bartlett: &mut Array2<f64>,
    out: &mut Array2<f64>,
) -> Result<()> {
    if covariance.is_diagonal() {
        fill_bartlett(n, rng, out);
        scale_rows(covariance.lower().diag(), out);
        return Ok(());
    }
    reshape(bartlett, out.dim());
    fill_bartlett(n, rng, bartlett);
    lower_product(covariance.lower(), bartlett.view(), out)
}

/// A ← L A.
fn multiply_by_lower(covariance: &Covariance, a: &mut Array2<f64>) -> Result<()> {
    if covariance.is_diagonal() {
        scale_rows(covariance.lower().diag(), a);
    } else {
        triangular_product(covariance.lower(), &mut a.view_mut())?;
    }
    Ok(())
}

/// q, the first coordinates of a uniform unit vector in Rⁿ; returns 1 − ‖q‖².
fn fill_constant<R: Rng + ?Sized>(n: usize, rng: &mut R, q: &mut Array1<f64>) -> f64 {
    fill_normal(1.0, rng, &mut *q);
    let inside = q.iter().map(|value| value * value).sum::<f64>();
    let outside = chi_squared((n - q.len()) as f64, rng);
    let squared_norm = inside + outside;
    *q /= squared_norm.sqrt();
    outside / squared_norm
}

/// What the noise ε (n × d_Y) has besides its part Z = Qᵀε in the span of the inputs: returns
/// tr `Ê[εεᵀ]` and sets the mean ε̄.
///
/// `z` is Zᵀ/√n (d_Y × rank), q = Qᵀ1/√n, `outside` = 1 − ‖q‖², `scale` = σ/√n. The
/// component of ε along the rest of the constant vector is drawn by itself, as ε̄ needs it; the
/// n − rank − 1 others enter the trace alone, as a χ².
pub(crate) fn noise_beside<R: Rng + ?Sized>(
    z: ArrayView2<'_, f64>,
    q: ArrayView1<'_, f64>,
    outside: f64,
    n: usize,
    scale: f64,
    rng: &mut R,
    mean: &mut Array1<f64>,
) -> Result<f64> {
    let mut trace = z.iter().map(|value| value * value).sum::<f64>();
    let free = n - q.len();
    if free == 0 {
        gemv(1.0, z, q, 0.0, &mut mean.view_mut())?;
    } else {
        fill_normal(scale, rng, &mut *mean);
        trace += mean.iter().map(|value| value * value).sum::<f64>();
        trace += scale * scale * chi_squared((free - 1) as f64 * mean.len() as f64, rng);
        gemv(1.0, z, q, outside.sqrt(), &mut mean.view_mut())?;
    }
    Ok(trace)
}
