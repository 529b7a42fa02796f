//! The step length of another method.

use std::fmt::Debug;
use std::ops::DerefMut;

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::grafting::Grafting;
use crate::error::Result;
use crate::numeric::finite::{check_shape, frobenius_norm, within_limit};
use crate::numeric::pool::{Needs, Pool};
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::stages::diagonal::{Diagonal, Observed};
use crate::values::{StateReader, StateWriter};

/// What is added to the norm that a grafted direction is divided by.
const GRAFTING_FLOOR: f64 = 1e-16;

/// A stage, and the method whose step length it takes.
#[derive(Debug)]
pub(crate) struct Graft<A, S> {
    pub(crate) stage: S,
    /// Without, the length is that of the direction that arrives.
    length: Option<Diagonal<A>>,
    shape: (usize, usize),
    pool: Pool<A>,
    /// Of the latest observation.
    warming_up: bool,
    skipped: bool,
}

impl<A: Scalar, S> Graft<A, S> {
    /// The configuration must have been checked.
    pub(crate) fn new(stage: S, length: &Grafting, shape: (usize, usize), pool: &Pool<A>) -> Self {
        let length = match length {
            Grafting::Sgd => None,
            Grafting::Diagonal(config) => Some(Diagonal::new(config, Observed::Gradient, shape)),
        };
        Graft { stage, length, shape, pool: pool.clone(), warming_up: false, skipped: false }
    }
}

impl<A: Scalar, S> Stage<A> for Graft<A, S>
where
    S: DerefMut<Target = dyn Bounded<A>> + Debug + Send + Sync,
{
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        let mut observation = self.stage.observe(step)?;
        (self.warming_up, self.skipped) = (observation.warming_up, observation.skip);
        if let Some(length) = &mut self.length
            && !self.skipped
        {
            observation.scale = length.observe(step)?.scale;
        } else {
            observation.scale = None;
        }
        Ok(observation)
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        // The direction of the other method.
        let mut grafted = self.pool.array(self.shape);
        grafted.assign(direction);
        if let Some(length) = &mut self.length {
            length.apply(&mut grafted.view_mut(), step)?;
        }
        // It takes in what it accumulates.
        self.stage.apply(direction, step)?;
        if self.warming_up {
            direction.assign(&*grafted);
            return Ok(());
        }
        let target = frobenius_norm(&grafted.view());
        let own = frobenius_norm(&direction.view());
        let ratio = A::from_f64(target / (own + GRAFTING_FLOOR));
        direction.mapv_inplace(|x| x * ratio);
        Ok(())
    }

    fn apply_curvature(
        &mut self,
        change: &mut ArrayViewMut2<'_, A>,
        step: &Step<'_, A>,
    ) -> Result<bool> {
        self.stage.apply_curvature(change, step)
    }

    fn commit(&mut self) {
        self.stage.commit();
        if let Some(length) = &mut self.length
            && !self.skipped
        {
            Stage::commit(length);
        }
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        out.within("stage", |out| self.stage.save(out));
        if let Some(length) = &self.length {
            out.within("length", |out| length.save(out));
        }
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        from.within("stage", |from| self.stage.load(from))?;
        match &mut self.length {
            Some(length) => from.within("length", |from| length.load(from)),
            None => Ok(()),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.stage.memory_bytes() + self.length.as_ref().map_or(0, Stage::memory_bytes)
    }

    fn set_damping_factor(&mut self, factor: f64) {
        self.stage.set_damping_factor(factor);
    }
}

impl<A: Scalar, S> Bounded<A> for Graft<A, S>
where
    S: DerefMut<Target = dyn Bounded<A>> + Debug + Send + Sync,
{
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        self.stage.bound(arrives, measured)?;
        let length = match &mut self.length {
            None => arrives,
            Some(length) => length.bound(arrives, measured)?,
        };
        // The largest ratio of the two.
        within_limit::<A>(length / GRAFTING_FLOOR)?;
        within_limit::<A>(length)
    }

    fn reserve(&mut self) {
        self.stage.reserve();
        if let Some(length) = &mut self.length {
            length.reserve();
        }
    }

    fn needs(&self) -> Needs {
        Needs::arrays(1, self.shape).and(self.stage.needs())
    }
}
