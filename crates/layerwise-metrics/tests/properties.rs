//! Properties of the metrics on dense random matrices.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is a panic by design")]

use layerwise_linalg::{Cholesky, orthonormal_rows, singular_values};
use layerwise_metrics::ndarray::{Array1, Array2, array, s};
use layerwise_metrics::{
    MetricsError, alignment, excess_loss, excess_transfer_loss, principal_angles, subspace_distance,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

fn normals(rows: usize, columns: usize, rng: &mut Xoshiro256PlusPlus) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || StandardNormal.sample(rng))
}

/// A dense covariance factor `L = Q diag(s)` whose squared spectrum spans `condition`.
fn covariance_factor(d: usize, condition: f64, rng: &mut Xoshiro256PlusPlus) -> Array2<f64> {
    let mut factor = orthonormal_rows(normals(d, d, rng).view()).unwrap();
    for (j, mut column) in factor.columns_mut().into_iter().enumerate() {
        column *= condition.powf(0.5 * (j as f64 / (d - 1) as f64 - 0.5));
    }
    factor
}

fn operator_norm(m: &Array2<f64>) -> f64 {
    singular_values(m.view()).unwrap()[0]
}

proptest! {
    /// Symmetry, invariance, the projector form and the triangle inequality. An orthonormal basis
    /// computed from a matrix with condition number c carries an error of about c·ε·√d; the
    /// matrices A below have c ≤ 3 + 1, the Gaussian ones are bounded by their singular values.
    #[test]
    fn subspace_distance_is_a_metric(seed in 0_u64..u64::MAX, k in 1_usize..6, extra in 1_usize..8) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let d = k + extra;
        let [a, b, c] = [0; 3].map(|_| normals(k, d, &mut rng));
        let condition = [&a, &b, &c].iter().map(|m| {
            let s = singular_values(m.view()).unwrap();
            s[0] / s[k - 1]
        }).fold(1.0, f64::max);
        let tolerance = 64.0 * condition * f64::EPSILON * (d as f64).sqrt();
        prop_assume!(tolerance < 1e-10);
        let ab = subspace_distance(a.view(), b.view()).unwrap();
        prop_assert!((0.0..=1.0).contains(&ab));
        prop_assert!((ab - subspace_distance(b.view(), a.view()).unwrap()).abs() <= tolerance);
        prop_assert!(subspace_distance(a.view(), a.view()).unwrap() <= tolerance);
        let ac = subspace_distance(a.view(), c.view()).unwrap();
        let cb = subspace_distance(c.view(), b.view()).unwrap();
        prop_assert!(ab <= ac + cb + tolerance);
        // A triangular change of basis with unit diagonal and entries ≤ 1/k is well conditioned.
        let mut change = Array2::<f64>::eye(k);
        for i in 0..k { for j in 0..i { change[[i, j]] = rand::Rng::random_range(&mut rng, -1.0..1.0) / k as f64; } }
        let changed = change.dot(&a);
        prop_assert!((ab - subspace_distance(changed.view(), b.view()).unwrap()).abs() <= 8.0 * tolerance);
        let (qa, qb) = (orthonormal_rows(a.view()).unwrap(), orthonormal_rows(b.view()).unwrap());
        let projectors = qa.t().dot(&qa) - qb.t().dot(&qb);
        prop_assert!((ab - operator_norm(&projectors)).abs() <= tolerance);
        let angles = principal_angles(a.view(), b.view()).unwrap();
        // sin∘acos near cosine 1 turns ε into √ε.
        prop_assert!((angles[k - 1].sin() - ab).abs() <= tolerance.sqrt());
    }

    /// The closed form equals the loss of the head found by weighted least squares, and lies
    /// between its bounds.
    #[test]
    fn transfer_loss_is_the_best_heads(seed in 0_u64..u64::MAX, k in 1_usize..5, extra in 1_usize..6, outputs in 1_usize..7) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let d = k + extra;
        let factor = covariance_factor(d, 100.0, &mut rng);
        let covariance = factor.dot(&factor.t());
        let reference = orthonormal_rows(normals(k, d, &mut rng).view()).unwrap();
        let g = normals(k, d, &mut rng);
        let s = singular_values(g.view()).unwrap();
        prop_assume!(s[0] / s[k - 1] < 1e3);
        let head = normals(outputs, k, &mut rng);
        let value = excess_transfer_loss(g.view(), head.view(), reference.view(), factor.view()).unwrap();
        let target = head.dot(&reference);
        let normal_equations = Cholesky::new(g.dot(&covariance).dot(&g.t()).view(), 0.0).unwrap();
        let mut best = target.dot(&covariance).dot(&g.t());
        normal_equations.solve_right(&mut best.view_mut()).unwrap();
        let direct = excess_loss(best.dot(&g).view(), target.view(), factor.view()).unwrap();
        // Normal equations square the condition number of G L: (10³ · 10)² ε relative to the target.
        let scale = excess_loss(Array2::zeros(target.dim()).view(), target.view(), factor.view()).unwrap();
        prop_assert!((value - direct).abs() <= 1e8 * f64::EPSILON * scale);

        let distance = subspace_distance(g.view(), reference.view()).unwrap();
        let head_values = singular_values(head.view()).unwrap();
        let smallest = if outputs < k { 0.0 } else { head_values[k - 1] };
        let q = orthonormal_rows(g.view()).unwrap();
        let missed = &reference - &reference.dot(&q.t()).dot(&q);
        let missed = missed.iter().map(|x| x * x).sum::<f64>();
        let head_norm = head_values.iter().map(|x| x * x).sum::<f64>();
        let slack = 1e-9 * scale;
        prop_assert!(value >= 0.5 * 0.1 * smallest * smallest * missed - slack);
        prop_assert!(value <= 0.5 * 10.0 * head_norm * distance * distance + slack);
    }
}

#[test]
fn known_angle_is_found_even_when_tiny() {
    for angle in [1.0_f64, 1e-3, 1e-9] {
        let reference = array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let g = array![[2.0, 0.0, 0.0], [3.0, angle.cos(), angle.sin()]];
        let distance = subspace_distance(g.view(), reference.view()).unwrap();
        assert!((distance - angle.sin()).abs() < 32.0 * f64::EPSILON, "{distance} for {angle}");
    }
}

#[test]
fn alignment_ignores_scale_and_sign() {
    let u = array![3.0, 4.0];
    assert_eq!(alignment(u.view(), (&u * -1e200).view()).unwrap(), 1.0);
    assert!((alignment(u.view(), array![1e-300, 0.0].view()).unwrap() - 0.6).abs() < 1e-15);
    assert!(alignment(u.view(), array![-4.0, 3.0].view()).unwrap() < 1e-16);
}

#[test]
fn bad_arguments_are_named() {
    let g = array![[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]];
    let reference = array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    assert!(matches!(
        subspace_distance(g.view(), reference.view()),
        Err(MetricsError::Linalg(layerwise_linalg::LinalgError::RankDeficient { .. }))
    ));
    let error = subspace_distance(reference.slice(s![.., ..2]), reference.view()).unwrap_err();
    assert_eq!(error.to_string(), "representation: expected shape (2, 3), found (2, 2)");
    let zero = Array1::<f64>::zeros(2);
    let error = alignment(zero.view(), array![1.0, 2.0].view()).unwrap_err();
    assert_eq!(error.to_string(), "first vector is the zero vector, so it has no direction");
    let error = alignment(array![1.0, f64::NAN].view(), array![1.0, 2.0].view()).unwrap_err();
    assert!(matches!(error, MetricsError::NonFinite { what: "first vector", .. }));
    let error = excess_loss(g.view(), reference.slice(s![..1, ..]), Array2::eye(3).view());
    assert!(matches!(error, Err(MetricsError::Shape { what: "predictor", .. })));
    let error = excess_transfer_loss(
        reference.view(),
        Array2::zeros((2, 3)).view(),
        reference.view(),
        Array2::eye(3).view(),
    );
    assert!(matches!(error, Err(MetricsError::Shape { what: "head", .. })));
}
