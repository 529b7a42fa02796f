//! A transfer task on the population, and what a representation with its best head loses there.

use layerwise_data::Moments;
use layerwise_linalg::Cholesky;
use layerwise_metrics::{excess_loss, excess_transfer_loss};
use layerwise_models::{LeastSquaresHead, LinearPass, TwoLayerLinear};
use layerwise_theory::{transfer_bounds, transfer_loss};
use ndarray::{Array1, Array2, ArrayView2};

use crate::Result;
use crate::theorems::rounding::TransferRounding;

/// A transfer task `y = F_t G⋆ x + ε`, x ~ (0, Σ_t). Unlike a training task it may have fewer
/// outputs than the representation has rows.
#[derive(Debug, Clone)]
pub struct TransferTask {
    head: Array2<f64>,
    reference: Array2<f64>,
    covariance: Array2<f64>,
    factor: Array2<f64>,
}

impl TransferTask {
    /// With head F_t (d_Y × k), shared representation G⋆ (k × d) and covariance Σ_t ≻ 0 (d × d).
    ///
    /// # Errors
    /// Where Σ_t is not positive definite.
    pub fn new(head: Array2<f64>, reference: Array2<f64>, covariance: Array2<f64>) -> Result<Self> {
        let factor = Cholesky::new(covariance.view(), 0.0)?.lower().to_owned();
        Ok(Self { head, reference, covariance, factor })
    }

    /// The loss of the zero predictor, `½ tr(F_tG⋆Σ_tG⋆ᵀF_tᵀ)`.
    ///
    /// # Errors
    /// Where shapes differ.
    pub fn zero_loss(&self) -> Result<f64> {
        let target = self.target();
        let zero = Array2::zeros(target.dim());
        Ok(excess_loss(zero.view(), target.view(), self.factor.view())?)
    }

    /// Fits the head of least squares on the population to `g` and evaluates the predictor.
    ///
    /// # Errors
    /// Where shapes differ or `G Σ_t Gᵀ` is singular.
    pub fn excess_loss_of_best_head(&self, g: ArrayView2<'_, f64>) -> Result<f64> {
        let target = self.target();
        let (outputs, d) = target.dim();
        let yx = target.dot(&self.covariance);
        let trace = (&yx * &target).sum();
        let means = (Array1::zeros(d), Array1::zeros(outputs));
        let population =
            Moments::from_parts(1, self.covariance.clone(), yx, trace, means.0, means.1)?;
        let start = Array2::zeros((outputs, g.nrows()));
        let mut net = TwoLayerLinear::new(start, g.to_owned())?;
        let mut pass = LinearPass::with_shape(net.shape());
        pass.head(&net, &population)?;
        LeastSquaresHead::with_shape(outputs, g.nrows()).fit(&mut net, &pass)?;
        Ok(excess_loss(net.predictor()?.view(), target.view(), self.factor.view())?)
    }

    /// The closed form of the same.
    ///
    /// # Errors
    /// Where shapes differ or `g` is rank-deficient.
    pub fn predicted(&self, g: ArrayView2<'_, f64>) -> Result<f64> {
        let (head, reference) = (self.head.view(), self.reference.view());
        Ok(transfer_loss(g, head, reference, self.covariance.view())?)
    }

    /// The same as the figures record it.
    ///
    /// # Errors
    /// Where shapes differ or `g` is rank-deficient.
    pub fn recorded(&self, g: ArrayView2<'_, f64>) -> Result<f64> {
        let (head, reference) = (self.head.view(), self.reference.view());
        Ok(excess_transfer_loss(g, head, reference, self.factor.view())?)
    }

    /// How far rounding can bring any of these from their exact values.
    ///
    /// # Errors
    /// Where something is not finite.
    pub fn rounding(&self, g: ArrayView2<'_, f64>) -> Result<TransferRounding> {
        let (head, reference) = (self.head.view(), self.reference.view());
        TransferRounding::new(g, head, reference, self.covariance.view())
    }

    /// Its lower and its upper bound.
    ///
    /// # Errors
    /// Where shapes differ or `g` is rank-deficient.
    pub fn bounds(&self, g: ArrayView2<'_, f64>) -> Result<(f64, f64)> {
        let (head, reference) = (self.head.view(), self.reference.view());
        Ok(transfer_bounds(g, head, reference, self.covariance.view())?)
    }

    fn target(&self) -> Array2<f64> {
        self.head.dot(&self.reference)
    }
}
