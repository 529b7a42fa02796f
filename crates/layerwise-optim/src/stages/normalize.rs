//! Directions of a given size.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::error::Result;
use crate::numeric::finite::frobenius_norm;
use crate::stage::{Stage, Step};
use crate::stages::bounded::Bounded;

/// What is added to the root mean square that a normalized direction is divided by.
const NORMALIZATION_FLOOR: f64 = 1e-30;

/// Gives a direction the root mean square of its bias corrections, which it already carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormalizeRms;

impl<A: Scalar> Stage<A> for NormalizeRms {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        let entries = direction.len() as f64;
        let size = frobenius_norm(&direction.view()) / entries.sqrt() / step.corrections;
        let factor = A::from_f64(1.0 / (size + NORMALIZATION_FLOOR));
        direction.mapv_inplace(|x| x * factor);
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for NormalizeRms {}
