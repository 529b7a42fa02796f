//! Norms of rows.

use layerwise_optim::Scalar;
use layerwise_optim::ndarray::{Array1, Array2, Axis};

/// Beside the mean square, so that rows of zeros are not divided by it.
const EPSILON: f64 = 1e-5;

/// Rows over their root mean square, `y = g ∘ x / √(mean x² + ε)` (Zhang and Sennrich 2019).
#[derive(Clone, Debug)]
pub struct RmsNorm<A> {
    /// `x / √(mean x² + ε)`.
    normalized: Array2<A>,
    /// `1 / √(mean x² + ε)` of each row.
    scales: Array1<A>,
}

impl<A: Scalar> RmsNorm<A> {
    /// The outputs (rows × width) for a gain of 1 × width, and what the backward pass needs.
    #[must_use]
    pub fn forward(inputs: &Array2<A>, gain: &Array2<A>) -> (Array2<A>, Self) {
        let share = A::from_f64(1.0 / inputs.ncols() as f64);
        let scales: Array1<A> = inputs
            .rows()
            .into_iter()
            .map(|row| (row.dot(&row) * share + A::from_f64(EPSILON)).sqrt().recip())
            .collect();
        let normalized = inputs * &scales.view().insert_axis(Axis(1));
        (&normalized * gain, RmsNorm { normalized, scales })
    }

    /// Derivatives by the inputs and by the gain, from those by the outputs.
    #[must_use]
    pub fn backward(&self, gain: &Array2<A>, by_outputs: &Array2<A>) -> (Array2<A>, Array2<A>) {
        let by_gain = (by_outputs * &self.normalized).sum_axis(Axis(0)).insert_axis(Axis(0));
        let share = A::from_f64(1.0 / by_outputs.ncols() as f64);
        let mut by_inputs = by_outputs * gain;
        let rows = by_inputs.rows_mut().into_iter();
        for ((mut d, r), &scale) in rows.zip(self.normalized.rows()).zip(&self.scales) {
            // A row's length does not matter: derivatives along the row are taken out.
            let along = d.dot(&r) * share;
            d.zip_mut_with(&r, |d, &r| *d = (*d - along * r) * scale);
        }
        (by_inputs, by_gain)
    }
}
