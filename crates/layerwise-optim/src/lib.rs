//! Layer-wise preconditioned optimizers: KFAC, Shampoo, SOAP, Muon and the diagonal methods.
//!
//! Every method updates one weight matrix `W` (m × n, outputs × inputs) by
//!
//! ```text
//! W ← W − η · P^{-p} · D · Q^{-q}
//! ```
//!
//! where `D` is the gradient or an average of gradients, and `P` (m × m) and `Q` (n × n) are
//! statistics of the layer. A [`Signal`] is what a layer reports at a step; a
//! [`Preconditioner`] observes signals and turns directions into preconditioned ones; a
//! [`Composition`] describes a whole method as plain data and [builds](Composition::build) a
//! checked [`Optimizer`]. The named methods ([`Sgd`], [`Adam`], [`Kfac`], [`Shampoo`],
//! [`Soap`], [`Muon`], …) are compositions too; [`OptimizerSet`] steps many named matrices and
//! vectors at once.
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
//! memory, what corresponds to what in PyTorch, and which symbol of the literature is which field. The
//! [references] say which options give which implementation.
//!
//! # What a step guarantees
//!
//! A step that returns an error has changed neither the weight nor the state: all that can fail
//! is computed beside the state first, and kept only when everything has succeeded. A step does
//! not allocate once it has seen each kind of signal that it will be given.
//!
//! # Backends
//!
//! The linear algebra is in Rust by default (feature `pure-rust`), or OpenBLAS's (`openblas-system`,
//! `openblas-static`); [`backend()`] says what serves. The [guide] has what either needs, and when to
//! call [`set_backend_threads`].

mod adaptation;
mod averaging;
mod basis;
mod basis_method;
mod blocks;
mod build;
mod clipping;
mod composition;
mod diagonal;
mod direction;
mod drift;
mod eigenbasis;
mod eigenbasis_config;
mod eigenvectors;
mod entrywise;
mod error;
mod factor;
mod finite;
mod fused;
pub mod guide;
mod iterates;
mod joint;
mod kronecker;
mod method;
mod methods;
mod optimizer;
mod partition;
mod persist;
mod polar;
mod preconditioner;
pub mod references;
mod refresh;
mod root;
mod schedule;
mod set;
mod sign;
mod signal;
mod staged;
mod state;
mod statistic;
#[cfg(test)]
mod tests;
mod values;
mod weight;

pub use layerwise_linalg::{
    Backend, KERNEL_VARIABLE, LinalgError, Scalar, backend, ndarray, set_backend_threads,
};

pub use adaptation::{LevenbergMarquardt, QuadraticModel};
pub use averaging::Averaging;
pub use basis_method::{BasisMethod, BasisUse, ColumnOrder};
pub use clipping::Clipping;
pub use composition::{Composition, Grafting, Normalization, PreconditionerConfig, WeightDecay};
pub use diagonal::{Diagonal, DiagonalConfig, EpsilonPlacement};
pub use direction::{Direction, Filter, Momentum};
pub use eigenbasis::EigenbasisDiagonal;
pub use eigenbasis_config::{DiagonalEstimate, EigenbasisConfig};
pub use error::{OptimError, Result, Side};
pub use factor::{Cutoff, Damping, FactorConfig, RootMethod, Sides, Statistic};
pub use iterates::IterateAveraging;
pub use kronecker::{JointDamping, Kronecker, KroneckerConfig};
pub use method::Method;
pub use methods::{
    Adagrad, Adam, AdamW, Ekfac, Exponents, Kfac, KfacDamping, KlShampoo, Lion, Muon, OneSidedKfac,
    OutputFactor, RmsProp, Sgd, Shampoo, Soap,
};
pub use optimizer::{Optimizer, StepReport};
pub use partition::{LargeDimension, Merging, Partition};
pub use polar::{Polar, PolarConfig, PolarDivisor, PolarMethod, PolarScale};
pub use preconditioner::{Identity, Observation, Preconditioner};
pub use refresh::Refresh;
pub use schedule::{NamedSchedule, Schedule};
pub use set::{Group, OptimizerSet, Selector, Update};
pub use sign::{Sign, SignScale};
pub use signal::{Factor, Signal, Signals};
pub use state::{OptimizerSetState, OptimizerState, STATE_VERSION};
pub use values::{StateReader, StateWriter};
