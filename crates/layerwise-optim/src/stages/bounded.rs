//! Which steps are sure to succeed: what a stage makes of a direction, in numbers alone.

use layerwise_linalg::Scalar;

use crate::numeric::pool::Needs;
use crate::stage::Stage;

/// A stage of a chain, as the step asks it.
pub(crate) trait Bounded<A: Scalar>: Stage<A> {
    /// A bound of the Frobenius norm of what the stage makes of a direction, given one of what
    /// arrives. `None` where the stage cannot tell, may fail, or may leave the scalar's range on the way.
    ///
    /// It comes after `observe`. A step of which every stage gives a bound [within the
    /// limit](crate::numeric::finite::within_limit) changes state and weight in place, as none of it can
    /// fail.
    fn bound(&mut self, _arrives: f64, _measured: &Measured) -> Option<f64> {
        None
    }

    /// Makes the places of proposals, for a chain that never is sure of its steps.
    fn reserve(&mut self) {}

    /// What it is lent at a step.
    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// What is known of a step before anything is made of it: Frobenius norms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Of the gradient as the stages observe it.
    pub(crate) gradient: f64,
    pub(crate) weight: f64,
    /// The run's step.
    pub(crate) time: u64,
    /// Entries of the weight.
    pub(crate) entries: usize,
}
