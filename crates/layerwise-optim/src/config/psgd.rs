//! Preconditioners that are fitted by descent on a Lie group, as data.

use serde::{Deserialize, Serialize};

use crate::config::growth::NonExhaustive;
use crate::error::Result;
use crate::schedule::{Schedule, When, check_number};

/// `D ← Q₁ᵀQ₁ D Q₂ᵀQ₂` with upper triangular `Q₁` and `Q₂` that are fitted to whiten the directions that
/// arrive: steps of descent on `Ê[‖Q₁ D Q₂ᵀ‖² + ‖Q₁⁻ᵀ V Q₂⁻¹‖²]`, along the group of triangular matrices, with
/// random signs `V` (Li 2018, PSGD; its Kronecker-factored form for whitening).
///
/// ```text
/// A = Q₁ D Q₂ᵀ,  B = Q₁⁻ᵀ V Q₂⁻¹
/// Q₁ ← Q₁ − μ triu(AAᵀ − BBᵀ) Q₁ / ‖AAᵀ + BBᵀ‖,  Q₂ ← Q₂ − μ triu(AᵀA − BᵀB) Q₂ / ‖AᵀA + BᵀB‖
/// ```
///
/// with a lower bound of the spectral norm for the norms. Sides above a limit,
/// and both sides of a vector, which is a matrix with a single row or column, have diagonal `Q`. The signs are a function of the seed, of the preconditioner's step, and of the entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PsgdConfig {
    /// `μ` in (0, 1).
    pub learning_rate: Schedule,
    /// `δ` ≥ 0: it is `D + δ mean|D| V` that is whitened, so that factors stay bounded where nothing arrives.
    pub damping: Schedule,
    /// In (0, 1]: the share of the steps at which the preconditioner is fitted. It is fitted as soon as
    /// `1/share` steps have passed since it last was.
    pub share: Schedule,
    /// How many fits pass from one balancing of both factors' largest entries to the next; 0 for never.
    pub balance_every: u64,
    /// The largest dimension with a triangular factor, ≥ 1.
    pub max_dimension: usize,
    /// Of the random signs.
    pub seed: u64,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for PsgdConfig {
    /// `μ` = 0.1; `δ` = 2⁻¹³; fitted at each of the first 500 steps, and from then on more rarely, down to 0.03 of them
    /// ([`Schedule::exponential`]); balanced every 100 fits; triangular factors up to 8192.
    fn default() -> Self {
        PsgdConfig {
            learning_rate: 0.1.into(),
            damping: (1.0 / 8192.0).into(),
            share: Schedule::from(1.0).followed_by(500, Schedule::exponential(1.0, 0.03, 1e-3)),
            balance_every: 100,
            max_dimension: 8192,
            seed: 0,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl PsgdConfig {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        let rate = |x: f64| x > 0.0 && x < 1.0;
        self.learning_rate.check(when, "psgd.learning_rate", "in (0, 1)", rate)?;
        self.damping.check_non_negative(when, "psgd.damping")?;
        self.share.check(when, "psgd.share", "in (0, 1]", |x| x > 0.0 && x <= 1.0)?;
        check_number("psgd.max_dimension", self.max_dimension as f64, "at least 1", |x| x >= 1.0)
    }
}
