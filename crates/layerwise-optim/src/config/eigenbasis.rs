//! Entry-wise preconditioning in eigenbases, as data: SOAP, EKFAC.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::basis::{BasisMethod, BasisUse};
use crate::config::diagonal::DiagonalConfig;
use crate::config::growth::NonExhaustive;
use crate::config::refresh::Refresh;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result};
use crate::schedule::{Schedule, When};
use crate::signal::Signals;

/// `D ← U [(UᵀDV) / (√(v̂ + λ mean v̂) + ε)] Vᵀ`, with `U` and `V` the eigenvectors of the left and right
/// factor and `v` the entry-wise second moment of the gradient in that basis (Vyas et al. 2024, SOAP).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EigenbasisConfig {
    /// Of what the left factor is a second moment.
    pub left: Statistic,
    /// Of what the right factor is a second moment.
    pub right: Statistic,
    /// How both remember.
    pub averaging: Averaging,
    /// How bases are computed.
    pub basis: BasisMethod,
    /// Which basis a step uses.
    pub basis_use: BasisUse,
    /// When bases are computed anew.
    pub refresh: Refresh,
    /// The statistic in the basis. Of an m × n weight, a second moment counts as no smaller than (m + n) ε²
    /// times the largest, which is what rotations may leave of zero, but where it, `ε` and `λ` are all zero.
    pub diagonal: DiagonalConfig,
    /// `λ` ≥ 0: `v̂` counts as `v̂ + λ mean(v̂)`, a damping that does not depend on the scale of gradients.
    #[serde(default)]
    pub relative_damping: Schedule,
    /// What becomes of `v` when a refresh turns the bases. (One that is set from outside does not.)
    #[serde(default)]
    pub turned_moments: TurnedMoments,
    /// What `v` is estimated from.
    pub estimate: DiagonalEstimate,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

/// What the entry-wise second moment in the eigenbases is estimated from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DiagonalEstimate {
    /// The squares of the gradient's entries (SOAP). For a batch these are squares of means: less
    /// than the mean of the samples' squares, and dominated by noise where gradients cancel.
    #[default]
    Gradient,
    /// The squares of the entries of the direction that arrives. Without averaging, each entry is divided by
    /// its own modulus: what is left is its sign (Frans, Levine and Abbeel 2025, SPlus).
    Direction,
    /// The layer's samples, where its signal has them on both sides, row by row of one another: the
    /// mean of `(Uᵀδ)ᵢ² (Vᵀx)ⱼ²` over outputs' derivatives `δ` and inputs `x`, which is the diagonal
    /// of the samples' second moment `Ê[vec(δxᵀ) vec(δxᵀ)ᵀ]` in the eigenbases, exactly (George et
    /// al. 2018, EKFAC).
    Samples,
}

/// What becomes of the entry-wise second moment `v` when a refresh turns the bases from `U` and `V` to `U₊` and
/// `V₊`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TurnedMoments {
    /// It stays as it is, entry by entry, as references of SOAP have it. Where two vectors change their
    /// places, an entry is divided by the other's root until the average has forgotten.
    #[default]
    Kept,
    /// It begins anew (George et al. 2018, EKFAC): with a refresh at every step it has no memory.
    Restarted,
    /// `|U₊ᵀU|² v |VᵀV₊|²` with entry-wise squares (our choice): the second moments in the new bases, where the
    /// coordinates in the former ones were uncorrelated. Two vectors that change their places take their
    /// entries along.
    Transported,
}

impl EigenbasisConfig {
    /// Of averages with β = 0.95, decomposed at every step, with Adam's second moment of gradients in the
    /// new bases.
    #[must_use]
    pub fn new(left: Statistic, right: Statistic) -> Self {
        EigenbasisConfig {
            left,
            right,
            averaging: Averaging::Ema { beta: 0.95.into(), bias_correction: true },
            basis: BasisMethod::default(),
            basis_use: BasisUse::Refreshed,
            refresh: Refresh::default(),
            diagonal: DiagonalConfig::default(),
            relative_damping: 0.0.into(),
            turned_moments: TurnedMoments::Kept,
            estimate: DiagonalEstimate::Gradient,
            non_exhaustive: NonExhaustive::default(),
        }
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.averaging.check(when, "eigenbasis.averaging.beta")?;
        self.refresh.check()?;
        self.diagonal.check(when)?;
        self.relative_damping.check_non_negative(when, "eigenbasis.relative_damping")?;
        if self.diagonal.centered {
            return Err(OptimError::Incompatible {
                first: "a centred second moment",
                second: "eigenbases",
                why: "a mean does not survive the arbitrary signs of eigenvectors",
            });
        }
        if self.basis_use.is_former() {
            let why = "it has a delay of its own";
            self.refresh.check_at_once("the basis from before the step", why)?;
        }
        if self.turned_moments != TurnedMoments::Kept
            && (self.basis_use.is_former() || self.diagonal.maximum)
        {
            return Err(OptimError::Incompatible {
                first: "second moments that turn with the bases",
                second: "the basis from before the step, or a maximum of second moments",
                why: "the former follows the columns' order already, and the latter is no second moment",
            });
        }
        if self.turned_moments == TurnedMoments::Restarted && self.diagonal.initial != 0.0 {
            return Err(OptimError::Incompatible {
                first: "second moments that begin anew",
                second: "an initial value",
                why: "they begin from nothing",
            });
        }
        self.basis.check(when)?;
        if self.basis_use.is_former() && !self.basis.is_one_descending_step() {
            return Err(OptimError::Incompatible {
                first: "the basis from before the step",
                second: "several QR steps, a tolerance, or an ascending order",
                why: "its columns are put in descending order, before a single step",
            });
        }
        self.diagonal.check_unshared("eigenbases")?;
        if self.whitens() && self.averaging == Averaging::None {
            return Err(OptimError::Incompatible {
                first: "eigenbases of whitened gradients",
                second: "factors that are not averaged",
                why: "one side is whitened by what the other holds from before the step",
            });
        }
        if self.basis_use == BasisUse::Previous && self.refresh.start != 1 {
            return Err(OptimError::Incompatible {
                first: "the basis from before the step",
                second: "a first refresh after step 1",
                why: "the first step is the one that takes the first basis",
            });
        }
        Ok(())
    }

    pub(crate) fn whitens(&self) -> bool {
        let is_whitened = |statistic| matches!(statistic, Statistic::Whitened { .. });
        is_whitened(self.left) || is_whitened(self.right)
    }

    /// Whether the diagonal is that of the samples' curvature in the bases.
    pub(crate) fn models_curvature(&self) -> bool {
        self.estimate == DiagonalEstimate::Samples
            && self.basis_use == BasisUse::Refreshed
            && !self.diagonal.maximum
    }

    pub(crate) fn required(&self) -> Signals {
        let samples = self.estimate == DiagonalEstimate::Samples;
        Signals {
            input: samples || self.right == Statistic::Signal,
            output: samples || self.left == Statistic::Signal,
            ..Signals::GRADIENT
        }
    }
}
