//! The methods that train the two-layer linear network, as data.

use layerwise_optim::methods::OutputFactor;
use layerwise_optim::{Averaging, Kfac, Refresh, Signals};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::experiment::figure_method;
use crate::linear::{Algorithm, Amgd, LayerWise, NaturalGradient};
use crate::model::OptimizerSpec;

/// A method on the two-layer linear network, with its hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinearMethod {
    /// One optimizer on both layers, which step from the same point.
    Optimizer(OptimizerSpec),
    /// An optimizer for each layer.
    Layers(Layers),
    /// Alternating minimization and gradient descent.
    Amgd(AmgdSpec),
    /// Natural gradient with the full Gauss-Newton matrix.
    GaussNewton(NaturalGradientSpec),
    /// Natural gradient with the full empirical Fisher matrix.
    EmpiricalFisher(NaturalGradientSpec),
}

/// See [`LinearMethod::Layers`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// Of the representation G, which is shown its gradient and both factors.
    pub representation: OptimizerSpec,
    /// Of the head F, which is shown its gradient and its input factor `Ê[zzᵀ]`.
    pub head: OptimizerSpec,
    /// Whether the head steps at the representation's new value, as in update (1) of arXiv 2502.01763.
    #[serde(default)]
    pub sequential: bool,
}

/// See [`Amgd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmgdSpec {
    /// η > 0.
    pub learning_rate: f64,
    /// Whether the network is trained, and evaluated, behind batch-norm on its inputs.
    #[serde(default)]
    pub batch_norm: bool,
}

/// See [`NaturalGradient`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NaturalGradientSpec {
    /// η > 0.
    pub learning_rate: f64,
    /// λ > 0.
    pub damping: f64,
}

impl LinearMethod {
    /// A method as the figures run it, by the name that it has there, at a rate and, where it is varied,
    /// a damping.
    ///
    /// # Errors
    /// [`crate::ExperimentError::MissingResults`] where no figure has it.
    pub fn of_figures(name: &str, rate: f64, damping: Option<f64>) -> Result<Self> {
        let figure = match name {
            "AMGD+BN" => "figure2",
            "NGD (empirical Fisher)" => "figure6",
            _ => "figure1",
        };
        let damped = if name == "KFAC" { "representation.damping" } else { "damping" };
        let mut set = vec![("learning_rate", rate)];
        set.extend(damping.map(|damping| (damped, damping)));
        Ok(serde_json::from_value(figure_method(figure, name, &set)?)?)
    }

    /// True where the network is trained, and evaluated, behind batch-norm on its inputs.
    #[must_use]
    pub fn normalizes_inputs(&self) -> bool {
        matches!(self, Self::Amgd(AmgdSpec { batch_norm: true, .. }))
    }

    /// Sets the method up for networks of shape `(d_Y, k, d_X)` and batches of `samples`.
    ///
    /// # Errors
    /// Where a rate or damping is outside its range, or an optimizer needs a signal that its layer does
    /// not give.
    pub fn algorithm(
        &self,
        shape: (usize, usize, usize),
        samples: usize,
    ) -> Result<Box<dyn Algorithm>> {
        Ok(match self {
            Self::Optimizer(optimizer) => Box::new(LayerWise::joint(optimizer, shape)?),
            Self::Layers(Layers { representation, head, sequential: false }) => {
                Box::new(LayerWise::of_layers(representation, head, shape)?)
            }
            Self::Layers(Layers { representation, head, sequential: true }) => {
                Box::new(LayerWise::sequential(representation, head, shape)?)
            }
            &Self::Amgd(AmgdSpec { learning_rate, batch_norm }) => {
                Box::new(Amgd::new(learning_rate, batch_norm, shape))
            }
            &Self::GaussNewton(NaturalGradientSpec { learning_rate, damping }) => {
                Box::new(NaturalGradient::gauss_newton(learning_rate, damping, shape)?)
            }
            &Self::EmpiricalFisher(NaturalGradientSpec { learning_rate, damping }) => {
                Box::new(NaturalGradient::empirical_fisher(learning_rate, damping, samples, shape)?)
            }
        })
    }
}

/// `G₊ = G − η (FᵀF + λI)⁻¹ ∇_G L̂ (Σ̂ + λI)⁻¹`.
#[must_use]
pub fn representation_kfac(rate: f64, damping: f64) -> Kfac {
    Kfac {
        learning_rate: rate.into(),
        output: OutputFactor::Signal,
        damping: damping.into(),
        averaging: Averaging::None,
        refresh: Refresh::every(1),
        ..Kfac::stylised()
    }
}

/// `F₊ = F − η ∇_F L̂ Ê[zzᵀ]⁻¹`.
#[must_use]
pub fn head_kfac(rate: f64) -> Kfac {
    Kfac {
        learning_rate: rate.into(),
        output: OutputFactor::Identity,
        damping: 0.0.into(),
        averaging: Averaging::None,
        refresh: Refresh::every(1),
        ..Kfac::stylised()
    }
}

/// What the representation's layer reports: its gradient and both factors.
pub(crate) const REPRESENTATION_SIGNALS: Signals = Signals::ALL;
/// What the head reports: its gradient and its input factor; its output factor is I.
pub(crate) const HEAD_SIGNALS: Signals = Signals::INPUT;
