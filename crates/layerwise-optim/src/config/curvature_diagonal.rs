//! Division by the diagonal of the loss's second derivative, as data.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::growth::NonExhaustive;
use crate::error::Result;
use crate::schedule::{Schedule, When};

/// `D ← D / max(ĥ, ε)` entry by entry, with `h` a statistic of what the layer reports of the diagonal of its
/// loss's second derivative ([`Signal::with_diagonal`](crate::Signal::with_diagonal)). A step at which it
/// reports none leaves `h` as it is. (Liu et al. 2023, Sophia, without its bound.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurvatureDiagonalConfig {
    /// How `h` takes in what is reported.
    pub averaging: Averaging,
    /// `ε` > 0: curvatures below it, negative ones too, count as this.
    pub floor: Schedule,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for CurvatureDiagonalConfig {
    /// An average with β = 0.99, not corrected; ε = 10⁻¹².
    fn default() -> Self {
        CurvatureDiagonalConfig {
            averaging: Averaging::Ema { beta: 0.99.into(), bias_correction: false },
            floor: 1e-12.into(),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl CurvatureDiagonalConfig {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.averaging.check(when, "curvature_diagonal.averaging.beta")?;
        self.floor.check_positive(when, "curvature_diagonal.floor")
    }
}
