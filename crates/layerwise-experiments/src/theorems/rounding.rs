//! How far rounding can bring the steps from their exact values, in measured norms and condition
//! numbers.
//!
//! All bounds are of first order in ε, and rest on two facts (Higham, Accuracy and Stability of
//! Numerical Algorithms): a sum of m products is off by at most `m ε` times the sum of their sizes
//! (§3.1), so that a product `A B` is off by `m ε ‖A‖_F ‖B‖_F`; and a solve by Cholesky has the
//! solution of a matrix that is off by `(3m + 1) ε tr A` (theorem 10.4, with `‖|Rᵀ||R|‖ ≤ tr A`).
//! Where λ is the least eigenvalue of A, `tr A/λ` is what a condition number is below. Norms are
//! Frobenius norms: that of `|A|` is that of A.

use layerwise_data::Moments;
use layerwise_linalg::{Cholesky, symmetrize};
use layerwise_models::{LeastSquaresHead, LinearPass, TwoLayerLinear};
use ndarray::ArrayView2;

use crate::Result;
use crate::theorems::problems::{extreme_eigenvalues, norm};

/// The relative error of a chain of sums of `length` products altogether, as a gradient followed by
/// its solves is: `4 · length · ε`.
#[must_use]
pub fn chain(length: usize) -> f64 {
    4.0 * length as f64 * f64::EPSILON
}

/// Where the tolerance of a step on the representation comes from, in a few words.
pub const REPRESENTATION_FROM: &str = "rounding: ε · dimension · tr P/λ_min(P) · tr Q/λ_min(Q), P = FᵀF, Q = Σ̂ + λ_G I, times the \
     sizes of G, step and gradient";
/// The same for a step on the head.
pub const HEAD_FROM: &str = "rounding: ε · dimension · ‖G‖² tr Σ̂/λ_min(E[zzᵀ])";

/// How much of a relative error of rounding ε a step carries, so that `chain(length)` times it is a
/// bound.
pub struct RepresentationStep {
    /// `tr P/λ_min(P) · tr Q/λ_min(Q) · (‖G‖ + 2‖S‖ + ‖Ĉ‖/(‖F‖ tr Q))`, relative to `‖G‖`.
    magnified: f64,
    /// Of S by F, in the Frobenius norm.
    per_change: f64,
    /// d_Y + k + d_X.
    length: usize,
    /// k d_X.
    parameters: usize,
}

impl RepresentationStep {
    /// A KFAC step with η_G ≤ 1 on the representation, `G₊ = G − η S`, `S = P⁻¹ ∇ Q⁻¹`,
    /// `P = FᵀF`, `Q = Σ̂ + λ_G I`.
    ///
    /// The gradient `FᵀFGΣ̂ − FᵀĈ` is off by ε times the size of its terms,
    /// `‖F‖² ‖G‖ tr Σ̂ + ‖F‖ ‖Ĉ‖`, whatever cancels, and the solves magnify that by
    /// `1/(λ_min(P) λ_min(Q))`; they add `(tr P/λ_min(P) + tr Q/λ_min(Q)) ‖S‖` of their own, which
    /// is at most twice the product of the two.
    ///
    /// # Errors
    /// Where P or Q is singular, or something is not finite.
    pub fn new(net: &TwoLayerLinear, moments: &Moments, damping: f64) -> Result<Self> {
        let (outputs, k, inputs) = net.shape();
        let mut pass = LinearPass::with_shape(net.shape());
        pass.representation(net, moments)?;
        let mut step = pass.representation_gradient().to_owned();
        Cholesky::new(pass.head_gram(), 0.0)?.solve_left(&mut step.view_mut())?;
        Cholesky::new(moments.xx(), damping)?.solve_right(&mut step.view_mut())?;
        let trace = moments.xx().diag().sum() + inputs as f64 * damping;
        let left = inverse_condition(pass.head_gram(), 0.0)?;
        let right = inverse_condition(moments.xx(), damping)?;
        let (f, g) = (norm(net.head()), norm(net.representation()));
        let sizes = g + 2.0 * norm(step.view()) + norm(moments.yx()) / (f * trace);
        // What depends on F in S is −F⁺W, W = Ĉ Q⁻¹: δF changes it by at most
        // ‖δF‖ (‖F⁺W‖/σ_k + ‖W − FF⁺W‖/σ_k²), σ_k² = λ_min(P).
        let mut target = moments.yx().to_owned();
        Cholesky::new(moments.xx(), damping)?.solve_right(&mut target.view_mut())?;
        let mut solution = net.head().t().dot(&target);
        Cholesky::new(pass.head_gram(), 0.0)?.solve_left(&mut solution.view_mut())?;
        let rest = norm((&target - &net.head().dot(&solution)).view());
        let least = left * f * f;
        Ok(Self {
            magnified: sizes / (left * right * g),
            per_change: norm(solution.view()) / least.sqrt() + rest / least,
            length: outputs + k + inputs,
            parameters: k * inputs,
        })
    }

    /// Of the step by its factors, relative to `‖G‖`.
    #[must_use]
    pub fn error(&self) -> f64 {
        chain(self.length) * self.magnified
    }

    /// Of the exact step's S, where the head is off by `change`; both in the Frobenius norm.
    #[must_use]
    pub fn inherited(&self, change: f64) -> f64 {
        self.per_change * change
    }

    /// Of the same step by a solve with the block `P ⊗ Q`: its trace over its least eigenvalue is
    /// the product of the factors'.
    #[must_use]
    pub fn dense_error(&self) -> f64 {
        chain(self.length + self.parameters) * self.magnified
    }
}

/// Relative error, in ‖G‖, of a KFAC step with η_G ≤ 1 on the representation: see
/// [`RepresentationStep`].
///
/// # Errors
/// Where a factor is singular, or something is not finite.
pub fn representation_step(net: &TwoLayerLinear, moments: &Moments, damping: f64) -> Result<f64> {
    Ok(RepresentationStep::new(net, moments, damping)?.error())
}

/// `λ_min/tr` of `A + λI`; not below ε, the relative error to which A is known.
fn inverse_condition(a: ArrayView2<'_, f64>, damping: f64) -> Result<f64> {
    let (least, _) = extreme_eigenvalues(a)?;
    let trace = a.diag().sum() + a.nrows() as f64 * damping;
    Ok(((least + damping) / trace).max(f64::EPSILON))
}

/// As [`RepresentationStep`], for a head; relative to `‖F‖ + ‖F_ls‖`.
pub struct HeadStep {
    size: f64,
    magnified: f64,
    per_change: f64,
    length: usize,
    parameters: usize,
}

impl HeadStep {
    /// A KFAC step with η_F ≤ 1 on the head of `net` at its representation G:
    /// `F₊ = F − η (F M − Ĉ Gᵀ) M⁻¹`, `M = G Σ̂ Gᵀ`, `F_ls = Ĉ Gᵀ M⁻¹`.
    ///
    /// M is off by `ε ‖G‖² tr Σ̂`, which through `M⁻¹` changes F_ls, as its solve does; the product
    /// `F M` is off by as much times ‖F‖; and `Ĉ Gᵀ` is off by `ε ‖Ĉ‖ ‖G‖`, whatever cancels. With
    /// `‖Ĉ‖ ≤ √(tr Ê[yyᵀ] tr Σ̂)` the same holds for sums over `samples` samples, which moments
    /// that are drawn do not have: 0.
    ///
    /// # Errors
    /// Where M is singular, or something is not finite.
    pub fn new(net: &TwoLayerLinear, moments: &Moments, samples: usize) -> Result<Self> {
        let (outputs, k, inputs) = net.shape();
        let mut pass = LinearPass::with_shape(net.shape());
        pass.head(net, moments)?;
        let mut fitted = net.clone();
        LeastSquaresHead::with_shape(outputs, k).fit(&mut fitted, &pass)?;
        let (least, _) = extreme_eigenvalues(pass.features())?;
        let (_, most) = extreme_eigenvalues(moments.xx())?;
        let trace = moments.xx().diag().sum();
        let least = least.max(f64::EPSILON * trace);
        let g = norm(net.representation());
        let size = norm(net.head()) + norm(fitted.head());
        let targets = (moments.yy_trace() * trace).sqrt();
        // F_ls at G + δ is off by (R δᵀ − F_ls δ Σ̂ Gᵀ) M⁻¹, with ‖Σ̂^{1/2} Gᵀ M⁻¹‖ = λ_min(M)^{-1/2}.
        let residual = fitted.head().dot(&pass.features_inputs()) - moments.yx();
        let change = norm(residual.view()) / least + norm(fitted.head()) * (most / least).sqrt();
        Ok(Self {
            size,
            magnified: (g * g * trace + targets * g / size) / least,
            per_change: change / size,
            length: outputs + k + inputs + samples,
            parameters: outputs * k,
        })
    }

    /// `‖F‖ + ‖F_ls‖`, to which errors are relative.
    #[must_use]
    pub fn size(&self) -> f64 {
        self.size
    }

    /// Of the step by its factor.
    #[must_use]
    pub fn error(&self) -> f64 {
        chain(self.length) * self.magnified
    }

    /// Of the same step by a solve with the block `I ⊗ M`.
    #[must_use]
    pub fn dense_error(&self) -> f64 {
        chain(self.length + self.parameters) * self.magnified
    }

    /// Of the exact step, where its representation is off by `change` in the Frobenius norm.
    #[must_use]
    pub fn inherited(&self, change: f64) -> f64 {
        self.per_change * change
    }
}

/// Errors of excess transfer losses relative to the zero head's.
///
/// With `T = F_t G⋆ Σ_t^{1/2}`, so that the zero head loses `½‖T‖²`, and `M = G Σ_t Gᵀ`, let
/// `a = ‖F_t‖ ‖G⋆‖ √tr Σ_t / ‖T‖` and `b = ‖G‖ √(tr Σ_t/λ_min(M))`, both at least 1.
pub struct TransferRounding {
    a: f64,
    b: f64,
    chain: f64,
}

impl TransferRounding {
    /// Of a representation `g` (k × d) on a task with head F_t, G⋆ and Σ_t.
    ///
    /// # Errors
    /// Where something is not finite.
    pub fn new(
        g: ArrayView2<f64>,
        head: ArrayView2<f64>,
        reference: ArrayView2<f64>,
        covariance: ArrayView2<f64>,
    ) -> Result<Self> {
        let mut features = g.dot(&covariance).dot(&g.t());
        symmetrize(&mut features.view_mut());
        let (least, _) = extreme_eigenvalues(features.view())?;
        let target = head.dot(&reference);
        let size = (target.dot(&covariance) * &target).sum().sqrt();
        let trace = covariance.diag().sum();
        Ok(Self {
            a: norm(head) * norm(reference) * trace.sqrt() / size,
            b: norm(g) * (trace / least.max(0.0)).sqrt(),
            chain: chain(head.nrows() + g.nrows() + g.ncols()),
        })
    }

    /// Of the loss, by any of its formulas: `F_tG⋆Σ_tG⋆ᵀF_tᵀ` is off by `a² ε`, what G explains of
    /// it by `(ab + b²) ε` through `G⋆Σ_tGᵀ` and M; a fitted head is off by as much, in which the
    /// loss is of first order while it is not zero. Each formula has at most two of these errors.
    #[must_use]
    pub fn loss(&self) -> f64 {
        4.0 * self.chain * (self.a + self.b).powi(2)
    }

    /// Of its bounds, at most a² times as large as the zero head's loss: the row space of G is off by
    /// `ε ‖G‖/σ_k(G)`, at most `b ε`.
    #[must_use]
    pub fn bounds(&self) -> f64 {
        self.loss() + 4.0 * self.chain * self.a * self.a * self.b
    }
}
