//! The diagonal of a layer's factor, as data.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::damping::Damping;
use crate::config::growth::NonExhaustive;
use crate::error::{Result, Side};
use crate::schedule::{When, check_number};

/// `D ← D diag(a + λ)^{-p}` on the input side, or `diag(a + λ)^{-p} D` on the output side, with `a` the diagonal
/// of the factor that the layer reports: for sides of tens of thousands of dimensions. Of an embedding's input
/// side, tokens, the factor is no more than its diagonal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiagonalFactorConfig {
    /// The side.
    pub side: Side,
    /// How `a` remembers.
    pub averaging: Averaging,
    /// `λ`; eigenvalues are the entries of `a`. An entry of `a` that is zero, and not damped, does not move.
    pub damping: Damping,
    /// `p` > 0.
    pub exponent: f64,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl DiagonalFactorConfig {
    /// The inverse of an average with β = 0.99, damped by 0.3 of its mean.
    #[must_use]
    pub fn new(side: Side) -> Self {
        DiagonalFactorConfig {
            side,
            averaging: Averaging::Ema { beta: 0.99.into(), bias_correction: true },
            damping: Damping::RelativeToTrace(0.3.into()),
            exponent: 1.0,
            non_exhaustive: NonExhaustive::default(),
        }
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.averaging.check(when, "diagonal_factor.averaging.beta")?;
        self.damping.check(when)?;
        check_number("diagonal_factor.exponent", self.exponent, "finite and > 0", |x| x > 0.0)
    }
}
