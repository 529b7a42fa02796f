//! Entry-wise preconditioning: Adagrad, RMSprop, Adam, AMSGrad.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::diagonal::DiagonalConfig;
use crate::error::Result;
use crate::numeric::entrywise::InOut;
use crate::numeric::finite::check_shape;
use crate::stage::{Observation, Stage, Step};
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

    /// For a step in one loop, where that is possible: begins it, and gives its rule, the second moment,
    /// and the place of the next.
    pub(crate) fn begin_fused(&mut self, time: u64) -> Option<InOut<'_, SecondMomentRule<A>, A>> {
        self.moments.begin(time);
        self.moments.advance()
    }
}

impl<A: Scalar> Stage<A> for Diagonal<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        self.moments.begin(step.time);
        if self.of == Observed::Gradient {
            let gradient = step.gradient();
            check_shape("gradient", &gradient, self.shape)?;
            self.moments.observe(&gradient)?;
        }
        Ok(Observation { scale: Some(self.moments.scale()), ..Observation::default() })
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        if self.of == Observed::Direction {
            self.moments.observe(&direction.view())?;
        }
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
