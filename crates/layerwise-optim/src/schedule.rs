//! Hyperparameters over time.

use serde::{Deserialize, Serialize};

use crate::error::{OptimError, Result};

/// A hyperparameter as a function of the step. A plain number converts into a constant:
/// `0.1.into()`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// The same value at every step.
    Constant(f64),
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Schedule::Constant(value)
    }
}

impl Schedule {
    /// The value at a step, counted from 0 for the first.
    #[must_use]
    pub fn value(&self, _step: u64) -> f64 {
        match self {
            Schedule::Constant(value) => *value,
        }
    }

    /// The least and the greatest value over all steps.
    fn range(&self) -> (f64, f64) {
        match self {
            Schedule::Constant(value) => (*value, *value),
        }
    }

    /// Refuses a schedule that leaves what `allowed` says, at any step.
    pub(crate) fn check(
        &self,
        name: &'static str,
        allowed: &'static str,
        test: impl Fn(f64) -> bool,
    ) -> Result<()> {
        let (low, high) = self.range();
        for value in [low, high] {
            check_number(name, value, allowed, &test)?;
        }
        Ok(())
    }

    /// Refuses all but finite numbers ≥ 0.
    pub(crate) fn check_non_negative(&self, name: &'static str) -> Result<()> {
        self.check(name, "finite and ≥ 0", |x| x >= 0.0)
    }

    /// Refuses all but numbers in [0, 1).
    pub(crate) fn check_decay(&self, name: &'static str) -> Result<()> {
        self.check(name, "in [0, 1)", |x| (0.0..1.0).contains(&x))
    }
}

/// Refuses a number that is not finite or fails the test.
pub(crate) fn check_number(
    name: &'static str,
    value: f64,
    allowed: &'static str,
    test: impl Fn(f64) -> bool,
) -> Result<()> {
    if value.is_finite() && test(value) {
        Ok(())
    } else {
        Err(OptimError::InvalidHyperparameter { name, value, allowed })
    }
}
