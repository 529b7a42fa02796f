//! The error type of the crate.

use std::path::PathBuf;

use layerwise_data::DataError;
use layerwise_linalg::LinalgError;
use layerwise_metrics::MetricsError;
use layerwise_models::ModelError;
use layerwise_optim::OptimError;
use layerwise_theory::TheoryError;

use crate::plot::PlotError;

/// Why an experiment, a figure or a run of the program did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// Linear algebra failed.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
    /// Data could not be drawn.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model refused its parameters or data.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An optimizer refused its hyperparameters or signals.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// A measure is undefined for what it was given.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A closed form is undefined for what it was given.
    #[error(transparent)]
    Theory(#[from] TheoryError),
    /// A picture could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// An algorithm was given a batch without something that it needs.
    #[error("the batch does not offer {what}, which {method} needs")]
    MissingData {
        /// What is missing.
        what: &'static str,
        /// The method that asked for it.
        method: &'static str,
    },
    /// An input does not vary in a batch, so that batch-norm is undefined on it.
    #[error("an input does not vary in a batch, and batch-norm divides by its deviation")]
    ConstantInput,
    /// A file is no experiment: what is wrong, and what is allowed.
    #[error("{path}{at}: {message}", path = path.display(),
        at = if *line == 0 { String::new() } else { format!(":{line}") })]
    Experiment {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 where it is not a matter of one.
        line: usize,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// Something was asked of results that are not there.
    #[error("no results for {0}")]
    MissingResults(String),
    /// Results could not be put into JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file or folder could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The output folder cannot take these results.
    #[error("{path}: {reason}", path = path.display())]
    Output {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong and what can be done.
        reason: String,
    },
    /// The record store cannot be used, or does not take or give something.
    #[error("{path}: {reason}", path = path.display())]
    Store {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong and what can be done.
        reason: String,
    },
    /// The backend or kernel asked for is not there: which, and what to type.
    #[error("{0}")]
    Backend(String),
    /// The programs of the scheduler asked for are not there: which, and what to do.
    #[error("{0}")]
    NoScheduler(String),
    /// The scheduler's programs failed: which, and their own word.
    #[error("{0}")]
    Scheduler(String),
    /// The worker threads could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl ExperimentError {
    /// True for what a diverging iterate or an unlucky batch causes: numbers that are not finite, matrices
    /// that are singular, an input that does not vary. Such a run is a result. Anything else is a fault.
    #[must_use]
    pub fn is_numerical(&self) -> bool {
        let linalg = match self {
            Self::Linalg(e)
            | Self::Model(ModelError::Linalg(e))
            | Self::Metrics(MetricsError::Linalg(e))
            | Self::Optim(OptimError::Linalg(e) | OptimError::Factor { source: e, .. }) => Some(e),
            _ => None,
        };
        match linalg {
            Some(e) => matches!(
                e,
                LinalgError::NonFinite { .. }
                    | LinalgError::NotPositiveDefinite { .. }
                    | LinalgError::EigenvalueNotPositive { .. }
                    | LinalgError::RankDeficient { .. }
                    | LinalgError::NoConvergence { .. }
            ),
            None => matches!(
                self,
                Self::ConstantInput
                    | Self::Optim(OptimError::NonFinite { .. } | OptimError::Overflow { .. })
                    | Self::Metrics(
                        MetricsError::NonFinite { .. } | MetricsError::ZeroVector { .. }
                    )
            ),
        }
    }
}

/// Shorthand for a result with this crate's error.
pub type Result<T> = std::result::Result<T, ExperimentError>;
