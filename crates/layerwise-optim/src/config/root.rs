//! How the root of a factor is computed, as data.

use layerwise_linalg::CoupledNewton;
use serde::{Deserialize, Serialize};

use crate::config::basis::BasisMethod;
use crate::config::growth::NonExhaustive;
use crate::error::Result;
use crate::schedule::{When, check_number};

/// How `S^{-p}` is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RootMethod {
    /// `p = 1`, by solves with a Cholesky factor; no inverse is formed. A factor that is not
    /// positive definite is an error.
    Cholesky,
    /// `p = 1`, by products with an inverse that is formed of a Cholesky factor: dearer at a refresh
    /// (7n³/3 flops for n³/3) and cheaper at a step. It loses the digits of the factor's condition
    /// number, which solves keep.
    Inverse,
    /// Any `p > 0`, from eigenvalues and eigenvectors.
    Eigen {
        /// Eigenvalues up to this count as zero, and so do their roots (the Moore-Penrose root).
        /// `None`: a factor that is not positive definite is an error.
        pseudo_inverse: Option<RankTolerance>,
        /// How eigenvectors are found; eigenvalues are their Rayleigh quotients.
        basis: BasisMethod,
    },
    /// Fractions `p = b/a` with `b` ≤ 16, `a` ≤ 1024, by products of matrices alone: the coupled Newton
    /// iteration (Guo and Higham 2006), or one of higher order. A result with too large a residual is
    /// left to an eigendecomposition, and counted as a fall-back; other exponents are too, and are
    /// not. Condition numbers are lower bounds.
    CoupledNewton {
        /// Of convergence, in [2, 32]: Newton's is 2.
        order: u32,
        /// Start from the factor by its trace, instead of by `2 ‖S‖_F/(a + 1)`.
        from_trace: bool,
        /// The most steps taken, ≥ 1.
        max_steps: usize,
        /// The iteration stops where its `M` is as close to the identity as this, > 0, or does not
        /// come closer.
        tolerance: f64,
        /// The largest residual `max|Xᵃ S − I|` that is accepted, > 0.
        residual: f64,
    },
}

/// Up to where eigenvalues of a (bias-corrected, damped) factor count as zero: the larger of both. A
/// number converts into a relative one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankTolerance {
    /// In [0, 1), times the largest eigenvalue.
    pub relative: f64,
    /// ≥ 0.
    pub absolute: f64,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl From<f64> for RankTolerance {
    fn from(relative: f64) -> Self {
        RankTolerance { relative, ..RankTolerance::default() }
    }
}

impl From<RankTolerance> for layerwise_linalg::Cutoff {
    fn from(RankTolerance { relative, absolute, .. }: RankTolerance) -> Self {
        layerwise_linalg::Cutoff { relative, absolute }
    }
}

impl Default for RootMethod {
    /// By eigendecompositions, of positive definite factors.
    fn default() -> Self {
        RootMethod::Eigen { pseudo_inverse: None, basis: BasisMethod::default() }
    }
}

impl RootMethod {
    /// The Moore-Penrose root, by eigendecompositions.
    #[must_use]
    pub fn pseudo_inverse(cutoff: impl Into<RankTolerance>) -> Self {
        RootMethod::Eigen { pseudo_inverse: Some(cutoff.into()), basis: BasisMethod::default() }
    }

    /// The coupled Newton iteration: at most 100 steps, tolerance 10⁻⁶, residual 10⁻³.
    #[must_use]
    pub fn coupled_newton() -> Self {
        let CoupledNewton { order, from_trace, max_steps, tolerance, residual, .. } =
            CoupledNewton::default();
        RootMethod::CoupledNewton { order, from_trace, max_steps, tolerance, residual }
    }

    /// Distributed Shampoo's iteration of higher order: the third, from the trace, at most 100 steps,
    /// tolerance 10⁻⁸, residual 10⁻¹.
    #[must_use]
    pub fn coupled_higher_order() -> Self {
        RootMethod::CoupledNewton {
            order: 3,
            from_trace: true,
            max_steps: 100,
            tolerance: 1e-8,
            residual: 0.1,
        }
    }

    /// Whether it knows no exponent but 1.
    pub(crate) fn only_inverts(&self) -> bool {
        matches!(self, RootMethod::Cholesky | RootMethod::Inverse)
    }

    /// Whether eigenvectors are at hand.
    pub(crate) fn has_eigenvectors(&self) -> bool {
        matches!(self, RootMethod::Eigen { .. })
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        match self {
            RootMethod::Cholesky | RootMethod::Inverse => Ok(()),
            RootMethod::CoupledNewton { order, max_steps, tolerance, residual, .. } => {
                let value = f64::from(*order);
                check_number("factor.root.order", value, "in [2, 32]", |x| {
                    (2.0..=32.0).contains(&x)
                })?;
                let value = *max_steps as f64;
                check_number("factor.root.max_steps", value, "at least 1", |x| x >= 1.0)?;
                for (name, value) in
                    [("factor.root.tolerance", tolerance), ("factor.root.residual", residual)]
                {
                    check_number(name, *value, "finite and > 0", |x| x > 0.0)?;
                }
                Ok(())
            }
            RootMethod::Eigen { pseudo_inverse, basis } => {
                basis.check(when)?;
                let Some(RankTolerance { relative, absolute, .. }) = *pseudo_inverse else {
                    return Ok(());
                };
                let name = "factor.root.pseudo_inverse.relative";
                check_number(name, relative, "in [0, 1)", |x| (0.0..1.0).contains(&x))?;
                let name = "factor.root.pseudo_inverse.absolute";
                check_number(name, absolute, "finite and ≥ 0", |x| x >= 0.0)
            }
        }
    }
}
