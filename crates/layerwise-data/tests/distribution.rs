//! Moments that are drawn directly agree in distribution with moments of samples.
#![expect(clippy::unwrap_used, reason = "a call that fails is a test that fails")]

use layerwise_data::ndarray::{Array1, Array2, ArrayViewMut2};
use layerwise_data::{
    Basis, Batch, Covariance, Covariates, Law, LinearTask, LinearTaskSpec, Moments, Result,
    SingleIndexTask, Spectrum, Streams, Task,
};
use layerwise_linalg::Cholesky;
use rand::Rng;

const D_X: usize = 5;
const D_Y: usize = 3;

fn spec(law: Law, basis: Basis) -> LinearTaskSpec {
    LinearTaskSpec {
        input_dimension: D_X,
        output_dimension: D_Y,
        rank: 2,
        spectrum: Spectrum::LogSpaced { condition: 30.0 },
        basis,
        law,
        head_condition: 3.0,
        // As large as the signal, so that an error of the noise's scale cannot hide.
        noise: 1.0,
    }
}

/// Numbers that together see every part of the moments, their scales and their dependence.
fn functionals(m: &Moments) -> Vec<f64> {
    let (xx, yx, x_mean, y_mean) = (m.xx(), m.yx(), m.x_mean(), m.y_mean());
    let centred = &yx - &outer(&y_mean.to_owned(), &x_mean.to_owned());
    vec![
        xx[[0, 0]],
        xx[[4, 1]],
        xx.diag().sum(),
        xx[[2, 2]] - x_mean[2] * x_mean[2],
        yx[[0, 0]],
        yx[[2, 3]],
        yx.sum(),
        centred[[1, 2]],
        m.yy_trace(),
        m.yy_trace() - y_mean.dot(&y_mean),
        x_mean[0],
        x_mean.sum(),
        y_mean[1],
        y_mean.sum(),
        y_mean.dot(&yx.dot(&x_mean)),
    ]
}

fn outer(a: &Array1<f64>, b: &Array1<f64>) -> Array2<f64> {
    Array2::from_shape_fn((a.len(), b.len()), |(i, j)| a[i] * b[j])
}

/// Sums of values and of their squares, and of the products of each pair.
struct Tally {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Tally {
    fn new() -> Self {
        Self { count: 0.0, sums: Vec::new(), squares: Vec::new() }
    }

    /// Adds the functionals and all their pairwise products.
    fn add(&mut self, values: &[f64]) {
        let mut all = values.to_vec();
        for i in 0..values.len() {
            all.extend(values[..=i].iter().map(|value| value * values[i]));
        }
        self.sums.resize(all.len(), 0.0);
        self.squares.resize(all.len(), 0.0);
        self.count += 1.0;
        for (k, value) in all.iter().enumerate() {
            self.sums[k] += value;
            self.squares[k] += value * value;
        }
    }

    fn mean(&self, k: usize) -> f64 {
        self.sums[k] / self.count
    }

    /// The squared standard error of the mean.
    fn squared_error(&self, k: usize) -> f64 {
        (self.squares[k] / self.count - self.mean(k).powi(2)).max(0.0) / self.count
    }
}

/// Means and second moments of the functionals agree within 6.5 standard errors of their
/// difference: in the normal approximation a false alarm has probability 8e-11, among
/// the 135 numbers of all the two dozen comparisons 3e-7.
fn assert_same_distribution(what: &str, a: &Tally, b: &Tally) {
    for k in 0..a.sums.len() {
        let error = (a.squared_error(k) + b.squared_error(k)).sqrt();
        let difference = a.mean(k) - b.mean(k);
        assert!(
            difference.abs() <= 6.5 * error + 1e-12,
            "{what}: functional {k}: {} and {}, {} standard errors",
            a.mean(k),
            b.mean(k),
            difference / error
        );
    }
}

fn compare<T: Task>(what: &str, task: &T, n: usize, draws: usize) {
    let mut rng = Streams::new(21).stream(what, "draws", n as u64);
    let (d_x, d_y) = (task.input_dimension(), task.output_dimension());
    let (mut direct, mut sampled) = (Tally::new(), Tally::new());
    let mut batch = Batch::with_dimensions(d_x, d_y);
    let mut of_batch = Moments::with_dimensions(d_x, d_y);
    let mut moments = Moments::with_dimensions(d_x, d_y);
    for _ in 0..draws {
        task.draw_batch(n, &mut rng, &mut batch).unwrap();
        of_batch.set_from_batch(&batch).unwrap();
        sampled.add(&functionals(&of_batch));
        task.draw_moments(n, &mut rng, &mut moments).unwrap();
        assert_eq!(moments.sample_size(), n);
        direct.add(&functionals(&moments));
    }
    assert_same_distribution(&format!("{what}, n = {n}"), &direct, &sampled);
}

/// Below, at and just above the number of dimensions; with and without degrees left for the χ².
const SIZES: [usize; 6] = [1, 3, 5, 6, 7, 20];

#[test]
fn gaussian_moments() {
    let mut rng = Streams::new(22).stream("gaussian", "task", 0);
    for basis in [Basis::Haar, Basis::Axis] {
        let task = spec(Law::Gaussian, basis).draw(&mut rng).unwrap();
        for n in SIZES {
            compare(&format!("Gaussian, {basis:?}"), &task, n, 20_000);
        }
    }
}

/// n = 6 and 7 often repeat a coordinate's signs: those draws take the way by samples.
#[test]
fn sign_moments() {
    let mut rng = Streams::new(22).stream("signs", "task", 0);
    for basis in [Basis::Haar, Basis::Axis] {
        let task = spec(Law::Signs, basis).draw(&mut rng).unwrap();
        for n in SIZES {
            compare(&format!("signs, {basis:?}"), &task, n, 20_000);
        }
    }
}

#[test]
fn interval_moments() {
    let mut rng = Streams::new(22).stream("interval", "task", 0);
    for basis in [Basis::Haar, Basis::Axis] {
        let task = spec(Law::Interval, basis).draw(&mut rng).unwrap();
        for n in [3, 6, 20] {
            compare(&format!("interval, {basis:?}"), &task, n, 20_000);
        }
    }
}

/// Inputs of another kind use the default way, by samples.
#[derive(Debug)]
struct Scaled(Covariance);

impl Covariates for Scaled {
    fn covariance(&self) -> &Covariance {
        &self.0
    }

    /// Two points, ±√d Σ^{1/2}e_i, i uniform.
    fn draw<R: Rng + ?Sized>(&self, rng: &mut R, out: &mut ArrayViewMut2<'_, f64>) -> Result<()> {
        let d = self.0.dimension();
        for mut row in out.outer_iter_mut() {
            let sign = if rng.random() { 1.0 } else { -1.0 };
            let column = self.0.square_root().column(rng.random_range(0..d)).to_owned();
            row.assign(&(column * sign * (d as f64).sqrt()));
        }
        Ok(())
    }
}

#[test]
fn moments_of_other_covariates() {
    let mut rng = Streams::new(22).stream("other", "task", 0);
    let linear = spec(Law::Gaussian, Basis::Haar).draw(&mut rng).unwrap();
    let covariates = Scaled(linear.covariance().clone());
    let head = linear.head().to_owned();
    let task = LinearTask::new(head, linear.shared_representation(), covariates, 1.0).unwrap();
    compare("other covariates", &task, 4, 20_000);
}

/// With M̂ the least-squares map, n (tr Ê[yyᵀ] − tr(M̂ Ê[xyᵀ]))/σ² is the residual sum of squares:
/// χ² with (n − d_X) d_Y degrees of freedom, whatever the inputs; and given the inputs
/// M̂ − M is normal: (n/σ²) tr((M̂ − M)Σ̂(M̂ − M)ᵀ) is χ² with d_X d_Y degrees.
#[test]
fn residuals_and_fitted_noise_have_their_chi_squared_laws() {
    let n = 30;
    for law in [Law::Gaussian, Law::Signs, Law::Interval] {
        for (basis, noise) in [(Basis::Haar, 0.1), (Basis::Axis, 3.0)] {
            let mut rng = Streams::new(23).stream("residuals", "draws", 0);
            let task = LinearTaskSpec { noise, ..spec(law, basis) }.draw(&mut rng).unwrap();
            let mut moments = Moments::with_dimensions(D_X, D_Y);
            let scale = n as f64 / (noise * noise);
            let degrees = [((n - D_X) * D_Y) as f64, (D_X * D_Y) as f64];
            let draws = 5000;
            let mut sums = [[0.0; 2]; 2];
            for _ in 0..draws {
                task.draw_moments(n, &mut rng, &mut moments).unwrap();
                let cholesky = Cholesky::new(moments.xx(), 0.0).unwrap();
                let mut fit = moments.yx().to_owned();
                cholesky.solve_right(&mut fit.view_mut()).unwrap();
                let explained = (&fit * &moments.yx()).sum();
                let off = &fit - &task.map();
                let fitted_noise = (&off.dot(&moments.xx()) * &off).sum();
                let values = [scale * (moments.yy_trace() - explained), scale * fitted_noise];
                for (sum, (value, degrees)) in sums.iter_mut().zip(values.iter().zip(degrees)) {
                    sum[0] += value;
                    sum[1] += (value - degrees).powi(2);
                }
            }
            for (sum, f) in sums.iter().zip(degrees) {
                // χ²_f: mean f, variance 2f, fourth central moment 12f² + 48f. Six standard
                // errors: false alarm 2e-9 each.
                let count = f64::from(draws);
                let mean_error = (2.0 * f / count).sqrt();
                let variance_error = ((12.0 * f * f + 48.0 * f - 4.0 * f * f) / count).sqrt();
                assert!((sum[0] / count - f).abs() < 6.0 * mean_error, "{law:?} {basis:?}");
                assert!(
                    (sum[1] / count - 2.0 * f).abs() < 6.0 * variance_error,
                    "{law:?} {basis:?}"
                );
            }
        }
    }
}

/// Means: √n x̄ ~ (0, Σ), √n ε̄ ~ N(0, σ² I), at a size where everything is drawn directly.
#[test]
fn means_have_their_variances() {
    let (n, draws) = (50, 10_000);
    for law in [Law::Gaussian, Law::Signs, Law::Interval] {
        for basis in [Basis::Haar, Basis::Axis] {
            let mut rng = Streams::new(24).stream("means", "draws", 0);
            let task = LinearTaskSpec { noise: 2.0, ..spec(law, basis) }.draw(&mut rng).unwrap();
            let mut moments = Moments::with_dimensions(D_X, D_Y);
            let mut x_squares = Array2::<f64>::zeros((D_X, D_X));
            let mut noise_squares = Array2::<f64>::zeros((D_Y, D_Y));
            let mut mixed = Array2::<f64>::zeros((D_X, D_Y));
            for _ in 0..draws {
                task.draw_moments(n, &mut rng, &mut moments).unwrap();
                let x = moments.x_mean().to_owned();
                let noise = &moments.y_mean() - &task.map().dot(&x);
                x_squares += &outer(&x, &x);
                noise_squares += &outer(&noise, &noise);
                mixed += &outer(&x, &noise);
            }
            let scale = n as f64 / f64::from(draws);
            let sigma = task.covariance().matrix().to_owned();
            let noise = Array2::<f64>::eye(D_Y) * 4.0;
            // A product of two nearly normal means has variance ab + c² ≤ 2ab for variances a, b;
            // six standard errors, false alarm 2e-9 each.
            let error = |a: f64, b: f64| 6.0 * (2.0 * a * b / f64::from(draws)).sqrt();
            for ((i, j), value) in x_squares.indexed_iter() {
                let bound = error(sigma[[i, i]], sigma[[j, j]]);
                assert!((value * scale - sigma[[i, j]]).abs() < bound, "{law:?} {basis:?}");
            }
            for ((i, j), value) in noise_squares.indexed_iter() {
                assert!((value * scale - noise[[i, j]]).abs() < error(4.0, 4.0), "{law:?}");
            }
            for ((i, _), value) in mixed.indexed_iter() {
                assert!((value * scale).abs() < error(sigma[[i, i]], 4.0), "{law:?}");
            }
        }
    }
}

/// At n = 10¹² the moments are the population's up to O(1/√n), drawn as fast as at n = 10.
#[test]
fn moments_of_ever_more_gaussian_samples_are_the_populations() {
    let mut rng = Streams::new(25).stream("limit", "draws", 0);
    let task = spec(Law::Gaussian, Basis::Haar).draw(&mut rng).unwrap();
    let n = 1_000_000_000_000_usize;
    let population = task.population_moments(n).unwrap();
    let mut moments = Moments::with_dimensions(D_X, D_Y);
    task.draw_moments(n, &mut rng, &mut moments).unwrap();
    // A product of centred normals with variances a, b has variance ab + c² ≤ 2ab; seven standard
    // errors, false alarm 3e-12 each. Variances of y are at most tr E[yyᵀ].
    let error = |a: f64, b: f64| 7.0 * (2.0 * a * b / n as f64).sqrt();
    let (xx, trace) = (population.xx(), population.yy_trace());
    for ((i, j), value) in moments.xx().indexed_iter() {
        assert!((value - xx[[i, j]]).abs() < error(xx[[i, i]], xx[[j, j]]));
    }
    for ((i, j), value) in moments.yx().indexed_iter() {
        assert!((value - population.yx()[[i, j]]).abs() < error(trace, xx[[j, j]]));
    }
    assert!((moments.yy_trace() - trace).abs() < error(trace, trace));
    assert!(moments.x_mean().iter().zip(xx.diag()).all(|(m, &v)| m.abs() < error(v, 1.0)));
    assert!(moments.y_mean().iter().all(|m| m.abs() < error(trace, 1.0)));
    // F⋆G⋆Σ and the trace, from their definitions.
    let map = task.head().dot(&task.representation());
    let yx = map.dot(&task.covariance().matrix());
    assert!((&yx - &population.yx()).iter().all(|e| e.abs() < 1e-13));
    let signal = yx.dot(&map.t()).diag().sum();
    assert!((trace - signal - D_Y as f64).abs() < 1e-12);
}

/// Samples themselves: covariance Σ for every law.
#[test]
fn samples_have_the_covariance() {
    let n = 60_000;
    for law in [Law::Gaussian, Law::Signs, Law::Interval] {
        for basis in [Basis::Haar, Basis::Axis] {
            let mut rng = Streams::new(26).stream("samples", "draws", 0);
            let task = spec(law, basis).draw(&mut rng).unwrap();
            let mut x = Array2::zeros((n, D_X));
            task.covariates().draw(&mut rng, &mut x.view_mut()).unwrap();
            let covariance = x.t().dot(&x) / n as f64;
            let sigma = task.covariance().matrix();
            for ((i, j), value) in covariance.indexed_iter() {
                // Laws with no larger kurtosis than the normal's: variance ≤ 2 σ_ii σ_jj.
                let error = (2.0 * sigma[[i, i]] * sigma[[j, j]] / n as f64).sqrt();
                assert!((value - sigma[[i, j]]).abs() < 6.0 * error, "{law:?} {basis:?}");
            }
        }
    }
}

/// A single-index task's moments come from the very samples that it would draw.
#[test]
fn single_index_moments_are_those_of_its_batch() {
    let streams = Streams::new(27);
    let mut rng = streams.stream("single index", "task", 0);
    let spec = spec(Law::Gaussian, Basis::Haar);
    let covariates = spec.draw(&mut rng).unwrap().covariates().clone();
    let task =
        SingleIndexTask::draw(layerwise_data::Link::Tanh, covariates, 0.5, &mut rng).unwrap();
    let mut batch = Batch::with_dimensions(D_X, 1);
    let mut moments = Moments::with_dimensions(D_X, 1);
    task.draw_batch(40, &mut streams.stream("s", "b", 0), &mut batch).unwrap();
    task.draw_moments(40, &mut streams.stream("s", "b", 0), &mut moments).unwrap();
    let expected = Moments::from_batch(&batch).unwrap();
    assert_eq!(moments.xx(), expected.xx());
    assert_eq!(moments.yx(), expected.yx());
    assert_eq!(moments.yy_trace(), expected.yy_trace());
    assert_eq!(moments.x_mean(), expected.x_mean());
    assert_eq!(moments.y_mean(), expected.y_mean());
}
