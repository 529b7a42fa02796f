//! Bounds of gradients and updates, as data.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::{Schedule, When};

/// Bounds of a gradient or a direction `D`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Clipping {
    /// `D ← D min(1, c/‖D‖_F)`, `c` > 0.
    Norm(Schedule),
    /// `D ← D min(1, c/rms(D))` with the root mean square of the entries, `c` > 0.
    RootMeanSquare(Schedule),
    /// Each entry into `[−c, c]`, `c` > 0.
    Value(Schedule),
}

impl Clipping {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        match self {
            Clipping::Norm(bound) | Clipping::RootMeanSquare(bound) | Clipping::Value(bound) => {
                bound.check_positive(when, "clipping")
            }
        }
    }
}
