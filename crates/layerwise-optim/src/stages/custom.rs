//! A stage from outside of this crate, held to what it promises.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::custom::Custom;
use crate::error::{OptimError, Result};
use crate::numeric::finite::check_finite;
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::Bounded;
use crate::values::{StateReader, StateWriter};

/// The stage, and the data that it was built of.
#[derive(Debug)]
pub(crate) struct CustomMachine<A> {
    config: Custom,
    stage: Box<dyn Stage<A>>,
}

impl<A: Scalar> CustomMachine<A> {
    pub(crate) fn new(config: &Custom, shape: (usize, usize)) -> Result<Self> {
        Ok(CustomMachine { stage: config.build(shape)?, config: config.clone() })
    }
}

impl<A: Scalar> Stage<A> for CustomMachine<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        // In one loop, stages of the gradient come before its check.
        let checked = check_finite("gradient", &step.gradient());
        checked.and_then(|()| self.stage.observe(step)).map_err(|source| self.config.error(source))
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        // A view of its own: what it does to that is not done to ours.
        let done = self.stage.apply(&mut direction.view_mut(), step);
        done.and_then(|()| check_finite("the direction that it made", &direction.view()))
            .map_err(|source| self.config.error(source))
    }

    fn apply_curvature(
        &mut self,
        change: &mut ArrayViewMut2<'_, A>,
        step: &Step<'_, A>,
    ) -> Result<bool> {
        self.stage.apply_curvature(change, step).map_err(|source| self.config.error(source))
    }

    fn commit(&mut self) {
        self.stage.commit();
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        self.stage.save(out);
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        self.stage.load(from).map_err(|source| match source {
            // It has the name already.
            OptimError::StateEntry { .. } => source,
            other => self.config.error(other),
        })
    }

    fn memory_bytes(&self) -> usize {
        self.stage.memory_bytes()
    }

    fn set_damping_factor(&mut self, factor: f64) {
        self.stage.set_damping_factor(factor);
    }
}

/// What anyone's stage does is not known.
impl<A: Scalar> Bounded<A> for CustomMachine<A> {}
