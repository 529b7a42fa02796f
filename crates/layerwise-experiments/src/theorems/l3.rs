//! AMGD contracts at a rate that condition numbers set.

use layerwise_data::{LinearTask, haar};
use layerwise_linalg::{SymmetricEigen, gram, symmetrize};
use layerwise_models::TwoLayerLinear;
use layerwise_theory::{AmgdMap, kfac_contraction, wrong_part};
use ndarray::{Array2, ArrayView2, s};
use rand::{Rng, RngCore};

use crate::Result;
use crate::claim::Whose;
use crate::linear::{Needs, StepData};
use crate::theorems::comparison::{Comparison, larger, over_cases};
use crate::theorems::problems::{
    conditioned_task, extreme_eigenvalues, extreme_singular_values, norm, normals,
};
use crate::theorems::rounding;
use crate::theorems::{Context, KfacRates, Outcome, Statement, Steps};

/// The statement.
pub struct L3;

impl Statement for L3 {
    fn id(&self) -> &'static str {
        "L3"
    }

    fn text(&self) -> &'static str {
        "AMGD does not: near G⋆ one population step acts on Δ = G P⊥ as Δ − η F⋆ᵀF⋆ Δ Σ_c, which no rate contracts better than (κ − 1)/(κ + 1), κ = κ(F⋆)² κ(Σ_c); KFAC's factor is 1 − η_G."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(20, 100);
        let jacobian = over_cases(context, "L3a", cases, |rng| {
            let task = random_task(rng)?;
            let basis = haar(task.rank(), task.rank(), rng)?;
            compare_jacobian(&task, basis.view(), context.steps)
        })?;
        let best = over_cases(context, "L3b", cases, |rng| {
            compare_contraction(&random_task(rng)?, context.steps)
        })?;
        let kfac = over_cases(context, "L3c", cases, |rng| {
            let task = random_task(rng)?;
            compare_kfac(&task, rng.random_range(0.05..0.95), rng, context.steps)
        })?;
        let from = "finite differences: ε^(2/3) times measured sensitivities, their constants assumed to be of order one";
        Ok(Outcome {
            parts: vec![
                jacobian.part(
                    "Jacobian of the step at G⋆, in any basis of its row space, κ to 10⁶",
                    "Δ − η F⋆ᵀF⋆ Δ Σ_c",
                    from,
                ),
                best.part(
                    "contraction over a grid of rates: as predicted, and never better than the best, \
                     told from 1; κ to 10⁶",
                    "max |1 − η μ| ≥ (κ − 1)/(κ + 1)",
                    from,
                ),
                kfac.part(
                    "KFAC's contraction on such tasks",
                    "1 − η_G",
                    rounding::REPRESENTATION_FROM,
                ),
            ],
        })
    }
}

/// A small task with κ = κ(Σ_c) κ(F⋆)² up to 10⁶; k = 1 and d_X = k + 1 among them.
///
/// # Errors
/// None for these dimensions.
pub fn random_task(rng: &mut dyn RngCore) -> Result<LinearTask> {
    let rank = rng.random_range(1..=3);
    let inputs = rank + rng.random_range(1..=5);
    let outputs = rank + rng.random_range(0..=2);
    let decades = rng.random_range(0.0..=6.0);
    task_with_condition((outputs, rank, inputs), decades, rng.random_range(0.0..=1.0), rng)
}

/// A task of shape `(d_Y, k, d_X)` with κ = κ(Σ_c) κ(F⋆)² = 10^`decades` where d_X > k + 1, of which
/// the `head_share` is F⋆'s, up to κ(F⋆) = 10; none where k = 1, as a column has no other κ than 1.
///
/// # Errors
/// Where d_X ≤ k or d_Y < k.
pub fn task_with_condition(
    shape: (usize, usize, usize),
    decades: f64,
    head_share: f64,
    rng: &mut dyn RngCore,
) -> Result<LinearTask> {
    let head = if shape.1 == 1 { 0.0 } else { (0.5 * decades * head_share).min(1.0) };
    let outside = decades - 2.0 * head;
    conditioned_task(shape, 10_f64.powf(outside), 10_f64.powf(head), rng)
}

/// Orthonormal rows that span the complement of `G⋆`'s row space, (d − k) × d.
fn complement(representation: ArrayView2<f64>) -> Result<Array2<f64>> {
    let (k, d) = representation.dim();
    let mut projector = Array2::zeros((d, d));
    gram(1.0, representation.t(), 0.0, &mut projector.view_mut())?;
    let eigen = SymmetricEigen::new(projector.view())?;
    Ok(eigen.vectors().slice(s![.., ..d - k]).t().to_owned())
}

/// Sensitivities that bound the error of the finite differences.
struct Sensitivity {
    /// The difference step h.
    step: f64,
    /// The error of a Jacobian at rate 1, as a multiple of the rate.
    error_per_rate: f64,
}

impl Sensitivity {
    /// `F_ls(G)` is off by a relative `s δ` where G is off by δ, `s = ‖Σ‖/λ_min(G⋆ΣG⋆ᵀ)`. Hence the
    /// gradient's third derivative is at most about `a s³`, `a = ‖F⋆‖²‖Σ‖`, and its rounding error
    /// `a s ε · dimension`; the step h balances `h² a s³` with `ε a s/h`.
    fn of(task: &LinearTask) -> Result<Self> {
        let sigma = task.covariance().matrix();
        let g = task.representation();
        let mut inside = g.dot(&sigma).dot(&g.t());
        symmetrize(&mut inside.view_mut());
        let (least, _) = extreme_eigenvalues(inside.view())?;
        let (_, most) = extreme_eigenvalues(sigma)?;
        let (head, _) = extreme_singular_values(task.head())?;
        let s = most / least;
        let step = (f64::EPSILON / (s * s)).cbrt();
        let length = rounding::chain(task.map().nrows() + task.rank() + g.ncols()) / f64::EPSILON;
        let balanced = f64::EPSILON.powf(2.0 / 3.0) * s.powf(5.0 / 3.0);
        Ok(Self { step, error_per_rate: length * head * head * most * balanced })
    }

    /// At rate η the step is G minus η times the gradient: the error of G's own rounding is ε/h.
    fn error(&self, eta: f64) -> f64 {
        eta * self.error_per_rate + 10.0 * f64::EPSILON / self.step
    }
}

/// The Jacobian of one real AMGD step on the population at `C G⋆`, on coordinates of `Δ = G P⊥` in
/// an orthonormal basis of range P⊥ (row-major k (d − k)), by central differences.
///
/// # Errors
/// Faults of the task or of the step.
pub fn jacobian(
    task: &LinearTask,
    basis: ArrayView2<f64>,
    eta: f64,
    steps: &dyn Steps,
) -> Result<Array2<f64>> {
    let outside = complement(task.representation())?;
    let h = Sensitivity::of(task)?.step;
    let (k, free) = (task.rank(), outside.nrows());
    let data = StepData::from_moments(task.population_moments(1)?, Needs::default())?;
    let shape = (task.head().nrows(), k, outside.ncols());
    let mut algorithm = steps.amgd(eta, false, shape)?;
    let base = basis.dot(&task.representation());
    let mut stepped = |row: usize, column: usize, h: f64| -> Result<Array2<f64>> {
        let mut start = base.clone();
        start.row_mut(row).scaled_add(h, &outside.row(column));
        // AMGD refits its head: where it starts from does not matter.
        let mut net = TwoLayerLinear::new(Array2::ones((shape.0, k)), start)?;
        algorithm.step(&mut net, &data)?;
        Ok(net.representation().dot(&outside.t()))
    };
    let mut jacobian = Array2::zeros((k * free, k * free));
    for row in 0..k {
        for column in 0..free {
            let change = stepped(row, column, h)? - stepped(row, column, -h)?;
            let mut target = jacobian.column_mut(row * free + column);
            target.iter_mut().zip(&change).for_each(|(j, c)| *j = c / (2.0 * h));
        }
    }
    Ok(jacobian)
}

/// The same from the closed form.
fn predicted_jacobian(task: &LinearTask, map: &AmgdMap, eta: f64) -> Result<Array2<f64>> {
    let outside = complement(task.representation())?;
    let (k, free) = (task.rank(), outside.nrows());
    let mut jacobian = Array2::zeros((k * free, k * free));
    for row in 0..k {
        for column in 0..free {
            let mut delta = Array2::zeros((k, outside.ncols()));
            delta.row_mut(row).assign(&outside.row(column));
            let image = map.apply(delta.view(), eta)?.dot(&outside.t());
            jacobian.column_mut(row * free + column).assign(&image.flatten());
        }
    }
    Ok(jacobian)
}

/// Spectral radius of a real AMGD step's Jacobian at `G⋆`: the contraction factor at rate η.
///
/// # Errors
/// Faults of the task or of the step.
pub fn contraction(task: &LinearTask, eta: f64, steps: &dyn Steps) -> Result<f64> {
    let mut jacobian = jacobian(task, Array2::eye(task.rank()).view(), eta, steps)?;
    // F⋆ᵀF⋆ ⊗ Σ_c is symmetric: what is not is the differences' error.
    symmetrize(&mut jacobian.view_mut());
    let (least, most) = extreme_eigenvalues(jacobian.view())?;
    Ok(least.abs().max(most.abs()))
}

/// The Jacobian at `C G⋆` for an orthogonal `basis` C, at half the largest stable rate, against the
/// formula with `F⋆Cᵀ` in place of `F⋆`; in the Frobenius norm.
///
/// # Errors
/// Faults of the task or of the step.
pub fn compare_jacobian(
    task: &LinearTask,
    basis: ArrayView2<f64>,
    steps: &dyn Steps,
) -> Result<Comparison> {
    let head = task.head().dot(&basis.t());
    let map = AmgdMap::new(head.view(), task.representation(), task.covariance().matrix())?;
    let eta = 1.0 / map.extremes.1;
    let measured = jacobian(task, basis, eta, steps)?;
    let predicted = predicted_jacobian(task, &map, eta)?;
    // The Frobenius norm of a matrix of k (d − k) columns, each with the error of one.
    let columns = (measured.ncols() as f64).sqrt();
    Ok(Comparison {
        deviation: norm((&measured - &predicted).view()),
        tolerance: columns * Sensitivity::of(task)?.error(eta),
    })
}

/// Measured contraction factors over a grid of rates up to 1.2 times the largest stable one: the
/// largest difference from the formula, or shortfall below (κ − 1)/(κ + 1).
///
/// # Errors
/// Faults of the task or of the step.
pub fn compare_contraction(task: &LinearTask, steps: &dyn Steps) -> Result<Comparison> {
    let map = AmgdMap::new(task.head(), task.representation(), task.covariance().matrix())?;
    let largest = 2.0 / map.extremes.1;
    let grid = [0.1, 0.3, 0.5, 0.8, 0.95, 1.0, 1.2].map(|share| share * largest);
    let mut deviation = 0.0_f64;
    for eta in grid.into_iter().chain([map.best_rate()]) {
        let measured = contraction(task, eta, steps)?;
        let difference = (measured - map.contraction(eta)).abs();
        deviation = larger(deviation, larger(difference, map.best_contraction() - measured));
    }
    let columns = (task.rank() * (task.map().ncols() - task.rank())) as f64;
    let tolerance = columns.sqrt() * Sensitivity::of(task)?.error(1.2 * largest);
    // The best factor is 1 − 2/(κ + 1): what cannot tell it from 1 decides nothing.
    let tells = tolerance <= 0.5 * (1.0 - map.best_contraction());
    Ok(Comparison { deviation, tolerance: if tells { tolerance } else { f64::INFINITY } })
}

/// The factor by which a real KFAC step on the population shrinks `‖G P⊥‖`, from a random point,
/// against `1 − η_G`.
///
/// # Errors
/// Faults of the task or of the step.
pub fn compare_kfac(
    task: &LinearTask,
    eta: f64,
    rng: &mut dyn RngCore,
    steps: &dyn Steps,
) -> Result<Comparison> {
    let start = normals(task.rank(), task.map().ncols(), rng);
    let net = TwoLayerLinear::new(task.head().to_owned(), start)?;
    let measured = kfac_ratio(task, &net, eta, steps)?;
    let data = task.population_moments(1)?;
    let shrunk = norm(wrong_part(net.representation(), task.representation())?.view());
    let relative = norm(net.representation()) / shrunk;
    Ok(Comparison {
        deviation: (measured - kfac_contraction(eta)?).abs(),
        tolerance: rounding::representation_step(&net, &data, 0.0)? * relative,
    })
}

/// `‖G₊P⊥‖ / ‖G P⊥‖` for one real KFAC step with λ_G = 0 on the population.
///
/// # Errors
/// Faults of the task or of the step.
pub fn kfac_ratio(
    task: &LinearTask,
    start: &TwoLayerLinear,
    eta: f64,
    steps: &dyn Steps,
) -> Result<f64> {
    let data = StepData::from_moments(task.population_moments(1)?, Needs::default())?;
    let rates = KfacRates { representation: eta, head: 1.0, damping: 0.0 };
    let mut net = start.clone();
    steps.kfac(rates, start.shape())?.step(&mut net, &data)?;
    let size =
        |g| Ok::<f64, crate::ExperimentError>(norm(wrong_part(g, task.representation())?.view()));
    Ok(size(net.representation())? / size(start.representation())?)
}
