//! What a step's report says, against what is known otherwise.

use crate::common::{Quadratic, cases, generator, normal};
use layerwise_linalg::{RootOptions, inverse_root, orthonormal_rows};
use layerwise_optim::factor::{BasisMethod, RootMethod};
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::{Array1, Array2, ArrayView1};
use layerwise_optim::{
    Averaging, Damping, Ekfac, Factor, Kfac, Method, Refresh, Sgd, Shampoo, Signal, Soap,
    StepReport,
};

fn first_report(method: &impl Method, problem: &Quadratic<f64>) -> StepReport {
    let mut weight = Array2::zeros(problem.target.dim());
    let gradient = problem.gradient(&weight);
    let mut optimizer = method.build(weight.dim()).unwrap();
    optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap()
}

fn close(found: Option<f64>, expected: f64, relative: f64) -> bool {
    found.is_some_and(|x| (x / expected - 1.0).abs() <= relative)
}

#[test]
fn a_step_that_does_not_move_the_weight_says_so() {
    let step = |rate: f64, gradient: f32| {
        let mut optimizer =
            Sgd { learning_rate: rate.into(), ..Sgd::default() }.build((1, 2)).unwrap();
        let gradient = Array2::from_elem((1, 2), gradient);
        let mut weight = Array2::from_elem((1, 2), 1.0_f32);
        optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap()
    };
    // Half a unit in the last place below 1 is 3e-8.
    assert!(step(1e-9, 1.0).vanished());
    assert!(!step(1e-6, 1.0).vanished());
    assert!(!step(1e-9, 0.0).vanished());
    assert!(!step(0.0, 1.0).vanished());
}

#[test]
fn conditions_are_those_of_the_damped_factors() {
    // Both factors have eigenvalues from 1 down to 1/50, exact to n units of rounding each; the
    // smallest then has a relative error of 50 n ε.
    let (condition, lambda) = (50.0, 0.01);
    let problem = Quadratic::<f64>::new(80, (5, 7), condition);
    let rounding = 4.0 * condition * 7.0 * f64::EPSILON;
    let plain = Kfac { damping: 0.0.into(), ..Kfac::stylised() };

    let exact = Kfac { damping: KfacDamping::Exact(lambda.into()), ..plain.clone() };
    let report = first_report(&exact, &problem);
    let expected = (1.0 + lambda) / (1.0 / (condition * condition) + lambda);
    assert!(close(report.left_condition, expected, condition * rounding), "{report:?}");
    assert_eq!(report.left_condition, report.right_condition);

    // A Cholesky factor gives a lower bound; it is not a trivial one.
    let damped = Kfac { damping: KfacDamping::per_factor(0.0, lambda), ..plain };
    let report = first_report(&damped, &problem);
    let left = report.left_condition.unwrap();
    assert!((2.0..=condition * (1.0 + rounding)).contains(&left), "{left}");
    let expected = (1.0 + lambda) / (1.0 / condition + lambda);
    let right = report.right_condition.unwrap();
    assert!((2.0..=expected * (1.0 + rounding)).contains(&right), "{right}");

    // Of a gradient with singular values 3 and 2: Gram matrices with 9 and 4.
    let mut gradient = Array2::<f64>::zeros((2, 2));
    gradient[[0, 1]] = 3.0;
    gradient[[1, 0]] = -2.0;
    let shampoo = Shampoo {
        averaging: Averaging::Sum,
        damping: Damping::Absolute(1.0.into()),
        ..Shampoo::stylised()
    };
    let mut optimizer = shampoo.build((2, 2)).unwrap();
    let signal = Signal::new(gradient.view());
    let report = optimizer.step(&mut Array2::zeros((2, 2)).view_mut(), &signal).unwrap();
    assert!(close(report.left_condition, 10.0 / 5.0, 16.0 * f64::EPSILON), "{report:?}");
    assert!(close(report.right_condition, 10.0 / 5.0, 16.0 * f64::EPSILON), "{report:?}");
}

/// The factors of a layer with eigenvalues from 1 down to 1/50, seen by each routine.
#[test]
fn conditions_are_exact_from_eigenvalues_and_bounds_from_below_else() {
    let condition = 50.0;
    let problem = Quadratic::<f64>::new(85, (5, 7), condition).sampled(true);
    let rounding = 4.0 * condition * 7.0 * f64::EPSILON;
    let report = first_report(&Ekfac::stylised(), &problem);
    assert!(close(report.left_condition, condition, condition * rounding), "{report:?}");
    assert!(close(report.right_condition, condition, condition * rounding), "{report:?}");

    let gradient = problem.gradient(&Array2::zeros((5, 7)));
    let ridge = 0.05 * gradient.iter().map(|x| x * x).sum::<f64>();
    let shampoo = Shampoo {
        averaging: Averaging::Sum,
        damping: Damping::Absolute(ridge.into()),
        ..Shampoo::stylised()
    };
    let newton = Shampoo { root: RootMethod::coupled_newton(), ..shampoo.clone() };
    let basis = BasisMethod::qr_step(ridge);
    let qr = Soap { basis, factor_beta: 0.0.into(), ..Soap::default() };
    let reports = [
        first_report(&shampoo, &problem),
        first_report(&newton, &problem),
        first_report(&qr, &problem),
    ];
    for (mut damped, [exact, newton, qr]) in [
        (gradient.dot(&gradient.t()), reports.map(|report| report.left_condition.unwrap())),
        (gradient.t().dot(&gradient), reports.map(|report| report.right_condition.unwrap())),
    ] {
        damped.diag_mut().mapv_inplace(|x| x + ridge);
        let extremes = |values: ArrayView1<'_, f64>| {
            values.fold((f64::INFINITY, 0.0_f64), |(least, most), &x| (least.min(x), most.max(x)))
        };
        // No diagonal entry exceeds the largest eigenvalue, of the factor or of its root.
        let root = inverse_root(damped.view(), 0.25, &RootOptions::default()).unwrap();
        let expected = extremes(damped.diag()).1 * extremes(root.diag()).1.powi(4);
        // The iteration stops where it errs by 1e-6 of the root, if not earlier.
        assert!((newton / expected - 1.0).abs() < 1e-5, "{newton} for {expected}");
        // The quotients after one step of the QR algorithm from the identity.
        let u = orthonormal_rows(damped.view()).unwrap().reversed_axes();
        let (least, most) = extremes(u.t().dot(&damped).dot(&u).diag());
        assert!((qr / (most / least) - 1.0).abs() < condition * rounding, "{qr}");
        assert!(1.2 < newton && newton < exact && 1.2 < qr && qr < exact, "{newton} {qr} {exact}");
    }
    // A singular factor: one gradient of a wide matrix.
    let report = first_report(&Soap::default(), &problem);
    assert!(report.right_condition.is_some_and(|x| x > 1e12), "{report:?}");
}

/// Every method that has factors gives a condition where it refreshes them.
#[test]
fn every_refresh_comes_with_a_condition() {
    let mut refreshes = 0;
    for case in cases() {
        let problem = Quadratic::<f64>::new(86, (4, 6), 10.0).sampled(case.samples);
        let mut weight = Array2::zeros((4, 6));
        let mut optimizer = case.chain.build(weight.dim()).unwrap();
        for _ in 0..12 {
            let gradient = problem.gradient(&weight);
            let report =
                optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
            let conditions = [report.left_condition, report.right_condition];
            assert_eq!(report.refreshed, conditions != [None, None], "{}: {report:?}", case.name);
            assert!(conditions.iter().flatten().all(|&x| x >= 1.0), "{}: {report:?}", case.name);
            refreshes += usize::from(report.refreshed);
        }
    }
    assert!(refreshes > 50, "{refreshes}");
}

#[test]
fn refreshes_are_reported_when_they_happen_and_conditions_with_them() {
    let problem = Quadratic::<f64>::new(81, (4, 5), 10.0);
    for every in [1, 3, 4] {
        let kfac = Kfac { refresh: Refresh::every(every), ..Kfac::stylised() };
        let mut weight = Array2::zeros((4, 5));
        let mut optimizer = kfac.build((4, 5)).unwrap();
        for step in 1..=9 {
            let gradient = problem.gradient(&weight);
            let report =
                optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
            let due = step == 1 || step % every == 0;
            assert_eq!(report.refreshed, due, "every {every}, step {step}");
            assert_eq!(report.left_condition.is_some(), due);
            assert_eq!(report.right_condition.is_some(), due);
            assert_eq!(report.fallbacks, 0);
        }
    }
}

#[test]
fn a_factor_of_rank_one_has_its_qr_step() {
    // S Q has rank one on both sides; the other columns of the new basis are orthogonal to it.
    let mut gradient = Array2::<f64>::zeros((3, 3));
    gradient[[1, 2]] = 1.0;
    let method = Soap { basis: BasisMethod::qr_step(0.0), ..Soap::default() };
    let mut optimizer = method.build((3, 3)).unwrap();
    let mut weight = Array2::zeros((3, 3));
    for _ in 0..3 {
        let before = weight[[1, 2]];
        let report = optimizer.step(&mut weight.view_mut(), &gradient.view().into()).unwrap();
        assert_eq!(report.fallbacks, 0);
        // One entry moves, by η up to the rounding of two rotations; ε is 10⁻⁸ of it.
        let moved: f64 = weight[[1, 2]] - before;
        assert!((moved / -report.learning_rate - 1.0).abs() < 1e-7, "{weight:?}");
        assert!((report.update_norm / moved.abs() - 1.0).abs() < 1e-12, "{weight:?}");
    }
}

#[test]
fn memory_follows_what_a_step_makes_an_optimizer_hold() {
    // Samples, moments and Cholesky factors: some need a place that others do not.
    let mut rng = generator(83);
    let problem = Quadratic::<f64>::new(84, (6, 9), 10.0);
    let samples = (normal::<f64>(&mut rng, (20, 9)), normal::<f64>(&mut rng, (20, 6)));
    let lower = |n: usize| {
        let mut lower = Array2::from_diag(&Array1::<f64>::ones(n));
        lower[[n - 1, 0]] = 0.5;
        lower
    };
    let lowers = (lower(9), lower(6));
    for case in cases() {
        let mut weight = Array2::zeros((6, 9));
        let mut optimizer = case.chain.build((6, 9)).unwrap();
        let gradient = problem.gradient(&weight);
        let before = optimizer.memory_bytes();
        let mut signals = vec![
            Signal::new(gradient.view())
                .with_input(Factor::Samples(samples.0.view()))
                .with_output(Factor::Samples(samples.1.view())),
        ];
        if !case.samples {
            signals.push(problem.signal(&gradient));
            signals.push(
                Signal::new(gradient.view())
                    .with_input(Factor::Cholesky(lowers.0.view()))
                    .with_output(Factor::Cholesky(lowers.1.view())),
            );
        }
        let mut held = before;
        for signal in signals {
            optimizer.step(&mut weight.view_mut(), &signal).unwrap();
            assert!(optimizer.memory_bytes() >= held, "{}", case.name);
            held = optimizer.memory_bytes();
        }
        // At most a formed moment for each side and a triangle, each an array that serves the larger side, and
        // none without signals; squares of samples where the method needs them.
        let required = optimizer.required();
        let formed = if required.input || required.output { 3 * 9 * 9 } else { 0 };
        let squares = if case.samples { samples.0.len() + samples.1.len() } else { 0 };
        let most = (formed + squares) * size_of::<f64>();
        assert!(held - before <= most, "{}: {} more", case.name, held - before);
    }
}
