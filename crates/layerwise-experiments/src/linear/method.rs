//! The methods that figures compare, with their fixed hyperparameters.

use layerwise_optim::chain::{PolarConfig, PolarMethod, ShapeScale};
use layerwise_optim::methods::OutputFactor;
use layerwise_optim::parity::PolarDivisor;
use layerwise_optim::{
    Adam, Averaging, Damping, Kfac, Method, Muon, Refresh, Sgd, Shampoo, Signals, Soap,
};

use crate::Result;
use crate::linear::{Algorithm, Amgd, LayerWise, NaturalGradient};

/// A method on the two-layer linear network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinearMethod {
    /// Stochastic gradient descent on (F, G) jointly.
    Sgd,
    /// The same with momentum 0.9.
    Momentum,
    /// Adam, β = (0.9, 0.999), ε = 10⁻⁸.
    Adam,
    /// Alternating minimization and gradient descent.
    Amgd,
    /// AMGD on batch-normalized inputs.
    AmgdBatchNorm,
    /// Natural gradient with the full Gauss-Newton matrix.
    GaussNewton,
    /// Natural gradient with the full empirical Fisher matrix.
    EmpiricalFisher,
    /// Shampoo, EMA 0.95 bias-corrected, exponents ¼, ridge 10⁻⁸ λ_max, refreshed each step.
    Shampoo,
    /// SOAP, β = (0.95, 0.95), factor EMA 0.95, ε = 10⁻⁸, refreshed every 10 steps.
    Soap,
    /// Muon, momentum 0.95, Nesterov, 5 Newton-Schulz steps.
    Muon,
    /// Update (1) of arXiv 2502.01763 with η_F = η_G = η.
    Kfac,
}

/// The ridge on both of KFAC's factors where a figure does not vary it, chosen here.
const KFAC_DAMPING: f64 = 1e-6;

impl LinearMethod {
    /// The name in legends, tables and claims.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "SGD",
            Self::Momentum => "momentum",
            Self::Adam => "Adam",
            Self::Amgd => "AMGD",
            Self::AmgdBatchNorm => "AMGD+BN",
            Self::GaussNewton => "NGD (Gauss-Newton)",
            Self::EmpiricalFisher => "NGD (empirical Fisher)",
            Self::Shampoo => "Shampoo",
            Self::Soap => "SOAP",
            Self::Muon => "Muon",
            Self::Kfac => "KFAC",
        }
    }

    /// True where the network is trained, and evaluated, behind batch-norm on its inputs.
    #[must_use]
    pub fn normalizes_inputs(self) -> bool {
        self == Self::AmgdBatchNorm
    }
}

/// One method at one rate and, where the figure varies it, one damping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// The method.
    pub method: LinearMethod,
    /// Learning rate η > 0, the same for both layers.
    pub rate: f64,
    /// Damping λ > 0 of a natural gradient, or of both factors of KFAC.
    pub damping: Option<f64>,
}

impl Cell {
    /// Sets the method up for networks of shape `(d_Y, k, d_X)` and batches of `samples`.
    ///
    /// # Errors
    /// Where a rate or damping is outside its range.
    pub fn algorithm(
        &self,
        shape: (usize, usize, usize),
        samples: usize,
    ) -> Result<Box<dyn Algorithm>> {
        let Self { method, rate, damping } = *self;
        let damping = damping.unwrap_or(KFAC_DAMPING);
        let learning_rate = rate.into();
        let layer_wise = |method: &dyn Method| LayerWise::joint(method, shape);
        Ok(match method {
            LinearMethod::Sgd => Box::new(layer_wise(&Sgd { learning_rate, ..Sgd::default() })?),
            LinearMethod::Momentum => {
                let momentum = 0.9.into();
                Box::new(layer_wise(&Sgd { learning_rate, momentum, ..Sgd::default() })?)
            }
            LinearMethod::Adam => Box::new(layer_wise(&adam(rate))?),
            LinearMethod::Shampoo => Box::new(layer_wise(&shampoo(rate))?),
            LinearMethod::Soap => Box::new(layer_wise(&soap(rate))?),
            LinearMethod::Muon => Box::new(layer_wise(&muon(rate))?),
            LinearMethod::Kfac => {
                let representation = representation_kfac(rate, damping);
                Box::new(LayerWise::sequential(&representation, &head_kfac(rate), shape)?)
            }
            LinearMethod::Amgd | LinearMethod::AmgdBatchNorm => {
                Box::new(Amgd::new(rate, method.normalizes_inputs(), shape))
            }
            LinearMethod::GaussNewton => {
                Box::new(NaturalGradient::gauss_newton(rate, damping, shape)?)
            }
            LinearMethod::EmpiricalFisher => {
                Box::new(NaturalGradient::empirical_fisher(rate, damping, samples, shape)?)
            }
        })
    }
}

// Hyperparameters are spelled out even where they are the defaults: figures do not change when a
// default does.

fn adam(rate: f64) -> Adam {
    Adam {
        learning_rate: rate.into(),
        beta1: 0.9.into(),
        beta2: 0.999.into(),
        epsilon: 1e-8.into(),
        ..Adam::default()
    }
}

fn shampoo(rate: f64) -> Shampoo {
    Shampoo {
        learning_rate: rate.into(),
        averaging: Averaging::Ema { beta: 0.95.into(), bias_correction: true },
        exponent: 0.25.into(),
        damping: Damping::RelativeToLargest(1e-8.into()),
        refresh: Refresh::every(1),
        grafting: None,
        ..Shampoo::stylised()
    }
}

fn soap(rate: f64) -> Soap {
    Soap {
        learning_rate: rate.into(),
        beta1: 0.95.into(),
        beta2: 0.95.into(),
        factor_beta: 0.95.into(),
        epsilon: 1e-8.into(),
        refresh: Refresh::every(10),
        ..Soap::default()
    }
}

fn muon(rate: f64) -> Muon {
    Muon {
        learning_rate: rate.into(),
        momentum: 0.95.into(),
        nesterov: true,
        polar: PolarConfig {
            method: PolarMethod::NewtonSchulz {
                polynomials: vec![[3.4445, -4.7750, 2.0315]],
                steps: 5,
                divisor: PolarDivisor::Plus(1e-7),
            },
            scale: ShapeScale::Tall,
            ..PolarConfig::default()
        },
        ..Muon::default()
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
