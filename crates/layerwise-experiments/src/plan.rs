//! What a user chose of an experiment.

use serde::{Deserialize, Serialize};

/// What the user chose. Two runs of an experiment with equal plans produce the same results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Fewer trials and coarser grids, the same dimensions, iterations, methods and claims.
    pub quick: bool,
    /// Number of shown trials, in place of the experiment's own.
    pub trials: Option<u64>,
    /// Seed of all random streams.
    pub seed: u64,
}
