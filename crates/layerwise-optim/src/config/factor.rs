//! The factor of one side, as data: statistic, damping and root.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::damping::Damping;
use crate::config::growth::NonExhaustive;
use crate::config::root::RootMethod;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result};
use crate::schedule::{When, check_number};

/// The factor of one side, and the root of it that directions are multiplied by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorConfig {
    /// Of what.
    pub statistic: Statistic,
    /// How it remembers.
    pub averaging: Averaging,
    /// What is added to it.
    pub damping: Damping,
    /// `p` of the root `S^{-p}` that is applied, > 0.
    pub exponent: f64,
    /// How that is computed.
    pub root: RootMethod,
    /// `a` in [0, 1]: the (bias-corrected) factor is multiplied by `tr(S)^{-a}` before damping and
    /// root (`use_trace_scaling` of Distributed Shampoo, after arXiv 2506.03595, with `a` = ½). 0:
    /// it is not.
    pub trace_scaling: f64,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl FactorConfig {
    /// A side that is left alone.
    #[must_use]
    pub fn left_alone() -> Self {
        FactorConfig::of(Statistic::None)
    }

    /// The inverse of the latest statistic, by a Cholesky factorization, without damping.
    #[must_use]
    pub fn of(statistic: Statistic) -> Self {
        FactorConfig {
            statistic,
            averaging: Averaging::None,
            damping: Damping::None,
            exponent: 1.0,
            root: RootMethod::Cholesky,
            trace_scaling: 0.0,
            non_exhaustive: NonExhaustive::default(),
        }
    }

    /// The same with another exponent, by eigendecompositions where the method has none.
    pub(crate) fn with_exponent(self, exponent: f64) -> Self {
        let root = match self.root {
            root if exponent != 1.0 && root.only_inverts() => RootMethod::default(),
            root => root,
        };
        FactorConfig { exponent, root, ..self }
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.averaging.check(when, "factor.averaging.beta")?;
        let scaling = self.trace_scaling;
        check_number("factor.trace_scaling", scaling, "in [0, 1]", |x| (0.0..=1.0).contains(&x))?;
        check_number("factor.exponent", self.exponent, "finite and > 0", |x| x > 0.0)?;
        self.damping.check(when)?;
        self.root.check(when)?;
        if self.root.only_inverts() && self.exponent != 1.0 {
            return Err(OptimError::Incompatible {
                first: "a root that is an inverse",
                second: "an exponent other than 1",
                why: "it only gives inverses",
            });
        }
        if matches!(self.damping, Damping::RelativeToLargest(_)) && !self.root.has_eigenvectors() {
            return Err(OptimError::Incompatible {
                first: "damping relative to the largest eigenvalue",
                second: "a root without eigenvectors",
                why: "it does not know the largest eigenvalue",
            });
        }
        Ok(())
    }
}
