//! The direction's signs: Lion, sign descent.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::error::Result;
use crate::finite::check_shape;
use crate::preconditioner::{Observation, Preconditioner};
use crate::signal::Signal;
use crate::state::{StateReader, StateWriter};

/// `D ← sign D`, entry by entry, where the sign of zero is zero. It has no statistics.
#[derive(Clone, Copy, Debug)]
pub struct Sign {
    shape: (usize, usize),
}

impl Sign {
    /// For weights of this shape.
    #[must_use]
    pub fn new(shape: (usize, usize)) -> Self {
        Sign { shape }
    }
}

impl<A: Scalar> Preconditioner<A> for Sign {
    fn observe(&mut self, _signal: &Signal<'_, A>) -> Result<Observation> {
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        // What is not finite stays, so that the step is refused.
        direction.mapv_inplace(|x| if x == A::zero() || !x.is_finite() { x } else { x.signum() });
        Ok(())
    }

    fn commit(&mut self) {}

    fn memory_bytes(&self) -> usize {
        0
    }

    fn save_state(&self, _path: &str, _out: &mut StateWriter<A>) {}

    fn load_state(&mut self, _path: &str, _from: &mut StateReader<'_, A>) -> Result<()> {
        Ok(())
    }
}
