//! What every method must do, run over the list in `common::cases`.

use crate::common::{Case, Quadratic, cases, generator, largest_difference, normal};
use layerwise_optim::chain::{Clipping, DecoupledDecay, DiagonalEstimate, StageConfig};
use layerwise_optim::linalg::LinalgError;
use layerwise_optim::ndarray::{Array2, s};
use layerwise_optim::{Damping, Factor, OptimError, Optimizer, Scalar, Signal, Signals};

/// Takes steps on a quadratic and returns the weight.
fn run<A: Scalar>(case: &Case, problem: &Quadratic<A>, steps: usize) -> Array2<A> {
    let mut weight = Array2::zeros(problem.target.dim());
    let mut optimizer = case.chain.build(weight.dim()).unwrap();
    descend(&mut optimizer, problem, &mut weight, steps);
    weight
}

fn descend<A: Scalar>(
    optimizer: &mut Optimizer<A>,
    problem: &Quadratic<A>,
    weight: &mut Array2<A>,
    steps: usize,
) {
    for _ in 0..steps {
        let gradient = problem.gradient(weight);
        optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
    }
}

#[test]
fn descends_on_an_ill_conditioned_quadratic() {
    // Both factors have condition number 30, their product 900.
    for case in cases() {
        let problem = case.problem::<f64>(1, (6, 9), 30.0);
        let start = problem.loss(&Array2::zeros(problem.target.dim()));
        let weight = run(&case, &problem, 400);
        let end = problem.loss(&weight);
        assert!(end < 0.02 * start, "{}: {start:e} → {end:e}", case.name);
    }
}

/// `½‖A B − M‖²` over both factors of a matrix `M` of full rank 3, by one optimizer each.
#[test]
fn descends_on_matrix_factorization() {
    let mut rng = generator(20);
    let target = normal::<f64>(&mut rng, (6, 3)).dot(&normal::<f64>(&mut rng, (3, 8))) * 0.05;
    // Curvatures stay near 1, as those of the quadratic that learning rates were chosen for.
    let start = (normal::<f64>(&mut rng, (6, 3)) * 0.2, normal::<f64>(&mut rng, (3, 8)) * 0.2);
    for case in cases() {
        let (mut a, mut b) = start.clone();
        let mut optimizers =
            (case.chain.build(a.dim()).unwrap(), case.chain.build(b.dim()).unwrap());
        let squares = |m: &Array2<f64>| m.iter().map(|x| x * x).sum::<f64>();
        let first = squares(&(a.dot(&b) - &target));
        let mut least = first;
        for _ in 0..400 {
            let error = a.dot(&b) - &target;
            least = least.min(squares(&error));
            let gradients = (error.dot(&b.t()), a.t().dot(&error));
            // The curvature of each factor: with `B`, that of `A` is the identity times `B Bᵀ`.
            let (rows, cols) = (Array2::eye(6), Array2::eye(8));
            // It is that of a model which holds near by: hence the damping.
            let damping = Array2::<f64>::eye(3) * 0.1;
            let (of_a, of_b) = (b.dot(&b.t()) + &damping, a.t().dot(&a) + &damping);
            let model = |target: &Array2<f64>, output, input| {
                Quadratic::of(target.clone(), output, input).sampled(case.samples)
            };
            let models = (model(&a, rows, of_a), model(&b, of_b, cols));
            let signals = (models.0.signal(&gradients.0), models.1.signal(&gradients.1));
            let step = |e: OptimError| panic!("{}: {e}", case.name);
            optimizers.0.step(&mut a.view_mut(), &signals.0).unwrap_or_else(step);
            optimizers.1.step(&mut b.view_mut(), &signals.1).unwrap_or_else(step);
        }
        assert!(least < 0.05 * first, "{}: {first:e} → {least:e}", case.name);
    }
}

#[test]
fn a_zero_gradient_moves_nothing_but_by_decay() {
    let start = normal::<f64>(&mut generator(3), (4, 5));
    let zero = Array2::<f64>::zeros((4, 5));
    for case in cases() {
        let problem = case.problem::<f64>(2, (4, 5), 10.0);
        let mut weight = start.clone();
        let mut optimizer = case.chain.build(weight.dim()).unwrap();
        let mut factor = 1.0;
        for _ in 0..3 {
            let report = optimizer.step(&mut weight.view_mut(), &problem.signal(&zero)).unwrap();
            assert_eq!(report.gradient_norm, 0.0, "{}", case.name);
            if let DecoupledDecay::Before(rate) | DecoupledDecay::After(rate) =
                &case.chain.weight_decay
                && !report.skipped
            {
                factor *= 1.0 - report.learning_rate * rate.value(0);
            }
        }
        // Three multiplications by a rounded factor.
        let tolerance = 8.0 * f64::EPSILON * 4.0;
        let difference = largest_difference(weight.view(), (&start * factor).view());
        assert!(difference <= tolerance, "{}: moved by {difference:e}", case.name);
        // A dead layer that comes to life learns.
        let before = weight.clone();
        descend(&mut optimizer, &problem, &mut weight, 3);
        assert!(largest_difference(weight.view(), before.view()) > 0.0, "{}", case.name);
    }
}

#[test]
fn vectors_and_scalars_are_matrices() {
    for shape in [(1, 7), (7, 1), (1, 1)] {
        for case in cases() {
            let problem = case.problem::<f64>(4, shape, 10.0);
            let start = problem.loss(&Array2::zeros(shape));
            let end = problem.loss(&run(&case, &problem, 400));
            assert!(end < 0.05 * start, "{}, {shape:?}: {start:e} → {end:e}", case.name);
        }
    }
}

/// The gradient's scale spans all that its squares can be represented at.
fn takes_scales<A: Scalar>(scales: &[f64]) {
    let mut rng = generator(5);
    let gradient = normal::<A>(&mut rng, (4, 6));
    for &scale in scales {
        let gradient = gradient.mapv(|x| x * A::from_f64(scale));
        for case in cases() {
            let problem = case.problem::<A>(6, (4, 6), 10.0);
            let mut weight = Array2::<A>::zeros((4, 6));
            let mut optimizer = case.chain.build(weight.dim()).unwrap();
            for step in 0..3 {
                let report = optimizer
                    .step(&mut weight.view_mut(), &problem.signal(&gradient))
                    .unwrap_or_else(|e| panic!("{}, scale {scale:e}, step {step}: {e}", case.name));
                assert!(!report.vanished(), "{}, {scale:e}: {report:?}", case.name);
            }
            assert!(weight.iter().all(|x| x.is_finite()), "{}, scale {scale:e}", case.name);
        }
    }
}

#[test]
fn takes_huge_and_tiny_gradients() {
    takes_scales::<f64>(&[1e100, 1e30, 1e-30, 1e-100]);
    takes_scales::<f32>(&[1e17, 1e12, 1e-12, 1e-14]);
}

/// Steps that must be refused: what is wrong, and the call.
fn bad_steps(
    optimizer: &mut Optimizer<f64>,
    problem: &Quadratic<f64>,
    weight: &mut Array2<f64>,
) -> Vec<(&'static str, OptimError)> {
    let required = optimizer.required();
    let good = problem.gradient(weight);
    let mut errors = Vec::new();
    let mut refuse = |what, weight: &mut Array2<f64>, signal: &Signal<f64>| {
        let before = weight.clone();
        let error = optimizer.step(&mut weight.view_mut(), signal).expect_err(what);
        // Bits, for a weight may hold a NaN.
        let same = weight.iter().zip(&before).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{what}: the weight has changed");
        errors.push((what, error));
    };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut gradient = good.clone();
        gradient[[2, 1]] = value;
        refuse("gradient not finite", weight, &problem.signal(&gradient));
        let mut bad_weight = weight.clone();
        bad_weight[[1, 2]] = value;
        refuse("weight not finite", &mut bad_weight, &problem.signal(&good));
        let mut input = problem.input.clone();
        input[[3, 0]] = value;
        let signal = problem.signal(&good).with_input(Factor::SecondMoment(input.view()));
        if required.input {
            refuse("input not finite", weight, &signal);
        }
        let mut output = problem.output.clone();
        output[[1, 0]] = value;
        let signal = problem.signal(&good).with_output(Factor::Samples(output.view()));
        if required.output {
            refuse("output not finite", weight, &signal);
        }
    }
    refuse(
        "gradient of another shape",
        weight,
        &problem.signal(&good.slice(s![.., 1..]).to_owned()),
    );
    let mut short = weight.slice(s![1.., ..]).to_owned();
    refuse("weight of another shape", &mut short, &problem.signal(&good));
    if required.input {
        let input = problem.input.slice(s![1.., 1..]);
        let signal = problem.signal(&good).with_input(Factor::SecondMoment(input));
        refuse("input of another shape", weight, &signal);
        let none = Array2::<f64>::zeros((0, weight.ncols()));
        let signal = problem.signal(&good).with_input(Factor::Samples(none.view()));
        refuse("input without samples", weight, &signal);
        refuse("no signal but the gradient", weight, &Signal::new(good.view()));
    }
    let huge = good.mapv(|x| x.signum() * f64::MAX);
    if optimizer_overflows(optimizer) {
        let before = weight.clone();
        let error = optimizer
            .step(&mut weight.view_mut(), &problem.signal(&huge))
            .expect_err("squares overflow");
        assert_eq!(*weight, before);
        errors.push(("squares overflow", error));
    }
    errors
}

/// Methods whose statistics are squares of the gradient.
fn optimizer_overflows(optimizer: &Optimizer<f64>) -> bool {
    use layerwise_optim::chain::StageConfig::{Diagonal, Eigenbasis, Kronecker};
    // A gradient within bounds has squares.
    let is_bounded = optimizer.chain().gradient.contains(&Clipping::Norm(1.0.into()).into());
    optimizer.chain().stages().any(|stage| match stage {
        Diagonal(_) => !is_bounded,
        Eigenbasis(config) => config.estimate == DiagonalEstimate::Gradient,
        Kronecker(_) => optimizer.required() == Signals::GRADIENT,
        _ => false,
    })
}

#[test]
fn a_refused_step_changes_nothing() {
    for case in cases() {
        let problem = case.problem::<f64>(7, (5, 4), 20.0);
        let undisturbed = run(&case, &problem, 14);
        let mut weight = Array2::zeros((5, 4));
        let mut optimizer = case.chain.build(weight.dim()).unwrap();
        for _ in 0..7 {
            for (what, error) in bad_steps(&mut optimizer, &problem, &mut weight) {
                check_error(case.name, what, &error);
            }
            descend(&mut optimizer, &problem, &mut weight, 2);
        }
        assert_eq!(weight, undisturbed, "{}", case.name);
        assert_eq!(optimizer.steps(), 14);
    }
}

fn check_error(name: &str, what: &str, error: &OptimError) {
    let text = error.to_string();
    let fits = match what {
        "gradient not finite" => {
            matches!(error, OptimError::NonFinite { what: "gradient", row: 2, col: 1, .. })
                && text.starts_with("gradient is not finite: entry (2, 1) is ")
        }
        // With decay in the gradient, it is there that it is met.
        "weight not finite" => matches!(error, OptimError::NonFinite { row: 1, col: 2, .. }),
        "input not finite" => {
            matches!(error, OptimError::NonFinite { what: "input factor", row: 3, col: 0, .. })
        }
        "output not finite" => {
            matches!(error, OptimError::NonFinite { what: "output factor", row: 1, col: 0, .. })
        }
        "gradient of another shape" => text == "gradient is 5 × 3, expected 5 × 4",
        "weight of another shape" => text == "weight is 4 × 4, expected 5 × 4",
        "input of another shape" => text == "input factor is 3 × 3, expected 4 × 4",
        "input without samples" => text == "input factor is 0 × 4, expected 1 × 4",
        "no signal but the gradient" => matches!(error, OptimError::MissingSignal { .. }),
        "squares overflow" => matches!(error, OptimError::Overflow { .. }),
        _ => false,
    };
    assert!(fits, "{name}, {what}: {error:?}: {text}");
}

#[test]
fn an_indefinite_factor_is_refused_or_tolerated() {
    use layerwise_optim::{Kfac, Method, Refresh, Side};
    let problem = Quadratic::<f64>::new(8, (3, 4), 10.0);
    let mut indefinite = problem.input.clone();
    indefinite[[2, 2]] = -1.0;
    let gradient = problem.gradient(&Array2::zeros((3, 4)));
    let good = problem.signal(&gradient);
    let bad = good.with_input(Factor::SecondMoment(indefinite.view()));

    let mut weight = Array2::zeros((3, 4));
    let mut optimizer = Kfac::stylised().build(weight.dim()).unwrap();
    let error = optimizer.step(&mut weight.view_mut(), &bad).unwrap_err();
    assert_eq!(
        error,
        OptimError::Factor {
            side: Side::Right,
            source: LinalgError::NotPositiveDefinite { minor: 3 }
        }
    );
    assert_eq!(weight, Array2::<f64>::zeros((3, 4)));

    // Two failures in a row are tolerated, and the last good factor of that side serves on.
    let refresh = Refresh { tolerated_failures: 2, ..Refresh::default() };
    let method = Kfac { refresh, ..Kfac::stylised() };
    let mut optimizer = method.build(weight.dim()).unwrap();
    assert!(optimizer.step(&mut weight.view_mut(), &bad).is_err(), "nothing to keep yet");
    let report = optimizer.step(&mut weight.view_mut(), &good).unwrap();
    assert!(report.refreshed && report.fallbacks == 0);
    let first = weight.clone();
    for _ in 0..2 {
        let report = optimizer.step(&mut weight.view_mut(), &bad).unwrap();
        assert!(report.refreshed && report.fallbacks == 1);
        assert!(report.left_condition.is_some() && report.right_condition.is_none());
    }
    // The same gradient and factors three times: three equal steps, up to rounding.
    let tolerance = 8.0 * f64::EPSILON * first.iter().fold(0.0_f64, |m, x| m.max(x.abs())) * 3.0;
    assert!(largest_difference(weight.view(), (&first * 3.0).view()) <= tolerance);
    let before = weight.clone();
    assert!(optimizer.step(&mut weight.view_mut(), &bad).is_err());
    assert_eq!(weight, before);
    assert!(optimizer.step(&mut weight.view_mut(), &good).unwrap().refreshed);
}

#[test]
fn an_asymmetric_moment_is_refused_where_it_is_given() {
    use layerwise_optim::factor::BasisMethod;
    use layerwise_optim::{Averaging, Ekfac, Kfac, Method, Refresh, Side};
    let problem = Quadratic::<f64>::new(21, (3, 4), 10.0);
    let gradient = problem.gradient(&Array2::zeros((3, 4)));
    let good = problem.signal(&gradient);
    let largest = problem.input.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let tolerance = 8.0 * f64::EPSILON * 4.0 * largest;
    let perturbed = |by: f64| {
        let mut input = problem.input.clone();
        input[[2, 1]] += by;
        input
    };
    let (bad, rounded) = (perturbed(2.0 * tolerance), perturbed(0.5 * tolerance));
    let bad = good.with_input(Factor::SecondMoment(bad.view()));
    let rounded = good.with_input(Factor::SecondMoment(rounded.view()));

    let averaging = Averaging::Ema { beta: 0.9.into(), bias_correction: true };
    let averaged = Kfac { averaging, refresh: Refresh::every(3), ..Kfac::stylised() };
    let gradients = Ekfac { estimate: DiagonalEstimate::Gradient, ..Ekfac::stylised() };
    let mut by_qr =
        Ekfac { averaging: Averaging::None, refresh: Refresh::default(), ..gradients.clone() }
            .chain();
    for stage in by_qr.stages_mut() {
        if let StageConfig::Eigenbasis(config) = stage {
            config.basis = BasisMethod::qr_step(1e-8);
        }
    }
    // Not what a tolerated failure is for: the factor is not at fault.
    let refresh = Refresh { tolerated_failures: 2, ..Refresh::default() };
    let tolerant = Kfac { refresh, ..Kfac::stylised() };
    for chain in [averaged.chain(), gradients.chain(), by_qr, tolerant.chain()] {
        let mut weight = Array2::zeros((3, 4));
        let mut optimizer = chain.build((3, 4)).unwrap();
        for _ in 0..4 {
            let before = (weight.clone(), optimizer.state());
            let error = optimizer.step(&mut weight.view_mut(), &bad).unwrap_err();
            assert!(
                matches!(
                    error,
                    OptimError::Factor {
                        side: Side::Right,
                        source: LinalgError::NotSymmetric { row: 2, col: 1, difference },
                    } if difference > tolerance
                ),
                "{error:?}"
            );
            assert_eq!((weight.clone(), optimizer.state()), before);
            optimizer.step(&mut weight.view_mut(), &rounded).unwrap();
        }
    }
}

#[test]
fn single_precision_follows_double_precision() {
    let single = |m: &Array2<f64>| m.mapv(|x| x as f32);
    for mut case in cases() {
        let double = case.problem::<f64>(9, (4, 4), 2.0);
        let single =
            Quadratic::of(single(&double.target), single(&double.output), single(&double.input))
                .sampled(case.samples);
        for stage in case.chain.stages_mut() {
            if let StageConfig::Eigenbasis(config) = stage {
                // In the basis of a single gradient, that gradient is diagonal: off the diagonal there
                // is nothing but rounding, which a smaller ε would blow up to steps of full length.
                config.diagonal.epsilon = 0.1.into();
            }
            // In both precisions no less than single precision carries, √n ε of the largest eigenvalue.
            if let StageConfig::Kronecker(config) = stage {
                for factor in [&mut config.left, &mut config.right] {
                    if let Damping::RelativeToLargest(damping) = &mut factor.damping {
                        *damping = damping.value(0).max(2.0 * f64::from(f32::EPSILON)).into();
                    }
                }
            }
        }
        let weight64 = run(&case, &double, 5);
        let weight32 = run(&case, &single, 5).mapv(f64::from);
        let scale = weight64.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        let error = largest_difference(weight64.view(), weight32.view()) / scale;
        // A 4 × 4 gradient has a condition number up to 100 here, so its Gram matrices κ up to 10⁴.
        // The sums of a Gram matrix and the backward error of its decomposition are n u ‖S‖ each, with
        // n = 4 and a unit of rounding u = 6e-8, of which an inverse root of exponent p makes p κ as
        // much: 2.4e-3 p a step, over five steps. Two sides have roots of ¼, one alone has ½.
        let exponent = if case.name == "shampoo, one-sided" { 0.5 } else { 0.25 };
        assert!(error < 1.2e-2 * exponent, "{}: relative error {error:e}", case.name);
        assert!(error > 0.0, "{}: single precision cannot be exact", case.name);
    }
}

#[test]
fn the_same_run_gives_the_same_bits() {
    for case in cases() {
        let problem = case.problem::<f64>(10, (6, 8), 50.0);
        let (a, b) = (run(&case, &problem, 12), run(&case, &problem, 12));
        assert!(a.iter().zip(&b).all(|(x, y)| x.to_bits() == y.to_bits()), "{}", case.name);
    }
}

/// The factor inside of a larger array.
fn inner(large: &Array2<f64>, samples: bool) -> Factor<'_, f64> {
    let array = large.slice(s![1..large.nrows() - 2, 2..]);
    if samples { Factor::Samples(array) } else { Factor::SecondMoment(array) }
}

#[test]
fn the_storage_of_an_array_does_not_matter() {
    for case in cases() {
        let problem = case.problem::<f64>(11, (5, 7), 20.0);
        let expected = run(&case, &problem, 6);
        // Weight and gradient column-major; factors as blocks of larger arrays.
        let mut weight = Array2::<f64>::zeros((7, 5)).reversed_axes();
        let embed = |m: &Array2<f64>| {
            let mut large = Array2::from_elem((m.nrows() + 3, m.ncols() + 2), f64::NAN);
            large.slice_mut(s![1..=m.nrows(), 2..]).assign(m);
            large
        };
        let (output, input) = match &problem.samples {
            None => (&problem.output, &problem.input),
            Some((outputs, inputs)) => (outputs, inputs),
        };
        let (output, input) = (embed(output), embed(input));
        let mut optimizer = case.chain.build(weight.dim()).unwrap();
        for _ in 0..6 {
            let gradient =
                problem.gradient(&weight).reversed_axes().as_standard_layout().to_owned();
            let signal = Signal::new(gradient.t())
                .with_input(inner(&input, case.samples))
                .with_output(inner(&output, case.samples))
                .with_diagonal(problem.diagonal.view());
            optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        }
        let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        let difference = largest_difference(weight.view(), expected.view()) / scale;
        // Products in another order; a rank-deficient factor's null space (SOAP, 5 of 7) leaves
        // projected entries that are rounding errors, held by ε = 1e-8 alone: 1e-16/1e-8.
        assert!(difference < 1e-6, "{}: {difference:e}", case.name);
    }
}

#[test]
fn reports_say_what_was_done() {
    for case in cases() {
        let problem = case.problem::<f64>(12, (4, 6), 10.0);
        let mut weight = Array2::zeros((4, 6));
        let mut optimizer = case.chain.build(weight.dim()).unwrap();
        for step in 1..=3 {
            let gradient = problem.gradient(&weight);
            let before = weight.clone();
            let report =
                optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
            let norm = |m: &Array2<f64>| m.iter().map(|x| x * x).sum::<f64>().sqrt();
            // Sums of 24 squares in two orders.
            let close = |a: f64, b: f64| (a - b).abs() <= 24.0 * f64::EPSILON * b;
            assert_eq!(report.step, step);
            assert_eq!(report.learning_rate, case.chain.learning_rate.value(step - 1));
            assert!(close(report.gradient_norm, norm(&gradient)), "{}", case.name);
            assert!(close(report.update_norm, norm(&(&weight - &before))), "{}", case.name);
            assert!(report.left_condition.is_none_or(|c| c >= 1.0), "{}", case.name);
            assert!(report.right_condition.is_none_or(|c| c >= 1.0), "{}", case.name);
        }
    }
}
