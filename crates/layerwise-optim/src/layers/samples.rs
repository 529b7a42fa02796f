//! Inputs and derivatives of a layer, as samples of its factors.

use layerwise_linalg::{Scalar, gemm};
use ndarray::{Array2, ArrayView, ArrayView2, ArrayViewMut2, Axis, Dimension, s};

use crate::error::{OptimError, Result};
use crate::layers::{Derivatives, WeightSharing};
use crate::numeric::finite::check_size;
use crate::signal::{Factor, Signal};

/// Storage for what a layer reports, as large as its largest batch.
#[derive(Clone, Debug)]
pub(super) struct Samples<A> {
    /// What the weight multiplies, a row for each place of each sample.
    inputs: Rows<A>,
    derivatives: Rows<A>,
    curvature: Rows<A>,
    /// Sums over the places of a sample.
    reduced: [Rows<A>; 2],
    gradient: Array2<A>,
    /// The shape of the weight.
    weight: (usize, usize),
}

/// As many rows as are asked for, of storage that only grows.
#[derive(Clone, Debug)]
pub(super) struct Rows<A> {
    storage: Array2<A>,
    width: usize,
    count: usize,
}

impl<A: Scalar> Rows<A> {
    pub(super) fn new(width: usize) -> Self {
        Rows { storage: Array2::zeros((0, 0)), width, count: 0 }
    }

    /// Makes room; the contents are to be overwritten.
    pub(super) fn resize(&mut self, count: usize) -> Result<ArrayViewMut2<'_, A>> {
        if self.storage.nrows() < count {
            check_size::<A>("a layer's samples", (count, self.width))?;
            self.storage = Array2::zeros((count, self.width));
        }
        self.count = count;
        Ok(self.storage.slice_mut(s![..count, ..]))
    }

    pub(super) fn view(&self) -> ArrayView2<'_, A> {
        self.storage.slice(s![..self.count, ..])
    }
}

pub(super) fn refuse<T>(what: &'static str, expected: String, found: &[usize]) -> Result<T> {
    Err(OptimError::LayerShape { what, expected, found: found.to_vec() })
}

/// Refuses derivatives, and those for curvature where there are some, that are not one for each output of each
/// place.
pub(super) fn check_derivatives(
    (places, outputs): (&[usize], usize),
    of_loss: &[usize],
    of_curvature: Option<&[usize]>,
) -> Result<()> {
    let named = [("derivatives", Some(of_loss)), ("derivatives for curvature", of_curvature)];
    for (what, found) in named {
        let Some(found) = found else { continue };
        if found.split_last() != Some((&outputs, places)) {
            let axes: Vec<_> = places.iter().map(usize::to_string).collect();
            return refuse(what, format!("{} × {outputs}", axes.join(" × ")), found);
        }
    }
    Ok(())
}

impl<A: Scalar> Samples<A> {
    /// For a layer with this many outputs and columns of its weight.
    pub(super) fn new((outputs, columns): (usize, usize)) -> Self {
        Samples {
            inputs: Rows::new(columns),
            derivatives: Rows::new(outputs),
            curvature: Rows::new(outputs),
            reduced: [Rows::new(columns), Rows::new(outputs)],
            gradient: Array2::zeros((0, 0)),
            weight: (outputs, columns),
        }
    }

    /// The place of so many rows of inputs.
    pub(super) fn inputs(&mut self, count: usize) -> Result<ArrayViewMut2<'_, A>> {
        self.inputs.resize(count)
    }

    pub(super) fn patches(&self) -> ArrayView2<'_, A> {
        self.inputs.view()
    }

    /// The signal of a layer whose inputs are in place. `write` writes derivatives, those of each place a row;
    /// without `curvature` the factor is of the same derivatives as the gradient.
    pub(super) fn signal<D: Dimension>(
        &mut self,
        (samples, places): (usize, usize),
        sharing: WeightSharing,
        derivatives: &Derivatives<'_, A, D>,
        curvature: Option<&Derivatives<'_, A, D>>,
        write: impl Fn(&ArrayView<'_, A, D>, &mut ArrayViewMut2<'_, A>),
    ) -> Result<Signal<'_, A>> {
        let rows = samples * places;
        write(derivatives.view(), &mut self.derivatives.resize(rows)?);
        let (count, each) = derivatives.count(samples, places);
        if self.gradient.dim() != self.weight {
            check_size::<A>("a layer's gradient", self.weight)?;
            self.gradient = Array2::zeros(self.weight);
        }
        let mean = A::from_f64(derivatives.to_each(samples, places) / count as f64);
        let of_loss = self.derivatives.view();
        let gradient = &mut self.gradient.view_mut();
        gemm(mean, of_loss.t(), self.inputs.view(), A::zero(), gradient)?;
        // Without a curvature of their own, the derivatives serve for both.
        let (of_curvature, to_each) = match curvature {
            None => (&mut self.derivatives, derivatives.to_each(samples, places)),
            Some(curvature) => {
                write(curvature.view(), &mut self.curvature.resize(rows)?);
                (&mut self.curvature, curvature.to_each(samples, places))
            }
        };
        let (inputs, outputs) = match sharing {
            WeightSharing::Reduce if each > 1 => {
                let [inputs, outputs] = &mut self.reduced;
                let mean = A::from_f64(1.0 / each as f64);
                reduce(self.inputs.view(), mean, &mut inputs.resize(count)?);
                reduce(of_curvature.view(), A::from_f64(to_each), &mut outputs.resize(count)?);
                (&*inputs, &*outputs)
            }
            _ => {
                // Second moments divide by samples and places; that of derivatives is a sum over places.
                let scale = A::from_f64(to_each * (each as f64).sqrt());
                of_curvature.resize(rows)?.mapv_inplace(|x| x * scale);
                (&self.inputs, &*of_curvature)
            }
        };
        Ok(Signal::new(self.gradient.view())
            .with_input(Factor::Samples(inputs.view()))
            .with_output(Factor::Samples(outputs.view())))
    }
}

/// Sums over the places of each sample, times a factor.
fn reduce<A: Scalar>(rows: ArrayView2<'_, A>, factor: A, sums: &mut ArrayViewMut2<'_, A>) {
    let places = rows.nrows() / sums.nrows();
    for (mut sum, places) in sums.rows_mut().into_iter().zip(rows.axis_chunks_iter(Axis(0), places))
    {
        sum.fill(A::zero());
        for row in places.rows() {
            sum.zip_mut_with(&row, |sum, &x| *sum += x);
        }
        sum.mapv_inplace(|x| x * factor);
    }
}
