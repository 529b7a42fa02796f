//! Linear representation learning.

use std::sync::Arc;

use layerwise_linalg::{gemm, gemv, gram};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, reshape};
use crate::covariance::{Basis, Covariance, haar};
use crate::covariates::{Covariates, LinearCovariates};
use crate::error::{
    DataError, Result, at_least, require, require_finite, require_noise, require_shape,
};
use crate::law::Law;
use crate::moments::Moments;
use crate::normal::fill_normal;
use crate::spectrum::{Spectrum, log_spaced};
use crate::task::{Task, check_batch, check_moments};

/// y = F⋆ G⋆ x + ε, ε ~ N(0, σ_ε² I): a head F⋆ (d_Y × k) on a representation G⋆ (k × d_X) with
/// orthonormal rows, which tasks share: the paper's linear
/// representation learning.
#[derive(Clone, Debug)]
pub struct LinearTask<C = LinearCovariates> {
    head: Array2<f64>,
    representation: Arc<Array2<f64>>,
    map: Array2<f64>,
    covariates: C,
    noise: f64,
}

impl<C: Covariates> LinearTask<C> {
    /// The task with this head F⋆ (d_Y × k), representation G⋆ (k × d_X, orthonormal rows),
    /// inputs and noise standard deviation σ_ε.
    ///
    /// # Errors
    ///
    /// [`DataError::Shape`] when shapes do not fit together, [`DataError::RankTooLarge`] for
    /// k > min(d_X, d_Y), [`DataError::TooFew`] for k = 0, [`DataError::NonFinite`],
    /// [`DataError::NotOrthonormal`] when an entry of G⋆G⋆ᵀ is off by more than 10⁻¹⁰,
    /// [`DataError::InvalidParameter`] for a σ_ε that is negative or not finite.
    pub fn new(
        head: Array2<f64>,
        representation: Arc<Array2<f64>>,
        covariates: C,
        noise: f64,
    ) -> Result<Self> {
        let (k, d_x) = representation.dim();
        let d_y = head.nrows();
        require_noise(noise)?;
        check_rank(k, d_x, d_y)?;
        require_shape("head", (d_y, k), head.dim())?;
        require_shape("representation", (k, covariates.dimension()), (k, d_x))?;
        require_finite("head", head.view())?;
        require_orthonormal(&representation)?;
        let mut map = Array2::zeros((d_y, d_x));
        gemm(1.0, head.view(), representation.view(), 0.0, &mut map.view_mut())?;
        Ok(Self { head, representation, map, covariates, noise })
    }

    /// k, the dimension of the representation.
    pub fn rank(&self) -> usize {
        self.representation.nrows()
    }

    /// F⋆, d_Y × k.
    pub fn head(&self) -> ArrayView2<'_, f64> {
        self.head.view()
    }

    /// G⋆, k × d_X, with orthonormal rows.
    pub fn representation(&self) -> ArrayView2<'_, f64> {
        self.representation.view()
    }

    /// G⋆ as other tasks can share it.
    pub fn shared_representation(&self) -> Arc<Array2<f64>> {
        Arc::clone(&self.representation)
    }

    /// F⋆G⋆, d_Y × d_X: the regression function is x ↦ F⋆G⋆x.
    pub fn map(&self) -> ArrayView2<'_, f64> {
        self.map.view()
    }

    /// The distribution of the inputs.
    pub fn covariates(&self) -> &C {
        &self.covariates
    }

    /// Σ = `E[xxᵀ]`.
    pub fn covariance(&self) -> &Covariance {
        self.covariates.covariance()
    }

    /// σ_ε, the standard deviation of each target's noise.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// The population's moments: Σ, F⋆G⋆Σ, tr(F⋆G⋆Σ(F⋆G⋆)ᵀ) + d_Y σ_ε², means zero; n as given,
    /// a mere label.
    ///
    /// # Errors
    ///
    /// [`DataError::TooFew`] for n = 0.
    pub fn population_moments(&self, n: usize) -> Result<Moments> {
        let (d_y, d_x) = self.map.dim();
        let covariance = self.covariance().matrix();
        let mut yx = Array2::zeros((d_y, d_x));
        gemm(1.0, self.map.view(), covariance, 0.0, &mut yx.view_mut())?;
        let trace = (&yx * &self.map).sum() + d_y as f64 * self.noise * self.noise;
        let means = (Array1::zeros(d_x), Array1::zeros(d_y));
        Moments::from_parts(n, covariance.to_owned(), yx, trace, means.0, means.1)
    }
}

impl<C: Covariates> Task for LinearTask<C> {
    fn input_dimension(&self) -> usize {
        self.map.ncols()
    }

    fn output_dimension(&self) -> usize {
        self.map.nrows()
    }

    fn draw_batch<R: Rng + ?Sized>(&self, n: usize, rng: &mut R, out: &mut Batch) -> Result<()> {
        check_batch(self, n, out)?;
        let (mut x, mut y) = out.storage(n);
        self.covariates.draw(rng, &mut x)?;
        fill_normal(self.noise, rng, &mut y);
        gemm(1.0, x.view(), self.map.t(), 1.0, &mut y)?;
        Ok(())
    }

    fn draw_moments<R: Rng + ?Sized>(
        &self,
        n: usize,
        rng: &mut R,
        out: &mut Moments,
    ) -> Result<()> {
        check_moments(self, n, out)?;
        self.covariates.draw_noise_moments(n, self.noise, rng, out)?;
        // Until here y = ε. With M = F⋆G⋆: tr Ê[yyᵀ] = tr Ê[εεᵀ] + ⟨M, Ê[εxᵀ]⟩ + ⟨M, Ê[yxᵀ]⟩.
        let with_noise = inner_product(&self.map, &out.yx);
        let product = &mut out.workspace.product;
        reshape(product, self.representation.dim());
        gemm(1.0, self.representation.view(), out.xx.view(), 0.0, &mut product.view_mut())?;
        gemm(1.0, self.head.view(), product.view(), 1.0, &mut out.yx.view_mut())?;
        gemv(1.0, self.map.view(), out.x_mean.view(), 1.0, &mut out.y_mean.view_mut())?;
        out.yy_trace += with_noise + inner_product(&self.map, &out.yx);
        Ok(())
    }
}

/// ⟨A, B⟩ = tr(AᵀB).
fn inner_product(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.outer_iter().zip(b.outer_iter()).map(|(x, y)| x.dot(&y)).sum()
}

fn check_rank(rank: usize, input_dimension: usize, output_dimension: usize) -> Result<()> {
    at_least("rank k", rank, 1)?;
    if rank > input_dimension.min(output_dimension) {
        return Err(DataError::RankTooLarge { rank, input_dimension, output_dimension });
    }
    Ok(())
}

fn require_orthonormal(rows: &Array2<f64>) -> Result<()> {
    require_finite("representation", rows.view())?;
    let mut product = Array2::eye(rows.nrows());
    gram(1.0, rows.view(), -1.0, &mut product.view_mut())?;
    match product.indexed_iter().find(|(_, value)| value.abs() > 1e-10) {
        Some(((row, column), &difference)) => {
            Err(DataError::NotOrthonormal { row, column, difference })
        }
        None => Ok(()),
    }
}

/// Where the row space of G⋆ lies in the eigenbasis of Σ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// Anywhere: Haar, drawn apart from Σ.
    #[default]
    Haar,
    /// On the k eigenvectors with the largest eigenvalues: the signal is aligned with the inputs.
    Leading,
    /// On the k eigenvectors with the smallest: the signal is where the inputs vary least.
    Trailing,
}

/// Parameters from which random linear tasks are drawn.
///
/// The head F⋆ has Haar singular vectors and singular values evenly spaced on a logarithmic
/// scale, with ‖F⋆‖_F² = d_Y; the representation G⋆ has a Haar row space; Σ has the given
/// spectrum and basis.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearTaskSpec {
    /// d_X ≥ k.
    pub input_dimension: usize,
    /// d_Y ≥ k.
    pub output_dimension: usize,
    /// k ≥ 1, the dimension of the representation.
    pub rank: usize,
    /// The eigenvalues of Σ.
    pub spectrum: Spectrum,
    /// The eigenvectors of Σ.
    pub basis: Basis,
    /// The law of the white inputs.
    pub law: Law,
    /// κ(F⋆) ≥ 1, the ratio of the head's largest to its k-th singular value (without effect for
    /// k = 1).
    pub head_condition: f64,
    /// σ_ε ≥ 0.
    pub noise: f64,
}

impl LinearTaskSpec {
    /// Checks every parameter.
    ///
    /// # Errors
    ///
    /// [`DataError::TooFew`] for k = 0, [`DataError::RankTooLarge`] for k > min(d_X, d_Y),
    /// [`DataError::InvalidParameter`] for κ(F⋆) < 1 or σ_ε < 0 and for infinities and NaN, and
    /// those of [`Spectrum::eigenvalues`].
    pub fn check(&self) -> Result<()> {
        check_rank(self.rank, self.input_dimension, self.output_dimension)?;
        let allowed = "finite and at least 1";
        let condition = self.head_condition;
        require(
            condition.is_finite() && condition >= 1.0,
            "head condition number",
            condition,
            allowed,
        )?;
        require_noise(self.noise)?;
        self.spectrum.eigenvalues(self.input_dimension).map(|_| ())
    }

    /// One task.
    ///
    /// # Errors
    ///
    /// Those of [`LinearTaskSpec::check`] and [`Covariance::draw`].
    pub fn draw<R: Rng + ?Sized>(&self, rng: &mut R) -> Result<LinearTask> {
        self.check()?;
        let representation = self.draw_representation(rng)?;
        self.draw_sharing(representation, rng)
    }

    /// A task with its own head and covariance on a given representation G⋆ (k × d_X).
    ///
    /// # Errors
    ///
    /// Those of [`LinearTaskSpec::draw`] and [`LinearTask::new`].
    pub fn draw_sharing<R: Rng + ?Sized>(
        &self,
        representation: Arc<Array2<f64>>,
        rng: &mut R,
    ) -> Result<LinearTask> {
        self.check()?;
        let expected = (self.rank, self.input_dimension);
        require_shape("representation", expected, representation.dim())?;
        let head = self.draw_head(rng)?;
        let covariance = Covariance::draw(&self.spectrum, self.basis, self.input_dimension, rng)?;
        let covariates = LinearCovariates::new(self.law, covariance);
        LinearTask::new(head, representation, covariates, self.noise)
    }

    /// A training and a transfer task: one representation, independent heads and covariances.
    ///
    /// # Errors
    ///
    /// Those of [`LinearTaskSpec::draw`].
    pub fn draw_pair<R: Rng + ?Sized>(&self, rng: &mut R) -> Result<(LinearTask, LinearTask)> {
        let train = self.draw(rng)?;
        let transfer = self.draw_sharing(train.shared_representation(), rng)?;
        Ok((train, transfer))
    }

    /// A training task whose features lie in its inputs' eigenbasis as asked, and a transfer task of
    /// another distribution on the same features, with its own head and covariance. With
    /// [`Features::Haar`] and the same distribution it is [`draw_pair`](Self::draw_pair).
    ///
    /// # Errors
    ///
    /// Those of [`LinearTaskSpec::draw`], of either distribution; [`DataError::Shape`] where the two
    /// differ in k or d_X.
    pub fn draw_pair_with<R: Rng + ?Sized>(
        &self,
        features: Features,
        transfer: &Self,
        rng: &mut R,
    ) -> Result<(LinearTask, LinearTask)> {
        let train = match features {
            Features::Haar => self.draw(rng)?,
            aligned => self.draw_aligned(aligned == Features::Leading, rng)?,
        };
        let transfer = transfer.draw_sharing(train.shared_representation(), rng)?;
        Ok((train, transfer))
    }

    /// A task on the first, or last, k eigenvectors of its covariance.
    fn draw_aligned<R: Rng + ?Sized>(&self, leading: bool, rng: &mut R) -> Result<LinearTask> {
        self.check()?;
        let head = self.draw_head(rng)?;
        let covariance = Covariance::draw(&self.spectrum, self.basis, self.input_dimension, rng)?;
        let first = if leading { 0 } else { self.input_dimension - self.rank };
        let columns = covariance.eigenvectors().slice_move(s![.., first..first + self.rank]);
        let representation = Arc::new(columns.t().as_standard_layout().into_owned());
        let covariates = LinearCovariates::new(self.law, covariance);
        LinearTask::new(head, representation, covariates, self.noise)
    }

    /// Several tasks on one representation, with independent heads and covariances.
    ///
    /// # Errors
    ///
    /// Those of [`LinearTaskSpec::draw`]; [`DataError::TooFew`] for none.
    pub fn draw_many<R: Rng + ?Sized>(&self, count: usize, rng: &mut R) -> Result<Vec<LinearTask>> {
        at_least("number of tasks", count, 1)?;
        self.check()?;
        let representation = self.draw_representation(rng)?;
        (0..count).map(|_| self.draw_sharing(Arc::clone(&representation), rng)).collect()
    }

    fn draw_representation<R: Rng + ?Sized>(&self, rng: &mut R) -> Result<Arc<Array2<f64>>> {
        let columns = haar(self.input_dimension, self.rank, rng)?;
        Ok(Arc::new(columns.t().as_standard_layout().into_owned()))
    }

    fn draw_head<R: Rng + ?Sized>(&self, rng: &mut R) -> Result<Array2<f64>> {
        let singular_values = Array1::from(log_spaced(self.rank, self.head_condition)?);
        let squared_norm = singular_values.iter().map(|value| value * value).sum::<f64>();
        let scale = (self.output_dimension as f64 / squared_norm).sqrt();
        let left = haar(self.output_dimension, self.rank, rng)?;
        let right = haar(self.rank, self.rank, rng)?;
        let scaled = left * &(singular_values * scale).insert_axis(Axis(0));
        let mut head = Array2::zeros((self.output_dimension, self.rank));
        gemm(1.0, scaled.view(), right.t(), 0.0, &mut head.view_mut())?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Streams;

    fn spec() -> LinearTaskSpec {
        LinearTaskSpec {
            input_dimension: 12,
            output_dimension: 5,
            rank: 3,
            spectrum: Spectrum::LogSpaced { condition: 100.0 },
            basis: Basis::Haar,
            law: Law::Gaussian,
            head_condition: 4.0,
            noise: 0.1,
        }
    }

    #[test]
    fn aligned_features_are_eigenvectors() {
        let transfer = LinearTaskSpec { law: Law::Signs, noise: 0.3, ..spec() };
        for basis in [Basis::Haar, Basis::Axis] {
            let spec = LinearTaskSpec { basis, ..spec() };
            for (features, first) in [(Features::Leading, 0), (Features::Trailing, 9)] {
                let mut rng = Streams::new(4).stream("features", "aligned", 0);
                let (train, other) = spec.draw_pair_with(features, &transfer, &mut rng).unwrap();
                let g = train.representation();
                let image = g.dot(&train.covariance().matrix());
                for (i, row) in image.rows().into_iter().enumerate() {
                    let eigenvalue = train.covariance().eigenvalues()[first + i];
                    for (a, b) in row.iter().zip(g.row(i)) {
                        // Eigenvectors to d ε λ_max.
                        assert!((a - eigenvalue * b).abs() < 1e-13, "{features:?} {basis:?}");
                    }
                }
                assert_eq!(other.representation(), g);
                assert_eq!(other.noise(), 0.3);
                assert_ne!(other.covariance().matrix(), train.covariance().matrix());
            }
        }
    }

    #[test]
    fn haar_features_of_one_distribution_are_a_pair() {
        let stream = || Streams::new(4).stream("features", "pair", 0);
        let (a, b) = spec().draw_pair(&mut stream()).unwrap();
        let (c, d) = spec().draw_pair_with(Features::Haar, &spec(), &mut stream()).unwrap();
        assert_eq!((a.map(), b.map()), (c.map(), d.map()));
    }
}
