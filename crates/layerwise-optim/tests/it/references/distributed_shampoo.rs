//! Distributed Shampoo's hyperparameters, under our names.

use layerwise_optim::chain::{
    DiagonalConfig, EigenbasisConfig, Filter, Grafting, HeavyBall, Merging, Partition, PolarConfig,
    PolarMethod, ShapeScale, WeightAveraging,
};
use layerwise_optim::factor::{BasisMethod, RankTolerance, RootMethod, Statistic};
use layerwise_optim::methods::Exponents;
use layerwise_optim::parity::{ColumnOrder, PolarDivisor, SignScale};
use layerwise_optim::{
    Averaging, Chain, Damping, KlShampoo, Method, Momentum, Shampoo, WeightDecay,
};
use serde_json::Value;

use super::Golden;

/// Hyperparameters that a file does not name are at their defaults.
pub(super) fn distributed_shampoo(golden: &Golden) -> Chain {
    let hyper = &golden.json["hyperparameters"];
    let preconditioner = &hyper["preconditioner"];
    let bias_correction = golden.flag("use_bias_correction");
    let (beta1, beta2) = (golden.beta(0), golden.beta(1));
    let drops_weight = preconditioner["drop_weighting_factor_on_gsquare"] == true;
    let averaging = match beta2 {
        1.0 => Averaging::Sum,
        beta if drops_weight => Averaging::Decay { beta: beta.into() },
        beta => Averaging::Ema { beta: beta.into(), bias_correction },
    };
    let (root, damping) = root(&preconditioner["computation"], golden.number("epsilon"));
    let number = |value: &Value| value.as_f64();
    let exponents = match &preconditioner["matrix_exponents"] {
        Value::Null => 0.25.into(),
        given => Exponents { left: given[0].as_f64().unwrap(), right: given[1].as_f64().unwrap() },
    };
    let method = match preconditioner["type"].as_str() {
        Some("RootInvKLShampoo" | "EigendecomposedKLShampoo") => KlShampoo {
            averaging,
            normalized: false,
            exponent: exponents,
            damping,
            root,
            refresh: golden.refresh(),
            ..KlShampoo::stylised()
        }
        .chain(),
        Some("EigenvalueCorrectedShampoo") => {
            let ignored = |side: u64| {
                let given = preconditioner["ignored_basis_change_dims"].as_array();
                given.is_some_and(|dims| dims.contains(&side.into()))
            };
            let statistic =
                |side| if ignored(side) { Statistic::None } else { Statistic::Gradient };
            let basis = match preconditioner["eigenvectors"].as_str() {
                Some("qr") => BasisMethod::QrStep {
                    ridge: golden.schedule("epsilon"),
                    steps: preconditioner["qr_max_iterations"].as_u64().unwrap() as u32,
                    tolerance: number(&preconditioner["qr_tolerance"]).unwrap(),
                    order: ColumnOrder::Ascending,
                },
                _ => basis_method(&preconditioner["computation"], golden.number("epsilon")),
            };
            let eigenbasis = EigenbasisConfig {
                averaging: averaging.clone(),
                basis,
                refresh: golden.refresh(),
                diagonal: DiagonalConfig {
                    averaging,
                    epsilon: golden.schedule("epsilon"),
                    exponent: number(&preconditioner["eigenvalue_exponent"]).unwrap_or(0.5),
                    ..DiagonalConfig::default()
                },
                ..EigenbasisConfig::new(statistic(0), statistic(1))
            };
            Chain::new(0.01).then(eigenbasis)
        }
        Some("SignDescent") => {
            assert_eq!(preconditioner["scale_fn"], "sum");
            Chain::new(0.01).then(SignScale::SumOfModuli)
        }
        Some("SpectralDescent") => {
            Chain::new(0.01).then(polar(&preconditioner["orthogonalization"]))
        }
        _ => Shampoo {
            averaging,
            exponent: exponents,
            damping,
            root,
            trace_scaling: number(&preconditioner["trace_scaling_exponent"]).unwrap_or(0.0),
            refresh: golden.refresh(),
            ..Shampoo::stylised()
        }
        .chain(),
    };
    let stage = method.update.into_iter().next().unwrap();
    let momentum = &hyper["momentum"];
    let averages = &hyper["iterate_averaging"];
    let train = || number(&averages["train_interp_coeff"]).unwrap().into();
    let rate = golden.number("weight_decay");
    let average = (beta1 != 0.0).then(|| Momentum::Ema {
        beta: beta1.into(),
        bias_correction,
        filter: match golden.number("beta3") {
            -1.0 => Filter::Average,
            beta3 => Filter::Separate(beta3.into()),
        },
    });
    let partition = Partition {
        vector_exponent: number(&preconditioner["vector_exponent"]).unwrap_or(0.5),
        ..partition(golden)
    };
    let grafting = grafting(&hyper["grafting"]);
    let update_momentum = (!momentum.is_null()).then(|| HeavyBall {
        momentum: number(&momentum["momentum"]).unwrap().into(),
        dampening: number(&momentum["dampening"]).unwrap().into(),
        nesterov: momentum["use_nesterov"] == true,
        from_zero: true,
        ..HeavyBall::new(0.0)
    });
    // With a constant rate, CORRECTED is DECOUPLED, and INDEPENDENT the same of λ/η.
    let weight_decay = match golden.hyper("weight_decay_type").as_str() {
        Some("L2") => WeightDecay::L2(rate.into()),
        Some("INDEPENDENT") => WeightDecay::Update((rate / golden.number("lr")).into()),
        _ => WeightDecay::Update(rate.into()),
    };
    Chain {
        weight_averaging: match averages["type"].as_str() {
            None => None,
            Some("GPA") => Some(WeightAveraging::Primal {
                train: train(),
                evaluate: number(&averages["eval_interp_coeff"]).unwrap().into(),
            }),
            Some(_) => Some(WeightAveraging::ScheduleFree {
                train: train(),
                power: number(&averages["eval_coeff_lr_power"]).unwrap(),
            }),
        },
        ..Chain::new(golden.schedule("lr"))
            .then_maybe(average)
            .then(stage.grafted(grafting).in_parts(&partition))
            .with_weight_decay(&weight_decay)
            .then_maybe(update_momentum.map(Momentum::HeavyBall))
    }
}

/// How roots are computed, and the damping that goes with it.
fn root(computation: &Value, epsilon: f64) -> (RootMethod, Damping) {
    let number = |name: &str| computation[name].as_f64().unwrap();
    let count = |name: &str| computation[name].as_u64().unwrap();
    let damping = Damping::Absolute(epsilon.into());
    let method = match computation["kind"].as_str() {
        Some("newton") => RootMethod::CoupledNewton {
            order: 2,
            from_trace: false,
            max_steps: count("iters") as usize,
            tolerance: number("tol"),
            residual: 1e-3,
        },
        Some("higher") => {
            let method = RootMethod::CoupledNewton {
                order: count("order") as u32,
                from_trace: true,
                max_steps: count("iters") as usize,
                tolerance: number("tol"),
                residual: 0.1,
            };
            let (relative, least) = (number("rel").into(), number("abs").into());
            return (method, Damping::RelativeToRowSum { relative, least });
        }
        _ => {
            let stability = &computation["stab"];
            let pseudo_inverse = (stability["type"] == "pinv").then(|| RankTolerance {
                absolute: stability["atol"].as_f64().unwrap(),
                // None: what rounding makes of zero, which is never kept.
                relative: stability["rtol"].as_f64().unwrap_or(0.0),
                ..RankTolerance::default()
            });
            RootMethod::Eigen { pseudo_inverse, basis: basis_method(computation, epsilon) }
        }
    };
    (method, damping)
}

fn basis_method(computation: &Value, epsilon: f64) -> BasisMethod {
    let tolerance = computation["tol"].as_f64().unwrap_or(0.0);
    match computation["kind"].as_str() {
        Some("qr") => BasisMethod::QrStep {
            ridge: epsilon.into(),
            steps: computation["iters"].as_u64().unwrap() as u32,
            tolerance,
            order: ColumnOrder::Ascending,
        },
        _ => BasisMethod::Eigendecomposition { tolerance },
    }
}

fn polar(config: &Value) -> PolarConfig {
    let method = match config["type"].as_str() {
        Some("SVD") => PolarMethod::SingularValues {
            times_nuclear_norm: config["scale_by_nuclear_norm"].as_bool().unwrap(),
        },
        _ => PolarMethod::NewtonSchulz {
            polynomials: vec![[0, 1, 2].map(|i| config["coefficients"][i].as_f64().unwrap())],
            steps: config["num_iterations"].as_u64().unwrap() as usize,
            divisor: PolarDivisor::AtLeast(1e-8),
        },
    };
    PolarConfig {
        method,
        scale: ShapeScale::Number(config["scale"].as_f64().unwrap()),
        ..PolarConfig::default()
    }
}

fn grafting(config: &Value) -> Option<Grafting> {
    let averaging = match config["type"].as_str() {
        None => return None,
        Some("SGD") => return Some(Grafting::Sgd),
        Some("AdaGrad") => Averaging::Sum,
        Some(kind) => Averaging::Ema {
            beta: config["beta2"].as_f64().unwrap().into(),
            bias_correction: kind == "Adam",
        },
    };
    Some(Grafting::Diagonal(DiagonalConfig {
        averaging,
        epsilon: config["epsilon"].as_f64().unwrap().into(),
        ..DiagonalConfig::default()
    }))
}

/// Distributed Shampoo takes weights of a single row or column as vectors, and small matrices too
/// where it aims at one dimension.
fn partition(golden: &Golden) -> Partition {
    let limit = golden.hyper("max_preconditioner_dim").as_u64().unwrap() as usize;
    Partition {
        max_dimension: Some(limit),
        merging: match golden.hyper("target_parameter_dimensionality").as_u64() {
            Some(1) => Merging::Small,
            _ => Merging::Vectors,
        },
        ..Partition::default()
    }
}
