//! The stages of a chain, a file or a folder each, and what several of them share; a new one takes its
//! place here. It imports statistics, state, configuration, and what is below.

pub(crate) mod add_weight;
pub(crate) mod background;
pub(crate) mod blocks;
pub(crate) mod bounded;
pub(crate) mod build;
pub(crate) mod clip;
pub(crate) mod curvature_diagonal;
pub(crate) mod custom;
pub(crate) mod diagonal;
pub(crate) mod diagonal_factor;
pub(crate) mod difference;
pub(crate) mod drift;
pub(crate) mod eigenbasis;
pub(crate) mod eigenvectors;
pub(crate) mod extent;
pub(crate) mod graft;
pub(crate) mod kronecker;
pub(crate) mod momentum;
pub(crate) mod negate;
pub(crate) mod norm_constraint;
pub(crate) mod normalize;
pub(crate) mod polar;
pub(crate) mod psgd;
pub(crate) mod refresh;
pub(crate) mod scale;
pub(crate) mod shared_moments;
pub(crate) mod sign;
