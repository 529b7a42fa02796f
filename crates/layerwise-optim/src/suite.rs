//! What every [`Stage`] of a chain promises, as checks that run on any of them: for the tests of a stage
//! from outside of this crate, and of this crate's own.
//!
//! ```
//! use layerwise_optim::chain::DiagonalConfig;
//! use layerwise_optim::suite;
//!
//! suite::check::<f32>(&DiagonalConfig::default().into(), (5, 7))?;
//! # Ok::<(), suite::Violation>(())
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayViewMut2};
use serde::Serialize;
use thiserror::Error;

use crate::config::chain::Chain;
use crate::config::custom::CustomStage;
use crate::config::stage::StageConfig;
use crate::error::{OptimError, Result};
use crate::signal::{Factor, Signal};
use crate::stage::{Observation, Stage, Step};
use crate::state::saved::OptimizerState;
use crate::step::optimizer::Optimizer;
use crate::step::report::StepReport;

/// A promise that a stage does not keep.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("at step {step}, {what}")]
#[non_exhaustive]
pub struct Violation {
    /// What happened.
    pub what: String,
    /// At which step, counted from 0.
    pub step: u64,
}

/// What a check found.
pub type Outcome = std::result::Result<(), Violation>;

/// Steps of a run: roots, bases and first steps that are skipped have their turn within.
const STEPS: u64 = 12;

/// Runs all checks but that of [allocations](allocates_nothing), on a weight of this shape (m × n).
///
/// # Errors
///
/// The first promise that is not kept.
pub fn check<A: Scalar>(stage: &StageConfig, shape: (usize, usize)) -> Outcome {
    is_atomic::<A>(stage, shape)?;
    resumes::<A>(stage, shape)?;
    stays_finite::<A>(stage, shape)
}

/// A step that is refused, before the stage, by it, or after it, changes no bit of weight and state, nor
/// of any later step.
///
/// # Errors
///
/// The first step where it does, or that is taken although it should be refused.
pub fn is_atomic<A: Scalar>(stage: &StageConfig, shape: (usize, usize)) -> Outcome {
    let fault = Fault::default();
    let chain = Chain::new(0.1).then(stage.clone());
    let mut undisturbed = Run::<A>::new(&chain, shape)?;
    let mut disturbed = Run::<A>::new(&chain.then(StageConfig::custom(fault.clone())), shape)?;
    for step in 0..STEPS {
        let layer = Layer::new(shape, step, 1.0);
        for bad in [A::nan(), A::infinity()] {
            disturbed.is_refused(step, &layer.with_last(bad))?;
        }
        let spoiled = Run::last(&mut disturbed.weight, A::nan());
        disturbed.is_refused(step, &layer)?;
        Run::last(&mut disturbed.weight, spoiled);
        let skipped = undisturbed.take(step, &layer)?.skipped;
        // What comes after a stage that asks to skip is not reached.
        if !skipped {
            for place in [IN_OBSERVE, IN_APPLY] {
                fault.strike(place);
                disturbed.is_refused(step, &layer)?;
            }
            fault.strike(NOWHERE);
        }
        disturbed.take(step, &layer)?;
        undisturbed.equals(step, &disturbed, "a step differs after others that were refused")?;
    }
    Ok(())
}

/// A run that is saved and loaded before each step goes on in every bit as one that never stops.
///
/// # Errors
///
/// The first step where it does not.
pub fn resumes<A: Scalar>(stage: &StageConfig, shape: (usize, usize)) -> Outcome {
    let chain = Chain::new(0.1).then(stage.clone());
    let mut run = Run::<A>::new(&chain, shape)?;
    let mut resumed = Run::<A>::new(&chain, shape)?;
    for step in 0..STEPS {
        let loaded = Run::loaded(&chain, shape, &resumed.optimizer.state());
        resumed.optimizer = loaded.map_err(|error| violation(step, error))?;
        let layer = Layer::new(shape, step, 1.0);
        run.take(step, &layer)?;
        resumed.take(step, &layer)?;
        run.equals(step, &resumed, "a run that was saved and loaded goes another way")?;
        if run.optimizer.state() != resumed.optimizer.state() {
            return Err(violation(step, "a run that was saved and loaded has another state"));
        }
    }
    Ok(())
}

/// Gradients of any size, zeros too, lead to a finite weight and a state that can be loaded, or to a
/// refusal.
///
/// # Errors
///
/// The first step that leaves something else.
pub fn stays_finite<A: Scalar>(stage: &StageConfig, shape: (usize, usize)) -> Outcome {
    let chain = Chain::new(0.1).then(stage.clone());
    let largest = A::max_value().as_f64();
    for scale in [0.0, 1e-30, 1e-15, 1e15, 1e30, largest / 8.0] {
        let mut run = Run::<A>::new(&chain, shape)?;
        for step in 0..STEPS {
            let (before, state) = (run.weight.clone(), run.optimizer.state());
            let layer = Layer::new(shape, step, scale);
            let taken = run.optimizer.step(&mut run.weight.view_mut(), &layer.signal());
            let what = match taken {
                Err(_) if run.weight != before || run.optimizer.state() != state => {
                    "that are refused change the weight or the state"
                }
                Ok(_) if !run.weight.iter().all(|x| x.is_finite()) => {
                    "leave a weight that is not finite"
                }
                Ok(_) if Run::loaded(&chain, shape, &run.optimizer.state()).is_err() => {
                    "leave a state that cannot be loaded"
                }
                _ => continue,
            };
            return Err(violation(step, format!("gradients of {scale:e} {what}")));
        }
    }
    Ok(())
}

/// Once warmed up, steps do not allocate. The count is the caller's: how often the program has allocated
/// so far, in this thread.
///
/// # Errors
///
/// The first step that allocates.
pub fn allocates_nothing<A: Scalar>(
    stage: &StageConfig,
    shape: (usize, usize),
    allocations: impl Fn() -> usize,
) -> Outcome {
    let mut run = Run::<A>::new(&Chain::new(0.1).then(stage.clone()), shape)?;
    let layers: Vec<_> = (0..2 * STEPS).map(|step| Layer::<A>::new(shape, step, 1.0)).collect();
    for (step, layer) in (0..).zip(&layers) {
        let before = allocations();
        run.take(step, layer)?;
        let made = allocations() - before;
        if step >= STEPS && made > 0 {
            return Err(violation(step, format!("it allocates {made} times")));
        }
    }
    Ok(())
}

fn violation(step: u64, what: impl ToString) -> Violation {
    Violation { what: what.to_string(), step }
}

/// What a layer reports at a step: numbers that depend on it alone.
struct Layer<A> {
    gradient: Array2<A>,
    outputs: Array2<A>,
    inputs: Array2<A>,
    curvature: Array2<A>,
}

impl<A: Scalar> Layer<A> {
    fn new((rows, cols): (usize, usize), step: u64, scale: f64) -> Self {
        // Sines of a step that no period divides: dense, and of both signs.
        let numbers = |rows: usize, cols: usize, seed: f64, scale: f64| {
            Array2::from_shape_fn((rows, cols), |(i, j)| {
                let at = seed + 37.0 * step as f64 + 1.3 * i as f64 + 0.7 * (i * j + 3 * j) as f64;
                A::from_f64(scale * (at.sin() + 0.5 * (2.7 * at).cos()))
            })
        };
        let count = 2 * (rows + cols);
        Layer {
            gradient: numbers(rows, cols, 1.0, scale),
            outputs: numbers(count, rows, 2.0, 1.0),
            inputs: numbers(count, cols, 3.0, 1.0),
            curvature: numbers(rows, cols, 4.0, 1.0),
        }
    }

    fn with_last(&self, value: A) -> Self {
        let mut gradient = self.gradient.clone();
        Run::last(&mut gradient, value);
        let (outputs, inputs) = (self.outputs.clone(), self.inputs.clone());
        Layer { gradient, outputs, inputs, curvature: self.curvature.clone() }
    }

    fn signal(&self) -> Signal<'_, A> {
        Signal::new(self.gradient.view())
            .with_output(Factor::Samples(self.outputs.view()))
            .with_input(Factor::Samples(self.inputs.view()))
            .with_diagonal(self.curvature.view())
    }
}

struct Run<A> {
    optimizer: Optimizer<A>,
    weight: Array2<A>,
}

impl<A: Scalar> Run<A> {
    fn new(chain: &Chain, shape: (usize, usize)) -> std::result::Result<Self, Violation> {
        let optimizer = chain.build(shape).map_err(|error| violation(0, error))?;
        Ok(Run { optimizer, weight: Layer::new(shape, 1000, 1.0).gradient })
    }

    /// An optimizer that goes on from a state.
    fn loaded(
        chain: &Chain,
        shape: (usize, usize),
        state: &OptimizerState<A>,
    ) -> Result<Optimizer<A>> {
        let mut optimizer = chain.build(shape)?;
        optimizer.load(state)?;
        Ok(optimizer)
    }

    fn take(&mut self, step: u64, layer: &Layer<A>) -> std::result::Result<StepReport, Violation> {
        let taken = self.optimizer.step(&mut self.weight.view_mut(), &layer.signal());
        taken.map_err(|error| violation(step, error))
    }

    fn is_refused(&mut self, step: u64, layer: &Layer<A>) -> Outcome {
        let (weight, state) = (bits(&self.weight), self.optimizer.state());
        if self.optimizer.step(&mut self.weight.view_mut(), &layer.signal()).is_ok() {
            return Err(violation(step, "a step is taken that should be refused"));
        }
        if bits(&self.weight) != weight {
            return Err(violation(step, "a step that was refused has changed the weight"));
        }
        if self.optimizer.state() != state {
            return Err(violation(step, "a step that was refused has changed the state"));
        }
        Ok(())
    }

    fn equals(&self, step: u64, other: &Self, what: &str) -> Outcome {
        let equal = bits(&self.weight) == bits(&other.weight);
        if equal { Ok(()) } else { Err(violation(step, what)) }
    }

    /// Replaces the last entry; returns what it was.
    fn last(array: &mut Array2<A>, value: A) -> A {
        array.last_mut().map_or(value, |last| std::mem::replace(last, value))
    }
}

fn bits<A: Scalar>(array: &Array2<A>) -> Vec<u64> {
    array.iter().map(|x| x.as_f64().to_bits()).collect()
}

/// A stage that does nothing, or fails.
#[derive(Clone, Debug, Default, Serialize)]
struct Fault {
    #[serde(skip)]
    strikes: Arc<AtomicU8>,
}

const NOWHERE: u8 = 0;
const IN_OBSERVE: u8 = 1;
const IN_APPLY: u8 = 2;

impl Fault {
    fn strike(&self, place: u8) {
        self.strikes.store(place, Ordering::Relaxed);
    }

    fn pass(&self, place: u8) -> Result<()> {
        if self.strikes.load(Ordering::Relaxed) == place {
            return Err(OptimError::Custom { message: "a planted fault".to_owned() });
        }
        Ok(())
    }
}

impl CustomStage for Fault {
    const NAME: &'static str = "fault";
    type Stage<A: Scalar> = Fault;

    fn build<A: Scalar>(&self, _shape: (usize, usize)) -> Result<Fault> {
        Ok(self.clone())
    }
}

impl<A: Scalar> Stage<A> for Fault {
    fn observe(&mut self, _step: &Step<'_, A>) -> Result<Observation> {
        self.pass(IN_OBSERVE)?;
        Ok(Observation::default())
    }

    fn apply(&mut self, _direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        self.pass(IN_APPLY)
    }
}
