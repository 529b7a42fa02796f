//! Weight decay that enters a direction.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::error::Result;
use crate::numeric::finite::within_limit;
use crate::schedule::Schedule;
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};

/// `D ← D + λ W`.
#[derive(Clone, Debug)]
pub(crate) struct AddWeight(pub(crate) Schedule);

impl<A: Scalar> Stage<A> for AddWeight {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        let rate = A::from_f64(self.0.value(step.time));
        direction.zip_mut_with(&step.weight, |d, &w| *d += rate * w);
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for AddWeight {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        within_limit::<A>(arrives + self.0.value(measured.time).abs() * measured.weight)
    }
}
