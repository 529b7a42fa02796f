//! Entry-wise preconditioning: Adagrad, RMSprop, Adam, AMSGrad.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::diagonal::DiagonalConfig;
use crate::error::Result;
use crate::numeric::finite::check_shape;
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::state::persist::Persist;
use crate::statistics::second_moments::{SecondMomentRule, SecondMoments};
use crate::values::{StateReader, StateWriter};

/// Entry-wise preconditioning in the coordinates of the weight.
#[derive(Debug)]
pub(crate) struct Diagonal<A> {
    moments: SecondMoments<A>,
    of: Observed,
    shape: (usize, usize),
}

/// What the second moment is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    Gradient,
    /// The direction that arrives.
    Direction,
}

impl<A: Scalar> Diagonal<A> {
    /// The configuration must have been checked.
    pub(crate) fn new(config: &DiagonalConfig, of: Observed, shape: (usize, usize)) -> Self {
        Diagonal { moments: SecondMoments::new(config, shape), of, shape }
    }

    /// Whether it can be taken in one loop with a momentum.
    pub(crate) fn is_one_loop(&self) -> bool {
        self.of == Observed::Gradient && self.moments.is_average_and_root()
    }

    /// For a step in one loop, which has begun and takes place: its rule, and the second moment.
    pub(crate) fn in_place(&mut self) -> Option<(SecondMomentRule<A>, &mut [A])> {
        self.moments.in_place()
    }
}

impl<A: Scalar> Stage<A> for Diagonal<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        check_shape("gradient", &step.gradient(), self.shape)?;
        self.moments.begin(step.time);
        Ok(Observation { scale: Some(self.moments.scale()), ..Observation::default() })
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        let observed = match self.of {
            Observed::Gradient => step.gradient(),
            Observed::Direction => direction.view(),
        };
        self.moments.observe(&observed, step.in_place)?;
        self.moments.apply(direction);
        Ok(())
    }

    fn commit(&mut self) {
        Persist::<A>::commit(&mut self.moments);
    }

    fn memory_bytes(&self) -> usize {
        self.moments.memory_bytes()
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        Persist::save(&self.moments, "", out);
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        Persist::load(&mut self.moments, "", from)
    }
}

impl<A: Scalar> Bounded<A> for Diagonal<A> {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        let observed = match self.of {
            Observed::Gradient => measured.gradient,
            Observed::Direction => arrives,
        };
        self.moments.bound(arrives, observed * observed, 1.0)
    }

    fn reserve(&mut self) {
        self.moments.reserve();
    }
}
