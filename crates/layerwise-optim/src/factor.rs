//! What one side of a Kronecker-factored preconditioner is: statistic, damping and root, as data.

use layerwise_linalg::CoupledNewton;
use serde::{Deserialize, Serialize};

use crate::averaging::Averaging;
use crate::error::{OptimError, Result};
use crate::schedule::{Schedule, When, check_number};

/// What a side's second moment is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Statistic {
    /// Of nothing: the factor is the identity, and its side is left alone but for damping.
    Identity,
    /// Of the gradient: `G Gᵀ` on the left, `GᵀG` on the right (Shampoo, SOAP).
    Gradient,
    /// Of the gradient whitened by the other side's root as it was last refreshed:
    /// `G Q^{-2q} Gᵀ` on the left, `GᵀP^{-2p}G` on the right (KL-Shampoo, arXiv 2509.03378).
    Whitened {
        /// Divide by the other side's dimension, as the paper does; and before the other factor has
        /// its first root take it for `r I`, with `r` the root mean square of the gradient's
        /// entries, so that factors scale as gradients do. (A side that is left alone is the
        /// identity from the start.) Where it is false, there is no divisor, and the first root is
        /// the identity (Distributed Shampoo).
        normalized: bool,
    },
    /// Of the layer: the signal's output factor on the left, its input factor on the right (KFAC).
    Signal,
}

/// Which sides of a weight are preconditioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sides {
    /// Outputs and inputs.
    #[default]
    Both,
    /// Outputs (rows) alone.
    Left,
    /// Inputs (columns) alone.
    Right,
}

impl Sides {
    /// The statistic of the left side.
    pub(crate) fn left(self, statistic: Statistic) -> Statistic {
        if self == Sides::Right { Statistic::Identity } else { statistic }
    }

    /// The statistic of the right side.
    pub(crate) fn right(self, statistic: Statistic) -> Statistic {
        if self == Sides::Left { Statistic::Identity } else { statistic }
    }
}

/// A multiple of the identity added to a (bias-corrected) factor before its root is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Damping {
    /// Nothing.
    None,
    /// `λ I`, `λ` ≥ 0.
    Absolute(Schedule),
    /// `ε λ_max I`, `ε` ≥ 0; needs eigenvalues. Where the factor is zero, as before the first
    /// gradient that is not, its side keeps the root that it had (the identity at first).
    RelativeToLargest(Schedule),
    /// `ε (tr S/n) I`, `ε` ≥ 0; zero factors as above.
    RelativeToTrace(Schedule),
}

/// How `S^{-p}` is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InverseRoot {
    /// `p = 1`, by solves with a Cholesky factor; no inverse is formed. A factor that is not
    /// positive definite is an error.
    Cholesky,
    /// Any `p > 0`, by an eigendecomposition.
    Eigen {
        /// `p`.
        exponent: f64,
        /// `Some(c)`: eigenvalues up to `c` times the largest count as zero, and so do their
        /// roots (the Moore-Penrose root). `None`: a factor that is not positive definite is an
        /// error.
        pseudo_inverse: Option<f64>,
    },
    /// `1/p` for a whole `p`, by the coupled Newton iteration (Guo and Higham 2006): products of
    /// matrices alone. Where it does not arrive, or its residual is too large, an eigendecomposition
    /// takes its place, and is counted as a fall-back. Condition numbers are not known.
    CoupledNewton {
        /// `p`, ≥ 1.
        root: u32,
        /// The most steps taken, ≥ 1.
        max_steps: usize,
        /// The iteration stops where its `M` is as close to the identity as this, > 0.
        tolerance: f64,
        /// The largest residual `max|Xᵖ S − I|` that is accepted, > 0.
        residual: f64,
    },
}

impl InverseRoot {
    /// The root by eigendecomposition, of positive definite factors.
    #[must_use]
    pub fn eigen(exponent: f64) -> Self {
        InverseRoot::Eigen { exponent, pseudo_inverse: None }
    }

    /// The root of exponent `1/p` by the coupled Newton iteration: at most 100 steps, tolerance
    /// 10⁻⁶, residual 10⁻³.
    #[must_use]
    pub fn coupled_newton(root: u32) -> Self {
        let CoupledNewton { max_steps, tolerance, residual, .. } = CoupledNewton::default();
        InverseRoot::CoupledNewton { root, max_steps, tolerance, residual }
    }

    /// The same root with another exponent, by an eigendecomposition where the routine has none.
    pub(crate) fn with_exponent(&self, exponent: f64) -> Self {
        match self {
            InverseRoot::Cholesky if exponent == 1.0 => InverseRoot::Cholesky,
            InverseRoot::Cholesky => InverseRoot::eigen(exponent),
            InverseRoot::Eigen { pseudo_inverse, .. } => {
                InverseRoot::Eigen { exponent, pseudo_inverse: *pseudo_inverse }
            }
            InverseRoot::CoupledNewton { max_steps, tolerance, residual, .. } => {
                let root = 1.0 / exponent;
                if root == root.round() && (1.0..=1024.0).contains(&root) {
                    InverseRoot::CoupledNewton {
                        root: root as u32,
                        max_steps: *max_steps,
                        tolerance: *tolerance,
                        residual: *residual,
                    }
                } else {
                    InverseRoot::eigen(exponent)
                }
            }
        }
    }

    pub(crate) fn exponent(&self) -> f64 {
        match self {
            InverseRoot::CoupledNewton { root, .. } => 1.0 / f64::from(*root),
            InverseRoot::Cholesky => 1.0,
            InverseRoot::Eigen { exponent, .. } => *exponent,
        }
    }
}

/// One side of a Kronecker-factored preconditioner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactorConfig {
    /// Of what.
    pub statistic: Statistic,
    /// How it remembers.
    pub averaging: Averaging,
    /// What is added to it.
    pub damping: Damping,
    /// Which root is applied.
    pub root: InverseRoot,
    /// `a` in [0, 1]: the (bias-corrected) factor is multiplied by `tr(S)^{-a}` before damping and
    /// root (`use_trace_scaling` of Distributed Shampoo, after arXiv 2506.03595, with `a` = ½). 0:
    /// it is not.
    pub trace_scaling: f64,
}

impl FactorConfig {
    /// A side that is left alone.
    #[must_use]
    pub fn identity() -> Self {
        FactorConfig {
            statistic: Statistic::Identity,
            averaging: Averaging::None,
            damping: Damping::None,
            root: InverseRoot::Cholesky,
            trace_scaling: 0.0,
        }
    }

    /// Refuses a damping that needs eigenvalues, of a root that has none.
    fn check_eigenvalues(&self, root: &'static str) -> Result<()> {
        if matches!(self.damping, Damping::RelativeToLargest(_)) {
            return Err(OptimError::Incompatible {
                first: "damping relative to the largest eigenvalue",
                second: root,
                why: "it does not know the largest eigenvalue",
            });
        }
        Ok(())
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        self.averaging.check(when, "factor.averaging.beta")?;
        let scaling = self.trace_scaling;
        check_number("factor.trace_scaling", scaling, "in [0, 1]", |x| (0.0..=1.0).contains(&x))?;
        match &self.damping {
            Damping::None => {}
            Damping::Absolute(damping)
            | Damping::RelativeToLargest(damping)
            | Damping::RelativeToTrace(damping) => {
                damping.check_non_negative(when, "factor.damping")?;
            }
        }
        match &self.root {
            InverseRoot::Cholesky => self.check_eigenvalues("a root by Cholesky factor"),
            InverseRoot::CoupledNewton { root, max_steps, tolerance, residual } => {
                for (name, count) in [
                    ("factor.root.root", u64::from(*root)),
                    ("factor.root.max_steps", *max_steps as u64),
                ] {
                    if count == 0 {
                        let allowed = "at least 1";
                        return Err(OptimError::InvalidHyperparameter {
                            name,
                            value: 0.0,
                            allowed,
                        });
                    }
                }
                for (name, value) in
                    [("factor.root.tolerance", tolerance), ("factor.root.residual", residual)]
                {
                    check_number(name, *value, "finite and > 0", |x| x > 0.0)?;
                }
                self.check_eigenvalues("a root by the coupled Newton iteration")
            }
            InverseRoot::Eigen { exponent, pseudo_inverse } => {
                check_number("factor.root.exponent", *exponent, "finite and > 0", |x| x > 0.0)?;
                match pseudo_inverse {
                    None => Ok(()),
                    Some(cutoff) => {
                        check_number("factor.root.pseudo_inverse", *cutoff, "in [0, 1)", |x| {
                            (0.0..1.0).contains(&x)
                        })
                    }
                }
            }
        }
    }
}
