use layerwise_linalg::ndarray::{Array2, array, s};
use layerwise_linalg::{Cholesky, LinalgError, Scalar};

use crate::common::{
    LAYOUTS, Stored, cast, generator, haar_rows, log_spaced, naive, normal, relative_error,
    symmetric, widen,
};

/// Backward error of the factorization and forward errors of the solves.
fn check<A: Scalar>(n: usize, condition: f64, seed: u64) {
    let rng = &mut generator(seed);
    let q = haar_rows(rng, n, n);
    let spectrum = log_spaced(n, condition);
    let s: Array2<A> = cast(&symmetric(&q, &spectrum, |x| x));
    let cholesky = Cholesky::new(s.view(), A::zero()).unwrap();
    let epsilon = A::epsilon().as_f64();

    let l = cholesky.lower();
    for i in 0..n {
        assert!(l.slice(s![i, i + 1..]).iter().all(|&x| x == A::zero()));
    }
    // Higham, theorem 10.3: |L Lᵀ − S|_ij ≤ γ_{n+1} √(s_ii s_jj) / (1 − γ_{n+1}).
    let product = naive(l, l.t());
    for ((i, j), &value) in product.indexed_iter() {
        let bound = 2.0 * (n + 1) as f64 * epsilon * (s[[i, i]] * s[[j, j]]).sqrt().as_f64();
        assert!((value - s[[i, j]].as_f64()).abs() <= bound, "({i}, {j}) of {n}");
    }

    // x is known, b = S x is rounded: ‖δx‖/‖x‖ is at most of the order n ε κ.
    let tolerance = 4.0 * n as f64 * epsilon * condition;
    let x = normal(rng, n, 3);
    for layout in LAYOUTS {
        let mut b = Stored::new(&cast::<A>(&naive(widen(s.view()).view(), x.view())), layout);
        cholesky.solve_left(&mut b.view_mut()).unwrap();
        let error = relative_error(b.view(), &x);
        assert!(error <= tolerance, "left, n = {n}, κ = {condition:e}: {error:e}");
        assert!(b.surroundings_intact());
        let rhs = cast::<A>(&naive(x.t(), widen(s.view()).view()));
        let mut b = Stored::new(&rhs, layout);
        cholesky.solve_right(&mut b.view_mut()).unwrap();
        let error = relative_error(b.view(), &x.t().to_owned());
        assert!(error <= tolerance, "right, n = {n}, κ = {condition:e}: {error:e}");
        assert!(b.surroundings_intact());
    }

    // Each eigenvalue is off by at most n ε λ_max, relative n ε κ: the sum of logarithms by n² ε κ.
    let determinant: f64 = spectrum.iter().map(|x| x.ln()).sum();
    let error = (cholesky.log_determinant().as_f64() - determinant).abs();
    assert!(error <= (n * n) as f64 * epsilon * condition, "log det: {error:e}");
    let reciprocal = cholesky.reciprocal_condition().as_f64();
    assert!(reciprocal <= 1.0 && reciprocal >= (1.0 - tolerance) / condition);
}

#[test]
fn factors_and_solves_dense_matrices_of_known_spectrum() {
    for n in [1, 2, 5, 33, 100] {
        check::<f64>(n, if n == 1 { 1.0 } else { 1e2 }, 1);
        check::<f32>(n, if n == 1 { 1.0 } else { 1e2 }, 2);
        check::<f64>(n, if n == 1 { 1.0 } else { 1e8 }, 3);
    }
}

#[test]
fn the_ridge_makes_a_rank_deficient_matrix_solvable() {
    let rng = &mut generator(4);
    let g = normal(rng, 30, 6);
    let s = naive(g.view(), g.t());
    let s = (&s + &s.t()) * 0.5;
    let cholesky = Cholesky::new(s.view(), 1e-3).unwrap();
    let x = normal(rng, 30, 2);
    let mut b = naive((&s + &(Array2::<f64>::eye(30) * 1e-3)).view(), x.view());
    cholesky.solve_left(&mut b.view_mut()).unwrap();
    // κ ≤ (tr S + 10⁻³)/10⁻³.
    let condition = (s.diag().sum() + 1e-3) / 1e-3;
    assert!(relative_error(b.view(), &x) <= 4.0 * 30.0 * f64::EPSILON * condition);
}

#[test]
fn an_error_keeps_the_former_factorization() {
    let rng = &mut generator(5);
    let g = normal(rng, 7, 9);
    let s = naive(g.view(), g.t());
    let s = (&s + &s.t()) * 0.5;
    let mut cholesky = Cholesky::new(s.view(), 0.0).unwrap();
    let before = cholesky.lower().to_owned();

    let mut indefinite = s.clone();
    indefinite[[4, 4]] = -1.0;
    let error = cholesky.factor(indefinite.view(), 0.0).unwrap_err();
    assert_eq!(error, LinalgError::NotPositiveDefinite { minor: 5 });
    assert_eq!(cholesky.lower(), before);

    let mut broken = s.clone();
    broken[[2, 6]] = f64::NAN;
    let error = cholesky.factor(broken.view(), 0.0).unwrap_err();
    assert!(matches!(error, LinalgError::NonFinite { row: 2, col: 6, .. }), "{error:?}");

    let mut skew = s.clone();
    skew[[2, 6]] += 1e-3;
    let error = cholesky.factor(skew.view(), 0.0).unwrap_err();
    assert!(matches!(error, LinalgError::NotSymmetric { row: 6, col: 2, .. }), "{error:?}");

    let overflow = Array2::<f64>::eye(7) * f64::MAX;
    let error = cholesky.factor(overflow.view(), f64::MAX).unwrap_err();
    assert_eq!(error, LinalgError::NotPositiveDefinite { minor: 1 });
    assert!(cholesky.set_lower((&before * -1.0).view()).is_err());
    assert_eq!(cholesky.lower(), before);
    cholesky.factor(s.view(), 0.0).unwrap();
    assert_eq!(cholesky.lower(), before);
}

/// Second moments of fewer samples than coordinates: the last pivots are rounding errors, half of
/// them positive.
fn refuses_singular_moments<A: Scalar>() {
    for seed in 0..200 {
        let rng = &mut generator(1000 + seed);
        let n = 2 + (seed as usize) % 40;
        let x = normal(rng, n - 1, n);
        let s: Array2<A> = cast(&(naive(x.t(), x.view()) / (n - 1) as f64));
        let error = Cholesky::new(s.view(), A::zero()).unwrap_err();
        assert!(matches!(error, LinalgError::NotPositiveDefinite { .. }), "{n}: {error:?}");
    }
}

#[test]
fn a_singular_moment_is_told_from_a_regular_one() {
    refuses_singular_moments::<f64>();
    refuses_singular_moments::<f32>();
}

#[test]
fn every_asymmetry_is_found() {
    // One block of the comparison more than fits, with the difference at every place in turn.
    let n = 35;
    let rng = &mut generator(6);
    let g = normal(rng, n, n);
    let s = naive(g.view(), g.t());
    let mut s = &s + &s.t();
    let mut cholesky = Cholesky::with_dimension(n);
    let entry = s.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    // Above and below the limit of 8 n ε max|s|.
    let limit = 8.0 * n as f64 * f64::EPSILON * entry;
    for i in 0..n {
        for j in 0..i {
            let former = s[[i, j]];
            s[[i, j]] = former + 1.5 * limit;
            let found = cholesky.factor(s.view(), 0.0).unwrap_err();
            assert!(
                matches!(found, LinalgError::NotSymmetric { row, col, .. } if (row, col) == (i, j)),
                "({i}, {j}): {found:?}"
            );
            s[[i, j]] = former + 0.5 * limit;
            let found = cholesky.factor(s.view(), 0.0);
            assert!(!matches!(found, Err(LinalgError::NotSymmetric { .. })), "({i}, {j})");
            s[[i, j]] = former;
        }
    }
}

#[test]
fn takes_a_given_lower_factor() {
    let l = array![[2.0, f64::NAN, 5.0], [1.0, 3.0, f64::INFINITY], [-1.0, 0.5, 0.25]];
    let cholesky = Cholesky::from_lower(l.view()).unwrap();
    let expected = array![[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [-1.0, 0.5, 0.25]];
    assert_eq!(cholesky.lower(), expected);
    // S has small integer and dyadic entries: x comes back but for rounding, κ(L)² ε.
    let s = naive(expected.view(), expected.t());
    let x = array![[1.0], [-2.0], [4.0]];
    let mut b = naive(s.view(), x.view());
    cholesky.solve_left(&mut b.view_mut()).unwrap();
    assert!(relative_error(b.view(), &x) < 1e4 * f64::EPSILON);
    let zero = array![[1.0, 0.0], [3.0, 0.0]];
    let error = Cholesky::from_lower(zero.view()).unwrap_err();
    assert_eq!(error, LinalgError::NotPositiveDefinite { minor: 2 });
}

#[test]
fn dimension_zero_is_a_valid_problem() {
    let empty = Array2::<f64>::zeros((0, 0));
    let cholesky = Cholesky::new(empty.view(), 0.0).unwrap();
    assert_eq!((cholesky.dimension(), cholesky.log_determinant()), (0, 0.0));
    assert_eq!(cholesky.reciprocal_condition(), 1.0);
    cholesky.solve_left(&mut Array2::zeros((0, 3)).view_mut()).unwrap();
}

#[test]
fn inverses_are_symmetric_in_every_bit() {
    let rng = &mut generator(91);
    for (n, condition) in [(1, 1.0), (5, 1e3), (40, 1e6), (300, 1e4)] {
        let q = haar_rows(rng, n, n);
        let spectrum = log_spaced(n, condition);
        let s = symmetric(&q, &spectrum, |x| x);
        let mut cholesky = Cholesky::new(s.view(), 0.0).unwrap();
        let before = cholesky.lower().to_owned();
        let mut inverse = Array2::zeros((n, n));
        cholesky.inverse_into(&mut inverse.view_mut()).unwrap();
        assert_eq!(inverse, inverse.t());
        let expected = symmetric(&q, &spectrum, |x| 1.0 / x);
        // A factorization, a solve and a product, each to n ε, amplified by κ.
        let bound = 3.0 * n as f64 * f64::EPSILON * condition;
        assert!(relative_error(inverse.view(), &expected) <= bound);
        // The factor itself is as it was.
        assert_eq!(cholesky.lower(), before);
        let mut other = Array2::zeros((n + 1, n));
        let error = cholesky.inverse_into(&mut other.view_mut());
        assert!(matches!(error, Err(LinalgError::Shape { .. })), "{error:?}");
    }
}
