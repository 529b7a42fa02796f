//! One trial: a task, a student, and every method stepping from the same point on the same batches.

use layerwise_data::{Batch, Covariance, LinearCovariates, SingleIndexTask, Task};
use layerwise_linalg::{gram, leading_right_singular_vector};
use layerwise_metrics::alignment;
use layerwise_models::{SingleIndexStudent, StudentPass};
use layerwise_optim::{Factor, Optimizer, Signal, Signals};
use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::Result;
use crate::linear::recorded_iterations;
use crate::model::{DIVERGED_AT, Numbers, Outcome, Trial};
use crate::monitor::Monitor;
use crate::single_index::{SingleIndexMethod, SingleIndexSetting, draw_student, measures};

/// What the student's layer reports: its gradient and its input factor.
pub(crate) const SIGNALS: Signals = Signals::INPUT;

/// Runs methods of a setting on the task, student and batches of one trial.
///
/// # Errors
/// [`crate::ExperimentError::Interrupted`], and faults of the setting. A diverging iterate is no error.
pub(crate) fn run_trial(
    setting: &SingleIndexSetting,
    methods: &[SingleIndexMethod],
    trial: &Trial<'_>,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    monitor.check()?;
    let (d, h, n) = (setting.inputs, setting.width(), setting.samples());
    let stream = |purpose| trial.streams.stream(trial.stream, purpose, trial.trial);
    let mut rng = stream("task");
    let covariance = Covariance::draw(&setting.spectrum, setting.basis, d, &mut rng)?;
    let covariates = LinearCovariates::new(setting.law, covariance);
    let task = SingleIndexTask::draw(setting.teacher.clone(), covariates, setting.noise, &mut rng)?;
    let student = draw_student(h, d, setting.student.clone(), &mut stream("start"))?;
    let test = match setting.test_samples {
        None => None,
        Some(samples) => {
            let mut batch = Batch::with_dimensions(d, 1);
            task.draw_batch(samples, &mut stream("test"), &mut batch)?;
            Some(batch)
        }
    };

    let mut data = StudentData::new(n, d, h);
    let mut batches = stream("batches");
    data.draw(&task, n, &mut batches)?;
    // All start from one point: its loss and gradient are computed once.
    let mut first = StudentPass::with_shape(n, h, d);
    first.evaluate(&student, &data.batch)?;
    let mut racers =
        methods.iter().map(|method| Racer::new(method, &student)).collect::<Result<Vec<_>>>()?;
    let recorded = recorded_iterations(setting.iterations, setting.recorded);
    let mut next = recorded.iter().copied().peekable();
    for iteration in 1..=setting.iterations {
        if iteration > 1 && setting.fresh_batches {
            data.draw(&task, n, &mut batches)?;
        }
        let record = next.next_if_eq(&iteration).is_some();
        for racer in &mut racers {
            monitor.check()?;
            if iteration == 1 {
                racer.advance(iteration, &first, &data)?;
            } else {
                racer.evaluate_and_advance(iteration, &mut data)?;
            }
            if record {
                let measured = |net: &SingleIndexStudent| {
                    measure(net, &student, task.direction(), test.as_ref())
                };
                racer.record(iteration, measured)?;
            }
            monitor.advance(work_of_a_step(setting));
        }
    }
    Ok(Outcome {
        trial: Numbers::new(),
        cells: racers.into_iter().map(|racer| racer.numbers(test.is_some())).collect(),
    })
}

/// Work of a step of one method, in units of a step of the two-layer linear network.
pub(crate) fn work_of_a_step(setting: &SingleIndexSetting) -> u64 {
    // A pass takes 4 n h d flops at some 10¹⁰ a second, a solve h d² more; a unit is some 10⁻⁴ s.
    let (d, h, n) = (setting.inputs as u64, setting.width() as u64, setting.samples() as u64);
    1 + (4 * n * h * d + 4 * h * d * d) / 2_000_000
}

/// A batch and what steps on it share.
struct StudentData {
    batch: Batch,
    input_factor: Array2<f64>,
    pass: StudentPass,
}

impl StudentData {
    fn new(samples: usize, inputs: usize, width: usize) -> Self {
        Self {
            batch: Batch::with_dimensions(inputs, 1),
            input_factor: Array2::zeros((inputs, inputs)),
            pass: StudentPass::with_shape(samples, width, inputs),
        }
    }

    fn draw<R: rand::Rng>(
        &mut self,
        task: &SingleIndexTask,
        samples: usize,
        rng: &mut R,
    ) -> Result<()> {
        task.draw_batch(samples, rng, &mut self.batch)?;
        let share = 1.0 / self.batch.sample_size() as f64;
        gram(share, self.batch.x().t(), 0.0, &mut self.input_factor.view_mut())?;
        Ok(())
    }
}

/// Alignment of what was learned since the start with β⋆, and the loss on the test samples.
fn measure(
    student: &SingleIndexStudent,
    start: &SingleIndexStudent,
    direction: ArrayView1<'_, f64>,
    test: Option<&Batch>,
) -> Result<(f64, f64)> {
    let change = &student.representation() - &start.representation();
    let aligned = if change.iter().all(|w| *w == 0.0) {
        0.0
    } else {
        alignment(leading_right_singular_vector(change.view())?.view(), direction)?
    };
    let loss = match test {
        None => f64::NAN,
        Some(batch) => {
            let (h, d) = student.representation().dim();
            let mut pass = StudentPass::with_shape(batch.sample_size(), h, d);
            pass.evaluate(student, batch)?;
            pass.loss()
        }
    };
    Ok((aligned, loss))
}

/// A method on its way. After a divergence losses are +∞ and the alignment 0, as nothing is learned.
struct Racer {
    optimizer: Optimizer<f64>,
    student: SingleIndexStudent,
    loss: f64,
    alignment: Vec<f64>,
    training_loss: Vec<f64>,
    test_loss: Vec<f64>,
    diverged: Option<usize>,
}

impl Racer {
    fn new(method: &SingleIndexMethod, student: &SingleIndexStudent) -> Result<Self> {
        let SingleIndexMethod::Optimizer(optimizer) = method;
        let shape = student.representation().dim();
        Ok(Self {
            optimizer: optimizer.chain().build_for(shape, SIGNALS)?,
            student: student.clone(),
            loss: f64::NAN,
            alignment: Vec::new(),
            training_loss: Vec::new(),
            test_loss: Vec::new(),
            diverged: None,
        })
    }

    /// A step on a pass that was made at this racer's point.
    fn advance(&mut self, iteration: usize, pass: &StudentPass, data: &StudentData) -> Result<()> {
        self.loss = pass.loss();
        self.step(iteration, pass.gradient(), data.input_factor.view())
    }

    fn evaluate_and_advance(&mut self, iteration: usize, data: &mut StudentData) -> Result<()> {
        if self.diverged.is_some() {
            return Ok(());
        }
        data.pass.evaluate(&self.student, &data.batch)?;
        self.loss = data.pass.loss();
        self.step(iteration, data.pass.gradient(), data.input_factor.view())
    }

    fn step(
        &mut self,
        iteration: usize,
        gradient: ArrayView2<'_, f64>,
        factor: ArrayView2<'_, f64>,
    ) -> Result<()> {
        let signal = Signal::new(gradient).with_input(Factor::SecondMoment(factor));
        let stepped = self.optimizer.step(&mut self.student.representation_mut(), &signal);
        let outcome = stepped.map(|_| ()).map_err(Into::into);
        self.defined(outcome, iteration)?;
        let finite = self.student.representation().iter().all(|w| w.is_finite());
        if self.diverged.is_none() && !finite {
            self.diverged = Some(iteration);
        }
        Ok(())
    }

    /// Passes a value on; a numerical failure becomes a divergence at `iteration`.
    fn defined<T>(&mut self, outcome: Result<T>, iteration: usize) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_numerical() => {
                self.diverged = Some(iteration);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn record(
        &mut self,
        iteration: usize,
        measure: impl Fn(&SingleIndexStudent) -> Result<(f64, f64)>,
    ) -> Result<()> {
        let mut measured = None;
        if self.diverged.is_none() {
            let outcome = measure(&self.student);
            measured = self.defined(outcome, iteration)?;
        }
        let loss = if measured.is_some() { self.loss } else { f64::INFINITY };
        let (aligned, test) = measured.unwrap_or((0.0, f64::INFINITY));
        self.alignment.push(aligned);
        self.training_loss.push(loss);
        self.test_loss.push(test);
        Ok(())
    }

    fn numbers(self, tested: bool) -> Numbers {
        let diverged = self.diverged.map_or(f64::NAN, |iteration| iteration as f64);
        let mut numbers = Numbers::from([
            (measures::ALIGNMENT.name.into(), self.alignment),
            (measures::TRAINING_LOSS.name.into(), self.training_loss),
            (DIVERGED_AT.name.into(), vec![diverged]),
        ]);
        if tested {
            numbers.insert(measures::TEST_LOSS.name.into(), self.test_loss);
        }
        numbers
    }
}
