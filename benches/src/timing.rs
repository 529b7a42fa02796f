//! Times of steps, taken and told as the Python scripts in `peers` do.

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::json;

/// What the examples are told: `[threads] [seconds per row] [rows...]`.
pub struct Arguments {
    /// The number of threads, 1 if none is given.
    pub threads: usize,
    /// How long each row is measured, 1 s if nothing is given.
    pub budget: Duration,
    /// The names of rows; where there are none, the example has its own.
    pub rows: Vec<String>,
}

impl Arguments {
    /// Those of this process.
    ///
    /// # Errors
    /// What is no number of threads or seconds.
    pub fn read() -> Result<Self, Box<dyn Error>> {
        let mut given = std::env::args().skip(1);
        let threads = given.next().map_or(Ok(1), |text| text.parse())?;
        let seconds = given.next().map_or(Ok(1.0), |text| text.parse())?;
        let budget = Duration::try_from_secs_f64(seconds)?;
        Ok(Self { threads, budget, rows: given.collect() })
    }
}

/// Times of a step in seconds.
pub struct Times {
    median: f64,
    smallest: f64,
    /// How many were timed, without warm-up.
    steps: usize,
}

/// Takes steps for as long as the budget lasts, at least three beside warm-up, which is the first
/// tenth and at least one.
///
/// # Errors
/// Those of a step.
pub fn time_steps<E>(
    budget: Duration,
    mut step: impl FnMut() -> Result<(), E>,
) -> Result<Times, E> {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < budget || times.len() < 4 {
        let start = Instant::now();
        step()?;
        times.push(start.elapsed().as_secs_f64());
    }
    let mut times = times.split_off((times.len() / 10).max(1));
    times.sort_by(f64::total_cmp);
    Ok(Times { median: times[times.len() / 2], smallest: times[0], steps: times.len() })
}

/// Prints what was measured of a row, and the median time of the calls that its step cannot do
/// without, as a line of JSON.
pub fn report(row: &str, threads: usize, times: &Times, calls: Option<&Times>) {
    let record = json!({
        "with": layerwise_linalg::backend().to_string(),
        "row": row,
        "threads": threads,
        "seconds": times.median,
        "smallest": times.smallest,
        "steps": times.steps,
        "floor": calls.map(|calls| calls.median),
    });
    println!("{record}");
}
