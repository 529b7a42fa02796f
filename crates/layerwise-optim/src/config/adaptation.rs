//! Damping adapted to how well the quadratic model predicts the loss, as data.

use serde::{Deserialize, Serialize};

use crate::config::growth::NonExhaustive;
use crate::error::Result;
use crate::schedule::check_number;

/// The rule of Levenberg and Marquardt (Martens and Grosse 2015, §6.5): all dampings of a
/// chain are multiplied by a factor, 1 at first, which
/// [`Optimizer::report_reduction`](crate::Optimizer::report_reduction) multiplies by `ω` where the
/// loss fell by more than ¾ of what the model predicted, and divides by `ω` where by less than ¼. The next
/// step is damped so already: roots are computed anew for it, whether a refresh is due or not.
///
/// What the model predicted is in the report of each step
/// ([`StepReport::model`](crate::StepReport::model)), where the factors are the layer's. For a set, the
/// predictions of its parameters are summed:
///
/// ```
/// use layerwise_optim::ndarray::{Array2, array};
/// use layerwise_optim::chain::LevenbergMarquardt;
/// use layerwise_optim::methods::OutputFactor;
/// use layerwise_optim::{
///     Factor, Group, Kfac, OptimError, OptimizerSet, Selector, Signal, Signals, Update,
/// };
///
/// // Least squares, ½ Ê‖W x − y‖²: the model is exact, so that it is trusted more at each step.
/// let inputs = array![[1.0_f64, 0.5], [-1.0, 2.0], [0.0, 1.0], [2.0, -0.5]];
/// let targets = array![[1.0, 0.0], [0.5, -1.0], [2.0, 1.0], [0.0, 0.3]];
/// let errors = |weight: &Array2<f64>| inputs.dot(&weight.t()) - &targets;
/// let loss = |weight: &Array2<f64>| errors(weight).iter().map(|e| e * e).sum::<f64>() / 8.0;
///
/// let method = Kfac {
///     learning_rate: 1.0.into(),
///     output: OutputFactor::Identity,
///     damping: 1.0.into(),
///     damping_adaptation: Some(LevenbergMarquardt { decrease: 0.5, ..Default::default() }),
///     ..Kfac::stylised()
/// };
/// let mut set = OptimizerSet::new(vec![Group::new(Selector::All, &method)]);
/// set.register("weight", (2, 2), Signals::INPUT)?;
/// let mut weight = Array2::zeros((2, 2));
/// for _ in 0..4 {
///     let before = loss(&weight);
///     let gradient = errors(&weight).t().dot(&inputs) / 4.0;
///     let signal = Signal::new(gradient.view()).with_input(Factor::Samples(inputs.view()));
///     set.step(&mut [Update::new("weight", weight.view_mut(), signal)])?;
///
///     let models = set.reports().filter_map(|(_, report)| report.model);
///     let predicted: f64 = models.map(|model| model.reduction()).sum();
///     let ratio = (before - loss(&weight)) / predicted;
///     assert!((ratio - 1.0).abs() < 1e-6);
///     set.report_reduction(ratio)?;
/// }
/// // The factor is 0.5⁴ by now; one more good report halves it again.
/// assert_eq!(set.optimizer_mut("weight").map(|kfac| kfac.report_reduction(1.0)), Some(Ok(0.03125)));
/// # Ok::<(), OptimError>(())
/// ```
///
/// One optimizer alone:
///
/// ```
/// use layerwise_optim::chain::LevenbergMarquardt;
/// use layerwise_optim::{Kfac, Method, OptimError};
///
/// let adaptation = LevenbergMarquardt { decrease: 0.5, ..LevenbergMarquardt::default() };
/// let kfac = Kfac { damping_adaptation: Some(adaptation), ..Kfac::stylised() };
/// let mut optimizer = kfac.build::<f64>((3, 4))?;
/// // The actual reduction of the loss over a step, divided by the predicted one:
/// assert_eq!(optimizer.report_reduction(0.9)?, 0.5);
/// assert_eq!(optimizer.report_reduction(0.5)?, 0.5);
/// assert_eq!(optimizer.report_reduction(-1.0)?, 1.0);
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LevenbergMarquardt {
    /// `ω` in (0, 1).
    pub decrease: f64,
    /// The smallest factor, in (0, 1].
    pub smallest: f64,
    /// The largest factor, ≥ 1.
    pub largest: f64,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for LevenbergMarquardt {
    /// `ω` = (19/20)⁵, for a report every five steps as in Martens and Grosse; factors from 10⁻⁸
    /// to 10⁸ (our choice).
    fn default() -> Self {
        LevenbergMarquardt {
            decrease: (19.0_f64 / 20.0).powi(5),
            smallest: 1e-8,
            largest: 1e8,
            non_exhaustive: NonExhaustive::default(),
        }
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
