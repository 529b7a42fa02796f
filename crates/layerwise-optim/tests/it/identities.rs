//! Exact identities between methods, and between a method and the dense system that it solves.

use crate::common::{Quadratic, covariance, generator, largest_difference, normal};
use layerwise_linalg::{Cholesky, polar_factor_exact};
use layerwise_optim::chain::{
    EigenbasisConfig, Grafting, HeavyBall, LevenbergMarquardt, StageConfig,
};
use layerwise_optim::factor::{RootMethod, Statistic};
use layerwise_optim::methods::{KfacDamping, OutputFactor};
use layerwise_optim::ndarray::{Array2, linalg::kron};
use layerwise_optim::{
    Adam, Averaging, Chain, Damping, Ekfac, Factor, Group, Kfac, Method, Momentum, OneSidedKfac,
    Optimizer, OptimizerSet, Refresh, Selector, Sgd, Shampoo, Signal, Signals, Soap, Update,
    WeightDecay,
};

/// The change that one step with η = 1 makes, sign reversed.
fn direction(mut optimizer: Optimizer<f64>, signal: &Signal<f64>) -> Array2<f64> {
    let mut weight = Array2::zeros(optimizer.shape());
    optimizer.step(&mut weight.view_mut(), signal).unwrap();
    -weight
}

/// The weights of ten steps on a quadratic.
fn trajectory(chain: &Chain) -> Vec<Array2<f64>> {
    let problem = Quadratic::<f64>::new(20, (5, 7), 30.0);
    let mut weight = Array2::<f64>::zeros((5, 7));
    let mut optimizer = chain.build(weight.dim()).unwrap();
    (0..10)
        .map(|_| {
            let gradient = problem.gradient(&weight);
            optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
            weight.clone()
        })
        .collect()
}

#[test]
fn first_shampoo_step_is_the_polar_factor() {
    let mut rng = generator(21);
    let method = Shampoo {
        learning_rate: 1.0.into(),
        averaging: Averaging::None,
        damping: Damping::None,
        root: RootMethod::pseudo_inverse(1e-12),
        ..Shampoo::stylised()
    };
    for (shape, rank) in [((6, 9), 6), ((9, 6), 6), ((5, 5), 5), ((6, 8), 3), ((8, 7), 2)] {
        let gradient =
            normal::<f64>(&mut rng, (shape.0, rank)).dot(&normal(&mut rng, (rank, shape.1)));
        let step = direction(method.build(shape).unwrap(), &Signal::new(gradient.view()));
        let polar = polar_factor_exact(gradient.view()).unwrap();
        // Singular values come from eigenvalues of G Gᵀ: their squares' relative error is ε κ(G)²,
        // κ < 100 for these; the cut-off 1e-12 lies below κ⁻² and above the rounding of zeros.
        let error = largest_difference(step.view(), polar.view());
        assert!(error < 2.3e-16 * 1e4 * 10.0, "{shape:?}, rank {rank}: {error:e}");
        // It is a partial isometry of that rank, not a multiple of one.
        let norm_squared: f64 = step.iter().map(|x| x * x).sum();
        assert!((norm_squared - rank as f64).abs() < 1e-9, "{norm_squared}");
    }
}

#[test]
fn soap_in_identity_bases_is_adam() {
    let adam = Adam {
        learning_rate: 0.05.into(),
        beta1: 0.95.into(),
        beta2: 0.95.into(),
        ..Adam::default()
    };
    let expected = trajectory(&adam.chain());
    let soap = Soap { learning_rate: 0.05.into(), ..Soap::default() };
    // Both sides left alone.
    let mut chain = soap.chain();
    let Some(StageConfig::Eigenbasis(config)) = chain.stages_mut().last() else {
        unreachable!("SOAP is a diagonal in eigenbases")
    };
    *config = EigenbasisConfig { left: Statistic::None, right: Statistic::None, ..config.clone() };
    assert_eq!(trajectory(&chain), expected);
    // Bases that are not taken yet.
    let waiting = Soap { refresh: Refresh { start: 11, ..Refresh::default() }, ..soap.clone() };
    assert_eq!(trajectory(&waiting.chain()), expected);
    // With bases, it is something else.
    assert_ne!(trajectory(&soap.chain()), expected);
}

#[test]
fn shampoo_with_grafting_and_no_preconditioning_is_the_grafted_method() {
    let adam = Adam { learning_rate: 0.05.into(), ..Adam::default() }.chain();
    let [StageConfig::Momentum(momentum), StageConfig::Diagonal(diagonal)] = &*adam.update else {
        unreachable!("Adam is entry-wise")
    };
    let shampoo = Shampoo {
        learning_rate: 0.05.into(),
        momentum: Some(momentum.clone()),
        grafting: Some(Grafting::Diagonal(diagonal.clone())),
        ..Shampoo::stylised()
    };
    let waiting =
        Shampoo { refresh: Refresh { start: 11, ..Refresh::default() }, ..shampoo.clone() };
    assert_eq!(trajectory(&waiting.chain()), trajectory(&adam));
    assert_ne!(trajectory(&shampoo.chain()), trajectory(&adam));
}

#[test]
fn grafting_takes_the_length_and_keeps_the_direction() {
    let problem = Quadratic::<f64>::new(22, (4, 6), 30.0);
    let gradient = problem.gradient(&Array2::zeros((4, 6)));
    let plain = Shampoo { learning_rate: 1.0.into(), ..Shampoo::stylised() };
    let own = direction(plain.build((4, 6)).unwrap(), &problem.signal(&gradient));
    let grafted = Shampoo { grafting: Some(Grafting::Sgd), ..plain };
    let taken = direction(grafted.build((4, 6)).unwrap(), &problem.signal(&gradient));
    let norm = |m: &Array2<f64>| m.iter().map(|x| x * x).sum::<f64>().sqrt();
    // A norm, a division and a product: a few units of rounding.
    assert!((norm(&taken) / norm(&gradient) - 1.0).abs() < 1e-14);
    let expected = &own * (norm(&gradient) / norm(&own));
    assert!(largest_difference(taken.view(), expected.view()) < 1e-14 * norm(&gradient));
    // Grafted onto what arrives, a stage that keeps the length is itself.
    let twice = Chain::new(1.0)
        .then(StageConfig::Negate.grafted(Some(Grafting::Sgd)))
        .then(StageConfig::Negate);
    let step = direction(twice.build((4, 6)).unwrap(), &problem.signal(&gradient));
    assert!(largest_difference(step.view(), gradient.view()) < 1e-15 * norm(&gradient));
}

/// Solves with the damped Kronecker product, formed and factored as one dense matrix, rows of the
/// gradient one after another.
fn dense_solve(system: &Array2<f64>, gradient: &Array2<f64>) -> Array2<f64> {
    let mut column =
        Array2::from_shape_vec((gradient.len(), 1), gradient.iter().copied().collect::<Vec<_>>())
            .unwrap();
    Cholesky::new(system.view(), 0.0).unwrap().solve_left(&mut column.view_mut()).unwrap();
    Array2::from_shape_vec(gradient.dim(), column.into_iter().collect()).unwrap()
}

#[test]
fn damped_kfac_is_the_dense_solve() {
    let mut rng = generator(23);
    let undamped = Kfac { learning_rate: 1.0.into(), damping: 0.0.into(), ..Kfac::stylised() };
    for shape in [(3, 5), (6, 4), (4, 4), (1, 5), (5, 1)] {
        let output = covariance(&mut rng, shape.0, 1e3) * 7.0;
        let input = covariance(&mut rng, shape.1, 1e3) * 0.3;
        let gradient = normal::<f64>(&mut rng, shape);
        let identity = (Array2::<f64>::eye(shape.0), Array2::<f64>::eye(shape.1));
        let lower = Cholesky::new(input.view(), 0.0).unwrap();
        for damping in [0.0, 1e-4, 0.1, 10.0] {
            let mean = |m: &Array2<f64>| m.diag().sum() / m.nrows() as f64;
            let pi = (mean(&input) / mean(&output)).sqrt();
            let root = f64::sqrt(damping);
            let rules = [
                (
                    "plain",
                    Kfac { damping: damping.into(), ..undamped.clone() },
                    kron(
                        &(&output + &(&identity.0 * damping)),
                        &(&input + &(&identity.1 * damping)),
                    ),
                ),
                (
                    "factored Tikhonov",
                    Kfac {
                        damping: KfacDamping::FactoredTikhonov(damping.into()),
                        ..undamped.clone()
                    },
                    kron(
                        &(&output + &(&identity.0 * (root / pi))),
                        &(&input + &(&identity.1 * (root * pi))),
                    ),
                ),
                (
                    "exact",
                    Kfac { damping: KfacDamping::Exact(damping.into()), ..undamped.clone() },
                    kron(&output, &input) + Array2::<f64>::eye(gradient.len()) * damping,
                ),
                (
                    "one-sided",
                    Kfac {
                        output: OutputFactor::Identity,
                        damping: damping.into(),
                        ..undamped.clone()
                    },
                    kron(&identity.0, &(&input + &(&identity.1 * damping))),
                ),
            ];
            for (rule, method, system) in rules {
                let expected = dense_solve(&system, &gradient);
                let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                // The system's condition number is at most 1e6; two solves, each with a backward
                // error of some n ε.
                let tolerance = 1e6 * f64::EPSILON * 30.0;
                for input in [Factor::SecondMoment(input.view()), Factor::Cholesky(lower.lower())] {
                    let signal = Signal::new(gradient.view())
                        .with_input(input)
                        .with_output(Factor::SecondMoment(output.view()));
                    let step = direction(method.build(shape).unwrap(), &signal);
                    let error = largest_difference(step.view(), expected.view()) / scale;
                    assert!(error < tolerance, "{rule}, {shape:?}, {damping}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn samples_moments_and_cholesky_factors_are_the_same_signal() {
    let mut rng = generator(24);
    let samples = normal::<f64>(&mut rng, (40, 6));
    let moment = samples.t().dot(&samples) / 40.0;
    let moment = (&moment + &moment.t()) * 0.5;
    let cholesky = Cholesky::new(moment.view(), 0.0).unwrap();
    let mut lower = cholesky.lower().to_owned();
    // What stands above the diagonal is not read.
    lower[[0, 5]] = f64::NAN;
    let gradient = normal::<f64>(&mut rng, (3, 6));
    let averaged = Averaging::Ema { beta: 0.7.into(), bias_correction: true };
    for averaging in [Averaging::None, averaged, Averaging::Sum] {
        for damping in [0.0, 0.01] {
            let method = OneSidedKfac {
                learning_rate: 1.0.into(),
                damping: damping.into(),
                averaging: averaging.clone(),
                ..OneSidedKfac::stylised()
            };
            let step = |factor| {
                let signal = Signal::new(gradient.view()).with_input(factor);
                direction(method.build((3, 6)).unwrap(), &signal)
            };
            let expected = step(Factor::SecondMoment(moment.view()));
            let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            for factor in [Factor::Samples(samples.view()), Factor::Cholesky(lower.view())] {
                // κ < 10 for 40 samples of 6 normals; sums of 40 terms.
                let error = largest_difference(step(factor).view(), expected.view()) / scale;
                assert!(error < 10.0 * 40.0 * f64::EPSILON, "{averaging:?}, {damping}: {error:e}");
            }
        }
    }
}

#[test]
fn an_average_of_factors_is_what_is_inverted() {
    let mut rng = generator(25);
    let (beta, damping) = (0.8, 0.05);
    let method = OneSidedKfac {
        learning_rate: 1.0.into(),
        damping: damping.into(),
        averaging: Averaging::Ema { beta: beta.into(), bias_correction: true },
        ..OneSidedKfac::stylised()
    };
    let mut optimizer = method.build::<f64>((3, 5)).unwrap();
    let mut weight = Array2::<f64>::zeros((3, 5));
    let mut average = Array2::<f64>::zeros((5, 5));
    for step in 1..=6 {
        let moment = covariance(&mut rng, 5, 50.0);
        let gradient = normal::<f64>(&mut rng, (3, 5));
        average = average * beta + &moment * (1.0 - beta);
        let corrected = &average / (1.0 - f64::powi(beta, step));
        let mut expected = gradient.clone();
        Cholesky::new(corrected.view(), damping)
            .unwrap()
            .solve_right(&mut expected.view_mut())
            .unwrap();
        let before = weight.clone();
        let signal = Signal::new(gradient.view()).with_input(Factor::SecondMoment(moment.view()));
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        let taken = before - &weight;
        // κ ≤ 1/damping = 20, and the weight's own rounding in the difference.
        let tolerance = 20.0 * f64::EPSILON * 100.0;
        assert!(largest_difference(taken.view(), expected.view()) < tolerance, "step {step}");
    }
}

/// Under `x → A x` the gradient becomes `g Aᵀ` and the input factor `A Σ Aᵀ`: undamped KFAC's
/// predictions `W x` do not change.
#[test]
fn undamped_kfac_does_not_see_linear_maps_of_its_input() {
    let mut rng = generator(26);
    let problem = Quadratic::<f64>::new(27, (4, 5), 20.0);
    let map = normal::<f64>(&mut rng, (5, 5)) + Array2::<f64>::eye(5) * 3.0;
    let gradient = normal::<f64>(&mut rng, (4, 5));
    let mapped_gradient = gradient.dot(&map.t());
    let mapped_input = map.dot(&problem.input).dot(&map.t());
    let mapped_input = (&mapped_input + &mapped_input.t()) * 0.5;
    let mapped = Signal::new(mapped_gradient.view())
        .with_input(Factor::SecondMoment(mapped_input.view()))
        .with_output(Factor::SecondMoment(problem.output.view()));
    // W A is what acts on the original inputs; κ(A)² κ(Σ) < 1e5.
    let change = |method: &Chain| {
        let original = direction(method.build((4, 5)).unwrap(), &problem.signal(&gradient));
        let mapped = direction(method.build((4, 5)).unwrap(), &mapped);
        let scale = original.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        largest_difference(mapped.dot(&map).view(), original.view()) / scale
    };
    let kfac = Kfac { learning_rate: 1.0.into(), damping: 0.0.into(), ..Kfac::stylised() };
    let invariant = change(&kfac.chain());
    assert!(invariant < 1e5 * f64::EPSILON * 5.0, "{invariant:e}");
    for other in [
        Sgd { learning_rate: 1.0.into(), ..Sgd::default() }.chain(),
        Shampoo { learning_rate: 1.0.into(), ..Shampoo::stylised() }.chain(),
        Adam { learning_rate: 1.0.into(), ..Adam::default() }.chain(),
    ] {
        assert!(change(&other) > 0.1);
    }
}

#[test]
fn momentum_unrolls_to_its_sum() {
    use layerwise_optim::Momentum;
    let mut rng = generator(28);
    let gradients: Vec<_> = (0..5).map(|_| normal::<f64>(&mut rng, (2, 3))).collect();
    let (momentum, dampening) = (0.7, 0.4);
    let chain = Chain::new(1.0).then(Momentum::HeavyBall(HeavyBall {
        dampening: dampening.into(),
        ..HeavyBall::new(momentum)
    }));
    let mut optimizer = chain.build::<f64>((2, 3)).unwrap();
    let mut weight = Array2::<f64>::zeros((2, 3));
    let mut expected = Array2::<f64>::zeros((2, 3));
    for t in 0..gradients.len() {
        optimizer.step(&mut weight.view_mut(), &Signal::new(gradients[t].view())).unwrap();
        // b_t = μᵗ g₀ + (1−δ) Σ μ^{t−s} g_s
        for s in 0..=t {
            let take = if s == 0 { 1.0 } else { 1.0 - dampening };
            expected = expected - &gradients[s] * (take * f64::powi(momentum, (t - s) as i32));
        }
    }
    assert!(largest_difference(weight.view(), expected.view()) < 1e-14);
}

/// The corrected average of equal observations is the observation, so the same signal gives the
/// same step each time; without the correction it would not.
#[test]
fn bias_correction_makes_equal_signals_give_equal_steps() {
    let problem = Quadratic::<f64>::new(29, (4, 4), 10.0);
    let gradient = problem.gradient(&Array2::zeros((4, 4)));
    let averaging = |bias_correction| Averaging::Ema { beta: 0.95.into(), bias_correction };
    let shampoo = |bias_correction| {
        Shampoo { averaging: averaging(bias_correction), ..Shampoo::stylised() }.chain()
    };
    let kfac = |bias_correction| {
        Kfac { averaging: averaging(bias_correction), ..Kfac::stylised() }.chain()
    };
    let exact = |bias_correction| {
        Kfac {
            averaging: averaging(bias_correction),
            damping: KfacDamping::Exact(1e-3.into()),
            ..Kfac::stylised()
        }
        .chain()
    };
    let spread = |chain: Chain| {
        let mut optimizer = chain.build::<f64>((4, 4)).unwrap();
        let mut weight = Array2::<f64>::zeros((4, 4));
        let mut first = None;
        let mut worst = 0.0_f64;
        for _ in 0..6 {
            let before = weight.clone();
            optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
            let step = &weight - &before;
            let first = first.get_or_insert_with(|| step.clone());
            let scale = first.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            worst = worst.max(largest_difference(step.view(), first.view()) / scale);
        }
        worst
    };
    for method in [&shampoo as &dyn Fn(bool) -> Chain, &kfac, &exact] {
        // κ of the factors is below 1e6 here; an average is rounded a few times.
        assert!(spread(method(true)) < 1e6 * f64::EPSILON * 10.0);
        assert!(spread(method(false)) > 0.1);
    }
}

#[test]
fn roots_are_refreshed_at_the_start_and_then_at_multiples() {
    let refreshed = |method: &dyn Fn(Refresh) -> Chain, refresh: Refresh| {
        let problem = Quadratic::<f64>::new(32, (3, 4), 10.0);
        let mut weight = Array2::<f64>::zeros((3, 4));
        let mut optimizer = method(refresh).build::<f64>((3, 4)).unwrap();
        let mut steps = Vec::new();
        for step in 1..=12 {
            let gradient = problem.gradient(&weight);
            let report =
                optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
            if report.refreshed {
                steps.push(step);
            }
        }
        steps
    };
    let kfac = |refresh| Kfac { refresh, ..Kfac::stylised() }.chain();
    let shampoo = |refresh| Shampoo { refresh, ..Shampoo::stylised() }.chain();
    let soap = |refresh| Soap { refresh, ..Soap::default() }.chain();
    for method in [&kfac as &dyn Fn(Refresh) -> Chain, &shampoo, &soap] {
        assert_eq!(refreshed(method, Refresh::every(5)), [1, 5, 10]);
        let late = Refresh { every: 4, start: 6, ..Refresh::default() };
        assert_eq!(refreshed(method, late), [6, 8, 12]);
    }
    let published = |refresh| Soap { refresh, ..Soap::as_published() }.chain();
    assert_eq!(refreshed(&published, Refresh::every(5)), [1, 6, 11]);
}

/// Where the samples' second moment is `P ⊗ Q`, eigenvalues of the product are what EKFAC estimates.
#[test]
fn ekfac_on_samples_of_a_kronecker_product_is_kfac_with_exact_damping() {
    let condition = 30.0;
    let problem = Quadratic::<f64>::new(28, (5, 7), condition).sampled(true);
    let gradient = problem.gradient(&Array2::zeros((5, 7)));
    for damping in [1e-3, 1e-1] {
        let ekfac = Ekfac {
            learning_rate: 1.0.into(),
            damping: damping.into(),
            averaging: Averaging::None,
            diagonal_averaging: Averaging::None,
            ..Ekfac::stylised()
        };
        let kfac = Kfac {
            learning_rate: 1.0.into(),
            damping: KfacDamping::Exact(damping.into()),
            ..Kfac::stylised()
        };
        let signal = problem.signal(&gradient);
        let step = direction(ekfac.build((5, 7)).unwrap(), &signal);
        let expected = direction(kfac.build((5, 7)).unwrap(), &signal);
        let largest = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        // The damped inverse loses its condition number, at most 1/damping, in sums over 35 samples.
        let error = largest_difference(step.view(), expected.view()) / largest;
        assert!(error < 35.0 * f64::EPSILON / damping, "{damping}: {error:e}");
    }
}

/// `⟨g, Δ⟩ + ½ ⟨vec Δ, (P ⊗ Q) vec Δ⟩` with averages and the product formed, whatever made the step.
#[test]
fn the_model_of_a_step_is_the_dense_one() {
    let (rows, cols) = (3, 4);
    let mut rng = generator(29);
    let factors: Vec<_> = (0..4)
        .map(|_| (covariance(&mut rng, rows, 10.0), covariance(&mut rng, cols, 10.0)))
        .collect();
    let (beta, eta) = (0.8, 0.3);
    let averaged = Kfac {
        learning_rate: eta.into(),
        averaging: Averaging::Ema { beta: beta.into(), bias_correction: true },
        damping_adaptation: Some(LevenbergMarquardt::default()),
        ..Kfac::stylised()
    };
    let undamped = Kfac { damping: 0.0.into(), ..averaged.clone() };
    let momentum = Momentum::HeavyBall(HeavyBall::new(0.9));
    let decay = WeightDecay::Decoupled(0.1.into());
    let methods = [
        averaged.chain(),
        Kfac { output: OutputFactor::Identity, ..averaged.clone() }.chain(),
        Kfac { averaging: Averaging::None, ..undamped.clone() }.chain(),
        Kfac { damping: KfacDamping::Exact(0.1.into()), ..undamped.clone() }.chain(),
        Kfac { damping: KfacDamping::FactoredTikhonov(0.1.into()), ..undamped }.chain(),
        Kfac { momentum: Some(momentum), weight_decay: decay, ..averaged.clone() }.chain(),
        Kfac { refresh: Refresh::every(3), ..averaged.clone() }.chain(),
        averaged.chain().maximizing(true),
    ];
    for chain in methods {
        let kronecker = chain.stages().find_map(|stage| match stage {
            StageConfig::Kronecker(config) => Some(config),
            _ => None,
        });
        let config = kronecker.unwrap();
        let averages = config.right.averaging != Averaging::None;
        for by_cholesky in [false, true] {
            let mut weight = normal::<f64>(&mut generator(30), (rows, cols));
            let mut optimizer = chain.build(weight.dim()).unwrap();
            let (mut p, mut q) = (Array2::<f64>::zeros((rows, rows)), Array2::zeros((cols, cols)));
            for (t, (left, right)) in factors.iter().enumerate() {
                let gradient = normal::<f64>(&mut rng, (rows, cols));
                let lower = |m: &Array2<f64>| Cholesky::new(m.view(), 0.0).unwrap();
                let lowers = (lower(left), lower(right));
                let signal = Signal::new(gradient.view());
                let signal = if by_cholesky {
                    signal
                        .with_output(Factor::Cholesky(lowers.0.lower()))
                        .with_input(Factor::Cholesky(lowers.1.lower()))
                } else {
                    signal
                        .with_output(Factor::SecondMoment(left.view()))
                        .with_input(Factor::SecondMoment(right.view()))
                };
                let before = weight.clone();
                let model = optimizer.step(&mut weight.view_mut(), &signal).unwrap().model.unwrap();
                let (old, new, correction) = if averages {
                    (beta, 1.0 - beta, 1.0 - beta.powi(t as i32 + 1))
                } else {
                    (0.0, 1.0, 1.0)
                };
                (p, q) = (p * old + left * new, q * old + right * new);
                let one_sided = config.left.statistic == Statistic::None;
                let dense_left = if one_sided { Array2::eye(rows) } else { &p / correction };
                let dense = kron(&dense_left, &(&q / correction));
                let change = (&weight - &before).into_shape_with_order((rows * cols, 1)).unwrap();
                let curvature = change.t().dot(&dense).dot(&change)[[0, 0]];
                let flat = gradient.into_shape_with_order((rows * cols, 1)).unwrap();
                let sign = if chain.gradient.contains(&StageConfig::Negate) { -1.0 } else { 1.0 };
                let slope = sign * flat.t().dot(&change)[[0, 0]];
                // Sums of 12 and 144 products; the slope's terms can cancel.
                let size = flat.iter().zip(&change).map(|(a, b)| (a * b).abs()).sum::<f64>();
                assert!((model.slope - slope).abs() <= 32.0 * f64::EPSILON * size);
                let error = (model.curvature - curvature).abs();
                assert!(error <= 256.0 * f64::EPSILON * curvature, "{error:e} of {curvature:e}");
                assert_eq!(model.reduction(), -model.slope - 0.5 * model.curvature);
            }
        }
    }
}

/// A quadratic loss falls by what its own quadratic model says, so that every report is of ratio 1.
#[test]
fn a_quadratic_loss_falls_as_predicted() {
    // The samples' second moment is the Kronecker product of their factors, which EKFAC's diagonal
    // then has all of.
    let problem = Quadratic::<f64>::new(31, (5, 6), 20.0).sampled(true);
    let adaptation = Some(LevenbergMarquardt { decrease: 0.5, ..LevenbergMarquardt::default() });
    let method = Kfac {
        learning_rate: 0.5.into(),
        damping: 0.3.into(),
        damping_adaptation: adaptation,
        ..Kfac::stylised()
    };
    let ekfac = Ekfac {
        learning_rate: 0.5.into(),
        damping: 0.3.into(),
        averaging: Averaging::None,
        diagonal_averaging: Averaging::None,
        refresh: Refresh::default(),
        damping_adaptation: adaptation,
        ..Ekfac::stylised()
    };
    for chain in [method.chain(), ekfac.chain()] {
        let mut set = OptimizerSet::new(vec![Group::new(Selector::All, &chain)]);
        set.register("weight", (5, 6), Signals::ALL).unwrap();
        let mut weight = Array2::zeros((5, 6));
        for step in 1..=6 {
            let (before, gradient) = (problem.loss(&weight), problem.gradient(&weight));
            let signal = problem.signal(&gradient);
            set.step(&mut [Update::new("weight", weight.view_mut(), signal)]).unwrap();
            let predicted = set.report("weight").unwrap().model.unwrap().reduction();
            let actual = before - problem.loss(&weight);
            // Each loss is a sum of 30 terms, and a rotation one of six.
            let error = (actual - predicted).abs();
            assert!(error <= 64.0 * f64::EPSILON * before, "{actual} {predicted}");
            set.report_reduction(actual / predicted).unwrap();
            let factor = set.optimizer_mut("weight").unwrap().report_reduction(0.5).unwrap();
            assert_eq!(factor, 0.5_f64.powi(step));
        }
        assert!(set.optimizer_mut("other").is_none());
        let adapted = set.optimizers_mut().map(|(name, kfac)| (name.to_owned(), kfac.steps()));
        assert_eq!(adapted.collect::<Vec<_>>(), [("weight".to_owned(), 6)]);
    }
    let mut weight = Array2::zeros((5, 6));
    // It is not computed for those that do not ask.
    let mut plain = Kfac { damping_adaptation: None, ..method }.build((5, 6)).unwrap();
    let gradient = problem.gradient(&weight);
    let report = plain.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
    assert_eq!(report.model, None);
}
