//! The head's step is an average of itself and least squares (Lemma 3.1 of arXiv 2502.01763).

use layerwise_models::TwoLayerLinear;
use layerwise_theory::{kfac_head, least_squares_head};
use rand::Rng;

use crate::Result;
use crate::claim::Whose;
use crate::linear::Needs;
use crate::theorems::comparison::{Comparison, over_cases};
use crate::theorems::problems::{Problem, ProblemSpec, distance, norm};
use crate::theorems::rounding::{HEAD_FROM, HeadStep};
use crate::theorems::{Context, KfacRates, Outcome, Statement, Steps};

/// The statement.
pub struct L1;

impl Statement for L1 {
    fn id(&self) -> &'static str {
        "L1"
    }

    fn text(&self) -> &'static str {
        "Lemma 3.1: where E[zzᵀ] is positive definite, KFAC's step on the head is F₊ = (1 − η_F) F + η_F F_ls(G₊), exactly."
    }

    fn whose(&self) -> Whose {
        Whose::Paper
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(60, 400);
        let full = over_cases(context, "L1", cases, |rng| {
            let spec = ProblemSpec { noise: 0.3, ..ProblemSpec::random(rng) };
            let rates = KfacRates {
                representation: rng.random_range(0.05..1.0),
                head: rng.random_range(0.05..=1.0),
                damping: 0.0,
            };
            compare(&spec, rates, context.steps)
        })?;
        // Σ̂ is singular for n < d_X; the statement asks for Ê[zzᵀ] ≻ 0 alone.
        let few = over_cases(context, "L1 few", cases, |rng| {
            let random = ProblemSpec { noise: 0.3, ..ProblemSpec::random(rng) };
            let samples = rng.random_range(random.rank..random.inputs);
            let spec = ProblemSpec { samples, condition: random.condition.min(1e3), ..random };
            let rates = KfacRates {
                representation: rng.random_range(0.05..1.0),
                head: rng.random_range(0.05..=1.0),
                damping: 0.1,
            };
            compare(&spec, rates, context.steps)
        })?;
        let predicted = "(1 − η_F) F + η_F F_ls(G₊)";
        let from = HEAD_FROM;
        Ok(Outcome {
            parts: vec![
                full.part("head after one step, n > d_X, λ_G = 0", predicted, from),
                few.part("head after one step, k ≤ n < d_X, λ_G > 0", predicted, from),
            ],
        })
    }
}

/// One real step on noisy samples against the average, with the head of least squares found from
/// the samples themselves by a singular value decomposition. Relative to ‖F‖ + ‖F_ls‖.
///
/// # Errors
/// Faults of the problem or of the step.
pub fn compare(spec: &ProblemSpec, rates: KfacRates, steps: &dyn Steps) -> Result<Comparison> {
    let needs = Needs { samples: true, ..Needs::default() };
    let Problem { net: start, data, .. } = Problem::draw(spec, needs, steps)?;
    let mut net = start.clone();
    steps.kfac(rates, spec.shape())?.step(&mut net, &data)?;
    let batch = data.batch().ok_or(crate::ExperimentError::MissingData {
        what: "samples",
        method: "the head of least squares",
    })?;
    let batch = batch.samples();
    let at_new = TwoLayerLinear::new(start.head().to_owned(), net.representation().to_owned())?;
    let features = batch.x().dot(&net.representation().t());
    let least_squares = least_squares_head(features.view(), batch.y())?;
    let predicted = kfac_head(start.head(), least_squares.view(), rates.head)?;
    Ok(Comparison {
        deviation: distance(net.head(), predicted.view())
            / (norm(start.head()) + norm(least_squares.view())),
        tolerance: HeadStep::new(&at_new, data.moments(), spec.samples)?.error(),
    })
}
