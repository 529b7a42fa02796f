//! Measures of what a network has learned: subspace distance, principal angles, alignment, and
//! excess losses on the population. Plain functions on arrays; nothing here draws a sample.
//!
//! Rows are features throughout: the representation of a `k × d` matrix `G` is its row space.

mod direction;
mod error;
mod loss;
mod subspace;

pub use direction::alignment;
pub use error::{MetricsError, Result};
pub use layerwise_linalg::ndarray;
pub use loss::{excess_loss, excess_transfer_loss};
pub use subspace::{principal_angles, subspace_distance};
