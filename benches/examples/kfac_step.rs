//! Time of one KFAC training step at figure 1's size, with a fresh batch at each step: the
//! counterpart of `peers/kfac_step.py`, measured in the same way.
//!
//! ```text
//! cargo run --release -p layerwise-benches --example kfac_step -- [threads] [seconds per row] [rows...]
//! ```

use std::error::Error;

use layerwise_benches::{Arguments, Problem, report, time_steps};
use layerwise_data::Law;

const ROWS: [&str; 4] = [
    "kfac_step/exact_moments",
    "kfac_step/sampled_inputs",
    "kfac_step/real_samples_gaussian",
    "kfac_step/real_samples_signs",
];
const SAMPLES: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { threads, budget, mut rows } = Arguments::read()?;
    layerwise_linalg::set_backend_threads(threads);
    if rows.is_empty() {
        rows = ROWS.map(str::to_owned).to_vec();
    }
    for row in rows {
        let moments = |law| Problem::new(law)?.training("KFAC", SAMPLES);
        let samples = |law| Problem::new(law)?.training_from_samples(SAMPLES);
        let times = match ROWS.iter().position(|name| *name == row) {
            Some(0) => time_steps(budget, moments(Law::Gaussian)?)?,
            Some(1) => time_steps(budget, moments(Law::Signs)?)?,
            Some(2) => time_steps(budget, samples(Law::Gaussian)?)?,
            Some(3) => time_steps(budget, samples(Law::Signs)?)?,
            _ => return Err(format!("no row `{row}`; there are {}", ROWS.join(", ")).into()),
        };
        report(&row, threads, &times, None);
    }
    Ok(())
}
