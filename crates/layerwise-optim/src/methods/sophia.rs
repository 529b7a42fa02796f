//! Sophia.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::clipping::Clipping;
use crate::config::curvature_diagonal::CurvatureDiagonalConfig;
use crate::config::growth::NonExhaustive;
use crate::config::momentum::{Filter, Momentum};
use crate::config::shape_scale::ShapeScale;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Sophia (Liu et al. 2023): `D = clip(m / max(γ h, ε), 1)` entry by entry, with an average `h` of what the
/// layer reports of the diagonal of its loss's second derivative, every ten steps or so
/// ([`Signal::with_diagonal`](crate::Signal::with_diagonal), which says what Sophia-G's is). Before the first report
/// every entry is cut: steps are signs.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Method, Signal, Sophia};
///
/// let mut weight = array![[1.0_f64, 2.0]];
/// let method = Sophia { learning_rate: 0.1.into(), beta1: 0.0.into(), ..Sophia::default() };
/// let method = Sophia { gamma: 1.0, beta2: 0.0.into(), weight_decay: 0.0.into(), ..method };
/// let mut optimizer = method.build(weight.dim())?;
/// let (gradient, curvature) = (array![[0.25, -4.0]], array![[0.5, 2.0]]);
/// let signal = Signal::new(gradient.view()).with_diagonal(curvature.view());
/// optimizer.step(&mut weight.view_mut(), &signal)?;
/// // Newton's step of −½ in the first coordinate; that of 2 in the second is cut to 1.
/// assert!((weight - array![[0.95, 2.1]]).iter().all(|x| x.abs() < 1e-12));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sophia {
    /// `η` ≥ 0.
    pub learning_rate: Schedule,
    /// `β₁` in [0, 1), of the average of gradients.
    pub beta1: Schedule,
    /// `β₂` in [0, 1), of the average of curvatures, per report.
    pub beta2: Schedule,
    /// `γ` > 0: more of the entries are cut, the smaller it is.
    pub gamma: f64,
    /// `ε` > 0.
    pub epsilon: f64,
    /// `λ` ≥ 0, decoupled.
    pub weight_decay: Schedule,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Sophia {
    /// The paper's for Sophia-G: β = (0.96, 0.99), γ = 0.05, ε = 10⁻¹², λ = 0.2; `η` = 6·10⁻⁴, that for its
    /// smallest model.
    fn default() -> Self {
        Sophia {
            learning_rate: 6e-4.into(),
            beta1: 0.96.into(),
            beta2: 0.99.into(),
            gamma: 0.05,
            epsilon: 1e-12,
            weight_decay: 0.2.into(),
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Sophia {
    fn chain(&self) -> Chain {
        // clip(m / max(γ h, ε), 1) = clip(m / max(h, ε/γ), γ) / γ
        Chain::new(self.learning_rate.clone())
            .then(Momentum::Ema {
                beta: self.beta1.clone(),
                bias_correction: false,
                filter: Filter::Average,
            })
            .then(CurvatureDiagonalConfig {
                averaging: Averaging::Ema { beta: self.beta2.clone(), bias_correction: false },
                floor: (self.epsilon / self.gamma).into(),
                ..CurvatureDiagonalConfig::default()
            })
            .then(Clipping::Value(self.gamma.into()))
            .then(ShapeScale::Number(1.0 / self.gamma))
            .with_weight_decay(&WeightDecay::Decoupled(self.weight_decay.clone()))
    }
}
