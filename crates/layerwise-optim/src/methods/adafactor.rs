//! Adafactor.

use serde::{Deserialize, Serialize};

use crate::config::averaging::Averaging;
use crate::config::chain::Chain;
use crate::config::clipping::Clipping;
use crate::config::diagonal::{DiagonalConfig, MomentSharing};
use crate::config::growth::NonExhaustive;
use crate::config::momentum::Momentum;
use crate::config::stage::StageConfig;
use crate::config::weight_decay::WeightDecay;
use crate::schedule::Schedule;
use crate::step::method::Method;

/// Adafactor (Shazeer and Stern 2018): division by the root of a second moment that is held as a row and a
/// column, bounded by its root mean square, times that of the weight.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{Adafactor, Method, Signal};
///
/// let mut weight = array![[1.0_f64, 2.0, 3.0], [4.0, 5.0, 6.0]];
/// let mut optimizer = Adafactor::default().build(weight.dim())?;
/// // Squares that are a product of a row and a column are held exactly: each entry moves by its sign.
/// let gradient = array![[1.0, -2.0, 3.0], [2.0, 4.0, -6.0]];
/// let before = weight.clone();
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// let size = (before.iter().map(|w| w * w).sum::<f64>() / 6.0).sqrt();
/// let expected = before - 0.01 * size * gradient.mapv(f64::signum);
/// assert!((weight - expected).iter().all(|x| x.abs() < 1e-12));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adafactor {
    /// `ρ` ≥ 0: the step relative to the weight.
    pub learning_rate: Schedule,
    /// `β₂` in [0, 1), not corrected.
    pub beta2: Schedule,
    /// `ε` ≥ 0, beside the root: of the paper's `ε₁` in the squares, which keep an entry of zeros from dividing
    /// by nothing, the root.
    pub epsilon: Schedule,
    /// `d` > 0, the most that the root mean square of the direction's entries may be.
    pub largest_size: Schedule,
    /// `ε₂` ≥ 0, for which a smaller root mean square of the weight's entries counts; `None` for steps that do
    /// not depend on the weight.
    pub least_weight: Option<Schedule>,
    /// Momentum of the directions.
    pub momentum: Option<Momentum>,
    /// How the weight shrinks.
    pub weight_decay: WeightDecay,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Adafactor {
    /// The paper's: `ρ = min(10⁻², 1/√t)`, `β₂ = 1 − t^(−0.8)` with steps counted from 1, ε₁ = 10⁻³⁰, d = 1, ε₂ = 10⁻³; no
    /// momentum, no decay.
    fn default() -> Self {
        Adafactor {
            learning_rate: Schedule::inverse_root(0.01, 1.0),
            beta2: Schedule::growing_memory(0.8),
            epsilon: 1e-15.into(),
            largest_size: 1.0.into(),
            least_weight: Some(1e-3.into()),
            momentum: None,
            weight_decay: WeightDecay::None,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

impl Method for Adafactor {
    fn chain(&self) -> Chain {
        Chain::new(self.learning_rate.clone())
            .then(DiagonalConfig {
                averaging: Averaging::Ema { beta: self.beta2.clone(), bias_correction: false },
                epsilon: self.epsilon.clone(),
                sharing: MomentSharing::RowsTimesColumns,
                ..DiagonalConfig::default()
            })
            .then(Clipping::RootMeanSquare(self.largest_size.clone()))
            .then_maybe(self.least_weight.clone().map(StageConfig::RelativeToWeight))
            .then_maybe(self.momentum.clone())
            .with_weight_decay(&self.weight_decay)
    }
}
