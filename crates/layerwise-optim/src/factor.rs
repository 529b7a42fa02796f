//! What one side of a Kronecker-factored preconditioner is: statistic, damping and root, as data.

use layerwise_linalg::CoupledNewton;
use serde::{Deserialize, Serialize};

use crate::averaging::Averaging;
use crate::basis_method::BasisMethod;
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
    /// `max(ε ‖S‖_∞, λ) I`, with `‖S‖_∞` the largest sum of a row's moduli: a bound of `λ_max` that
    /// needs no eigenvalues. Zero factors as above where `λ` is zero.
    RelativeToRowSum {
        /// `ε` ≥ 0.
        relative: Schedule,
        /// `λ` ≥ 0.
        least: Schedule,
    },
}

impl Damping {
    fn check(&self, when: When) -> Result<()> {
        const NAME: &str = "factor.damping";
        match self {
            Damping::None => Ok(()),
            Damping::Absolute(damping)
            | Damping::RelativeToLargest(damping)
            | Damping::RelativeToTrace(damping) => damping.check_non_negative(when, NAME),
            Damping::RelativeToRowSum { relative, least } => {
                relative.check_non_negative(when, NAME)?;
                least.check_non_negative(when, NAME)
            }
        }
    }
}

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
        pseudo_inverse: Option<Cutoff>,
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
pub struct Cutoff {
    /// In [0, 1), times the largest eigenvalue.
    pub relative: f64,
    /// ≥ 0.
    pub absolute: f64,
}

impl From<f64> for Cutoff {
    fn from(relative: f64) -> Self {
        Cutoff { relative, absolute: 0.0 }
    }
}

impl From<Cutoff> for layerwise_linalg::Cutoff {
    fn from(Cutoff { relative, absolute }: Cutoff) -> Self {
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
    pub fn pseudo_inverse(cutoff: impl Into<Cutoff>) -> Self {
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

    /// The iteration for this exponent, where it is the method and the exponent such a fraction.
    pub(crate) fn coupled(&self, exponent: f64) -> Option<CoupledNewton> {
        let RootMethod::CoupledNewton { order, from_trace, max_steps, tolerance, residual } = *self
        else {
            return None;
        };
        let (root, power) = (1..=16u32).find_map(|power| {
            let root = f64::from(power) / exponent;
            let whole = root.round();
            // A quotient of two numbers that are each rounded once.
            let is_whole = (root - whole).abs() <= 2.0 * f64::EPSILON * whole;
            (is_whole && (1.0..=1024.0).contains(&whole)).then_some((whole as u32, power))
        })?;
        Some(CoupledNewton { root, power, order, from_trace, max_steps, tolerance, residual })
    }

    fn check(&self, when: When) -> Result<()> {
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
                let Some(Cutoff { relative, absolute }) = *pseudo_inverse else { return Ok(()) };
                let name = "factor.root.pseudo_inverse.relative";
                check_number(name, relative, "in [0, 1)", |x| (0.0..1.0).contains(&x))?;
                let name = "factor.root.pseudo_inverse.absolute";
                check_number(name, absolute, "finite and ≥ 0", |x| x >= 0.0)
            }
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
    /// `p` of the root `S^{-p}` that is applied, > 0.
    pub exponent: f64,
    /// How that is computed.
    pub root: RootMethod,
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
            exponent: 1.0,
            root: RootMethod::Cholesky,
            trace_scaling: 0.0,
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
