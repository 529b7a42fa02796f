//! How fast the wrong part of a representation shrinks near the true one.

use layerwise_linalg::{
    Cholesky, SymmetricEigen, gemm, gram, singular_values, solve_lower, symmetrize,
};
use ndarray::{Array2, ArrayView2, s};

use crate::Result;
use crate::error::{check_shape, require};

/// Contraction factor of the wrong part `G P⊥` in one KFAC step, `|1 − η_G|`.
///
/// Exact, whatever Σ, F⋆ and F, where the data are noise-free, λ_G = 0, Σ̂ ≻ 0 and F has full
/// column rank, before any orthonormalization.
///
/// # Errors
/// Where the rate `eta` is not finite.
pub fn kfac_contraction(eta: f64) -> Result<f64> {
    Ok((1.0 - require("learning rate", eta, eta.is_finite(), "finite")?).abs())
}

/// Steps that KFAC needs to shrink the wrong part `‖G P⊥‖` from `from` to `to`, as a real number:
/// `ln(from/to) / ln(1/|1 − η_G|)`, under the assumptions of [`kfac_contraction`].
///
/// # Errors
/// Where not `from > to > 0`, or `eta` is not in (0, 2) without 1 (there one step is enough).
pub fn kfac_steps(from: f64, to: f64, eta: f64) -> Result<f64> {
    let shrink = log_ratio(from, to)?;
    require("learning rate", eta, eta > 0.0 && eta < 2.0 && eta != 1.0, "in (0, 2), not 1")?;
    Ok(-shrink / (1.0 - eta).abs().ln())
}

/// `ln(from/to)`, for `from > to > 0`.
fn log_ratio(from: f64, to: f64) -> Result<f64> {
    require("final size", to, to > 0.0 && to.is_finite(), "positive and finite")?;
    require(
        "initial size",
        from,
        from > to && from.is_finite(),
        "finite and above the final size",
    )?;
    Ok((from / to).ln())
}

/// The linear map `Δ ↦ Δ − η F⋆ᵀF⋆ Δ Σ_c` by which one population step of alternating
/// minimization-descent acts on the wrong part `Δ = G P⊥` near `G⋆`, in the gauge `G G⋆ᵀ ≈ I`;
/// `Σ_c = P⊥(Σ − ΣG⋆ᵀ(G⋆ΣG⋆ᵀ)⁻¹G⋆Σ)P⊥` is the covariance of the inputs' part outside the row
/// space, given the part inside.
#[derive(Debug, Clone, PartialEq)]
pub struct AmgdMap {
    /// `F⋆ᵀF⋆`, k × k.
    pub head_gram: Array2<f64>,
    /// `Σ_c`, d × d, zero on the row space of `G⋆`.
    pub conditional_covariance: Array2<f64>,
    /// `κ(F⋆)² · κ(Σ_c on range P⊥)`, the condition number of the map's quadratic form.
    pub condition: f64,
    /// Smallest and largest eigenvalue of `Δ ↦ F⋆ᵀF⋆ Δ Σ_c` on `range P⊥`.
    pub extremes: (f64, f64),
}

impl AmgdMap {
    /// The map of a head `F⋆` (d_Y × k, full column rank), a representation `G⋆` (k × d,
    /// orthonormal rows, k < d) and a covariance Σ ≻ 0 (d × d).
    ///
    /// # Errors
    /// Where shapes do not fit, k = d, Σ is not positive definite, or F⋆ is rank-deficient.
    pub fn new(
        head: ArrayView2<f64>,
        representation: ArrayView2<f64>,
        covariance: ArrayView2<f64>,
    ) -> Result<Self> {
        let (k, d) = representation.dim();
        check_shape("head", (head.nrows(), k), head.dim())?;
        check_shape("covariance", (d, d), covariance.dim())?;
        require("rank k", k as f64, k >= 1 && k < d, "at least 1 and below the input dimension")?;
        require("number of outputs", head.nrows() as f64, head.nrows() >= k, "at least k")?;

        let complement = complement_basis(representation)?;
        // On range P⊥ the conditional covariance is (N Σ⁻¹ Nᵀ)⁻¹, N the basis of the complement.
        let factor = Cholesky::new(covariance, 0.0)?;
        let mut solved = complement.t().to_owned();
        factor.solve_left(&mut solved.view_mut())?;
        let mut precision = Array2::zeros((d - k, d - k));
        gemm(1.0, complement.view(), solved.view(), 0.0, &mut precision.view_mut())?;
        symmetrize(&mut precision.view_mut());
        let eigen = SymmetricEigen::new(precision.view())?;
        let (least, most) = (eigen.values()[0], eigen.values()[d - k - 1]);
        require("eigenvalue of the precision matrix", least, least > 0.0, "positive")?;

        let mut half = complement;
        let precision_factor = Cholesky::new(precision.view(), 0.0)?;
        solve_lower(precision_factor.lower(), &mut half.view_mut())?;
        let mut conditional_covariance = Array2::zeros((d, d));
        gram(1.0, half.t(), 0.0, &mut conditional_covariance.view_mut())?;

        let mut head_gram = Array2::zeros((k, k));
        gram(1.0, head.t(), 0.0, &mut head_gram.view_mut())?;
        let singular = singular_values(head)?;
        let (largest, smallest) = (singular[0], singular[k - 1]);
        require(
            "smallest singular value of the head",
            smallest,
            smallest > 0.0,
            "positive (full column rank)",
        )?;
        Ok(Self {
            head_gram,
            conditional_covariance,
            condition: (largest / smallest).powi(2) * most / least,
            extremes: (smallest.powi(2) / most, largest.powi(2) / least),
        })
    }

    /// Spectral radius of the map at rate `eta`: `max(|1 − η μ_min|, |1 − η μ_max|)`.
    #[must_use]
    pub fn contraction(&self, eta: f64) -> f64 {
        (1.0 - eta * self.extremes.0).abs().max((1.0 - eta * self.extremes.1).abs())
    }

    /// Best spectral radius over all rates, `(κ − 1)/(κ + 1)`.
    #[must_use]
    pub fn best_contraction(&self) -> f64 {
        (self.condition - 1.0) / (self.condition + 1.0)
    }

    /// The rate that reaches [`best_contraction`](Self::best_contraction), `2/(μ_min + μ_max)`.
    #[must_use]
    pub fn best_rate(&self) -> f64 {
        2.0 / (self.extremes.0 + self.extremes.1)
    }

    /// Steps that the slowest mode needs at the best rate to shrink from `from` to `to`, as a real
    /// number: `ln(from/to) / ln((κ+1)/(κ−1))`, close to `½ κ ln(from/to)`.
    ///
    /// # Errors
    /// Where not `from > to > 0`.
    pub fn steps_at_best_rate(&self, from: f64, to: f64) -> Result<f64> {
        Ok(-log_ratio(from, to)? / self.best_contraction().ln())
    }

    /// The map applied to `delta` (k × d): `Δ − η F⋆ᵀF⋆ Δ Σ_c`.
    ///
    /// # Errors
    /// Where `delta` does not have the representation's shape.
    pub fn apply(&self, delta: ArrayView2<f64>, eta: f64) -> Result<Array2<f64>> {
        let shape = (self.head_gram.nrows(), self.conditional_covariance.nrows());
        check_shape("difference", shape, delta.dim())?;
        let mut left = Array2::zeros(shape);
        gemm(1.0, self.head_gram.view(), delta, 0.0, &mut left.view_mut())?;
        let mut out = delta.to_owned();
        let covariance = self.conditional_covariance.view();
        gemm(-eta, left.view(), covariance, 1.0, &mut out.view_mut())?;
        Ok(out)
    }
}

/// Orthonormal rows that span the complement of the row space, (d − k) × d.
fn complement_basis(representation: ArrayView2<f64>) -> Result<Array2<f64>> {
    let (k, d) = representation.dim();
    let rows = layerwise_linalg::orthonormal_rows(representation)?;
    let mut projector = Array2::zeros((d, d));
    gram(1.0, rows.t(), 0.0, &mut projector.view_mut())?;
    let eigen = SymmetricEigen::new(projector.view())?;
    Ok(eigen.vectors().slice(s![.., ..d - k]).t().to_owned())
}
