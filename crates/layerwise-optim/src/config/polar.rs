//! The polar factor, as data.

use layerwise_linalg::{Margins, NewtonSchulz, OddDegree, minimax_polynomials};
use serde::{Deserialize, Serialize};

use crate::config::growth::NonExhaustive;
use crate::config::shape_scale::ShapeScale;
use crate::error::Result;
use crate::schedule::check_number;

/// Replaces a direction `D` (m × n) by its polar factor, times a [`scale`](Self::scale).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolarConfig {
    /// How the polar factor is computed.
    pub method: PolarMethod,
    /// What it is multiplied by.
    pub scale: ShapeScale,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

/// How a polar factor is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PolarMethod {
    /// Approximately, by steps `X ← a X + (b (XXᵀ) + c (XXᵀ)²) X` from `D` by its norm
    /// (Jordan et al. 2024, Muon). [`polar_express`](Self::polar_express) and [`cans`](Self::cans) are
    /// lists that come nearer to it.
    NewtonSchulz {
        /// `(a, b, c)` of each step; the last serves all steps after it. At least one.
        polynomials: Vec<[f64; 3]>,
        /// Number of steps, ≥ 1.
        steps: usize,
        /// What `D` is divided by.
        divisor: PolarDivisor,
    },
    /// `U Vᵀ` over the singular values that are not zero, by a singular value decomposition.
    SingularValues {
        /// Multiply by the nuclear norm `‖D‖_*`, the sum of the singular values: steepest descent in
        /// the spectral norm.
        times_nuclear_norm: bool,
    },
}

/// What the start of a Newton-Schulz iteration is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PolarDivisor {
    /// `‖D‖_F + ε`, `ε` > 0 (Muon's author).
    Plus(f64),
    /// `max(‖D‖_F, ε)`, `ε` > 0 (PyTorch, Distributed Shampoo).
    AtLeast(f64),
}

impl Default for PolarMethod {
    /// Muon's: (3.4445, −4.7750, 2.0315), five steps, `‖D‖_F + 10⁻⁷`.
    fn default() -> Self {
        let NewtonSchulz { polynomials, steps, epsilon, .. } = NewtonSchulz::default();
        PolarMethod::NewtonSchulz { polynomials, steps, divisor: PolarDivisor::Plus(epsilon) }
    }
}

impl PolarMethod {
    /// The first steps of the eight of Polar Express (Amsel et al. 2025), as its authors publish them: the best
    /// polynomials of degree five for singular values from 10⁻³ of the norm, with a cushion of 0.02 and 1 % of
    /// room for rounding. Steps after the eighth repeat it. `steps` ≥ 1.
    ///
    /// # Errors
    ///
    /// No steps.
    pub fn polar_express(steps: usize) -> Result<Self> {
        check_number("polar.steps", steps as f64, "at least 1", |steps| steps >= 1.0)?;
        let margins = Margins { cushion: 0.02, safety: 1.01 };
        let mut polynomials = minimax_polynomials(OddDegree::Five, 1e-3, 8, margins)?;
        polynomials.truncate(steps);
        Ok(PolarMethod::by(polynomials, steps))
    }

    /// The best polynomials of degree three for singular values from `smallest` of the norm, in [10⁻⁸, 1]
    /// (Grishina et al. 2025, CANS): a step is a product cheaper than one of degree five. `steps` ≥ 1.
    ///
    /// # Errors
    ///
    /// A smallest value out of range, no steps, or more than 1000.
    pub fn cans(smallest: f64, steps: usize) -> Result<Self> {
        check_number("polar.steps", steps as f64, "from 1 to 1000", |n| {
            (1.0..=1000.0).contains(&n)
        })?;
        check_number("smallest", smallest, "in [1e-8, 1]", |x| (1e-8..=1.0).contains(&x))?;
        let polynomials = minimax_polynomials(OddDegree::Three, smallest, steps, Margins::NONE)?;
        Ok(PolarMethod::by(polynomials, steps))
    }

    fn by(polynomials: Vec<[f64; 3]>, steps: usize) -> Self {
        PolarMethod::NewtonSchulz { polynomials, steps, divisor: PolarDivisor::Plus(1e-7) }
    }
}

impl PolarConfig {
    pub(crate) fn check(&self) -> Result<()> {
        self.scale.check("polar.scale")?;
        let PolarMethod::NewtonSchulz { polynomials, steps, divisor } = &self.method else {
            return Ok(());
        };
        let count = polynomials.len() as f64;
        check_number("polar.polynomials", count, "at least one", |count| count >= 1.0)?;
        for coefficient in polynomials.iter().flatten() {
            check_number("polar.polynomials", *coefficient, "finite", |_| true)?;
        }
        check_number("polar.steps", *steps as f64, "at least 1", |steps| steps >= 1.0)?;
        let (PolarDivisor::Plus(epsilon) | PolarDivisor::AtLeast(epsilon)) = *divisor;
        check_number("polar.divisor", epsilon, "finite and > 0", |x| x > 0.0)
    }
}
