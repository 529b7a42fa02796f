//! The experiments: algorithms on whole problems, the six figures with their claims, the runner
//! that regenerates them, and the `layerwise` program.
//!
//! A [`figures::Figure`] is data: the settings that it wants run, and a pure function from results
//! to a picture, a table and claims. The [`runner`] knows no figure, a figure knows no thread,
//! file or clock.

mod arguments;
pub mod backend;
pub mod claim;
mod claims_page;
pub mod cli;
mod error;
pub mod figures;
mod folder;
pub mod linear;
pub mod monitor;
pub mod output;
pub mod plan;
pub mod plot;
mod progress;
pub mod record;
pub mod runner;
pub mod single_index;
pub mod statistics;
mod status;
pub mod store;
pub mod table;
pub mod theorems;
pub mod theorems_cli;

pub use error::{ExperimentError, Result};
pub use layerwise_linalg::ndarray;
