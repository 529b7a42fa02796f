//! A dense network, a convolutional network and a small transformer on real data, trained by every
//! optimizer of `layerwise-optim`, as a program that depends on that crate would do it.
//!
//! - [`network`] is the seam: what a network has to say of itself. [`network::dense`],
//!   [`network::convolution`] and [`network::transformer`] have forward and backward passes of
//!   their own, in `f32` or `f64`.
//! - [`parameter`] makes the optimizers' signals of those passes.
//! - [`methods`] is the list of optimizers; [`training`] a run; [`tuning`] the choice of a rate and
//!   the runs that are shown; [`task`] which network is trained on what, and for how long.
//! - [`report`] and [`plot`] show it; [`transfer`] asks whether features carry over.

pub mod arguments;
pub mod data;
pub mod error;
pub mod methods;
pub mod network;
pub mod parameter;
pub mod plot;
pub mod report;
pub mod task;
pub mod training;
pub mod transfer;
pub mod tuning;

pub use error::{Error, Result};
