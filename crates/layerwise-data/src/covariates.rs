//! Distributions of inputs.

use ndarray::ArrayViewMut2;
use rand::Rng;

use crate::batch::reshape;
use crate::conditioned;
use crate::covariance::Covariance;
use crate::error::{Result, at_least, require_noise, require_shape};
use crate::exact;
use crate::law::Law;
use crate::moments::Moments;
use crate::normal::fill_normal;
use crate::white::{colour, fill_white};

/// A centred distribution of inputs x in R^d with `E[xxᵀ]` = Σ.
pub trait Covariates {
    /// d.
    fn dimension(&self) -> usize {
        self.covariance().dimension()
    }

    /// Σ.
    fn covariance(&self) -> &Covariance;

    /// Fills the rows of `out` (n × d) with independent inputs.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::Shape`] when `out` has not d columns; it is then as it was.
    fn draw<R: Rng + ?Sized>(&self, rng: &mut R, out: &mut ArrayViewMut2<'_, f64>) -> Result<()>;

    /// Draws the moments of n inputs whose targets are noise alone, y = ε ~ N(0, σ² I): what
    /// the moments of any linear task on these inputs follow from.
    ///
    /// The default draws the samples; an implementation may draw the moments directly, with the
    /// same distribution.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::TooFew`] for n = 0, [`crate::DataError::InvalidParameter`] for a σ
    /// that is negative or not finite, [`crate::DataError::Shape`] when `out` was made for
    /// another input dimension; `out` is then as it was.
    fn draw_noise_moments<R: Rng + ?Sized>(
        &self,
        n: usize,
        noise: f64,
        rng: &mut R,
        out: &mut Moments,
    ) -> Result<()> {
        check_noise_moments(self.dimension(), n, noise, out)?;
        let mut samples = std::mem::take(&mut out.workspace.samples);
        reshape(&mut samples.0, (n, self.dimension()));
        reshape(&mut samples.1, (n, out.output_dimension()));
        let drawn = self.draw(rng, &mut samples.0.view_mut());
        fill_normal(noise, rng, &mut samples.1);
        let set = drawn.and_then(|()| out.set_from_samples(samples.0.view(), samples.1.view()));
        out.workspace.samples = samples;
        set
    }
}

/// x = Σ^{1/2} u, u with independent coordinates of one [`Law`] (in the paper normal, or uniform
/// on {±1}^d).
#[derive(Clone, Debug, PartialEq)]
pub struct LinearCovariates {
    law: Law,
    covariance: Covariance,
}

impl LinearCovariates {
    /// Inputs of this law and covariance.
    pub fn new(law: Law, covariance: Covariance) -> Self {
        Self { law, covariance }
    }

    /// The law of u.
    pub fn law(&self) -> Law {
        self.law
    }
}

impl Covariates for LinearCovariates {
    fn covariance(&self) -> &Covariance {
        &self.covariance
    }

    fn draw<R: Rng + ?Sized>(&self, rng: &mut R, out: &mut ArrayViewMut2<'_, f64>) -> Result<()> {
        let expected = (out.nrows(), self.dimension());
        require_shape("inputs", expected, out.dim())?;
        fill_white(self.law, rng, out);
        colour(self.law, &self.covariance, out)
    }

    fn draw_noise_moments<R: Rng + ?Sized>(
        &self,
        n: usize,
        noise: f64,
        rng: &mut R,
        out: &mut Moments,
    ) -> Result<()> {
        check_noise_moments(self.dimension(), n, noise, out)?;
        match self.law {
            Law::Gaussian => exact::draw(&self.covariance, n, noise, rng, out),
            law => conditioned::draw(law, &self.covariance, n, noise, rng, out),
        }
    }
}

fn check_noise_moments(dimension: usize, n: usize, noise: f64, out: &Moments) -> Result<()> {
    at_least("sample size n", n, 1)?;
    require_noise(noise)?;
    out.check_dimensions(dimension, out.output_dimension())
}
