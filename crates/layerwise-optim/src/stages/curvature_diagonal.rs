//! Division by the diagonal of the loss's second derivative: Sophia.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayViewMut2};

use crate::config::curvature_diagonal::CurvatureDiagonalConfig;
use crate::error::{OptimError, Result};
use crate::numeric::entrywise::{update1, update2};
use crate::numeric::finite::{bytes, check_finite, check_shape, first_non_finite, within_limit};
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::state::persist::{Persist, persist, stage_state};
use crate::state::staged::Staged;
use crate::statistics::clock::AverageClock;

/// `D ← D / max(h/c, ε)`.
#[derive(Debug)]
pub(crate) struct CurvatureDiagonal<A> {
    config: CurvatureDiagonalConfig,
    curvature: Staged<Array2<A>>,
    clock: Staged<AverageClock>,
}

persist!(CurvatureDiagonal<A> { curvature, clock });

impl<A: Scalar> CurvatureDiagonal<A> {
    /// The configuration must have been checked.
    pub(crate) fn new(config: &CurvatureDiagonalConfig, shape: (usize, usize)) -> Self {
        CurvatureDiagonal {
            config: config.clone(),
            curvature: Staged::twice(Array2::zeros(shape)),
            clock: Staged::twice(AverageClock::start()),
        }
    }

    /// `ε` in the scalar's range, where it is not zero.
    fn floor(&self, time: u64) -> A {
        A::from_f64(self.config.floor.value(time)).max(A::min_positive_value())
    }

    /// `c`, of what has been reported so far; 1 for that of nothing.
    fn correction(&self) -> A {
        let clock = self.clock.latest();
        let correction =
            if clock.count == 0 { 1.0 } else { clock.correction(&self.config.averaging) };
        A::from_f64(correction)
    }
}

impl<A: Scalar> Stage<A> for CurvatureDiagonal<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        Persist::<A>::discard(self);
        let Some(reported) = step.signal.diagonal() else { return Ok(Observation::default()) };
        let what = "diagonal of the second derivative";
        check_shape(what, &reported, self.curvature.current().dim())?;
        check_finite(what, &reported)?;
        let (clock, weights) = self.clock.current().tick(&self.config.averaging, step.time);
        let (old, new) = (A::from_f64(weights.old), A::from_f64(weights.new));
        let (current, next) = self.curvature.split();
        update2(next, current, &reported, move |next, h, x| *next = old * h + new * x);
        if let Some((row, col, value)) = first_non_finite(&next.view()) {
            return Err(OptimError::Overflow { what, row, col, value });
        }
        self.curvature.propose();
        *self.clock.split_proposed().1 = clock;
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.curvature.current().dim())?;
        let (correction, floor) = (self.correction(), self.floor(step.time));
        update1(direction, self.curvature.latest(), move |d, h| {
            *d /= (h / correction).max(floor);
        });
        Ok(())
    }

    stage_state!();

    fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.curvature.current().dim())
    }
}

impl<A: Scalar> Bounded<A> for CurvatureDiagonal<A> {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        within_limit::<A>(arrives / self.floor(measured.time).as_f64())
    }
}
