//! The Gauss-Newton matrix of the two-layer linear network: dense, and its damped solve.

use layerwise_linalg::{Cholesky, SymmetricEigen, gemm, symmetrize};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::error::{check_damping, check_shape};
use crate::{LinearPass, Result, TwoLayerLinear};

/// The dense Gauss-Newton matrix `Ê[JᵀJ]` on `θ = (vec G, vec F)`, row-major vectorization, of
/// dimension `k d_X + d_Y k`.
///
/// Blocks: `FᵀF ⊗ Σ̂` for G, `I ⊗ G Σ̂ Gᵀ` for F, and `Fᵀ ⊗ Σ̂ Gᵀ` between them. For tests and for
/// looking at small cases: the cost of using it grows with the cube of its dimension.
///
/// # Errors
/// [`crate::ModelError::Shape`] where `input_moment` is not d_X × d_X.
pub fn gauss_newton_matrix(
    net: &TwoLayerLinear,
    input_moment: ArrayView2<f64>,
) -> Result<Array2<f64>> {
    let (outputs, k, inputs) = net.shape();
    check_shape("second moment of the inputs", (inputs, inputs), input_moment.dim())?;
    let (f, g) = (net.head(), net.representation());
    let cross = input_moment.dot(&g.t());
    let features = g.dot(&cross);
    let gram = f.t().dot(&f);
    let offset = k * inputs;
    let mut matrix = Array2::zeros((offset + outputs * k, offset + outputs * k));
    for a in 0..k {
        for b in 0..inputs {
            let row = a * inputs + b;
            for c in 0..k {
                for e in 0..inputs {
                    matrix[[row, c * inputs + e]] = gram[[a, c]] * input_moment[[b, e]];
                }
            }
            for c in 0..outputs {
                for e in 0..k {
                    let value = f[[c, a]] * cross[[b, e]];
                    matrix[[row, offset + c * k + e]] = value;
                    matrix[[offset + c * k + e, row]] = value;
                }
            }
        }
    }
    for c in 0..outputs {
        for a in 0..k {
            for b in 0..k {
                matrix[[offset + c * k + a, offset + c * k + b]] = features[[a, b]];
            }
        }
    }
    Ok(matrix)
}

/// A batch's `Σ̂ = V diag(ℓ) Vᵀ`: shared by all damped Gauss-Newton solves on that batch.
#[derive(Debug, Clone)]
pub struct SpectralMoment {
    eigen: SymmetricEigen<f64>,
    values: Array1<f64>,
}

impl SpectralMoment {
    /// Storage for d × d moments.
    #[must_use]
    pub fn with_dimension(d: usize) -> Self {
        Self { eigen: SymmetricEigen::with_dimension(d), values: Array1::ones(d) }
    }

    /// Decomposes a batch's second moment.
    ///
    /// # Errors
    /// [`crate::ModelError::Linalg`] for a matrix that is not square, symmetric and finite.
    pub fn decompose(&mut self, input_moment: ArrayView2<f64>) -> Result<()> {
        self.eigen.decompose(input_moment)?;
        // Σ̂ is positive semidefinite by construction; rounding may leave −ε.
        for (value, &found) in self.values.iter_mut().zip(self.eigen.values()) {
            *value = found.max(0.0);
        }
        Ok(())
    }

    fn values(&self) -> ArrayView1<'_, f64> {
        self.values.view()
    }

    fn vectors(&self) -> ArrayView2<'_, f64> {
        self.eigen.vectors()
    }
}

/// The damped Gauss-Newton direction `(H + λI)⁻¹ ∇L̂` of the whole network, by exact elimination.
///
/// Eliminating the head leaves `FᵀF ΔG S + λ ΔG = R` for the representation,
/// `S = Σ̂ − Σ̂Gᵀ M⁻¹ GΣ̂`, `M = GΣ̂Gᵀ + λI`, `R = ∇_G − Fᵀ ∇_F M⁻¹ GΣ̂`. With `FᵀF = U diag(μ) Uᵀ`
/// it falls apart into k systems `μ S + λ I`, and each is a rank-k change of `μΣ̂ + λI`, diagonal in
/// the eigenbasis of Σ̂, whose k × k capacitance `λI + GV diag(λℓ/(μℓ+λ)) VᵀGᵀ` is a sum of
/// positive terms: nothing cancels.
#[derive(Debug, Clone)]
pub struct GaussNewton {
    damping: f64,
    head_eigen: SymmetricEigen<f64>,
    features: Cholesky<f64>,
    capacitance: Cholesky<f64>,
    rotated_representation: Array2<f64>,
    weights: Array1<f64>,
    scaled: Array2<f64>,
    small: Array2<f64>,
    right_side: Array2<f64>,
    rotated: Array2<f64>,
    modes: Array2<f64>,
    coefficients: Array2<f64>,
    head_part: Array2<f64>,
    representation_direction: Array2<f64>,
    head_direction: Array2<f64>,
}

impl GaussNewton {
    /// A solver for networks of shape `(d_Y, k, d_X)` with damping λ > 0.
    ///
    /// # Errors
    /// [`crate::ModelError::InvalidParameter`] where λ is not positive and finite.
    pub fn new((outputs, k, inputs): (usize, usize, usize), damping: f64) -> Result<Self> {
        check_damping(damping)?;
        let wide = || Array2::zeros((k, inputs));
        let small = || Array2::zeros((k, k));
        Ok(Self {
            damping,
            head_eigen: SymmetricEigen::with_dimension(k),
            features: Cholesky::with_dimension(k),
            capacitance: Cholesky::with_dimension(k),
            rotated_representation: wide(),
            weights: Array1::zeros(inputs),
            scaled: wide(),
            small: small(),
            right_side: wide(),
            rotated: wide(),
            modes: wide(),
            coefficients: Array2::zeros((1, k)),
            head_part: Array2::zeros((outputs, k)),
            representation_direction: wide(),
            head_direction: Array2::zeros((outputs, k)),
        })
    }

    /// Solves for the direction at the point of a joint `pass`; `spectrum` belongs to the same
    /// batch. Read it with [`direction`](Self::direction).
    ///
    /// # Errors
    /// [`crate::ModelError::Shape`] or [`crate::ModelError::Linalg`] where network, pass, spectrum
    /// and storage differ in shape; [`crate::ModelError::Linalg`] where a factorization fails, as
    /// for weights that are not finite.
    pub fn solve(
        &mut self,
        net: &TwoLayerLinear,
        pass: &LinearPass,
        spectrum: &SpectralMoment,
    ) -> Result<()> {
        let lambda = self.damping;
        let (f, g) = (net.head(), net.representation());
        check_shape("representation", self.representation_direction.dim(), g.dim())?;
        check_shape("head", self.head_direction.dim(), f.dim())?;
        let (for_g, for_f) = (pass.representation_gradient(), pass.head_gradient());
        check_shape("gradient of the representation", g.dim(), for_g.dim())?;
        check_shape("gradient of the head", f.dim(), for_f.dim())?;
        // R = ∇_G − Fᵀ ∇_F M⁻¹ GΣ̂.
        self.features.factor(pass.features(), lambda)?;
        self.head_part.assign(&pass.head_gradient());
        self.features.solve_right(&mut self.head_part.view_mut())?;
        gemm(1.0, f.t(), self.head_part.view(), 0.0, &mut self.small.view_mut())?;
        self.right_side.assign(&pass.representation_gradient());
        let features_inputs = pass.features_inputs();
        gemm(-1.0, self.small.view(), features_inputs, 1.0, &mut self.right_side.view_mut())?;

        // Into both eigenbases.
        self.head_eigen.decompose(pass.head_gram())?;
        let basis = self.head_eigen.vectors();
        let v = spectrum.vectors();
        gemm(1.0, basis.t(), self.right_side.view(), 0.0, &mut self.modes.view_mut())?;
        gemm(1.0, self.modes.view(), v, 0.0, &mut self.rotated.view_mut())?;
        gemm(1.0, g, v, 0.0, &mut self.rotated_representation.view_mut())?;
        for i in 0..self.modes.nrows() {
            self.solve_mode(i, spectrum.values())?;
        }
        gemm(1.0, self.rotated.view(), v.t(), 0.0, &mut self.modes.view_mut())?;
        let basis = self.head_eigen.vectors();
        let representation = &mut self.representation_direction.view_mut();
        gemm(1.0, basis, self.modes.view(), 0.0, representation)?;

        // ΔF = (∇_F − F ΔG Σ̂Gᵀ) M⁻¹.
        let step = self.representation_direction.view();
        gemm(1.0, step, features_inputs.t(), 0.0, &mut self.small.view_mut())?;
        self.head_direction.assign(&pass.head_gradient());
        gemm(-1.0, f, self.small.view(), 1.0, &mut self.head_direction.view_mut())?;
        self.features.solve_right(&mut self.head_direction.view_mut())?;
        Ok(())
    }

    /// Overwrites row i of `rotated`, r, with `r (μS + λI)⁻¹` in the eigenbasis of Σ̂.
    fn solve_mode(&mut self, i: usize, values: ArrayView1<f64>) -> Result<()> {
        let lambda = self.damping;
        let mu = self.head_eigen.values()[i].max(0.0);
        // ℓ/(μℓ + λ), the weight that everything below shares.
        for (weight, &l) in self.weights.iter_mut().zip(values) {
            *weight = l / (mu * l + lambda);
        }
        let g = self.rotated_representation.view();
        for (mut scaled, g) in self.scaled.rows_mut().into_iter().zip(g.rows()) {
            for ((scaled, g), weight) in scaled.iter_mut().zip(g).zip(&self.weights) {
                *scaled = weight * g;
            }
        }
        gemm(lambda, self.scaled.view(), g.t(), 0.0, &mut self.small.view_mut())?;
        symmetrize(&mut self.small.view_mut());
        self.capacitance.factor(self.small.view(), lambda)?;
        // r D⁻¹, D = μL + λI, and its rank-k correction μ (r D⁻¹ L G̃ᵀ) K⁻¹ (G̃ L D⁻¹).
        let mut row = self.rotated.row_mut(i);
        for (coefficient, scaled) in self.coefficients.iter_mut().zip(self.scaled.rows()) {
            *coefficient = mu * row.iter().zip(scaled).map(|(r, s)| r * s).sum::<f64>();
        }
        for (r, &l) in row.iter_mut().zip(values) {
            *r /= mu * l + lambda;
        }
        self.capacitance.solve_right(&mut self.coefficients.view_mut())?;
        for (&coefficient, scaled) in self.coefficients.iter().zip(self.scaled.rows()) {
            for (r, s) in row.iter_mut().zip(scaled) {
                *r += coefficient * s;
            }
        }
        Ok(())
    }

    /// The direction last solved for: representation (k × d_X) and head (d_Y × k).
    #[must_use]
    pub fn direction(&self) -> (ArrayView2<'_, f64>, ArrayView2<'_, f64>) {
        (self.representation_direction.view(), self.head_direction.view())
    }
}
