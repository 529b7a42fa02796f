//! Spectra, covariances, covariates and tasks; batches of samples and exact moments.
//!
//! The problems of layer-wise preconditioning studies: linear representation learning
//! ([`LinearTask`]) and single-index learning ([`SingleIndexTask`]), on inputs whose covariance
//! is drawn from a chosen [`Spectrum`] and [`Basis`]. A training step consumes either a
//! [`Batch`] of samples or its [`Moments`]; a [`Task`] draws both. For linear tasks the moments
//! are drawn in distribution exactly, without drawing the samples, at a cost that does not grow
//! with the sample size.
//!
//! "The paper" is T. T. Zhang et al., *On The Concurrence of Layer-wise Preconditioning Methods
//! and Provable Feature Learning*, ICML 2025, arXiv 2502.01763: the models are its models, the
//! derivations of exact moments are this crate's.
//!
//! Inputs are rows of a batch (n × d_X), targets too (n × d_Y). All numbers are `f64`.
//!
//! ```
//! use layerwise_data::{Basis, Law, LinearTaskSpec, Moments, Spectrum, Streams, Task};
//!
//! let spec = LinearTaskSpec {
//!     input_dimension: 20,
//!     output_dimension: 6,
//!     rank: 3,
//!     spectrum: Spectrum::LogSpaced { condition: 100.0 },
//!     basis: Basis::Haar,
//!     law: Law::Gaussian,
//!     head_condition: 4.0,
//!     noise: 0.1,
//! };
//! let mut rng = Streams::new(7).stream("example", "task", 0);
//! let (train, transfer) = spec.draw_pair(&mut rng)?;
//! assert_eq!(train.representation(), transfer.representation());
//!
//! let mut moments = Moments::with_dimensions(20, 6);
//! train.draw_moments(1000, &mut rng, &mut moments)?;
//! assert_eq!(moments.xx().dim(), (20, 20));
//! # Ok::<(), layerwise_data::DataError>(())
//! ```

mod batch;
mod conditioned;
mod covariance;
mod covariates;
mod error;
mod exact;
mod law;
mod linear_task;
mod link;
mod moments;
mod normal;
mod signs;
mod single_index;
mod spectrum;
mod stream;
mod task;
mod triangular;
mod white;
mod workspace;

pub use batch::Batch;
pub use covariance::{Basis, Covariance, haar};
pub use covariates::{Covariates, LinearCovariates};
pub use error::{DataError, Result};
pub use law::Law;
pub use layerwise_linalg::ndarray;
pub use linear_task::{Features, LinearTask, LinearTaskSpec};
pub use link::Link;
pub use moments::Moments;
pub use single_index::SingleIndexTask;
pub use spectrum::Spectrum;
pub use stream::Streams;
pub use task::Task;
