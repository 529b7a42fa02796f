//! The direction's signs: Lion, sign descent.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::sign::SignScale;
use crate::error::Result;
use crate::numeric::finite::check_shape;
use crate::signal::Signal;
use crate::stages::preconditioner::sealed::Sealed;
use crate::stages::preconditioner::{Observation, Preconditioner};
use crate::state::values::{StateReader, StateWriter};

/// `D ← s sign D`, entry by entry, where the sign of zero is zero. It has no statistics.
#[derive(Clone, Copy, Debug)]
pub struct Sign {
    scale: SignScale,
    shape: (usize, usize),
}

impl Sign {
    /// For weights of this shape.
    #[must_use]
    pub fn new(scale: SignScale, shape: (usize, usize)) -> Self {
        Sign { scale, shape }
    }
}

impl Sealed for Sign {}

impl<A: Scalar> Preconditioner<A> for Sign {
    fn observe(&mut self, _signal: &Signal<'_, A>) -> Result<Observation> {
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        let sum = || direction.iter().map(|x| x.as_f64().abs()).sum::<f64>();
        let scale = A::from_f64(match self.scale {
            SignScale::One => 1.0,
            SignScale::SumOfModuli => sum(),
            SignScale::MeanOfModuli => sum() / direction.len() as f64,
        });
        // What is not finite stays, so that the step is refused.
        direction.mapv_inplace(|x| {
            if x == A::zero() || !x.is_finite() { x } else { x.signum() * scale }
        });
        Ok(())
    }

    fn commit(&mut self) {}

    fn memory_bytes(&self) -> usize {
        0
    }

    fn save_state<'s>(&'s self, _path: &str, _out: &mut StateWriter<'s, A>) {}

    fn load_state(&mut self, _path: &str, _from: &mut StateReader<'_, A>) -> Result<()> {
        Ok(())
    }
}
