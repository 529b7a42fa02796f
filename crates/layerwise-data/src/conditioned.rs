//! Moments of inputs x = Σ^{1/2}u with u not Gaussian: of u its samples are drawn, but of the
//! Gaussian noise only what the moments need, given the inputs.
//!
//! With UᵀU = R Rᵀ, Uᵀ = R Qᵀ for a Q with orthonormal columns, and the noise enters as for
//! Gaussian inputs ([`crate::exact`]): through Qᵀε/σ, standard normal, and what lies outside
//! the span of Q. The constant's part q = Qᵀ1/√n is not random now: R q = Uᵀ1/√n.

use layerwise_linalg::{Cholesky, LinalgError, gemm, gemv, gram, solve_lower, triangular_product};
use ndarray::{ArrayView1, Axis, Zip};
use rand::Rng;

use crate::batch::reshape;
use crate::covariance::Covariance;
use crate::error::Result;
use crate::exact::noise_beside;
use crate::law::Law;
use crate::moments::{Moments, scale_rows};
use crate::normal::fill_normal;
use crate::signs;
use crate::white::{colour, fill_white};
use crate::workspace::{Workspace, resize};

/// The smallest squared pivot of the Gram matrix of [U, 1]/√n for which the factor is used.
///
/// The inputs are white, so the other pivots are of order one and a pivot's rounding error is
/// of order d ε: it then has some eight correct digits less log₁₀ d. Below, the noise is
/// drawn sample by sample.
const SMALLEST_PIVOT: f64 = 1e-8;

/// Draws the moments of n inputs with targets N(0, σ² I). Arguments are checked by the caller.
pub(crate) fn draw<R: Rng + ?Sized>(
    law: Law,
    covariance: &Covariance,
    n: usize,
    noise: f64,
    rng: &mut R,
    out: &mut Moments,
) -> Result<()> {
    let d = covariance.dimension();
    let work = &mut out.workspace;
    reshape(&mut work.white_gram, (d, d));
    resize(&mut work.white_mean, d);
    if law == Law::Signs {
        signs::fill_words(n, d, rng, &mut work.words);
        signs::white_moments(n, &work.words, &mut work.white_gram, &mut work.white_mean);
    } else {
        let samples = &mut work.samples.0;
        reshape(samples, (n, d));
        fill_white(law, rng, &mut samples.view_mut());
        gram((n as f64).recip(), samples.t(), 0.0, &mut work.white_gram.view_mut())?;
        work.white_mean.fill(0.0);
        for row in samples.outer_iter() {
            work.white_mean += &row;
        }
        work.white_mean /= n as f64;
    }
    match factor(work, n)? {
        Some(outside) => {
            let scale = noise / (n as f64).sqrt();
            if covariance.is_diagonal() {
                from_factor_on_axes(covariance, n, scale, outside, rng, out)?;
            } else {
                from_factor(covariance, n, scale, outside, rng, out)?;
            }
            out.n = n;
            Ok(())
        }
        None => from_samples(law, covariance, n, noise, rng, out),
    }
}

/// Factors UᵀU/n = R Rᵀ and solves for q; returns 1 − ‖q‖², the last squared pivot of [U, 1]'s
/// Gram matrix, or nothing when that matrix is singular or nearly so.
fn factor(work: &mut Workspace, n: usize) -> Result<Option<f64>> {
    let d = work.white_mean.len();
    if n <= d {
        return Ok(None);
    }
    if work.cholesky.as_ref().is_none_or(|factor| factor.dimension() != d) {
        work.cholesky = None;
    }
    let cholesky = work.cholesky.get_or_insert_with(|| Cholesky::with_dimension(d));
    match cholesky.factor(work.white_gram.view(), 0.0) {
        Err(LinalgError::NotPositiveDefinite { .. }) => return Ok(None),
        factored => factored?,
    }
    if cholesky.lower().diag().iter().any(|pivot| pivot * pivot < SMALLEST_PIVOT) {
        return Ok(None);
    }
    resize(&mut work.constant, d);
    work.constant.assign(&work.white_mean);
    solve_lower(cholesky.lower(), &mut work.constant.view_mut().insert_axis(Axis(1)))?;
    let outside = 1.0 - work.constant.iter().map(|value| value * value).sum::<f64>();
    Ok((outside >= SMALLEST_PIVOT).then_some(outside))
}

/// From the factor, Σ diagonal: B/√n = Σ^{1/2}R is lower triangular, so that it is the Cholesky
/// factor of `Ê[xxᵀ]`.
fn from_factor_on_axes<R: Rng + ?Sized>(
    covariance: &Covariance,
    n: usize,
    scale: f64,
    outside: f64,
    rng: &mut R,
    out: &mut Moments,
) -> Result<()> {
    let roots = covariance.square_root();
    let roots = roots.diag();
    let work = &mut out.workspace;
    if let Some(cholesky) = &work.cholesky {
        out.lower.assign(&cholesky.lower());
    }
    scale_rows(roots, &mut out.lower);
    for ((mut row, white), &root) in
        out.xx.outer_iter_mut().zip(work.white_gram.outer_iter()).zip(roots)
    {
        Zip::from(&mut row).and(white).and(roots).for_each(|x, &u, &other| *x = root * other * u);
    }
    Zip::from(&mut out.x_mean).and(&work.white_mean).and(roots).for_each(|x, &u, &r| *x = u * r);

    fill_normal(scale, rng, &mut out.yx);
    let q = work.constant.view();
    out.yy_trace = noise_beside(out.yx.view(), q, outside, n, scale, rng, &mut out.y_mean)?;
    triangular_product(out.lower.view(), &mut out.yx.view_mut().reversed_axes())?;
    out.lower_is_known = true;
    Ok(())
}

/// From the factor, Σ dense. The white coordinates enter in reversed order (they are
/// exchangeable): with P the reversal, K = P Rᵀ P is lower triangular again, and (B/√n)ᵀ = K Σ^{1/2} is
/// a triangular product.
fn from_factor<R: Rng + ?Sized>(
    covariance: &Covariance,
    n: usize,
    scale: f64,
    outside: f64,
    rng: &mut R,
    out: &mut Moments,
) -> Result<()> {
    let d = covariance.dimension();
    let work = &mut out.workspace;
    let reversed = &mut work.white_gram;
    if let Some(cholesky) = &work.cholesky {
        // By rows, as Rᵀ is stored.
        let upper = cholesky.lower().reversed_axes();
        let rows = reversed.outer_iter_mut().zip(upper.outer_iter().rev());
        for (i, (mut to, from)) in rows.enumerate() {
            to.iter_mut().zip(from.iter().rev()).take(i + 1).for_each(|(to, &from)| *to = from);
        }
    }
    work.white_mean.as_slice_mut().into_iter().for_each(<[f64]>::reverse);
    work.constant.as_slice_mut().into_iter().for_each(<[f64]>::reverse);

    reshape(&mut work.factor, (d, d));
    work.factor.assign(&covariance.square_root());
    triangular_product(reversed.view(), &mut work.factor.view_mut())?;
    gram(1.0, work.factor.t(), 0.0, &mut out.xx.view_mut())?;
    let mean = work.white_mean.view();
    gemv(1.0, covariance.square_root(), mean, 0.0, &mut out.x_mean.view_mut())?;

    reshape(&mut work.noise, out.yx.dim());
    fill_normal(scale, rng, &mut work.noise);
    let q: ArrayView1<'_, f64> = work.constant.view();
    out.yy_trace = noise_beside(work.noise.view(), q, outside, n, scale, rng, &mut out.y_mean)?;
    gemm(1.0, work.noise.view(), work.factor.view(), 0.0, &mut out.yx.view_mut())?;
    out.lower_is_known = false;
    Ok(())
}

/// From the samples of u already drawn, where the Gram matrix of [U, 1] is singular: n ≤ d, or
/// repeated coordinates.
fn from_samples<R: Rng + ?Sized>(
    law: Law,
    covariance: &Covariance,
    n: usize,
    noise: f64,
    rng: &mut R,
    out: &mut Moments,
) -> Result<()> {
    let (mut x, mut y) = std::mem::take(&mut out.workspace.samples);
    reshape(&mut x, (n, covariance.dimension()));
    reshape(&mut y, (n, out.output_dimension()));
    if law == Law::Signs {
        signs::expand(&out.workspace.words, &mut x.view_mut());
    }
    let coloured = colour(law, covariance, &mut x.view_mut());
    fill_normal(noise, rng, &mut y);
    let set = coloured.and_then(|()| out.set_from_samples(x.view(), y.view()));
    out.workspace.samples = (x, y);
    set
}
