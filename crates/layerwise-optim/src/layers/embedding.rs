//! Embeddings.

use layerwise_linalg::Scalar;
use ndarray::{Array1, Array2, ArrayView, ArrayViewMut2, Dimension};

use crate::error::{OptimError, Result};
use crate::layers::Derivatives;
use crate::layers::samples::{Rows, check_derivatives, refuse};
use crate::numeric::finite::check_size;
use crate::signal::{Factor, Signal};

/// An embedding of `V` tokens in `d` dimensions: a dense layer of d × V whose inputs are unit vectors. A table of
/// V × d is its transpose. Each place of a sequence counts as a sample of its factors
/// ([`WeightSharing::Expand`](crate::layers::WeightSharing::Expand)).
#[derive(Clone, Debug)]
pub struct Embedding<A> {
    dimensions: usize,
    tokens: usize,
    derivatives: Rows<A>,
    frequencies: Array1<A>,
    /// V × d, as a token's derivatives are a row.
    gradient: Array2<A>,
}

impl<A: Scalar> Embedding<A> {
    /// An embedding in this many dimensions of this many tokens.
    #[must_use]
    pub fn new(dimensions: usize, tokens: usize) -> Self {
        Embedding {
            dimensions,
            tokens,
            derivatives: Rows::new(dimensions),
            frequencies: Array1::zeros(0),
            gradient: Array2::zeros((0, 0)),
        }
    }

    /// The shape of the weight, d × V.
    #[must_use]
    pub fn weight_shape(&self) -> (usize, usize) {
        (self.dimensions, self.tokens)
    }

    /// What the layer reports of a batch, N or N × … tokens and N × d or N × … × d derivatives: the gradient of
    /// the mean loss, the tokens' frequencies, and the output factor from the same derivatives.
    ///
    /// # Errors
    ///
    /// As [`report_with`](Self::report_with).
    pub fn report<E: Dimension, D: Dimension>(
        &mut self,
        tokens: ArrayView<'_, usize, E>,
        derivatives: Derivatives<'_, A, D>,
    ) -> Result<Signal<'_, A>> {
        self.signal(tokens, derivatives, None)
    }

    /// As [`report`](Self::report), with the output factor from other derivatives, such as those of losses for
    /// labels that the model draws.
    ///
    /// # Errors
    ///
    /// [`LayerShape`](OptimError::LayerShape) where tokens and derivatives do not agree, or there is none;
    /// [`UnknownToken`](OptimError::UnknownToken).
    pub fn report_with<E: Dimension, D: Dimension>(
        &mut self,
        tokens: ArrayView<'_, usize, E>,
        derivatives: Derivatives<'_, A, D>,
        curvature: Derivatives<'_, A, D>,
    ) -> Result<Signal<'_, A>> {
        self.signal(tokens, derivatives, Some(curvature))
    }

    fn signal<E: Dimension, D: Dimension>(
        &mut self,
        tokens: ArrayView<'_, usize, E>,
        derivatives: Derivatives<'_, A, D>,
        curvature: Option<Derivatives<'_, A, D>>,
    ) -> Result<Signal<'_, A>> {
        let axes = tokens.shape();
        let [samples, places @ ..] = axes else {
            return refuse("tokens", "N or N × …".to_owned(), axes);
        };
        let (samples, places) = (*samples, places.iter().product::<usize>());
        let rows = samples * places;
        if rows == 0 {
            return refuse("tokens", "at least one".to_owned(), axes);
        }
        let of_curvature = curvature.as_ref().map(|curvature| curvature.view().shape());
        check_derivatives((axes, self.dimensions), derivatives.view().shape(), of_curvature)?;
        if let Some(&token) = tokens.iter().find(|&&token| token >= self.tokens) {
            return Err(OptimError::UnknownToken { token, tokens: self.tokens });
        }
        let table = (self.tokens, self.dimensions);
        if self.gradient.dim() != table {
            check_size::<A>("a layer's gradient", table)?;
            self.gradient = Array2::zeros(table);
            self.frequencies = Array1::zeros(self.tokens);
        }
        self.gradient.fill(A::zero());
        self.frequencies.fill(A::zero());
        let (count, each) = derivatives.count(samples, places);
        let mean = A::from_f64(derivatives.to_each(samples, places) / count as f64);
        let one = A::from_f64(1.0 / rows as f64);
        for (&token, derivative) in tokens.iter().zip(derivatives.view().rows()) {
            self.gradient.row_mut(token).scaled_add(mean, &derivative);
            self.frequencies[token] += one;
        }
        let mut out = self.derivatives.resize(rows)?;
        match &curvature {
            Some(curvature) => write(curvature, (samples, places), each, &mut out),
            None => write(&derivatives, (samples, places), each, &mut out),
        }
        Ok(Signal::new(self.gradient.t())
            .with_input(Factor::Diagonal(self.frequencies.view()))
            .with_output(Factor::Samples(self.derivatives.view())))
    }
}

/// Writes what the output factor is of: of samples and places together a mean is taken of their squares, and the
/// sum over places is meant.
fn write<A: Scalar, D: Dimension>(
    derivatives: &Derivatives<'_, A, D>,
    (samples, places): (usize, usize),
    each: usize,
    rows: &mut ArrayViewMut2<'_, A>,
) {
    let scale = A::from_f64(derivatives.to_each(samples, places) * (each as f64).sqrt());
    for (mut row, derivative) in rows.rows_mut().into_iter().zip(derivatives.view().rows()) {
        row.zip_mut_with(&derivative, |row, &x| *row = x * scale);
    }
}
