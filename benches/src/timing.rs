//! Times of steps as the Python scripts beside take them.

use std::time::{Duration, Instant};

/// Times of a step in ms, and how many were taken.
pub struct Times {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub smallest: f64,
    /// The number of steps that were timed, without warm-up.
    pub steps: usize,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Times { median, smallest, steps } = self;
        write!(f, "median {median:.4} ms, smallest {smallest:.4} ms, {steps} steps")
    }
}

/// Takes steps for as long as the budget lasts, at least `least` (10 or more); the first tenth is
/// warm-up.
///
/// # Errors
/// Those of a step.
pub fn time_steps<E>(
    budget: Duration,
    least: usize,
    mut step: impl FnMut() -> Result<(), E>,
) -> Result<Times, E> {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < budget || times.len() < least.max(10) {
        let start = Instant::now();
        step()?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    let mut times = times.split_off(times.len() / 10);
    times.sort_by(f64::total_cmp);
    Ok(Times { median: times[times.len() / 2], smallest: times[0], steps: times.len() })
}
