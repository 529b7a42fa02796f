//! Entry-wise preconditioning, as data.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::growth::NonExhaustive;
use crate::error::{OptimError, Result};
use crate::schedule::{Schedule, When, check_number};

/// Entry-wise second moments `v` of gradients, and the map `D ← D / (v̂^p + ε)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiagonalConfig {
    /// How `v` takes in `g²`.
    pub averaging: Averaging,
    /// `ε` ≥ 0. Where `v` and `ε` are both zero, the entry does not move.
    pub epsilon: Schedule,
    /// Where `ε` enters.
    pub epsilon_placement: EpsilonPlacement,
    /// `p` > 0: ½ for a root of squares.
    pub exponent: f64,
    /// Use the largest `v` so far in place of `v`, entry by entry and before the bias correction
    /// (Reddi et al. 2018, AMSGrad; PyTorch).
    pub maximum: bool,
    /// Take the square of the averaged gradient off `v`, so that it is a variance (Graves 2013,
    /// centred RMSprop). Where rounding makes that negative, it counts as zero.
    pub centered: bool,
    /// What `v` starts from, ≥ 0 (Adagrad's initial accumulator).
    pub initial: f64,
    /// What shares an entry of `v`.
    pub sharing: MomentSharing,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for DiagonalConfig {
    /// Adam's: an average with β = 0.999, corrected; ε = 10⁻⁸ after the correction.
    fn default() -> Self {
        DiagonalConfig {
            averaging: Averaging::Ema { beta: 0.999.into(), bias_correction: true },
            epsilon: 1e-8.into(),
            epsilon_placement: EpsilonPlacement::default(),
            exponent: 0.5,
            maximum: false,
            centered: false,
            initial: 0.0,
            sharing: MomentSharing::None,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

/// What shares an entry of a second moment `v`: the mean of whose squares it takes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MomentSharing {
    /// Nothing: every entry has its own.
    #[default]
    None,
    /// A row, that is an output (Li et al. 2025, NorMuon).
    Rows,
    /// A column, that is an input.
    Columns,
    /// `v_ij = r_i c_j / mean(r)`, with the second moments `r` of rows and `c` of columns: the memory of a
    /// row and a column (Shazeer and Stern 2018, Adafactor).
    RowsTimesColumns,
}

/// Where `ε` enters relative to the bias correction `c`. They agree where `c = 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EpsilonPlacement {
    /// `(v/c)^p + ε` (Kingma and Ba 2015, algorithm 1; PyTorch; Distributed Shampoo).
    #[default]
    AfterCorrection,
    /// `(v^p + ε)/c^p` (Kingma and Ba 2015, end of §2; SOAP's authors).
    BeforeCorrection,
}

impl DiagonalConfig {
    /// Whether an entry is divided by the root of an average, or of a sum, and nothing else.
    pub(crate) fn is_average_and_root(&self) -> bool {
        !self.maximum && !self.centered && self.exponent == 0.5
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.averaging.check(when, "diagonal.averaging.beta")?;
        self.epsilon.check_non_negative(when, "diagonal.epsilon")?;
        check_number("diagonal.exponent", self.exponent, "finite and > 0", |x| x > 0.0)?;
        check_number("diagonal.initial", self.initial, "finite and ≥ 0", |x| x >= 0.0)?;
        let no_average = matches!(self.averaging, Averaging::Sum | Averaging::Decay { .. });
        if self.centered && (self.maximum || no_average) {
            return Err(OptimError::Incompatible {
                first: "a centred second moment",
                second: "its maximum, or a statistic that is not an average",
                why: "the square of a mean is taken off the mean of squares",
            });
        }
        let is_plain = !self.centered && !self.maximum && self.initial == 0.0;
        if self.sharing != MomentSharing::None && !is_plain {
            return Err(OptimError::Incompatible {
                first: "a second moment that entries share",
                second: "its maximum, a centred one, or an initial value",
                why: "these are of single entries",
            });
        }
        Ok(())
    }

    /// Refuses a second moment that entries share, where each needs its own.
    pub(crate) fn check_unshared(&self, second: &'static str) -> Result<()> {
        if self.sharing == MomentSharing::None {
            return Ok(());
        }
        let (first, why) = ("a second moment that entries share", "every entry has its own there");
        Err(OptimError::Incompatible { first, second, why })
    }
}
