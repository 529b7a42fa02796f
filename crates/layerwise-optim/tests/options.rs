//! Options of compositions, against the formulas that define them.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::{Quadratic, covariance, generator, largest_difference, normal};
use layerwise_linalg::{Ridge, RootOptions, inverse_root, orthonormal_rows};
use layerwise_optim::ndarray::{Array2, s};
use layerwise_optim::{
    Adam, Averaging, BasisMethod, Clipping, Composition, Damping, DiagonalConfig, DiagonalEstimate,
    Direction, Ekfac, Exponents, Factor, FactorConfig, Filter, Grafting, Group, InverseRoot,
    IterateAveraging, JointDamping, Kfac, KfacDamping, KlShampoo, KroneckerConfig,
    LevenbergMarquardt, Merging, Method, Momentum, Normalization, OptimError, Optimizer,
    OptimizerSet, Partition, PreconditionerConfig, Refresh, RootMethod, Scalar, Schedule, Selector,
    Sgd, Shampoo, Side, Signal, Signals, Soap, Statistic, WeightDecay,
};

/// Gradients that do not depend on the weight.
fn gradients(seed: u64, count: usize, shape: (usize, usize)) -> Vec<Array2<f64>> {
    let mut rng = generator(seed);
    (0..count).map(|_| normal(&mut rng, shape)).collect()
}

fn start(shape: (usize, usize)) -> Array2<f64> {
    normal(&mut generator(99), shape)
}

fn step(optimizer: &mut Optimizer<f64>, weight: &mut Array2<f64>, gradient: &Array2<f64>) {
    optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
}

/// The weight after all gradients.
fn run(method: &impl Method, gradients: &[Array2<f64>]) -> Array2<f64> {
    let mut weight = start(gradients[0].dim());
    let mut optimizer = method.build(weight.dim()).unwrap();
    for gradient in gradients {
        step(&mut optimizer, &mut weight, gradient);
    }
    weight
}

/// A unit of rounding for each of some hundred operations on numbers below 10.
const ROUNDING: f64 = 1e-13;

#[test]
fn blocks_are_optimizers_of_their_own() {
    let shampoo = Shampoo {
        direction: Direction::Momentum(Momentum::heavy_ball(0.9)),
        damping: Damping::Absolute(1e-3.into()),
        grafting: Some(Grafting::Diagonal(Default::default())),
        weight_decay: WeightDecay::Decoupled(0.1.into()),
        ..Shampoo::default()
    };
    let limited = Partition { max_dimension: Some(3), ..Partition::default() };
    let whole = Shampoo { partition: limited.clone(), ..shampoo.clone() };
    let soap = Soap { partition: limited, epsilon: 0.1.into(), ..Soap::default() };
    let gradients = gradients(1, 6, (5, 4));
    let weights = (run(&whole, &gradients), run(&soap, &gradients));
    for (rows, cols) in [(0..3, 0..3), (0..3, 3..4), (3..5, 0..3), (3..5, 3..4)] {
        let part = |array: &Array2<f64>| array.slice(s![rows.clone(), cols.clone()]).to_owned();
        let mut alone = (part(&start((5, 4))), part(&start((5, 4))));
        let mut optimizers = (
            shampoo.build(alone.0.dim()).unwrap(),
            Soap { partition: Partition::default(), ..soap.clone() }.build(alone.1.dim()).unwrap(),
        );
        for gradient in &gradients {
            step(&mut optimizers.0, &mut alone.0, &part(gradient));
            step(&mut optimizers.1, &mut alone.1, &part(gradient));
        }
        assert!(largest_difference(part(&weights.0).view(), alone.0.view()) < ROUNDING);
        // Projections that are rounding errors are held by ε = 0.1 alone.
        assert!(largest_difference(part(&weights.1).view(), alone.1.view()) < 1e-11);
    }
}

#[test]
fn a_merged_matrix_has_one_full_factor() {
    let gradients = gradients(2, 4, (2, 3));
    let ridge = 1e-2;
    let method = Shampoo {
        learning_rate: 0.5.into(),
        averaging: Averaging::Sum,
        damping: Damping::Absolute(ridge.into()),
        partition: Partition {
            max_dimension: Some(6),
            merging: Merging::Small,
            ..Partition::default()
        },
        ..Shampoo::default()
    };
    let weight = run(&method, &gradients);
    let mut expected = start((2, 3)).into_shape_with_order((6, 1)).unwrap();
    let mut sum = Array2::<f64>::zeros((6, 6));
    for gradient in &gradients {
        let g = gradient.clone().into_shape_with_order((6, 1)).unwrap();
        sum = sum + g.dot(&g.t());
        let options = RootOptions { ridge: Ridge::Absolute(ridge), pseudo_inverse: None };
        expected = expected - inverse_root(sum.view(), 0.5, &options).unwrap().dot(&g) * 0.5;
    }
    let expected = expected.into_shape_with_order((2, 3)).unwrap();
    // The root amplifies rounding by the condition number, up to 10/ridge.
    assert!(largest_difference(weight.view(), expected.view()) < ROUNDING * 1e3);
}

#[test]
fn the_coupled_newton_iteration_gives_the_same_roots_or_falls_back() {
    let gradients = gradients(12, 5, (4, 4));
    let eigen = Shampoo {
        averaging: Averaging::Ema { beta: 0.9.into(), bias_correction: true },
        damping: Damping::Absolute(1e-2.into()),
        exponent: Exponents { left: 0.5, right: 1.0 / 3.0 },
        ..Shampoo::default()
    };
    let newton = Shampoo { root: RootMethod::CoupledNewton, ..eigen.clone() };
    let difference =
        largest_difference(run(&eigen, &gradients).view(), run(&newton, &gradients).view());
    // The iteration stops where M is 1e-6 from the identity, and has converged quadratically then.
    assert!(difference > 0.0 && difference < 1e-6, "{difference:e}");

    // Nothing converges in one step: eigendecompositions serve, and are counted.
    let root =
        InverseRoot::CoupledNewton { root: 2, max_steps: 1, tolerance: 1e-6, residual: 1e-3 };
    let factor = FactorConfig {
        statistic: Statistic::Gradient,
        averaging: Averaging::Sum,
        damping: Damping::Absolute(1e-2.into()),
        root,
        trace_scaling: 0.0,
    };
    let composition = |root| Composition {
        preconditioner: PreconditionerConfig::Kronecker(KroneckerConfig {
            left: FactorConfig { root, ..factor.clone() },
            right: FactorConfig::identity(),
            damping: JointDamping::None,
            refresh: Refresh::default(),
        }),
        ..Composition::default()
    };
    let short = composition(factor.root.clone());
    let mut weight = start((4, 4));
    let mut optimizer = short.build(weight.dim()).unwrap();
    let signal = Signal::new(gradients[0].view());
    let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
    assert!(report.refreshed && report.fallbacks == 1);
    assert_eq!(run(&short, &gradients), run(&composition(InverseRoot::eigen(0.5)), &gradients),);
}

/// The exponent of a vector's factor holds for a root that is by Cholesky otherwise.
#[test]
fn a_vector_keeps_its_exponent_whatever_the_root_of_matrices() {
    let gradients = gradients(21, 3, (1, 4));
    let method = |root, vector_exponent| {
        let factor = FactorConfig {
            statistic: Statistic::Gradient,
            averaging: Averaging::Sum,
            damping: Damping::Absolute(0.1.into()),
            root,
            trace_scaling: 0.0,
        };
        Composition {
            preconditioner: PreconditionerConfig::Kronecker(KroneckerConfig {
                left: factor.clone(),
                right: factor,
                damping: JointDamping::None,
                refresh: Refresh::default(),
            }),
            partition: Partition {
                merging: Merging::Vectors,
                vector_exponent,
                ..Partition::default()
            },
            ..Composition::default()
        }
    };
    for exponent in [0.5, 1.0] {
        let cholesky = run(&method(InverseRoot::Cholesky, exponent), &gradients);
        let eigen = run(&method(InverseRoot::eigen(0.25), exponent), &gradients);
        // Two routines, on condition numbers below 1e3.
        let difference = largest_difference(cholesky.view(), eigen.view());
        assert!(difference < ROUNDING * 1e3, "{exponent}: {difference:e}");
    }
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
        ..Shampoo::default()
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
            ..KlShampoo::default()
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

#[test]
fn ekfac_takes_the_diagonal_of_the_samples_second_moment() {
    let mut rng = generator(4);
    let (samples, rows, cols) = (9, 3, 5);
    let inputs = normal::<f64>(&mut rng, (samples, cols)).dot(&covariance(&mut rng, cols, 10.0));
    let outputs = normal::<f64>(&mut rng, (samples, rows)).dot(&covariance(&mut rng, rows, 10.0));
    let gradient = outputs.t().dot(&inputs) / samples as f64;
    let damping = 0.01;
    let method = Ekfac {
        learning_rate: 1.0.into(),
        damping: damping.into(),
        averaging: Averaging::None,
        diagonal_averaging: Averaging::None,
        ..Ekfac::default()
    };
    let mut weight = Array2::<f64>::zeros((rows, cols));
    let mut optimizer = method.build(weight.dim()).unwrap();
    let signal = Signal::new(gradient.view())
        .with_input(Factor::Samples(inputs.view()))
        .with_output(Factor::Samples(outputs.view()));
    optimizer.step(&mut weight.view_mut(), &signal).unwrap();

    let bases = optimizer.eigenbasis_mut().unwrap();
    let u = bases.basis(Side::Left).unwrap().to_owned();
    let v = bases.basis(Side::Right).unwrap().to_owned();
    // The dense second moment of vec(δxᵀ), in the basis U ⊗ V.
    let mut dense = Array2::<f64>::zeros((rows * cols, rows * cols));
    for i in 0..samples {
        let sample = outputs.slice(s![i..=i, ..]).t().dot(&inputs.slice(s![i..=i, ..]));
        let flat = sample.into_shape_with_order((rows * cols, 1)).unwrap();
        dense = dense + flat.dot(&flat.t()) / samples as f64;
    }
    let kronecker = Array2::from_shape_fn((rows * cols, rows * cols), |(i, j)| {
        u[[i / cols, j / cols]] * v[[i % cols, j % cols]]
    });
    let rotated = kronecker.t().dot(&dense).dot(&kronecker);
    let flat = gradient.clone().into_shape_with_order((rows * cols, 1)).unwrap();
    let mut coordinates = kronecker.t().dot(&flat);
    for (i, x) in coordinates.iter_mut().enumerate() {
        *x /= rotated[[i, i]] + damping;
    }
    let expected = kronecker.dot(&coordinates).into_shape_with_order((rows, cols)).unwrap();
    assert!(largest_difference((-&weight).view(), expected.view()) < ROUNDING * 1e2);

    // Second moments do not have samples; numbers of samples must agree.
    let moment = inputs.t().dot(&inputs);
    let error = optimizer
        .step(&mut weight.view_mut(), &signal.with_input(Factor::SecondMoment(moment.view())))
        .unwrap_err();
    assert_eq!(error, OptimError::MissingSamples { side: Side::Right });
    let fewer = inputs.slice(s![1.., ..]);
    let error = optimizer
        .step(&mut weight.view_mut(), &signal.with_input(Factor::Samples(fewer)))
        .unwrap_err();
    assert_eq!(error.to_string(), "output samples is 9 × 3, expected 8 × 3");
    assert!(method.build_for::<f64>((3, 5), Default::default()).is_err());
    // From gradients, nothing but the factors is needed of the layer.
    let from_gradients = Ekfac { estimate: DiagonalEstimate::Gradient, ..method };
    assert!(from_gradients.build::<f64>((3, 5)).unwrap().required().input);
}

#[test]
fn decay_in_the_direction_enters_velocity() {
    let gradients = gradients(5, 5, (2, 3));
    let decoupled =
        Sgd { weight_decay: WeightDecay::Decoupled(0.3.into()), ..Sgd::default() }.composition();
    let direction =
        Composition { weight_decay: WeightDecay::Direction(0.3.into()), ..decoupled.clone() };
    let (a, b) = (run(&decoupled, &gradients), run(&direction, &gradients));
    assert!(largest_difference(a.view(), b.view()) < ROUNDING);

    // b ← μ b + (1−δ)(g + λ W) from zero, D = (1−δ)(g + λ W) + μ b.
    for nesterov in [false, true] {
        let (momentum, dampening, decay, rate) = (0.8, 0.3, 0.2, 0.1);
        let method = Composition {
            learning_rate: rate.into(),
            velocity: Some(Momentum {
                dampening: dampening.into(),
                nesterov,
                from_zero: true,
                ..Momentum::heavy_ball(momentum)
            }),
            weight_decay: WeightDecay::Direction(decay.into()),
            ..Composition::default()
        };
        let mut weight = start((2, 3));
        let mut buffer = Array2::<f64>::zeros((2, 3));
        for g in &gradients {
            let taken = (g + &(&weight * decay)) * (1.0 - dampening);
            buffer = buffer * momentum + &taken;
            let along = if nesterov { taken + &buffer * momentum } else { buffer.clone() };
            weight = weight - along * rate;
        }
        let difference = largest_difference(run(&method, &gradients).view(), weight.view());
        assert!(difference < ROUNDING, "{nesterov}: {difference:e}");
    }
}

#[test]
fn primal_averaging_is_heavy_ball_momentum() {
    // μ_y = 1, μ_x = β, η/(1−β): the iterates of momentum β with rate η (arXiv 2512.17131), on
    // gradients that depend on the weight.
    let (beta, rate) = (0.8, 0.05);
    let problem = Quadratic::<f64>::new(6, (3, 4), 10.0);
    let momentum =
        Sgd { learning_rate: rate.into(), momentum: beta.into(), ..Sgd::default() }.composition();
    let primal = Composition {
        learning_rate: (rate / (1.0 - beta)).into(),
        iterate_averaging: Some(IterateAveraging::Primal {
            train: 1.0.into(),
            evaluate: beta.into(),
        }),
        ..Composition::default()
    };
    let mut weights = (start((3, 4)), start((3, 4)));
    let mut optimizers = (momentum.build((3, 4)).unwrap(), primal.build((3, 4)).unwrap());
    for _ in 0..12 {
        let gradients = (problem.gradient(&weights.0), problem.gradient(&weights.1));
        step(&mut optimizers.0, &mut weights.0, &gradients.0);
        step(&mut optimizers.1, &mut weights.1, &gradients.1);
        assert!(largest_difference(weights.0.view(), weights.1.view()) < ROUNDING);
        let evaluated = optimizers.1.evaluation_weight(&weights.1.view()).unwrap();
        assert!(largest_difference(evaluated.view(), weights.1.view()) < ROUNDING);
    }
}

#[test]
fn schedule_free_evaluates_the_mean_of_the_iterates() {
    let gradients = gradients(7, 6, (2, 3));
    let (rate, train) = (0.3, 0.7);
    let method = Composition {
        learning_rate: rate.into(),
        iterate_averaging: Some(IterateAveraging::ScheduleFree { train: train.into(), power: 2.0 }),
        ..Composition::default()
    };
    let mut weight = start((2, 3));
    let mut optimizer = method.build(weight.dim()).unwrap();
    let untouched = optimizer.evaluation_weight(&weight.view()).unwrap();
    assert_eq!(untouched, weight);
    let mut fast = weight.clone();
    let mut sum = Array2::<f64>::zeros((2, 3));
    for (t, gradient) in gradients.iter().enumerate() {
        step(&mut optimizer, &mut weight, gradient);
        fast = fast - gradient * rate;
        sum += &fast;
        // With a constant rate, x is the plain mean of z.
        let mean = &sum / (t + 1) as f64;
        let evaluated = optimizer.evaluation_weight(&weight.view()).unwrap();
        assert!(largest_difference(evaluated.view(), mean.view()) < ROUNDING);
        let between = &mean * train + &fast * (1.0 - train);
        assert!(largest_difference(weight.view(), between.view()) < ROUNDING);
    }
}

/// `z ← z − η g`, `x ← μ_x x + (1−μ_x) z`, `y = μ_y x + (1−μ_y) z`, in a plain loop that holds all
/// three, with a `μ_y` that changes and rates that do.
#[test]
fn averages_of_iterates_follow_a_scheduled_mu_y() {
    let gradients = gradients(17, 8, (2, 3));
    let rate = Schedule::linear(0.1, 0.5, 6);
    let train = Schedule::linear(0.9, 0.5, 5);
    let (evaluate, power) = (0.8, 2.0);
    for schedule_free in [false, true] {
        let iterate_averaging = Some(if schedule_free {
            IterateAveraging::ScheduleFree { train: train.clone(), power }
        } else {
            IterateAveraging::Primal { train: train.clone(), evaluate: evaluate.into() }
        });
        let method = Composition {
            learning_rate: rate.clone(),
            iterate_averaging,
            ..Composition::default()
        };
        let mut weight = start((2, 3));
        let mut optimizer = method.build(weight.dim()).unwrap();
        let (mut x, mut z) = (weight.clone(), weight.clone());
        let mut rates = 0.0;
        for (t, gradient) in gradients.iter().enumerate() {
            let (eta, mu_y) = (rate.value(t as u64), train.value(t as u64));
            rates += eta.powf(power);
            let mu_x = if schedule_free { 1.0 - eta.powf(power) / rates } else { evaluate };
            z = z - gradient * eta;
            x = &x * mu_x + &z * (1.0 - mu_x);
            let y = &x * mu_y + &z * (1.0 - mu_y);
            step(&mut optimizer, &mut weight, gradient);
            assert!(largest_difference(weight.view(), y.view()) < ROUNDING, "step {t}");
            let evaluated = optimizer.evaluation_weight(&weight.view()).unwrap();
            assert!(largest_difference(evaluated.view(), x.view()) < ROUNDING, "step {t}");
        }
    }
}

/// Norms beyond the range of the scalar, and bounds that are nothing against them.
#[test]
fn clipping_takes_norms_that_the_scalar_cannot_hold() {
    fn clipped<A: Scalar>(bound: f64, entry: A) -> f64 {
        let gradient =
            Array2::from_shape_fn((40, 50), |(i, j)| if (i + j) % 2 == 0 { entry } else { -entry });
        let method = Composition {
            learning_rate: 1.0.into(),
            gradient_clipping: Clipping::Norm(bound.into()),
            ..Composition::default()
        };
        let mut weight = Array2::<A>::zeros((40, 50));
        let mut optimizer = method.build(weight.dim()).unwrap();
        let signal = Signal::new(gradient.view());
        let norm = optimizer.step(&mut weight.view_mut(), &signal).unwrap().update_norm;
        assert!(weight.iter().zip(&gradient).all(|(w, g)| w.signum() == -g.signum()));
        norm / bound
    }
    // A quotient, a norm and a product, of entries that are all equal in modulus.
    let close = |ratio: f64, epsilon: f64| (ratio - 1.0).abs() <= 8.0 * epsilon;
    for bound in [1.0, 1e-3, 1e3] {
        let ratio = clipped(bound, f32::MAX);
        assert!(close(ratio, f64::from(f32::EPSILON)), "{ratio}");
        let ratio = clipped(bound, f64::MAX);
        assert!(close(ratio, 2000.0 * f64::EPSILON), "{ratio}");
    }
}

/// An entry that overflows is named by its place in the weight, not in its block.
#[test]
fn an_overflow_in_a_block_is_named_by_its_place_in_the_weight() {
    let gradient = |at| {
        let mut gradient = Array2::<f64>::ones((5, 4));
        gradient[at] = 1e200;
        gradient
    };
    let blocks = |max_dimension, merging| Composition {
        partition: Partition {
            max_dimension: Some(max_dimension),
            merging,
            ..Partition::default()
        },
        ..Adam::default().composition()
    };
    for composition in [blocks(3, Merging::None), blocks(20, Merging::Small)] {
        for at in [(4, 3), (1, 3), (3, 0)] {
            let mut optimizer = composition.build((5, 4)).unwrap();
            let gradient = gradient(at);
            let signal = Signal::new(gradient.view());
            let error = optimizer.step(&mut Array2::zeros((5, 4)).view_mut(), &signal).unwrap_err();
            let what = "the second moment of the gradient";
            let (row, col) = at;
            assert_eq!(error, OptimError::Overflow { what, row, col, value: f64::INFINITY });
        }
    }
}

/// Of one gradient, `m₊ = (1−β) g` and `D = β m₊ + (1−β) g = (1−β)(1+β) g`, which the sum of the
/// weights, `β (1−β) + (1−β)`, makes `g`.
#[test]
fn a_corrected_nesterov_average_of_one_gradient_is_that_gradient() {
    let gradient = &gradients(18, 1, (3, 4))[0];
    for beta in [0.0, 0.5, 0.9, 0.95] {
        let method = Composition {
            learning_rate: 1.0.into(),
            direction: Direction::Ema {
                beta: beta.into(),
                bias_correction: true,
                filter: Filter::Nesterov,
            },
            ..Composition::default()
        };
        let mut weight = Array2::<f64>::zeros((3, 4));
        step(&mut method.build((3, 4)).unwrap(), &mut weight, gradient);
        // 1−β, the correction, both quotients, three products and a sum.
        let tolerance = 8.0 * f64::EPSILON;
        for (w, g) in weight.iter().zip(gradient) {
            assert!((w + g).abs() <= tolerance * g.abs(), "{beta}: {w:e} for {g:e}");
        }
    }
}

/// Bounds and signs make an infinity finite, and must not hide it.
#[test]
fn a_momentum_that_overflows_is_refused_behind_bounds_and_signs() {
    let gradient =
        Array2::<f32>::from_shape_fn(
            (2, 3),
            |(i, j)| {
                if (i, j) == (1, 2) { 0.75 * f32::MAX } else { 1.0 }
            },
        );
    let momentum = Composition {
        direction: Direction::Momentum(Momentum::heavy_ball(0.9)),
        ..Composition::default()
    };
    let bounded = Composition { update_clipping: Clipping::Value(1.0.into()), ..momentum.clone() };
    let signed = Composition { preconditioner: PreconditionerConfig::Sign, ..momentum };
    for composition in [bounded, signed] {
        let mut weight = Array2::<f32>::zeros((2, 3));
        let mut optimizer = composition.build(weight.dim()).unwrap();
        let signal = Signal::new(gradient.view());
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        let before = (weight.clone(), optimizer.state());
        // 0.9 · 0.75 + 0.75 > 1.
        let error = optimizer.step(&mut weight.view_mut(), &signal).unwrap_err();
        assert!(matches!(error, OptimError::Overflow { row: 1, col: 2, .. }), "{error:?}");
        assert_eq!((weight, optimizer.state()), before);
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
            ..KlShampoo::default()
        }
        .composition()
    };
    let graft = DiagonalConfig { averaging: Averaging::None, ..DiagonalConfig::default() };
    let shampoo = |refresh| {
        Shampoo {
            averaging: Averaging::None,
            damping: Damping::RelativeToLargest(1e-3.into()),
            grafting: Some(Grafting::Diagonal(graft.clone())),
            refresh,
            ..Shampoo::default()
        }
        .composition()
    };
    let gradients = gradients(19, 4, (3, 4));
    let mut late = vec![Array2::zeros((3, 4))];
    late.extend(gradients.iter().cloned());
    for composition in [
        kl_shampoo(true, Refresh::default()),
        kl_shampoo(true, Refresh::every(10)),
        kl_shampoo(false, Refresh::every(10)),
        shampoo(Refresh::default()),
        shampoo(Refresh::every(10)),
        shampoo(Refresh::on_drift(0.9)),
    ] {
        assert_eq!(run(&composition, &late), run(&composition, &gradients));
        let mut weight = start((3, 4));
        let mut optimizer = composition.build(weight.dim()).unwrap();
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
        statistic: Statistic::Whitened { normalized: true },
        averaging: Averaging::Sum,
        damping: Damping::Absolute(ridge.into()),
        root: InverseRoot::eigen(0.5),
        trace_scaling: 0.0,
    };
    let dead = FactorConfig {
        statistic: Statistic::Signal,
        damping: Damping::RelativeToTrace(1e-3.into()),
        ..right.clone()
    };
    let zero = Array2::<f64>::zeros((3, 3));
    for left in [dead, FactorConfig::identity()] {
        let is_identity = left.statistic == Statistic::Identity;
        let method = Composition {
            learning_rate: rate.into(),
            preconditioner: PreconditionerConfig::Kronecker(KroneckerConfig {
                left,
                right: right.clone(),
                damping: JointDamping::None,
                refresh: Refresh::default(),
            }),
            ..Composition::default()
        };
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

#[test]
fn clipping_bounds_norms_and_entries() {
    let gradient = &gradients(8, 1, (3, 4))[0];
    let norm = |m: &Array2<f64>| m.iter().map(|x| x * x).sum::<f64>().sqrt();
    let change = |composition: Composition| {
        let composition = Composition { learning_rate: 1.0.into(), ..composition };
        start((3, 4)) - run(&composition, std::slice::from_ref(gradient))
    };
    for bound in [0.25, 1e3] {
        let factor = (bound / norm(gradient)).min(1.0);
        let clipped = gradient.mapv(|x| x.clamp(-bound, bound));
        for (clipping, expected) in [
            (Clipping::Norm(bound.into()), gradient * factor),
            (Clipping::Value(bound.into()), clipped),
        ] {
            let of_gradient =
                Composition { gradient_clipping: clipping.clone(), ..Composition::default() };
            let of_update = Composition { update_clipping: clipping, ..Composition::default() };
            for composition in [of_gradient, of_update] {
                assert!(largest_difference(change(composition).view(), expected.view()) < ROUNDING);
            }
        }
    }
    // Of the update, behind the preconditioner: Adam's first entries are signs.
    let adam = Composition {
        update_clipping: Clipping::Value(0.5.into()),
        ..Adam { epsilon: 0.0.into(), ..Adam::default() }.composition()
    };
    let expected = gradient.mapv(|x| 0.5 * x.signum());
    assert!(largest_difference(change(adam).view(), expected.view()) < ROUNDING);
}

#[test]
fn a_normalized_direction_has_the_size_of_its_corrections() {
    let gradients = gradients(9, 3, (3, 3));
    for bias_correction in [true, false] {
        let method = Soap {
            learning_rate: 0.2.into(),
            beta1: 0.9.into(),
            beta2: 0.6.into(),
            bias_correction,
            normalization: Normalization::RootMeanSquare,
            ..Soap::default()
        };
        let mut weight = start((3, 3));
        let mut optimizer = method.build(weight.dim()).unwrap();
        for (t, gradient) in gradients.iter().enumerate() {
            let signal = Signal::new(gradient.view());
            let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
            let power = t as i32 + 1;
            let size = if bias_correction {
                (1.0 - 0.6_f64.powi(power)).sqrt() / (1.0 - 0.9_f64.powi(power))
            } else {
                1.0
            };
            // Nine entries: the norm is three times the root mean square.
            let expected = 0.2 * 3.0 * size;
            assert!((report.update_norm - expected).abs() < ROUNDING * expected * 10.0);
        }
    }
}

#[test]
fn maximizing_is_minimizing_the_opposite() {
    let gradients = gradients(10, 4, (2, 2));
    let opposite: Vec<_> = gradients.iter().map(|g| -g).collect();
    let adam = Adam { weight_decay: WeightDecay::L2(0.1.into()), ..Adam::default() };
    let ascent = Adam { maximize: true, ..adam.clone() };
    assert_eq!(run(&ascent, &gradients), run(&adam, &opposite));
}

#[test]
fn a_function_that_leaves_its_range_is_an_error_of_that_step() {
    let gradients = gradients(11, 3, (2, 2));
    let rate = Schedule::named("falling", |t| 0.2 - 0.1 * t as f64);
    let method = Sgd { learning_rate: rate, momentum: 0.9.into(), ..Sgd::default() };
    let mut weight = start((2, 2));
    let mut optimizer = method.build(weight.dim()).unwrap();
    for gradient in &gradients {
        step(&mut optimizer, &mut weight, gradient);
    }
    let before = weight.clone();
    for _ in 0..2 {
        let signal = Signal::new(gradients[0].view());
        let error = optimizer.step(&mut weight.view_mut(), &signal).unwrap_err();
        assert!(
            matches!(error, OptimError::InvalidHyperparameter { name: "learning_rate", .. }),
            "{error:?}"
        );
        assert_eq!(weight, before);
        assert_eq!(optimizer.steps(), 3);
    }
}

#[test]
fn levenberg_marquardt_scales_every_damping() {
    let problem = Quadratic::<f64>::new(13, (3, 4), 10.0);
    let gradient = problem.gradient(&start((3, 4)));
    let signal = problem.signal(&gradient);
    let adaptation = LevenbergMarquardt { decrease: 0.5, smallest: 0.2, largest: 3.0 };
    let kfac = |damping: KfacDamping| Kfac {
        damping,
        damping_adaptation: Some(adaptation),
        ..Kfac::default()
    };
    let ekfac = |damping: f64| Ekfac {
        damping: damping.into(),
        estimate: DiagonalEstimate::Gradient,
        damping_adaptation: Some(adaptation),
        ..Ekfac::default()
    };
    let rules: [&dyn Fn(f64) -> Composition; 4] = [
        &|x| kfac(x.into()).composition(),
        &|x| kfac(KfacDamping::FactoredTikhonov(x.into())).composition(),
        &|x| kfac(KfacDamping::Exact(x.into())).composition(),
        &|x| ekfac(x).composition(),
    ];
    for rule in rules {
        let step = |optimizer: &mut Optimizer<f64>| {
            let mut weight = Array2::zeros((3, 4));
            optimizer.step(&mut weight.view_mut(), &signal).unwrap();
            weight
        };
        let mut adapted = rule(0.1).build((3, 4)).unwrap();
        assert_eq!(adapted.report_reduction(0.9).unwrap(), 0.5);
        assert_eq!(adapted.report_reduction(0.75).unwrap(), 0.5);
        assert_eq!(adapted.report_reduction(2.0).unwrap(), 0.25);
        assert_eq!(adapted.report_reduction(f64::INFINITY).unwrap(), 0.2);
        // The factor is part of the state.
        let mut resumed = rule(0.1).build((3, 4)).unwrap();
        resumed.load(&adapted.state()).unwrap();
        let expected = step(&mut rule(0.1 * 0.2).build((3, 4)).unwrap());
        // Products of dampings in another order.
        assert!(largest_difference(step(&mut adapted).view(), expected.view()) < ROUNDING);
        assert!(largest_difference(step(&mut resumed).view(), expected.view()) < ROUNDING);
        assert_eq!(adapted.report_reduction(0.24).unwrap(), 0.4);
        for _ in 0..4 {
            adapted.report_reduction(f64::NEG_INFINITY).unwrap();
        }
        assert_eq!(adapted.report_reduction(0.25).unwrap(), 3.0);
        let error = adapted.report_reduction(f64::NAN).unwrap_err();
        assert!(matches!(error, OptimError::InvalidHyperparameter { name: "ratio", .. }));
        assert_eq!(adapted.report_reduction(0.5).unwrap(), 3.0);
    }
    // In a set, those that ask for it.
    let mut set = OptimizerSet::<f64>::new(vec![
        Group::new(Selector::Matrices, &ekfac(0.1)),
        Group::new(Selector::All, &Adam::default()),
    ]);
    set.register("weight", (3, 4), Signals::ALL).unwrap();
    set.register("other", (2, 3), Signals::ALL).unwrap();
    set.register("bias", (1, 4), Signals::GRADIENT).unwrap();
    assert_eq!(set.report_reduction(0.9), Ok(2));
    let error = set.report_reduction(f64::NAN).unwrap_err();
    assert!(matches!(&error, OptimError::Parameter { name, .. } if name == "weight"), "{error}");

    let mut plain = Kfac::default().build::<f64>((3, 4)).unwrap();
    assert!(matches!(plain.report_reduction(1.0), Err(OptimError::Incompatible { .. })));
    let adam =
        Composition { damping_adaptation: Some(adaptation), ..Adam::default().composition() };
    assert!(matches!(adam.build::<f64>((3, 4)), Err(OptimError::Incompatible { .. })));
}

/// The QR algorithm by its formula: `B = U R`, `B ← R U`, `Q ← Q U` from `Q = I`, `B = GGᵀ`.
#[test]
fn several_qr_steps_are_the_qr_algorithm_until_the_tolerance() {
    let gradient = normal::<f64>(&mut generator(22), (5, 5));
    let basis = |steps, tolerance| {
        let basis = BasisMethod::QrStep { ridge: 0.0.into(), steps, tolerance };
        let mut optimizer = Soap { basis, ..Soap::default() }.build((5, 5)).unwrap();
        step(&mut optimizer, &mut start((5, 5)), &gradient);
        optimizer.eigenbasis_mut().unwrap().basis(Side::Left).unwrap().to_owned()
    };
    let share = |b: &Array2<f64>| {
        let squares = b.indexed_iter().map(|((i, j), x)| (i != j, x * x));
        let (off, all) = squares.fold((0.0, 0.0), |(off, all), (is_off, x)| {
            (if is_off { off + x } else { off }, all + x)
        });
        f64::sqrt(off / all)
    };
    let (mut b, mut q) = (gradient.dot(&gradient.t()), Array2::<f64>::eye(5));
    let (mut least, mut seen) = (share(&b), 0);
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
        let reached = share(&b);
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
    let shampoo = Shampoo { refresh: Refresh::on_drift(0.5), ..Shampoo::default() };
    let exact = Kfac {
        damping: KfacDamping::Exact(0.1.into()),
        averaging: Averaging::Ema { beta: 0.5.into(), bias_correction: true },
        refresh: Refresh::on_drift(0.5),
        ..Kfac::default()
    };
    for composition in [soap.composition(), shampoo.composition(), exact.composition()] {
        let mut weight = start((4, 4));
        let mut optimizer = composition.build(weight.dim()).unwrap();
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
    let cholesky = Kfac { refresh: Refresh::on_drift(0.5), ..Kfac::default() };
    assert!(matches!(cholesky.build::<f64>((4, 4)), Err(OptimError::Incompatible { .. })));
}
