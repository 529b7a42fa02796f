//! The stages of a chain, one after another.

use layerwise_linalg::Scalar;
use ndarray::Array2;

use crate::config::stage::StageConfig;
use crate::error::{OptimError, Result};
use crate::numeric::entrywise::update1;
use crate::numeric::finite::check_finite;
use crate::numeric::pool::Pool;
use crate::stage::{Observation, Step};
use crate::stages::build::Machine;
use crate::state::persist::join;

/// A stage in a chain.
pub(crate) struct Link<A> {
    pub(crate) machine: Machine<A>,
    /// What its state is called.
    name: String,
    /// What its bias correction multiplied the direction by, at the latest observation.
    pub(super) scale: f64,
}

impl<A: Scalar> Link<A> {
    /// The configuration must have been checked.
    pub(crate) fn new(
        config: &StageConfig,
        shape: (usize, usize),
        predicts: bool,
        pool: &Pool<A>,
    ) -> Result<Self> {
        let machine = Machine::new(config, shape, predicts, pool)?;
        Ok(Link { machine, name: config.name().to_owned(), scale: 1.0 })
    }

    pub(crate) fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        let observation = self.machine.observe(step)?;
        self.scale = observation.scale.unwrap_or(1.0);
        Ok(observation)
    }

    /// Where its state is, in one of the chain's lists.
    pub(crate) fn path(&self, list: &str, index: usize) -> String {
        join(&join(list, &index.to_string()), &self.name)
    }
}

/// Turns a direction in standard layout into that of the last stage; all have observed the step.
pub(crate) fn apply_all<A: Scalar>(
    links: &mut [Link<A>],
    direction: &mut Array2<A>,
    mut step: Step<'_, A>,
) -> Result<()> {
    for link in links {
        link.machine.apply(&mut direction.view_mut(), &step)?;
        step.corrections *= link.scale;
    }
    Ok(())
}

/// Passes the gradient, times a factor, through the stages that change it.
pub(crate) fn prepare<A: Scalar>(
    links: &mut [Link<A>],
    prepared: &mut Array2<A>,
    step: &Step<'_, A>,
    factor: f64,
) -> Result<()> {
    // Where the scalar has no such number, in two steps.
    let (first, second) = if A::from_f64(factor) >= A::min_positive_value() {
        (A::from_f64(factor), A::one())
    } else {
        (A::from_f64(factor.sqrt()), A::from_f64(factor.sqrt()))
    };
    update1(prepared, &step.gradient(), move |prepared, g| *prepared = first * g * second);
    for link in &mut *links {
        if link.observe(step)?.skip {
            return Err(OptimError::Incompatible {
                first: "a stage that skips steps",
                second: "a place among the stages of the gradient",
                why: "those after it would observe a gradient that it has not made",
            });
        }
    }
    apply_all(links, prepared, *step)?;
    if links.is_empty() { Ok(()) } else { check_finite(PREPARED, &prepared.view()) }
}

/// The gradient as its stages made it.
const PREPARED: &str = "gradient after its stages";
