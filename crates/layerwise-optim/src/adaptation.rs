//! Damping adapted to how well the quadratic model predicts the loss.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::persist::persist;
use crate::schedule::check_number;

/// The rule of Levenberg and Marquardt (Martens and Grosse 2015, §6.5): all dampings of a
/// preconditioner are multiplied by a factor, 1 at first, which
/// [`Optimizer::report_reduction`](crate::Optimizer::report_reduction) multiplies by `ω` where the
/// loss fell by more than ¾ of what the model predicted, and divides by `ω` where by less than ¼.
///
/// ```
/// use layerwise_optim::{Kfac, LevenbergMarquardt, Method, OptimError};
///
/// let adaptation = LevenbergMarquardt { decrease: 0.5, ..LevenbergMarquardt::default() };
/// let kfac = Kfac { damping_adaptation: Some(adaptation), ..Kfac::default() };
/// let mut optimizer = kfac.build::<f64>((3, 4))?;
/// // The actual reduction of the loss over a step, divided by the predicted one:
/// assert_eq!(optimizer.report_reduction(0.9)?, 0.5);
/// assert_eq!(optimizer.report_reduction(0.5)?, 0.5);
/// assert_eq!(optimizer.report_reduction(-1.0)?, 1.0);
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevenbergMarquardt {
    /// `ω` in (0, 1).
    pub decrease: f64,
    /// The smallest factor, in (0, 1].
    pub smallest: f64,
    /// The largest factor, ≥ 1.
    pub largest: f64,
}

impl Default for LevenbergMarquardt {
    /// `ω` = (19/20)⁵, for a report every five steps as in Martens and Grosse; factors from 10⁻⁸
    /// to 10⁸ (our choice).
    fn default() -> Self {
        LevenbergMarquardt { decrease: (19.0_f64 / 20.0).powi(5), smallest: 1e-8, largest: 1e8 }
    }
}

impl LevenbergMarquardt {
    pub(crate) fn check(&self) -> Result<()> {
        let name = "damping_adaptation.decrease";
        check_number(name, self.decrease, "in (0, 1)", |x| x > 0.0 && x < 1.0)?;
        let name = "damping_adaptation.smallest";
        check_number(name, self.smallest, "in (0, 1]", |x| x > 0.0 && x <= 1.0)?;
        let name = "damping_adaptation.largest";
        check_number(name, self.largest, "finite and ≥ 1", |x| x >= 1.0)
    }
}

/// The factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DampingFactor {
    config: LevenbergMarquardt,
    factor: f64,
}

persist!(DampingFactor { factor });

impl DampingFactor {
    pub(crate) fn new(config: LevenbergMarquardt) -> Self {
        DampingFactor { config, factor: 1.0 }
    }

    pub(crate) fn factor(&self) -> f64 {
        self.factor
    }

    pub(crate) fn report(&mut self, ratio: f64) {
        let factor = if ratio > 0.75 {
            self.factor * self.config.decrease
        } else if ratio < 0.25 {
            self.factor / self.config.decrease
        } else {
            self.factor
        };
        self.factor = factor.clamp(self.config.smallest, self.config.largest);
    }
}
