//! The step of one weight: the optimizer, what its caller decides of a step, and what a step reports.

mod checkpoint;
pub(crate) mod control;
pub(crate) mod damping_factor;
pub(crate) mod fused;
pub(crate) mod link;
pub(crate) mod method;
pub(crate) mod optimizer;
pub(crate) mod report;
mod state;
#[cfg(test)]
mod tests;
pub(crate) mod weight;
pub(crate) mod weight_averaging;

pub use control::Control;
pub use optimizer::Optimizer;
pub use report::{QuadraticModel, StepReport};
