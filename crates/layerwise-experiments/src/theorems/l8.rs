//! Kronecker factors are exact for linear networks.

use layerwise_linalg::{Cholesky, symmetrize};
use layerwise_models::{TwoLayerLinear, gauss_newton_matrix};
use layerwise_theory::gauss_newton_blocks;
use ndarray::{Array2, ArrayView2, s};
use rand::{Rng, RngCore};

use crate::Result;
use crate::claim::Whose;
use crate::linear::Needs;
use crate::theorems::comparison::{Comparison, larger, over_cases};
use crate::theorems::problems::{Problem, ProblemSpec, distance, norm};
use crate::theorems::rounding;
use crate::theorems::{Context, KfacRates, Outcome, Statement, Steps};

/// The statement.
pub struct L8;

impl Statement for L8 {
    fn id(&self) -> &'static str {
        "L8"
    }

    fn text(&self) -> &'static str {
        "Kronecker factors are exact for linear networks with squared loss: the Gauss-Newton block of G is FᵀF ⊗ Σ̂, that of F is I ⊗ E[zzᵀ], so update (1) without damping is block-diagonal Gauss-Newton."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(40, 200);
        let blocks = over_cases(context, "L8a", cases, |rng| {
            compare_blocks(&small_problem(rng), context.steps)
        })?;
        let step = over_cases(context, "L8b", cases, |rng| {
            let spec = small_problem(rng);
            compare_step(&spec, rng.random_range(0.05..=1.0), context.steps)
        })?;
        Ok(Outcome {
            parts: vec![
                blocks.part(
                    "Gauss-Newton blocks from the network's derivatives",
                    "FᵀF ⊗ Σ̂, I ⊗ E[zzᵀ]",
                    "rounding: ε · dimension",
                ),
                step.part(
                    "both layers after one step",
                    "block-diagonal Gauss-Newton, solved densely",
                    "rounding: ε · dimension · condition numbers of the blocks",
                ),
            ],
        })
    }
}

/// A noisy problem with few parameters; k = d_X = d_Y in one case of four, where nothing but the
/// numbers tells input factors from output factors.
#[must_use]
pub fn small_problem(rng: &mut dyn RngCore) -> ProblemSpec {
    let rank = rng.random_range(1..=4);
    let square = rng.random_range(0..4) == 0;
    let inputs = if square { rank } else { rank + rng.random_range(0..=3) };
    ProblemSpec {
        outputs: if square { rank } else { rank + rng.random_range(0..=2) },
        rank,
        inputs,
        samples: inputs + rng.random_range(1..=20),
        condition: 10_f64.powf(rng.random_range(0.0..=3.0)),
        head_condition: 10_f64.powf(rng.random_range(0.0..=1.0)),
        start_condition: 10_f64.powf(rng.random_range(0.0..=1.0)),
        noise: 0.3,
        seed: rng.random(),
    }
}

/// The derivative of the predictor `F G` by each parameter, G's first, row-major, d_Y × d_X each.
/// The predictor is linear in every single parameter: central differences with a step of 1 are
/// exact but for rounding.
fn derivatives(net: &TwoLayerLinear) -> Result<Vec<Array2<f64>>> {
    let (outputs, k, inputs) = net.shape();
    let mut all = Vec::with_capacity(k * inputs + outputs * k);
    let mut moved = net.clone();
    for (row, column) in ndarray::indices((k, inputs)) {
        let weight = net.representation()[[row, column]];
        moved.representation_mut()[[row, column]] = weight + 1.0;
        let above = moved.predictor()?;
        moved.representation_mut()[[row, column]] = weight - 1.0;
        all.push((above - moved.predictor()?) / 2.0);
        moved.representation_mut()[[row, column]] = weight;
    }
    for (row, column) in ndarray::indices((outputs, k)) {
        let weight = net.head()[[row, column]];
        moved.head_mut()[[row, column]] = weight + 1.0;
        let above = moved.predictor()?;
        moved.head_mut()[[row, column]] = weight - 1.0;
        all.push((above - moved.predictor()?) / 2.0);
        moved.head_mut()[[row, column]] = weight;
    }
    Ok(all)
}

/// `Ê[JᵀJ]`, from the derivatives and the samples' second moment.
fn gauss_newton(derivatives: &[Array2<f64>], xx: ArrayView2<'_, f64>) -> Array2<f64> {
    let parameters = derivatives.len();
    let mut matrix = Array2::zeros((parameters, parameters));
    for (i, a) in derivatives.iter().enumerate() {
        let left = a.dot(&xx);
        for (j, b) in derivatives.iter().enumerate() {
            matrix[[i, j]] = (&left * b).sum();
        }
    }
    symmetrize(&mut matrix.view_mut());
    matrix
}

/// The Gauss-Newton matrix from the real network's derivatives against the closed form of its
/// blocks, and against the whole of [`gauss_newton_matrix`]; relative to its norm.
///
/// # Errors
/// Faults of the problem.
pub fn compare_blocks(spec: &ProblemSpec, steps: &dyn Steps) -> Result<Comparison> {
    let Problem { net, data, .. } = Problem::draw(spec, Needs::default(), steps)?;
    let xx = data.moments().xx();
    let measured = gauss_newton(&derivatives(&net)?, xx);
    let whole = gauss_newton_matrix(&net, xx)?;
    let (g_block, f_block) = gauss_newton_blocks(net.head(), net.representation(), xx)?;
    let split = g_block.nrows();
    let differences = [
        distance(measured.slice(s![..split, ..split]), g_block.view()),
        distance(measured.slice(s![split.., split..]), f_block.view()),
        distance(measured.view(), whole.view()),
    ];
    let (outputs, k, inputs) = spec.shape();
    // A difference of predictors with weights moved by 1 carries the rounding of the predictors.
    let moved = 1.0 + norm(net.predictor()?.view());
    Ok(Comparison {
        deviation: differences.iter().sum::<f64>() / norm(whole.view()),
        tolerance: 3.0 * moved * rounding::chain(outputs + k + inputs),
    })
}

/// Both layers after a real KFAC step without damping against dense solves with the blocks, the
/// head's at the representation's new value; relative to the layers' norms.
///
/// # Errors
/// Faults of the problem or of the step.
pub fn compare_step(spec: &ProblemSpec, eta: f64, steps: &dyn Steps) -> Result<Comparison> {
    let Problem { net: start, data, .. } = Problem::draw(spec, Needs::default(), steps)?;
    let moments = data.moments();
    let mut net = start.clone();
    let rates = KfacRates { representation: eta, head: eta, damping: 0.0 };
    steps.kfac(rates, spec.shape())?.step(&mut net, &data)?;

    let (outputs, k, inputs) = spec.shape();
    let solved = |net: &TwoLayerLinear, layer: std::ops::Range<usize>| -> Result<Array2<f64>> {
        let all = derivatives(net)?;
        // ∇L̂ = ⟨derivative, F G Σ̂ − Ĉ⟩.
        let residual = net.predictor()?.dot(&moments.xx()) - moments.yx();
        let mut direction = Array2::from_shape_fn((layer.len(), 1), |(i, _)| {
            (&all[layer.start + i] * &residual).sum()
        });
        let block = gauss_newton(&all[layer], moments.xx());
        Cholesky::new(block.view(), 0.0)?.solve_left(&mut direction.view_mut())?;
        Ok(direction)
    };
    let mut predicted = start.clone();
    let split = k * inputs;
    let direction = solved(&predicted, 0..split)?;
    predicted
        .representation_mut()
        .iter_mut()
        .zip(&direction)
        .for_each(|(weight, change)| *weight -= eta * change);
    let direction = solved(&predicted, split..split + outputs * k)?;
    predicted
        .head_mut()
        .iter_mut()
        .zip(&direction)
        .for_each(|(weight, change)| *weight -= eta * change);

    let representation =
        distance(net.representation(), predicted.representation()) / norm(start.representation());
    let head = distance(net.head(), predicted.head()) / (norm(start.head()) + norm(net.head()));
    // Two computations, and the head's inherits the error of the representation before it.
    let first = rounding::representation_step(&start, moments, 0.0)?;
    let second = rounding::head_step(&net, moments)?;
    let inherited = second / rounding::chain(outputs + k + inputs);
    Ok(Comparison {
        deviation: larger(representation, head),
        tolerance: 2.0 * (first * (1.0 + inherited) + second),
    })
}
