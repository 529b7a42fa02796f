//! The training loop, and the choice of a setting.

use std::time::{Duration, Instant};

use layerwise_optim::{Factor, OptimError, OptimizerSet, Signal, Signals, Update};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::data::{Images, Split};
use crate::methods::{Candidate, Setting};
use crate::network::{Derivatives, NAMES, Network};

/// Images a step.
pub const BATCH: usize = 128;

/// How long runs are, and how often they are repeated.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Steps of a run.
    pub steps: usize,
    /// Steps from one point of a curve to the next.
    pub every: usize,
    /// Runs with other starts and batches to choose a setting on.
    pub tuning_runs: u64,
    /// Runs with yet others that are shown.
    pub shown_runs: u64,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Steps taken.
    pub step: usize,
    /// Seconds spent on derivatives and steps, but not on scores.
    pub seconds: f64,
    /// Mean cross-entropy over all training images, in nats.
    pub loss: f64,
    /// Share of the test images recognized.
    pub accuracy: f64,
}

/// A training run.
#[derive(Clone, Debug)]
pub struct Run {
    /// From the start to the end.
    pub curve: Vec<Point>,
    /// What came out.
    pub network: Network,
}

impl Run {
    /// Loss and accuracy at the end.
    #[must_use]
    pub fn last(&self) -> Option<&Point> {
        self.curve.last()
    }

    /// The first recorded step from which on the loss is at most this; `None` if it never is.
    #[must_use]
    pub fn steps_to(&self, loss: f64) -> Option<usize> {
        self.curve.iter().find(|point| point.loss <= loss).map(|point| point.step)
    }
}

/// Trains a new network. The seed decides on start and batches, and two settings with one seed
/// have both in common.
///
/// # Errors
///
/// What the optimizers refuse: with a rate that is too large, gradients that are not finite.
pub fn train(
    setting: &Setting,
    data: &Split,
    budget: &Budget,
    seed: u64,
) -> Result<Run, OptimError> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut network = Network::new(data.train.classes, &mut rng);
    let mut labels = Xoshiro256PlusPlus::seed_from_u64(!seed);
    let mut optimizers = OptimizerSet::<f64>::new(setting.groups.clone());
    for (name, weight) in NAMES.iter().zip(&network.weights) {
        optimizers.register(*name, weight.dim(), Signals::ALL)?;
    }
    let needs_outputs =
        NAMES.iter().any(|name| optimizers.optimizer(name).is_some_and(|o| o.required().output));

    let mut order: Vec<usize> = (0..data.train.labels.len()).collect();
    let mut next = order.len();
    let mut spent = Duration::ZERO;
    let mut curve = vec![point(&network, data, 0, spent)];
    for step in 1..=budget.steps {
        if next + BATCH > order.len() {
            order.shuffle(&mut rng);
            next = 0;
        }
        let batch = data.train.select(&order[next..next + BATCH]);
        next += BATCH;
        let start = Instant::now();
        let derivatives = network.derivatives(&batch, needs_outputs.then_some(&mut labels));
        step_all(&mut optimizers, &mut network, &derivatives)?;
        spent += start.elapsed();
        if step.is_multiple_of(budget.every) || step == budget.steps {
            curve.push(point(&network, data, step, spent));
        }
    }
    Ok(Run { curve, network })
}

/// One call for all layers.
fn step_all(
    optimizers: &mut OptimizerSet<f64>,
    network: &mut Network,
    derivatives: &Derivatives,
) -> Result<(), OptimError> {
    let signal = |layer: usize| {
        let signal = Signal::new(derivatives.gradients[layer].view())
            .with_input(Factor::Samples(derivatives.inputs[layer].view()));
        match &derivatives.outputs {
            Some(outputs) => signal.with_output(Factor::Samples(outputs[layer].view())),
            None => signal,
        }
    };
    let [first, second, head] = &mut network.weights;
    optimizers.step(&mut [
        Update::new(NAMES[0], first.view_mut(), signal(0)),
        Update::new(NAMES[1], second.view_mut(), signal(1)),
        Update::new(NAMES[2], head.view_mut(), signal(2)),
    ])
}

fn point(network: &Network, data: &Split, step: usize, spent: Duration) -> Point {
    let on = |images: &Images| network.score(images);
    let (train, test) = (on(&data.train), on(&data.test));
    Point { step, seconds: spent.as_secs_f64(), loss: train.loss, accuracy: test.accuracy }
}

/// A method with the setting that served it best, and its runs.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The method's name.
    pub name: &'static str,
    /// The chosen setting.
    pub setting: Setting,
    /// Runs on the seeds that are shown.
    pub runs: Vec<Run>,
}

/// Takes the setting with the least mean training loss at the end of the tuning runs (one that
/// fails counts as infinite), and trains with it on other seeds.
///
/// # Errors
///
/// What the optimizers refuse with the chosen setting.
pub fn tune_and_train(
    candidate: &Candidate,
    data: &Split,
    budget: &Budget,
) -> Result<Trained, OptimError> {
    let score_only_the_end = Budget { every: budget.steps, ..*budget };
    let loss = |setting: &Setting| -> f64 {
        let end = |seed| {
            train(setting, data, &score_only_the_end, seed)
                .ok()
                .and_then(|run| run.last().map(|point| point.loss))
                .unwrap_or(f64::INFINITY)
        };
        (0..budget.tuning_runs).map(end).sum()
    };
    let mut best = (f64::INFINITY, &candidate.settings[0]);
    for setting in &candidate.settings {
        let loss = loss(setting);
        if loss < best.0 {
            best = (loss, setting);
        }
    }
    let shown = budget.tuning_runs..budget.tuning_runs + budget.shown_runs;
    let runs: Result<Vec<Run>, OptimError> =
        shown.map(|seed| train(best.1, data, budget, seed)).collect();
    Ok(Trained { name: candidate.name, setting: best.1.clone(), runs: runs? })
}
