//! Closed forms for what layer-wise preconditioned gradient descent does, and what SGD and
//! alternating gradient descent do instead, in the two models that can be analysed: linear
//! representation learning and single-index learning.
//!
//! Definitions and the model are those of arXiv 2502.01763; the formulas here are derived from the
//! model, and each says which assumptions it needs. Nothing here draws a sample: every function
//! takes a population and returns a number or a matrix, to be compared with what real steps do.
//!
//! | statement | function |
//! |---|---|
//! | KFAC contracts free of condition numbers | [`kfac_contraction`] |
//! | alternating minimization-descent does not | [`AmgdMap`] |
//! | noise floor of KFAC | [`kfac_noise_floor`] |
//! | transfer loss between bounds | [`transfer_bounds`] |
//! | batch-norm learns another subspace | [`batch_norm_representation`] |
//! | the first step on a single-index model | [`LinkMoments`], [`SpectralMoments`], [`sgd_alignment`], [`KfacAlignment`] |

mod contraction;
mod error;
mod link;
mod representation;
mod single_index;

pub use contraction::{AmgdMap, kfac_contraction};
pub use error::{Result, TheoryError};
pub use layerwise_linalg::ndarray;
pub use link::LinkMoments;
pub use representation::{batch_norm_representation, kfac_noise_floor, transfer_bounds};
pub use single_index::{
    KfacAlignment, SpectralMoments, infinite_sample_sgd_alignment, sgd_alignment,
};
