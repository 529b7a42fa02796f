//! Laws of white coordinates.

use serde::{Deserialize, Serialize};

/// The law of a white coordinate: mean zero, variance one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Law {
    /// N(0, 1).
    Gaussian,
    /// ±1 with probability one half each: uniform on {±1}^d.
    Signs,
    /// Uniform on [−√3, √3].
    Interval,
}
