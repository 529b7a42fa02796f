//! Several tasks with a shared representation.

use layerwise_data::{LinearTask, Moments};
use layerwise_models::TwoLayerLinear;
use layerwise_theory::{kfac_wrong_part, stacked_head, wrong_part};
use ndarray::{Array1, Array2, ArrayView2};
use rand::{Rng, RngCore};

use crate::Result;
use crate::claim::Whose;
use crate::linear::{Needs, StepData};
use crate::theorems::comparison::{Comparison, larger, over_cases};
use crate::theorems::problems::{
    ProblemSpec, distance, extreme_eigenvalues, extreme_singular_values, norm, normals,
};
use crate::theorems::rounding;
use crate::theorems::{Context, KfacRates, Outcome, Statement, Steps};

/// The statement.
pub struct L7;

impl Statement for L7 {
    fn id(&self) -> &'static str {
        "L7"
    }

    fn text(&self) -> &'static str {
        "Several tasks with a shared G⋆ and their own Σ_t and heads: the mean of the gradients times Σ̂_t⁻¹, preconditioned by the mean of F_tᵀ F_t, contracts G P⊥ by 1 − η; with equal Σ̂_t it is the single task with stacked heads."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(40, 200);
        let contraction = over_cases(context, "L7a", cases, |rng| {
            let (problem, eta) =
                (ManyTasks::random(rng, context.steps)?, rng.random_range(0.05..=1.0));
            compare_wrong_part(&problem, eta, context.steps)
        })?;
        let stacked = over_cases(context, "L7b", cases, |rng| {
            let (problem, eta) =
                (ManyTasks::random(rng, context.steps)?, rng.random_range(0.05..=1.0));
            compare_stacked(&problem, eta, context.steps)
        })?;
        let from = "rounding: ε · dimension · tr P/λ_min(P) · max tr Σ̂_t/λ_min(Σ̂_t), P the mean of F_tᵀF_t";
        Ok(Outcome {
            parts: vec![
                contraction.part("wrong part after one step", "(1 − η) G P⊥", from),
                stacked.part(
                    "representation after one step, equal Σ̂_t",
                    "KFAC's with the heads stacked",
                    from,
                ),
            ],
        })
    }
}

/// Tasks on one representation, with a network head and a noise-free batch for each.
#[derive(Debug, Clone)]
pub struct ManyTasks {
    /// The tasks.
    pub tasks: Vec<LinearTask>,
    /// The network's heads; the last column of the first is zero where k > 1: it has no full
    /// column rank, though the mean of `F_tᵀF_t` has.
    pub heads: Vec<Array2<f64>>,
    /// The shared representation of the network.
    pub representation: Array2<f64>,
    /// One batch a task.
    pub batches: Vec<StepData>,
}

impl ManyTasks {
    /// Two to four tasks of random dimensions.
    ///
    /// # Errors
    /// Faults of a draw.
    pub fn random(rng: &mut dyn RngCore, steps: &dyn Steps) -> Result<Self> {
        let count = rng.random_range(2..=4);
        Self::draw(&ProblemSpec::random(rng), count, steps)
    }

    /// `count` tasks from a problem's distribution.
    ///
    /// # Errors
    /// Faults of a draw.
    pub fn draw(spec: &ProblemSpec, count: usize, steps: &dyn Steps) -> Result<Self> {
        let streams = spec.streams();
        let tasks = spec.task_spec().draw_many(count, &mut streams.stream("many", "task", 0))?;
        let rng = &mut streams.stream("many", "start", 0);
        let representation = normals(spec.rank, spec.inputs, rng);
        let mut heads: Vec<_> = (0..count).map(|_| normals(spec.outputs, spec.rank, rng)).collect();
        if spec.rank > 1 {
            heads[0].column_mut(spec.rank - 1).fill(0.0);
        }
        let rng = &mut streams.stream("many", "batch", 0);
        let mut batches = Vec::with_capacity(count);
        for task in &tasks {
            let mut data = StepData::new(spec.inputs, spec.outputs, spec.samples, Needs::default());
            steps.draw(task, rng, &mut data)?;
            batches.push(data);
        }
        Ok(Self { tasks, heads, representation, batches })
    }

    /// The network with stacked heads.
    fn stacked(&self) -> Result<TwoLayerLinear> {
        let heads: Vec<ArrayView2<'_, f64>> = self.heads.iter().map(|m| m.view()).collect();
        Ok(TwoLayerLinear::new(stacked_head(&heads)?, self.representation.clone())?)
    }

    /// The moments of the stacked task where all have the inputs of batch `t`.
    fn stacked_moments(&self, t: usize) -> Result<Moments> {
        let xx = self.batches[t].moments().xx();
        let targets: Vec<Array2<f64>> = self.tasks.iter().map(|task| task.map().dot(&xx)).collect();
        let views: Vec<ArrayView2<'_, f64>> = targets.iter().map(|m| m.view()).collect();
        let yx = stacked_head(&views)?;
        let (outputs, d) = yx.dim();
        // The trace enters no step.
        let means = (Array1::zeros(d), Array1::zeros(outputs));
        Ok(Moments::from_parts(1, xx.to_owned(), yx, 0.0, means.0, means.1)?)
    }

    /// Rounding of the shared step, relative to ‖G‖: with the stacked F and `W⋆ = F⋆G⋆`, whose norms
    /// bound those of each task's terms, P the mean of `F_tᵀF_t` and tr/λ the largest
    /// `tr Σ̂_t/λ_min(Σ̂_t)`,
    /// `(2 tr/λ (‖F‖² ‖G‖ + ‖F‖ ‖W⋆‖) + tr P ‖S‖)/λ_min(P)`: each task's gradient and solve, then
    /// the shared solve, `‖S‖ ≤ ‖G‖ + ‖W⋆‖/√λ_min(P)`.
    fn rounding(&self) -> Result<f64> {
        let net = self.stacked()?;
        let (outputs, k, inputs) = net.shape();
        let targets: Vec<Array2<f64>> =
            self.tasks.iter().map(|task| task.map().to_owned()).collect();
        let targets: Vec<ArrayView2<'_, f64>> = targets.iter().map(|m| m.view()).collect();
        let target = norm(stacked_head(&targets)?.view());
        let (f, g) = (norm(net.head()), norm(net.representation()));
        let (_, smallest) = extreme_singular_values(net.head())?;
        let mut worst = 0.0;
        for data in &self.batches {
            let xx = data.moments().xx();
            worst = larger(worst, xx.diag().sum() / extreme_eigenvalues(xx)?.0.max(0.0));
        }
        let sizes = 2.0 * worst * (f * f * g + f * target) + f * f * (g + target / smallest);
        Ok(rounding::chain(outputs + k + inputs) * sizes / (smallest * smallest * g))
    }
}

/// `G₊P⊥` of the shared step against `(1 − η) G P⊥`, relative to ‖G‖.
///
/// # Errors
/// Faults of the problem or of the step.
pub fn compare_wrong_part(problem: &ManyTasks, eta: f64, steps: &dyn Steps) -> Result<Comparison> {
    let ManyTasks { tasks, heads, representation, batches } = problem;
    let next = steps.multi_task_kfac(eta, representation.view(), heads, batches)?;
    let reference = tasks[0].representation();
    let predicted = kfac_wrong_part(representation.view(), reference, eta)?;
    let measured = wrong_part(next.view(), reference)?;
    Ok(Comparison {
        deviation: distance(measured.view(), predicted.view()) / norm(representation.view()),
        tolerance: problem.rounding()?,
    })
}

/// `G₊` of the shared step, all tasks on the first one's inputs, against single-task KFAC on the
/// stacked heads and targets; relative to ‖G‖.
///
/// # Errors
/// Faults of the problem or of the step.
pub fn compare_stacked(problem: &ManyTasks, eta: f64, steps: &dyn Steps) -> Result<Comparison> {
    let xx = problem.batches[0].moments().xx();
    let batches = problem
        .tasks
        .iter()
        .map(|task| {
            let yx = task.map().dot(&xx);
            let (outputs, d) = yx.dim();
            let means = (Array1::zeros(d), Array1::zeros(outputs));
            let moments = Moments::from_parts(1, xx.to_owned(), yx, 0.0, means.0, means.1)?;
            StepData::from_moments(moments, Needs::default())
        })
        .collect::<Result<Vec<_>>>()?;
    let start = problem.representation.view();
    let shared = steps.multi_task_kfac(eta, start, &problem.heads, &batches)?;
    let mut net = problem.stacked()?;
    let data = StepData::from_moments(problem.stacked_moments(0)?, Needs::default())?;
    let rates = KfacRates { representation: eta, head: 0.5, damping: 0.0 };
    steps.kfac(rates, net.shape())?.step(&mut net, &data)?;
    Ok(Comparison {
        deviation: distance(shared.view(), net.representation()) / norm(start),
        tolerance: 2.0 * problem.rounding()?,
    })
}
