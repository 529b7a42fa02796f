//! What named methods have in common.

use layerwise_linalg::Scalar;

use crate::config::chain::Chain;
use crate::error::Result;
use crate::signal::Signals;
use crate::step::optimizer::Optimizer;

/// A named method: hyperparameters by the names of the field, and the chain that they mean.
pub trait Method {
    /// The method as a chain.
    fn chain(&self) -> Chain;

    /// The optimizer of a weight of this shape; see [`Chain::build`].
    ///
    /// # Errors
    ///
    /// As [`Chain::build`].
    fn build<A: Scalar>(&self, shape: (usize, usize)) -> Result<Optimizer<A>>
    where
        Self: Sized,
    {
        self.chain().build(shape)
    }

    /// The optimizer of a weight whose layer gives these signals; see [`Chain::build_for`].
    ///
    /// # Errors
    ///
    /// As [`Chain::build_for`].
    fn build_for<A: Scalar>(
        &self,
        shape: (usize, usize),
        available: Signals,
    ) -> Result<Optimizer<A>>
    where
        Self: Sized,
    {
        self.chain().build_for(shape, available)
    }
}

impl Method for Chain {
    fn chain(&self) -> Chain {
        self.clone()
    }
}
