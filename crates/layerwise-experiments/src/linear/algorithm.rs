//! Algorithms on the whole network: what couples its layers or refits its head.

use layerwise_linalg::RowOrthonormalizer;
use layerwise_models::{
    EmpiricalFisher, GaussNewton, LeastSquaresHead, LinearPass, TwoLayerLinear,
};
use layerwise_optim::{Factor, Method, Optimizer, Signal};

use crate::linear::method::{HEAD_SIGNALS, REPRESENTATION_SIGNALS};
use crate::linear::{Needs, StepData};
use crate::{ExperimentError, Result};

/// One way to train the two-layer linear network.
pub trait Algorithm: Send {
    /// Takes one step on a batch.
    ///
    /// # Errors
    /// Where the batch does not offer what [`needs`](Self::needs) asked for, or the iterate has
    /// become such that the step is undefined.
    fn step(&mut self, net: &mut TwoLayerLinear, data: &StepData) -> Result<()>;

    /// What it needs of a batch beyond the moments.
    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// Where the head's gradient and factors are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Both layers step from the same point.
    Joint,
    /// The head steps at the representation's new value, as in update (1) of arXiv 2502.01763.
    Sequential,
}

/// A public optimizer on each layer. Both are shown the gradient and the layer's Kronecker
/// factors, which they may use or not: `FᵀF` and `Σ̂` for the representation, `I` (absent) and
/// `Ê[zzᵀ]` for the head.
pub struct LayerWise {
    representation: Optimizer<f64>,
    head: Optimizer<f64>,
    order: Order,
    pass: LinearPass,
}

impl LayerWise {
    /// The same method on both layers, which step from the same point.
    ///
    /// # Errors
    /// Where a hyperparameter is invalid, or the method needs a signal that a layer does not give.
    pub fn joint(method: &dyn Method, shape: (usize, usize, usize)) -> Result<Self> {
        Self::new(method, method, Order::Joint, shape)
    }

    /// A method for each layer, which step from the same point.
    ///
    /// # Errors
    /// As [`joint`](Self::joint).
    pub fn of_layers(
        representation: &dyn Method,
        head: &dyn Method,
        shape: (usize, usize, usize),
    ) -> Result<Self> {
        Self::new(representation, head, Order::Joint, shape)
    }

    /// A method for each layer; the head steps at the representation's new value.
    ///
    /// # Errors
    /// As [`joint`](Self::joint).
    pub fn sequential(
        representation: &dyn Method,
        head: &dyn Method,
        shape: (usize, usize, usize),
    ) -> Result<Self> {
        Self::new(representation, head, Order::Sequential, shape)
    }

    fn new(
        representation: &dyn Method,
        head: &dyn Method,
        order: Order,
        shape: (usize, usize, usize),
    ) -> Result<Self> {
        let (outputs, k, inputs) = shape;
        let g = representation.chain().build_for((k, inputs), REPRESENTATION_SIGNALS)?;
        let f = head.chain().build_for((outputs, k), HEAD_SIGNALS)?;
        Ok(Self { representation: g, head: f, order, pass: LinearPass::with_shape(shape) })
    }
}

impl Algorithm for LayerWise {
    fn step(&mut self, net: &mut TwoLayerLinear, data: &StepData) -> Result<()> {
        let moments = data.moments();
        match self.order {
            Order::Joint => self.pass.joint(net, moments)?,
            Order::Sequential => self.pass.representation(net, moments)?,
        }
        let signal = Signal::new(self.pass.representation_gradient())
            .with_input(Factor::SecondMoment(moments.xx()))
            .with_output(Factor::SecondMoment(self.pass.head_gram()));
        self.representation.step(&mut net.representation_mut(), &signal)?;
        if self.order == Order::Sequential {
            self.pass.head(net, moments)?;
        }
        let signal = Signal::new(self.pass.head_gradient())
            .with_input(Factor::SecondMoment(self.pass.features()));
        self.head.step(&mut net.head_mut(), &signal)?;
        Ok(())
    }
}

/// Alternating minimization and gradient descent: `F ← F_ls(G)`,
/// `G ← orth(G − η ∇_G L̂(F, G))`, `F ← F_ls(G)`; optionally on batch-normalized inputs.
pub struct Amgd {
    rate: f64,
    batch_norm: bool,
    pass: LinearPass,
    least_squares: LeastSquaresHead,
    orthonormalizer: RowOrthonormalizer<f64>,
}

impl Amgd {
    /// With rate η, for networks of shape `(d_Y, k, d_X)`.
    #[must_use]
    pub fn new(rate: f64, batch_norm: bool, shape: (usize, usize, usize)) -> Self {
        let (outputs, k, inputs) = shape;
        Self {
            rate,
            batch_norm,
            pass: LinearPass::with_shape(shape),
            least_squares: LeastSquaresHead::with_shape(outputs, k),
            orthonormalizer: RowOrthonormalizer::with_shape(k, inputs),
        }
    }
}

impl Algorithm for Amgd {
    fn step(&mut self, net: &mut TwoLayerLinear, data: &StepData) -> Result<()> {
        let moments = if self.batch_norm { data.normalized()? } else { data.moments() };
        self.pass.head(net, moments)?;
        self.least_squares.fit(net, &self.pass)?;
        self.pass.representation(net, moments)?;
        net.representation_mut().scaled_add(-self.rate, &self.pass.representation_gradient());
        self.orthonormalizer.orthonormalize(&mut net.representation_mut())?;
        self.pass.head(net, moments)?;
        self.least_squares.fit(net, &self.pass)?;
        Ok(())
    }

    fn needs(&self) -> Needs {
        Needs { normalized: self.batch_norm, ..Needs::default() }
    }
}

/// Natural gradient on all parameters at once: `θ ← θ − η (H + λI)⁻¹ ∇L̂(θ)`.
pub struct NaturalGradient {
    rate: f64,
    pass: LinearPass,
    curvature: Curvature,
}

enum Curvature {
    GaussNewton(Box<GaussNewton>),
    EmpiricalFisher(Box<EmpiricalFisher>),
}

impl NaturalGradient {
    /// With H the Gauss-Newton matrix, rate η, damping λ > 0.
    ///
    /// # Errors
    /// Where λ is not positive and finite.
    pub fn gauss_newton(rate: f64, damping: f64, shape: (usize, usize, usize)) -> Result<Self> {
        let curvature = Curvature::GaussNewton(Box::new(GaussNewton::new(shape, damping)?));
        Ok(Self { rate, pass: LinearPass::with_shape(shape), curvature })
    }

    /// With H the empirical Fisher matrix of batches of `samples`, rate η, damping λ > 0.
    ///
    /// # Errors
    /// Where λ is not positive and finite.
    pub fn empirical_fisher(
        rate: f64,
        damping: f64,
        samples: usize,
        shape: (usize, usize, usize),
    ) -> Result<Self> {
        let solver = EmpiricalFisher::new(shape, samples, damping)?;
        let curvature = Curvature::EmpiricalFisher(Box::new(solver));
        Ok(Self { rate, pass: LinearPass::with_shape(shape), curvature })
    }
}

impl Algorithm for NaturalGradient {
    fn step(&mut self, net: &mut TwoLayerLinear, data: &StepData) -> Result<()> {
        let (representation, head) = match &mut self.curvature {
            Curvature::GaussNewton(solver) => {
                let spectrum = data.spectrum().ok_or(ExperimentError::MissingData {
                    what: "the eigendecomposition of its second moment",
                    method: "NGD (Gauss-Newton)",
                })?;
                self.pass.joint(net, data.moments())?;
                solver.solve(net, &self.pass, spectrum)?;
                solver.direction()
            }
            Curvature::EmpiricalFisher(solver) => {
                let batch = data.batch().ok_or(ExperimentError::MissingData {
                    what: "samples",
                    method: "NGD (empirical Fisher)",
                })?;
                let workspace = &mut batch.workspace();
                solver.solve(net, batch.samples(), batch.input_gram(), workspace)?;
                solver.direction()
            }
        };
        net.representation_mut().scaled_add(-self.rate, &representation);
        net.head_mut().scaled_add(-self.rate, &head);
        Ok(())
    }

    fn needs(&self) -> Needs {
        match self.curvature {
            Curvature::GaussNewton(_) => Needs { spectrum: true, ..Needs::default() },
            Curvature::EmpiricalFisher(_) => Needs { samples: true, ..Needs::default() },
        }
    }
}
