//! The direction's polar factor: Muon, spectral descent.

use layerwise_linalg::{ExactPolar, NewtonSchulz, PolarWorkspace, Scalar};
use ndarray::ArrayViewMut2;

use crate::config::polar::{PolarConfig, PolarDivisor, PolarMethod};
use crate::error::Result;
use crate::numeric::finite::{bytes, check_shape};
use crate::stage::{Stage, Step};

/// The polar factor of whatever it is applied to; it has no statistics.
#[derive(Debug)]
pub(crate) struct Polar<A> {
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
    /// The configuration must have been checked.
    pub(crate) fn new(config: &PolarConfig, shape: (usize, usize)) -> Self {
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
        Polar { routine, scale: config.scale.of_shape(shape), shape }
    }
}

impl<A: Scalar> Stage<A> for Polar<A> {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
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
}
