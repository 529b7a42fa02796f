//! Dense layers, at one place of a sample or at many.

use layerwise_linalg::Scalar;
use ndarray::{ArrayView, ArrayViewMut2, Dimension, s};

use crate::error::Result;
use crate::layers::samples::{Samples, check_derivatives, refuse};
use crate::layers::{Derivatives, WeightSharing};
use crate::signal::Signal;

/// A dense layer `o = W x`, or `o = W x + b` with the bias as the weight's last column.
#[derive(Clone, Debug)]
pub struct Linear<A> {
    outputs: usize,
    inputs: usize,
    has_bias: bool,
    sharing: WeightSharing,
    samples: Samples<A>,
}

impl<A: Scalar> Linear<A> {
    /// A layer with this many outputs and inputs, without bias.
    #[must_use]
    pub fn new(outputs: usize, inputs: usize) -> Self {
        let sharing = WeightSharing::default();
        Linear {
            outputs,
            inputs,
            has_bias: false,
            sharing,
            samples: Samples::new((outputs, inputs)),
        }
    }

    /// The same with a bias.
    #[must_use]
    pub fn with_bias(self) -> Self {
        let samples = Samples::new((self.outputs, self.inputs + 1));
        Linear { has_bias: true, samples, ..self }
    }

    /// The same with another rule for the places of a sample.
    #[must_use]
    pub fn with_sharing(self, sharing: WeightSharing) -> Self {
        Linear { sharing, ..self }
    }

    /// The shape of the weight: outputs × inputs, or one column more.
    #[must_use]
    pub fn weight_shape(&self) -> (usize, usize) {
        (self.outputs, self.inputs + usize::from(self.has_bias))
    }

    /// What the layer reports of a batch: the gradient of the mean loss, and its factors from the same
    /// derivatives, which makes them those of the empirical Fisher matrix.
    ///
    /// # Errors
    ///
    /// As [`report_with`](Self::report_with).
    pub fn report<D: Dimension>(
        &mut self,
        inputs: ArrayView<'_, A, D>,
        derivatives: Derivatives<'_, A, D>,
    ) -> Result<Signal<'_, A>> {
        self.signal(inputs, derivatives, None)
    }

    /// As [`report`](Self::report), with the output factor from other derivatives: of losses for labels that
    /// the model draws (the Fisher matrix), or the columns of a root of the loss's second derivative
    /// (Gauss-Newton).
    ///
    /// # Errors
    ///
    /// [`LayerShape`](crate::OptimError::LayerShape) where the last axes are not those of the layer, or the
    /// others do not agree; no sample or no place.
    pub fn report_with<D: Dimension>(
        &mut self,
        inputs: ArrayView<'_, A, D>,
        derivatives: Derivatives<'_, A, D>,
        curvature: Derivatives<'_, A, D>,
    ) -> Result<Signal<'_, A>> {
        self.signal(inputs, derivatives, Some(curvature))
    }

    fn signal<D: Dimension>(
        &mut self,
        inputs: ArrayView<'_, A, D>,
        derivatives: Derivatives<'_, A, D>,
        curvature: Option<Derivatives<'_, A, D>>,
    ) -> Result<Signal<'_, A>> {
        let shape = inputs.shape();
        let [samples, places @ .., width] = shape else {
            return refuse("inputs", format!("N × {}", self.inputs), shape);
        };
        let places: usize = places.iter().product();
        if *width != self.inputs || samples * places == 0 {
            return refuse("inputs", format!("N × … × {}", self.inputs), shape);
        }
        let rest = &shape[..shape.len() - 1];
        let of_curvature = curvature.as_ref().map(|curvature| curvature.view().shape());
        check_derivatives((rest, self.outputs), derivatives.view().shape(), of_curvature)?;
        let counts = (*samples, places);
        let mut rows = self.samples.inputs(samples * places)?;
        if self.has_bias {
            rows.column_mut(self.inputs).fill(A::one());
        }
        let mut part = rows.slice_mut(s![.., ..self.inputs]);
        for (mut row, lane) in part.rows_mut().into_iter().zip(inputs.rows()) {
            row.assign(&lane);
        }
        let write = |view: &ArrayView<'_, A, D>, rows: &mut ArrayViewMut2<'_, A>| {
            for (mut row, lane) in rows.rows_mut().into_iter().zip(view.rows()) {
                row.assign(&lane);
            }
        };
        self.samples.signal(counts, self.sharing, &derivatives, curvature.as_ref(), write)
    }
}
