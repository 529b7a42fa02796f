//! Inputs and derivatives of a layer, as samples of its factors.

use layerwise_linalg::{Scalar, gemm};
use ndarray::{Array2, ArrayView, ArrayView2, Axis, Dimension, s};

use crate::error::{OptimError, Result};
use crate::layers::{Derivatives, WeightSharing};
use crate::signal::{Factor, Signal};

/// Storage for what a layer reports; it grows with the number of samples.
#[derive(Clone, Debug)]
pub(super) struct Samples<A> {
    /// What the weight multiplies, a row for each place of each sample.
    pub(super) inputs: Array2<A>,
    derivatives: Array2<A>,
    curvature: Array2<A>,
    /// Sums over the places of a sample.
    reduced: (Array2<A>, Array2<A>),
    gradient: Array2<A>,
}

/// Gives an array this shape; its contents are to be overwritten.
pub(super) fn resize<A: Scalar>(array: &mut Array2<A>, shape: (usize, usize)) {
    if array.dim() != shape {
        *array = Array2::zeros(shape);
    }
}

/// Writes what has its channels last, row by row.
pub(super) fn rows_of<A: Scalar, D: Dimension>(view: &ArrayView<'_, A, D>, rows: &mut Array2<A>) {
    let channels = rows.ncols();
    let lanes = view.lanes(Axis(view.ndim() - 1));
    for (mut row, lane) in rows.rows_mut().into_iter().zip(lanes) {
        row.slice_mut(s![..channels]).assign(&lane);
    }
}

pub(super) fn refuse<T>(what: &'static str, expected: String, found: &[usize]) -> Result<T> {
    Err(OptimError::LayerShape { what, expected, found: found.to_vec() })
}

impl<A: Scalar> Samples<A> {
    pub(super) fn new() -> Self {
        let empty = || Array2::zeros((0, 0));
        Samples {
            inputs: empty(),
            derivatives: empty(),
            curvature: empty(),
            reduced: (empty(), empty()),
            gradient: empty(),
        }
    }

    /// The signal of a layer whose inputs are in place: `write` writes derivatives of each place a row.
    pub(super) fn signal<D: Dimension>(
        &mut self,
        (samples, places): (usize, usize),
        sharing: WeightSharing,
        derivatives: &Derivatives<'_, A, D>,
        curvature: &Derivatives<'_, A, D>,
        outputs: usize,
        write: impl Fn(&ArrayView<'_, A, D>, &mut Array2<A>),
    ) -> Result<Signal<'_, A>> {
        let rows = samples * places;
        resize(&mut self.derivatives, (rows, outputs));
        resize(&mut self.curvature, (rows, outputs));
        resize(&mut self.gradient, (outputs, self.inputs.ncols()));
        write(derivatives.view(), &mut self.derivatives);
        write(curvature.view(), &mut self.curvature);
        let mean = A::from_f64(derivatives.to_each(samples) / samples as f64);
        let gradient = &mut self.gradient.view_mut();
        gemm(mean, self.derivatives.t(), self.inputs.view(), A::zero(), gradient)?;
        let each = curvature.to_each(samples);
        let (inputs, outputs) = match sharing {
            WeightSharing::Expand => {
                // Second moments divide by samples and places; that of derivatives is a sum over places.
                let scale = A::from_f64(each * (places as f64).sqrt());
                self.curvature.mapv_inplace(|x| x * scale);
                (&self.inputs, &self.curvature)
            }
            WeightSharing::Reduce => {
                let (inputs, outputs) = &mut self.reduced;
                let mean = A::from_f64(1.0 / places as f64);
                reduce(self.inputs.view(), samples, mean, inputs);
                reduce(self.curvature.view(), samples, A::from_f64(each), outputs);
                (&*inputs, &*outputs)
            }
        };
        Ok(Signal::new(self.gradient.view())
            .with_input(Factor::Samples(inputs.view()))
            .with_output(Factor::Samples(outputs.view())))
    }
}

/// Sums over the places of each sample, times a factor.
fn reduce<A: Scalar>(rows: ArrayView2<'_, A>, samples: usize, factor: A, sums: &mut Array2<A>) {
    resize(sums, (samples, rows.ncols()));
    let places = rows.nrows() / samples;
    for (mut sum, places) in sums.rows_mut().into_iter().zip(rows.axis_chunks_iter(Axis(0), places))
    {
        sum.fill(A::zero());
        for row in places.rows() {
            sum.zip_mut_with(&row, |sum, &x| *sum += x);
        }
        sum.mapv_inplace(|x| x * factor);
    }
}
