//! One trial: a task, a start, and every method stepping on the same batches.

use layerwise_data::{Covariance, LinearTask, LinearTaskSpec};
use layerwise_linalg::orthonormal_rows;
use layerwise_metrics::{excess_loss, excess_transfer_loss, subspace_distance};
use layerwise_models::TwoLayerLinear;
use layerwise_theory::batch_norm_representation;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::Result;
use crate::linear::{
    Algorithm, LinearMethod, LinearSetting, Needs, StepData, measures, recorded_iterations,
};
use crate::model::{DIVERGED_AT, Numbers, Outcome, Trial};
use crate::monitor::Monitor;

/// Runs methods of a setting on the task and batches of one trial.
///
/// Everything random comes from the streams `(stream, purpose, trial)`: neither the other trials
/// nor the set of methods changes what one sees, but for this: where one of the setting's methods needs
/// samples, all of them step on the moments of samples.
///
/// # Errors
/// [`crate::ExperimentError::Interrupted`], and faults of the setting. A diverging iterate is no error.
pub fn run_trial(
    setting: &LinearSetting,
    methods: &[LinearMethod],
    trial: &Trial<'_>,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let shape = setting.shape();
    let stream = |purpose| trial.streams.stream(trial.stream, purpose, trial.trial);
    let spec = setting.task_spec();
    let transfer_spec: LinearTaskSpec = setting.transfer_spec().unwrap_or_else(|| spec.clone());
    let (task, transfer) =
        spec.draw_pair_with(setting.features, &transfer_spec, &mut stream("task"))?;
    let start = starting_point(shape, &mut stream("start"))?;
    let evaluation = Evaluation::new(&task, setting.transfer.is_some().then_some(&transfer))?;
    let recorded = recorded_iterations(setting.iterations, setting.recorded);

    let mut needs = Needs { samples: trial.samples, ..Needs::default() };
    let mut racers = Vec::with_capacity(methods.len());
    for method in methods {
        let algorithm = method.algorithm(shape, setting.samples)?;
        needs = needs.union(algorithm.needs());
        racers.push(Racer::new(method.normalizes_inputs(), algorithm, start.clone()));
    }
    let (outputs, _, inputs) = shape;
    let mut data = StepData::new(inputs, outputs, setting.samples, needs);
    let mut batches = stream("batches");
    let mut next = recorded.iter().copied().peekable();
    for iteration in 1..=setting.iterations {
        monitor.check()?;
        data.draw(&task, &mut batches)?;
        let record = next.next_if_eq(&iteration).is_some();
        for racer in &mut racers {
            racer.advance(iteration, &data)?;
            if let Some(target) = setting.target_distance {
                racer.check_target(iteration, target, &evaluation)?;
            }
            if record {
                racer.record(iteration, &evaluation)?;
            }
        }
        monitor.advance(racers.len() as u64);
    }
    Ok(Outcome {
        trial: Numbers::from([
            (measures::ZERO_LOSS.name.into(), vec![evaluation.zero_loss()?]),
            (measures::BATCH_NORM_DISTANCE.name.into(), vec![evaluation.batch_norm_distance()?]),
        ]),
        cells: racers.into_iter().map(|racer| racer.numbers(setting)).collect(),
    })
}

/// `G₀ = orth` of standard normals, `F₀` with entries N(0, 1/(4k)).
pub(crate) fn starting_point<R: Rng>(
    (outputs, k, inputs): (usize, usize, usize),
    rng: &mut R,
) -> Result<TwoLayerLinear> {
    let mut normals = |rows, columns, scale: f64| {
        Array2::from_shape_simple_fn((rows, columns), || {
            scale * rng.sample::<f64, _>(StandardNormal)
        })
    };
    let representation = orthonormal_rows(normals(k, inputs, 1.0).view())?;
    let head = normals(outputs, k, 0.5 / (k as f64).sqrt());
    Ok(TwoLayerLinear::new(head, representation)?)
}

/// The population quantities by which iterates are judged.
struct Evaluation<'a> {
    train: &'a LinearTask,
    transfer: Option<&'a LinearTask>,
    target: Array2<f64>,
    /// The diagonal of `D = diag(Σ)^{-1/2}`.
    scale: Array1<f64>,
    /// The same of the transfer task.
    transfer_scale: Option<Array1<f64>>,
}

impl<'a> Evaluation<'a> {
    fn new(train: &'a LinearTask, transfer: Option<&'a LinearTask>) -> Result<Self> {
        let target = train.head().dot(&train.representation());
        let scale =
            |task| covariance(task).variances().mapv(|variance: f64| variance.sqrt().recip());
        let transfer_scale = transfer.map(scale);
        Ok(Self { train, transfer, target, scale: scale(train), transfer_scale })
    }

    fn zero_loss(&self) -> Result<f64> {
        self.excess(Array2::zeros(self.target.dim()).view())
    }

    fn excess(&self, predictor: ArrayView2<f64>) -> Result<f64> {
        Ok(excess_loss(predictor, self.target.view(), covariance(self.train).lower())?)
    }

    fn batch_norm_distance(&self) -> Result<f64> {
        let reference = self.train.representation();
        let limit = batch_norm_representation(reference, covariance(self.train).matrix())?;
        Ok(subspace_distance(limit.view(), reference)?)
    }

    fn distance(&self, representation: ArrayView2<f64>) -> Result<f64> {
        Ok(subspace_distance(representation, self.train.representation())?)
    }

    /// G as it acts on raw inputs.
    fn effective(&self, net: &TwoLayerLinear, normalized: bool) -> Array2<f64> {
        if normalized {
            scaled(net.representation(), &self.scale)
        } else {
            net.representation().to_owned()
        }
    }

    /// Excess loss on the transfer task of the best head on a representation; NaN without such a task.
    fn transfer(&self, representation: ArrayView2<f64>) -> Result<f64> {
        let Some(task) = self.transfer else { return Ok(f64::NAN) };
        let (head, features) = (task.head(), task.representation());
        Ok(excess_transfer_loss(representation, head, features, covariance(task).lower())?)
    }
}

/// `G D` for the diagonal of D.
fn scaled(representation: ArrayView2<f64>, scale: &Array1<f64>) -> Array2<f64> {
    &representation * &scale.view().insert_axis(Axis(0))
}

fn covariance(task: &LinearTask) -> &Covariance {
    task.covariance()
}

/// What a method does in one trial.
///
/// After a divergence losses are +∞ and distances 1, the largest value, as nothing is learned.
#[derive(Default)]
struct Run {
    excess: Vec<f64>,
    distance: Vec<f64>,
    /// `dist(G D, G⋆)`, the distance of the layer that acts on raw inputs: the same as
    /// `distance` without batch-norm.
    effective_distance: Vec<f64>,
    /// Empty where it is not asked for, as the next.
    transfer: Vec<f64>,
    renormalized_transfer: Vec<f64>,
    /// The iteration from which on the distance has been at most the target.
    reached: Option<usize>,
    /// The iteration at which the iterate stopped being finite or the step being defined.
    diverged: Option<usize>,
}

/// A method on its way.
struct Racer {
    /// Whether it trains behind batch-norm.
    normalizes: bool,
    algorithm: Box<dyn Algorithm>,
    net: TwoLayerLinear,
    run: Run,
}

impl Racer {
    fn new(normalizes: bool, algorithm: Box<dyn Algorithm>, net: TwoLayerLinear) -> Self {
        Self { normalizes, algorithm, net, run: Run::default() }
    }

    /// What it measured, by the measures' names.
    fn numbers(self, setting: &LinearSetting) -> Numbers {
        let iteration = |at: Option<usize>| vec![at.map_or(f64::NAN, |at| at as f64)];
        let mut numbers = Numbers::from([
            (measures::EXCESS.name.into(), self.run.excess),
            (measures::DISTANCE.name.into(), self.run.distance),
            (measures::EFFECTIVE_DISTANCE.name.into(), self.run.effective_distance),
            (DIVERGED_AT.name.into(), iteration(self.run.diverged)),
        ]);
        if setting.transfer.is_some() {
            numbers.insert(measures::TRANSFER.name.into(), self.run.transfer);
            let renormalized = self.run.renormalized_transfer;
            numbers.insert(measures::RENORMALIZED_TRANSFER.name.into(), renormalized);
        }
        if setting.target_distance.is_some() {
            let reached = self.run.reached.filter(|_| self.run.diverged.is_none());
            numbers.insert(measures::STEPS.name.into(), iteration(reached));
        }
        numbers
    }

    fn advance(&mut self, iteration: usize, data: &StepData) -> Result<()> {
        if self.run.diverged.is_some() {
            return Ok(());
        }
        let outcome = self.algorithm.step(&mut self.net, data);
        if self.defined(outcome, iteration)?.is_some() && !self.net.is_finite() {
            self.run.diverged = Some(iteration);
        }
        Ok(())
    }

    /// Passes a value on; a numerical failure becomes a divergence at `iteration`.
    fn defined<T>(&mut self, outcome: Result<T>, iteration: usize) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_numerical() => {
                self.run.diverged = Some(iteration);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn check_target(
        &mut self,
        iteration: usize,
        target: f64,
        evaluation: &Evaluation<'_>,
    ) -> Result<()> {
        if self.run.diverged.is_none() {
            let distance = evaluation.distance(self.net.representation());
            let there = self.defined(distance, iteration)?.is_some_and(|d| d <= target);
            self.run.reached = there.then(|| self.run.reached.unwrap_or(iteration));
        }
        Ok(())
    }

    fn record(&mut self, iteration: usize, evaluation: &Evaluation<'_>) -> Result<()> {
        let mut measured = None;
        if self.run.diverged.is_none() {
            let outcome = self.measure(evaluation);
            measured = self.defined(outcome, iteration)?.filter(|[excess, ..]| excess.is_finite());
            if measured.is_none() {
                self.run.diverged = Some(iteration);
            }
        }
        let [excess, distance, effective, transfer, renormalized] =
            measured.unwrap_or([f64::INFINITY, 1.0, 1.0, f64::INFINITY, f64::INFINITY]);
        self.run.excess.push(excess);
        self.run.distance.push(distance);
        self.run.effective_distance.push(effective);
        if evaluation.transfer.is_some() {
            self.run.transfer.push(transfer);
            self.run.renormalized_transfer.push(renormalized);
        }
        Ok(())
    }

    fn measure(&self, evaluation: &Evaluation<'_>) -> Result<[f64; 5]> {
        let normalized = self.normalizes;
        let effective = evaluation.effective(&self.net, normalized);
        let predictor = self.net.head().dot(&effective);
        let excess = evaluation.excess(predictor.view())?;
        let distance = evaluation.distance(self.net.representation())?;
        let effective_distance =
            if normalized { evaluation.distance(effective.view())? } else { distance };
        let transfer = evaluation.transfer(effective.view())?;
        let renormalized = match &evaluation.transfer_scale {
            Some(scale) if normalized => {
                evaluation.transfer(scaled(self.net.representation(), scale).view())?
            }
            _ => transfer,
        };
        Ok([excess, distance, effective_distance, transfer, renormalized])
    }
}
