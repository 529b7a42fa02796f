//! The product with roots of a left and a right factor, as data.

use serde::{Deserialize, Serialize};

use crate::config::damping::{Damping, JointDamping};
use crate::config::factor::FactorConfig;
use crate::config::growth::NonExhaustive;
use crate::config::refresh::Refresh;
use crate::config::root::RootMethod;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result};
use crate::schedule::When;
use crate::signal::Signals;

/// `D ← P^{-p} D Q^{-q}` with a factor for each side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KroneckerConfig {
    /// `P`, m × m, on the output side.
    pub left: FactorConfig,
    /// `Q`, n × n, on the input side.
    pub right: FactorConfig,
    /// Damping of the two together; anything but [`JointDamping::None`] replaces what the factors
    /// say, which must then be [`Damping::None`].
    pub damping: JointDamping,
    /// When roots are computed anew.
    pub refresh: Refresh,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl KroneckerConfig {
    /// With a root of each factor at every step, and no damping beyond theirs.
    #[must_use]
    pub fn new(left: FactorConfig, right: FactorConfig) -> Self {
        KroneckerConfig {
            left,
            right,
            damping: JointDamping::None,
            refresh: Refresh::default(),
            non_exhaustive: NonExhaustive::default(),
        }
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.left.check(when)?;
        self.right.check(when)?;
        self.refresh.check()?;
        let formed = |factor: &FactorConfig| {
            factor.statistic == Statistic::None || factor.root.has_eigenvectors()
        };
        let joint = matches!(self.damping, JointDamping::Exact(_));
        if self.refresh.drift.is_some() && !joint && !(formed(&self.left) && formed(&self.right)) {
            return Err(OptimError::Incompatible {
                first: "refreshes where the basis has drifted",
                second: "roots without eigenvectors",
                why: "drift is seen in the eigenvectors held",
            });
        }
        if joint {
            let why = "its roots are of both factors at once";
            self.refresh.check_at_once("exact damping of the product", why)?;
        }
        let damping = match &self.damping {
            JointDamping::None => return Ok(()),
            JointDamping::FactoredTikhonov(damping) | JointDamping::Exact(damping) => damping,
        };
        damping.check_non_negative(when, "kronecker.damping")?;
        if self.whitens() {
            return Err(OptimError::Incompatible {
                first: "joint damping",
                second: "statistics of whitened gradients",
                why: "these need a root of each side alone",
            });
        }
        for factor in [&self.left, &self.right] {
            if factor.damping != Damping::None {
                return Err(OptimError::Incompatible {
                    first: "joint damping",
                    second: "damping of a single factor",
                    why: "one replaces the other",
                });
            }
            if factor.trace_scaling != 0.0 {
                return Err(OptimError::Incompatible {
                    first: "joint damping",
                    second: "scaling by a trace",
                    why: "it is defined for the product of the factors as they are",
                });
            }
            if joint && ![RootMethod::Cholesky, RootMethod::default()].contains(&factor.root) {
                return Err(OptimError::Incompatible {
                    first: "exact damping of the product",
                    second: "a method for the root of a factor",
                    why: "it decomposes both factors itself",
                });
            }
            if factor.exponent != 1.0 {
                return Err(OptimError::Incompatible {
                    first: "joint damping",
                    second: "an exponent other than 1",
                    why: "it is defined for the inverse of the product",
                });
            }
        }
        Ok(())
    }

    pub(crate) fn whitens(&self) -> bool {
        [&self.left, &self.right]
            .into_iter()
            .any(|factor| matches!(factor.statistic, Statistic::Whitened { .. }))
    }

    /// Whether the factors are a model of the loss's curvature: those of the layer, on one side or on
    /// both.
    pub(crate) fn models_curvature(&self) -> bool {
        let kinds = [self.left.statistic, self.right.statistic];
        kinds.contains(&Statistic::Signal)
            && kinds.iter().all(|kind| matches!(kind, Statistic::Signal | Statistic::None))
    }

    pub(crate) fn required(&self) -> Signals {
        Signals {
            input: self.right.statistic == Statistic::Signal,
            output: self.left.statistic == Statistic::Signal,
            ..Signals::GRADIENT
        }
    }
}
