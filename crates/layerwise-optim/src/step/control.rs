//! What a caller decides about a single step.

use crate::error::{OptimError, Result};
use crate::schedule::check_number;
use crate::values::LARGEST_COUNT;

/// What a caller decides about a single step, beside the schedules of the method: fine-tuning, a rate
/// that falls when the loss no longer does, a scheduler of one's own.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Control, Method, OptimError, Sgd};
///
/// let mut sgd = Sgd { learning_rate: 0.5.into(), ..Sgd::default() }.build::<f64>((1, 2))?;
/// let (mut weight, gradient) = (array![[1.0, 1.0]], array![[1.0, -2.0]]);
/// let half = Control::default().with_rate_factor(0.5);
/// let report = sgd.step_with(&half, &mut weight.view_mut(), &gradient.view().into())?;
/// assert_eq!(report.learning_rate, 0.25);
/// assert_eq!(weight, array![[0.75, 1.5]]);
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Control {
    /// The step of the run, counted from 0, at which schedules are evaluated, at most `u64::MAX / 2`;
    /// `None` for the one after the last call of a set, or for as many as a lone optimizer has taken.
    pub step: Option<u64>,
    /// What the learning rate of this step is multiplied by, finite and ≥ 0: also where it multiplies
    /// a decoupled weight decay.
    pub rate_factor: f64,
    /// What the gradient is multiplied by: a set's clipping.
    pub(crate) gradient_factor: f64,
}

impl Default for Control {
    /// A rate factor of 1, at the next step.
    fn default() -> Self {
        Control { step: None, rate_factor: 1.0, gradient_factor: 1.0 }
    }
}

impl Control {
    /// The same at this step of the run, counted from 0.
    #[must_use]
    pub fn at(self, step: u64) -> Self {
        Control { step: Some(step), ..self }
    }

    /// The same with this rate factor.
    #[must_use]
    pub fn with_rate_factor(self, rate_factor: f64) -> Self {
        Control { rate_factor, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(step) = self.step.filter(|&step| step > LARGEST_COUNT) {
            return Err(OptimError::InvalidHyperparameter {
                name: "step",
                value: step as f64,
                allowed: "at most u64::MAX / 2",
            });
        }
        check_number("rate_factor", self.rate_factor, "finite and ≥ 0", |x| x >= 0.0)
    }
}
