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
use crate::theorems::problems::{Problem, ProblemSpec, decades, distance, norm};
use crate::theorems::rounding::{self, HeadStep, RepresentationStep};
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
                    "rounding: ε · dimension · (‖F‖² + ‖G‖²) tr Σ̂ over the matrix",
                ),
                step.part(
                    "both layers after one step",
                    "block-diagonal Gauss-Newton, solved densely",
                    "rounding: as L1's and L2's, and the head's inherited from G₊",
                ),
            ],
        })
    }
}

/// A noisy problem with few parameters; k = d_X = d_Y in one case of four, where nothing but the
/// numbers tells input factors from output factors. κ(Σ) goes up to 10⁶ where n ≥ 4 d_X, to 10³
/// elsewhere.
#[must_use]
pub fn small_problem(rng: &mut dyn RngCore) -> ProblemSpec {
    let rank = rng.random_range(1..=4);
    let square = rng.random_range(0..4) == 0;
    let inputs = if square { rank } else { rank + rng.random_range(0..=3) };
    let samples = inputs + rng.random_range(1..=30);
    ProblemSpec {
        outputs: if square { rank } else { rank + rng.random_range(0..=2) },
        rank,
        inputs,
        samples,
        condition: 10_f64.powf(rng.random_range(0.0..=decades(samples, inputs))),
        head_condition: 10_f64.powf(rng.random_range(0.0..=1.0)),
        start_condition: 10_f64.powf(rng.random_range(0.0..=1.0)),
        noise: 0.3,
        seed: rng.random(),
    }
}

/// The derivative of the predictor `F G` by each parameter, G's first, row-major, d_Y × d_X each.
/// The predictor is linear in each layer: its derivative by a weight is its value where that layer
/// holds 1 at the weight and 0 elsewhere, without any rounding.
fn derivatives(net: &TwoLayerLinear) -> Result<Vec<Array2<f64>>> {
    let (outputs, k, inputs) = net.shape();
    let mut all = Vec::with_capacity(k * inputs + outputs * k);
    let mut unit = net.clone();
    unit.representation_mut().fill(0.0);
    for index in ndarray::indices((k, inputs)) {
        unit.representation_mut()[index] = 1.0;
        all.push(unit.predictor()?);
        unit.representation_mut()[index] = 0.0;
    }
    unit.representation_mut().assign(&net.representation());
    unit.head_mut().fill(0.0);
    for index in ndarray::indices((outputs, k)) {
        unit.head_mut()[index] = 1.0;
        all.push(unit.predictor()?);
        unit.head_mut()[index] = 0.0;
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
    // Products of up to three matrices: ‖F‖² tr Σ̂ for G's block, √d_Y ‖G‖² tr Σ̂ for F's,
    // ‖F‖ ‖G‖ tr Σ̂ for what is between them; each difference has two of them.
    let layers = norm(net.head()) + (outputs as f64).sqrt() * norm(net.representation());
    let sizes = layers * layers * xx.diag().sum();
    let whole = norm(whole.view());
    Ok(Comparison {
        deviation: differences.into_iter().fold(0.0, larger) / whole,
        tolerance: 2.0 * sizes / whole * rounding::chain(outputs + k + inputs),
    })
}

/// Both layers after a real KFAC step without damping against dense solves with the blocks, the
/// head's at the representation's new value: of the two layers, relative to `‖G‖` and to
/// `‖F‖ + ‖F_ls‖`, the one closer to its tolerance.
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
    let head_rounding = HeadStep::new(&predicted, moments, 0)?;
    let direction = solved(&predicted, split..split + outputs * k)?;
    predicted
        .head_mut()
        .iter_mut()
        .zip(&direction)
        .for_each(|(weight, change)| *weight -= eta * change);

    let rounding = RepresentationStep::new(&start, moments, 0.0)?;
    let size = norm(start.representation());
    let representation = Comparison {
        deviation: distance(net.representation(), predicted.representation()) / size,
        tolerance: rounding.error() + rounding.dense_error(),
    };
    // G₊ is off relative to G, however much smaller than G the step has made it.
    let head = Comparison {
        deviation: distance(net.head(), predicted.head()) / head_rounding.size(),
        tolerance: head_rounding.error()
            + head_rounding.dense_error()
            + head_rounding.inherited(representation.tolerance * size),
    };
    Ok(representation.closer(head))
}
