//! Experiments, runs and the program, one module per subject. One program of them all compiles several times
//! faster than one for each.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a call that fails is a test that fails")]

mod algorithms;
mod cli_bad_input;
mod cli_claims;
mod cli_runs;
mod determinism;
mod experiment_bad_input;
mod figures_divergence;
mod guide_experiments;
mod judge;
mod result_version;
mod schema;
