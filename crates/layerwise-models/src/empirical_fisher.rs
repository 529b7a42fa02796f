//! The empirical Fisher matrix of the two-layer linear network: dense, and its damped solve.

use layerwise_data::Batch;
use layerwise_linalg::{Cholesky, gemm, gram};
use ndarray::{Array2, ArrayView2, Zip};

use crate::error::{check_damping, check_shape};
use crate::{Result, TwoLayerLinear};

/// The dense empirical Fisher matrix `Ê[g gᵀ]`, g the gradient of one sample's loss on
/// `θ = (vec G, vec F)`, row-major vectorization. For tests and for looking at small cases.
///
/// # Errors
/// [`crate::ModelError::Shape`] where the batch does not fit the network.
pub fn empirical_fisher_matrix(net: &TwoLayerLinear, batch: &Batch) -> Result<Array2<f64>> {
    let gradients = sample_gradients(net, batch)?;
    Ok(gradients.t().dot(&gradients) / gradients.nrows() as f64)
}

/// One row per sample: its gradient `(Fᵀ r xᵀ, r zᵀ)`, r = f(x) − y, z = G x.
fn sample_gradients(net: &TwoLayerLinear, batch: &Batch) -> Result<Array2<f64>> {
    let (outputs, k, inputs) = net.shape();
    check_batch(net, batch)?;
    let features = batch.x().dot(&net.representation().t());
    let residuals = features.dot(&net.head().t()) - batch.y();
    let back = residuals.dot(&net.head());
    let mut gradients = Array2::zeros((features.nrows(), k * inputs + outputs * k));
    for (i, mut row) in gradients.rows_mut().into_iter().enumerate() {
        for a in 0..k {
            for b in 0..inputs {
                row[a * inputs + b] = back[[i, a]] * batch.x()[[i, b]];
            }
        }
        for c in 0..outputs {
            for a in 0..k {
                row[k * inputs + c * k + a] = residuals[[i, c]] * features[[i, a]];
            }
        }
    }
    Ok(gradients)
}

fn check_batch(net: &TwoLayerLinear, batch: &Batch) -> Result<()> {
    let (outputs, _, inputs) = net.shape();
    let n = batch.x().nrows();
    check_shape("inputs", (n, inputs), batch.x().dim())?;
    check_shape("targets", (n, outputs), batch.y().dim())
}

/// The n × n storage of a solve, which solvers on batches of the same size can share.
#[derive(Debug, Clone)]
pub struct FisherWorkspace {
    factor: Cholesky<f64>,
    kernel: Array2<f64>,
    product: Array2<f64>,
    other: Array2<f64>,
}

impl FisherWorkspace {
    /// Storage for batches of `samples`.
    #[must_use]
    pub fn with_samples(samples: usize) -> Self {
        let square = || Array2::zeros((samples, samples));
        Self {
            factor: Cholesky::with_dimension(samples),
            kernel: square(),
            product: square(),
            other: square(),
        }
    }
}

/// The damped natural-gradient direction `(Ê[g gᵀ] + λI)⁻¹ Ê[g]` of the whole network.
///
/// By Woodbury's identity it is `Σ_i α_i g_i` with `α = (K + nλI)⁻¹ 1`, and the n × n Gram matrix
/// of per-sample gradients needs no gradient: `K = (RF)(RF)ᵀ ∘ XXᵀ + RRᵀ ∘ ZZᵀ`.
#[derive(Debug, Clone)]
pub struct EmpiricalFisher {
    damping: f64,
    features: Array2<f64>,
    residuals: Array2<f64>,
    back: Array2<f64>,
    weights: Array2<f64>,
    representation_direction: Array2<f64>,
    head_direction: Array2<f64>,
}

impl EmpiricalFisher {
    /// A solver for networks of shape `(d_Y, k, d_X)`, batches of `samples`, damping λ > 0.
    ///
    /// # Errors
    /// [`crate::ModelError::InvalidParameter`] where λ is not positive and finite.
    pub fn new(
        (outputs, k, inputs): (usize, usize, usize),
        samples: usize,
        damping: f64,
    ) -> Result<Self> {
        check_damping(damping)?;
        Ok(Self {
            damping,
            features: Array2::zeros((samples, k)),
            residuals: Array2::zeros((samples, outputs)),
            back: Array2::zeros((samples, k)),
            weights: Array2::zeros((samples, 1)),
            representation_direction: Array2::zeros((k, inputs)),
            head_direction: Array2::zeros((outputs, k)),
        })
    }

    /// Solves for the direction on a batch; `input_gram` is its `X Xᵀ` (n × n), which all solves
    /// on that batch share, as they may the workspace. Read the result with [`direction`](Self::direction).
    ///
    /// # Errors
    /// [`crate::ModelError::Shape`] where network, batch and storage differ in shape,
    /// [`crate::ModelError::Linalg`] where the kernel is not finite.
    pub fn solve(
        &mut self,
        net: &TwoLayerLinear,
        batch: &Batch,
        input_gram: ArrayView2<f64>,
        workspace: &mut FisherWorkspace,
    ) -> Result<()> {
        check_batch(net, batch)?;
        check_shape(
            "representation",
            self.representation_direction.dim(),
            net.representation().dim(),
        )?;
        check_shape("head", self.head_direction.dim(), net.head().dim())?;
        let n = self.features.nrows();
        check_shape("batch", (n, batch.x().ncols()), batch.x().dim())?;
        check_shape("Gram matrix of the inputs", (n, n), input_gram.dim())?;
        let FisherWorkspace { factor, kernel, product, other } = workspace;
        check_shape("workspace", (n, n), kernel.dim())?;
        let x = batch.x();
        gemm(1.0, x, net.representation().t(), 0.0, &mut self.features.view_mut())?;
        self.residuals.assign(&batch.y());
        let residuals = &mut self.residuals.view_mut();
        gemm(1.0, self.features.view(), net.head().t(), -1.0, residuals)?;
        gemm(1.0, self.residuals.view(), net.head(), 0.0, &mut self.back.view_mut())?;

        gram(1.0, self.back.view(), 0.0, &mut kernel.view_mut())?;
        *kernel *= &input_gram;
        gram(1.0, self.residuals.view(), 0.0, &mut product.view_mut())?;
        gram(1.0, self.features.view(), 0.0, &mut other.view_mut())?;
        Zip::from(&mut *kernel).and(&*product).and(&*other).for_each(|k, r, z| *k += r * z);
        factor.factor(kernel.view(), n as f64 * self.damping)?;
        self.weights.fill(1.0);
        factor.solve_left(&mut self.weights.view_mut())?;

        for samples in [&mut self.back, &mut self.residuals] {
            for (mut row, weight) in samples.rows_mut().into_iter().zip(&self.weights) {
                row *= *weight;
            }
        }
        let representation = &mut self.representation_direction.view_mut();
        gemm(1.0, self.back.t(), x, 0.0, representation)?;
        let head = &mut self.head_direction.view_mut();
        gemm(1.0, self.residuals.t(), self.features.view(), 0.0, head)?;
        Ok(())
    }

    /// The direction last solved for: representation (k × d_X) and head (d_Y × k).
    #[must_use]
    pub fn direction(&self) -> (ArrayView2<'_, f64>, ArrayView2<'_, f64>) {
        (self.representation_direction.view(), self.head_direction.view())
    }
}
