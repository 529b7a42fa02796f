//! The training loop.

use std::time::{Duration, Instant};

use layerwise_optim::ndarray::Array2;
use layerwise_optim::{OptimError, OptimizerSet, Signals, Update};
use rand::SeedableRng;
use rand::seq::index;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::data::Examples;
use crate::error::{Error, Result};
use crate::methods::Candidate;
use crate::network::{Network, passes, score};
use crate::parameter::{Parameter, Pass};
use crate::task::{Budget, Task};

/// A point of a curve.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Steps taken.
    pub step: usize,
    /// Seconds spent on derivatives and steps, but not on scores.
    pub seconds: f64,
    /// Mean cross-entropy over training examples, in nats.
    pub loss: f64,
    /// The same over held-out examples.
    pub held_out: f64,
    /// Share of the held-out examples recognized, or of the characters predicted.
    pub accuracy: f64,
}

/// A training run.
#[derive(Clone, Debug)]
pub struct Run {
    /// From the start to the end, or to where an optimizer refused.
    pub curve: Vec<Point>,
    /// What came out.
    pub weights: Vec<Array2<f32>>,
    /// Why an optimizer refused, as when a rate is too large.
    pub refused: Option<OptimError>,
}

impl Run {
    /// The end; `None` of a run that was refused.
    #[must_use]
    pub fn end(&self) -> Option<&Point> {
        self.curve.last().filter(|_| self.refused.is_none())
    }

    /// The training loss at the end; infinite where the run has none.
    #[must_use]
    pub fn final_loss(&self) -> f64 {
        self.end()
            .map_or(f64::INFINITY, |end| if end.loss.is_nan() { f64::INFINITY } else { end.loss })
    }

    /// The first recorded point whose loss is at most this; `None` if there is none.
    #[must_use]
    pub fn reached(&self, loss: f64) -> Option<&Point> {
        self.curve.iter().find(|point| point.loss <= loss)
    }
}

/// Trains a new network by a method with some rate. The seed decides on start and batches: two
/// methods with one seed have both in common. One thread does it all.
///
/// # Errors
///
/// Arrays that do not fit. An optimizer that refuses ends the run, and is no error.
pub fn train<N: Network<f32, Batch = E::Batch>, E: Examples>(
    candidate: &Candidate,
    rate: f64,
    task: &Task<N, E>,
    budget: &Budget,
    seed: u64,
) -> Result<Run> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut labels = Xoshiro256PlusPlus::seed_from_u64(!seed);
    let mut parameters = task.network.parameters();
    let mut weights: Vec<_> = parameters.iter().map(|p| p.start(&mut rng)).collect();
    let mut optimizers = optimizers(candidate, rate, &parameters)?;
    let needs_outputs = parameters.iter().any(|parameter| {
        optimizers.optimizer(&parameter.name).is_some_and(|o| o.required().output)
    });

    let mut spent = Duration::ZERO;
    let mut curve = vec![point(task, &weights, 0, spent)?];
    for step in 1..=budget.steps {
        let numbers =
            index::sample(&mut rng, task.train.count(), task.batch.min(task.train.count()));
        let batch = task.train.select(&numbers.into_vec());
        let start = Instant::now();
        let drawn = needs_outputs.then_some(&mut labels);
        let passes = passes(&task.network, &weights, &batch, drawn)?;
        match step_all(&mut optimizers, &mut parameters, &mut weights, &passes) {
            Ok(()) => {}
            Err(Error::Optimizer(refused)) => {
                return Ok(Run { curve, weights, refused: Some(refused) });
            }
            Err(error) => return Err(error),
        }
        spent += start.elapsed();
        if step.is_multiple_of(budget.every) || step == budget.steps {
            curve.push(point(task, &weights, step, spent)?);
        }
    }
    Ok(Run { curve, weights, refused: None })
}

/// Layers by the method, embeddings and gains by AdamW.
fn optimizers(
    candidate: &Candidate,
    rate: f64,
    parameters: &[Parameter<f32>],
) -> Result<OptimizerSet<f32>> {
    let (weights, others): (Vec<_>, Vec<_>) = parameters.iter().partition(|p| p.is_weight());
    let by_adamw = others.iter().map(|p| p.name.clone()).collect();
    let mut optimizers = OptimizerSet::new(candidate.groups(rate, by_adamw));
    // Runs are side by side already.
    optimizers.set_parallel(false);
    for parameter in weights {
        optimizers.register(&parameter.name, parameter.shape, Signals::ALL)?;
    }
    for parameter in others {
        optimizers.register(&parameter.name, parameter.shape, Signals::GRADIENT)?;
    }
    Ok(optimizers)
}

/// One call for all parameters.
fn step_all(
    optimizers: &mut OptimizerSet<f32>,
    parameters: &mut [Parameter<f32>],
    weights: &mut [Array2<f32>],
    passes: &[Pass<f32>],
) -> Result<()> {
    let names: Vec<String> = parameters.iter().map(|parameter| parameter.name.clone()).collect();
    let mut updates = Vec::new();
    let all = names.iter().zip(parameters).zip(weights).zip(passes);
    for (((name, parameter), weight), pass) in all {
        updates.push(Update::new(name, weight.view_mut(), parameter.signal(pass)?));
    }
    Ok(optimizers.step(&mut updates)?)
}

fn point<N: Network<f32, Batch = E::Batch>, E: Examples>(
    task: &Task<N, E>,
    weights: &[Array2<f32>],
    step: usize,
    spent: Duration,
) -> Result<Point> {
    let train = score(&task.network, weights, &task.scored)?;
    let held_out = score(&task.network, weights, &task.held_out)?;
    Ok(Point {
        step,
        seconds: spent.as_secs_f64(),
        loss: train.loss,
        held_out: held_out.loss,
        accuracy: held_out.accuracy,
    })
}
