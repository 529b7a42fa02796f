//! Methods as plain data that a user writes, and its checks: no machine. It imports the trait `Stage`,
//! which stages from outside are built to, errors, schedules and signals.

pub(crate) mod adaptation;
pub(crate) mod averaging;
pub(crate) mod basis;
pub(crate) mod chain;
pub(crate) mod clipping;
pub(crate) mod curvature_diagonal;
pub(crate) mod custom;
pub(crate) mod damping;
pub(crate) mod diagonal;
pub(crate) mod diagonal_factor;
pub(crate) mod eigenbasis;
pub(crate) mod factor;
pub(crate) mod grafting;
pub(crate) mod growth;
pub(crate) mod kronecker;
pub(crate) mod momentum;
pub(crate) mod partition;
pub(crate) mod polar;
pub(crate) mod psgd;
pub(crate) mod refresh;
pub(crate) mod root;
pub(crate) mod shape_scale;
pub(crate) mod sign;
pub(crate) mod stage;
pub(crate) mod statistic;
pub(crate) mod structure;
pub(crate) mod weight_averaging;
pub(crate) mod weight_decay;
