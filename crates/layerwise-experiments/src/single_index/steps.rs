//! A first step on a single-index model, and what it is taken on.

use layerwise_data::{Batch, Link};
use layerwise_linalg::gram;
use layerwise_models::{SingleIndexStudent, StudentPass};
use layerwise_optim::{Averaging, Factor, Method, OneSidedKfac, Sgd, Signal};
use layerwise_theory::LinkMoments;
use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::Result;

/// Noise level σ_ε of the statements' problems.
pub const NOISE: f64 = 0.1;

/// The teacher's link function in a statement.
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
    link: Link,
    rng: &mut R,
) -> Result<SingleIndexStudent> {
    let scale = (d as f64).sqrt().recip();
    let representation =
        Array2::from_shape_simple_fn((h, d), || scale * rng.sample::<f64, _>(StandardNormal));
    let size = (h as f64).sqrt().recip();
    let head = Array1::from_shape_simple_fn(h, || if rng.random::<bool>() { size } else { -size });
    Ok(SingleIndexStudent::new(representation, head, link)?)
}
