//! Every statement about layer-wise preconditioning that this project makes, predicted by a closed
//! form of `layerwise-theory` and measured on the steps that the experiments take.
//!
//! A [`Statement`] knows its text, whose it is, and how to check itself; what it checks are the
//! [`Steps`] that it is handed, the real ones or, in tests, deliberately wrong ones.

pub mod comparison;
mod contour;
pub mod l1;
pub mod l2;
pub mod l3;
pub mod l4;
pub mod l5;
pub mod l6;
pub mod l7;
pub mod l8;
pub mod l9;
pub mod monte_carlo;
mod multi_task;
pub mod page;
pub mod pictures;
pub mod problems;
pub mod rounding;
pub mod s1;
pub mod s2;
pub mod s3;
pub mod s4;
pub mod s5;
pub mod single_index_problem;
pub mod statement;
pub mod steps;
pub mod transfer;

use layerwise_data::Streams;
use rayon::prelude::*;

use crate::monitor::Monitor;
use crate::{ExperimentError, Result};

pub use statement::{Context, Outcome, Part, Row, Scale, Statement};
pub use steps::{KfacRates, RealSteps, Steps};

/// All statements, in the order of the table.
pub const STATEMENTS: &[&dyn Statement] = &[
    &l1::L1,
    &l2::L2,
    &l3::L3,
    &l4::L4,
    &l5::L5,
    &l6::L6,
    &l7::L7,
    &l8::L8,
    &l9::L9,
    &s1::S1 { head: s1::HeadSize::InverseRoot },
    &s2::S2,
    &s3::S3,
    &s4::S4,
    &s5::S5,
];

/// Checks `statements` on `threads` threads. Neither their number nor the set of statements
/// changes what a statement finds.
///
/// # Errors
/// [`ExperimentError::Interrupted`], [`ExperimentError::Threads`], and faults of a check. A step
/// that fails numerically is no error but a failed verdict.
pub fn run(
    statements: &[&dyn Statement],
    scale: Scale,
    seed: u64,
    threads: usize,
    steps: &dyn Steps,
    monitor: &dyn Monitor,
) -> Result<Vec<Row>> {
    let streams = Streams::new(seed);
    pool(threads)?.install(|| {
        statements
            .par_iter()
            .with_max_len(1)
            .map(|&statement| {
                monitor.check()?;
                let context = Context { scale, streams: &streams, steps, monitor };
                let row = statement::evaluate(statement, &context)?;
                monitor.advance(1);
                Ok(row)
            })
            .collect()
    })
}

/// As many worker threads.
///
/// # Errors
/// [`ExperimentError::Threads`].
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| ExperimentError::Threads { threads, reason: error.to_string() })
}
