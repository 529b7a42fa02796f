//! The other way: up the gradient.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::error::Result;
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};

/// `D ← −D`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negate;

impl<A: Scalar> Stage<A> for Negate {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        direction.mapv_inplace(|x| -x);
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for Negate {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        Some(arrives)
    }
}
