//! Factors of Kronecker-factored methods: their statistics, roots and bases, and when these are made.

use crate::common::{
    Quadratic, ROUNDING, covariance, generator, gradients, largest_difference, normal, run, start,
    step,
};
use layerwise_linalg::{Cholesky, Ridge, RootOptions, inverse_root, orthonormal_rows};
use layerwise_optim::chain::{
    DiagonalConfig, Grafting, KroneckerConfig, Merging, Partition, StageConfig,
};
use layerwise_optim::factor::{BasisMethod, FactorConfig, RankTolerance, RootMethod, Statistic};
use layerwise_optim::methods::{Exponents, KfacDamping};
use layerwise_optim::ndarray::Array2;
use layerwise_optim::parity::ColumnOrder;
use layerwise_optim::{
    Adam, Averaging, Chain, Damping, Factor, Kfac, KlShampoo, Method, OptimError, Optimizer,
    Refresh, Shampoo, Side, Signal, Soap,
};

#[test]
fn the_coupled_newton_iteration_gives_the_same_roots_or_falls_back() {
    let gradients = gradients(12, 5, (4, 4));
    let eigen = Shampoo {
        averaging: Averaging::Ema { beta: 0.9.into(), bias_correction: true },
        damping: Damping::Absolute(1e-2.into()),
        exponent: Exponents { left: 0.5, right: 1.0 / 3.0 },
        ..Shampoo::stylised()
    };
    let newton = Shampoo { root: RootMethod::coupled_newton(), ..eigen.clone() };
    let difference =
        largest_difference(run(&eigen, &gradients).view(), run(&newton, &gradients).view());
    // The iteration stops where M is 1e-6 from the identity, and has converged quadratically then.
    assert!(difference > 0.0 && difference < 1e-6, "{difference:e}");

    // Nothing converges in one step: eigendecompositions serve, and are counted.
    let root = RootMethod::CoupledNewton {
        order: 2,
        from_trace: false,
        max_steps: 1,
        tolerance: 1e-6,
        residual: 1e-3,
    };
    let factor = FactorConfig {
        averaging: Averaging::Sum,
        damping: Damping::Absolute(1e-2.into()),
        exponent: 0.5,
        root,
        ..FactorConfig::of(Statistic::Gradient)
    };
    let chain = |root| {
        Chain::new(0.01).then(KroneckerConfig::new(
            FactorConfig { root, ..factor.clone() },
            FactorConfig::left_alone(),
        ))
    };
    let short = chain(factor.root.clone());
    let mut weight = start((4, 4));
    let mut optimizer = short.build(weight.dim()).unwrap();
    let signal = Signal::new(gradients[0].view());
    let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
    assert!(report.refreshed && report.fallbacks == 1);
    assert_eq!(run(&short, &gradients), run(&chain(RootMethod::default()), &gradients),);
}

/// The exponent of a vector's factor holds for a root that is by Cholesky otherwise.
#[test]
fn a_vector_keeps_its_exponent_whatever_the_root_of_matrices() {
    let gradients = gradients(21, 3, (1, 4));
    let method = |root, vector_exponent| {
        let factor = FactorConfig {
            averaging: Averaging::Sum,
            damping: Damping::Absolute(0.1.into()),
            root,
            ..FactorConfig::of(Statistic::Gradient)
        };
        Chain::new(0.01).then(
            StageConfig::from(KroneckerConfig::new(factor.clone(), factor)).in_parts(&Partition {
                merging: Merging::Vectors,
                vector_exponent,
                ..Partition::default()
            }),
        )
    };
    for exponent in [0.5, 1.0] {
        let cholesky = run(&method(RootMethod::Cholesky, exponent), &gradients);
        let eigen = run(&method(RootMethod::default(), exponent), &gradients);
        // Two routines, on condition numbers below 1e3.
        let difference = largest_difference(cholesky.view(), eigen.view());
        assert!(difference < ROUNDING * 1e3, "{exponent}: {difference:e}");
    }
}

#[test]
fn iterations_give_the_roots_of_fractions_and_leave_others_to_decompositions() {
    let gradients = gradients(23, 4, (4, 3));
    let eigen = |exponent: Exponents| Shampoo {
        averaging: Averaging::Sum,
        damping: Damping::Absolute(1e-2.into()),
        exponent,
        ..Shampoo::stylised()
    };
    for (left, right) in [(2.0 / 3.0, 0.4), (1.0, 0.125), (0.3, 0.25)] {
        let exponent = Exponents { left, right };
        let expected = run(&eigen(exponent), &gradients);
        for root in [RootMethod::coupled_newton(), RootMethod::coupled_higher_order()] {
            let method = Shampoo { root, ..eigen(exponent) };
            let difference = largest_difference(run(&method, &gradients).view(), expected.view());
            // An iteration ends where M is 1e-6 from the identity, and has converged by more then.
            assert!(difference > 0.0 && difference < 1e-6, "{left}, {right}: {difference:e}");
        }
    }
    let exponent = std::f64::consts::FRAC_1_PI.into();
    let method = Shampoo { root: RootMethod::coupled_higher_order(), ..eigen(exponent) };
    assert_eq!(run(&method, &gradients), run(&eigen(exponent), &gradients));
    let mut weight = start((4, 3));
    let report = method
        .build(weight.dim())
        .unwrap()
        .step(&mut weight.view_mut(), &Signal::new(gradients[0].view()));
    assert_eq!(report.unwrap().fallbacks, 0);
}

#[test]
fn a_ridge_relative_to_row_sums_has_a_least_value() {
    let gradient = &gradients(24, 1, (3, 5))[0];
    let (left, right) = (gradient.dot(&gradient.t()), gradient.t().dot(gradient));
    let row_sum = |s: &Array2<f64>| {
        s.rows().into_iter().map(|row| row.mapv(f64::abs).sum()).fold(0.0, f64::max)
    };
    // Of the largest sums of both sides, one is below this, and one above it.
    let least = 0.05 * (row_sum(&left) + row_sum(&right)) / 2.0;
    let root = |s: &Array2<f64>| {
        let ridge = Ridge::Absolute((0.05 * row_sum(s)).max(least));
        let options = RootOptions { ridge, pseudo_inverse: None };
        inverse_root(s.view(), 0.25, &options).unwrap()
    };
    let expected = root(&left).dot(gradient).dot(&root(&right));
    for (root, tolerance) in
        [(RootMethod::default(), ROUNDING), (RootMethod::coupled_newton(), 1e-6)]
    {
        let method = Shampoo {
            learning_rate: 1.0.into(),
            averaging: Averaging::Ema { beta: 0.9.into(), bias_correction: true },
            damping: Damping::RelativeToRowSum { relative: 0.05.into(), least: least.into() },
            root,
            ..Shampoo::stylised()
        };
        let found = start((3, 5)) - run(&method, std::slice::from_ref(gradient));
        // The iteration to its tolerance.
        assert!(largest_difference(found.view(), expected.view()) < tolerance);
    }
    // A zero factor waits under a relative ridge, and has a root under the least one.
    for (least, refreshed) in [(0.0, false), (0.1, true)] {
        let damping = Damping::RelativeToRowSum { relative: 0.1.into(), least: least.into() };
        let mut optimizer = Shampoo { damping, ..Shampoo::stylised() }.build((2, 2)).unwrap();
        let zero = Array2::<f64>::zeros((2, 2));
        let mut weight = zero.clone();
        let report = optimizer.step(&mut weight.view_mut(), &Signal::new(zero.view())).unwrap();
        assert_eq!(report.refreshed, refreshed);
        assert_eq!(weight, zero);
    }
}

/// A cut-off is of the corrected factor, which the roots that are computed are not of.
#[test]
fn an_absolute_cut_off_sees_the_bias_corrected_factor() {
    let gradients = gradients(25, 3, (3, 4));
    let cutoff = 1.5;
    let method = Shampoo {
        averaging: Averaging::Ema { beta: 0.9.into(), bias_correction: true },
        damping: Damping::None,
        root: RootMethod::pseudo_inverse(RankTolerance {
            absolute: cutoff,
            ..RankTolerance::default()
        }),
        ..Shampoo::stylised()
    };
    let (mut left, mut right) = (Array2::<f64>::zeros((3, 3)), Array2::<f64>::zeros((4, 4)));
    let mut expected = start((3, 4));
    let mut dropped = 0;
    for (step, g) in gradients.iter().enumerate() {
        left = left * 0.9 + g.dot(&g.t()) * 0.1;
        right = right * 0.9 + g.t().dot(g) * 0.1;
        let correction = 1.0 - 0.9_f64.powi(step as i32 + 1);
        let mut root = |s: &Array2<f64>| {
            let cutoff = layerwise_linalg::Cutoff { relative: 0.0, absolute: cutoff };
            let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(cutoff) };
            let corrected = s / correction;
            let root = inverse_root(corrected.view(), 0.25, &options).unwrap();
            // One gradient alone gives both factors rank three.
            dropped += usize::from(inverse_rank(&root) < s.nrows().min(3));
            root
        };
        expected = expected - root(&left).dot(g).dot(&root(&right)) * 0.01;
    }
    assert!(dropped > 0, "the cut-off must come to bear");
    let found = run(&method, &gradients);
    // Roots of eigenvalues above 1.5.
    assert!(largest_difference(found.view(), expected.view()) < ROUNDING);
}

fn inverse_rank(root: &Array2<f64>) -> usize {
    let values = layerwise_linalg::singular_values(root.view()).unwrap();
    values.iter().filter(|&&value| value > 1e-8).count()
}

#[test]
fn qr_steps_end_at_the_roots_of_eigendecompositions() {
    // Eigenvalues a factor of four apart, so that a column converges by that at each step.
    let mut rng = generator(26);
    let gradient = covariance(&mut rng, 4, 8.0);
    for scale in [1.0, 1e-30] {
        let gradient = &gradient * scale;
        let method = |basis| Shampoo {
            learning_rate: 1.0.into(),
            averaging: Averaging::Sum,
            damping: Damping::RelativeToLargest(1e-3.into()),
            root: RootMethod::Eigen { pseudo_inverse: None, basis },
            ..Shampoo::stylised()
        };
        let step_of = |basis| {
            let mut weight = Array2::<f64>::zeros((4, 4));
            let mut optimizer = method(basis).build(weight.dim()).unwrap();
            step(&mut optimizer, &mut weight, &gradient);
            weight
        };
        let expected = step_of(BasisMethod::default());
        let iterated = step_of(by_qr(0.0, 60, ColumnOrder::Descending));
        // 4⁻⁶⁰ is nothing beside rounding, of a factor with condition number 64.
        let difference = largest_difference(iterated.view(), expected.view());
        assert!(difference < ROUNDING, "{scale:e}: {difference:e}");
        // A ridge that hides the factor stops the steps at the identity, up to rotations by the
        // factor's size, below 1e-2 of the ridge, and eigenvalues are the factor's diagonal.
        let hidden = step_of(by_qr(300.0 * scale * scale, 3, ColumnOrder::Descending));
        let (rows, cols) = (gradient.dot(&gradient.t()), gradient.t().dot(&gradient));
        let damped = |s: &Array2<f64>, i: usize| {
            s[[i, i]] + 1e-3 * s.diag().iter().fold(0.0, |most: f64, &x| most.max(x))
        };
        for ((i, j), &x) in gradient.indexed_iter() {
            let expected = -x * (damped(&rows, i) * damped(&cols, j)).powf(-0.25);
            assert!((hidden[[i, j]] - expected).abs() < 0.05, "{scale:e}: {i}, {j}");
        }
    }
}

fn by_qr(ridge: f64, steps: u32, order: ColumnOrder) -> BasisMethod {
    BasisMethod::QrStep { ridge: ridge.into(), steps, tolerance: 0.0, order }
}

/// The share of `VᵀSV` off its diagonal, of the left basis held and `S = GGᵀ`.
fn off_diagonal(optimizer: &mut Optimizer<f64>, gradient: &Array2<f64>) -> f64 {
    let basis = optimizer.eigenbasis_mut().unwrap().basis(Side::Left).unwrap().to_owned();
    off_diagonal_share(&basis.t().dot(gradient).dot(&gradient.t()).dot(&basis))
}

fn off_diagonal_share(b: &Array2<f64>) -> f64 {
    let squares = b.indexed_iter().map(|((i, j), x)| (i != j, x * x));
    let (off, all) = squares
        .fold((0.0, 0.0), |(off, all), (is_off, x)| (if is_off { off + x } else { off }, all + x));
    f64::sqrt(off / all)
}

/// Orthogonal iteration tends to descending eigenvalues, and ends there if it is let.
#[test]
fn a_basis_in_descending_order_converges_to_the_eigenvectors() {
    // Eigenvalues of GGᵀ a factor of four apart.
    let gradient = covariance(&mut generator(32), 4, 8.0);
    let share_after = |order, refreshes| {
        let soap =
            Soap { basis: by_qr(0.0, 1, order), refresh: Refresh::default(), ..Soap::default() };
        let mut optimizer = soap.build((4, 4)).unwrap();
        let mut weight = start((4, 4));
        for _ in 0..refreshes {
            step(&mut optimizer, &mut weight, &gradient);
        }
        off_diagonal(&mut optimizer, &gradient)
    };
    // 4⁻³⁰ is below rounding.
    assert!(share_after(ColumnOrder::Descending, 30) < ROUNDING);
    assert!(share_after(ColumnOrder::Ascending, 30) > 0.01);
}

/// Each basis is a product with the last, and orthonormal all the same.
#[test]
fn bases_stay_orthonormal_over_thousands_of_products() {
    let gradient = normal::<f32>(&mut generator(33), (8, 8));
    let soap = Soap {
        basis: by_qr(0.0, 5, ColumnOrder::Ascending),
        refresh: Refresh::default(),
        ..Soap::default()
    };
    let mut optimizer = soap.build::<f32>((8, 8)).unwrap();
    let mut weight = Array2::<f32>::zeros((8, 8));
    for _ in 0..4000 {
        optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
    }
    let basis = optimizer.eigenbasis_mut().unwrap().basis(Side::Left).unwrap().to_owned();
    // What is not orthonormal to 32 n units of rounding is refused.
    optimizer.eigenbasis_mut().unwrap().set_basis(Side::Left, basis.view()).unwrap();
    let state = optimizer.state();
    assert_eq!(Optimizer::from_state(&state).unwrap().state(), state);
}

/// From the identity, a basis that is kept is that of the entries.
#[test]
fn a_basis_within_the_tolerance_is_kept() {
    let gradients = gradients(27, 5, (4, 4));
    let kept = BasisMethod::Eigendecomposition { tolerance: 0.999 };
    let soap = Soap { basis: kept.clone(), refresh: Refresh::default(), ..Soap::default() };
    let adam = Adam {
        learning_rate: soap.learning_rate.clone(),
        beta1: soap.beta1.clone(),
        beta2: soap.beta2.clone(),
        epsilon: soap.epsilon.clone(),
        ..Adam::default()
    };
    // Products with the identity do not round.
    assert_eq!(run(&soap, &gradients), run(&adam, &gradients));

    let ridge = 0.01;
    let shampoo = Shampoo {
        learning_rate: 1.0.into(),
        averaging: Averaging::Sum,
        damping: Damping::Absolute(ridge.into()),
        root: RootMethod::Eigen { pseudo_inverse: None, basis: kept },
        ..Shampoo::stylised()
    };
    let g = &gradients[0];
    let found = start((4, 4)) - run(&shampoo, &gradients[..1]);
    let (rows, cols) = (g.dot(&g.t()), g.t().dot(g));
    for ((i, j), &x) in g.indexed_iter() {
        let expected = x * ((rows[[i, i]] + ridge) * (cols[[j, j]] + ridge)).powf(-0.25);
        assert!((found[[i, j]] - expected).abs() < ROUNDING, "{i}, {j}");
    }
}

#[test]
fn inverses_agree_with_solves_to_the_condition_number() {
    let condition = 1e4;
    let problem = Quadratic::<f64>::new(30, (4, 6), condition);
    let gradient = normal::<f64>(&mut generator(31), (4, 6));
    let step_by = |root, given_factored: bool| {
        let method =
            Kfac { learning_rate: 1.0.into(), damping: 0.0.into(), root, ..Kfac::stylised() };
        let lower = Cholesky::new(problem.input.view(), 0.0).unwrap();
        let input = if given_factored {
            Factor::Cholesky(lower.lower())
        } else {
            Factor::SecondMoment(problem.input.view())
        };
        let signal = problem.signal(&gradient).with_input(input);
        let mut weight = Array2::<f64>::zeros((4, 6));
        method.build((4, 6)).unwrap().step(&mut weight.view_mut(), &signal).unwrap();
        weight
    };
    let expected = step_by(RootMethod::Cholesky, false);
    let norm = |x: &Array2<f64>| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    // Each inverse, of norm κ, errs by n κ ε of that.
    let largest = condition * condition * norm(&gradient);
    let tolerance = 2.0 * 6.0 * condition * f64::EPSILON * largest;
    assert!(tolerance < 1e-9 * norm(&expected), "of which the step is a good part");
    for given_factored in [false, true] {
        let found = step_by(RootMethod::Inverse, given_factored);
        let error = norm(&(&found - &expected));
        assert!(error > 0.0 && error < tolerance, "{given_factored}: {error:e}, {tolerance:e}");
    }
    let mut indefinite = problem.input.clone();
    indefinite[[5, 5]] = -1.0;
    let signal = problem.signal(&gradient).with_input(Factor::SecondMoment(indefinite.view()));
    let method = Kfac { root: RootMethod::Inverse, ..Kfac::stylised() };
    let mut weight = Array2::<f64>::zeros((4, 6));
    let error = method.build((4, 6)).unwrap().step(&mut weight.view_mut(), &signal).unwrap_err();
    assert!(matches!(error, OptimError::Factor { side: Side::Right, .. }), "{error:?}");
}

#[test]
fn factors_are_scaled_by_their_traces() {
    let gradient = &gradients(15, 1, (3, 4))[0];
    let (scaling, ridge) = (0.5, 0.1);
    let method = Shampoo {
        learning_rate: 1.0.into(),
        averaging: Averaging::Ema { beta: 0.9.into(), bias_correction: true },
        damping: Damping::Absolute(ridge.into()),
        trace_scaling: scaling,
        ..Shampoo::stylised()
    };
    let root = |factor: Array2<f64>| {
        let scaled = &factor * factor.diag().sum().powf(-scaling);
        let options = RootOptions { ridge: Ridge::Absolute(ridge), pseudo_inverse: None };
        inverse_root(scaled.view(), 0.25, &options).unwrap()
    };
    let expected =
        root(gradient.dot(&gradient.t())).dot(gradient).dot(&root(gradient.t().dot(gradient)));
    let found = start((3, 4)) - run(&method, std::slice::from_ref(gradient));
    assert!(largest_difference(found.view(), expected.view()) < ROUNDING * 10.0);
}

#[test]
fn kl_shampoo_whitens_each_side_by_the_other() {
    let gradients = gradients(3, 3, (3, 4));
    let ridge = 1e-2;
    for normalized in [true, false] {
        let method = KlShampoo {
            learning_rate: 0.1.into(),
            averaging: Averaging::Ema { beta: 0.9.into(), bias_correction: false },
            normalized,
            damping: Damping::Absolute(ridge.into()),
            ..KlShampoo::stylised()
        };
        let weight = run(&method, &gradients);
        let (m, n) = if normalized { (3.0, 4.0) } else { (1.0, 1.0) };
        let root = |factor: &Array2<f64>, exponent| {
            let options = RootOptions { ridge: Ridge::Absolute(ridge), pseudo_inverse: None };
            inverse_root(factor.view(), exponent, &options).unwrap()
        };
        let (mut left, mut right) = (Array2::zeros((3, 3)), Array2::zeros((4, 4)));
        let squares: f64 = gradients[0].iter().map(|x| x * x).sum();
        let first = if normalized { (squares / 12.0).sqrt() } else { 1.0 };
        let (mut left_inverse, mut right_inverse) =
            (Array2::eye(3) / first, Array2::eye(4) / first);
        let mut expected = start((3, 4));
        for g in &gradients {
            left = left * 0.9 + g.dot(&right_inverse).dot(&g.t()) * (0.1 / n);
            right = right * 0.9 + g.t().dot(&left_inverse).dot(g) * (0.1 / m);
            (left_inverse, right_inverse) = (root(&left, 1.0), root(&right, 1.0));
            expected = expected - root(&left, 0.5).dot(g).dot(&root(&right, 0.5)) * 0.1;
        }
        // Inverses lose the condition numbers, up to 1e4 each.
        let difference = largest_difference(weight.view(), expected.view());
        assert!(difference < ROUNDING * 1e5, "{difference:e}");
    }
}

/// A factor that is zero under a damping relative to it has no root: nothing is ready yet.
#[test]
fn a_zero_gradient_before_the_first_changes_nothing() {
    // Of the latest gradient alone, so that nothing but readiness remembers the zero.
    let kl_shampoo = |normalized, refresh| {
        KlShampoo {
            averaging: Averaging::None,
            normalized,
            damping: Damping::RelativeToLargest(1e-3.into()),
            refresh,
            ..KlShampoo::stylised()
        }
        .chain()
    };
    let graft = DiagonalConfig { averaging: Averaging::None, ..DiagonalConfig::default() };
    let shampoo = |refresh| {
        Shampoo {
            averaging: Averaging::None,
            damping: Damping::RelativeToLargest(1e-3.into()),
            grafting: Some(Grafting::Diagonal(graft.clone())),
            refresh,
            ..Shampoo::stylised()
        }
        .chain()
    };
    let gradients = gradients(19, 4, (3, 4));
    // Below the range in which squares are numbers, a gradient is as good as zero. (Grafting still
    // makes a step of it.)
    let tiny = gradients[0].mapv(|x| x * 1e-310);
    let zero = Array2::zeros((3, 4));
    for (chain, first) in [
        (kl_shampoo(true, Refresh::default()), &zero),
        (kl_shampoo(true, Refresh::default()), &tiny),
        (kl_shampoo(true, Refresh::every(10)), &zero),
        (kl_shampoo(false, Refresh::every(10)), &tiny),
        (shampoo(Refresh::default()), &zero),
        (shampoo(Refresh::every(10)), &zero),
        (shampoo(Refresh::on_drift(0.9)), &zero),
    ] {
        let late: Vec<_> = std::iter::once(first).chain(&gradients).cloned().collect();
        assert_eq!(run(&chain, &late), run(&chain, &gradients));
        let mut weight = start((3, 4));
        let mut optimizer = chain.build(weight.dim()).unwrap();
        let refreshed = late.iter().map(|gradient| {
            let signal = Signal::new(gradient.view());
            optimizer.step(&mut weight.view_mut(), &signal).unwrap().refreshed
        });
        assert_eq!(refreshed.take(2).collect::<Vec<_>>(), [false, true]);
    }
}

/// Until the other side has a root, a side is whitened by `I/r`, whatever its own has; an identity
/// is no root that is still to come.
#[test]
fn whitening_starts_from_the_root_mean_square_as_long_as_the_other_side_has_no_root() {
    let gradients = gradients(20, 3, (3, 4));
    let (ridge, rate) = (1e-2, 0.1);
    let right = FactorConfig {
        averaging: Averaging::Sum,
        damping: Damping::Absolute(ridge.into()),
        exponent: 0.5,
        root: RootMethod::default(),
        ..FactorConfig::of(Statistic::Whitened { normalized: true })
    };
    let dead = FactorConfig {
        statistic: Statistic::Signal,
        damping: Damping::RelativeToTrace(1e-3.into()),
        ..right.clone()
    };
    let zero = Array2::<f64>::zeros((3, 3));
    for left in [dead, FactorConfig::left_alone()] {
        let is_identity = left.statistic == Statistic::None;
        let method = Chain::new(rate).then(KroneckerConfig::new(left, right.clone()));
        let mut weight = start((3, 4));
        let mut expected = weight.clone();
        let mut optimizer = method.build(weight.dim()).unwrap();
        let mut sum = Array2::<f64>::zeros((4, 4));
        for g in &gradients {
            let signal = Signal::new(g.view()).with_output(Factor::SecondMoment(zero.view()));
            let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
            assert!(report.refreshed && report.left_condition.is_none());
            let size = (g.iter().map(|x| x * x).sum::<f64>() / 12.0).sqrt();
            let inverse = if is_identity { 1.0 } else { 1.0 / size };
            sum = sum + g.t().dot(g) * (inverse / 3.0);
            let options = RootOptions { ridge: Ridge::Absolute(ridge), pseudo_inverse: None };
            let root = inverse_root(sum.view(), 0.5, &options).unwrap();
            expected = expected - g.dot(&root) * rate;
        }
        // Roots lose at most the condition number, below 1e3.
        let difference = largest_difference(weight.view(), expected.view());
        assert!(difference < ROUNDING * 1e3, "{is_identity}: {difference:e}");
    }
}

/// The QR algorithm by its formula: `B = U R`, `B ← R U`, `Q ← Q U` from `Q = I`, `B = GGᵀ`.
#[test]
fn several_qr_steps_are_the_qr_algorithm_until_the_tolerance() {
    let gradient = normal::<f64>(&mut generator(22), (5, 5));
    let basis = |steps, tolerance| {
        let order = ColumnOrder::Ascending;
        let basis = BasisMethod::QrStep { ridge: 0.0.into(), steps, tolerance, order };
        let mut optimizer = Soap { basis, ..Soap::default() }.build((5, 5)).unwrap();
        step(&mut optimizer, &mut start((5, 5)), &gradient);
        optimizer.eigenbasis_mut().unwrap().basis(Side::Left).unwrap().to_owned()
    };
    let (mut b, mut q) = (gradient.dot(&gradient.t()), Array2::<f64>::eye(5));
    let (mut least, mut seen) = (off_diagonal_share(&b), 0);
    // As it is: columns are ordered, and that is all.
    assert!(basis(9, 0.999).iter().all(|&x| x == 0.0 || x == 1.0));
    for steps in 1..=6 {
        let u = orthonormal_rows(b.view()).unwrap().reversed_axes();
        b = u.t().dot(&b).dot(&u);
        q = q.dot(&u);
        let mut order: Vec<usize> = (0..5).collect();
        order.sort_by(|&i, &j| b[[i, i]].total_cmp(&b[[j, j]]));
        let found = basis(steps, 0.0);
        for (column, &i) in found.columns().into_iter().zip(&order) {
            // Columns of either sign. A basis is known to rounding by the spread of GGᵀ's
            // eigenvalues, below 1e4.
            let overlap = column.dot(&q.column(i)).abs();
            assert!((overlap - 1.0).abs() < ROUNDING * 1e4, "{steps}: {overlap}");
        }
        // The share can grow; here is a tolerance that this step is the first to meet.
        let reached = off_diagonal_share(&b);
        if reached < least {
            assert_eq!(basis(9, 0.5 * (reached + least)), found);
            (least, seen) = (reached, seen + 1);
        }
    }
    assert!(seen > 2);
}

#[test]
fn a_basis_that_has_drifted_is_refreshed() {
    // Gradients of one factor for a while, then of another.
    let mut rng = generator(14);
    let factor = |rng: &mut _| covariance(rng, 4, 100.0);
    let (before, after) = (factor(&mut rng), factor(&mut rng));
    let soap = Soap { factor_beta: 0.5.into(), refresh: Refresh::on_drift(0.5), ..Soap::default() };
    let shampoo = Shampoo { refresh: Refresh::on_drift(0.5), ..Shampoo::stylised() };
    let exact = Kfac {
        damping: KfacDamping::Exact(0.1.into()),
        averaging: Averaging::Ema { beta: 0.5.into(), bias_correction: true },
        refresh: Refresh::on_drift(0.5),
        ..Kfac::stylised()
    };
    for chain in [soap.chain(), shampoo.chain(), exact.chain()] {
        let mut weight = start((4, 4));
        let mut optimizer = chain.build(weight.dim()).unwrap();
        let mut refreshed = Vec::new();
        for step in 0..30 {
            let gradient = if step < 15 { &before } else { &after };
            let signal = Signal::new(gradient.view())
                .with_input(Factor::SecondMoment(gradient.view()))
                .with_output(Factor::SecondMoment(gradient.view()));
            if optimizer.step(&mut weight.view_mut(), &signal).unwrap().refreshed {
                refreshed.push(step);
            }
        }
        // The first step; nothing while the factors only grow; and when they have turned.
        assert_eq!(refreshed[0], 0);
        assert!(refreshed.len() > 1 && refreshed[1] >= 15, "{refreshed:?}");
        assert!(refreshed.len() < 6, "{refreshed:?}");
    }
    for threshold in [0.0, 1.0, f64::NAN] {
        let error = Soap { refresh: Refresh::on_drift(threshold), ..Soap::default() }
            .build::<f64>((4, 4))
            .unwrap_err();
        assert!(
            matches!(error, OptimError::InvalidHyperparameter { name: "refresh.drift", .. }),
            "{error:?}"
        );
    }
    let cholesky = Kfac { refresh: Refresh::on_drift(0.5), ..Kfac::stylised() };
    assert!(matches!(cholesky.build::<f64>((4, 4)), Err(OptimError::Incompatible { .. })));
}
