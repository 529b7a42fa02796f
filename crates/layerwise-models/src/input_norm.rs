//! Batch-norm on the inputs of a network.

use layerwise_data::Moments;
use ndarray::{Array1, ArrayView1};

use crate::error::check_shape;
use crate::{ModelError, Result};

/// Division of each input coordinate by its batch standard deviation, `x̃ = D̂ x` with
/// `D̂_ii = (Ê[x_i²] − Ê[x_i]²)^{-1/2}`, applied to a batch's moments.
#[derive(Debug, Clone)]
pub struct InputNorm {
    scale: Array1<f64>,
}

impl InputNorm {
    /// Storage for `inputs` coordinates; until a batch is seen, the identity.
    #[must_use]
    pub fn with_dimension(inputs: usize) -> Self {
        Self { scale: Array1::ones(inputs) }
    }

    /// Takes the statistics of `batch`, and writes the moments of its normalized inputs.
    ///
    /// # Errors
    /// [`ModelError::InvalidParameter`] where a coordinate does not vary in the batch;
    /// [`ModelError::Shape`] and [`ModelError::Data`] where shapes differ.
    pub fn normalize(&mut self, batch: &Moments, normalized: &mut Moments) -> Result<()> {
        check_shape("inputs", (self.scale.len(), 1), (batch.xx().nrows(), 1))?;
        // Two sums over n samples, each off by n ε of its size at the most; the difference of a
        // coordinate that does not vary is no more than that. For population moments n is a label.
        let rounding = 4.0 * f64::EPSILON * batch.sample_size().min(1 << 20) as f64;
        for ((scale, &square), &mean) in
            self.scale.iter_mut().zip(batch.xx().diag()).zip(batch.x_mean())
        {
            let variance = square - mean * mean;
            if !(variance > rounding * square && variance.is_finite()) {
                return Err(ModelError::InvalidParameter {
                    name: "batch variance of an input",
                    value: variance,
                    allowed: "finite, and above the rounding errors of its computation",
                });
            }
            *scale = variance.sqrt().recip();
        }
        batch.scale_inputs_into(self.scale.view(), normalized)?;
        Ok(())
    }

    /// The diagonal of D̂ from the last batch.
    #[must_use]
    pub fn scale(&self) -> ArrayView1<'_, f64> {
        self.scale.view()
    }
}
