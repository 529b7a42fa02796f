//! The two-layer linear network `f(x) = F G x` and its gradients from moments.

use layerwise_data::Moments;
use layerwise_linalg::{Cholesky, gemm, gram, symmetrize};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::Result;
use crate::error::check_shape;

/// The network `f(x) = F G x` with head `F` (d_Y × k) and representation `G` (k × d_X).
#[derive(Debug, Clone, PartialEq)]
pub struct TwoLayerLinear {
    head: Array2<f64>,
    representation: Array2<f64>,
}

impl TwoLayerLinear {
    /// A network with the given layers.
    ///
    /// # Errors
    /// [`crate::ModelError::Shape`] where the head's columns are not the representation's rows, or a
    /// dimension is zero.
    pub fn new(head: Array2<f64>, representation: Array2<f64>) -> Result<Self> {
        let k = representation.nrows();
        check_shape("head", (head.nrows(), k), head.dim())?;
        for (what, m) in [("head", &head), ("representation", &representation)] {
            check_shape(what, (m.nrows().max(1), m.ncols().max(1)), m.dim())?;
        }
        Ok(Self {
            head: head.as_standard_layout().into_owned(),
            representation: representation.as_standard_layout().into_owned(),
        })
    }

    /// `(d_Y, k, d_X)`.
    #[must_use]
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.head.nrows(), self.head.ncols(), self.representation.ncols())
    }

    /// The head F, d_Y × k.
    #[must_use]
    pub fn head(&self) -> ArrayView2<'_, f64> {
        self.head.view()
    }

    /// The representation G, k × d_X.
    #[must_use]
    pub fn representation(&self) -> ArrayView2<'_, f64> {
        self.representation.view()
    }

    /// The head F, to be changed in place.
    pub fn head_mut(&mut self) -> ArrayViewMut2<'_, f64> {
        self.head.view_mut()
    }

    /// The representation G, to be changed in place.
    pub fn representation_mut(&mut self) -> ArrayViewMut2<'_, f64> {
        self.representation.view_mut()
    }

    /// The linear predictor `F G`, d_Y × d_X.
    ///
    /// # Errors
    /// None for a network that [`new`](Self::new) made.
    pub fn predictor(&self) -> Result<Array2<f64>> {
        let mut product = Array2::zeros((self.head.nrows(), self.representation.ncols()));
        gemm(1.0, self.head(), self.representation(), 0.0, &mut product.view_mut())?;
        Ok(product)
    }

    /// True while every weight is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.head.iter().chain(&self.representation).all(|w| w.is_finite())
    }
}

/// Gradients of `L̂ = ½ Ê‖y − F G x‖²` by layer, and the layers' Kronecker factors, from moments.
///
/// Holds the storage, so that repeated passes do not allocate. What is computed when is the
/// caller's choice: a joint step asks for both gradients at one point, the sequential step takes
/// the head's at the representation's new value.
#[derive(Debug, Clone)]
pub struct LinearPass {
    /// `G Σ̂`, k × d.
    features_inputs: Array2<f64>,
    /// `Ê[zzᵀ] = G Σ̂ Gᵀ`, k × k.
    features: Array2<f64>,
    /// `Ê[y zᵀ] = Ĉ Gᵀ`, d_Y × k.
    targets_features: Array2<f64>,
    /// `FᵀF`, k × k.
    head_gram: Array2<f64>,
    representation_gradient: Array2<f64>,
    head_gradient: Array2<f64>,
}

impl LinearPass {
    /// Storage for a network of shape `(d_Y, k, d_X)`.
    #[must_use]
    pub fn with_shape((outputs, k, inputs): (usize, usize, usize)) -> Self {
        Self {
            features_inputs: Array2::zeros((k, inputs)),
            features: Array2::zeros((k, k)),
            targets_features: Array2::zeros((outputs, k)),
            head_gram: Array2::zeros((k, k)),
            representation_gradient: Array2::zeros((k, inputs)),
            head_gradient: Array2::zeros((outputs, k)),
        }
    }

    /// Computes `∇_G L̂ = FᵀF G Σ̂ − Fᵀ Ĉ` and the output factor `FᵀF`.
    ///
    /// # Errors
    /// [`crate::ModelError::Shape`] or [`crate::ModelError::Linalg`] where network, moments and storage differ
    /// in shape.
    pub fn representation(&mut self, net: &TwoLayerLinear, moments: &Moments) -> Result<()> {
        gemm(1.0, net.representation(), moments.xx(), 0.0, &mut self.features_inputs.view_mut())?;
        gram(1.0, net.head().t(), 0.0, &mut self.head_gram.view_mut())?;
        let gradient = &mut self.representation_gradient.view_mut();
        gemm(1.0, self.head_gram.view(), self.features_inputs.view(), 0.0, gradient)?;
        gemm(-1.0, net.head().t(), moments.yx(), 1.0, gradient)?;
        Ok(())
    }

    /// Computes `∇_F L̂ = F G Σ̂ Gᵀ − Ĉ Gᵀ` and the input factor `Ê[zzᵀ]`, z = G x.
    ///
    /// # Errors
    /// As [`representation`](Self::representation).
    pub fn head(&mut self, net: &TwoLayerLinear, moments: &Moments) -> Result<()> {
        gemm(1.0, net.representation(), moments.xx(), 0.0, &mut self.features_inputs.view_mut())?;
        self.head_after_features(net, moments)
    }

    /// Both gradients at the same point.
    ///
    /// # Errors
    /// As [`representation`](Self::representation).
    pub fn joint(&mut self, net: &TwoLayerLinear, moments: &Moments) -> Result<()> {
        self.representation(net, moments)?;
        self.head_after_features(net, moments)
    }

    fn head_after_features(&mut self, net: &TwoLayerLinear, moments: &Moments) -> Result<()> {
        let g = net.representation();
        gemm(1.0, self.features_inputs.view(), g.t(), 0.0, &mut self.features.view_mut())?;
        // Rounding makes (GΣ̂)Gᵀ symmetric only to ε; solvers want it exactly.
        symmetrize(&mut self.features.view_mut());
        gemm(1.0, moments.yx(), g.t(), 0.0, &mut self.targets_features.view_mut())?;
        self.head_gradient.assign(&self.targets_features);
        gemm(1.0, net.head(), self.features.view(), -1.0, &mut self.head_gradient.view_mut())?;
        Ok(())
    }

    /// The loss at the point of the last [`head`](Self::head) or [`joint`](Self::joint) pass.
    #[must_use]
    pub fn loss(&self, net: &TwoLayerLinear, moments: &Moments) -> f64 {
        // ∇_F = F Ê[zzᵀ] − Ê[yzᵀ], so ⟨F, ∇_F − Ê[yzᵀ]⟩ = tr F Ê[zzᵀ] Fᵀ − 2 tr F Ê[zyᵀ].
        let inner: f64 = net
            .head
            .iter()
            .zip(&self.head_gradient)
            .zip(&self.targets_features)
            .map(|((f, gradient), target)| f * (gradient - target))
            .sum();
        0.5 * (inner + moments.yy_trace())
    }

    /// `∇_G L̂`, k × d_X.
    #[must_use]
    pub fn representation_gradient(&self) -> ArrayView2<'_, f64> {
        self.representation_gradient.view()
    }

    /// `∇_F L̂`, d_Y × k.
    #[must_use]
    pub fn head_gradient(&self) -> ArrayView2<'_, f64> {
        self.head_gradient.view()
    }

    /// `FᵀF`, the output factor of the representation's Gauss-Newton block, k × k.
    #[must_use]
    pub fn head_gram(&self) -> ArrayView2<'_, f64> {
        self.head_gram.view()
    }

    /// `Ê[zzᵀ]`, the input factor of the head's Gauss-Newton block, k × k.
    #[must_use]
    pub fn features(&self) -> ArrayView2<'_, f64> {
        self.features.view()
    }

    /// `G Σ̂`, k × d_X.
    #[must_use]
    pub fn features_inputs(&self) -> ArrayView2<'_, f64> {
        self.features_inputs.view()
    }

    /// `Ê[y zᵀ]`, d_Y × k.
    #[must_use]
    pub fn targets_features(&self) -> ArrayView2<'_, f64> {
        self.targets_features.view()
    }
}

/// The head of least squares on a batch, `F_ls(G) = Ĉ Gᵀ (G Σ̂ Gᵀ)⁻¹`.
#[derive(Debug, Clone)]
pub struct LeastSquaresHead {
    factor: Cholesky<f64>,
    solution: Array2<f64>,
}

impl LeastSquaresHead {
    /// Storage for a head of `outputs × k`.
    #[must_use]
    pub fn with_shape(outputs: usize, k: usize) -> Self {
        Self { factor: Cholesky::with_dimension(k), solution: Array2::zeros((outputs, k)) }
    }

    /// Replaces the network's head by `F_ls(G)`, given a pass whose features belong to the
    /// network's present representation.
    ///
    /// # Errors
    /// [`crate::ModelError::Shape`] or [`crate::ModelError::Linalg`] where network, pass and storage
    /// differ in shape, [`crate::ModelError::Linalg`] where `G Σ̂ Gᵀ` is singular; the network is
    /// unchanged.
    pub fn fit(&mut self, net: &mut TwoLayerLinear, pass: &LinearPass) -> Result<()> {
        self.factor.factor(pass.features(), 0.0)?;
        check_shape("head", self.solution.dim(), net.head().dim())?;
        check_shape("targets times features", self.solution.dim(), pass.targets_features().dim())?;
        self.solution.assign(&pass.targets_features());
        self.factor.solve_right(&mut self.solution.view_mut())?;
        net.head_mut().assign(&self.solution);
        Ok(())
    }
}
