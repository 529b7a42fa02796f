//! KFAC is free of condition numbers from afar too, and settles at a known level under noise.

use layerwise_data::{LinearTask, haar};
use layerwise_linalg::singular_values;
use layerwise_metrics::subspace_distance;
use layerwise_models::{LeastSquaresHead, LinearPass, TwoLayerLinear};
use layerwise_theory::{AmgdMap, kfac_noise_floor, kfac_steps};
use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngCore};

use crate::Result;
use crate::claim::Whose;
use crate::linear::{Algorithm, Needs, StepData};
use crate::statistics::{mean_and_error, median};
use crate::theorems::problems::{ProblemSpec, conditioned_task, norm};
use crate::theorems::{Context, KfacRates, Outcome, Part, Scale, Statement, Steps};

/// The statement.
pub struct L4;

impl Statement for L4 {
    fn id(&self) -> &'static str {
        "L4"
    }

    fn text(&self) -> &'static str {
        "(a) From afar too, noise-free and at η_G = 0.3, KFAC's steps from dist 0.5 to 10⁻⁶ hardly depend on κ(Σ) and κ(F⋆), while AMGD's grow in proportion to κ. (b) With noise and η_F = 1, E‖F⋆ Δ‖_F² settles at σ² k tr(P⊥ Σ⁻¹)/(n − d_X − 1) η_G/(2 − η_G)."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let mut parts = vec![kfac_steps_part(context)?, amgd_steps_part(context)?];
        parts.extend(noise_floor_parts(context)?);
        Ok(Outcome { parts })
    }
}

/// Where runs start and where they are done.
pub const FROM: f64 = 0.5;
/// See [`FROM`].
pub const TO: f64 = 1e-6;
/// Steps after which a run of KFAC, predicted to need 37, is given up. At κ(Σ) = 10⁶ and κ(F⋆) = 100
/// rounding, ε κ(F⋆)² κ(Σ̂) at worst, may keep a rare run above 10⁻⁶.
pub const MOST_KFAC_STEPS: usize = 100;
/// η_G of KFAC.
pub const RATE: f64 = 0.3;

/// A network at distance [`FROM`] of the task's representation, all principal angles equal, with
/// the head of least squares on the population.
///
/// # Errors
/// Where d_X < 2 k.
pub fn distant_start<R: Rng + ?Sized>(task: &LinearTask, rng: &mut R) -> Result<TwoLayerLinear> {
    let (k, d) = task.representation().dim();
    // Directions outside G⋆'s rows: those of random ones that are orthogonal to them.
    let reference = task.representation();
    let random = haar(d, k, rng)?.reversed_axes();
    let outside = &random - &random.dot(&reference.t()).dot(&reference);
    let outside = layerwise_linalg::orthonormal_rows(outside.view())?;
    let cosine = (1.0 - FROM * FROM).sqrt();
    let inside = haar(k, k, rng)?.dot(&reference);
    let representation = inside * cosine + outside * FROM;
    let head = Array2::zeros((task.map().nrows(), k));
    let mut net = TwoLayerLinear::new(head, representation)?;
    let moments = task.population_moments(1)?;
    let mut pass = LinearPass::with_shape(net.shape());
    pass.head(&net, &moments)?;
    LeastSquaresHead::with_shape(net.shape().0, k).fit(&mut net, &pass)?;
    Ok(net)
}

/// Steps of `algorithm` until the distance to `reference` is at most [`TO`]; `next` provides the
/// batch of each step. None where `limit` steps are not enough.
///
/// # Errors
/// Faults of a step.
pub fn steps_to_target(
    algorithm: &mut dyn Algorithm,
    net: &mut TwoLayerLinear,
    reference: ArrayView2<'_, f64>,
    limit: usize,
    data: &mut StepData,
    mut next: impl FnMut(&mut StepData) -> Result<()>,
) -> Result<Option<usize>> {
    for step in 1..=limit {
        next(data)?;
        algorithm.step(net, data)?;
        if subspace_distance(net.representation(), reference)? <= TO {
            return Ok(Some(step));
        }
    }
    Ok(None)
}

/// Real KFAC steps on fresh noise-free batches from dist 0.5 to 10⁻⁶ at η_G = 0.3, η_F = 1; None
/// where [`MOST_KFAC_STEPS`] are not enough.
///
/// # Errors
/// Faults of the problem or of a step.
pub fn kfac_steps_needed(
    spec: &ProblemSpec,
    trial: u64,
    steps: &dyn Steps,
) -> Result<Option<usize>> {
    let streams = spec.streams();
    let task = spec.task_spec().draw(&mut streams.stream("L4a", "task", trial))?;
    let mut net = distant_start(&task, &mut streams.stream("L4a", "start", trial))?;
    let rates = KfacRates { representation: RATE, head: 1.0, damping: 0.0 };
    let mut algorithm = steps.kfac(rates, spec.shape())?;
    let mut data = StepData::new(spec.inputs, spec.outputs, spec.samples, Needs::default());
    let mut batches = streams.stream("L4a", "batches", trial);
    let reference = task.representation();
    steps_to_target(algorithm.as_mut(), &mut net, reference, MOST_KFAC_STEPS, &mut data, |data| {
        steps.draw(&task, &mut batches, data)
    })
}

/// Real AMGD steps on the population from dist 0.5 to 10⁻⁶ at the rate that is best near `G⋆`.
///
/// # Errors
/// Faults of the task or of a step.
pub fn amgd_steps_needed(
    task: &LinearTask,
    start: &TwoLayerLinear,
    steps: &dyn Steps,
) -> Result<Option<usize>> {
    let map = AmgdMap::new(task.head(), task.representation(), task.covariance().matrix())?;
    let limit = 3.0 * map.steps_at_best_rate(FROM, TO)?;
    let mut algorithm = steps.amgd(map.best_rate(), false, start.shape())?;
    let mut data = StepData::from_moments(task.population_moments(1)?, Needs::default())?;
    let mut net = start.clone();
    let reference = task.representation();
    steps_to_target(algorithm.as_mut(), &mut net, reference, limit as usize, &mut data, |_| Ok(()))
}

fn kfac_steps_part(context: &Context<'_>) -> Result<Part> {
    let trials = context.scale.choose(5, 15);
    let mut medians = Vec::new();
    let mut single = Vec::new();
    for condition in (0..=6).map(|exponent| 10_f64.powi(exponent)) {
        for head_condition in [1.0, 10.0, 100.0] {
            context.monitor.check()?;
            let spec = ProblemSpec {
                outputs: 6,
                rank: 4,
                inputs: 20,
                samples: 80,
                condition,
                head_condition,
                start_condition: 1.0,
                noise: 0.0,
                seed: context.streams.seed(),
            };
            let counts = (0..trials)
                .map(|trial| {
                    let count = kfac_steps_needed(&spec, trial, context.steps)?;
                    Ok(count.map_or(f64::INFINITY, |count| count as f64))
                })
                .collect::<Result<Vec<f64>>>()?;
            medians.push(median(&counts));
            single.extend(counts);
        }
    }
    let range = |values: &[f64]| {
        values.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), &v| (a.min(v), b.max(v)))
    };
    let finished: Vec<f64> = single.iter().copied().filter(|count| count.is_finite()).collect();
    let ((least, most), (fewest, longest)) = (range(&medians), range(&finished));
    let given_up = match single.len() - finished.len() {
        0 => String::new(),
        count => format!(", {count} given up after {MOST_KFAC_STEPS}"),
    };
    let (mean, _) = mean_and_error(&medians);
    let predicted = kfac_steps(FROM, TO, RATE)?;
    let missed = medians.iter().map(|m| (m / predicted - 1.0).abs()).fold(0.0, f64::max);
    Ok(Part {
        what: "KFAC's steps, κ(Σ) from 1 to 10⁶, κ(F⋆) from 1 to 100: medians over trials".into(),
        predicted: format!("{predicted:.1} in every case"),
        measured: format!("{least} to {most} (single runs {fewest} to {longest}{given_up})"),
        deviation: missed.max((most - least) / mean),
        tolerance: 0.1,
        tolerance_from: "10 %, an allowance that is not derived: the range of the medians, and how far one is from the prediction",
        cases: finished.len() as u64,
        discarded: (single.len() - finished.len()) as u64,
    })
}

/// The slope of ln(steps) against ln κ, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
    let xy: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let xx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    xy / xx
}

/// By how much the logarithm of AMGD's c may fall from the least κ to the largest, as a mean over
/// [`AMGD_STARTS`] starts; see [`amgd_steps_part`].
const AMGD_SHIFT: f64 = 2.1;
/// Starts of AMGD.
const AMGD_STARTS: u64 = 30;

/// At the best rate AMGD needs `ln(c/10⁻⁶)/ln((κ+1)/(κ−1))` steps, `κ/2 · ln(c/10⁻⁶)` for κ ≥ 10 to
/// 0.3 %, where c is what the start has in the directions that are slowest. It depends on κ: where κ
/// is small all directions are slow, c ≤ 0.5; where it is large two of the k (d − k) = 12 are, those
/// with the least and with the largest eigenvalue. Their share of a random start is w, w² ~
/// Beta(1, 5): −ln w is half of Σ E_i/i over i ≤ 5, E_i standard exponential, 1.14 in the mean, and
/// by Chernoff's bound its mean over 30 starts is above 2.1 with a probability below 10⁻⁸. So the
/// slope is off by at most 2.1 over the product of `ln(c/10⁻⁶)` and `ln(κ_max/κ_min)`.
fn amgd_steps_part(context: &Context<'_>) -> Result<Part> {
    let exponents: &[f64] = context.scale.choose(&[1.0, 1.5, 2.0, 2.5], &[1.0, 1.5, 2.0, 2.5, 3.0]);
    let mut slopes = Vec::new();
    let mut per_condition = Vec::new();
    for start in 0..AMGD_STARTS {
        context.monitor.check()?;
        let mut points = Vec::new();
        for exponent in exponents {
            // The same bases and the same start at every κ.
            let rng = &mut context.streams.stream("L4a", "AMGD", start);
            let condition = 10_f64.powf(*exponent);
            let task = conditioned_task((4, 2, 8), condition / 4.0, 2.0, rng)?;
            let start = distant_start(&task, rng)?;
            if let Some(count) = amgd_steps_needed(&task, &start, context.steps)? {
                points.push((condition.ln(), (count as f64).ln()));
                per_condition.push(count as f64 / condition);
            }
        }
        // A run that is never done leaves no slope.
        slopes.push(if points.len() == exponents.len() { slope(&points) } else { f64::NAN });
    }
    let (mean, error) = mean_and_error(&slopes);
    let (multiple, _) = mean_and_error(&per_condition);
    let decades = exponents[exponents.len() - 1] - exponents[0];
    let span = decades * std::f64::consts::LN_10;
    Ok(Part {
        what: format!("AMGD's steps against κ, slope on log-log, κ from 10 over {decades} decades"),
        predicted: "1".into(),
        measured: format!("{mean:.3} ± {error:.3}; about {multiple:.1} κ steps"),
        deviation: (mean - 1.0).abs(),
        tolerance: AMGD_SHIFT / (((FROM / TO).ln() - AMGD_SHIFT) * span),
        tolerance_from: "steps = κ/2 ln(c/1e-6), ln c falling by at most 2.1 in the mean (false alarm \
                         below 1e-8)",
        cases: slopes.len() as u64,
        discarded: 0,
    })
}

/// One setting of the noise floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FloorSetting {
    /// σ_ε.
    pub noise: f64,
    /// η_G.
    pub eta: f64,
    /// n.
    pub samples: usize,
    /// κ(Σ).
    pub condition: f64,
}

/// A base setting, each of its four numbers varied, and each varied the other way; a quick check
/// takes the first [`QUICK_FLOORS`].
const FLOOR_SETTINGS: [FloorSetting; 9] = {
    const BASE: FloorSetting = FloorSetting { noise: 0.01, eta: 0.3, samples: 40, condition: 10.0 };
    [
        BASE,
        FloorSetting { noise: 0.03, ..BASE },
        FloorSetting { eta: 1.0, ..BASE },
        FloorSetting { samples: 20, ..BASE },
        FloorSetting { condition: 100.0, ..BASE },
        FloorSetting { noise: 0.001, ..BASE },
        FloorSetting { eta: 0.1, ..BASE },
        FloorSetting { samples: 200, ..BASE },
        FloorSetting { condition: 1.0, ..BASE },
    ]
};
const QUICK_FLOORS: usize = 5;

/// Where KFAC's wrong part settled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// The closed form.
    pub predicted: f64,
    /// The mean over steps.
    pub measured: f64,
    /// Its standard error, from means over blocks of steps.
    pub error: f64,
    /// The largest correction of the next order in the noise, relative.
    pub next_order: f64,
}

/// Blocks of steps whose means are compared: with 100 of them, t is close enough to normal that a
/// deviation of 6.5 standard errors has a probability below 10⁻⁸.
pub const BLOCKS: usize = 100;
/// The tolerance, in standard errors.
const STANDARD_ERRORS: f64 = 6.5;

/// Runs real KFAC steps at η_F = 1 from `G⋆` on fresh noisy batches until the wrong part has
/// forgotten its start, then for [`BLOCKS`] blocks of `block` steps.
///
/// # Errors
/// Faults of the problem or of a step.
pub fn noise_floor(
    setting: FloorSetting,
    block: usize,
    seed: u64,
    context: &Context<'_>,
) -> Result<Floor> {
    let FloorSetting { noise, eta, samples, condition } = setting;
    let spec = ProblemSpec {
        outputs: 4,
        rank: 2,
        inputs: 8,
        samples,
        condition,
        head_condition: 2.0,
        start_condition: 1.0,
        noise,
        seed,
    };
    let steps = context.steps;
    let streams = spec.streams();
    let task = spec.task_spec().draw(&mut streams.stream("L4b", "task", 0))?;
    let reference = task.representation();
    let mut net = TwoLayerLinear::new(task.head().to_owned(), reference.to_owned())?;
    let rates = KfacRates { representation: eta, head: 1.0, damping: 0.0 };
    let mut algorithm = steps.kfac(rates, spec.shape())?;
    let mut data = StepData::new(spec.inputs, spec.outputs, samples, Needs::default());
    let mut batches = streams.stream("L4b", "batches", 0);
    let mut step = |net: &mut TwoLayerLinear| -> Result<()> {
        steps.draw(&task, &mut batches as &mut dyn RngCore, &mut data)?;
        algorithm.step(net, &data)
    };
    // (1 − η)²ⁿ < 10⁻¹⁷ after n = 20/η steps.
    for _ in 0..(20.0 / eta) as usize {
        step(&mut net)?;
    }
    let mut means = Vec::with_capacity(BLOCKS);
    for _ in 0..BLOCKS {
        context.monitor.check()?;
        let mut sum = 0.0;
        for _ in 0..block {
            step(&mut net)?;
            sum += wrong_part_in_targets(&net, &task)?;
        }
        means.push(sum / block as f64);
    }
    let predicted = kfac_noise_floor(reference, task.covariance().matrix(), samples, noise, eta)?;
    let (measured, error) = mean_and_error(&means);
    let singular = singular_values(task.head())?;
    let least = singular[singular.len() - 1];
    // Δ enters its own next step through F: a relative ‖Δ‖, squared, and as much for F's noise.
    Ok(Floor { predicted, measured, error, next_order: 10.0 * predicted / (least * least) })
}

/// `‖F⋆Δ‖_F²`, `Δ = (GG⋆ᵀ)⁻¹ G P⊥`.
fn wrong_part_in_targets(net: &TwoLayerLinear, task: &LinearTask) -> Result<f64> {
    let (g, reference) = (net.representation(), task.representation());
    let overlap = g.dot(&reference.t());
    // (GG⋆ᵀ)⁻¹G P⊥ = (GG⋆ᵀ)⁻¹G − G⋆, with the inverse from that of the k × k Gram matrix.
    let gram = overlap.t().dot(&overlap);
    let mut delta = overlap.t().dot(&(&g - &overlap.dot(&reference)));
    layerwise_linalg::Cholesky::new(gram.view(), 0.0)?.solve_left(&mut delta.view_mut())?;
    let size = norm(task.head().dot(&delta).view());
    Ok(size * size)
}

fn noise_floor_parts(context: &Context<'_>) -> Result<Vec<Part>> {
    let settings = match context.scale {
        Scale::Quick => &FLOOR_SETTINGS[..QUICK_FLOORS],
        Scale::Full => &FLOOR_SETTINGS[..],
    };
    let block = context.scale.choose(50, 400);
    let part = |&setting: &FloorSetting| {
        let floor = noise_floor(setting, block, context.streams.seed(), context)?;
        let FloorSetting { noise, eta, samples, condition } = setting;
        let relative = floor.error / floor.predicted;
        Ok(Part {
            what: format!(
                "noise floor at σ = {noise}, η_G = {eta}, n = {samples}, κ(Σ) = {condition}"
            ),
            predicted: format!("{:.3e}", floor.predicted),
            measured: format!("{:.3e} ± {:.1e}", floor.measured, floor.error),
            deviation: (floor.measured / floor.predicted - 1.0).abs(),
            tolerance: STANDARD_ERRORS * relative + floor.next_order,
            tolerance_from: "6.5 standard errors (false alarm below 1e-8) + ten times the next order in the noise, an allowance",
            cases: (BLOCKS * block) as u64,
            discarded: 0,
        })
    };
    settings.iter().map(part).collect()
}
