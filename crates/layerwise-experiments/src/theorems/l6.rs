//! Batch-norm learns the subspace in other coordinates.

use layerwise_data::{LinearTask, Moments};
use layerwise_linalg::orthonormal_rows;
use layerwise_metrics::{excess_loss, subspace_distance};
use layerwise_theory::{AmgdMap, batch_norm_representation};
use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng;

use crate::claim::Whose;
use crate::linear::{Needs, StepData};
use crate::theorems::comparison::{Comparison, Tally};
use crate::theorems::problems::{Problem, ProblemSpec};
use crate::theorems::rounding;
use crate::theorems::{Context, Outcome, Statement, Steps};
use crate::{ExperimentError, Result};

/// The statement.
pub struct L6;

impl Statement for L6 {
    fn id(&self) -> &'static str {
        "L6"
    }

    fn text(&self) -> &'static str {
        "Batch-norm learns the subspace in other coordinates: AMGD on D x, D = diag(Σ)^(−1/2), converges in loss, to the row space of G⋆ D⁻¹, so dist(G, G⋆) settles at dist(G⋆ D⁻¹, G⋆), while G D tends to G⋆."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(12, 60);
        let (mut bias, mut effective, mut loss) = <(Tally, Tally, Tally)>::default();
        let mut largest = 0.0_f64;
        for case in 0..cases {
            context.monitor.check()?;
            let rng = &mut context.streams.stream("L6", "case", case);
            let limit = settle(&random_problem(rng), context.steps)?;
            largest = largest.max(limit.predicted);
            bias.add(limit.bias());
            effective.add(limit.effective());
            loss.add(limit.loss());
        }
        let from = "κ(D) times the distance that runs reach first, 1e-8, times an allowance of 10";
        Ok(Outcome {
            parts: vec![
                bias.part(
                    format!(
                        "where dist(G, G⋆) stays for {MORE_STEPS} steps; κ(Σ) to 10^1.5, as AMGD's \
                         steps grow with κ"
                    ),
                    format!("dist(G⋆ D⁻¹, G⋆), up to {largest:.2} here"),
                    from,
                ),
                effective.part("where dist(G D, G⋆) stays", "0", from),
                loss.part(
                    "excess loss, relative to the zero predictor's",
                    "0",
                    "the square of the same, times κ(Σ), + rounding",
                ),
            ],
        })
    }
}

/// A noise-free problem that AMGD solves within some thousand steps.
#[must_use]
pub fn random_problem<R: Rng + ?Sized>(rng: &mut R) -> ProblemSpec {
    let rank = rng.random_range(1..=3);
    let inputs = rank + rng.random_range(1..=6);
    ProblemSpec {
        outputs: rank + rng.random_range(0..=3),
        rank,
        inputs,
        samples: rng.random_range(4 * inputs..=12 * inputs),
        condition: 10_f64.powf(rng.random_range(0.0..=1.5)),
        head_condition: rng.random_range(1.0..=2.0),
        start_condition: 1.0,
        noise: 0.0,
        seed: rng.random(),
    }
}

/// The distance from its limit at which a run is taken to have settled.
const SETTLED: f64 = 1e-8;
/// Steps after which it goes no further in any case; the slowest of the random problems needs about a
/// quarter.
const MOST_STEPS: usize = 5_000;
/// Steps that follow, through which a limit has to last.
const MORE_STEPS: usize = 200;

/// Where AMGD on batch-normalized inputs settles on one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// `dist(G⋆D⁻¹, G⋆)`.
    pub predicted: f64,
    /// `dist(G, G⋆)`.
    pub distance: f64,
    /// `dist(G D, G⋆)`.
    pub effective_distance: f64,
    /// Excess loss on raw inputs, relative to the zero predictor's.
    pub excess: f64,
    /// κ(D).
    pub scale_condition: f64,
    /// κ(Σ).
    pub condition: f64,
    /// Relative rounding error of a predictor.
    pub rounding: f64,
}

impl Limit {
    /// Where the distance settles.
    #[must_use]
    pub fn bias(&self) -> Comparison {
        let deviation = (self.distance - self.predicted).abs();
        Comparison { deviation, tolerance: self.reached() }
    }

    /// Where the distance of the effective layer settles.
    #[must_use]
    pub fn effective(&self) -> Comparison {
        Comparison { deviation: self.effective_distance, tolerance: self.reached() }
    }

    /// Where the loss does. By L5's upper bound it is at most κ(Σ) times the square of the effective
    /// distance, relative to the zero predictor's.
    #[must_use]
    pub fn loss(&self) -> Comparison {
        let tolerance = self.reached().powi(2) * self.condition + self.rounding;
        Comparison { deviation: self.excess, tolerance }
    }

    /// A distance δ on normalized inputs is one of at most κ(D) δ on raw ones, to first order; ten
    /// times that leaves room for the batch's head.
    fn reached(&self) -> f64 {
        10.0 * SETTLED * self.scale_condition
    }
}

/// Runs real AMGD steps with batch-norm on one noise-free batch, D its own statistics, at the rate
/// that is best near the limit.
///
/// # Errors
/// Faults of the problem or of a step.
pub fn settle(spec: &ProblemSpec, steps: &dyn Steps) -> Result<Limit> {
    let needs = Needs { normalized: true, ..Needs::default() };
    let Problem { task, mut net, data } = Problem::draw(spec, needs, steps)?;
    let variances = variances(data.moments());
    let target = batch_norm_representation(task.representation(), variances.view())?;
    let mut algorithm = steps.amgd(best_rate(&task, &target, &data)?, true, spec.shape())?;
    let limit = orthonormal_rows(target.view())?;
    for _ in 0..MOST_STEPS {
        algorithm.step(&mut net, &data)?;
        if subspace_distance(net.representation(), limit.view())? <= SETTLED {
            break;
        }
    }
    for _ in 0..MORE_STEPS {
        algorithm.step(&mut net, &data)?;
    }
    let scale = variances.diag().mapv(|variance| variance.sqrt().recip());
    let effective = &net.representation() * &scale;
    let predictor = net.head().dot(&effective);
    let factor = task.covariance().lower();
    let zero = Array2::zeros(predictor.dim());
    Ok(Limit {
        predicted: subspace_distance(target.view(), task.representation())?,
        distance: subspace_distance(net.representation(), task.representation())?,
        effective_distance: subspace_distance(effective.view(), task.representation())?,
        excess: excess_loss(predictor.view(), task.map(), factor)?
            / excess_loss(zero.view(), task.map(), factor)?,
        scale_condition: ratio(&scale),
        condition: spec.condition,
        rounding: rounding::chain(spec.outputs + spec.rank + spec.inputs),
    })
}

/// The batch's variances, as a diagonal matrix.
fn variances(moments: &Moments) -> Array2<f64> {
    let mean = moments.x_mean();
    Array2::from_diag(&(&moments.xx().diag() - &(&mean * &mean)))
}

fn ratio(values: &Array1<f64>) -> f64 {
    let largest = values.iter().copied().fold(0.0, f64::max);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    largest / least
}

/// AMGD's best rate on the normalized problem: in an orthonormal basis R of the limit's row space
/// its target is the head `F⋆G⋆D⁻¹Rᵀ`.
fn best_rate(task: &LinearTask, target: &Array2<f64>, data: &StepData) -> Result<f64> {
    let rows = orthonormal_rows(target.view())?;
    let head = task.head().dot(target).dot(&rows.t());
    let normalized: ArrayView2<'_, f64> = match data.normalized() {
        Ok(moments) => moments.xx(),
        Err(ExperimentError::MissingData { .. }) => data.moments().xx(),
        Err(error) => return Err(error),
    };
    Ok(AmgdMap::new(head.view(), rows.view(), normalized)?.best_rate())
}
