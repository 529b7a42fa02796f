//! Options of chains, against the formulas that define them.

use crate::common::{
    Quadratic, ROUNDING, covariance, generator, gradients, largest_difference, normal, run, start,
    step,
};
use layerwise_linalg::{Ridge, RootOptions, inverse_root, polar_factor_exact, singular_values};
use layerwise_optim::chain::{
    Clipping, DiagonalEstimate, Filter, Grafting, HeavyBall, LevenbergMarquardt, Merging,
    Partition, PolarConfig, PolarMethod, ShapeScale, WeightAveraging,
};
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::{Array2, s};
use layerwise_optim::parity::{PolarDivisor, SignScale};
use layerwise_optim::{
    Adam, AdamW, Averaging, Chain, Control, Damping, Ekfac, Factor, Group, Kfac, Method, Momentum,
    OptimError, Optimizer, OptimizerSet, Refresh, Scalar, Schedule, Selector, Sgd, Shampoo, Side,
    Signal, Signals, Soap, WeightDecay,
};

#[test]
fn blocks_are_optimizers_of_their_own() {
    let shampoo = Shampoo {
        momentum: Some(Momentum::HeavyBall(HeavyBall::new(0.9))),
        damping: Damping::Absolute(1e-3.into()),
        grafting: Some(Grafting::Diagonal(Default::default())),
        weight_decay: WeightDecay::Decoupled(0.1.into()),
        ..Shampoo::stylised()
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
        ..Shampoo::stylised()
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
        ..Ekfac::stylised()
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
        Sgd { weight_decay: WeightDecay::Decoupled(0.3.into()), ..Sgd::default() }.chain();
    let direction = Sgd { weight_decay: WeightDecay::Update(0.3.into()), ..Sgd::default() }.chain();
    let (a, b) = (run(&decoupled, &gradients), run(&direction, &gradients));
    assert!(largest_difference(a.view(), b.view()) < ROUNDING);

    // b ← μ b + (1−δ)(g + λ W) from zero, D = (1−δ)(g + λ W) + μ b.
    for nesterov in [false, true] {
        let (momentum, dampening, decay, rate) = (0.8, 0.3, 0.2, 0.1);
        let method = Chain::new(rate).with_weight_decay(&WeightDecay::Update(decay.into())).then(
            Momentum::HeavyBall(HeavyBall {
                dampening: dampening.into(),
                nesterov,
                from_zero: true,
                ..HeavyBall::new(momentum)
            }),
        );
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
        Sgd { learning_rate: rate.into(), momentum: beta.into(), ..Sgd::default() }.chain();
    let primal = Chain {
        weight_averaging: Some(WeightAveraging::Primal {
            train: 1.0.into(),
            evaluate: beta.into(),
        }),
        ..Chain::new(rate / (1.0 - beta))
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
fn an_average_of_weights_changes_no_step() {
    let decay = Schedule::linear(0.5, 0.9, 4);
    let method = Sgd { learning_rate: 0.2.into(), momentum: 0.7.into(), ..Sgd::default() };
    let averaged = Chain {
        weight_averaging: Some(WeightAveraging::Ema {
            decay: decay.clone(),
            bias_correction: false,
        }),
        ..method.chain()
    };
    let (mut alone, mut weight) = (start((3, 4)), start((3, 4)));
    let mut plain = method.build((3, 4)).unwrap();
    let mut optimizer = averaged.build((3, 4)).unwrap();
    let mut expected = weight.clone();
    assert_eq!(optimizer.evaluation_weight(&weight.view()).unwrap(), weight);
    for (t, gradient) in gradients(19, 8, (3, 4)).iter().enumerate() {
        step(&mut plain, &mut alone, gradient);
        step(&mut optimizer, &mut weight, gradient);
        assert_eq!(weight, alone);
        let beta = decay.value(t as u64);
        expected = &expected * beta + &weight * (1.0 - beta);
        let evaluated = optimizer.evaluation_weight(&weight.view()).unwrap();
        assert!(largest_difference(evaluated.view(), expected.view()) < ROUNDING);
    }
}

#[test]
fn schedule_free_evaluates_the_mean_of_the_iterates() {
    let gradients = gradients(7, 6, (2, 3));
    let (rate, train) = (0.3, 0.7);
    let method = Chain {
        weight_averaging: Some(WeightAveraging::ScheduleFree { train: train.into(), power: 2.0 }),
        ..Chain::new(rate)
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
        let weight_averaging = Some(if schedule_free {
            WeightAveraging::ScheduleFree { train: train.clone(), power }
        } else {
            WeightAveraging::Primal { train: train.clone(), evaluate: evaluate.into() }
        });
        let method = Chain { weight_averaging, ..Chain::new(rate.clone()) };
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
        let method = Chain::new(1.0).on_gradient(Clipping::Norm(bound.into()));
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
    let blocks = |max_dimension, merging| {
        let partition =
            Partition { max_dimension: Some(max_dimension), merging, ..Partition::default() };
        let mut chain = Adam::default().chain();
        chain.update = chain.update.into_iter().map(|stage| stage.in_parts(&partition)).collect();
        chain
    };
    for chain in [blocks(3, Merging::None), blocks(20, Merging::Small)] {
        for at in [(4, 3), (1, 3), (3, 0)] {
            let mut optimizer = chain.build((5, 4)).unwrap();
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
        let method = Chain::new(1.0).then(Momentum::Ema {
            beta: beta.into(),
            bias_correction: true,
            filter: Filter::Nesterov,
        });
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
    let momentum = Chain::new(0.01).then(Momentum::HeavyBall(HeavyBall::new(0.9)));
    let bounded = momentum.clone().then(Clipping::Value(1.0.into()));
    let signed = momentum.then(SignScale::One);
    for chain in [bounded, signed] {
        let mut weight = Array2::<f32>::zeros((2, 3));
        let mut optimizer = chain.build(weight.dim()).unwrap();
        let signal = Signal::new(gradient.view());
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        let before = (weight.clone(), optimizer.state());
        // 0.9 · 0.75 + 0.75 > 1.
        let error = optimizer.step(&mut weight.view_mut(), &signal).unwrap_err();
        assert!(matches!(error, OptimError::Overflow { row: 1, col: 2, .. }), "{error:?}");
        assert_eq!((weight, optimizer.state()), before);
    }
}

#[test]
fn clipping_bounds_norms_and_entries() {
    let gradient = &gradients(8, 1, (3, 4))[0];
    let norm = |m: &Array2<f64>| m.iter().map(|x| x * x).sum::<f64>().sqrt();
    let change = |chain: Chain| {
        let chain = Chain { learning_rate: 1.0.into(), ..chain };
        start((3, 4)) - run(&chain, std::slice::from_ref(gradient))
    };
    for bound in [0.25, 1e3] {
        let factor = (bound / norm(gradient)).min(1.0);
        let clipped = gradient.mapv(|x| x.clamp(-bound, bound));
        for (clipping, expected) in [
            (Clipping::Norm(bound.into()), gradient * factor),
            (Clipping::Value(bound.into()), clipped),
        ] {
            let of_gradient = Chain::new(0.01).on_gradient(clipping.clone());
            let of_update = Chain::new(0.01).then(clipping);
            for chain in [of_gradient, of_update] {
                assert!(largest_difference(change(chain).view(), expected.view()) < ROUNDING);
            }
        }
    }
    // Of the update, behind the preconditioner: Adam's first entries are signs.
    let adam =
        Adam { epsilon: 0.0.into(), ..Adam::default() }.chain().then(Clipping::Value(0.5.into()));
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
            normalize: true,
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
fn a_rate_factor_multiplies_the_rate_of_that_step_alone() {
    let problem = Quadratic::<f64>::new(15, (3, 4), 10.0);
    let decayed = AdamW { learning_rate: 0.2.into(), weight_decay: 0.5.into(), ..AdamW::default() };
    let methods = [
        decayed.chain(),
        Sgd { learning_rate: 0.2.into(), momentum: 0.9.into(), ..Sgd::default() }.chain(),
        Kfac { learning_rate: 0.2.into(), ..Kfac::stylised() }.chain(),
        Soap { learning_rate: 0.2.into(), ..Soap::default() }.chain(),
    ];
    let factors = [1.0, 0.5, 0.0, 2.0, 0.125];
    for method in methods {
        // A schedule with the same rates: powers of two change no digit of their products.
        let scheduled = Chain {
            learning_rate: Schedule::named("factors", move |t| 0.2 * factors[t as usize]),
            ..method.clone()
        };
        let mut optimizers = (method.build((3, 4)).unwrap(), scheduled.build((3, 4)).unwrap());
        let mut weights = (start((3, 4)), start((3, 4)));
        for factor in factors {
            let gradient = problem.gradient(&weights.0);
            let signal = problem.signal(&gradient);
            for refused in [-0.1, f64::NAN, f64::INFINITY] {
                let before = (weights.0.clone(), optimizers.0.state());
                let control = Control::default().with_rate_factor(refused);
                let error = optimizers.0.step_with(&control, &mut weights.0.view_mut(), &signal);
                let error = error.unwrap_err();
                assert!(matches!(
                    error,
                    OptimError::InvalidHyperparameter { name: "rate_factor", .. }
                ));
                assert_eq!((weights.0.clone(), optimizers.0.state()), before);
            }
            let control = Control::default().with_rate_factor(factor);
            let report = optimizers.0.step_with(&control, &mut weights.0.view_mut(), &signal);
            assert_eq!(report.unwrap().learning_rate, 0.2 * factor);
            optimizers.1.step(&mut weights.1.view_mut(), &signal).unwrap();
            assert_eq!(weights.0, weights.1);
        }
    }
}

#[test]
fn adapted_damping_acts_at_the_next_step() {
    let problem = Quadratic::<f64>::new(14, (3, 4), 10.0);
    let gradient = problem.gradient(&start((3, 4)));
    let signal = problem.signal(&gradient);
    let moved = |optimizer: &mut Optimizer<f64>| {
        let mut weight = Array2::<f64>::zeros((3, 4));
        let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        (weight, report.refreshed)
    };
    let rules: [&dyn Fn(f64) -> KfacDamping; 3] =
        [&|x| x.into(), &|x| KfacDamping::FactoredTikhonov(x.into()), &|x| {
            KfacDamping::Exact(x.into())
        }];
    for rule in rules {
        let method = |damping: f64| Kfac {
            damping: rule(damping),
            refresh: Refresh::every(100),
            damping_adaptation: Some(LevenbergMarquardt { decrease: 0.5, ..Default::default() }),
            ..Kfac::stylised()
        };
        let mut optimizer = method(0.1).build((3, 4)).unwrap();
        let (first, refreshed) = moved(&mut optimizer);
        assert!(refreshed);
        assert_eq!(moved(&mut optimizer), (first.clone(), false));
        assert_eq!(optimizer.report_reduction(0.9).unwrap(), 0.5);
        // What the roots were made with is state too.
        let mut resumed = method(0.1).build((3, 4)).unwrap();
        resumed.load(&optimizer.state()).unwrap();
        let (expected, _) = moved(&mut method(0.05).build((3, 4)).unwrap());
        for optimizer in [&mut optimizer, &mut resumed] {
            let (next, refreshed) = moved(optimizer);
            assert!(refreshed);
            assert!(largest_difference(next.view(), expected.view()) < ROUNDING);
            assert!(largest_difference(next.view(), first.view()) > 1e-3);
            assert_eq!(moved(optimizer), (next, false));
        }
    }
}

#[test]
fn levenberg_marquardt_scales_every_damping() {
    let problem = Quadratic::<f64>::new(13, (3, 4), 10.0);
    let gradient = problem.gradient(&start((3, 4)));
    let signal = problem.signal(&gradient);
    let adaptation = LevenbergMarquardt {
        decrease: 0.5,
        smallest: 0.2,
        largest: 3.0,
        ..LevenbergMarquardt::default()
    };
    let kfac = |damping: KfacDamping| Kfac {
        damping,
        damping_adaptation: Some(adaptation),
        ..Kfac::stylised()
    };
    let ekfac = |damping: f64| Ekfac {
        damping: damping.into(),
        estimate: DiagonalEstimate::Gradient,
        damping_adaptation: Some(adaptation),
        ..Ekfac::stylised()
    };
    let rules: [&dyn Fn(f64) -> Chain; 6] = [
        &|x| kfac(KfacDamping::Relative(x.into())).chain(),
        &|x| Ekfac { relative_damping: x.into(), ..ekfac(0.0) }.chain(),
        &|x| kfac(x.into()).chain(),
        &|x| kfac(KfacDamping::FactoredTikhonov(x.into())).chain(),
        &|x| kfac(KfacDamping::Exact(x.into())).chain(),
        &|x| ekfac(x).chain(),
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

    let mut plain = Kfac::stylised().build::<f64>((3, 4)).unwrap();
    assert!(matches!(plain.report_reduction(1.0), Err(OptimError::Incompatible { .. })));
    let adam = Chain { damping_adaptation: Some(adaptation), ..Adam::default().chain() };
    assert!(matches!(adam.build::<f64>((3, 4)), Err(OptimError::Incompatible { .. })));
}

#[test]
fn polar_factors_are_scaled_by_shape_and_nuclear_norm() {
    for shape in [(6, 2), (3, 5), (4, 4)] {
        let gradient = &gradients(28, 1, shape)[0];
        let (m, n) = (shape.0 as f64, shape.1 as f64);
        let direction = |polar: PolarConfig| {
            let chain = Chain::new(1.0).then(polar);
            start(shape) - run(&chain, std::slice::from_ref(gradient))
        };
        let exact = |times_nuclear_norm| PolarMethod::SingularValues { times_nuclear_norm };
        let factor = polar_factor_exact(gradient.view()).unwrap();
        let nuclear = singular_values(gradient.view()).unwrap().sum();
        for (method, multiple) in [(exact(false), 1.0), (exact(true), nuclear)] {
            for (scale, by_shape) in [
                (ShapeScale::Number(1.0), 1.0),
                (ShapeScale::Number(0.25), 0.25),
                (ShapeScale::Tall, (m / n).max(1.0).sqrt()),
                (ShapeScale::Ratio, (m / n).sqrt()),
                (ShapeScale::RootMeanSquare, 0.2 * m.max(n).sqrt()),
            ] {
                let found = direction(PolarConfig {
                    method: method.clone(),
                    scale,
                    ..PolarConfig::default()
                });
                let expected = &factor * (multiple * by_shape);
                let difference = largest_difference(found.view(), expected.view());
                assert!(difference < ROUNDING * 10.0, "{shape:?}, {scale:?}: {difference:e}");
            }
        }
        // Newton-Schulz with coefficients of slope one at one comes to the same.
        let found = direction(PolarConfig {
            method: PolarMethod::NewtonSchulz {
                polynomials: vec![[15.0 / 8.0, -10.0 / 8.0, 3.0 / 8.0]],
                steps: 40,
                divisor: PolarDivisor::AtLeast(1e-8),
            },
            scale: ShapeScale::Number(1.0),
            ..PolarConfig::default()
        });
        assert!(largest_difference(found.view(), factor.view()) < ROUNDING * 10.0, "{shape:?}");
    }
}

#[test]
fn signs_are_scaled_by_moduli() {
    let mut gradient = gradients(29, 1, (3, 4))[0].clone();
    gradient[[1, 2]] = 0.0;
    let sum: f64 = gradient.iter().map(|x| x.abs()).sum();
    for (scale, expected) in [
        (SignScale::One, 1.0),
        (SignScale::SumOfModuli, sum),
        (SignScale::MeanOfModuli, sum / 12.0),
    ] {
        let chain = Chain::new(1.0).then(scale);
        let mut weight = Array2::<f64>::zeros((3, 4));
        step(&mut chain.build((3, 4)).unwrap(), &mut weight, &gradient);
        for (w, g) in weight.iter().zip(&gradient) {
            let sign = if *g == 0.0 { 0.0 } else { g.signum() };
            // Sums in one order.
            assert_eq!(*w, -sign * expected);
        }
    }
}
