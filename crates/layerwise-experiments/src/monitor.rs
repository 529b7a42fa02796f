//! How long work reports its progress, and how it is stopped.

use crate::{ExperimentError, Result};

/// Told of progress by everything that runs long; knows whether to go on.
pub trait Monitor: Sync {
    /// Another `work` units are done.
    fn advance(&self, work: u64);

    /// True once the user has asked to stop.
    fn interrupted(&self) -> bool;

    /// Turns a wish to stop into an error, for `?`.
    ///
    /// # Errors
    /// [`ExperimentError::Interrupted`].
    fn check(&self) -> Result<()> {
        if self.interrupted() { Err(ExperimentError::Interrupted) } else { Ok(()) }
    }
}

/// Listens to nobody and never stops: for tests and benchmarks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn advance(&self, _work: u64) {}

    fn interrupted(&self) -> bool {
        false
    }
}
