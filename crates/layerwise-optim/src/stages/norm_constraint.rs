//! The norm constraint of KFAC (KL clip).

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::error::{OptimError, Result};
use crate::numeric::finite::inner_product;
use crate::schedule::Schedule;
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};

/// `D ← D min(1, √(κ / (η² |⟨g, D⟩|)))`.
#[derive(Clone, Debug)]
pub(crate) struct NormConstraint(pub(crate) Schedule);

/// `min(1, √(κ / (η² |⟨g, D⟩|)))`, which is 1 where nothing moves.
///
/// # Errors
///
/// An inner product that overflows.
pub(crate) fn shrinkage(bound: f64, learning_rate: f64, inner_product: f64) -> Result<f64> {
    if !inner_product.is_finite() {
        let what = "the inner product of gradient and direction";
        return Err(OptimError::Overflow { what, row: 0, col: 0, value: inner_product });
    }
    // Two quotients, so that the square of a small rate is not nothing.
    let ratio = (bound / inner_product.abs()).sqrt() / learning_rate;
    Ok(if ratio < 1.0 { ratio } else { 1.0 })
}

impl<A: Scalar> Stage<A> for NormConstraint {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        let along = inner_product(&step.gradient(), &direction.view());
        let factor = shrinkage(self.0.value(step.time), step.learning_rate, along)?;
        if factor < 1.0 {
            let factor = A::from_f64(factor);
            direction.mapv_inplace(|x| x * factor);
        }
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for NormConstraint {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        (measured.gradient * arrives).is_finite().then_some(arrives)
    }
}
