//! What is refused when an optimizer is set up, and sets of parameters.

use crate::common::{cases, generator, normal};
use layerwise_optim::chain::{
    Clipping, CurvatureDiagonalConfig, DiagonalConfig, DiagonalFactorConfig, EigenbasisConfig,
    Grafting, HeavyBall, KroneckerConfig, LevenbergMarquardt, Merging, MomentSharing, Partition,
    PolarConfig, PolarMethod, PsgdConfig, ShapeScale, StageConfig, WeightAveraging,
};
use layerwise_optim::checkpoint::OptimizerState;
use layerwise_optim::factor::{
    BasisMethod, FactorConfig, JointDamping, RankTolerance, RootMethod, Statistic,
};
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::{Array1, Array2, Axis};
use layerwise_optim::parity::{BasisUse, ColumnOrder, PolarDivisor, SignScale};
use layerwise_optim::{
    Adam, AdamW, Averaging, Chain, Damping, EmbeddingKfac, Group, Kfac, KlShampoo, Method,
    Momentum, Muon, OneSidedKfac, OptimError, Optimizer, OptimizerSet, Refresh, Selector, Sgd,
    Shampoo, Side, Signal, Signals, Soap, Update, WeightDecay,
};

fn refusal(method: &impl Method) -> OptimError {
    match method.build::<f64>((3, 4)) {
        Ok(_) => panic!("{:?} was built", method.chain()),
        Err(error) => error,
    }
}

const DESCENDING: ColumnOrder = ColumnOrder::Descending;

fn qr_steps(steps: u32, tolerance: f64, order: ColumnOrder) -> BasisMethod {
    BasisMethod::QrStep { ridge: 0.0.into(), steps, tolerance, order }
}

/// One side by this factor, the other left alone.
fn one_sided(left: FactorConfig) -> Chain {
    Chain::new(0.01).then(KroneckerConfig::new(left, FactorConfig::left_alone()))
}

/// One side by Newton's iteration.
fn newton(order: u32, max_steps: usize, tolerance: f64, residual: f64) -> Chain {
    one_sided(FactorConfig {
        statistic: Statistic::Gradient,
        root: RootMethod::CoupledNewton {
            order,
            from_trace: false,
            max_steps,
            tolerance,
            residual,
        },
        ..FactorConfig::left_alone()
    })
}

fn newton_schulz(coefficients: [f64; 3], steps: usize, divisor: PolarDivisor) -> Chain {
    let method = PolarMethod::NewtonSchulz { polynomials: vec![coefficients], steps, divisor };
    let polar = PolarConfig { method, ..PolarConfig::default() };
    Muon { polar, ..Muon::default() }.chain()
}

#[test]
fn hyperparameters_out_of_range_are_refused_by_name() {
    let not_finite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let check = |name: &str, bad: &[f64], method: &dyn Fn(f64) -> Chain| {
        for &value in bad.iter().chain(&not_finite) {
            match refusal(&method(value)) {
                OptimError::InvalidHyperparameter { name: found, value: shown, allowed } => {
                    assert_eq!(found, name);
                    assert_eq!(shown.to_bits(), value.to_bits());
                    assert!(!allowed.is_empty());
                }
                other => panic!("{name} = {value}: {other:?}"),
            }
        }
    };
    let (decays, shares) = ([-0.1, 1.0, 1.5], [-0.1, 1.5]);
    check("learning_rate", &[-1e-3], &|x| {
        Sgd { learning_rate: x.into(), ..Sgd::default() }.chain()
    });
    check("momentum", &shares, &|x| Sgd { momentum: x.into(), ..Sgd::default() }.chain());
    check("momentum", &[0.0], &|x| {
        Sgd { momentum: x.into(), nesterov: true, ..Sgd::default() }.chain()
    });
    check("dampening", &shares, &|x| {
        Sgd { momentum: 0.9.into(), dampening: x.into(), ..Sgd::default() }.chain()
    });
    check("dampening", &[0.1], &|x| {
        Sgd { momentum: 0.9.into(), dampening: x.into(), nesterov: true, ..Sgd::default() }.chain()
    });
    check("weight_decay", &[-0.1], &|x| {
        Sgd { weight_decay: WeightDecay::L2(x.into()), ..Sgd::default() }.chain()
    });
    check("weight_decay", &[-0.1], &|x| {
        AdamW { weight_decay: x.into(), ..AdamW::default() }.chain()
    });
    check("momentum.beta", &decays, &|x| Adam { beta1: x.into(), ..Adam::default() }.chain());
    check("diagonal.averaging.beta", &decays, &|x| {
        Adam { beta2: x.into(), ..Adam::default() }.chain()
    });
    check("diagonal.epsilon", &[-1e-8], &|x| Adam { epsilon: x.into(), ..Adam::default() }.chain());
    check("factor.damping", &[-1e-8], &|x| {
        Kfac { damping: KfacDamping::per_factor(0.0, x), ..Kfac::stylised() }.chain()
    });
    check("factor.damping", &[-1e-8], &|x| {
        Shampoo { damping: Damping::RelativeToTrace(x.into()), ..Shampoo::stylised() }.chain()
    });
    check("factor.exponent", &[-0.25], &|x| {
        Shampoo { exponent: x.into(), ..Shampoo::stylised() }.chain()
    });
    check("factor.trace_scaling", &[-0.1, 1.1], &|x| {
        Shampoo { trace_scaling: x, ..Shampoo::stylised() }.chain()
    });
    let adapted =
        |adaptation| Kfac { damping_adaptation: Some(adaptation), ..Kfac::stylised() }.chain();
    check("damping_adaptation.decrease", &[0.0, 1.0], &|x| {
        adapted(LevenbergMarquardt { decrease: x, ..LevenbergMarquardt::default() })
    });
    check("damping_adaptation.smallest", &[0.0, 1.5], &|x| {
        adapted(LevenbergMarquardt { smallest: x, ..LevenbergMarquardt::default() })
    });
    check("damping_adaptation.largest", &[0.5], &|x| {
        adapted(LevenbergMarquardt { largest: x, ..LevenbergMarquardt::default() })
    });
    check("factor.root.tolerance", &[0.0, -1.0], &|x| newton(2, 10, x, 1e-3));
    check("factor.root.residual", &[0.0, -1.0], &|x| newton(2, 10, 1e-6, x));
    check("diagonal.exponent", &[0.0, -0.5], &|x| Soap { exponent: x, ..Soap::default() }.chain());
    check("partition.vector_exponent", &[-0.5], &|x| {
        let partition = Partition { vector_exponent: x, ..Partition::default() };
        Chain::new(0.01).then(StageConfig::Sign(SignScale::One).in_parts(&partition))
    });
    check("clipping", &[0.0, -1.0], &|x| Chain::new(0.01).on_gradient(Clipping::Norm(x.into())));
    check("clipping", &[0.0, -1.0], &|x| Chain::new(0.01).then(Clipping::Value(x.into())));
    check("weight_averaging.train", &[0.0, 1.5], &|x| Chain {
        weight_averaging: Some(WeightAveraging::ScheduleFree { train: x.into(), power: 2.0 }),
        ..Chain::new(0.01)
    });
    check("weight_averaging.power", &[-1.0], &|x| Chain {
        weight_averaging: Some(WeightAveraging::ScheduleFree { train: 0.8.into(), power: x }),
        ..Chain::new(0.01)
    });
    check("weight_averaging.evaluate", &decays, &|x| Chain {
        weight_averaging: Some(WeightAveraging::Primal { train: 1.0.into(), evaluate: x.into() }),
        ..Chain::new(0.01)
    });
    check("weight_averaging.decay", &decays, &|x| Chain {
        weight_averaging: Some(WeightAveraging::Ema { decay: x.into(), bias_correction: false }),
        ..Chain::new(0.01)
    });
    check("factor.root.pseudo_inverse.relative", &[-0.1, 1.0], &|x| {
        Shampoo { root: RootMethod::pseudo_inverse(x), ..Shampoo::stylised() }.chain()
    });
    check("factor.root.pseudo_inverse.absolute", &[-0.1], &|x| {
        let cutoff = RankTolerance { absolute: x, ..RankTolerance::default() };
        Shampoo { root: RootMethod::pseudo_inverse(cutoff), ..Shampoo::stylised() }.chain()
    });
    check("factor.exponent", &[-0.5], &|x| {
        KlShampoo { exponent: x.into(), ..KlShampoo::stylised() }.chain()
    });
    check("factor.damping", &[-0.1], &|x| {
        let damping = Damping::RelativeToRowSum { relative: x.into(), least: 0.0.into() };
        Shampoo { damping, ..Shampoo::stylised() }.chain()
    });
    check("factor.damping", &[-0.1], &|x| {
        let damping = Damping::RelativeToRowSum { relative: 0.0.into(), least: x.into() };
        Shampoo { damping, ..Shampoo::stylised() }.chain()
    });
    check("factor.averaging.beta", &decays, &|x| {
        let averaging = Averaging::Ema { beta: x.into(), bias_correction: true };
        Shampoo { averaging, ..Shampoo::stylised() }.chain()
    });
    check("eigenbasis.averaging.beta", &decays, &|x| {
        Soap { factor_beta: x.into(), ..Soap::default() }.chain()
    });
    check("kronecker.damping", &[-1.0], &|x| {
        Kfac { damping: KfacDamping::Exact(x.into()), ..Kfac::stylised() }.chain()
    });
    check("basis.tolerance", &[-0.1, 1.0], &|x| {
        let basis = qr_steps(1, x, DESCENDING);
        Soap { basis, ..Soap::default() }.chain()
    });
    check("basis.tolerance", &[-0.1, 1.0], &|x| {
        let basis = BasisMethod::Eigendecomposition { tolerance: x };
        let root = RootMethod::Eigen { pseudo_inverse: None, basis };
        Shampoo { root, ..Shampoo::stylised() }.chain()
    });
    for divisor in [PolarDivisor::Plus, PolarDivisor::AtLeast] {
        check("polar.divisor", &[0.0, -1.0], &|x| newton_schulz([1.0; 3], 5, divisor(x)));
    }
    check("polar.polynomials", &[], &|x| newton_schulz([1.0, x, 1.0], 5, PolarDivisor::Plus(1e-7)));
    check("scale", &[0.0, -1.0], &|x| Chain::new(0.1).then(ShapeScale::Number(x)));
    let psgd = |change: &dyn Fn(&mut PsgdConfig)| {
        let mut config = PsgdConfig::default();
        change(&mut config);
        Chain::new(0.1).then(config)
    };
    check("psgd.learning_rate", &[0.0, -0.1, 1.0], &|x| {
        psgd(&|config| config.learning_rate = x.into())
    });
    check("psgd.share", &[0.0, -0.1, 1.1], &|x| psgd(&|config| config.share = x.into()));
    check("psgd.damping", &[-0.1], &|x| psgd(&|config| config.damping = x.into()));
    check("curvature_diagonal.floor", &[0.0, -1.0], &|x| {
        let floor = x.into();
        Chain::new(0.1)
            .then(CurvatureDiagonalConfig { floor, ..CurvatureDiagonalConfig::default() })
    });
    check("diagonal_factor.exponent", &[0.0, -1.0], &|exponent| {
        Chain::new(0.1)
            .then(DiagonalFactorConfig { exponent, ..DiagonalFactorConfig::new(Side::Right) })
    });
    check("relative_to_weight", &[-1.0], &|x| {
        Chain::new(0.1).then(StageConfig::RelativeToWeight(x.into()))
    });
    check("add_difference", &[-1.0], &|x| {
        Chain::new(0.1).then(StageConfig::AddDifference(x.into()))
    });
    check("clipping", &[0.0, -1.0], &|x| Chain::new(0.1).then(Clipping::RootMeanSquare(x.into())));
    check("polar.scale", &[0.0, -1.0], &|x| {
        let polar = PolarConfig { scale: ShapeScale::Number(x), ..PolarConfig::default() };
        Muon { polar, ..Muon::default() }.chain()
    });
    check("momentum", &shares, &|x| Chain::new(0.01).then(Momentum::HeavyBall(HeavyBall::new(x))));
    let error = refusal(&Adam { beta1: 1.0.into(), ..Adam::default() });
    assert_eq!(error.to_string(), "momentum.beta = 1 is not allowed: it must be in [0, 1)");
}

#[test]
fn counts_of_zero_are_refused() {
    let zero = |name| {
        move |error: OptimError| {
            assert!(
                matches!(error, OptimError::InvalidHyperparameter { name: n, .. } if n == name),
                "{error:?}"
            );
        }
    };
    zero("refresh.every")(refusal(&Soap { refresh: Refresh::every(0), ..Soap::default() }));
    let refresh = Refresh { start: 0, ..Refresh::default() };
    zero("refresh.start")(refusal(&Kfac { refresh, ..Kfac::stylised() }));
    let partition = Partition { max_dimension: Some(0), ..Partition::default() };
    zero("partition.max_dimension")(refusal(&Soap { partition, ..Soap::default() }));
    let basis = qr_steps(0, 0.0, DESCENDING);
    zero("basis.steps")(refusal(&Soap { basis, ..Soap::default() }));
    zero("factor.root.order")(refusal(&newton(0, 10, 1e-6, 1e-3)));
    zero("factor.root.max_steps")(refusal(&newton(2, 0, 1e-6, 1e-3)));
    zero("polar.steps")(refusal(&newton_schulz([1.0; 3], 0, PolarDivisor::Plus(1e-7))));
    for order in [1, 33] {
        let error = refusal(&newton(order, 10, 1e-6, 1e-3)).to_string();
        assert_eq!(
            error,
            format!("factor.root.order = {order} is not allowed: it must be in [2, 32]")
        );
    }
}

#[test]
fn combinations_without_meaning_are_refused() {
    let damped = FactorConfig {
        damping: Damping::Absolute(0.1.into()),
        statistic: Statistic::Signal,
        ..FactorConfig::left_alone()
    };
    let largest = FactorConfig {
        damping: Damping::RelativeToLargest(1e-8.into()),
        statistic: Statistic::Signal,
        ..FactorConfig::left_alone()
    };
    let root =
        FactorConfig { exponent: 0.5, root: RootMethod::default(), ..FactorConfig::left_alone() };
    let pseudo_inverse =
        FactorConfig { root: RootMethod::pseudo_inverse(1e-8), ..FactorConfig::left_alone() };
    let kronecker = |left, damping| {
        Chain::new(0.01).then(KroneckerConfig {
            damping,
            ..KroneckerConfig::new(left, FactorConfig::left_alone())
        })
    };
    let eigenbasis = |change: fn(&mut EigenbasisConfig)| {
        let mut chain = Soap::default().chain();
        for stage in chain.stages_mut() {
            if let StageConfig::Eigenbasis(config) = stage {
                change(config);
            }
        }
        chain
    };
    let shared = |change: fn(&mut DiagonalConfig)| {
        let mut config =
            DiagonalConfig { sharing: MomentSharing::Columns, ..DiagonalConfig::default() };
        change(&mut config);
        config
    };
    let in_parts = |partition: Partition| {
        let mut chain = Kfac::stylised().chain();
        chain.update = chain.update.into_iter().map(|stage| stage.in_parts(&partition)).collect();
        chain
    };
    for chain in [
        kronecker(damped, JointDamping::FactoredTikhonov(0.1.into())),
        kronecker(largest, JointDamping::None),
        kronecker(root, JointDamping::Exact(0.1.into())),
        kronecker(pseudo_inverse, JointDamping::Exact(0.1.into())),
        one_sided(FactorConfig { exponent: 0.5, ..FactorConfig::left_alone() }),
        Soap {
            basis_use: BasisUse::Previous,
            refresh: Refresh { start: 2, ..Refresh::default() },
            ..Soap::default()
        }
        .chain(),
        Soap { basis: qr_steps(2, 0.0, DESCENDING), ..Soap::as_published() }.chain(),
        Soap { basis: qr_steps(1, 0.1, DESCENDING), ..Soap::as_published() }.chain(),
        Soap { basis: BasisMethod::Eigendecomposition { tolerance: 0.1 }, ..Soap::as_published() }
            .chain(),
        Shampoo { root: RootMethod::coupled_newton(), ..Shampoo::stylised() }.chain(),
        kronecker(
            FactorConfig {
                statistic: Statistic::Whitened { normalized: true },
                ..FactorConfig::left_alone()
            },
            JointDamping::Exact(0.1.into()),
        ),
        kronecker(
            FactorConfig { trace_scaling: 0.5, ..FactorConfig::left_alone() },
            JointDamping::Exact(0.1.into()),
        ),
        eigenbasis(|config| config.diagonal.centered = true),
        eigenbasis(|config| {
            config.left = Statistic::Whitened { normalized: true };
            config.averaging = Averaging::None;
        }),
        eigenbasis(|config| config.diagonal.sharing = MomentSharing::Rows),
        Chain {
            damping_adaptation: Some(LevenbergMarquardt::default()),
            ..EmbeddingKfac::default().chain()
        },
        Adam::default().chain().then(shared(|config| config.maximum = true)),
        Adam::default().chain().then(shared(|config| config.initial = 0.1)),
        Shampoo { grafting: Some(Grafting::Diagonal(shared(|_| ()))), ..Shampoo::stylised() }
            .chain(),
        in_parts(Partition { max_dimension: Some(2), ..Partition::default() }),
        in_parts(Partition {
            max_dimension: Some(12),
            merging: Merging::Small,
            ..Partition::default()
        }),
        Chain::new(0.01).then(DiagonalConfig {
            centered: true,
            maximum: true,
            ..DiagonalConfig::default()
        }),
    ] {
        let error = refusal(&chain);
        assert!(matches!(error, OptimError::Incompatible { .. }), "{error:?}");
        assert!(error.to_string().contains(" cannot be combined with "));
    }
}

#[test]
fn empty_weights_are_refused() {
    for case in cases() {
        for shape in [(0, 3), (3, 0), (0, 0)] {
            let error = case.chain.build::<f32>(shape).unwrap_err();
            assert_eq!(error, OptimError::EmptyShape { rows: shape.0, cols: shape.1 });
        }
    }
}

/// Neither the weight nor a factor of it may have more bytes than can be addressed.
#[test]
fn weights_too_large_to_be_addressed_are_refused() {
    let too_large = |error: OptimError, what: &str, (rows, cols): (usize, usize)| {
        assert_eq!(
            error.to_string(),
            format!("{what} of {rows} × {cols} is larger than an array can be")
        );
    };
    for shape in [(usize::MAX, 2), (2, usize::MAX), (1 << 32, 1 << 32), (1 << 30, 1 << 30)] {
        for case in cases() {
            too_large(case.chain.build::<f64>(shape).unwrap_err(), "a weight", shape);
        }
    }
    // It is bytes that count.
    let error = Sgd::default().build::<f32>((1 << 31, 1 << 30)).unwrap_err();
    too_large(error, "a weight", (1 << 31, 1 << 30));
    let long = 1_usize << 31;
    for chain in [
        Shampoo::stylised().chain(),
        Soap { partition: Partition::default(), ..Soap::default() }.chain(),
    ] {
        too_large(chain.build::<f64>((1, long)).unwrap_err(), "a factor", (long, long));
    }
    let partition = Partition { merging: Merging::Vectors, ..Partition::default() };
    let vector = Shampoo { partition, ..Shampoo::stylised() };
    too_large(vector.build::<f64>((long, 1)).unwrap_err(), "a factor", (long, long));

    // Such a shape in a state.
    let state = Adam::default().build::<f64>((3, 4)).unwrap().state().to_json().unwrap();
    let edited = state.replacen("[3,4]", &format!("[{long},{long}]"), 1);
    let state = OptimizerState::<f64>::from_json(&edited).unwrap();
    assert_eq!(state.shape(), (long, long));
    too_large(Optimizer::from_state(&state).unwrap_err(), "a weight", (long, long));
}

#[test]
fn a_method_without_its_signal_is_refused_at_set_up() {
    let input = Signals::INPUT;
    let output = Signals::OUTPUT;
    let error = Kfac::stylised().build_for::<f64>((3, 4), input).unwrap_err();
    assert_eq!(error, OptimError::MissingSignal { side: Side::Left });
    let error = Kfac::stylised().build_for::<f64>((3, 4), output).unwrap_err();
    assert_eq!(error, OptimError::MissingSignal { side: Side::Right });
    assert_eq!(
        error.to_string(),
        "the right (input) factor of this method is taken from the layer's signal, which has none"
    );
    assert!(Kfac::stylised().build_for::<f64>((3, 4), Signals::ALL).is_ok());
    assert!(OneSidedKfac::stylised().build_for::<f64>((3, 4), input).is_ok());
    for case in cases() {
        let built = case.chain.build_for::<f64>((3, 4), Signals::GRADIENT);
        let required = case.chain.required();
        assert_eq!(built.is_ok(), required == Signals::GRADIENT, "{}", case.name);
        assert_eq!(case.chain.build::<f64>((3, 4)).unwrap().required(), required);
    }
}

#[test]
fn compositions_survive_json() {
    for case in cases() {
        let text = serde_json::to_string(&case.chain).unwrap();
        let read: Chain = serde_json::from_str(&text).unwrap();
        assert_eq!(read, case.chain, "{}", case.name);
    }
}

fn routed() -> OptimizerSet<f64> {
    let mut set = OptimizerSet::new(vec![
        Group::new(Selector::Named(vec!["embedding".to_owned()]), &Sgd::default()),
        Group::new(Selector::Matrices, &Soap::default()),
        Group::new(Selector::Vectors, &AdamW::default()),
    ]);
    set.register("embedding", (4, 3), Signals::GRADIENT).unwrap();
    set.register("weight", (3, 4), Signals::GRADIENT).unwrap();
    set.register("bias", (1, 4), Signals::GRADIENT).unwrap();
    set
}

#[test]
fn a_set_steps_each_parameter_by_its_group() {
    let mut rng = generator(30);
    let mut set = routed();
    assert_eq!(set.names().collect::<Vec<_>>(), ["embedding", "weight", "bias"]);
    let start = (normal::<f64>(&mut rng, (4, 3)), normal::<f64>(&mut rng, (3, 4)));
    let (mut embedding, mut weight) = start.clone();
    let mut bias = Array1::<f64>::ones(4);
    let mut alone = (embedding.clone(), weight.clone(), bias.clone().insert_axis(Axis(0)));
    let mut sgd = Sgd::default().build::<f64>((4, 3)).unwrap();
    let mut soap = Soap::default().build::<f64>((3, 4)).unwrap();
    let mut adamw = AdamW::default().build::<f64>((1, 4)).unwrap();
    for step in 1..=4 {
        let gradients = (
            normal::<f64>(&mut rng, (4, 3)),
            normal::<f64>(&mut rng, (3, 4)),
            normal::<f64>(&mut rng, (1, 4)),
        );
        // The order of updates does not matter.
        set.step(&mut [
            Update::new(
                "bias",
                bias.view_mut().insert_axis(Axis(0)),
                Signal::new(gradients.2.view()),
            ),
            Update::new("embedding", embedding.view_mut(), Signal::new(gradients.0.view())),
            Update::new("weight", weight.view_mut(), Signal::new(gradients.1.view())),
        ])
        .unwrap();
        sgd.step(&mut alone.0.view_mut(), &Signal::new(gradients.0.view())).unwrap();
        soap.step(&mut alone.1.view_mut(), &Signal::new(gradients.1.view())).unwrap();
        adamw.step(&mut alone.2.view_mut(), &Signal::new(gradients.2.view())).unwrap();
        assert_eq!(set.report("weight").unwrap().step, step);
    }
    assert_eq!(embedding, alone.0);
    assert_eq!(weight, alone.1);
    assert_eq!(bias, alone.2.index_axis(Axis(0), 0));
    assert_ne!(weight, start.1);
    let sum = sgd.memory_bytes() + soap.memory_bytes() + adamw.memory_bytes();
    assert_eq!(set.memory_bytes(), sum);
}

#[test]
fn a_set_refuses_a_step_as_a_whole_and_names_the_parameter() {
    let mut rng = generator(31);
    let mut set = routed();
    let mut weight = normal::<f64>(&mut rng, (3, 4));
    let mut bias = normal::<f64>(&mut rng, (1, 4));
    let before = (weight.clone(), bias.clone());
    let gradient = normal::<f64>(&mut rng, (3, 4));
    let mut bad = normal::<f64>(&mut rng, (1, 4));
    bad[[0, 2]] = f64::NAN;
    let error = set
        .step(&mut [
            Update::new("weight", weight.view_mut(), Signal::new(gradient.view())),
            Update::new("bias", bias.view_mut(), Signal::new(bad.view())),
        ])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter \"bias\": gradient is not finite: entry (0, 2) is NaN"
    );
    assert_eq!((&weight, &bias), (&before.0, &before.1));
    assert!(set.report("weight").is_none());
    assert_eq!(set.optimizer("weight").unwrap().steps(), 0);
    // The same step without the fault is a first step.
    set.step(&mut [Update::new("weight", weight.view_mut(), Signal::new(gradient.view()))])
        .unwrap();
    let mut alone = before.0.clone();
    let mut soap = Soap::default().build::<f64>((3, 4)).unwrap();
    soap.step(&mut alone.view_mut(), &Signal::new(gradient.view())).unwrap();
    assert_eq!(weight, alone);
    assert_eq!(set.optimizer("bias").unwrap().steps(), 0);
}

#[test]
fn a_set_refuses_names_that_are_unknown_or_given_twice() {
    let mut set = routed();
    let error = set.register("bias", (1, 2), Signals::GRADIENT).unwrap_err();
    assert_eq!(error, OptimError::DuplicateParameter { name: "bias".to_owned() });
    let mut kfac = OptimizerSet::<f64>::new(vec![Group::new(
        Selector::Prefix("layer".to_owned()),
        &Kfac::stylised(),
    )]);
    let error = kfac.register("head", (2, 3), Signals::ALL).unwrap_err();
    assert_eq!(error.to_string(), "no group selects parameter \"head\" (2 × 3)");
    let error = kfac.register("layer1", (2, 3), Signals::GRADIENT).unwrap_err();
    assert!(matches!(error, OptimError::Parameter { ref name, .. } if name == "layer1"));
    assert_eq!(kfac.names().count(), 0);

    let gradient = Array2::<f64>::ones((1, 4));
    let mut bias = Array2::<f64>::ones((1, 4));
    let mut other = bias.clone();
    let signal = Signal::new(gradient.view());
    let error = set
        .step(&mut [
            Update::new("bias", bias.view_mut(), signal),
            Update::new("bias", other.view_mut(), signal),
        ])
        .unwrap_err();
    assert_eq!(error, OptimError::DuplicateParameter { name: "bias".to_owned() });
    let error = set.step(&mut [Update::new("gain", bias.view_mut(), signal)]).unwrap_err();
    assert_eq!(error.to_string(), "there is no parameter \"gain\"");
    assert_eq!(bias, Array2::<f64>::ones((1, 4)));
}

#[test]
fn of_json_what_is_missing_is_the_default_and_what_is_unknown_is_refused() {
    let read = |text| serde_json::from_str::<Soap>(text);
    let soap = Soap { learning_rate: 0.5.into(), normalize: true, ..Soap::default() };
    let text = r#"{"learning_rate": {"Constant": 0.5}, "normalize": true}"#;
    assert_eq!(read(text).unwrap(), soap, "{}", serde_json::to_string(&soap).unwrap());
    let error = read(r#"{"learning_rat": {"Constant": 0.5}}"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `learning_rat`"), "{error}");
    let written = serde_json::to_string(&soap).unwrap();
    assert!(!written.contains("non_exhaustive"), "{written}");
    assert_eq!(read(&written).unwrap(), soap);
}
