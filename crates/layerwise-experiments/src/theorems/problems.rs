//! Random problems of linear representation learning, and the norms by which errors on them are
//! bounded.

use std::sync::Arc;

use layerwise_data::{
    Basis, Covariance, Law, LinearCovariates, LinearTask, LinearTaskSpec, Spectrum, Streams, haar,
};
use layerwise_linalg::{SymmetricEigen, singular_values};
use layerwise_models::TwoLayerLinear;
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::Result;
use crate::linear::{Needs, StepData};
use crate::theorems::Steps;

/// A distribution of one problem: dimensions, condition numbers, and a seed for the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct ProblemSpec {
    /// d_Y ≥ k.
    pub outputs: usize,
    /// k ≥ 1.
    pub rank: usize,
    /// d_X ≥ k.
    pub inputs: usize,
    /// n ≥ 1.
    pub samples: usize,
    /// κ(Σ), with a Haar eigenbasis.
    pub condition: f64,
    /// κ(F⋆).
    pub head_condition: f64,
    /// κ(F), of the network's head.
    pub start_condition: f64,
    /// σ_ε.
    pub noise: f64,
    /// Of everything random.
    pub seed: u64,
}

impl ProblemSpec {
    /// A random noise-free problem with n > d_X; one in four each has k = 1, d_X = k + 1,
    /// n = d_X + 1. κ(Σ) goes up to 10⁶ where n ≥ 4 d_X, to 10³ elsewhere: there Σ̂ adds to it.
    pub fn random<R: Rng + ?Sized>(rng: &mut R) -> Self {
        let one_in_four = |rng: &mut R| rng.random_range(0..4) == 0;
        let rank = if one_in_four(rng) { 1 } else { rng.random_range(2..=5) };
        let inputs = if one_in_four(rng) { rank + 1 } else { rank + rng.random_range(2..=12) };
        let samples = match rng.random_range(0..4) {
            0 => inputs + 1,
            1 => rng.random_range(inputs + 2..4 * inputs + 2),
            _ => rng.random_range(4 * inputs..=12 * inputs),
        };
        Self {
            outputs: rank + rng.random_range(0..=5),
            rank,
            inputs,
            samples,
            condition: 10_f64.powf(rng.random_range(0.0..=decades(samples, inputs))),
            head_condition: 10_f64.powf(rng.random_range(0.0..=1.5)),
            start_condition: 10_f64.powf(rng.random_range(0.0..=1.0)),
            noise: 0.0,
            seed: rng.random(),
        }
    }

    /// `(d_Y, k, d_X)`.
    #[must_use]
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.outputs, self.rank, self.inputs)
    }

    /// The distribution of tasks.
    #[must_use]
    pub fn task_spec(&self) -> LinearTaskSpec {
        LinearTaskSpec {
            input_dimension: self.inputs,
            output_dimension: self.outputs,
            rank: self.rank,
            spectrum: Spectrum::LogSpaced { condition: self.condition },
            basis: Basis::Haar,
            law: Law::Gaussian,
            head_condition: self.head_condition,
            noise: self.noise,
        }
    }

    /// The problem's own streams.
    #[must_use]
    pub fn streams(&self) -> Streams {
        Streams::new(self.seed)
    }
}

/// How many powers of ten κ(Σ) may have for a batch of n samples to decide something: 6 where
/// n ≥ 4 d_X, else 3, as there the batch's own condition number adds to it.
#[must_use]
pub fn decades(samples: usize, inputs: usize) -> f64 {
    if samples >= 4 * inputs { 6.0 } else { 3.0 }
}

/// A task, a network that has learned nothing, and a batch.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The task.
    pub task: LinearTask,
    /// The network: a dense random representation, a head with the given condition number.
    pub net: TwoLayerLinear,
    /// A batch.
    pub data: StepData,
}

impl Problem {
    /// Draws a problem; the batch by `steps`.
    ///
    /// # Errors
    /// Where a parameter is out of range.
    pub fn draw(spec: &ProblemSpec, needs: Needs, steps: &dyn Steps) -> Result<Self> {
        let streams = spec.streams();
        let task = spec.task_spec().draw(&mut streams.stream("problem", "task", 0))?;
        let start = &mut streams.stream("problem", "start", 0);
        let head = with_condition(spec.outputs, spec.rank, spec.start_condition, start)?;
        let net = TwoLayerLinear::new(head, normals(spec.rank, spec.inputs, start))?;
        let mut data = StepData::new(spec.inputs, spec.outputs, spec.samples, needs);
        steps.draw(&task, &mut streams.stream("problem", "batch", 0), &mut data)?;
        Ok(Self { task, net, data })
    }
}

/// Independent standard normals.
pub fn normals<R: Rng + ?Sized>(rows: usize, columns: usize, rng: &mut R) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || rng.sample(StandardNormal))
}

/// A dense matrix (rows ≥ columns) with singular values from 1 to 1/κ, log-spaced, between Haar
/// bases.
///
/// # Errors
/// Where κ < 1 or there are more columns than rows.
pub fn with_condition<R: Rng + ?Sized>(
    rows: usize,
    columns: usize,
    condition: f64,
    rng: &mut R,
) -> Result<Array2<f64>> {
    let squares = Spectrum::LogSpaced { condition: condition * condition }.eigenvalues(columns)?;
    let largest = squares[0];
    let singular = squares.mapv(|square| (square / largest).sqrt());
    let left = haar(rows, columns, rng)? * &singular.insert_axis(Axis(0));
    Ok(left.dot(&haar(columns, columns, rng)?.t()))
}

/// A noise-free task on which the conditional covariance Σ_c of the inputs outside `G⋆`'s row
/// space, given those inside, has exactly the condition number `outside`, while inside and
/// outside are correlated: in the basis (G⋆, N), Σ = (A, AB; BᵀA, BᵀAB + Σ_c).
///
/// `shape` is `(d_Y, k, d_X)` with d_X > k.
///
/// # Errors
/// Where a condition number is below 1 or dimensions do not fit.
pub fn conditioned_task<R: Rng + ?Sized>(
    (outputs, k, inputs): (usize, usize, usize),
    outside: f64,
    head_condition: f64,
    rng: &mut R,
) -> Result<LinearTask> {
    const INSIDE_CONDITION: f64 = 1.5;
    const CORRELATION: f64 = 0.3;
    let basis = haar(inputs, inputs, rng)?.reversed_axes();
    let representation = basis.slice(s![..k, ..]).as_standard_layout().into_owned();
    let head = with_condition(outputs, k, head_condition, rng)?;
    let inside_root = with_condition(k, k, INSIDE_CONDITION, rng)?;
    let inside = inside_root.dot(&inside_root.t());
    let free_root = with_condition(inputs - k, inputs - k, outside.sqrt(), rng)?;
    let coupling = normals(k, inputs - k, rng) * CORRELATION;
    let across = inside.dot(&coupling);
    let free = free_root.dot(&free_root.t()) + coupling.t().dot(&across);
    let upper = concatenate![Axis(1), inside, across];
    let lower = concatenate![Axis(1), across.t(), free];
    let in_basis = concatenate![Axis(0), upper, lower];
    let mut matrix = basis.t().dot(&in_basis).dot(&basis);
    layerwise_linalg::symmetrize(&mut matrix.view_mut());
    let covariance = Covariance::from_matrix(matrix.view())?;
    let covariates = LinearCovariates::new(Law::Gaussian, covariance);
    Ok(LinearTask::new(head, Arc::new(representation), covariates, 0.0)?)
}

/// Smallest and largest eigenvalue of a symmetric matrix.
///
/// # Errors
/// Where it is not symmetric and finite.
pub fn extreme_eigenvalues(m: ArrayView2<f64>) -> Result<(f64, f64)> {
    let eigen = SymmetricEigen::new(m)?;
    let values = eigen.values();
    Ok((values[0], values[values.len() - 1]))
}

/// Largest and smallest singular value of a matrix of at least one row and column.
///
/// # Errors
/// Where it is not finite.
pub fn extreme_singular_values(m: ArrayView2<f64>) -> Result<(f64, f64)> {
    let values = singular_values(m)?;
    Ok((values[0], values[values.len() - 1]))
}

/// Condition number in the operator norm, infinite for singular matrices.
///
/// # Errors
/// Where the matrix is not finite.
pub fn condition_number(m: ArrayView2<f64>) -> Result<f64> {
    let (largest, smallest) = extreme_singular_values(m)?;
    Ok(if smallest > 0.0 { largest / smallest } else { f64::INFINITY })
}

/// Frobenius norm.
#[must_use]
pub fn norm(m: ArrayView2<f64>) -> f64 {
    m.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Frobenius norm of a difference.
#[must_use]
pub fn distance(a: ArrayView2<f64>, b: ArrayView2<f64>) -> f64 {
    norm((&a - &b).view())
}
