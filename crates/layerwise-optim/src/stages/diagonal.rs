//! Entry-wise preconditioning: Adagrad, RMSprop, Adam, AMSGrad.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::diagonal::DiagonalConfig;
use crate::error::Result;
use crate::numeric::finite::{check_shape, check_weight};
use crate::schedule::When;
use crate::signal::Signal;
use crate::stages::preconditioner::sealed::Sealed;
use crate::stages::preconditioner::{Observation, Preconditioner};
use crate::state::persist::Persist;
use crate::state::values::{StateReader, StateWriter};
use crate::statistics::second_moments::SecondMoments;

/// Entry-wise preconditioning in the coordinates of the weight.
#[derive(Debug)]
pub struct Diagonal<A> {
    moments: SecondMoments<A>,
    shape: (usize, usize),
}

impl<A: Scalar> Diagonal<A> {
    /// For weights of this shape.
    ///
    /// # Errors
    ///
    /// Hyperparameters out of range, and shapes that are empty or too large.
    pub fn new(config: &DiagonalConfig, shape: (usize, usize)) -> Result<Self> {
        config.check(When::Build)?;
        check_weight::<A>(shape)?;
        Ok(Diagonal { moments: SecondMoments::new(config, shape), shape })
    }

    pub(crate) fn moments_mut(&mut self) -> &mut SecondMoments<A> {
        &mut self.moments
    }
}

impl<A> Sealed for Diagonal<A> {}

impl<A: Scalar> Preconditioner<A> for Diagonal<A> {
    fn observe(&mut self, signal: &Signal<'_, A>) -> Result<Observation> {
        let gradient = signal.gradient();
        check_shape("gradient", &gradient, self.shape)?;
        self.moments.observe(&gradient)?;
        Ok(Observation { scale: Some(self.moments.scale()), ..Observation::default() })
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        self.moments.apply(direction);
        Ok(())
    }

    fn commit(&mut self) {
        self.moments.commit();
    }

    fn memory_bytes(&self) -> usize {
        self.moments.memory_bytes()
    }

    fn save_state<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.moments.save(path, out);
    }

    fn load_state(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.moments.load(path, from)
    }
}
