//! The experiments: files that say what is run, the models that run it, a store that keeps every trial,
//! reports with claims, and the `layerwise` program.
//!
//! An [`experiment`] is a file: tasks, methods, what is varied, panels and claims. A [`model`] knows what a
//! task and a method are, and runs a trial. The [`runner`] runs what is missing in a [`store`]; a
//! [`report`] is a pure function of an experiment and its results: a picture, a table and claims. The
//! runner knows no figure, a report knows no thread, file or clock.

mod arguments;
pub mod backend;
mod check_docs;
pub mod claim;
mod claims_page;
pub mod cli;
mod error;
pub mod experiment;
mod folder;
pub mod judge;
pub mod linear;
mod lock;
pub mod model;
pub mod monitor;
pub mod output;
pub mod plan;
pub mod plot;
mod progress;
pub mod record;
pub mod report;
mod report_cli;
pub mod run_cli;
pub mod runner;
pub mod single_index;
pub mod slurm;
pub mod statistics;
mod status;
pub mod store;
pub mod table;
pub mod theorems;
pub mod theorems_cli;

pub use error::{ExperimentError, Result};
pub use layerwise_linalg::ndarray;
