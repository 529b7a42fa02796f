//! Factors that depend on a weight's shape, as data.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::check_number;

/// What a direction of m × n, such as a polar factor, is multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShapeScale {
    /// `√max(1, m/n)`, so that a tall matrix changes outputs as much as a square one (Muon's author).
    #[default]
    Tall,
    /// `√(m/n)`.
    Ratio,
    /// `0.2 √max(m, n)`: entries of root mean square 0.2, as Adam's (Liu et al. 2025).
    RootMeanSquare,
    /// `2/(m + n)` (Frans, Levine and Abbeel 2025, SPlus).
    InverseMean,
    /// A number > 0, the same for every shape; 1 for nothing.
    Number(f64),
}

impl ShapeScale {
    pub(crate) fn of_shape(self, (m, n): (usize, usize)) -> f64 {
        match self {
            ShapeScale::Tall => (m as f64 / n as f64).max(1.0).sqrt(),
            ShapeScale::Ratio => (m as f64 / n as f64).sqrt(),
            ShapeScale::RootMeanSquare => 0.2 * (m.max(n) as f64).sqrt(),
            ShapeScale::InverseMean => 2.0 / (m + n) as f64,
            ShapeScale::Number(scale) => scale,
        }
    }

    pub(crate) fn check(self, name: &'static str) -> Result<()> {
        match self {
            ShapeScale::Number(scale) => check_number(name, scale, "finite and > 0", |x| x > 0.0),
            _ => Ok(()),
        }
    }
}
