//! KFAC does not see a change of the inputs' coordinates.

use layerwise_data::{Moments, haar};
use layerwise_linalg::symmetrize;
use layerwise_models::TwoLayerLinear;
use layerwise_theory::representation_on_changed_inputs;
use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngCore};

use crate::Result;
use crate::claim::Whose;
use crate::linear::{Algorithm, LinearMethod, Needs, StepData};
use crate::theorems::comparison::{Comparison, larger, over_cases};
use crate::theorems::problems::{
    Problem, ProblemSpec, distance, extreme_singular_values, norm, with_condition,
};
use crate::theorems::rounding::{self, HeadStep, RepresentationStep};
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
        "Invariance: on inputs A x, from G A⁻¹, KFAC without damping makes the same predictions at every step for any invertible A; SGD and Shampoo do for orthogonal A alone, Adam not even for a rotation, but for signed permutations."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        // Some 7 % of what is drawn cannot decide: with 150 cases the chance of more than 20 % is
        // below 10⁻⁶.
        let cases = context.scale.choose(150, 400);
        let invariant = over_cases(context, "L9", cases, |rng| {
            let (spec, condition) =
                with_change(ProblemSpec::random(rng), rng.random_range(0.0..=1.0));
            let change = change_of_inputs(spec.inputs, condition, rng)?;
            compare(&spec, change.view(), rng.random_range(0.1..=0.9), context.steps)
        })?;
        let mut parts = vec![invariant.part(
            format!(
                "predictions over {STEPS} steps of KFAC on A x and on x; κ(A)² κ(Σ) to 10⁶ where \
                 n ≥ 4 d_X, to 10³ below, to 10 where n = d_X + 1"
            ),
            "equal",
            "rounding: as L1's and L2's, carried through the steps by their derivatives",
        )];
        for control in CONTROLS {
            parts.push(control.part(context)?);
        }
        Ok(Outcome { parts })
    }
}

/// The problem with noise, and κ(A): they share the problem's κ(Σ), so that κ(A)² κ(Σ) is what κ(Σ)
/// was, but for its cube root where n = d_X + 1.
#[must_use]
pub fn with_change(spec: ProblemSpec, share: f64) -> (ProblemSpec, f64) {
    let decades = if spec.samples == spec.inputs + 1 { 1.0 / 3.0 } else { 1.0 };
    let both = spec.condition.powf(decades);
    let condition = both.powf(1.0 - share);
    (ProblemSpec { condition, noise: 0.1, ..spec }, both.powf(0.5 * share))
}

/// An invertible, dense, non-orthogonal A with the given condition number.
///
/// # Errors
/// Where the condition number is below 1.
pub fn change_of_inputs(d: usize, condition: f64, rng: &mut dyn RngCore) -> Result<Array2<f64>> {
    Ok(with_condition(d, d, condition, rng)? * condition.sqrt())
}

/// The moments of (A x, y).
fn moments_of_changed(moments: &Moments, a: ArrayView2<'_, f64>) -> Result<Moments> {
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

/// A run on x, or on `A x`.
struct Run {
    net: TwoLayerLinear,
    algorithm: Box<dyn Algorithm>,
}

/// The two networks before and after a step, and their batches: on x, then on `A x`.
struct Step<'a> {
    before: [&'a TwoLayerLinear; 2],
    after: [&'a TwoLayerLinear; 2],
    data: [&'a StepData; 2],
    /// Difference of the two predictors on x after the step, relative to the predictor.
    difference: f64,
}

/// How far rounding can have brought the weights of a run from their exact values.
#[derive(Clone, Copy, Default)]
struct Errors {
    representation: f64,
    head: f64,
}

impl Errors {
    /// After a KFAC step at rate `eta` on both layers, on moments that are off by `moments` times ε.
    fn step(
        &mut self,
        before: &TwoLayerLinear,
        after: &TwoLayerLinear,
        data: &Moments,
        eta: f64,
        moments: f64,
    ) -> Result<()> {
        let step = RepresentationStep::new(before, data, 0.0)?;
        // G₊ = (1 − η) G + η F⁺Ŵ.
        self.representation = (1.0 - eta) * self.representation
            + eta * step.inherited(self.head)
            + moments * step.error() * norm(before.representation());
        // F₊ = (1 − η) F + η F_ls(G₊).
        let between =
            TwoLayerLinear::new(before.head().to_owned(), after.representation().to_owned())?;
        let step = HeadStep::new(&between, data, 0)?;
        self.head = (1.0 - eta) * self.head
            + step.size() * (eta * step.inherited(self.representation) + moments * step.error());
        Ok(())
    }

    /// Of the predictor.
    fn predictor(&self, net: &TwoLayerLinear) -> f64 {
        self.representation * norm(net.head()) + self.head * norm(net.representation())
    }
}

/// The difference between the predictions of real KFAC steps on x and on `A x`, fresh batches at
/// each, relative to the predictions; after the step that is closest to its tolerance.
///
/// The tolerance is the rounding of both runs, through derivatives of the exact steps, of first order.
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
    let (size, (largest, least)) = (norm(a), extreme_singular_values(a)?);
    let chain = rounding::chain(spec.rank + 2 * spec.inputs);
    let mut errors = [Errors::default(); 2];
    let mut closest = Comparison { deviation: 0.0, tolerance: 0.0 };
    let mut started = false;
    run(spec, a, new, steps, |step| {
        let [plain, other] = step.data.map(StepData::moments);
        if !started {
            // G A⁻¹ by a singular value decomposition of A.
            let g = norm(step.before[0].representation());
            errors[1].representation =
                chain * g * size / (least * least) * (largest / size).max(1.0);
            started = true;
        }
        // A Σ̂ Aᵀ and Ĉ Aᵀ are off by ε times the sizes of their factors.
        let moved = (size * size * plain.xx().diag().sum() / other.xx().diag().sum())
            .max(size * norm(plain.yx()) / norm(other.yx()));
        errors[0].step(step.before[0], step.after[0], plain, eta, 1.0)?;
        errors[1].step(step.before[1], step.after[1], other, eta, moved)?;
        let [on_x, on_ax] = step.after;
        let product = chain * norm(on_ax.head()) * norm(on_ax.representation());
        let off = errors[0].predictor(on_x) + size * (errors[1].predictor(on_ax) + product);
        let tolerance = off / norm(on_x.predictor()?.view());
        closest = closest.closer(Comparison { deviation: step.difference, tolerance });
        Ok(())
    })?;
    Ok(closest)
}

/// Runs both for [`STEPS`] steps; `after` sees each.
fn run(
    spec: &ProblemSpec,
    a: ArrayView2<'_, f64>,
    new: impl Fn() -> Result<Box<dyn Algorithm>>,
    steps: &dyn Steps,
    mut after: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    let Problem { task, net, mut data } = Problem::draw(spec, Needs::default(), steps)?;
    let moved = representation_on_changed_inputs(net.representation(), a)?;
    let moved = TwoLayerLinear::new(net.head().to_owned(), moved)?;
    let mut plain = Run { net, algorithm: new()? };
    let mut changed = Run { net: moved, algorithm: new()? };
    let mut batches = spec.streams().stream("problem", "batches", 1);
    for _ in 0..STEPS {
        let other =
            StepData::from_moments(moments_of_changed(data.moments(), a)?, Needs::default())?;
        let before = (plain.net.clone(), changed.net.clone());
        plain.algorithm.step(&mut plain.net, &data)?;
        changed.algorithm.step(&mut changed.net, &other)?;
        let predictor = plain.net.predictor()?;
        let on_x = changed.net.predictor()?.dot(&a);
        after(Step {
            before: [&before.0, &before.1],
            after: [&plain.net, &changed.net],
            data: [&data, &other],
            difference: distance(on_x.view(), predictor.view()) / norm(predictor.view()),
        })?;
        steps.draw(&task, &mut batches, &mut data)?;
    }
    Ok(())
}

/// A change of inputs that a method sees, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An orthogonal matrix that permutes inputs and changes signs.
    SignedPermutation,
    /// An orthogonal matrix, dense.
    Rotation,
    /// A dense matrix of condition number 3.
    Other,
}

impl Change {
    fn draw(self, d: usize, rng: &mut dyn RngCore) -> Result<Array2<f64>> {
        match self {
            Self::Rotation => Ok(haar(d, d, rng)?),
            Self::Other => change_of_inputs(d, 3.0, rng),
            // Input i becomes input i + 1, the last one the first; every other sign changes.
            Self::SignedPermutation => Ok(Array2::from_shape_fn((d, d), |(i, j)| {
                let sign = if j % 2 == 0 { -1.0 } else { 1.0 };
                if i == (j + 1) % d { sign } else { 0.0 }
            })),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SignedPermutation => "a signed permutation A",
            Self::Rotation => "a rotation A",
            Self::Other => "a non-orthogonal A",
        }
    }
}

/// A method with a change of inputs, and whether it sees it.
struct Control {
    method: &'static str,
    change: Change,
    sees: bool,
}

const CONTROLS: [Control; 6] = [
    Control { method: "SGD", change: Change::Rotation, sees: false },
    Control { method: "SGD", change: Change::Other, sees: true },
    Control { method: "Shampoo", change: Change::Rotation, sees: false },
    Control { method: "Shampoo", change: Change::Other, sees: true },
    Control { method: "Adam", change: Change::SignedPermutation, sees: false },
    Control { method: "Adam", change: Change::Rotation, sees: true },
];

/// A difference that rounding cannot make, and one that only rounding makes: in these
/// well-conditioned runs sums of 6 to 60 products are off by some 10⁻¹⁵, which Shampoo's roots of
/// factors with a ridge of 10⁻⁸ may magnify by 10⁴, and Adam's division by an entry of the gradient
/// by as much as that is small beside its row.
const CLEARLY_DIFFERENT: f64 = 1e-3;
/// See [`CLEARLY_DIFFERENT`].
const ROUNDING_ALONE: f64 = 1e-10;

/// The largest relative difference between the predictions of a figure's method on x and on `A x`, on a fixed
/// well-conditioned problem.
///
/// # Errors
/// Faults of the method.
pub fn difference(method: &str, change: Change, context: &Context<'_>) -> Result<f64> {
    let rng = &mut context.streams.stream("L9", "control", 0);
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
    let a = change.draw(spec.inputs, rng)?;
    let method = LinearMethod::of_figures(method, 0.05, None)?;
    let new = || context.steps.method(&method, spec.shape(), spec.samples);
    let mut largest = 0.0_f64;
    run(&spec, a.view(), new, context.steps, |step| {
        largest = larger(largest, step.difference);
        Ok(())
    })?;
    Ok(largest)
}

impl Control {
    fn part(&self, context: &Context<'_>) -> Result<Part> {
        let found = difference(self.method, self.change, context)?;
        let (predicted, deviation, tolerance, tolerance_from) = if self.sees {
            // A run that diverges shows nothing.
            let share = if found.is_finite() { CLEARLY_DIFFERENT / found } else { f64::NAN };
            let predicted = format!("differ by more than {CLEARLY_DIFFERENT:.0e}");
            (predicted, share, 1.0, "a difference of 1e-3 is beyond rounding")
        } else {
            ("equal".into(), found, ROUNDING_ALONE, "an allowance for rounding, not derived")
        };
        Ok(Part {
            what: format!("predictions of {} with {}", self.method, self.change.name()),
            predicted,
            measured: format!("differ by {found:.1e}"),
            deviation,
            tolerance,
            tolerance_from,
            cases: 1,
            discarded: 0,
        })
    }
}
