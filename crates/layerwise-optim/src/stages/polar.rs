//! The direction's polar factor: Muon, spectral descent.

use layerwise_linalg::{ExactPolar, NewtonSchulz, PolarWorkspace, Scalar};
use ndarray::ArrayViewMut2;

use crate::config::polar::{PolarConfig, PolarDivisor, PolarMethod};
use crate::error::Result;
use crate::numeric::finite::{check_shape, within_limit};
use crate::numeric::pool::{Needs, Pool};
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};

/// The polar factor of whatever it is applied to; it has no statistics.
#[derive(Debug)]
pub(crate) struct Polar<A> {
    routine: Routine,
    scale: f64,
    shape: (usize, usize),
    pool: Pool<A>,
}

#[derive(Debug)]
enum Routine {
    NewtonSchulz(NewtonSchulz),
    SingularValues { times_nuclear_norm: bool },
}

impl<A: Scalar> Polar<A> {
    /// The configuration must have been checked.
    pub(crate) fn new(config: &PolarConfig, shape: (usize, usize), pool: &Pool<A>) -> Self {
        let routine = match &config.method {
            PolarMethod::NewtonSchulz { polynomials, steps, divisor } => {
                let (epsilon, epsilon_is_floor) = match *divisor {
                    PolarDivisor::Plus(epsilon) => (epsilon, false),
                    PolarDivisor::AtLeast(epsilon) => (epsilon, true),
                };
                Routine::NewtonSchulz(NewtonSchulz {
                    polynomials: polynomials.clone(),
                    steps: *steps,
                    epsilon,
                    epsilon_is_floor,
                })
            }
            &PolarMethod::SingularValues { times_nuclear_norm } => {
                Routine::SingularValues { times_nuclear_norm }
            }
        };
        Polar { routine, scale: config.scale.of_shape(shape), shape, pool: pool.clone() }
    }
}

impl<A: Scalar> Stage<A> for Polar<A> {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        let mut scale = self.scale;
        match &self.routine {
            Routine::NewtonSchulz(newton_schulz) => {
                let apply =
                    |workspace: &mut PolarWorkspace<A>| newton_schulz.apply(direction, workspace);
                self.pool.with(self.shape, apply)?;
            }
            &Routine::SingularValues { times_nuclear_norm } => {
                let apply = |polar: &mut ExactPolar<A>| polar.apply(direction);
                let nuclear = self.pool.with(self.shape, apply)?;
                if times_nuclear_norm {
                    scale *= nuclear;
                }
            }
        }
        let scale = A::from_f64(scale);
        direction.mapv_inplace(|x| x * scale);
        Ok(())
    }
}

/// The largest singular value that the iteration makes of any in [0, 1], at its end and on the way.
fn largest_singular_value(iteration: &NewtonSchulz) -> (f64, f64) {
    iteration.sequence().fold((1.0, 1.0), |(end, largest), polynomial| {
        let end = largest_below(polynomial, end);
        (end, largest.max(end))
    })
}

/// The largest `|a s + b s³ + c s⁵|` for s in [0, end]: at its end or where the derivative vanishes.
fn largest_below([a, b, c]: [f64; 3], end: f64) -> f64 {
    let polynomial = |s: f64| (s * (a + s * s * (b + c * s * s))).abs();
    // a + 3 b t + 5 c t² = 0 for t = s².
    let root = (9.0 * b * b - 20.0 * a * c).sqrt();
    let turns = if c == 0.0 {
        [(-a / (3.0 * b)).sqrt(), f64::NAN]
    } else {
        [-1.0, 1.0].map(|sign| ((-3.0 * b + sign * root) / (10.0 * c)).sqrt())
    };
    let within = turns.into_iter().filter(|&s| s <= end);
    // Rounding goes a little beyond.
    1.001 * within.map(polynomial).fold(polynomial(end), f64::max)
}

impl<A: Scalar> Bounded<A> for Polar<A> {
    fn bound(&mut self, _arrives: f64, _measured: &Measured) -> Option<f64> {
        match &self.routine {
            // Without it, a direction of zeros is refused.
            Routine::NewtonSchulz(iteration) if iteration.epsilon > 0.0 => {
                for coefficient in iteration.polynomials.iter().flatten() {
                    within_limit::<A>(coefficient.abs())?;
                }
                let (end, largest) = largest_singular_value(iteration);
                let short = self.shape.0.min(self.shape.1) as f64;
                within_limit::<A>(largest.powi(5))
                    .and_then(|_| within_limit::<A>(self.scale.abs() * end * short.sqrt()))
            }
            _ => None,
        }
    }

    fn needs(&self) -> Needs {
        match self.routine {
            Routine::NewtonSchulz(_) => Needs::workspace::<PolarWorkspace<A>>(self.shape),
            Routine::SingularValues { .. } => Needs::workspace::<ExactPolar<A>>(self.shape),
        }
    }
}
