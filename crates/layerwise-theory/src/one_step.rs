//! What one step on the two-layer linear network `f(x) = F G x` does, exactly.
//!
//! Shapes: F is d_Y × k, G and G⋆ are k × d, Σ̂ = Ê[xxᵀ] is d × d. Nothing here is an algorithm:
//! the formulas are for comparison, dense, and go by singular value decompositions throughout.

use layerwise_linalg::{Cholesky, gemm, orthonormal_rows, thin_svd};
use ndarray::{Array2, ArrayView2};

use crate::Result;
use crate::error::{check_shape, require};

/// The head of least squares on samples: the F that minimizes `Σ_i ‖y_i − F z_i‖²`.
///
/// `features` holds the `z_i` as rows (n × k, of full column rank, n ≥ k), `targets` the `y_i`
/// (n × d_Y). Found as `Yᵀ U S⁻¹ Vᵀ` from the decomposition `Z = U S Vᵀ`, so that the error grows
/// with κ(Z) and not with its square.
///
/// # Errors
/// Where shapes do not fit or the features are rank-deficient.
pub fn least_squares_head(
    features: ArrayView2<f64>,
    targets: ArrayView2<f64>,
) -> Result<Array2<f64>> {
    let (n, k) = features.dim();
    check_shape("targets", (n, targets.ncols()), targets.dim())?;
    require("number of samples", n as f64, n >= k, "at least the number of features")?;
    let pseudo_inverse = pseudo_inverse(features)?;
    Ok(targets.t().dot(&pseudo_inverse.t()))
}

/// The head after its step of the stylised KFAC update, `(1 − η_F) F + η_F F_ls(G₊)`: Lemma 3.1 of
/// arXiv 2502.01763.
///
/// Exact where `Ê[zzᵀ] ≻ 0`, z = G₊x; `least_squares` is the head of least squares at the
/// representation's new value. The lemma takes η_F in (0, 1]; the identity holds for any.
///
/// # Errors
/// Where shapes do not fit or the rate is not finite.
pub fn kfac_head(
    head: ArrayView2<f64>,
    least_squares: ArrayView2<f64>,
    eta: f64,
) -> Result<Array2<f64>> {
    check_shape("head of least squares", head.dim(), least_squares.dim())?;
    require("learning rate", eta, eta.is_finite(), "finite")?;
    Ok(&head * (1.0 - eta) + &least_squares * eta)
}

/// The part of a representation outside `G⋆`'s row space, `G P⊥`, `P⊥ = I − G⋆ᵀ(G⋆G⋆ᵀ)⁻¹G⋆`.
///
/// # Errors
/// Where shapes do not fit or `G⋆` (`reference`) is rank-deficient.
pub fn wrong_part(g: ArrayView2<f64>, reference: ArrayView2<f64>) -> Result<Array2<f64>> {
    check_shape("representation", (g.nrows(), reference.ncols()), g.dim())?;
    let rows = orthonormal_rows(reference)?;
    let mut rest = g.to_owned();
    // Twice, so that what remains is orthogonal to G⋆ to rounding of its own size.
    for _ in 0..2 {
        let inside = rest.dot(&rows.t());
        gemm(-1.0, inside.view(), rows.view(), 1.0, &mut rest.view_mut())?;
    }
    Ok(rest)
}

/// The wrong part after a KFAC step on the representation, `(1 − η_G) G P⊥`.
///
/// Exact for noise-free targets, λ_G = 0, `Σ̂ ≻ 0` and a head of full column rank, whatever Σ, F⋆
/// and F, before any orthonormalization.
///
/// # Errors
/// As [`wrong_part`]; where the rate is not finite.
pub fn kfac_wrong_part(
    g: ArrayView2<f64>,
    reference: ArrayView2<f64>,
    eta: f64,
) -> Result<Array2<f64>> {
    require("learning rate", eta, eta.is_finite(), "finite")?;
    Ok(wrong_part(g, reference)? * (1.0 - eta))
}

/// The representation after a KFAC step on noise-free targets with damping,
/// `G − η (G − F⁺W⋆) Σ̂ (Σ̂ + λ_G I)⁻¹`, where `W⋆ = F⋆G⋆` (d_Y × d) is the target.
///
/// Exact for a head F of full column rank; F⁺ is its pseudo-inverse. With λ_G = 0 and η = 1 it is
/// `F⁺W⋆`, whose rows lie in `G⋆`'s row space.
///
/// # Errors
/// Where shapes do not fit, λ_G < 0, `Σ̂ + λ_G I` is not positive definite or F is rank-deficient.
pub fn damped_kfac_representation(
    g: ArrayView2<f64>,
    head: ArrayView2<f64>,
    target: ArrayView2<f64>,
    input_moment: ArrayView2<f64>,
    damping: f64,
    eta: f64,
) -> Result<Array2<f64>> {
    let (k, d) = g.dim();
    check_shape("head", (head.nrows(), k), head.dim())?;
    check_shape("target", (head.nrows(), d), target.dim())?;
    check_shape("second moment of the inputs", (d, d), input_moment.dim())?;
    require("learning rate", eta, eta.is_finite(), "finite")?;
    require("damping", damping, damping >= 0.0 && damping.is_finite(), "zero or positive, finite")?;
    let error = &g - &pseudo_inverse(head)?.dot(&target);
    // Σ̂(Σ̂ + λI)⁻¹ = I − λ(Σ̂ + λI)⁻¹: nothing is lost where λ is small.
    let mut shrunk = error.clone();
    Cholesky::new(input_moment, damping)?.solve_right(&mut shrunk.view_mut())?;
    Ok(&g - &((error - shrunk * damping) * eta))
}

/// The Gauss-Newton blocks of both layers as Kronecker products: `FᵀF ⊗ Σ̂` for G and
/// `I ⊗ G Σ̂ Gᵀ` for F, with row-major vectorization.
///
/// Exact for linear networks with squared loss. Dense, of dimensions k d and d_Y k: for small
/// cases.
///
/// # Errors
/// Where shapes do not fit.
pub fn gauss_newton_blocks(
    head: ArrayView2<f64>,
    g: ArrayView2<f64>,
    input_moment: ArrayView2<f64>,
) -> Result<(Array2<f64>, Array2<f64>)> {
    let (k, d) = g.dim();
    check_shape("head", (head.nrows(), k), head.dim())?;
    check_shape("second moment of the inputs", (d, d), input_moment.dim())?;
    let features = g.dot(&input_moment).dot(&g.t());
    let outputs = Array2::eye(head.nrows());
    Ok((
        ndarray::linalg::kron(&head.t().dot(&head), &input_moment),
        ndarray::linalg::kron(&outputs, &features),
    ))
}

/// The heads of several tasks as the head of one task with all their outputs: F_1, F_2, … above
/// each other, divided by √T so that the stack's loss is the tasks' mean.
///
/// With equal Σ̂ the mean of the T gradients, preconditioned by the mean of `F_tᵀF_t`, is the
/// stacked task's KFAC step.
///
/// # Errors
/// Where there is no head, or the heads differ in their number of columns.
pub fn stacked_head(heads: &[ArrayView2<f64>]) -> Result<Array2<f64>> {
    let count = heads.len();
    require("number of tasks", count as f64, count >= 1, "at least 1")?;
    let k = heads.first().map_or(0, |head| head.ncols());
    for head in heads {
        check_shape("head", (head.nrows(), k), head.dim())?;
    }
    let rows = heads.iter().map(|head| head.nrows()).sum();
    let mut stack = Array2::zeros((rows, k));
    let all = heads.iter().flat_map(|head| head.rows());
    for (mut row, source) in stack.rows_mut().into_iter().zip(all) {
        row.assign(&source);
    }
    Ok(stack / (count as f64).sqrt())
}

/// The representation that predicts on `A x` what `G` predicts on `x`: `G A⁻¹`.
///
/// `A` is d × d and invertible. KFAC without damping commutes with this change of inputs: from
/// `G A⁻¹`, on inputs `A x`, it makes the same predictions at every step.
///
/// # Errors
/// Where shapes do not fit or `A` is singular.
pub fn representation_on_changed_inputs(
    g: ArrayView2<f64>,
    a: ArrayView2<f64>,
) -> Result<Array2<f64>> {
    let d = g.ncols();
    check_shape("change of inputs", (d, d), a.dim())?;
    Ok(g.dot(&pseudo_inverse(a)?))
}

/// The pseudo-inverse of a matrix of full column rank.
fn pseudo_inverse(m: ArrayView2<f64>) -> Result<Array2<f64>> {
    let (rows, columns) = m.dim();
    let (u, singular, vt) = thin_svd(m)?;
    let least = singular.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = singular.iter().copied().fold(0.0, f64::max);
    let rounding = rows.max(columns) as f64 * f64::EPSILON * largest;
    let full = rows >= columns && least > rounding;
    require("smallest singular value", least, full, "positive (full column rank)")?;
    let scaled = &u.t() / &singular.insert_axis(ndarray::Axis(1));
    Ok(vt.t().dot(&scaled))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::TheoryError;

    #[test]
    fn least_squares_solves_its_normal_equations() {
        let z = array![[1.0, 2.0], [3.0, -1.0], [0.5, 4.0], [-2.0, 1.0]];
        let y = array![[1.0], [0.0], [2.0], [-3.0]];
        let head = least_squares_head(z.view(), y.view()).unwrap();
        let residual = &y - &z.dot(&head.t());
        // ε times norms of about 5 and a condition number of about 1.5.
        assert!(z.t().dot(&residual).iter().all(|x| x.abs() < 1e-14));
    }

    #[test]
    fn without_damping_and_at_full_rate_the_step_forgets_where_it_was() {
        let head = array![[2.0, 0.5], [-1.0, 1.0], [0.0, 3.0]];
        let reference = array![[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]];
        let target = array![[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]].dot(&reference);
        let moment = array![[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]];
        let step = |g: Array2<f64>, damping, eta| {
            let (g, f, w) = (g.view(), head.view(), target.view());
            damped_kfac_representation(g, f, w, moment.view(), damping, eta).unwrap()
        };
        let a = array![[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]];
        let b = array![[-1.0, 0.0, 2.0], [0.3, 0.1, 0.0]];
        // Entries of about 1 with errors of a few ε from entries up to 7.
        let differ = |x: &Array2<f64>, y: &Array2<f64>| (x - y).iter().any(|d| d.abs() > 1e-13);
        assert!(!differ(&step(a.clone(), 0.0, 1.0), &step(b.clone(), 0.0, 1.0)));
        let outside = wrong_part(step(a.clone(), 0.0, 1.0).view(), reference.view()).unwrap();
        assert!(outside.iter().all(|x| x.abs() < 1e-13));
        assert!(differ(&step(a.clone(), 0.1, 1.0), &step(b, 0.1, 1.0)));
        assert_eq!(step(a.clone(), 0.1, 0.0), a);
    }

    #[test]
    fn blocks_and_stacks_by_hand() {
        let (f, g) = (array![[2.0], [1.0]], array![[1.0, -1.0]]);
        let (g_block, f_block) =
            gauss_newton_blocks(f.view(), g.view(), array![[2.0, 1.0], [1.0, 3.0]].view()).unwrap();
        assert_eq!(g_block, array![[10.0, 5.0], [5.0, 15.0]]);
        assert_eq!(f_block, array![[3.0, 0.0], [0.0, 3.0]]);
        let root = 2.0_f64.sqrt();
        let stack = stacked_head(&[f.view(), array![[4.0]].view()]).unwrap();
        assert_eq!(stack, array![[2.0 / root], [1.0 / root], [4.0 / root]]);
    }

    #[test]
    fn a_change_of_inputs_is_undone() {
        let a = array![[2.0, 1.0], [0.0, 0.5]];
        let g = array![[1.0, 3.0], [-1.0, 2.0], [0.0, 1.0]];
        let moved = representation_on_changed_inputs(g.view(), a.view()).unwrap();
        assert!((moved.dot(&a) - g).iter().all(|x| x.abs() < 1e-14));
    }

    #[test]
    fn what_a_formula_does_not_cover_is_refused() {
        let (g, wide) = (array![[1.0, 0.0]], array![[1.0, 2.0, 3.0]]);
        let errors = [
            least_squares_head(wide.view(), array![[1.0]].view()).unwrap_err(),
            kfac_head(g.view(), wide.view(), 0.5).unwrap_err(),
            kfac_wrong_part(g.view(), g.view(), f64::NAN).unwrap_err(),
            wrong_part(g.view(), wide.view()).unwrap_err(),
            representation_on_changed_inputs(g.view(), array![[1.0, 2.0], [2.0, 4.0]].view())
                .unwrap_err(),
            stacked_head(&[]).unwrap_err(),
            stacked_head(&[g.view(), wide.view()]).unwrap_err(),
            damped_kfac_representation(
                g.view(),
                array![[1.0]].view(),
                g.view(),
                Array2::eye(2).view(),
                -1.0,
                0.5,
            )
            .unwrap_err(),
        ];
        let texts = [
            "number of samples is 1, but must be at least the number of features",
            "head of least squares: expected shape (1, 2), found (1, 3)",
            "learning rate is NaN, but must be finite",
            "representation: expected shape (1, 3), found (1, 2)",
            "smallest singular value is",
            "number of tasks is 0, but must be at least 1",
            "head: expected shape (1, 2), found (1, 3)",
            "damping is -1, but must be zero or positive, finite",
        ];
        for (error, text) in errors.iter().zip(texts) {
            assert!(matches!(
                error,
                TheoryError::Shape { .. } | TheoryError::InvalidParameter { .. }
            ));
            assert!(error.to_string().starts_with(text), "{error}");
        }
    }
}
