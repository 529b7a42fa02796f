//! Time of one KFAC training step at figure 1's size, with a fresh batch at each step: the
//! counterpart of `numpy/kfac_step.py`, measured in the same way.
//!
//! ```text
//! cargo run --release -p layerwise-benches --example kfac_step -- [seconds per row]
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use layerwise_benches::Problem;
use layerwise_data::Law;
use layerwise_experiments::Result;
use layerwise_experiments::linear::LinearMethod;

const SAMPLES: usize = 1024;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(2.0), |text| text.parse())?;
    let budget = Duration::try_from_secs_f64(seconds)?;
    layerwise_linalg::set_blas_threads(1);
    let moments = |law| Problem::new(law)?.training(LinearMethod::Kfac, SAMPLES);
    let samples = |law| Problem::new(law)?.training_from_samples(SAMPLES);
    report("exact moments, gaussian", budget, moments(Law::Gaussian)?)?;
    report("sampled inputs, signs", budget, moments(Law::Signs)?)?;
    report("real samples, gaussian", budget, samples(Law::Gaussian)?)?;
    report("real samples, signs", budget, samples(Law::Signs)?)?;
    Ok(())
}

/// Prints the median and the smallest time of a step; the first tenth is warm-up.
fn report(name: &str, budget: Duration, mut step: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < budget || times.len() < 100 {
        let start = Instant::now();
        step()?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    let mut times = times.split_off(times.len() / 10);
    times.sort_by(f64::total_cmp);
    println!(
        "layerwise, {name}: median {:.4} ms, smallest {:.4} ms, {} steps",
        times[times.len() / 2],
        times[0],
        times.len()
    );
    Ok(())
}
