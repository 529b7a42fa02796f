//! What the benchmarks share: how long they measure, random arrays, figure 1's problem.

mod calls;
mod optimizers;
mod problem;
mod timing;

use std::time::Duration;

use criterion::Criterion;
use layerwise_linalg::ndarray::Array2;
use layerwise_linalg::{Scalar, gram};
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

pub use calls::{Calls, unavoidable_calls};
pub use optimizers::{Layer, methods};
pub use problem::{KfacFromSamples, Problem};
pub use timing::{Arguments, Times, report, time_steps};

/// A generator with a fixed seed: each benchmark sees the same numbers in every run.
#[must_use]
pub fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// Criterion with shorter measurements than its own, as there are many; and one thread for the
/// linear algebra of the whole process.
#[must_use]
pub fn criterion() -> Criterion {
    layerwise_linalg::set_backend_threads(1);
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(2000))
        .sample_size(40)
}

/// Independent standard normals, rows × cols.
#[must_use]
pub fn normals<A: Scalar>(rows: usize, cols: usize, seed: u64) -> Array2<A> {
    let mut rng = generator(seed);
    Array2::from_shape_simple_fn((rows, cols), || A::from_f64(rng.sample::<f64, _>(StandardNormal)))
}

/// `XᵀX/N` of N = 4n standard normal rows in n dimensions: dense, symmetric, condition number
/// near 9.
///
/// # Errors
/// None for n that fit into memory.
pub fn second_moment<A: Scalar>(n: usize, seed: u64) -> layerwise_linalg::Result<Array2<A>> {
    let rows = normals::<A>(4 * n, n, seed);
    let mut moment = Array2::zeros((n, n));
    gram(A::from_f64(0.25 / n as f64), rows.t(), A::zero(), &mut moment.view_mut())?;
    Ok(moment)
}
