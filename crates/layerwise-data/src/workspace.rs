//! Storage that drawing moments needs besides the moments.

use layerwise_linalg::Cholesky;
use ndarray::{Array1, Array2};

/// Scratch arrays, sized at first use and kept: the next draw of the same kind allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    /// Samples: inputs (n × d_X) and targets or noise (n × d_Y).
    pub(crate) samples: (Array2<f64>, Array2<f64>),
    /// The bits of n signs of each coordinate.
    pub(crate) words: Vec<u64>,
    /// UᵀU/n of white inputs U, later its factor.
    pub(crate) white_gram: Array2<f64>,
    /// Uᵀ1/n.
    pub(crate) white_mean: Array1<f64>,
    pub(crate) cholesky: Option<Cholesky<f64>>,
    /// B/√n with Σ̂ = B Bᵀ/n, or its transpose.
    pub(crate) factor: Array2<f64>,
    /// Standard normals of the noise's part within the span of the inputs, scaled by σ/√n.
    pub(crate) noise: Array2<f64>,
    /// The part within that span of the constant unit vector in Rⁿ.
    pub(crate) constant: Array1<f64>,
    /// A product on the way to `Ê[yxᵀ]`.
    pub(crate) product: Array2<f64>,
}

/// Replaces the vector where its length differs.
pub(crate) fn resize(a: &mut Array1<f64>, length: usize) {
    if a.len() != length {
        *a = Array1::zeros(length);
    }
}
