//! What named methods have in common.

use layerwise_linalg::Scalar;

use crate::config::composition::Composition;
use crate::error::Result;
use crate::signal::Signals;
use crate::step::optimizer::Optimizer;

/// A named method: hyperparameters by the names of the field, and the composition that they mean.
pub trait Method {
    /// The method as a composition.
    fn composition(&self) -> Composition;

    /// The optimizer of a weight of this shape; see [`Composition::build`].
    ///
    /// # Errors
    ///
    /// As [`Composition::build`].
    fn build<A: Scalar>(&self, shape: (usize, usize)) -> Result<Optimizer<A>>
    where
        Self: Sized,
    {
        self.composition().build(shape)
    }

    /// The optimizer of a weight whose layer gives these signals; see [`Composition::build_for`].
    ///
    /// # Errors
    ///
    /// As [`Composition::build_for`].
    fn build_for<A: Scalar>(
        &self,
        shape: (usize, usize),
        available: Signals,
    ) -> Result<Optimizer<A>>
    where
        Self: Sized,
    {
        self.composition().build_for(shape, available)
    }
}

impl Method for Composition {
    fn composition(&self) -> Composition {
        self.clone()
    }
}
