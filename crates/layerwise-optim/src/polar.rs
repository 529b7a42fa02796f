//! The direction's polar factor: Muon.

use layerwise_linalg::{NewtonSchulz, PolarWorkspace, Scalar};
use ndarray::ArrayViewMut2;
use serde::{Deserialize, Serialize};

use crate::error::{OptimError, Result};
use crate::finite::{check_shape, check_weight};
use crate::preconditioner::{Observation, Preconditioner, bytes};
use crate::schedule::check_number;
use crate::signal::Signal;
use crate::state::{StateReader, StateWriter};

/// Replaces a direction (m × n) by `√max(1, m/n)` times its approximate polar factor, by
/// Newton-Schulz steps `X ← a X + (b (XXᵀ) + c (XXᵀ)²) X` from `X = D/(‖D‖_F + ε)`
/// (Jordan et al. 2024, Muon).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolarConfig {
    /// `(a, b, c)`.
    pub coefficients: [f64; 3],
    /// Number of steps, ≥ 1.
    pub steps: usize,
    /// `ε` > 0.
    pub epsilon: f64,
    /// Multiply by `√max(1, m/n)`, so that a tall matrix changes outputs as much as a square one.
    pub scale_by_shape: bool,
}

impl Default for PolarConfig {
    /// Muon's: (3.4445, −4.7750, 2.0315), five steps, ε = 10⁻⁷, scaled.
    fn default() -> Self {
        PolarConfig {
            coefficients: [3.4445, -4.7750, 2.0315],
            steps: 5,
            epsilon: 1e-7,
            scale_by_shape: true,
        }
    }
}

impl PolarConfig {
    pub(crate) fn check(&self) -> Result<()> {
        for coefficient in self.coefficients {
            check_number("polar.coefficients", coefficient, "finite", |_| true)?;
        }
        if self.steps == 0 {
            return Err(OptimError::InvalidHyperparameter {
                name: "polar.steps",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        check_number("polar.epsilon", self.epsilon, "finite and > 0", |x| x > 0.0)
    }
}

/// The polar factor of whatever it is applied to; it has no statistics.
#[derive(Debug)]
pub struct Polar<A> {
    newton_schulz: NewtonSchulz,
    workspace: PolarWorkspace<A>,
    scale: A,
    shape: (usize, usize),
}

impl<A: Scalar> Polar<A> {
    /// For weights of this shape.
    ///
    /// # Errors
    ///
    /// Hyperparameters out of range, and shapes that are empty or too large.
    pub fn new(config: &PolarConfig, shape: (usize, usize)) -> Result<Self> {
        config.check()?;
        check_weight::<A>(shape)?;
        let ratio = shape.0 as f64 / shape.1 as f64;
        let scale = if config.scale_by_shape { ratio.max(1.0).sqrt() } else { 1.0 };
        Ok(Polar {
            newton_schulz: NewtonSchulz {
                coefficients: config.coefficients,
                steps: config.steps,
                epsilon: config.epsilon,
            },
            workspace: PolarWorkspace::with_shape(shape.0, shape.1),
            scale: A::from_f64(scale),
            shape,
        })
    }
}

impl<A: Scalar> Preconditioner<A> for Polar<A> {
    fn observe(&mut self, _signal: &Signal<'_, A>) -> Result<Observation> {
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        self.newton_schulz.apply(direction, &mut self.workspace)?;
        let scale = self.scale;
        direction.mapv_inplace(|x| x * scale);
        Ok(())
    }

    fn commit(&mut self) {}

    fn memory_bytes(&self) -> usize {
        let short = self.shape.0.min(self.shape.1);
        // The iterate, its successor, and two Gram matrices of the short side.
        2 * bytes::<A>(self.shape) + 2 * bytes::<A>((short, short))
    }

    fn save_state(&self, _path: &str, _out: &mut StateWriter<A>) {}

    fn load_state(&mut self, _path: &str, _from: &mut StateReader<'_, A>) -> Result<()> {
        Ok(())
    }
}
