//! The polar factor, as data.

use layerwise_linalg::NewtonSchulz;
use serde::{Deserialize, Serialize};

use crate::config::growth::NonExhaustive;
use crate::error::Result;
use crate::schedule::check_number;

/// Replaces a direction `D` (m × n) by its polar factor, times a [`scale`](Self::scale).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolarConfig {
    /// How the polar factor is computed.
    pub method: PolarMethod,
    /// What it is multiplied by.
    pub scale: PolarScale,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

/// How a polar factor is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PolarMethod {
    /// Approximately, by steps `X ← a X + (b (XXᵀ) + c (XXᵀ)²) X` from `D` by its norm
    /// (Jordan et al. 2024, Muon).
    NewtonSchulz {
        /// `(a, b, c)`.
        coefficients: [f64; 3],
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

/// What the polar factor of an m × n direction is multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PolarScale {
    /// `√max(1, m/n)`, so that a tall matrix changes outputs as much as a square one (Muon's author).
    #[default]
    Tall,
    /// `√(m/n)`.
    Ratio,
    /// `0.2 √max(m, n)`: entries of root mean square 0.2, as Adam's (Liu et al. 2025).
    RootMeanSquare,
    /// A number > 0, the same for every shape; 1 for nothing.
    Number(f64),
}

impl Default for PolarMethod {
    /// Muon's: (3.4445, −4.7750, 2.0315), five steps, `‖D‖_F + 10⁻⁷`.
    fn default() -> Self {
        let NewtonSchulz { coefficients, steps, epsilon, .. } = NewtonSchulz::default();
        PolarMethod::NewtonSchulz { coefficients, steps, divisor: PolarDivisor::Plus(epsilon) }
    }
}

impl PolarScale {
    pub(crate) fn of_shape(self, (m, n): (usize, usize)) -> f64 {
        match self {
            PolarScale::Tall => (m as f64 / n as f64).max(1.0).sqrt(),
            PolarScale::Ratio => (m as f64 / n as f64).sqrt(),
            PolarScale::RootMeanSquare => 0.2 * (m.max(n) as f64).sqrt(),
            PolarScale::Number(scale) => scale,
        }
    }
}

impl PolarConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if let PolarScale::Number(scale) = self.scale {
            check_number("polar.scale", scale, "finite and > 0", |x| x > 0.0)?;
        }
        let PolarMethod::NewtonSchulz { coefficients, steps, divisor } = &self.method else {
            return Ok(());
        };
        for coefficient in coefficients {
            check_number("polar.coefficients", *coefficient, "finite", |_| true)?;
        }
        check_number("polar.steps", *steps as f64, "at least 1", |steps| steps >= 1.0)?;
        let (PolarDivisor::Plus(epsilon) | PolarDivisor::AtLeast(epsilon)) = *divisor;
        check_number("polar.divisor", epsilon, "finite and > 0", |x| x > 0.0)
    }
}
