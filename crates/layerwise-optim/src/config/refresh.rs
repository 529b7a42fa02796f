//! When roots and bases are computed anew.

use serde::{Deserialize, Serialize};

use crate::config::growth::NonExhaustive;
use crate::error::{OptimError, Result};
use crate::schedule::check_number;

/// When roots and bases are computed anew, and what happens where that fails.
///
/// With steps counted from 1, they are refreshed at step `start`, and then at each later step
/// that `every` divides (Distributed Shampoo's rule). Before `start` roots and bases are the
/// identity; statistics are collected all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Refresh {
    /// Steps between refreshes, ≥ 1.
    pub every: u64,
    /// The first step with a refresh, ≥ 1. Where no side has a root then, for factors that are zero
    /// under a damping relative to them, it is the first later step where one has.
    pub start: u64,
    /// How many refreshes in a row may fail, on either side, on a factor that is indefinite or singular, or
    /// whose decomposition does not converge: its side keeps the last good root, and the failure is counted
    /// in the step's report. One more is an error. 0: the first failure is an error. A first refresh that
    /// fails is always one, there being nothing to keep; and so is whatever is wrong with the signal
    /// itself.
    pub tolerated_failures: u32,
    /// `Some(τ)`, `τ` in (0, 1): refresh also at each step after the first refresh where the basis
    /// has drifted, that is where for one side the off-diagonal part of `VᵀSV` is more than `τ` of
    /// it in the Frobenius norm, with `V` the eigenvectors held and `S` the factor. That costs two
    /// products of the factor's size a step. It needs eigenvectors: eigenbases, or roots by
    /// eigendecompositions. It does not see eigenvalues change, on which roots depend, so that for
    /// these `every` should not be large.
    pub drift: Option<f64>,
    /// How many steps earlier a refresh comes than the rule says, but for the first: layers with different
    /// offsets do not all refresh at one step.
    pub offset: u64,
    /// How many steps after the one that a refresh is due at its result is first used, less than `every`. 0:
    /// at once.
    ///
    /// Else the factor as it is after a due step's observation is copied, with its bias correction and its
    /// damping, and a thread of its own computes root or basis from the copy while the steps that follow
    /// use the former ones. Step `t + staleness` waits where the thread is not done yet, installs what it
    /// found and reports it, so that results are the same bits whatever the threads. The first refresh is
    /// computed at once, as nothing could serve in the meantime. Both sides share a thread; blocks and
    /// layers each have their own, so that it is well to [stagger](crate::Group::staggered) layers.
    ///
    /// A saved state holds the copies of a refresh that is under way, and a loaded one is computed
    /// again. A factor that cannot be inverted or decomposed is known at the step that installs: what
    /// `tolerated_failures` does not cover refuses that step each time it is tried, until another state is
    /// loaded, as the copy stays what it is. The copies, and what the thread works in, are held for each
    /// layer. Steps that start or install a refresh allocate.
    ///
    /// Not with `drift`, which compares with the factor of the step; not with dampings that are exact for
    /// the product ([`JointDamping::Exact`](crate::factor::JointDamping::Exact)), nor with damping
    /// of roots that is adapted, which asks for new roots at once; not under
    /// [`BasisUse::Previous`](crate::parity::BasisUse::Previous) or `PreviousOrIdentity`, which have
    /// a delay of their own.
    pub staleness: u64,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Refresh {
    /// At every step from the first, no failure tolerated.
    fn default() -> Self {
        Refresh {
            every: 1,
            start: 1,
            tolerated_failures: 0,
            drift: None,
            offset: 0,
            staleness: 0,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Refresh {
    /// Every `every` steps, from the first step on.
    #[must_use]
    pub fn every(every: u64) -> Self {
        Refresh { every, ..Refresh::default() }
    }

    /// At the first step, and then whenever the basis has drifted by more than `threshold`; see
    /// [`Refresh::drift`].
    #[must_use]
    pub fn on_drift(threshold: f64) -> Self {
        Refresh { every: u64::MAX, drift: Some(threshold), ..Refresh::default() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(threshold) = self.drift {
            check_number("refresh.drift", threshold, "in (0, 1)", |x| x > 0.0 && x < 1.0)?;
        }
        for (name, value) in [("refresh.every", self.every), ("refresh.start", self.start)] {
            if value == 0 {
                return Err(OptimError::InvalidHyperparameter {
                    name,
                    value: 0.0,
                    allowed: "at least 1",
                });
            }
        }
        if self.staleness >= self.every {
            return Err(OptimError::InvalidHyperparameter {
                name: "refresh.staleness",
                value: self.staleness as f64,
                allowed: "smaller than refresh.every",
            });
        }
        if self.drift.is_some() {
            self.check_at_once("refreshes where the basis has drifted", "drift is of this step")?;
        }
        Ok(())
    }

    /// Refuses a staleness beside what does not go with it.
    pub(crate) fn check_at_once(&self, beside: &'static str, why: &'static str) -> Result<()> {
        if self.staleness == 0 {
            return Ok(());
        }
        Err(OptimError::Incompatible { first: "refreshes with a staleness", second: beside, why })
    }

    /// Whether step `step`, counted from 1, refreshes.
    pub(crate) fn is_due(&self, step: u64) -> bool {
        step == self.start
            || (step > self.start && step.saturating_add(self.offset).is_multiple_of(self.every))
    }
}
