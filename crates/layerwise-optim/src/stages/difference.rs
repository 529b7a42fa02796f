//! Variance reduction by what arrived at the step before: MARS.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayViewMut2};

use crate::error::Result;
use crate::numeric::entrywise::update_pair;
use crate::numeric::finite::{bytes, check_shape};
use crate::schedule::Schedule;
use crate::stage::{Stage, Step};
use crate::stages::bounded::Bounded;
use crate::state::persist::{persist, stage_state};
use crate::state::staged::Staged;

/// `D ← D + γ (D − D⁻)`.
#[derive(Debug)]
pub(crate) struct AddDifference<A> {
    factor: Schedule,
    last: Staged<Array2<A>>,
    count: Staged<u64>,
}

persist!(AddDifference<A> { last, count });

impl<A: Scalar> AddDifference<A> {
    pub(crate) fn new(factor: &Schedule, shape: (usize, usize)) -> Self {
        AddDifference {
            factor: factor.clone(),
            last: Staged::twice(Array2::zeros(shape)),
            count: Staged::twice(0),
        }
    }
}

impl<A: Scalar> Stage<A> for AddDifference<A> {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.last.current().dim())?;
        let (&count, next) = self.count.split_proposed();
        *next = count + 1;
        let (last, next) = self.last.split_proposed();
        let factor = if count == 0 { A::zero() } else { A::from_f64(self.factor.value(step.time)) };
        next.assign(last);
        update_pair(next, direction, move |last, directions| {
            for (last, d) in last.iter_mut().zip(directions) {
                let arrived = *d;
                *d = arrived + factor * (arrived - *last);
                *last = arrived;
            }
        });
        Ok(())
    }

    stage_state!();

    fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.last.current().dim())
    }
}

impl<A: Scalar> Bounded<A> for AddDifference<A> {}
