//! KFAC contracts the wrong part of a representation free of condition numbers.

use layerwise_metrics::subspace_distance;
use layerwise_models::{LeastSquaresHead, LinearPass};
use layerwise_theory::{damped_kfac_representation, kfac_wrong_part, wrong_part};
use rand::Rng;

use crate::Result;
use crate::claim::Whose;
use crate::linear::Needs;
use crate::theorems::comparison::{Comparison, over_cases};
use crate::theorems::problems::{Problem, ProblemSpec, distance, extreme_singular_values, norm};
use crate::theorems::rounding;
use crate::theorems::{Context, KfacRates, Outcome, Statement, Steps};

/// The statement.
pub struct L2;

impl Statement for L2 {
    fn id(&self) -> &'static str {
        "L2"
    }

    fn text(&self) -> &'static str {
        "KFAC contracts free of condition numbers: noise-free, λ_G = 0, one step takes G P⊥ to (1 − η_G) G P⊥, whatever Σ, F⋆ and F; with η_G = 1 and F = F_ls(G) one step finds G⋆'s row space. Damped, it takes G to G − η (G − F⁺ F⋆ G⋆) Σ̂ (Σ̂ + λ_G I)⁻¹."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        // Some 7 % of what is drawn cannot decide: with 150 cases the chance of more than 20 % is
        // below 10⁻⁶.
        let cases = context.scale.choose(150, 400);
        let contraction = over_cases(context, "L2a", cases, |rng| {
            compare_wrong_part(
                &ProblemSpec::random(rng),
                rng.random_range(0.05..=1.0),
                context.steps,
            )
        })?;
        let recovery = over_cases(context, "L2b", cases, |rng| {
            compare_recovery(&ProblemSpec::random(rng), context.steps)
        })?;
        let damped = over_cases(context, "L2c", cases, |rng| {
            let damping = 10_f64.powf(rng.random_range(-3.0..=1.0));
            let eta = rng.random_range(0.05..=1.0);
            compare_damped(&ProblemSpec::random(rng), eta, damping, context.steps)
        })?;
        let from = rounding::REPRESENTATION_FROM;
        Ok(Outcome {
            parts: vec![
                contraction.part("wrong part after one step", "(1 − η_G) G P⊥", from),
                recovery.part("distance after one step, η_G = 1, F = F_ls(G)", "0", from),
                damped.part(
                    "representation after one step with λ_G > 0",
                    "G − η (G − F⁺ F⋆ G⋆) Σ̂ (Σ̂ + λ_G I)⁻¹",
                    from,
                ),
            ],
        })
    }
}

/// `G₊P⊥` of a real step from a network with an arbitrary head against `(1 − η_G) G P⊥`, relative
/// to ‖G‖.
///
/// # Errors
/// Faults of the problem or of the step.
pub fn compare_wrong_part(spec: &ProblemSpec, eta: f64, steps: &dyn Steps) -> Result<Comparison> {
    let Problem { task, net: start, data } = Problem::draw(spec, Needs::default(), steps)?;
    let mut net = start.clone();
    let rates = KfacRates { representation: eta, head: 0.5, damping: 0.0 };
    steps.kfac(rates, spec.shape())?.step(&mut net, &data)?;
    let predicted = kfac_wrong_part(start.representation(), task.representation(), eta)?;
    let measured = wrong_part(net.representation(), task.representation())?;
    Ok(Comparison {
        deviation: distance(measured.view(), predicted.view()) / norm(start.representation()),
        tolerance: rounding::representation_step(&start, data.moments(), 0.0)?,
    })
}

/// The subspace distance after a real step with η_G = 1 from `F = F_ls(G)`.
///
/// # Errors
/// Faults of the problem or of the step.
pub fn compare_recovery(spec: &ProblemSpec, steps: &dyn Steps) -> Result<Comparison> {
    let Problem { task, net: mut start, data } = Problem::draw(spec, Needs::default(), steps)?;
    let mut pass = LinearPass::with_shape(spec.shape());
    pass.head(&start, data.moments())?;
    LeastSquaresHead::with_shape(spec.outputs, spec.rank).fit(&mut start, &pass)?;
    let mut net = start.clone();
    let rates = KfacRates { representation: 1.0, head: 0.5, damping: 0.0 };
    steps.kfac(rates, spec.shape())?.step(&mut net, &data)?;
    // A wrong part of size δ turns the row space by at most δ/σ_k(G₊).
    let (_, least) = extreme_singular_values(net.representation())?;
    let turned = norm(start.representation()) / least;
    Ok(Comparison {
        deviation: subspace_distance(net.representation(), task.representation())?,
        tolerance: rounding::representation_step(&start, data.moments(), 0.0)? * turned,
    })
}

/// `G₊` of a real step with damping λ_G > 0 against its closed form, relative to ‖G‖.
///
/// # Errors
/// Faults of the problem or of the step.
pub fn compare_damped(
    spec: &ProblemSpec,
    eta: f64,
    damping: f64,
    steps: &dyn Steps,
) -> Result<Comparison> {
    let Problem { task, net: start, data } = Problem::draw(spec, Needs::default(), steps)?;
    let mut net = start.clone();
    let rates = KfacRates { representation: eta, head: 0.5, damping };
    steps.kfac(rates, spec.shape())?.step(&mut net, &data)?;
    let (g, f) = (start.representation(), start.head());
    let xx = data.moments().xx();
    let predicted = damped_kfac_representation(g, f, task.map(), xx, damping, eta)?;
    Ok(Comparison {
        deviation: distance(net.representation(), predicted.view()) / norm(g),
        tolerance: rounding::representation_step(&start, data.moments(), damping)?,
    })
}
