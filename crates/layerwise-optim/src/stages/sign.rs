//! The direction's signs: Lion, sign descent.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::sign::SignScale;
use crate::error::Result;
use crate::numeric::finite::{check_shape, within_limit};
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};

/// `D ← s sign D`, entry by entry, where the sign of zero is zero. It has no statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sign {
    scale: SignScale,
    shape: (usize, usize),
}

impl Sign {
    /// For weights of this shape.
    pub(crate) fn new(scale: SignScale, shape: (usize, usize)) -> Self {
        Sign { scale, shape }
    }
}

impl<A: Scalar> Stage<A> for Sign {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
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
}

impl<A: Scalar> Bounded<A> for Sign {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        let side = (measured.entries as f64).sqrt();
        within_limit::<A>(match self.scale {
            SignScale::One => side,
            SignScale::SumOfModuli => side * side * arrives,
            SignScale::MeanOfModuli => arrives,
        })
    }
}
