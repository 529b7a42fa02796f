//! The algorithms of the figures against naive formulas, with the hyperparameters of the settings
//! written out here once more: a default that changes somewhere is seen here.
//!
//! Before each step the naive method is given the network that the algorithm is about to step
//! on, so rounding does not pile up through the weights; only averages are its own.

use std::cell::Cell;
use std::rc::Rc;

use layerwise_data::{Basis, Law, LinearTask, LinearTaskSpec, Moments, Spectrum, Streams};
use layerwise_experiments::Result;
use layerwise_experiments::linear::{Algorithm, LinearMethod, Needs, StepData};
use layerwise_experiments::ndarray::{Array2, Axis, s};
use layerwise_models::{LinearPass, TwoLayerLinear};
use layerwise_optim::methods::OutputFactor;
use layerwise_optim::{Averaging, Factor, Kfac, Method, Refresh, Signal};
use rand::Rng;
use rand_distr::StandardNormal;

type Shape = (usize, usize, usize);

const SAMPLES: usize = 60;
const EPSILON: f64 = f64::EPSILON;

/// A network of shape (d_Y, k, d_X) and the data that it steps on.
struct Problem {
    shape: Shape,
    task: LinearTask,
    net: TwoLayerLinear,
    data: StepData,
    rng: Box<dyn rand::RngCore>,
}

impl Problem {
    fn new(shape: Shape, condition: f64) -> Self {
        let (outputs, k, inputs) = shape;
        let spec = LinearTaskSpec {
            input_dimension: inputs,
            output_dimension: outputs,
            rank: k,
            spectrum: Spectrum::LogSpaced { condition },
            basis: Basis::Haar,
            law: Law::Gaussian,
            head_condition: 3.0,
            noise: 0.1,
        };
        let streams = Streams::new(7);
        let task = spec.draw(&mut streams.stream("algorithms", "task", 0)).unwrap();
        let mut rng: Box<dyn rand::RngCore> = Box::new(streams.stream("algorithms", "batches", 0));
        let mut normal = |rows, columns, scale: f64| {
            Array2::from_shape_simple_fn((rows, columns), || {
                scale * rng.sample::<f64, _>(StandardNormal)
            })
        };
        let net = TwoLayerLinear::new(normal(outputs, k, 0.5), normal(k, inputs, 0.4)).unwrap();
        let needs = Needs { spectrum: true, normalized: true, samples: true };
        Self { shape, task, net, data: StepData::new(inputs, outputs, SAMPLES, needs), rng }
    }

    fn draw(&mut self) {
        self.data.draw(&self.task, &mut self.rng).unwrap();
    }
}

/// One method's own step from the same point: `(G₊, F₊)`.
type NaiveStep<'a> = dyn FnMut(&TwoLayerLinear, &StepData) -> (Array2<f64>, Array2<f64>) + 'a;

/// The difference between the algorithm's step and the naive one at each of `steps` steps,
/// relative to the size of the naive change.
fn deviations(
    cell: Racer,
    problem: &mut Problem,
    steps: usize,
    naive: &mut NaiveStep<'_>,
) -> Vec<f64> {
    let mut algorithm = cell.algorithm(problem.shape, SAMPLES).unwrap();
    let mut by_step = Vec::with_capacity(steps);
    for _ in 0..steps {
        problem.draw();
        let before = problem.net.clone();
        let mut worst = 0.0_f64;
        let (g, f) = naive(&before, &problem.data);
        algorithm.step(&mut problem.net, &problem.data).unwrap();
        for (ours, naive, before) in [
            (problem.net.representation(), &g, before.representation()),
            (problem.net.head(), &f, before.head()),
        ] {
            let change = norm(&(naive - &before));
            assert!(change > 0.0 && change.is_finite());
            worst = worst.max(norm(&(&ours - naive)) / change);
        }
        by_step.push(worst);
    }
    by_step
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// The largest of [`deviations`].
fn deviation(cell: Racer, problem: &mut Problem, steps: usize, naive: &mut NaiveStep<'_>) -> f64 {
    largest(&deviations(cell, problem, steps, naive))
}

fn norm(a: &Array2<f64>) -> f64 {
    a.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// A method of the figures, by its name there.
#[derive(Clone, Copy)]
struct Racer {
    method: &'static str,
    rate: f64,
    damping: Option<f64>,
}

impl Racer {
    fn algorithm(self, shape: (usize, usize, usize), samples: usize) -> Result<Box<dyn Algorithm>> {
        LinearMethod::of_figures(self.method, self.rate, self.damping)?.algorithm(shape, samples)
    }
}

fn cell(method: &'static str, rate: f64) -> Racer {
    Racer { method, rate, damping: None }
}

/// `(∇_G, ∇_F)` at one point, by the formulas of the model.
fn gradients(net: &TwoLayerLinear, moments: &Moments) -> (Array2<f64>, Array2<f64>) {
    let (f, g) = (net.head(), net.representation());
    let residual = f.dot(&g).dot(&moments.xx()) - moments.yx();
    (f.t().dot(&residual), residual.dot(&g.t()))
}

/// `A⁻¹ B` by Gauss-Jordan elimination with row pivoting.
fn solve(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let n = a.nrows();
    let (mut a, mut b) = (a.clone(), b.clone());
    for column in 0..n {
        let pivot =
            (column..n).max_by(|&i, &j| a[[i, column]].abs().total_cmp(&a[[j, column]].abs()));
        let pivot = pivot.unwrap();
        for j in 0..n {
            a.swap([column, j], [pivot, j]);
        }
        for j in 0..b.ncols() {
            b.swap([column, j], [pivot, j]);
        }
        let scale = a[[column, column]].recip();
        a.row_mut(column).mapv_inplace(|x| x * scale);
        b.row_mut(column).mapv_inplace(|x| x * scale);
        for row in (0..n).filter(|&row| row != column) {
            let factor = a[[row, column]];
            let (source_a, source_b) = (a.row(column).to_owned(), b.row(column).to_owned());
            a.row_mut(row).scaled_add(-factor, &source_a);
            b.row_mut(row).scaled_add(-factor, &source_b);
        }
    }
    b
}

/// Eigenvalues and eigenvectors (columns) of a symmetric matrix by cyclic Jacobi rotations,
/// ascending. Absolute error of a value: a small multiple of ε ‖S‖.
fn jacobi(symmetric: &Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = symmetric.nrows();
    let (mut a, mut v) = (symmetric.clone(), Array2::eye(n));
    for _ in 0..15 {
        for p in 0..n {
            for q in p + 1..n {
                if a[[p, q]] == 0.0 {
                    continue;
                }
                let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = t.hypot(1.0).recip();
                let s = t * c;
                for i in 0..n {
                    let (x, y) = (a[[i, p]], a[[i, q]]);
                    (a[[i, p]], a[[i, q]]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (v[[i, p]], v[[i, q]]);
                    (v[[i, p]], v[[i, q]]) = (c * x - s * y, s * x + c * y);
                }
                for i in 0..n {
                    let (x, y) = (a[[p, i]], a[[q, i]]);
                    (a[[p, i]], a[[q, i]]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[[i, i]].total_cmp(&a[[j, j]]));
    let values = order.iter().map(|&i| a[[i, i]]).collect();
    let mut vectors = Array2::zeros((n, n));
    for (to, &from) in order.iter().enumerate() {
        vectors.column_mut(to).assign(&v.column(from));
    }
    (values, vectors)
}

fn condition(symmetric: &Array2<f64>) -> f64 {
    let (values, _) = jacobi(symmetric);
    values[values.len() - 1] / values[0]
}

fn ridge(matrix: Array2<f64>, damping: f64) -> Array2<f64> {
    let n = matrix.nrows();
    matrix + damping * Array2::<f64>::eye(n)
}

// KFAC.

fn public_kfac(rate: f64) -> (Kfac, Kfac) {
    let plain = Kfac {
        learning_rate: rate.into(),
        damping: 1e-6.into(),
        output: OutputFactor::Signal,
        averaging: Averaging::None,
        refresh: Refresh::every(1),
        ..Kfac::stylised()
    };
    let head = Kfac { damping: 0.0.into(), output: OutputFactor::Identity, ..plain.clone() };
    (plain, head)
}

/// The figure's KFAC is the public one: the same bits, at the figures' dimensions, from the same
/// gradients and factors.
#[test]
fn kfac_of_the_figures_is_the_public_kfac_bit_for_bit() {
    let shape = (15, 8, 100);
    let mut problem = Problem::new(shape, 1e4);
    let samples = 1024;
    problem.data = StepData::new(100, 15, samples, Needs::default());
    let rate = 0.1;
    let mut algorithm = cell("KFAC", rate).algorithm(shape, samples).unwrap();
    let (for_g, for_f) = public_kfac(rate);
    let mut for_g = for_g.build((8, 100)).unwrap();
    let mut for_f = for_f.build((15, 8)).unwrap();
    let mut net = problem.net.clone();
    let mut pass = LinearPass::with_shape(shape);
    for _ in 0..10 {
        problem.draw();
        let moments = problem.data.moments();
        pass.representation(&net, moments).unwrap();
        let signal = Signal::new(pass.representation_gradient())
            .with_input(Factor::SecondMoment(moments.xx()))
            .with_output(Factor::SecondMoment(pass.head_gram()));
        for_g.step(&mut net.representation_mut(), &signal).unwrap();
        // Update (1) takes the head's gradient and factor at the new representation.
        pass.head(&net, moments).unwrap();
        let signal =
            Signal::new(pass.head_gradient()).with_input(Factor::SecondMoment(pass.features()));
        for_f.step(&mut net.head_mut(), &signal).unwrap();

        let start = problem.net.clone();
        algorithm.step(&mut problem.net, &problem.data).unwrap();
        assert_ne!(start, problem.net);
        let bits = |a: &Array2<f64>| a.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for (ours, public) in
            [(problem.net.representation(), net.representation()), (problem.net.head(), net.head())]
        {
            assert_eq!(bits(&ours.to_owned()), bits(&public.to_owned()));
        }
    }
}

fn update_one(
    net: &TwoLayerLinear,
    moments: &Moments,
    (rate, damping): (f64, f64),
    sequential: bool,
) -> (Array2<f64>, Array2<f64>) {
    let (gradient, _) = gradients(net, moments);
    let p = ridge(net.head().t().dot(&net.head()), damping);
    let q = ridge(moments.xx().to_owned(), damping);
    let change = solve(&q, &solve(&p, &gradient).t().to_owned());
    let g = &net.representation() - &(rate * &change.t());
    let at = if sequential { g.clone() } else { net.representation().to_owned() };
    let moved = TwoLayerLinear::new(net.head().to_owned(), at.clone()).unwrap();
    let (_, gradient) = gradients(&moved, moments);
    let features = at.dot(&moments.xx()).dot(&at.t());
    let change = solve(&features, &gradient.t().to_owned());
    (g, &net.head() - &(rate * &change.t()))
}

/// Solves by Cholesky and by elimination are backward stable: each is off by at most about
/// n ε κ of the factor, times the condition of the whole product where it is relative to the
/// change. The factors are I + ridge, so the product of both conditions bounds it.
#[test]
fn kfac_is_update_one() {
    let mut problem = Problem::new((5, 3, 12), 100.0);
    for damping in [None, Some(0.1)] {
        let cell = Racer { method: "KFAC", rate: 0.3, damping };
        let lambda = damping.unwrap_or(1e-6);
        let mut bound = 0.0_f64;
        let off = deviation(cell, &mut problem, 5, &mut |net, data| {
            let xx = data.moments().xx().to_owned();
            let gram = net.head().t().dot(&net.head());
            let stepped = update_one(net, data.moments(), (0.3, lambda), true);
            let features = stepped.0.dot(&xx).dot(&stepped.0.t());
            let both = condition(&ridge(xx, lambda)) * condition(&ridge(gram, lambda));
            bound = bound.max(8.0 * 12.0 * EPSILON * both * condition(&features));
            stepped
        });
        assert!(bound < 1e-5, "the bound says nothing: {bound:e}");
        assert!(off <= bound, "{off:e} > {bound:e}");
        // What it is not: the head at the old representation, or another ridge.
        for (lambda, sequential) in [(lambda, false), (3.0 * lambda + 1e-3, true)] {
            let other = deviation(cell, &mut problem, 1, &mut |net, data| {
                update_one(net, data.moments(), (0.3, lambda), sequential)
            });
            assert!(other > 30.0 * bound, "{lambda} {sequential}: {other:e}");
        }
    }
}

// Methods from gradients alone. All four replays are shown the gradients' own bits.

/// A layer's naive method: gradient to change of the weight, before the rate.
type Layer = Box<dyn FnMut(&Array2<f64>) -> Array2<f64>>;
/// What is wrong with a method, and the method.
type Variant = (&'static str, Box<dyn Fn() -> Layer>);

/// Replays a method that treats both layers alike.
fn replay(cell: Racer, problem: &mut Problem, steps: usize, layer: &dyn Fn() -> Layer) -> Vec<f64> {
    let mut pass = LinearPass::with_shape(problem.shape);
    let (mut for_g, mut for_f) = (layer(), layer());
    deviations(cell, problem, steps, &mut |net, data| {
        pass.joint(net, data.moments()).unwrap();
        let g = for_g(&pass.representation_gradient().to_owned());
        let f = for_f(&pass.head_gradient().to_owned());
        (&net.representation() - &(cell.rate * g), &net.head() - &(cell.rate * f))
    })
}

/// Checks a replay against its tolerance, and that each variant of it is told apart.
fn check_replay(
    method: &'static str,
    problem: &dyn Fn() -> Problem,
    steps: usize,
    tolerance: f64,
    right: &dyn Fn() -> Layer,
    wrong: &[Variant],
) {
    let cell = cell(method, 0.01);
    let off = largest(&replay(cell, &mut problem(), steps, right));
    assert!(off <= tolerance, "{method:?}: {off:e} > {tolerance:e}");
    for (what, layer) in wrong {
        let off = largest(&replay(cell, &mut problem(), steps, &**layer));
        assert!(off > 10.0 * tolerance, "{method:?} with {what} cannot be told apart: {off:e}");
    }
}

fn momentum(beta: f64) -> Layer {
    let mut velocity: Option<Array2<f64>> = None;
    Box::new(move |g| {
        let next = velocity.take().map_or_else(|| g.clone(), |v| beta * v + g);
        velocity = Some(next.clone());
        next
    })
}

/// Elementwise in fixed order: a few roundings a step, also relative to the weight, which is up to
/// 10³ changes large; so 10⁴ ε.
#[test]
fn sgd_and_momentum_have_the_settings_hyperparameters() {
    let problem = || Problem::new((5, 3, 12), 10.0);
    check_replay(
        "SGD",
        &problem,
        4,
        1e4 * EPSILON,
        &|| momentum(0.0),
        &[("momentum", Box::new(|| momentum(0.1)))],
    );
    check_replay(
        "momentum",
        &problem,
        4,
        1e4 * EPSILON,
        &|| momentum(0.9),
        &[("another momentum", Box::new(|| momentum(0.91))), ("none", Box::new(|| momentum(0.0)))],
    );
}

fn adam(beta1: f64, beta2: f64, epsilon: f64) -> Layer {
    let mut state: Option<(Array2<f64>, Array2<f64>)> = None;
    let mut steps = 0;
    Box::new(move |g| {
        let (m, v) = state.take().unwrap_or((0.0 * g, 0.0 * g));
        let m = beta1 * m + (1.0 - beta1) * g;
        let v = beta2 * v + (1.0 - beta2) * (g * g);
        steps += 1;
        let mut change = &m / (1.0 - beta1.powi(steps));
        let size = &v / (1.0 - beta2.powi(steps));
        change.zip_mut_with(&size, |m, v| *m /= v.sqrt() + epsilon);
        state = Some((m, v));
        change
    })
}

/// As for momentum: elementwise, relative to weights of up to 10³ changes.
#[test]
fn adam_has_the_settings_hyperparameters() {
    let problem = || Problem::new((5, 3, 12), 10.0);
    check_replay(
        "Adam",
        &problem,
        6,
        1e4 * EPSILON,
        &|| adam(0.9, 0.999, 1e-8),
        &[
            ("β₁ = 0.91", Box::new(|| adam(0.91, 0.999, 1e-8))),
            ("β₂ = 0.99", Box::new(|| adam(0.9, 0.99, 1e-8))),
            ("ε = 1e-7", Box::new(|| adam(0.9, 0.999, 1e-7))),
        ],
    );
}

fn muon(beta: f64, nesterov: bool, steps: usize, c: [f64; 3], scaled: bool) -> Layer {
    let mut average: Option<Array2<f64>> = None;
    Box::new(move |g| {
        let m = beta * average.take().unwrap_or(0.0 * g) + (1.0 - beta) * g;
        let direction = if nesterov { beta * &m + (1.0 - beta) * g } else { m.clone() };
        average = Some(m);
        let mut x = &direction / (norm(&direction) + 1e-7);
        for _ in 0..steps {
            let gram = x.dot(&x.t());
            let polynomial = c[1] * &gram + c[2] * gram.dot(&gram);
            x = c[0] * &x + polynomial.dot(&x);
        }
        let (rows, columns) = x.dim();
        if scaled { x * (rows as f64 / columns as f64).max(1.0).sqrt() } else { x }
    })
}

/// Newton-Schulz magnifies an error by at most 3.4445⁵ = 485, each of its steps adds a few nε,
/// and weights are up to 10³ changes large: 10³ · 12 ε · 10 covers both.
#[test]
fn muon_has_the_settings_hyperparameters() {
    const C: [f64; 3] = [3.4445, -4.7750, 2.0315];
    let tolerance = 1e4 * 12.0 * EPSILON;
    let problem = || Problem::new((5, 3, 12), 10.0);
    check_replay(
        "Muon",
        &problem,
        5,
        tolerance,
        &|| muon(0.95, true, 5, C, true),
        &[
            ("β = 0.94", Box::new(|| muon(0.94, true, 5, C, true))),
            ("no Nesterov", Box::new(|| muon(0.95, false, 5, C, true))),
            ("six steps", Box::new(|| muon(0.95, true, 6, C, true))),
            (
                "other coefficients",
                Box::new(|| muon(0.95, true, 5, [3.4445, -4.775, 2.0316], true)),
            ),
            ("no scale", Box::new(|| muon(0.95, true, 5, C, false))),
        ],
    );
}

fn inverse_root(s: &Array2<f64>, exponent: f64, relative_ridge: f64) -> Array2<f64> {
    let (values, vectors) = jacobi(s);
    let ridge = relative_ridge * values[values.len() - 1];
    let mut scaled = vectors.clone();
    for (mut column, value) in scaled.columns_mut().into_iter().zip(values) {
        column *= (value.max(0.0) + ridge).powf(-exponent);
    }
    scaled.dot(&vectors.t())
}

/// `(β, exponent, ridge, bias correction, refresh)`.
fn shampoo(beta: f64, exponent: f64, ridge: f64, corrected: bool, every: usize) -> Layer {
    let mut state: Option<(Array2<f64>, Array2<f64>)> = None;
    let mut roots = None;
    let mut steps = 0;
    Box::new(move |g| {
        let (left, right) = (g.dot(&g.t()), g.t().dot(g));
        let (l, r) = state.take().unwrap_or((0.0 * &left, 0.0 * &right));
        let (l, r) = (beta * l + (1.0 - beta) * left, beta * r + (1.0 - beta) * right);
        steps += 1;
        let weight = if corrected { 1.0 - beta.powi(steps as i32) } else { 1.0 };
        if steps == 1 || steps % every == 0 {
            roots = Some([&l, &r].map(|s| inverse_root(&(s / weight), exponent, ridge)));
        }
        state = Some((l, r));
        let [left, right] = roots.as_ref().unwrap();
        left.dot(g).dot(right)
    })
}

/// Both eigensolvers are off by c n ε λ_max absolutely. x^(−1/4) at the ridge, 10⁻⁸ λ_max, has a
/// slope of ¼ · 10¹⁰ λ_max^(−5/4), so a root is off by at most ¼ · 10¹⁰ n ε of λ_max^(−1/4);
/// with n = 12 and c = 4 that is 2.7·10⁻⁵. The change is of about its unperturbed size,
/// ‖g‖ λ_max^(−1/2).
#[test]
fn shampoo_has_the_settings_hyperparameters() {
    let problem = || Problem::new((5, 3, 12), 1e4);
    let tolerance = 0.25 * 1e10 * 12.0 * 4.0 * EPSILON;
    let right = || shampoo(0.95, 0.25, 1e-8, true, 1);
    check_replay(
        "Shampoo",
        &problem,
        5,
        tolerance,
        &right,
        &[
            ("β = 0.94", Box::new(|| shampoo(0.94, 0.25, 1e-8, true, 1))),
            ("exponent 1/2", Box::new(|| shampoo(0.95, 0.5, 1e-8, true, 1))),
            ("a ridge of 1e-6", Box::new(|| shampoo(0.95, 0.25, 1e-6, true, 1))),
            ("no correction", Box::new(|| shampoo(0.95, 0.25, 1e-8, false, 1))),
            ("refresh every 2", Box::new(|| shampoo(0.95, 0.25, 1e-8, true, 2))),
        ],
    );
}

type Sensitivity = Rc<Cell<[f64; 2]>>;

/// Notes in `sensitivity`, for the first step and for the later ones, the largest λ_max / gap of
/// the factors at a refresh, times the largest ‖g‖ / (√v + ε) of an entry.
fn soap(
    beta: f64,
    factor_beta: f64,
    epsilon: f64,
    every: usize,
    sensitivity: &Sensitivity,
) -> Layer {
    let sensitivity = Rc::clone(sensitivity);
    let mut spread = 0.0_f64;
    type State = [Array2<f64>; 4];
    let mut state: Option<State> = None;
    let mut bases = None;
    let mut steps = 0;
    Box::new(move |g| {
        let (left, right) = (g.dot(&g.t()), g.t().dot(g));
        let [l, r, m, v] = state.take().unwrap_or([0.0 * &left, 0.0 * &right, 0.0 * g, 0.0 * g]);
        let l = factor_beta * l + (1.0 - factor_beta) * left;
        let r = factor_beta * r + (1.0 - factor_beta) * right;
        steps += 1;
        if steps == 1 || steps % every == 0 {
            bases = Some([&l, &r].map(|s| {
                let (values, vectors) = jacobi(s);
                let gap = values.windows(2).map(|w| w[1] - w[0]).fold(f64::INFINITY, f64::min);
                spread = spread.max(values[values.len() - 1] / gap);
                vectors
            }));
        }
        let [left, right] = bases.as_ref().unwrap();
        let rotated = left.t().dot(g).dot(right);
        let m = beta * m + (1.0 - beta) * g;
        let v = beta * v + (1.0 - beta) * (&rotated * &rotated);
        let correction = 1.0 - beta.powi(steps as i32);
        let mut change = left.t().dot(&m).dot(right) / correction;
        change.zip_mut_with(&v, |m, v| *m /= (v / correction).sqrt() + epsilon);
        let smallest = v.iter().fold(f64::INFINITY, |a, &b| a.min(b / correction)).sqrt() + epsilon;
        let mut noted = sensitivity.get();
        let stage = usize::from(steps > 1);
        noted[stage] = noted[stage].max(spread * norm(g) / smallest);
        sensitivity.set(noted);
        state = Some([l, r, m, v]);
        left.dot(&change).dot(&right.t())
    })
}

/// Square layers, so that the first gradient has full rank and every eigenvector is determined.
/// A vector is off by a few n ε λ_max / gap, so a rotated entry by that times ‖g‖, which division
/// by √v + ε magnifies; changes are of size 1. At the first step the bases are the gradient's own,
/// all entries but the diagonal are rounding, and ε alone divides them.
#[test]
fn soap_has_the_settings_hyperparameters() {
    let seen = || Rc::new(Cell::new([0.0; 2]));
    let sensitivity = seen();
    let run = |layer: &dyn Fn() -> Layer| {
        replay(cell("SOAP", 0.01), &mut Problem::new((4, 4, 4), 3.0), 21, layer)
    };
    let off = run(&|| soap(0.95, 0.95, 1e-8, 10, &sensitivity));
    let [first, later] = sensitivity.get().map(|size| 4.0 * 4.0 * EPSILON * size);
    assert!(first < 1e-2 && later < 1e-7, "the tolerances say nothing: {first:e}, {later:e}");
    assert!(off[0] <= first, "{:e} > {first:e}", off[0]);
    assert!(largest(&off[1..]) <= later, "{off:?} > {later:e}");
    for (beta, factor_beta, epsilon, every) in [
        (0.94, 0.95, 1e-8, 10),
        (0.95, 0.94, 1e-8, 10),
        (0.95, 0.95, 1e-7, 10),
        (0.95, 0.95, 1e-8, 5),
        (0.95, 0.95, 1e-8, 1),
    ] {
        let off = run(&|| soap(beta, factor_beta, epsilon, every, &seen()));
        let off = largest(&off[1..]);
        assert!(off > 10.0 * later, "{beta} {factor_beta} {epsilon} {every}: {off:e}");
    }
}

// Methods on the whole network.

/// Rows made orthonormal one after the other, twice, each in its own direction.
fn gram_schmidt(g: &Array2<f64>) -> Array2<f64> {
    let mut q = g.clone();
    for i in 0..q.nrows() {
        for _ in 0..2 {
            for j in 0..i {
                let other = q.row(j).to_owned();
                let overlap = q.row(i).dot(&other);
                q.row_mut(i).scaled_add(-overlap, &other);
            }
        }
        let length = q.row(i).dot(&q.row(i)).sqrt();
        q.row_mut(i).mapv_inplace(|x| x / length);
    }
    q
}

fn least_squares(g: &Array2<f64>, xx: &Array2<f64>, yx: &Array2<f64>) -> Array2<f64> {
    solve(&g.dot(xx).dot(&g.t()), &g.dot(&yx.t())).t().to_owned()
}

/// The moments of a batch, where asked with each coordinate divided by its standard deviation.
fn moments_of_samples(data: &StepData, normalized: bool) -> (Array2<f64>, Array2<f64>) {
    let batch = data.batch().unwrap().samples();
    let n = SAMPLES as f64;
    let mut x = batch.x().to_owned();
    if normalized {
        for mut column in x.columns_mut() {
            let mean = column.sum() / n;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            column /= variance.sqrt();
        }
    }
    (x.t().dot(&x) / n, batch.y().t().dot(&x) / n)
}

/// Least squares lose n ε κ(Ê[zzᵀ]), orthonormalization n ε κ(G): their product bounds what reaches
/// the second head. A step of at least a tenth of the weights makes it relative to the change.
#[test]
fn amgd_is_least_squares_gradient_orthonormalize_least_squares() {
    for (method, normalized) in [("AMGD", false), ("AMGD+BN", true)] {
        let tolerance = Cell::new(0.0_f64);
        let step = |normalized: bool| {
            let tolerance = &tolerance;
            move |net: &TwoLayerLinear, data: &StepData| {
                let (xx, yx) = moments_of_samples(data, normalized);
                let g = net.representation().to_owned();
                let f = least_squares(&g, &xx, &yx);
                let before = condition(&g.dot(&xx).dot(&g.t()));
                let g = g - 0.1 * f.t().dot(&(f.dot(&net.representation()).dot(&xx) - &yx));
                let rows = condition(&g.dot(&g.t())).sqrt();
                let g = gram_schmidt(&g);
                let f = least_squares(&g, &xx, &yx);
                let after = condition(&g.dot(&xx).dot(&g.t()));
                let bound = 10.0 * 12.0 * EPSILON * before.max(after) * rows;
                tolerance.set(tolerance.get().max(bound));
                (g, f)
            }
        };
        let mut problem = Problem::new((5, 3, 12), 100.0);
        let off = deviation(cell(method, 0.1), &mut problem, 5, &mut step(normalized));
        let bound = tolerance.get();
        assert!(bound < 1e-9, "the bound says nothing: {bound:e}");
        assert!(off <= bound, "{method:?}: {off:e} > {bound:e}");
        let other = deviation(cell(method, 0.1), &mut problem, 1, &mut step(!normalized));
        assert!(other > 1e-3, "{method:?}: {other:e}");
    }
}

/// `(H + λI)⁻¹ Ê[Jᵀr]` from per-sample Jacobians on θ = (vec G, vec F): H is `Ê[JᵀJ]`, or
/// `Ê[(Jᵀr)(Jᵀr)ᵀ]` for the empirical Fisher.
fn natural_gradient(
    net: &TwoLayerLinear,
    data: &StepData,
    damping: f64,
    fisher: bool,
) -> (Array2<f64>, Array2<f64>, f64) {
    let (outputs, k, inputs) = net.shape();
    let (f, g) = (net.head(), net.representation());
    let batch = data.batch().unwrap().samples();
    let offset = k * inputs;
    let size = offset + outputs * k;
    let (mut h, mut gradient) = (Array2::zeros((size, size)), Array2::zeros((size, 1)));
    for (x, y) in batch.x().rows().into_iter().zip(batch.y().rows()) {
        let z = g.dot(&x);
        let mut jacobian = Array2::<f64>::zeros((outputs, size));
        for c in 0..outputs {
            for a in 0..k {
                let mut row = jacobian.slice_mut(s![c, a * inputs..(a + 1) * inputs]);
                row.scaled_add(f[[c, a]], &x);
                jacobian[[c, offset + c * k + a]] = z[a];
            }
        }
        let residual = (f.dot(&z) - y).insert_axis(Axis(1));
        let sample = jacobian.t().dot(&residual);
        h += &if fisher { sample.dot(&sample.t()) } else { jacobian.t().dot(&jacobian) };
        gradient += &sample;
    }
    let n = SAMPLES as f64;
    let h = ridge(h / n, damping);
    let step = solve(&h, &(gradient / n));
    let step = step.into_shape_with_order(size).unwrap();
    let for_g = step.slice(s![..offset]).to_owned().into_shape_with_order((k, inputs)).unwrap();
    let for_f = step.slice(s![offset..]).to_owned().into_shape_with_order((outputs, k)).unwrap();
    (for_g, for_f, condition(&h))
}

/// Both solves are backward stable: N ε κ(H + λI) each, N = 51 parameters, relative to the whole
/// step, of which each layer's part is at least a tenth (a factor 10).
#[test]
fn natural_gradient_is_the_dense_solve() {
    for (method, fisher) in [("NGD (Gauss-Newton)", false), ("NGD (empirical Fisher)", true)] {
        for damping in [1e-4, 1e-2, 1.0] {
            let mut problem = Problem::new((5, 3, 12), 30.0);
            let cell = Racer { method, rate: 0.3, damping: Some(damping) };
            let mut bound = 0.0_f64;
            let mut step = |damping: f64, fisher: bool| {
                let bound = &mut bound;
                deviation(cell, &mut problem, 3, &mut |net, data| {
                    let (g, f, kappa) = natural_gradient(net, data, damping, fisher);
                    *bound = bound.max(10.0 * 51.0 * EPSILON * kappa);
                    (&net.representation() - &(0.3 * g), &net.head() - &(0.3 * f))
                })
            };
            let off = step(damping, fisher);
            let (other_damping, other_matrix) =
                (step(2.0 * damping, fisher), step(damping, !fisher));
            assert!(bound < 1e-4, "the bound says nothing: {bound:e}");
            assert!(off <= bound, "{method:?} {damping}: {off:e} > {bound:e}");
            assert!(other_damping > 10.0 * bound && other_matrix > 10.0 * bound);
        }
    }
}

/// The pass that replays take their gradients from, against the formulas.
#[test]
fn gradients_are_those_of_the_model() {
    let mut problem = Problem::new((5, 3, 12), 100.0);
    problem.draw();
    let mut pass = LinearPass::with_shape(problem.shape);
    pass.joint(&problem.net, problem.data.moments()).unwrap();
    let (g, f) = gradients(&problem.net, problem.data.moments());
    // Sums of up to 12 · 3 products, with cancellation bounded by the sizes of what is subtracted.
    let size = 1.0 + norm(&problem.data.moments().xx().to_owned());
    let tolerance = 36.0 * 8.0 * EPSILON * size;
    assert!(norm(&(&pass.representation_gradient() - &g)) <= tolerance);
    assert!(norm(&(&pass.head_gradient() - &f)) <= tolerance);
}
