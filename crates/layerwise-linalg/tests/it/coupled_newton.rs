use layerwise_linalg::ndarray::{Array1, Array2, array};
use layerwise_linalg::{CoupledNewton, CoupledNewtonWorkspace, LinalgError, Scalar};

use crate::common::{cast, generator, haar_rows, log_spaced, relative_error, symmetric};

fn root<A: Scalar>(
    newton: &CoupledNewton,
    s: &Array2<A>,
    ridge: f64,
) -> Result<(Array2<A>, usize), LinalgError> {
    let n = s.nrows();
    let mut out = Array2::from_elem((n, n), A::from_f64(7.0));
    let mut work = CoupledNewtonWorkspace::with_dimension(n);
    let steps = newton.inverse_root_into(s.view(), ridge, &mut work, &mut out.view_mut())?;
    Ok((out, steps))
}

#[test]
fn roots_of_dense_matrices_of_known_spectrum() {
    let rng = &mut generator(61);
    for (n, condition) in [(2, 10.0), (12, 1e3), (33, 1e6)] {
        let q = haar_rows(rng, n, n);
        // Far from one: the iteration must not see the scale.
        let spectrum = log_spaced(n, condition) * 2.5e-20;
        let s = symmetric(&q, &spectrum, |x| x);
        for (p, q_power) in [(1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (3, 2), (2, 3)] {
            for (order, from_trace) in [(2, false), (2, true), (3, true), (5, true), (3, false)] {
                let newton = CoupledNewton {
                    root: p,
                    power: q_power,
                    order,
                    from_trace,
                    max_steps: 300,
                    tolerance: 1e-12 * condition,
                    ..CoupledNewton::default()
                };
                let (found, steps) = root(&newton, &s, 0.0).unwrap();
                assert_eq!(found, found.t(), "symmetric in every bit");
                let exponent = f64::from(q_power) / f64::from(p);
                let expected = symmetric(&q, &spectrum, |x| x.powf(-exponent));
                let error = relative_error(found.view(), &expected);
                // max|M − I| moves X by 1/p of √n times that, and rounding by n ε κ at each of the
                // steps; the power multiplies both by q.
                let rounding = n as f64 * f64::EPSILON * condition * steps as f64;
                let bound = f64::from(q_power) * ((n as f64).sqrt() * newton.tolerance + rounding);
                assert!(
                    error <= bound,
                    "n = {n}, κ = {condition:e}, {newton:?}: {error:e} > {bound:e}"
                );
            }
        }
    }
}

#[test]
fn single_precision_and_a_ridge() {
    let (n, rank, ridge) = (10, 4, 0.05);
    let q = haar_rows(&mut generator(62), n, n);
    let spectrum = Array1::from_shape_fn(n, |i| if i < rank { 1.0 } else { 0.0 });
    let s: Array2<f32> = cast(&symmetric(&q, &spectrum, |x| x));
    let newton = CoupledNewton { tolerance: 1e-4, ..CoupledNewton::default() };
    let (found, _) = root(&newton, &s, ridge).unwrap();
    let expected = symmetric(&q, &spectrum, |x| (x + ridge).powf(-0.25));
    // The tolerance, and n ε κ for some ten steps, with κ = 21.
    assert!(relative_error(found.view(), &expected) < 1e-3);
}

#[test]
fn one_step_is_that_of_the_formula() {
    // A = 2 (1 × 1), p = 2: z = 3/4, M = 3/2, T = (3 − M)/2 = 3/4, X = √(3/4) T.
    let newton = CoupledNewton {
        root: 2,
        max_steps: 1,
        tolerance: 0.2,
        residual: 0.2,
        ..CoupledNewton::default()
    };
    let (x, steps) = root(&newton, &array![[2.0_f64]], 0.0).unwrap();
    assert_eq!(steps, 1);
    // A root and two products.
    assert!((x[[0, 0]] - 0.75_f64.sqrt() * 0.75).abs() < 4.0 * f64::EPSILON);
}

#[test]
fn a_step_of_higher_order_is_that_of_the_series() {
    // A = diag(1, 1/9), p = 2, from the trace: z = 9/10, of which M = (9/10, 1/10). The first step
    // is Newton's, T = (3 − m)/2; the second the series of (1 − e)^(−1/2) to the order asked for.
    for order in [2, 3, 4] {
        let newton = CoupledNewton {
            root: 2,
            order,
            from_trace: true,
            max_steps: 2,
            tolerance: 1e-12,
            residual: 1.0,
            ..CoupledNewton::default()
        };
        let (x, steps) = root(&newton, &array![[1.0, 0.0], [0.0, 1.0 / 9.0]], 0.0).unwrap();
        assert_eq!(steps, 2);
        for (i, m) in [0.9_f64, 0.1].into_iter().enumerate() {
            let first = (3.0 - m) / 2.0;
            let e = 1.0 - first * first * m;
            let terms = [1.0, e / 2.0, 3.0 * e * e / 8.0, 5.0 * e.powi(3) / 16.0];
            let expected = 0.9_f64.sqrt() * first * terms[..order as usize].iter().sum::<f64>();
            // A dozen operations on numbers up to two.
            assert!((x[[i, i]] - expected).abs() < 32.0 * f64::EPSILON, "{order}: {x}");
        }
    }
}

#[test]
fn an_unreachable_tolerance_ends_where_the_error_no_longer_falls() {
    let (n, condition) = (9, 1e4);
    let q = haar_rows(&mut generator(63), n, n);
    let spectrum = log_spaced(n, condition);
    let s = symmetric(&q, &spectrum, |x| x);
    for order in [2, 3] {
        let newton =
            CoupledNewton { order, from_trace: true, tolerance: 1e-20, ..CoupledNewton::default() };
        let (found, steps) = root(&newton, &s, 0.0).unwrap();
        assert!(steps < 100, "{steps}");
        let expected = symmetric(&q, &spectrum, |x| x.powf(-0.25));
        let bound = n as f64 * f64::EPSILON * condition * steps as f64;
        let error = relative_error(found.view(), &expected);
        assert!(error <= bound, "order {order}: {error:e} > {bound:e}");
    }
}

#[test]
fn what_has_no_root_is_refused() {
    let newton = CoupledNewton::default();
    for s in [
        array![[1.0, 0.0], [0.0, 0.0]],
        array![[1.0, 2.0], [2.0, 1.0]],
        array![[-1.0, 0.0], [0.0, -1.0]],
        array![[0.0, 0.0], [0.0, 0.0]],
    ] {
        let n = s.nrows();
        let mut out = Array2::from_elem((n, n), 7.0);
        let mut work = CoupledNewtonWorkspace::with_dimension(n);
        let error =
            newton.inverse_root_into(s.view(), 0.0, &mut work, &mut out.view_mut()).unwrap_err();
        assert!(
            matches!(error, LinalgError::NoConvergence { routine: "coupled Newton", .. }),
            "{s}: {error:?}"
        );
        assert_eq!(out, Array2::from_elem((n, n), 7.0));
    }
    // What diverges is given up at once.
    let error = root(&newton, &array![[-1.0, 0.0], [0.0, -1.0]], 0.0).unwrap_err();
    assert!(matches!(error, LinalgError::NoConvergence { info: 2, .. }), "{error:?}");
    // A residual that rounding cannot reach is no root.
    let strict = CoupledNewton { residual: 1e-30, ..newton };
    assert!(root(&strict, &array![[2.0, 1.0], [1.0, 3.0]], 0.0).is_err());
}

#[test]
fn parameters_out_of_range_are_refused() {
    let newton = CoupledNewton::default();
    let s = array![[2.0, 1.0], [1.0, 3.0]];
    let refused = |newton: CoupledNewton, ridge: f64| root(&newton, &s, ridge).unwrap_err();
    for error in [
        refused(CoupledNewton { root: 0, ..newton }, 0.0),
        refused(CoupledNewton { power: 0, ..newton }, 0.0),
        refused(CoupledNewton { order: 1, ..newton }, 0.0),
        refused(CoupledNewton { tolerance: 0.0, ..newton }, 0.0),
        refused(CoupledNewton { residual: f64::NAN, ..newton }, 0.0),
        refused(newton, -1.0),
    ] {
        assert!(matches!(error, LinalgError::InvalidParameter { .. }), "{error:?}");
    }
    let mut work = CoupledNewtonWorkspace::with_dimension(3);
    let mut out = Array2::zeros((3, 3));
    let error = newton.inverse_root_into(s.view(), 0.0, &mut work, &mut out.view_mut());
    assert!(matches!(error, Err(LinalgError::Shape { .. })), "{error:?}");
    let skew = array![[2.0, 1.0], [0.5, 3.0]];
    assert!(matches!(root(&newton, &skew, 0.0), Err(LinalgError::NotSymmetric { .. })));
}
