//! What a learned representation loses on a transfer task.

use layerwise_data::{Basis, Covariance, Spectrum, haar};
use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngCore};

use crate::Result;
use crate::claim::Whose;
use crate::theorems::comparison::{Comparison, larger, over_cases};
use crate::theorems::problems::normals;
use crate::theorems::transfer::TransferTask;
use crate::theorems::{Context, Outcome, Statement, Steps};

/// The statement.
pub struct L5;

impl Statement for L5 {
    fn id(&self) -> &'static str {
        "L5"
    }

    fn text(&self) -> &'static str {
        "The excess transfer risk with the population's head is ½ tr(F_t G⋆ S G⋆ᵀ F_tᵀ), S = Σ_t − Σ_t Gᵀ (G Σ_t Gᵀ)⁻¹ G Σ_t, between bounds by ‖G⋆ (I − P_G)‖_F² and dist(G, G⋆)², both of which it is where k = 1 and Σ_t ∝ I."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(60, 400);
        let exact = over_cases(context, "L5", cases, |rng| {
            let (task, g) = random_transfer(rng)?;
            compare_exact(&task, g.view(), context.steps)
        })?;
        let bounded = over_cases(context, "L5", cases, |rng| {
            let (task, g) = random_transfer(rng)?;
            compare_bounds(&task, g.view(), context.steps)
        })?;
        let equal = over_cases(context, "L5 equal", cases, |rng| {
            let shape = (rng.random_range(1..=8), 1, rng.random_range(2..=11));
            let (task, g) = transfer_problem(shape, 1.0, random_away(rng), rng)?;
            compare_equality(&task, g.view(), context.steps)
        })?;
        let from = "rounding: ε · dimension · (a + b)², a² = ‖F_t‖² ‖G⋆‖² tr Σ_t / ‖F_tG⋆Σ_t^(1/2)‖², \
                    b² = ‖G‖² tr Σ_t / λ_min(G Σ_t Gᵀ)";
        Ok(Outcome {
            parts: vec![
                exact.part(
                    "excess loss with the fitted head, and as the figures record it; κ(Σ_t) to 10⁶",
                    "½ tr(F_t G⋆ S G⋆ᵀ F_tᵀ)",
                    from,
                ),
                bounded.part("by how much it leaves its bounds; κ(Σ_t) to 10⁶", "0", from),
                equal.part("its distance from both bounds where k = 1 and Σ_t ∝ I", "0", from),
            ],
        })
    }
}

/// A random transfer problem; k = 1, d_X = k + 1 and d_Y < k are among them, κ(Σ_t) is at most 10⁶.
fn random_transfer(rng: &mut dyn RngCore) -> Result<(TransferTask, Array2<f64>)> {
    let k = rng.random_range(1..=5);
    let shape = (rng.random_range(1..=8), k, k + rng.random_range(1..=10));
    let condition = 10_f64.powf(rng.random_range(0.0..=6.0));
    transfer_problem(shape, condition, random_away(rng), rng)
}

fn random_away(rng: &mut dyn RngCore) -> f64 {
    10_f64.powf(rng.random_range(-4.0..=1.0))
}

/// A transfer task of shape `(d_Y, k, d_X)` with a dense Σ_t of the given condition number, and a
/// representation: `G⋆` in another basis plus `away` times standard normals.
///
/// # Errors
/// Where a dimension is zero, d_X < k, or the condition number is below 1.
pub fn transfer_problem(
    (outputs, k, d): (usize, usize, usize),
    condition: f64,
    away: f64,
    rng: &mut dyn RngCore,
) -> Result<(TransferTask, Array2<f64>)> {
    let head = normals(outputs, k, rng);
    let reference = haar(d, k, rng)?.reversed_axes().as_standard_layout().into_owned();
    let spectrum = Spectrum::LogSpaced { condition };
    let covariance = Covariance::draw(&spectrum, Basis::Haar, d, rng)?;
    let g = haar(k, k, rng)?.dot(&reference) + normals(k, d, rng) * away;
    Ok((TransferTask::new(head, reference, covariance.matrix().to_owned())?, g))
}

/// The loss with the fitted head and the one that the figures record against the closed form,
/// relative to the zero predictor's.
///
/// # Errors
/// Faults of the task or of the fit.
pub fn compare_exact(
    task: &TransferTask,
    g: ArrayView2<'_, f64>,
    steps: &dyn Steps,
) -> Result<Comparison> {
    let predicted = task.predicted(g)?;
    let fitted = (steps.transfer_loss(g, task)? - predicted).abs();
    let recorded = (task.recorded(g)? - predicted).abs();
    Ok(Comparison {
        deviation: larger(fitted, recorded) / task.zero_loss()?,
        tolerance: task.rounding(g)?.loss(),
    })
}

/// By how much the loss with the fitted head lies outside its bounds, relative to the zero
/// predictor's.
///
/// # Errors
/// Faults of the task or of the fit.
pub fn compare_bounds(
    task: &TransferTask,
    g: ArrayView2<'_, f64>,
    steps: &dyn Steps,
) -> Result<Comparison> {
    let measured = steps.transfer_loss(g, task)?;
    let (lower, upper) = task.bounds(g)?;
    let inside = lower <= measured && measured <= upper;
    let outside = if inside { 0.0 } else { larger(lower - measured, measured - upper) };
    Ok(Comparison { deviation: outside / task.zero_loss()?, tolerance: task.rounding(g)?.bounds() })
}

/// The distance of the loss with the fitted head from both of its bounds, relative to the zero
/// predictor's: with one feature and Σ_t ∝ I they are one number.
///
/// # Errors
/// Faults of the task or of the fit.
pub fn compare_equality(
    task: &TransferTask,
    g: ArrayView2<'_, f64>,
    steps: &dyn Steps,
) -> Result<Comparison> {
    let measured = steps.transfer_loss(g, task)?;
    let (lower, upper) = task.bounds(g)?;
    let distance = larger((measured - lower).abs(), (measured - upper).abs());
    Ok(Comparison {
        deviation: distance / task.zero_loss()?,
        tolerance: task.rounding(g)?.bounds(),
    })
}
