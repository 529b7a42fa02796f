//! What one gradient step on a single-index model consists of, before any limit.
//!
//! The student is `f(x) = (1/√h) aᵀ σ(G x)` with h hidden units and a fixed head a,
//! `a_j = ±1/√h`; rows of G are `N(0, I/d)`. The scale of a matters: with `a_j = ±1` the student's
//! own output is as large as the targets, and what follows is false.

use layerwise_linalg::Cholesky;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::error::{check_shape, require};
use crate::{LinkMoments, Result};

/// The part of `−∇_G L̂` that remains beside the rest as n, d and h grow together:
/// `(c₁/√h) a β̂ᵀ`, h × d, of rank one.
///
/// `head` is a (h entries), `direction` is `β̂ = Ê[y x]` (d entries), `activation` holds
/// `c₁ = E[σ′(τZ)]`, `τ² = tr Σ/d`, of the student. The rest's operator norm relative to the
/// spike's is of order `1/√d`: each of its terms is a product of centred matrices over a factor of
/// `√h` more than the spike has, or carries the student's output, itself of order `1/√h`.
///
/// # Errors
/// Where the head or the direction is empty.
pub fn gradient_spike(
    head: ArrayView1<f64>,
    direction: ArrayView1<f64>,
    activation: &LinkMoments,
) -> Result<Array2<f64>> {
    let (h, d) = (head.len(), direction.len());
    require("number of hidden units", h as f64, h >= 1, "at least 1")?;
    require("input dimension", d as f64, d >= 1, "at least 1")?;
    let scale = activation.slope / (h as f64).sqrt();
    let column = head.mapv(|a| scale * a).insert_axis(Axis(1));
    Ok(column.dot(&direction.insert_axis(Axis(0))))
}

/// What stands for `β̂` in [`gradient_spike`] where the student's units are the identity,
/// `β̂ − Q Gᵀa/√h`: with `c₁ = 1` the spike is then all of `−∇_G L̂`, exactly, at any size.
///
/// `head` is a (h entries), `representation` is G (h × d), `second_moment` is `Q = Ê[xxᵀ]`,
/// `direction` is `β̂ = Ê[y x]`.
///
/// # Errors
/// Where shapes do not fit.
pub fn linear_units_direction(
    head: ArrayView1<f64>,
    representation: ArrayView2<f64>,
    second_moment: ArrayView2<f64>,
    direction: ArrayView1<f64>,
) -> Result<Array1<f64>> {
    let (h, d) = (head.len(), direction.len());
    check_shape("representation", (h, d), representation.dim())?;
    check_shape("second moment", (d, d), second_moment.dim())?;
    let student = representation.t().dot(&head) / (h as f64).sqrt();
    Ok(&direction - &second_moment.dot(&student))
}

/// The direction that one step of KFAC with identity output factor learns,
/// `(Q + λI)⁻¹ b` for `b = Ê[y x]`, `Q = Ê[xxᵀ]`.
///
/// # Errors
/// Where shapes do not fit, the damping is negative or not finite, or `Q + λI` is not positive
/// definite.
pub fn ridge_direction(
    second_moment: ArrayView2<f64>,
    cross_moment: ArrayView1<f64>,
    damping: f64,
) -> Result<Array1<f64>> {
    let d = cross_moment.len();
    check_shape("second moment", (d, d), second_moment.dim())?;
    require("damping", damping, damping >= 0.0 && damping.is_finite(), "zero or positive, finite")?;
    let mut solved = cross_moment.to_owned().insert_axis(Axis(1));
    Cholesky::new(second_moment, damping)?.solve_left(&mut solved.view_mut())?;
    Ok(solved.remove_axis(Axis(1)))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_spike_is_an_outer_product() {
        let activation = LinkMoments { tau: 1.0, slope: 0.6, second: 0.4 };
        let spike = gradient_spike(
            array![0.5, -0.5, 0.5, 0.5].view(),
            array![2.0, -1.0].view(),
            &activation,
        )
        .unwrap();
        // c₁/√h = 0.3.
        assert!((spike[[0, 0]] - 0.3).abs() < 1e-15);
        assert!((spike[[1, 0]] + 0.3).abs() < 1e-15);
        assert!((spike[[3, 1]] + 0.15).abs() < 1e-15);
        let error = gradient_spike(array![].view(), array![1.0].view(), &activation).unwrap_err();
        assert_eq!(error.to_string(), "number of hidden units is 0, but must be at least 1");
    }

    #[test]
    fn linear_units_fit_what_their_own_output_leaves() {
        // One unit with a = 1: −∇ is β̂ − Q g, zero at the least-squares solution.
        let q = array![[2.0, 0.5], [0.5, 1.0]];
        let direction = q.dot(&array![1.0, -1.0]);
        let at = |g: [f64; 2]| {
            linear_units_direction(array![1.0].view(), array![g].view(), q.view(), direction.view())
        };
        assert!(at([1.0, -1.0]).unwrap().iter().all(|e| e.abs() < 1e-15));
        assert_eq!(at([0.0, 0.0]).unwrap(), direction);
        let two = array![1.0, 1.0];
        assert!(
            linear_units_direction(two.view(), array![[1.0, 0.0]].view(), q.view(), two.view())
                .is_err()
        );
    }

    #[test]
    fn the_ridge_direction_solves_its_equation() {
        let q = array![[2.0, 0.5], [0.5, 1.0]];
        let b = array![1.0, -3.0];
        let beta = ridge_direction(q.view(), b.view(), 0.25).unwrap();
        let back = q.dot(&beta) + &beta * 0.25;
        assert!((&back - &b).iter().all(|e| e.abs() < 1e-14), "{back}");
        assert!(ridge_direction(q.view(), b.view(), -1.0).is_err());
        assert!(ridge_direction(q.view(), array![1.0].view(), 0.0).is_err());
    }
}
