//! Single-index learning: one real gradient step, and the direction that it learned.

use layerwise_data::{
    Basis, Batch, Covariance, Law, LinearCovariates, Link, SingleIndexTask, Spectrum, Streams, Task,
};
use layerwise_linalg::{gram, leading_right_singular_vector};
use layerwise_metrics::alignment;
use layerwise_models::{SingleIndexStudent, StudentPass};
use layerwise_optim::{Averaging, Factor, Method, OneSidedKfac, Sgd, Signal};
use layerwise_theory::{KfacAlignment, LinkMoments, sgd_alignment};
use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::Result;
use crate::monitor::Monitor;

/// Input dimension d and student width h of every run, chosen here.
pub const DIMENSION: usize = 400;
/// Noise level σ_ε.
pub const NOISE: f64 = 0.1;

/// The teacher's link function in a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teacher {
    /// tanh.
    Tanh,
    /// max(z, 0) − 1/√(2π).
    CentredRelu,
}

impl Teacher {
    /// Its name in titles and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::CentredRelu => "centred ReLU",
        }
    }

    pub(crate) fn link(self) -> Link {
        match self {
            Self::Tanh => Link::Tanh,
            Self::CentredRelu => Link::CentredRelu,
        }
    }

    /// Its moments at τ = 1, that is for tr Σ = d.
    ///
    /// # Errors
    /// None at τ = 1.
    pub fn moments(self) -> Result<LinkMoments> {
        Ok(match self {
            Self::Tanh => LinkMoments::tanh(1.0)?,
            Self::CentredRelu => LinkMoments::centred_relu(1.0)?,
        })
    }
}

/// A distribution of single-index tasks, and the dampings to take a KFAC step with.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleIndexSetting {
    /// Names the setting among the results.
    pub name: String,
    /// Names the random streams: settings that share them are compared on the same draws.
    pub stream: String,
    /// The teacher's link.
    pub teacher: Teacher,
    /// Half the eigenvalues of Σ are 1 + ε, half are 1 − ε.
    pub epsilon: f64,
    /// Number of samples n.
    pub samples: usize,
    /// Dampings λ_G.
    pub dampings: Vec<f64>,
}

/// What theory says of a setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// Alignment of SGD's direction.
    pub sgd: f64,
    /// Alignment of KFAC's, for each damping.
    pub kfac: Vec<f64>,
}

/// What one trial measured: alignments with β⋆ of the top right singular vector of `G₁ − G₀`.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleIndexTrial {
    /// After a step of SGD.
    pub sgd: f64,
    /// After a step of KFAC, for each damping.
    pub kfac: Vec<f64>,
}

impl SingleIndexSetting {
    /// φ = d/n.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        DIMENSION as f64 / self.samples as f64
    }

    fn spectrum(&self) -> Spectrum {
        Spectrum::TwoLevel { epsilon: self.epsilon }
    }

    /// The asymptotic alignments at this setting.
    ///
    /// # Errors
    /// Where a parameter is outside its range.
    pub fn predict(&self) -> Result<Predicted> {
        let spectrum = self.spectrum().eigenvalues(DIMENSION)?;
        let link = self.teacher.moments()?;
        let sgd = sgd_alignment(spectrum.view(), &link, self.ratio(), NOISE)?;
        let kfac = self.dampings.iter().map(|&damping| {
            let limit = KfacAlignment::new(spectrum.view(), &link, self.ratio(), damping, NOISE)?;
            Ok(limit.alignment)
        });
        Ok(Predicted { sgd, kfac: kfac.collect::<Result<_>>()? })
    }
}

/// Draws a task, a student with tanh units and a batch, and takes one step of SGD and one of KFAC
/// for each damping, all from the same point.
///
/// # Errors
/// [`crate::ExperimentError::Interrupted`], and faults of the setting.
pub fn run_trial(
    setting: &SingleIndexSetting,
    streams: &Streams,
    trial: u64,
    monitor: &dyn Monitor,
) -> Result<SingleIndexTrial> {
    monitor.check()?;
    let (d, h, n) = (DIMENSION, DIMENSION, setting.samples);
    let mut rng = streams.stream(&setting.stream, "task", trial);
    let covariance = Covariance::draw(&setting.spectrum(), Basis::Axis, d, &mut rng)?;
    let covariates = LinearCovariates::new(Law::Gaussian, covariance);
    let task = SingleIndexTask::draw(setting.teacher.link(), covariates, NOISE, &mut rng)?;
    let student = draw_student(h, d, &mut streams.stream(&setting.stream, "start", trial))?;
    let mut batch = Batch::with_dimensions(d, 1);
    task.draw_batch(n, &mut streams.stream(&setting.stream, "batches", trial), &mut batch)?;

    let gradient = gradient(&student, &batch)?;
    let factor = input_factor(&batch)?;
    let learned = |stepped: Array2<f64>| -> Result<f64> {
        let change = stepped - student.representation();
        let learned = leading_right_singular_vector(change.view())?;
        Ok(alignment(learned.view(), task.direction())?)
    };
    let sgd = learned(sgd_step(&student, gradient.view())?)?;
    let mut kfac = Vec::with_capacity(setting.dampings.len());
    for &damping in &setting.dampings {
        monitor.check()?;
        kfac.push(learned(kfac_step(&student, gradient.view(), factor.view(), damping)?)?);
    }
    monitor.advance(setting.work());
    Ok(SingleIndexTrial { sgd, kfac })
}

/// `∇_G L̂` of a student (h × d) on a batch.
///
/// # Errors
/// Where student and batch differ in shape.
pub fn gradient(student: &SingleIndexStudent, batch: &Batch) -> Result<Array2<f64>> {
    let (h, d) = student.representation().dim();
    let mut pass = StudentPass::with_shape(batch.sample_size(), h, d);
    pass.evaluate(student, batch)?;
    Ok(pass.gradient().to_owned())
}

/// `Ê[xxᵀ]` of a batch, d × d.
///
/// # Errors
/// None for a batch that holds samples.
pub fn input_factor(batch: &Batch) -> Result<Array2<f64>> {
    let d = batch.input_dimension();
    let mut factor = Array2::zeros((d, d));
    let share = 1.0 / batch.sample_size() as f64;
    gram(share, batch.x().t(), 0.0, &mut factor.view_mut())?;
    Ok(factor)
}

/// A step of SGD at rate 1: `G₁ = G₀ − ∇_G L̂`.
///
/// # Errors
/// Where the gradient does not have the student's shape or is not finite.
pub fn sgd_step(student: &SingleIndexStudent, gradient: ArrayView2<f64>) -> Result<Array2<f64>> {
    let sgd = Sgd { learning_rate: 1.0.into(), ..Sgd::default() };
    step(&sgd, student, &Signal::new(gradient))
}

/// A step of one-sided KFAC at rate 1: `G₁ = G₀ − ∇_G L̂ (Q + λI)⁻¹`, with the input factor
/// Q = `Ê[xxᵀ]`.
///
/// # Errors
/// Where shapes differ, the damping is negative, or `Q + λI` is not positive definite.
pub fn kfac_step(
    student: &SingleIndexStudent,
    gradient: ArrayView2<f64>,
    factor: ArrayView2<f64>,
    damping: f64,
) -> Result<Array2<f64>> {
    let kfac = OneSidedKfac {
        learning_rate: 1.0.into(),
        damping: damping.into(),
        averaging: Averaging::None,
        ..OneSidedKfac::stylised()
    };
    step(&kfac, student, &Signal::new(gradient).with_input(Factor::SecondMoment(factor)))
}

fn step(
    method: &impl Method,
    student: &SingleIndexStudent,
    signal: &Signal<'_, f64>,
) -> Result<Array2<f64>> {
    let mut stepped = student.representation().to_owned();
    method.build(stepped.dim())?.step(&mut stepped.view_mut(), signal)?;
    Ok(stepped)
}

/// Rows of G₀ are N(0, I/d); `a_j = ±1/√h` with equal probability.
pub(crate) fn draw_student<R: Rng + ?Sized>(
    h: usize,
    d: usize,
    rng: &mut R,
) -> Result<SingleIndexStudent> {
    let scale = (d as f64).sqrt().recip();
    let representation =
        Array2::from_shape_simple_fn((h, d), || scale * rng.sample::<f64, _>(StandardNormal));
    let size = (h as f64).sqrt().recip();
    let head = Array1::from_shape_simple_fn(h, || if rng.random::<bool>() { size } else { -size });
    Ok(SingleIndexStudent::new(representation, head, Link::Tanh)?)
}

impl SingleIndexSetting {
    /// Work of one trial in the units of [`Monitor::advance`], one of which is about a step of the
    /// two-layer linear network.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.samples as u64 + 100 * self.dampings.len() as u64
    }
}

/// All results on one setting.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleIndexResults {
    /// The setting.
    pub setting: SingleIndexSetting,
    /// Its trials, in order.
    pub trials: Vec<SingleIndexTrial>,
}

impl SingleIndexResults {
    /// A setting on which nothing was run yet.
    #[must_use]
    pub fn empty(setting: SingleIndexSetting) -> Self {
        Self { setting, trials: Vec::new() }
    }

    /// SGD's alignment by trial.
    #[must_use]
    pub fn sgd(&self) -> Vec<f64> {
        self.trials.iter().map(|trial| trial.sgd).collect()
    }

    /// KFAC's alignment by trial, at the damping with the given index.
    #[must_use]
    pub fn kfac(&self, damping: usize) -> Vec<f64> {
        self.trials.iter().map(|trial| trial.kfac[damping]).collect()
    }
}
