//! The steps that statements are about: by default those that the experiments take.

use layerwise_data::LinearTask;
use layerwise_optim::Kfac;
use rand::RngCore;

use crate::Result;
use crate::linear::{Algorithm, Amgd, LayerWise, StepData, head_kfac, representation_kfac};

/// The rates and the damping of update (1) of arXiv 2502.01763.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KfacRates {
    /// η_G.
    pub representation: f64,
    /// η_F.
    pub head: f64,
    /// λ_G ≥ 0, added to the representation's input factor alone.
    pub damping: f64,
}

/// Every step that a statement checks. The default methods call the code that the experiments
/// run; a test that wants a check to fail overrides one of them.
///
/// Shapes are `(d_Y, k, d_X)`.
pub trait Steps: Sync {
    /// Update (1): KFAC on the representation, then on the head at the new representation.
    ///
    /// # Errors
    /// Where a rate or the damping is out of range.
    fn kfac(&self, rates: KfacRates, shape: (usize, usize, usize)) -> Result<Box<dyn Algorithm>> {
        let representation = Kfac {
            input_damping: rates.damping.into(),
            ..representation_kfac(rates.representation, 0.0)
        };
        Ok(Box::new(LayerWise::sequential(&representation, &head_kfac(rates.head), shape)?))
    }

    /// Alternating minimization and gradient descent, on raw or on batch-normalized inputs.
    ///
    /// # Errors
    /// Where the rate is out of range.
    fn amgd(
        &self,
        rate: f64,
        batch_norm: bool,
        shape: (usize, usize, usize),
    ) -> Result<Box<dyn Algorithm>> {
        Ok(Box::new(Amgd::new(rate, batch_norm, shape)))
    }

    /// Draws the next batch of a linear task.
    ///
    /// # Errors
    /// Where task and storage differ in shape.
    fn draw(
        &self,
        task: &LinearTask,
        mut rng: &mut dyn RngCore,
        data: &mut StepData,
    ) -> Result<()> {
        data.draw(task, &mut rng)
    }
}

/// The steps as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealSteps;

impl Steps for RealSteps {}
