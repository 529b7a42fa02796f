//! What is added to factors before their roots are taken.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::number::number_or_spelled_out;
use crate::schedule::{Schedule, When};

/// A multiple of the identity added to a (bias-corrected) factor before its root is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[non_exhaustive]
pub enum Damping {
    /// Nothing.
    None,
    /// `λ I`, `λ` ≥ 0.
    Absolute(Schedule),
    /// `ε λ_max I`, `ε` ≥ 0; needs eigenvalues. As of every relative damping, an `ε` > 0 counts as no less than
    /// `√n ε₀`, with `ε₀` the scalar's machine epsilon. Where the damped factor is not positive definite
    /// all the same, the damping is raised tenfold, up to eight times, which the step's report counts among
    /// its fallbacks; a factor that is indefinite beyond that is refused. Where the factor is zero, as
    /// before the first gradient that is not, its side keeps the root that it had (the identity at first).
    RelativeToLargest(Schedule),
    /// `ε (tr S/n) I`, `ε` ≥ 0, no less than `√n ε₀ tr S`; zero factors as above.
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

number_or_spelled_out!(Damping, "a number, or a damping by its name");

impl From<Schedule> for Damping {
    /// An absolute damping; none where it is always 0.
    fn from(damping: Schedule) -> Self {
        match damping {
            Schedule::Constant(0.0) => Damping::None,
            damping => Damping::Absolute(damping),
        }
    }
}

impl From<f64> for Damping {
    fn from(damping: f64) -> Self {
        Schedule::from(damping).into()
    }
}

impl Damping {
    pub(crate) fn check(&self, when: When) -> Result<()> {
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

/// Damping of the product `P ⊗ Q`. The rules agree at `λ = 0`, and need exponent 1 on both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JointDamping {
    /// Each factor by its own rule.
    #[default]
    None,
    /// Factored Tikhonov (Martens and Grosse 2015, §6.3): `(P + (√λ/π) I)⁻¹ D (Q + π√λ I)⁻¹` with
    /// `π² = (tr Q/n)/(tr P/m)`; π = 1 where a trace is zero.
    FactoredTikhonov(Schedule),
    /// `(P ⊗ Q + λ I)⁻¹`, exactly, in the joint eigenbasis.
    Exact(Schedule),
}
