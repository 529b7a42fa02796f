//! A whole step of one weight through its chain, what its caller decides of it, and what it reports. It
//! imports stages, and what is below.

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
