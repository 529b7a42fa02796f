//! The two networks of the experiments, a two-layer linear network and a single-index student:
//! losses, gradients, and per layer the statistics that a layer-wise optimizer needs.
//!
//! A training step consumes either a batch of samples or its moments. For the linear network with
//! squared loss the moments `Ê[xxᵀ]`, `Ê[yxᵀ]`, `tr Ê[yyᵀ]` are all there is to know of a batch,
//! except for the empirical Fisher matrix, which needs the samples.
//!
//! Losses are `½ Ê‖y − f(x)‖²`. Rows of a weight matrix are output units.

mod empirical_fisher;
mod error;
mod gauss_newton;
mod input_norm;
mod linear;
mod single_index;

pub use empirical_fisher::{EmpiricalFisher, FisherWorkspace, empirical_fisher_matrix};
pub use error::{ModelError, Result};
pub use gauss_newton::{GaussNewton, SpectralMoment, gauss_newton_matrix};
pub use input_norm::InputNorm;
pub use layerwise_linalg::ndarray;
pub use linear::{LeastSquaresHead, LinearPass, TwoLayerLinear};
pub use single_index::{SingleIndexStudent, StudentPass};
