//! What signs are multiplied by.

use serde::{Deserialize, Serialize};

/// What the signs of a direction `D` are multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SignScale {
    /// One.
    #[default]
    One,
    /// The sum of the entries' moduli: steepest descent in the largest-entry norm.
    SumOfModuli,
    /// Their mean.
    MeanOfModuli,
}
