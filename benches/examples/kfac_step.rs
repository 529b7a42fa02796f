//! Time of one KFAC training step at figure 1's size, with a fresh batch at each step: the
//! counterpart of `numpy/kfac_step.py`, measured in the same way.
//!
//! ```text
//! cargo run --release -p layerwise-benches --example kfac_step -- [seconds per row]
//! ```

use std::error::Error;
use std::time::Duration;

use layerwise_benches::{Problem, time_steps};
use layerwise_data::Law;
use layerwise_experiments::Result;
use layerwise_experiments::linear::LinearMethod;

const SAMPLES: usize = 1024;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(2.0), |text| text.parse())?;
    let budget = Duration::try_from_secs_f64(seconds)?;
    layerwise_linalg::set_backend_threads(1);
    let moments = |law| Problem::new(law)?.training(LinearMethod::Kfac, SAMPLES);
    let samples = |law| Problem::new(law)?.training_from_samples(SAMPLES);
    report("exact moments, gaussian", budget, moments(Law::Gaussian)?)?;
    report("sampled inputs, signs", budget, moments(Law::Signs)?)?;
    report("real samples, gaussian", budget, samples(Law::Gaussian)?)?;
    report("real samples, signs", budget, samples(Law::Signs)?)?;
    Ok(())
}

/// Prints the median and the smallest time of a step.
fn report(name: &str, budget: Duration, step: impl FnMut() -> Result<()>) -> Result<()> {
    println!("layerwise, {name}: {}", time_steps(budget, 100, step)?);
    Ok(())
}
