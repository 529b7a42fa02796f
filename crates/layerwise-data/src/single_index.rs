//! Single-index learning.

use layerwise_linalg::gemv;
use ndarray::{Array1, ArrayView1, ArrayViewMut2, Axis};
use rand::Rng;

use crate::batch::{Batch, reshape};
use crate::covariates::{Covariates, LinearCovariates};
use crate::error::{Result, require, require_finite_vector, require_noise, require_shape};
use crate::link::Link;
use crate::moments::Moments;
use crate::normal::fill_normal;
use crate::task::{Task, check_batch, check_moments};

/// y = σ⋆(⟨β⋆, x⟩) + ε, ε ~ N(0, σ_ε²): a link of one direction of the inputs: the
/// paper's single-index model.
///
/// Its moments are those of samples: the target is no linear function of the inputs.
#[derive(Clone, Debug)]
pub struct SingleIndexTask<C = LinearCovariates> {
    direction: Array1<f64>,
    link: Link,
    covariates: C,
    noise: f64,
}

impl<C: Covariates> SingleIndexTask<C> {
    /// The task with this direction β⋆ (d_X), link σ⋆, inputs and noise standard deviation σ_ε.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::Shape`] when the direction's length is not d_X,
    /// [`crate::DataError::NonFinite`], [`crate::DataError::InvalidParameter`] for a zero
    /// direction and for a σ_ε that is negative or not finite; those of [`Link::check`].
    pub fn new(direction: Array1<f64>, link: Link, covariates: C, noise: f64) -> Result<Self> {
        link.check()?;
        require_noise(noise)?;
        require_shape("direction", (covariates.dimension(), 1), (direction.len(), 1))?;
        require_finite_vector("direction", direction.view())?;
        let largest = direction.iter().fold(0.0_f64, |m, value| m.max(value.abs()));
        require(largest > 0.0, "largest entry of the direction", largest, "positive")?;
        Ok(Self { direction, link, covariates, noise })
    }

    /// The task with a random direction β⋆ ~ N(0, I/d_X), as in the paper.
    ///
    /// # Errors
    ///
    /// Those of [`SingleIndexTask::new`].
    pub fn draw<R: Rng + ?Sized>(
        link: Link,
        covariates: C,
        noise: f64,
        rng: &mut R,
    ) -> Result<Self> {
        let d = covariates.dimension();
        let mut direction = Array1::zeros(d);
        fill_normal((d as f64).sqrt().recip(), rng, &mut direction);
        Self::new(direction, link, covariates, noise)
    }

    /// β⋆.
    pub fn direction(&self) -> ArrayView1<'_, f64> {
        self.direction.view()
    }

    /// σ⋆.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The distribution of the inputs.
    pub fn covariates(&self) -> &C {
        &self.covariates
    }

    /// σ_ε, the standard deviation of the noise.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// Fills n × d_X inputs and n × 1 targets.
    fn draw_samples<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        x: &mut ArrayViewMut2<'_, f64>,
        y: &mut ArrayViewMut2<'_, f64>,
    ) -> Result<()> {
        self.covariates.draw(rng, x)?;
        let mut targets = y.index_axis_mut(Axis(1), 0);
        gemv(1.0, x.view(), self.direction.view(), 0.0, &mut targets)?;
        for target in &mut targets {
            let mut noise = 0.0;
            fill_normal(self.noise, rng, [&mut noise]);
            *target = self.link.value(*target) + noise;
        }
        Ok(())
    }
}

impl<C: Covariates> Task for SingleIndexTask<C> {
    fn input_dimension(&self) -> usize {
        self.direction.len()
    }

    /// 1: targets are n × 1.
    fn output_dimension(&self) -> usize {
        1
    }

    fn draw_batch<R: Rng + ?Sized>(&self, n: usize, rng: &mut R, out: &mut Batch) -> Result<()> {
        check_batch(self, n, out)?;
        let (mut x, mut y) = out.storage(n);
        self.draw_samples(rng, &mut x, &mut y)
    }

    fn draw_moments<R: Rng + ?Sized>(
        &self,
        n: usize,
        rng: &mut R,
        out: &mut Moments,
    ) -> Result<()> {
        check_moments(self, n, out)?;
        let (mut x, mut y) = std::mem::take(&mut out.workspace.samples);
        reshape(&mut x, (n, self.input_dimension()));
        reshape(&mut y, (n, 1));
        let drawn = self.draw_samples(rng, &mut x.view_mut(), &mut y.view_mut());
        let set = drawn.and_then(|()| out.set_from_samples(x.view(), y.view()));
        out.workspace.samples = (x, y);
        set
    }
}
