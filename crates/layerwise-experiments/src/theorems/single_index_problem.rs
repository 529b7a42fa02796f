//! Random problems of single-index learning, and what a first step on them learns.

use layerwise_data::{
    Basis, Batch, Covariance, Law, LinearCovariates, Link, SingleIndexTask, Spectrum, Task,
};
use layerwise_linalg::leading_right_singular_vector;
use layerwise_metrics::alignment;
use layerwise_models::SingleIndexStudent;
use layerwise_theory::{KfacAlignment, sgd_alignment};
use ndarray::{Array1, Array2, ArrayView2};
use rand::{Rng, RngCore};

use rayon::prelude::*;

use crate::Result;
use crate::single_index::{NOISE, Teacher, draw_student};
use crate::theorems::monte_carlo::Mean;
use crate::theorems::{Context, Steps};

/// A distribution of single-index problems with h = d.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleIndexProblem {
    /// Σ's eigenvalues, on the axes in random order.
    pub spectrum: Spectrum,
    /// The teacher's link.
    pub teacher: Teacher,
    /// d, and h.
    pub dimension: usize,
    /// n.
    pub samples: usize,
}

/// One problem, and a batch of it.
#[derive(Debug)]
pub struct Drawn {
    /// The teacher.
    pub task: SingleIndexTask,
    /// The student before the step, with `a_j = ±1/√h` and tanh units.
    pub student: SingleIndexStudent,
    /// n samples.
    pub batch: Batch,
}

/// The spectra of the simulations. Their fourth moments stay bounded as d grows (but for a
/// logarithm), which the limits need: a steeper power law has none.
pub const SPECTRA: [(&str, Spectrum); 3] = [
    ("two levels", Spectrum::TwoLevel { epsilon: 0.8 }),
    ("log-spaced", Spectrum::LogSpaced { condition: 10.0 }),
    ("power law", Spectrum::PowerLaw { exponent: 0.25 }),
];

impl SingleIndexProblem {
    /// Draws a problem and a batch.
    ///
    /// # Errors
    /// Where a parameter is out of range.
    pub fn draw<R: Rng + ?Sized>(&self, rng: &mut R) -> Result<Drawn> {
        let d = self.dimension;
        let covariance = Covariance::draw(&self.spectrum, Basis::Axis, d, rng)?;
        let covariates = LinearCovariates::new(Law::Gaussian, covariance);
        let task = SingleIndexTask::draw(self.teacher.link(), covariates, NOISE, rng)?;
        let student = draw_student(d, d, Link::Tanh, rng)?;
        let mut batch = Batch::with_dimensions(d, 1);
        task.draw_batch(self.samples, rng, &mut batch)?;
        Ok(Drawn { task, student, batch })
    }

    /// φ = d/n.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.dimension as f64 / self.samples as f64
    }

    /// The limit of SGD's alignment.
    ///
    /// # Errors
    /// Where a parameter is out of range.
    pub fn predicted_sgd(&self) -> Result<f64> {
        let spectrum = self.spectrum.eigenvalues(self.dimension)?;
        Ok(sgd_alignment(spectrum.view(), &self.teacher.moments()?, self.ratio(), NOISE)?)
    }

    /// The limit of KFAC's alignment.
    ///
    /// # Errors
    /// Where a parameter is out of range.
    pub fn predicted_kfac(&self, damping: f64) -> Result<f64> {
        let spectrum = self.spectrum.eigenvalues(self.dimension)?;
        let link = self.teacher.moments()?;
        let limit = KfacAlignment::new(spectrum.view(), &link, self.ratio(), damping, NOISE)?;
        Ok(limit.alignment)
    }

    /// Alignments with β⋆ of what real steps learn, by trial: SGD's, if `sgd`, then KFAC's at each
    /// damping.
    ///
    /// # Errors
    /// [`crate::ExperimentError::Interrupted`], and faults of the steps.
    pub fn alignments(
        &self,
        context: &Context<'_>,
        stream: (&str, &str),
        trials: u64,
        (sgd, dampings): (bool, &[f64]),
    ) -> Result<Vec<Vec<f64>>> {
        let steps = context.steps;
        in_trials(context, stream, trials, |rng| {
            let drawn = self.draw(rng)?;
            let gradient = steps.single_index_gradient(&drawn.student, &drawn.batch)?;
            let mut found = Vec::with_capacity(1 + dampings.len());
            if sgd {
                let stepped = steps.single_index_sgd(&drawn.student, gradient.view())?;
                found.push(drawn.alignment(stepped)?);
            }
            if !dampings.is_empty() {
                let factor = steps.single_index_factor(&drawn.task, &drawn.batch)?;
                for &damping in dampings {
                    let stepped = drawn.kfac(steps, gradient.view(), factor.view(), damping)?;
                    found.push(drawn.alignment(stepped)?);
                }
            }
            Ok(found)
        })
    }
}

impl Drawn {
    /// `G₁ − G₀`.
    #[must_use]
    pub fn change(&self, stepped: Array2<f64>) -> Array2<f64> {
        stepped - self.student.representation()
    }

    /// A step of one-sided KFAC.
    ///
    /// # Errors
    /// Those of the step.
    pub fn kfac(
        &self,
        steps: &dyn Steps,
        gradient: ArrayView2<f64>,
        factor: ArrayView2<f64>,
        damping: f64,
    ) -> Result<Array2<f64>> {
        steps.single_index_kfac(&self.student, gradient, factor, damping)
    }

    /// `β̂ = Ê[y x]`.
    #[must_use]
    pub fn mean_direction(&self) -> Array1<f64> {
        let targets = self.batch.y();
        let sum = self.batch.x().t().dot(&targets.column(0));
        sum / self.batch.sample_size() as f64
    }

    /// Alignment with β⋆ of the top right singular vector of `G₁ − G₀`.
    ///
    /// # Errors
    /// Where the step is zero or not finite.
    pub fn alignment(&self, stepped: Array2<f64>) -> Result<f64> {
        let learned = leading_right_singular_vector(self.change(stepped).view())?;
        Ok(alignment(learned.view(), self.task.direction())?)
    }
}

/// Runs trials in parallel, each on a stream of its own; results are in order.
///
/// # Errors
/// [`crate::ExperimentError::Interrupted`], and those of a trial.
pub fn in_trials<T: Send>(
    context: &Context<'_>,
    (statement, purpose): (&str, &str),
    trials: u64,
    run: impl Fn(&mut dyn RngCore) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    (0..trials)
        .into_par_iter()
        .map(|trial| {
            context.monitor.check()?;
            run(&mut context.streams.stream(statement, purpose, trial))
        })
        .collect()
}

/// The means of one number each over trials.
#[must_use]
pub fn means<const N: usize>(trials: &[[f64; N]]) -> [Mean; N] {
    std::array::from_fn(|i| Mean::of(&trials.iter().map(|trial| trial[i]).collect::<Vec<_>>()))
}

/// The mean of column `index` over trials.
#[must_use]
pub fn mean_of(trials: &[Vec<f64>], index: usize) -> Mean {
    Mean::of(&trials.iter().map(|trial| trial[index]).collect::<Vec<_>>())
}
