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
//! | [`Muon`] | momentum, polar factor |
//!
//! These named methods are structs of hyperparameters, by the names of the literature, and
//! [stand for](Method::chain) chains. A chain can be changed, put together otherwise, and joined by
//! stages of one's own, behind the trait [`Stage`]; it [builds](Chain::build) a checked [`Optimizer`]
//! of one weight. What a layer reports at a step is a [`Signal`]. An [`OptimizerSet`] steps many named
//! matrices and vectors at once.
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
//! each kind of signal that it will be given, at magnitudes far from the end of the scalar's range.
//!
//! # Backends
//!
//! The linear algebra is in Rust by default (feature `pure-rust`), or OpenBLAS's (`openblas-system`,
//! `openblas-static`); [`backend()`] says what serves. The [guide] has what either needs, and when to
//! call [`set_backend_threads`].

mod config;
mod error;
pub mod guide;
mod methods;
mod numeric;
pub mod references;
mod schedule;
mod set;
mod signal;
mod stage;
mod stages;
mod state;
mod statistics;
mod step;
pub mod suite;
mod values;

pub use layerwise_linalg::{
    Backend, KERNEL_VARIABLE, LinalgError, Scalar, backend, ndarray, set_backend_threads,
};

pub use config::adaptation::LevenbergMarquardt;
pub use config::averaging::Averaging;
pub use config::basis::{BasisMethod, BasisUse, ColumnOrder};
pub use config::chain::Chain;
pub use config::clipping::Clipping;
pub use config::custom::{Custom, CustomStage};
pub use config::damping::{Damping, JointDamping};
pub use config::diagonal::{DiagonalConfig, EpsilonPlacement};
pub use config::eigenbasis::{DiagonalEstimate, EigenbasisConfig};
pub use config::factor::FactorConfig;
pub use config::grafting::Grafting;
pub use config::kronecker::KroneckerConfig;
pub use config::momentum::{Filter, HeavyBall, Momentum};
pub use config::partition::{LargeDimension, Merging, Partition};
pub use config::polar::{PolarConfig, PolarDivisor, PolarMethod, PolarScale};
pub use config::refresh::Refresh;
pub use config::root::{RankTolerance, RootMethod};
pub use config::sign::SignScale;
pub use config::stage::StageConfig;
pub use config::statistic::Statistic;
pub use config::weight_averaging::WeightAveraging;
pub use config::weight_decay::{DecoupledDecay, WeightDecay};
pub use error::{OptimError, Result, Side};
pub use methods::{
    Adagrad, Adam, AdamW, Ekfac, Exponents, Kfac, KfacDamping, KlShampoo, Lion, Muon, OneSidedKfac,
    OutputFactor, RmsProp, Sgd, Shampoo, Soap,
};
pub use schedule::{NamedSchedule, Schedule};
pub use set::selector::Selector;
pub use set::{Group, OptimizerSet, Update};
pub use signal::{Factor, Signal, Signals};
pub use stage::{Observation, Stage, Step};
pub use stages::eigenbasis::EigenbasisDiagonal;
pub use state::saved::{OptimizerSetState, OptimizerState, Resume, STATE_VERSION};
pub use step::control::Control;
pub use step::method::Method;
pub use step::optimizer::Optimizer;
pub use step::report::{QuadraticModel, StepReport};
pub use values::{StateReader, StateWriter};
