//! The direction's polar factor: Muon, spectral descent.

use layerwise_linalg::{ExactPolar, NewtonSchulz, PolarWorkspace, Scalar};
use ndarray::ArrayViewMut2;

use crate::config::polar::{PolarConfig, PolarDivisor, PolarMethod};
use crate::error::Result;
use crate::numeric::finite::{bytes, check_shape, check_weight};
use crate::signal::Signal;
use crate::stages::preconditioner::sealed::Sealed;
use crate::stages::preconditioner::{Observation, Preconditioner};
use crate::state::values::{StateReader, StateWriter};

/// The polar factor of whatever it is applied to; it has no statistics.
#[derive(Debug)]
pub struct Polar<A> {
    routine: Routine<A>,
    scale: f64,
    shape: (usize, usize),
}

#[derive(Debug)]
enum Routine<A> {
    NewtonSchulz(NewtonSchulz, Box<PolarWorkspace<A>>),
    SingularValues { polar: Box<ExactPolar<A>>, times_nuclear_norm: bool },
}

impl<A: Scalar> Polar<A> {
    /// For weights of this shape.
    ///
    /// # Errors
    ///
    /// Hyperparameters out of range, and shapes that are empty or too large.
    pub fn new(config: &PolarConfig, shape: (usize, usize)) -> Result<Self> {
        config.check()?;
        check_weight::<A>(shape)?;
        let routine = match config.method {
            PolarMethod::NewtonSchulz { coefficients, steps, divisor } => {
                let (epsilon, epsilon_is_floor) = match divisor {
                    PolarDivisor::Plus(epsilon) => (epsilon, false),
                    PolarDivisor::AtLeast(epsilon) => (epsilon, true),
                };
                Routine::NewtonSchulz(
                    NewtonSchulz { coefficients, steps, epsilon, epsilon_is_floor },
                    Box::new(PolarWorkspace::with_shape(shape.0, shape.1)),
                )
            }
            PolarMethod::SingularValues { times_nuclear_norm } => Routine::SingularValues {
                polar: Box::new(ExactPolar::with_shape(shape.0, shape.1)),
                times_nuclear_norm,
            },
        };
        Ok(Polar { routine, scale: config.scale.of_shape(shape), shape })
    }
}

impl<A> Sealed for Polar<A> {}

impl<A: Scalar> Preconditioner<A> for Polar<A> {
    fn observe(&mut self, _signal: &Signal<'_, A>) -> Result<Observation> {
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        let mut scale = self.scale;
        match &mut self.routine {
            Routine::NewtonSchulz(newton_schulz, workspace) => {
                newton_schulz.apply(direction, workspace)?;
            }
            Routine::SingularValues { polar, times_nuclear_norm } => {
                let nuclear = polar.apply(direction)?;
                if *times_nuclear_norm {
                    scale *= nuclear;
                }
            }
        }
        let scale = A::from_f64(scale);
        direction.mapv_inplace(|x| x * scale);
        Ok(())
    }

    fn commit(&mut self) {}

    fn memory_bytes(&self) -> usize {
        match &self.routine {
            // The iterate, its successor, and two Gram matrices of the short side.
            Routine::NewtonSchulz(..) => {
                let short = self.shape.0.min(self.shape.1);
                2 * bytes::<A>(self.shape) + 2 * bytes::<A>((short, short))
            }
            Routine::SingularValues { polar, .. } => polar.memory_bytes(),
        }
    }

    fn save_state<'s>(&'s self, _path: &str, _out: &mut StateWriter<'s, A>) {}

    fn load_state(&mut self, _path: &str, _from: &mut StateReader<'_, A>) -> Result<()> {
        Ok(())
    }
}
