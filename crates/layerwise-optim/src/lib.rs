//! Layer-wise preconditioned optimizers: KFAC, Shampoo, SOAP, Muon and the diagonal methods.
//!
//! A method is a [`Chain`] of stages, as plain data, that makes an update of the gradient of one weight
//! matrix `W` (m × n, outputs × inputs):
//!
//! ```text
//! gradient ─ gradient stages → g     clip, negate, add λW: what all other stages observe
//!        g ─ update stages   → D     momentum, P^{-p} D Q^{-q}, v, polar factor, signs, …
//!        W ← W − η D                 and a decoupled decay
//! ```
//!
//! | method | stages of the update |
//! |---|---|
//! | [`Adam`] | momentum, division by the root of a second moment, entry by entry |
//! | [`Kfac`], [`Shampoo`] | momentum or none, `P^{-p} D Q^{-q}` with statistics `P` and `Q` of the layer or of gradients |
//! | [`Ekfac`], [`Soap`] | momentum or none, a second moment in the eigenbases of such statistics |
//! | [`Muon`], [`NorMuon`] | momentum, polar factor, and of that rows by the root of their second moment |
//! | [`PsgdKron`] | momentum, two triangular factors that are fitted to whiten it |
//! | [`SPlus`] | momentum, signs in the eigenbases |
//! | [`Sophia`] | momentum, division by the loss's second derivative, within a bound |
//!
//! These named methods are structs of hyperparameters, by the names of the literature, and
//! [stand for](Method::chain) chains. A chain can be changed, put together otherwise, and joined by
//! stages of one's own, behind the trait [`Stage`](stage::Stage); it [builds](Chain::build) a checked
//! [`Optimizer`] of one weight. What a layer reports at a step is a [`Signal`]. An [`OptimizerSet`] steps
//! many named matrices and vectors at once.
//!
//! ```
//! use layerwise_optim::ndarray::array;
//! use layerwise_optim::{Method, Muon, Signal};
//!
//! # fn main() -> Result<(), layerwise_optim::OptimError> {
//! let mut weight = array![[1.0_f64, 2.0, 3.0], [4.0, 5.0, 6.5]];
//! let mut optimizer = Muon { learning_rate: 0.02.into(), ..Muon::default() }.build(weight.dim())?;
//! for _ in 0..10 {
//!     let gradient = weight.clone(); // of ½‖W‖²
//!     let report = optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
//!     assert!(report.update_norm > 0.0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The [guide] says which optimizer to take when, what to tune first, what a step costs in flops and
//! memory, how to make a method of one's own, what corresponds to what in PyTorch, and which symbol of
//! the literature is which field. The [references] say which options give which implementation.
//!
//! # What a step guarantees
//!
//! A step that returns an error has changed neither the weight nor the state: all that can fail is tried
//! first, beside the state, or is known from norms to succeed. A step does not allocate once it has seen
//! each kind of signal that it will be given, in the largest batch, at magnitudes far from the end of the
//! scalar's range, unless it starts or installs a refresh with a [staleness](Refresh::staleness).
//!
//! # Backends
//!
//! The linear algebra is in Rust by default (feature `pure-rust`), or OpenBLAS's (`openblas-system`,
//! `openblas-static`); [`linalg::backend()`] says what serves. The [guide] has what either needs, and when to
//! call [`set_backend_threads`](linalg::set_backend_threads).

mod config;
pub mod error;
pub mod guide;
pub mod layers;
pub mod methods;
mod number;
mod numeric;
pub mod references;
pub mod schedule;
pub mod set;
pub mod signal;
pub mod stage;
mod stages;
mod state;
mod statistics;
pub mod step;
pub mod suite;
mod values;

/// A method as data, stage by stage: what a [`Chain`] is made of.
pub mod chain {
    pub use crate::config::adaptation::LevenbergMarquardt;
    pub use crate::config::averaging::Averaging;
    pub use crate::config::chain::Chain;
    pub use crate::config::clipping::Clipping;
    pub use crate::config::curvature_diagonal::CurvatureDiagonalConfig;
    pub use crate::config::custom::{Custom, CustomStage};
    pub use crate::config::diagonal::{DiagonalConfig, MomentSharing};
    pub use crate::config::diagonal_factor::DiagonalFactorConfig;
    pub use crate::config::eigenbasis::{DiagonalEstimate, EigenbasisConfig, TurnedMoments};
    pub use crate::config::grafting::Grafting;
    pub use crate::config::kronecker::KroneckerConfig;
    pub use crate::config::momentum::{Filter, HeavyBall, Momentum};
    pub use crate::config::partition::{LargeDimension, Merging, Partition};
    pub use crate::config::polar::{PolarConfig, PolarMethod};
    pub use crate::config::psgd::PsgdConfig;
    pub use crate::config::shape_scale::ShapeScale;
    pub use crate::config::stage::StageConfig;
    pub use crate::config::weight_averaging::WeightAveraging;
    pub use crate::config::weight_decay::{DecoupledDecay, WeightDecay};
}

/// The Kronecker factors of a layer: of what, how they are damped, and how their roots and bases are
/// found.
pub mod factor {
    pub use crate::config::basis::BasisMethod;
    pub use crate::config::damping::{Damping, JointDamping};
    pub use crate::config::factor::FactorConfig;
    pub use crate::config::refresh::Refresh;
    pub use crate::config::root::{RankTolerance, RootMethod};
    pub use crate::config::statistic::Statistic;
    pub use crate::stages::eigenbasis::EigenbasisDiagonal;
}

/// Choices that only matter where another implementation's numbers are to be met: which option is
/// whose stands in the [references].
pub mod parity {
    pub use crate::config::basis::{BasisUse, ColumnOrder};
    pub use crate::config::diagonal::EpsilonPlacement;
    pub use crate::config::polar::PolarDivisor;
    pub use crate::config::sign::SignScale;
}

/// States of optimizers and sets, to be saved and loaded.
pub mod checkpoint {
    pub use crate::state::saved::{OptimizerSetState, OptimizerState, Resume, STATE_VERSION};
}

/// Scalars, and the linear algebra that serves.
pub mod linalg {
    pub use layerwise_linalg::{
        Backend, KERNEL_VARIABLE, LinalgError, Scalar, backend, set_backend_threads,
    };
}

pub use chain::{Averaging, Chain, Momentum, WeightDecay};
pub use error::{OptimError, Result, Side};
pub use factor::{Damping, Refresh};
pub use layerwise_linalg::{Scalar, ndarray};
pub use methods::{
    Adafactor, Adagrad, Adam, AdamW, Ekfac, EmbeddingKfac, Kfac, KlShampoo, Lion, Mars, Method,
    Muon, NorMuon, OneSidedKfac, PsgdKron, RmsProp, SPlus, Sgd, Shampoo, Soap, Sophia,
};
pub use schedule::Schedule;
pub use set::{Group, OptimizerSet, Selector, Update};
pub use signal::{Factor, Signal, Signals};
pub use step::{Control, Optimizer, StepReport};
