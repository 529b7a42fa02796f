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
//! | KFAC's head moves towards least squares | [`kfac_head`], [`least_squares_head`] |
//! | KFAC contracts free of condition numbers | [`kfac_contraction`], [`kfac_wrong_part`], [`damped_kfac_representation`], [`kfac_steps`] |
//! | alternating minimization-descent does not | [`AmgdMap`] |
//! | noise floor of KFAC | [`kfac_noise_floor`] |
//! | transfer loss, and its bounds | [`transfer_loss`], [`transfer_bounds`] |
//! | batch-norm learns another subspace | [`batch_norm_representation`] |
//! | several tasks are one with stacked heads | [`stacked_head`] |
//! | Kronecker factors are exact for linear networks | [`gauss_newton_blocks`] |
//! | KFAC does not see a change of inputs | [`representation_on_changed_inputs`] |
//! | the first step on a single-index model is a spike | [`gradient_spike`], [`linear_units_direction`], [`ridge_direction`] |
//! | how far it points to the teacher | [`LinkMoments`], [`SpectralMoments`], [`sgd_alignment`], [`KfacAlignment`] |
//! | SGD is biased, KFAC is not | [`infinite_sample_sgd_alignment`], [`infinite_sample_kfac_alignment`] |

mod contraction;
mod error;
mod link;
mod one_step;
mod representation;
mod single_index;
mod single_index_step;

pub use contraction::{AmgdMap, kfac_contraction, kfac_steps};
pub use error::{Result, TheoryError};
pub use layerwise_linalg::ndarray;
pub use link::LinkMoments;
pub use one_step::{
    damped_kfac_representation, gauss_newton_blocks, kfac_head, kfac_wrong_part,
    least_squares_head, representation_on_changed_inputs, stacked_head, wrong_part,
};
pub use representation::{
    batch_norm_representation, kfac_noise_floor, transfer_bounds, transfer_loss,
};
pub use single_index::{
    KfacAlignment, SpectralMoments, infinite_sample_kfac_alignment, infinite_sample_sgd_alignment,
    sgd_alignment,
};
pub use single_index_step::{gradient_spike, linear_units_direction, ridge_direction};
