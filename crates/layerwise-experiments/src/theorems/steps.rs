//! The steps that statements are about: by default those that the experiments take.

use layerwise_data::{Batch, LinearTask, SingleIndexTask};
use layerwise_models::SingleIndexStudent;
use layerwise_optim::Kfac;
use layerwise_optim::methods::KfacDamping;
use ndarray::{Array2, ArrayView2};
use rand::RngCore;

use crate::Result;
use crate::linear::{
    Algorithm, Amgd, LayerWise, LinearMethod, StepData, head_kfac, representation_kfac,
};
use crate::single_index;
use crate::theorems::multi_task;
use crate::theorems::transfer::TransferTask;

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
            damping: KfacDamping::per_factor(0.0, rates.damping),
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

    /// A method as the figures run it, such as SGD on both layers jointly.
    ///
    /// # Errors
    /// Where a hyperparameter is out of range.
    fn method(
        &self,
        method: &LinearMethod,
        shape: (usize, usize, usize),
        samples: usize,
    ) -> Result<Box<dyn Algorithm>> {
        method.algorithm(shape, samples)
    }

    /// A KFAC step without damping on several tasks that share their representation G (k × d_X):
    /// the mean of `∇_G L̂_t Σ̂_t⁻¹`, preconditioned by the mean of the heads' `F_tᵀF_t`. Returns `G₊`.
    ///
    /// # Errors
    /// Where heads and batches differ in number or shape, or a factor is singular.
    fn multi_task_kfac(
        &self,
        eta: f64,
        representation: ArrayView2<'_, f64>,
        heads: &[Array2<f64>],
        batches: &[StepData],
    ) -> Result<Array2<f64>> {
        multi_task::step(eta, representation, heads, batches)
    }

    /// Excess loss on a transfer task of a representation `g` with the population's head of
    /// least squares.
    ///
    /// # Errors
    /// Where shapes differ or `G Σ_t Gᵀ` is singular.
    fn transfer_loss(&self, g: ArrayView2<'_, f64>, task: &TransferTask) -> Result<f64> {
        task.excess_loss_of_best_head(g)
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

    /// `∇_G L̂` of a single-index student (h × d) on a batch.
    ///
    /// # Errors
    /// Where student and batch differ in shape.
    fn single_index_gradient(
        &self,
        student: &SingleIndexStudent,
        batch: &Batch,
    ) -> Result<Array2<f64>> {
        single_index::gradient(student, batch)
    }

    /// `Ê[xxᵀ]`, the input factor of one-sided KFAC, on the batch that the gradient is taken on.
    ///
    /// # Errors
    /// Where the batch is empty.
    fn single_index_factor(&self, _task: &SingleIndexTask, batch: &Batch) -> Result<Array2<f64>> {
        single_index::input_factor(batch)
    }

    /// `G₁` after a step of SGD at rate 1 from the student's `G₀`.
    ///
    /// # Errors
    /// Where shapes differ.
    fn single_index_sgd(
        &self,
        student: &SingleIndexStudent,
        gradient: ArrayView2<f64>,
    ) -> Result<Array2<f64>> {
        single_index::sgd_step(student, gradient)
    }

    /// `G₁` after a step of one-sided KFAC at rate 1 and damping λ_G from the student's `G₀`.
    ///
    /// # Errors
    /// Where shapes differ, the damping is negative, or `factor` + λ_G I is singular.
    fn single_index_kfac(
        &self,
        student: &SingleIndexStudent,
        gradient: ArrayView2<f64>,
        factor: ArrayView2<f64>,
        damping: f64,
    ) -> Result<Array2<f64>> {
        single_index::kfac_step(student, gradient, factor, damping)
    }
}

/// The steps as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealSteps;

impl Steps for RealSteps {}
