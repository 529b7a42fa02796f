//! KFAC does not see a change of the inputs' coordinates.

use layerwise_data::{Moments, haar};
use layerwise_linalg::symmetrize;
use layerwise_models::TwoLayerLinear;
use layerwise_theory::representation_on_changed_inputs;
use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngCore};

use crate::Result;
use crate::claim::Whose;
use crate::linear::{Algorithm, Cell, LinearMethod, Needs, StepData};
use crate::theorems::comparison::{Comparison, larger, over_cases};
use crate::theorems::problems::{
    Problem, ProblemSpec, condition_number, distance, norm, with_condition,
};
use crate::theorems::rounding;
use crate::theorems::{Context, KfacRates, Outcome, Part, Statement, Steps};

/// The statement.
pub struct L9;

/// Steps of each run.
const STEPS: usize = 4;

impl Statement for L9 {
    fn id(&self) -> &'static str {
        "L9"
    }

    fn text(&self) -> &'static str {
        "Invariance: on inputs A x, from G A⁻¹, KFAC without damping makes the same predictions at every step for any invertible A; SGD and Shampoo do not for a non-orthogonal A, Adam not even for a rotation."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(40, 200);
        let invariant = over_cases(context, "L9", cases, |rng| {
            let spec = well_posed(ProblemSpec::random(rng));
            let change =
                change_of_inputs(spec.inputs, 10_f64.powf(rng.random_range(0.0..=1.0)), rng)?;
            compare(&spec, change.view(), rng.random_range(0.1..=0.9), context.steps)
        })?;
        let mut parts = vec![invariant.part(
            format!("predictions over {STEPS} steps of KFAC on A x and on x"),
            "equal",
            "rounding: ε · dimension · κ(A) · condition numbers, summed over the steps",
        )];
        for counterexample in COUNTEREXAMPLES {
            parts.push(counterexample.part(context)?);
        }
        Ok(Outcome { parts })
    }
}

/// The problem with noise, and with room for a change of inputs, whose condition number adds to
/// Σ's.
#[must_use]
pub fn well_posed(spec: ProblemSpec) -> ProblemSpec {
    ProblemSpec {
        samples: spec.samples.max(2 * spec.inputs),
        condition: spec.condition.min(1e2),
        head_condition: spec.head_condition.min(3.0),
        start_condition: spec.start_condition.min(3.0),
        noise: 0.1,
        ..spec
    }
}

/// An invertible, dense, non-orthogonal A with the given condition number.
///
/// # Errors
/// Where the condition number is below 1.
pub fn change_of_inputs(d: usize, condition: f64, rng: &mut dyn RngCore) -> Result<Array2<f64>> {
    Ok(with_condition(d, d, condition, rng)? * condition.sqrt())
}

/// The moments of (A x, y).
fn changed(moments: &Moments, a: ArrayView2<'_, f64>) -> Result<Moments> {
    let mut xx = a.dot(&moments.xx()).dot(&a.t());
    symmetrize(&mut xx.view_mut());
    Ok(Moments::from_parts(
        moments.sample_size(),
        xx,
        moments.yx().dot(&a.t()),
        moments.yy_trace(),
        a.dot(&moments.x_mean()),
        moments.y_mean().to_owned(),
    )?)
}

/// Two runs on the same batches: on x from G, and on `A x` from `G A⁻¹`.
struct Runs {
    plain: (TwoLayerLinear, Box<dyn Algorithm>),
    changed: (TwoLayerLinear, Box<dyn Algorithm>),
}

impl Runs {
    /// Both runs take a step; returns the difference of their predictors on x, relative to the
    /// predictor's size.
    fn step(&mut self, data: &StepData, other: &StepData, a: ArrayView2<'_, f64>) -> Result<f64> {
        let (net, algorithm) = &mut self.plain;
        algorithm.step(net, data)?;
        let (changed, algorithm) = &mut self.changed;
        algorithm.step(changed, other)?;
        let predictor = net.predictor()?;
        let on_x = changed.predictor()?.dot(&a);
        Ok(distance(on_x.view(), predictor.view()) / norm(predictor.view()))
    }
}

/// The largest difference between the predictions of real KFAC steps on x and on `A x`, fresh
/// batches at each, relative to the predictions.
///
/// # Errors
/// Faults of the problem or of a step.
pub fn compare(
    spec: &ProblemSpec,
    a: ArrayView2<'_, f64>,
    eta: f64,
    steps: &dyn Steps,
) -> Result<Comparison> {
    let rates = KfacRates { representation: eta, head: eta, damping: 0.0 };
    let new = || steps.kfac(rates, spec.shape());
    let mut tolerance = 0.0;
    let deviation = run(spec, a, new, steps, |runs, data, other| {
        for ((net, _), data) in [(&runs.plain, data), (&runs.changed, other)] {
            tolerance += rounding::representation_step(net, data.moments(), 0.0)?
                * condition_number(net.head())?
                + rounding::HeadStep::new(net, data.moments(), 0)?.error();
        }
        Ok(())
    })?;
    Ok(Comparison { deviation, tolerance: tolerance * condition_number(a)? })
}

/// Runs both for [`STEPS`] steps; `before` sees each step's networks and batches.
fn run(
    spec: &ProblemSpec,
    a: ArrayView2<'_, f64>,
    new: impl Fn() -> Result<Box<dyn Algorithm>>,
    steps: &dyn Steps,
    mut before: impl FnMut(&Runs, &StepData, &StepData) -> Result<()>,
) -> Result<f64> {
    let Problem { task, net, mut data } = Problem::draw(spec, Needs::default(), steps)?;
    let moved = representation_on_changed_inputs(net.representation(), a)?;
    let changed_net = TwoLayerLinear::new(net.head().to_owned(), moved)?;
    let mut runs = Runs { plain: (net, new()?), changed: (changed_net, new()?) };
    let mut batches = spec.streams().stream("problem", "batches", 1);
    let mut largest = 0.0_f64;
    for _ in 0..STEPS {
        let other = StepData::from_moments(changed(data.moments(), a)?, Needs::default())?;
        before(&runs, &data, &other)?;
        largest = larger(largest, runs.step(&data, &other, a)?);
        steps.draw(&task, &mut batches, &mut data)?;
    }
    Ok(largest)
}

/// A method that sees the change of inputs.
struct Counterexample {
    method: LinearMethod,
    rate: f64,
    /// Whether A is a rotation.
    rotation: bool,
}

const COUNTEREXAMPLES: [Counterexample; 3] = [
    Counterexample { method: LinearMethod::Sgd, rate: 0.05, rotation: false },
    Counterexample { method: LinearMethod::Shampoo, rate: 0.05, rotation: false },
    Counterexample { method: LinearMethod::Adam, rate: 0.05, rotation: true },
];

/// A difference that rounding cannot make: these well-conditioned runs round to 10⁻¹² or so.
const CLEARLY_DIFFERENT: f64 = 1e-3;

/// The largest relative difference between the predictions of a method on x and on `A x`, A a
/// rotation or of condition number 3, on a fixed well-conditioned problem.
///
/// # Errors
/// Faults of the method.
pub fn difference(
    method: LinearMethod,
    rate: f64,
    rotation: bool,
    context: &Context<'_>,
) -> Result<f64> {
    let rng = &mut context.streams.stream("L9", "counterexample", 0);
    let spec = ProblemSpec {
        outputs: 4,
        rank: 2,
        inputs: 6,
        samples: 60,
        condition: 3.0,
        head_condition: 2.0,
        start_condition: 2.0,
        noise: 0.0,
        seed: rng.random(),
    };
    let a = if rotation { haar(6, 6, rng)? } else { change_of_inputs(6, 3.0, rng)? };
    let cell = Cell { method, rate, damping: None };
    let new = || context.steps.method(cell, spec.shape(), spec.samples);
    run(&spec, a.view(), new, context.steps, |_, _, _| Ok(()))
}

impl Counterexample {
    fn part(&self, context: &Context<'_>) -> Result<Part> {
        let found = difference(self.method, self.rate, self.rotation, context)?;
        let a = if self.rotation { "a rotation A" } else { "a non-orthogonal A" };
        Ok(Part {
            what: format!("predictions of {} with {a}", self.method.name()),
            predicted: format!("differ by more than {CLEARLY_DIFFERENT:.0e}"),
            measured: format!("differ by {found:.2}"),
            deviation: CLEARLY_DIFFERENT / found,
            tolerance: 1.0,
            tolerance_from: "a difference of 1e-3 is beyond rounding",
            cases: 1,
            discarded: 0,
        })
    }
}
