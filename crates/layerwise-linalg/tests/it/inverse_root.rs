use layerwise_linalg::ndarray::{Array1, Array2, array};
use layerwise_linalg::{
    Cutoff, LinalgError, Ridge, RootOptions, Scalar, SymmetricEigen, inverse_root,
};

use crate::common::{
    LAYOUTS, Stored, cast, generator, haar_rows, log_spaced, naive, normal, relative_error,
    symmetric, widen,
};

const EXPONENTS: [f64; 4] = [1.0, 0.5, 0.25, 0.125];

/// First-order bound: S and its decomposition are off by at most n ε ‖S‖ each, which moves
/// S^(−e) by at most e κ · 2 n ε relative to its norm; n ε more for the last product.
fn tolerance<A: Scalar>(n: usize, condition: f64, exponent: f64) -> f64 {
    n as f64 * A::epsilon().as_f64() * (2.0 * exponent * condition + 1.0)
}

fn check<A: Scalar>(n: usize, condition: f64, seed: u64) {
    let rng = &mut generator(seed);
    let q = haar_rows(rng, n, n);
    let spectrum = log_spaced(n, condition) * 2.5;
    let s: Array2<A> = cast(&symmetric(&q, &spectrum, |x| x));
    for exponent in EXPONENTS {
        let expected = symmetric(&q, &spectrum, |x| x.powf(-exponent));
        let root = inverse_root(s.view(), exponent, &RootOptions::default()).unwrap();
        assert_eq!(root, root.t(), "symmetric in every bit");
        let error = relative_error(root.view(), &expected);
        let tolerance = tolerance::<A>(n, condition, exponent);
        assert!(
            error <= tolerance,
            "{n}, κ = {condition:e}, {exponent}: {error:e} > {tolerance:e}"
        );
    }
}

#[test]
fn roots_of_dense_matrices_of_known_spectrum() {
    for (n, seed) in [(2, 1), (10, 2), (48, 3)] {
        for condition in [10.0, 1e4, 1e8] {
            check::<f64>(n, condition, seed);
        }
        check::<f32>(n, 10.0, seed);
        check::<f32>(n, 1e3, seed);
    }
}

/// Single precision loses no more than the condition explains: for the small matrices of a Kronecker
/// factor, half of what a norm-wise bound of 2 n ε allows.
///
/// To first order ‖(S + E)^(−e) − S^(−e)‖_F ≤ e λₘᵢₙ^(−e−1) ‖E‖_F, so relative to the root, whose norm
/// is at least λₘᵢₙ^(−e), at most e κ ‖E‖_F / ‖S‖₂. The decomposition applies reflections from two sides,
/// each with independent errors of about ε ‖S‖₂ in n directions: ‖E‖_F ≤ 2 √n ε ‖S‖₂.
#[test]
fn single_precision_roots_of_small_matrices_are_as_good_as_their_condition() {
    let condition = 1e4;
    for n in [4, 8, 16] {
        for seed in 0..20 {
            let rng = &mut generator(100 + seed);
            let q = haar_rows(rng, n, n);
            let s: Array2<f32> = cast(&symmetric(&q, &log_spaced(n, condition), |x| x));
            for exponent in [0.5, 0.25] {
                let options = RootOptions::default();
                let found = inverse_root(s.view(), exponent, &options).unwrap();
                let expected = inverse_root(widen(s.view()).view(), exponent, &options).unwrap();
                let error = relative_error(found.view(), &expected);
                let moved = 2.0 * (n as f64).sqrt() * f64::from(f32::EPSILON);
                let tolerance = exponent * condition * moved;
                assert!(error <= tolerance, "{n}, {exponent}: {error:e} > {tolerance:e}");
            }
        }
    }
}

/// For S of rank r with a ridge the spectrum is known exactly: (λ + ridge) and ridge.
#[test]
fn each_ridge_of_a_rank_deficient_matrix() {
    let (n, rank) = (20, 5);
    let rng = &mut generator(4);
    let q = haar_rows(rng, n, n);
    let spectrum =
        Array1::from_shape_fn(n, |i| if i < rank { 3.0 / (1.0 + i as f64) } else { 0.0 });
    let s = symmetric(&q, &spectrum, |x| x);
    let cases = [
        (Ridge::Absolute(1e-4), 1e-4),
        (Ridge::RelativeToLargest(1e-4), 3e-4),
        (Ridge::RelativeToTrace(1e-3), 1e-3 * spectrum.sum() / n as f64),
    ];
    for (ridge, added) in cases {
        for exponent in EXPONENTS {
            let options = RootOptions { ridge, pseudo_inverse: None };
            let root = inverse_root(s.view(), exponent, &options).unwrap();
            let expected = symmetric(&q, &spectrum, |x| (x + added).powf(-exponent));
            let error = relative_error(root.view(), &expected);
            assert!(error <= tolerance::<f64>(n, 3.0 / added, exponent), "{ridge:?}: {error:e}");
        }
    }
    let single: Array2<f32> = cast(&s);
    let options = RootOptions { ridge: Ridge::Absolute(1e-2), pseudo_inverse: None };
    let root = inverse_root(single.view(), 0.25, &options).unwrap();
    let expected = symmetric(&q, &spectrum, |x| (x + 1e-2).powf(-0.25));
    assert!(relative_error(root.view(), &expected) <= tolerance::<f32>(n, 3e2, 0.25));
}

#[test]
fn a_ridge_below_rounding_counts_from_zero() {
    // Computed eigenvalues of a singular matrix are ±ε-sized; a tiny ridge must not meet them.
    let rng = &mut generator(5);
    let q = haar_rows(rng, 12, 12);
    let spectrum = Array1::from_shape_fn(12, |i| if i < 4 { 1.0 } else { 0.0 });
    let s: Array2<f32> = cast(&symmetric(&q, &spectrum, |x| x));
    let options = RootOptions { ridge: Ridge::Absolute(1e-12), pseudo_inverse: None };
    let root = inverse_root(s.view(), 0.25, &options).unwrap();
    assert!(root.iter().all(|x| x.is_finite()));
}

#[test]
fn pseudo_inverse_roots_are_zero_on_the_null_space() {
    let (n, rank) = (15, 6);
    let rng = &mut generator(6);
    let q = haar_rows(rng, n, n);
    let spectrum =
        Array1::from_shape_fn(n, |i| if i < rank { 1.0 / (1.0 + i as f64) } else { 0.0 });
    let s = symmetric(&q, &spectrum, |x| x);
    for exponent in EXPONENTS {
        let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(1e-10.into()) };
        let root = inverse_root(s.view(), exponent, &options).unwrap();
        let expected = symmetric(&q, &spectrum, |x| if x > 0.0 { x.powf(-exponent) } else { 0.0 });
        let error = relative_error(root.view(), &expected);
        assert!(error <= tolerance::<f64>(n, rank as f64, exponent), "{error:e}");
    }
    // A cut-off between the eigenvalues 1/3 and 1/4 keeps three; a cut-off of 0 drops rounding.
    // The larger of a relative and an absolute one counts, of which the former sees the scale.
    for (relative, absolute, kept) in
        [(0.3, 0.0, 3), (0.0, 0.0, 6), (0.0, 0.3, 3), (0.3, 0.6, 1), (0.3, 0.1, 3)]
    {
        let cutoff = Cutoff { relative, absolute };
        let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(cutoff) };
        let root = inverse_root(s.view(), 1.0, &options).unwrap();
        // tr(S S⁺) counts the eigenvalues kept.
        let trace = naive(s.view(), root.view()).diag().sum();
        assert!((trace - f64::from(kept)).abs() < 1e-10, "{trace}");
    }
    let scaled = &s * 0.1;
    for (cutoff, kept) in [
        (Cutoff { relative: 0.3, absolute: 0.0 }, 3),
        (Cutoff { relative: 0.0, absolute: 0.03 }, 3),
    ] {
        let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(cutoff) };
        let root = inverse_root(scaled.view(), 1.0, &options).unwrap();
        let trace = naive(scaled.view(), root.view()).diag().sum();
        assert!((trace - f64::from(kept)).abs() < 1e-10, "{cutoff:?}: {trace}");
    }
    let zero = Array2::<f64>::zeros((4, 4));
    let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(1e-10.into()) };
    assert_eq!(inverse_root(zero.view(), 0.25, &options).unwrap(), zero);
}

#[test]
fn singular_and_indefinite_matrices_are_refused() {
    let rng = &mut generator(7);
    let g = normal(rng, 10, 4);
    let s = naive(g.view(), g.t());
    let s = (&s + &s.t()) * 0.5;
    let error = inverse_root(s.view(), 0.5, &RootOptions::default()).unwrap_err();
    assert!(matches!(error, LinalgError::EigenvalueNotPositive { .. }), "{error:?}");
    let indefinite = array![[1.0, 2.0], [2.0, 1.0]];
    for options in [
        RootOptions::default(),
        RootOptions { ridge: Ridge::Absolute(0.5), pseudo_inverse: None },
        RootOptions { ridge: Ridge::None, pseudo_inverse: Some(1e-8.into()) },
    ] {
        let error = inverse_root(indefinite.view(), 0.5, &options).unwrap_err();
        assert!(
            matches!(error, LinalgError::EigenvalueNotPositive { value, .. } if value < -0.4),
            "{error:?}"
        );
    }
    // A ridge that makes it definite: eigenvalues 3 + 2 and −1 + 2.
    let options = RootOptions { ridge: Ridge::Absolute(2.0), pseudo_inverse: None };
    let root = inverse_root(indefinite.view(), 1.0, &options).unwrap();
    assert!(relative_error(root.view(), &array![[0.6, -0.4], [-0.4, 0.6]]) < 1e-15);
}

#[test]
fn what_would_overflow_is_refused() {
    let s = Array2::<f32>::eye(3) * 1e-30;
    let error = inverse_root(s.view(), 2.0, &RootOptions::default()).unwrap_err();
    assert!(matches!(error, LinalgError::InvalidParameter { name: "exponent", .. }), "{error:?}");
    let root = inverse_root(s.view(), 1.0, &RootOptions::default()).unwrap();
    assert!((f64::from(root[[1, 1]]) * 1e-30 - 1.0).abs() < 1e-6);
}

#[test]
fn writes_into_every_layout_and_leaves_it_on_error() {
    let rng = &mut generator(8);
    let q = haar_rows(rng, 9, 9);
    let spectrum = log_spaced(9, 100.0);
    let s = symmetric(&q, &spectrum, |x| x);
    let expected = symmetric(&q, &spectrum, |x| x.powf(-0.25));
    let mut eigen = SymmetricEigen::new(s.view()).unwrap();
    for layout in LAYOUTS {
        let mut out = Stored::new(&Array2::from_elem((9, 9), f64::NAN), layout);
        eigen.inverse_root_into(0.25, &RootOptions::default(), &mut out.view_mut()).unwrap();
        assert!(out.surroundings_intact());
        assert!(relative_error(out.view(), &expected) <= tolerance::<f64>(9, 100.0, 0.25));
        let before = out.view().to_owned();
        assert!(
            eigen.inverse_root_into(-1.0, &RootOptions::default(), &mut out.view_mut()).is_err()
        );
        assert_eq!(out.view(), before);
    }
}
