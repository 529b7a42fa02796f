use layerwise_linalg::ndarray::Array2;
use layerwise_linalg::{
    ExactPolar, LinalgError, NewtonSchulz, PolarWorkspace, Ridge, RootOptions, Scalar,
    inverse_root, polar_factor_exact, singular_values,
};

use crate::common::{
    LAYOUTS, Stored, cast, departure_from_orthonormal, frobenius, generator, haar_rows, naive,
    normal, relative_error, with_singular_values,
};

/// The scalar recursion that Newton-Schulz applies to each singular value.
fn scalar_iterate(method: &NewtonSchulz, s: f64, norm: f64) -> f64 {
    let [a, b, c] = method.polynomials[0];
    (0..method.steps)
        .fold(s / (norm + method.epsilon), |s, _| a * s + b * s.powi(3) + c * s.powi(5))
}

fn check<A: Scalar>(rows: usize, cols: usize, seed: u64) {
    let rng = &mut generator(seed);
    let r = rows.min(cols);
    let u = haar_rows(rng, r, rows);
    let v = haar_rows(rng, r, cols);
    let values: Vec<f64> = (0..r).map(|i| 4.0 / (1.0 + i as f64)).collect();
    let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let assemble = |values: Vec<f64>| {
        let mut scaled = v.clone();
        for (mut row, value) in scaled.rows_mut().into_iter().zip(values) {
            row.mapv_inplace(|x| x * value);
        }
        naive(u.t(), scaled.view())
    };
    let m: Array2<A> = cast(&assemble(values.clone()));
    let method = NewtonSchulz::default();
    let expected = assemble(values.iter().map(|&s| scalar_iterate(&method, s, norm)).collect());
    let mut work = PolarWorkspace::with_shape(rows, cols);
    // As for the reference values: five steps multiply an error by at most 4 each.
    let tolerance = 4_f64.powi(5) * 10.0 * rows.max(cols) as f64 * A::epsilon().as_f64();
    for layout in LAYOUTS {
        let mut stored = Stored::new(&m, layout);
        method.apply(&mut stored.view_mut(), &mut work).unwrap();
        let error = frobenius(&(stored.view().mapv(|x| x.as_f64()) - &expected));
        assert!(error <= tolerance, "{rows} x {cols} {layout:?}: {error:e}");
        assert!(stored.surroundings_intact());
    }
}

#[test]
fn newton_schulz_acts_on_singular_values() {
    for (rows, cols) in [(1, 1), (5, 5), (4, 11), (11, 4), (30, 17), (1, 6)] {
        check::<f64>(rows, cols, 1);
        check::<f32>(rows, cols, 2);
    }
}

#[test]
fn extreme_scales_are_normalized() {
    let rng = &mut generator(3);
    let base = normal(rng, 4, 6);
    let method = NewtonSchulz { epsilon: 0.0, ..NewtonSchulz::default() };
    let mut work = PolarWorkspace::with_shape(4, 6);
    let mut expected = base.clone();
    method.apply(&mut expected.view_mut(), &mut work).unwrap();
    for scale in [1e300, 1e-300] {
        let mut m = &base * scale;
        method.apply(&mut m.view_mut(), &mut work).unwrap();
        // An input rounded to ε, amplified 4⁵ times.
        assert!(relative_error(m.view(), &expected) <= 1024.0 * 10.0 * f64::EPSILON, "{scale:e}");
    }
}

#[test]
fn zero_matrices_stay_zero_and_need_an_epsilon() {
    let mut work = PolarWorkspace::with_shape(3, 2);
    let mut zero = Array2::<f64>::zeros((3, 2));
    NewtonSchulz::default().apply(&mut zero.view_mut(), &mut work).unwrap();
    assert_eq!(zero, Array2::<f64>::zeros((3, 2)));
    let exact = NewtonSchulz { epsilon: 0.0, ..NewtonSchulz::default() };
    let error = exact.apply(&mut zero.view_mut(), &mut work).unwrap_err();
    assert_eq!(error, LinalgError::RankDeficient { rank: 0, needed: 1 });
}

#[test]
fn a_floor_only_acts_below_it() {
    let m = normal(&mut generator(8), 3, 5);
    let exact = || NewtonSchulz { epsilon: 0.0, ..NewtonSchulz::default() };
    let apply = |method: &NewtonSchulz, m: &Array2<f64>| {
        let mut m = m.clone();
        method.apply(&mut m.view_mut(), &mut PolarWorkspace::with_shape(3, 5)).unwrap();
        m
    };
    let norm = frobenius(&m);
    let floor = NewtonSchulz { epsilon: norm / 2.0, epsilon_is_floor: true, ..exact() };
    assert_eq!(apply(&floor, &m), apply(&exact(), &m));
    // Above the norm it is the divisor, as the sum would be for ε less the norm.
    let floor = NewtonSchulz { epsilon: 3.0 * norm, epsilon_is_floor: true, ..exact() };
    let added = NewtonSchulz { epsilon: 2.0 * norm, ..exact() };
    // An input rounded to ε, amplified 4⁵ times.
    let tolerance = 1024.0 * 10.0 * f64::EPSILON;
    assert!(relative_error(apply(&floor, &m).view(), &apply(&added, &m)) <= tolerance);
    let zero = Array2::<f64>::zeros((3, 5));
    assert_eq!(apply(&floor, &zero), zero);
}

#[test]
fn a_diverging_iteration_leaves_the_matrix() {
    let rng = &mut generator(4);
    let mut m = normal(rng, 3, 3);
    let before = m.clone();
    let method = NewtonSchulz {
        polynomials: vec![[100.0, 100.0, 100.0]],
        steps: 9,
        epsilon: 0.0,
        epsilon_is_floor: false,
    };
    let error = method.apply(&mut m.view_mut(), &mut PolarWorkspace::with_shape(3, 3)).unwrap_err();
    assert_eq!(error, LinalgError::NoConvergence { routine: "Newton-Schulz", info: 9 });
    assert_eq!(m, before);
}

#[test]
fn exact_polar_factors_are_partial_isometries() {
    let rng = &mut generator(5);
    for (rows, cols, rank) in [(5, 5, 5), (4, 9, 4), (9, 4, 4), (8, 6, 3)] {
        let values: Vec<f64> = (0..rank).map(|i| 2.0 / (1.0 + i as f64)).collect();
        let m = with_singular_values(rng, rows, cols, &values);
        let p = polar_factor_exact(m.view()).unwrap();
        // The factor moves by at most ‖δM‖/σ_min; here σ_max/σ_min = rank.
        let tolerance = 8.0 * rank as f64 * rows.max(cols) as f64 * f64::EPSILON;
        let singular = singular_values(p.view()).unwrap();
        for (i, &value) in singular.iter().enumerate() {
            let expected = if i < rank { 1.0 } else { 0.0 };
            assert!((value - expected).abs() <= tolerance, "{rows} x {cols}: {singular}");
        }
        let mut polar = ExactPolar::with_shape(rows, cols);
        for layout in LAYOUTS {
            let mut stored = Stored::new(&m, layout);
            let nuclear = polar.apply(&mut stored.view_mut()).unwrap();
            // Each singular value errs by about ε s_max.
            let sum = values.iter().sum::<f64>();
            assert!((nuclear - sum).abs() <= tolerance * sum, "{rows} x {cols}: {nuclear}");
            assert!(relative_error(stored.view(), &p) <= tolerance, "{layout:?}");
            assert!(stored.surroundings_intact());
        }
        // M = P H with H = Pᵀ M symmetric and positive semi-definite.
        let h = naive(p.t(), m.view());
        assert!(frobenius(&(&h - &h.t())) <= tolerance);
        assert!(relative_error(naive(p.view(), h.view()).view(), &m) <= tolerance);
    }
    let q = haar_rows(rng, 4, 7);
    let p = polar_factor_exact((&q * 3.0).view()).unwrap();
    assert!(departure_from_orthonormal(p.view()) <= 4.0 * 7.0 * f64::EPSILON);
}

/// Shampoo's first step without averaging and ridge: (G Gᵀ)^(−1/4) G (GᵀG)^(−1/4), with
/// pseudo-inverse roots, is the polar factor over the non-zero singular values.
#[test]
fn shampoo_s_first_step_is_the_polar_factor() {
    let rng = &mut generator(6);
    let g = with_singular_values(rng, 7, 5, &[2.0, 1.0, 0.3]);
    let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(1e-12.into()) };
    let symmetrized = |m: Array2<f64>| (&m + &m.t()) * 0.5;
    let left = inverse_root(symmetrized(naive(g.view(), g.t())).view(), 0.25, &options).unwrap();
    let right = inverse_root(symmetrized(naive(g.t(), g.view())).view(), 0.25, &options).unwrap();
    let step = naive(naive(left.view(), g.view()).view(), right.view());
    // Squaring the singular values squares the condition number: (2/0.3)² n ε, in each factor.
    let tolerance = 8.0 * 45.0 * 7.0 * f64::EPSILON;
    assert!(relative_error(step.view(), &polar_factor_exact(g.view()).unwrap()) <= tolerance);
}
