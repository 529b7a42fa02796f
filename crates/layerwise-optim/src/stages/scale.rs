//! Directions times one number: of the shape, of the weight, or of the share that points down the gradient.

use layerwise_linalg::Scalar;
use ndarray::{ArrayViewMut2, Zip};

use crate::error::Result;
use crate::numeric::finite::{check_shape, frobenius_norm, within_limit};
use crate::schedule::Schedule;
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};

/// `D ← s D`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale(pub(crate) f64);

impl<A: Scalar> Stage<A> for Scale {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        let scale = A::from_f64(self.0);
        direction.mapv_inplace(|x| x * scale);
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for Scale {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        within_limit::<A>(within_limit::<A>(self.0)? * arrives)
    }
}

/// `D ← D max(ε, rms(W))`.
#[derive(Clone, Debug)]
pub(crate) struct RelativeToWeight(pub(crate) Schedule);

impl RelativeToWeight {
    fn factor(&self, weight_norm: f64, entries: usize, time: u64) -> f64 {
        (weight_norm / (entries as f64).sqrt()).max(self.0.value(time))
    }
}

impl<A: Scalar> Stage<A> for RelativeToWeight {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        let norm = frobenius_norm(&step.weight);
        let factor = A::from_f64(self.factor(norm, step.weight.len(), step.time));
        direction.mapv_inplace(|x| x * factor);
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for RelativeToWeight {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        // Of a part of the weight the root mean square is at most the whole's norm.
        let factor = measured.weight.max(self.0.value(measured.time));
        within_limit::<A>(within_limit::<A>(factor)? * arrives)
    }
}

/// The least share of entries that a [cautious](Cautious) direction is divided by.
const LEAST_SHARE: f64 = 1e-3;

/// `D ← D [D g > 0] / max(share, 10⁻³)`, entry by entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cautious;

impl<A: Scalar> Stage<A> for Cautious {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        let gradient = step.gradient();
        check_shape("direction", &direction.view(), gradient.dim())?;
        // By signs, as products of small numbers vanish. What is not finite stays, so that the step is refused.
        let zero = A::zero();
        let agrees = move |d: A, g: A| (d > zero && g > zero) || (d < zero && g < zero);
        let count = Zip::from(&*direction)
            .and(&gradient)
            .fold(0_usize, |count, &d, &g| count + usize::from(agrees(d, g)));
        let share = count as f64 / direction.len() as f64;
        let factor = A::from_f64(1.0 / share.max(LEAST_SHARE));
        Zip::from(direction).and(&gradient).for_each(|d, &g| {
            *d = if agrees(*d, g) {
                *d * factor
            } else if d.is_finite() {
                zero
            } else {
                *d
            };
        });
        Ok(())
    }
}

impl<A: Scalar> Bounded<A> for Cautious {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        within_limit::<A>(arrives / LEAST_SHARE)
    }
}
