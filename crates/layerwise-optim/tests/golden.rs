//! Trajectories of reference implementations, replayed through the public API.
//!
//! `tests/golden/README.md` says where they come from and what each file holds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

use layerwise_optim::chain::{
    DiagonalConfig, EigenbasisConfig, Filter, Grafting, HeavyBall, LargeDimension, Merging,
    Partition, PolarConfig, PolarMethod, PolarScale, WeightAveraging,
};
use layerwise_optim::factor::{BasisMethod, RankTolerance, RootMethod, Statistic};
use layerwise_optim::methods::{Exponents, KfacDamping};
use layerwise_optim::ndarray::{Array2, ArrayView2};
use layerwise_optim::parity::{ColumnOrder, PolarDivisor, SignScale};
use layerwise_optim::{
    Adagrad, Adam, AdamW, Averaging, Chain, Damping, Factor, Kfac, KlShampoo, Method, Momentum,
    Muon, OptimError, Optimizer, Refresh, RmsProp, Scalar, Schedule, Sgd, Shampoo, Side, Signal,
    Soap, WeightDecay,
};
use serde_json::Value;

const SHAPES: [&str; 3] = ["5x3", "4x4", "3x7"];
/// Of the trajectories that were made for options which the others leave at their defaults.
const OWN_SHAPES: &[&str] = &["6x2", "1x5"];

struct Golden {
    name: String,
    json: Value,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        Golden { name: name.to_owned(), json }
    }

    fn hyper(&self, name: &str) -> &Value {
        let value = &self.json["hyperparameters"][name];
        assert!(!value.is_null(), "{}: no hyperparameter {name}", self.name);
        value
    }

    fn number(&self, name: &str) -> f64 {
        self.hyper(name).as_f64().unwrap()
    }

    fn schedule(&self, name: &str) -> Schedule {
        self.number(name).into()
    }

    fn flag(&self, name: &str) -> bool {
        self.hyper(name).as_bool().unwrap()
    }

    /// A switch that is off where the file does not name it.
    fn switch(&self, name: &str) -> bool {
        self.json["hyperparameters"][name].as_bool().unwrap_or(false)
    }

    fn beta(&self, index: usize) -> f64 {
        self.hyper("betas")[index].as_f64().unwrap()
    }

    fn refresh(&self) -> Refresh {
        let integer = |name| self.hyper(name).as_u64().unwrap();
        Refresh {
            start: integer("start_preconditioning_step"),
            ..Refresh::every(integer("precondition_frequency"))
        }
    }

    /// The tolerance that the file states: thirty times, at least, what equivalent
    /// eigendecompositions and a relative noise of 1e-15 in the gradients change.
    fn tolerance(&self, with_bases: bool) -> f64 {
        let key = if with_bases { "suggested_atol_with_bases" } else { "suggested_atol" };
        self.json["extra"][key].as_f64().unwrap()
    }

    fn replay<A: Scalar>(&self, method: &impl Method, with_bases: bool) {
        let mut weight = matrix::<A>(&self.json["w0"]);
        let mut optimizer = method.build::<A>(weight.dim()).unwrap();
        for (index, step) in self.json["steps"].as_array().unwrap().iter().enumerate() {
            let gradient = matrix::<A>(&step["grad"]);
            optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
            let expected = matrix::<A>(&step["w"]);
            let difference = largest_difference(weight.view(), expected.view());
            assert!(
                difference <= self.tolerance(with_bases),
                "{}, step {}: off by {difference:e}, tolerance {:e}",
                self.name,
                index + 1,
                self.tolerance(with_bases)
            );
            if with_bases {
                self.seed_bases(index as u64 + 1, &mut optimizer);
            }
        }
    }

    /// Puts the recorded bases in place of those that the step arrived at.
    fn seed_bases<A: Scalar>(&self, step: u64, optimizer: &mut Optimizer<A>) {
        for record in self.json["extra"]["bases"].as_array().unwrap() {
            if record["step"].as_u64() == Some(step) {
                let block = &record["blocks"][0];
                let eigenbasis = optimizer.eigenbasis_mut().unwrap();
                for (side, name) in [(Side::Left, "left"), (Side::Right, "right")] {
                    if block[name].is_null() {
                        continue;
                    }
                    let basis = matrix::<A>(&block[name]);
                    eigenbasis.set_basis(side, basis.view()).unwrap();
                }
            }
        }
    }
}

fn matrix<A: Scalar>(value: &Value) -> Array2<A> {
    let rows = value.as_array().unwrap();
    let cols = rows[0].as_array().unwrap().len();
    Array2::from_shape_fn((rows.len(), cols), |(i, j)| A::from_f64(value[i][j].as_f64().unwrap()))
}

fn largest_difference<A: Scalar>(a: ArrayView2<A>, b: ArrayView2<A>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(x, y)| (x.as_f64() - y.as_f64()).abs()).fold(0.0, f64::max)
}

/// Replays a kind of file in each shape, in double precision.
fn replay_all<M: Method>(kind: &str, method: impl Fn(&Golden) -> M) {
    replay_shapes(kind, &SHAPES, method);
}

fn replay_shapes<M: Method>(kind: &str, shapes: &[&str], method: impl Fn(&Golden) -> M) {
    for shape in shapes {
        let golden = Golden::read(&format!("{kind}_{shape}"));
        golden.replay::<f64>(&method(&golden), false);
    }
}

fn decay(golden: &Golden, kind: fn(Schedule) -> WeightDecay) -> WeightDecay {
    match golden.number("weight_decay") {
        0.0 => WeightDecay::None,
        rate => kind(rate.into()),
    }
}

fn sgd_of(golden: &Golden) -> Sgd {
    Sgd {
        learning_rate: golden.schedule("lr"),
        momentum: golden.schedule("momentum"),
        dampening: golden.schedule("dampening"),
        nesterov: golden.flag("nesterov"),
        weight_decay: decay(golden, WeightDecay::L2),
        maximize: golden.switch("maximize"),
        ..Sgd::default()
    }
}

fn adam_of(golden: &Golden) -> Adam {
    Adam {
        learning_rate: golden.schedule("lr"),
        beta1: golden.beta(0).into(),
        beta2: golden.beta(1).into(),
        epsilon: golden.schedule("eps"),
        weight_decay: if golden.switch("decoupled_weight_decay") {
            decay(golden, WeightDecay::Decoupled)
        } else {
            decay(golden, WeightDecay::L2)
        },
        amsgrad: golden.switch("amsgrad"),
        maximize: golden.switch("maximize"),
        ..Adam::default()
    }
}

fn adamw_of(golden: &Golden) -> AdamW {
    AdamW {
        learning_rate: golden.schedule("lr"),
        beta1: golden.beta(0).into(),
        beta2: golden.beta(1).into(),
        epsilon: golden.schedule("eps"),
        weight_decay: golden.schedule("weight_decay"),
        amsgrad: golden.switch("amsgrad"),
        maximize: golden.switch("maximize"),
        ..AdamW::default()
    }
}

fn adagrad_of(golden: &Golden) -> Adagrad {
    Adagrad {
        learning_rate: Schedule::InverseTime {
            start: golden.number("lr"),
            decay: golden.number("lr_decay"),
        },
        epsilon: golden.schedule("eps"),
        initial: golden.number("initial_accumulator_value"),
        weight_decay: decay(golden, WeightDecay::L2),
        maximize: golden.switch("maximize"),
        ..Adagrad::default()
    }
}

fn rmsprop_of(golden: &Golden) -> RmsProp {
    RmsProp {
        learning_rate: golden.schedule("lr"),
        alpha: golden.schedule("alpha"),
        epsilon: golden.schedule("eps"),
        momentum: golden.schedule("momentum"),
        centered: golden.flag("centered"),
        weight_decay: decay(golden, WeightDecay::L2),
        maximize: golden.switch("maximize"),
        ..RmsProp::default()
    }
}

#[test]
fn sgd() {
    for kind in ["sgd_plain", "sgd_momentum", "sgd_nesterov", "sgd_weight_decay"] {
        replay_all(kind, sgd_of);
    }
    for kind in ["torch_sgd_dampening_maximize", "torch_sgd_nesterov_decay"] {
        replay_shapes(kind, OWN_SHAPES, sgd_of);
    }
}

#[test]
fn adam() {
    replay_all("adam", adam_of);
    for kind in ["torch_adam_amsgrad_l2", "torch_adam_decoupled_maximize"] {
        replay_shapes(kind, OWN_SHAPES, adam_of);
    }
}

#[test]
fn adamw() {
    replay_all("adamw", adamw_of);
    replay_shapes("torch_adamw_amsgrad_maximize", OWN_SHAPES, adamw_of);
}

#[test]
fn adagrad() {
    replay_all("adagrad", adagrad_of);
    replay_shapes("torch_adagrad_lr_decay", OWN_SHAPES, adagrad_of);
}

#[test]
fn rmsprop() {
    replay_all("rmsprop", rmsprop_of);
    for kind in ["torch_rmsprop_centered", "torch_rmsprop_centered_momentum"] {
        replay_shapes(kind, OWN_SHAPES, rmsprop_of);
    }
}

/// The author's Muon, or PyTorch's.
fn muon_of(golden: &Golden) -> Muon {
    let hyper = &golden.json["hyperparameters"];
    let coefficients = golden.hyper("ns_coefficients");
    Muon {
        learning_rate: golden.schedule("lr"),
        momentum: golden.schedule("momentum"),
        nesterov: golden.flag("nesterov"),
        polar: PolarConfig {
            method: PolarMethod::NewtonSchulz {
                coefficients: [0, 1, 2].map(|i| coefficients[i].as_f64().unwrap()),
                steps: golden.hyper("ns_steps").as_u64().unwrap() as usize,
                divisor: match hyper["eps"].as_f64() {
                    Some(floor) => PolarDivisor::AtLeast(floor),
                    None => PolarDivisor::Plus(1e-7),
                },
            },
            scale: match hyper["adjust_lr_fn"].as_str() {
                None | Some("original") => PolarScale::Tall,
                Some("match_rms_adamw") => PolarScale::RootMeanSquare,
                Some("spectral_unclamped") => PolarScale::Ratio,
                other => panic!("{other:?}"),
            },
            ..PolarConfig::default()
        },
        weight_decay: golden.schedule("weight_decay"),
        ..Muon::default()
    }
}

#[test]
fn muon() {
    replay_all("muon", muon_of);
    for kind in ["torch_muon_original", "torch_muon_match_rms", "torch_muon_unclamped_floor"] {
        replay_shapes(kind, OWN_SHAPES, muon_of);
    }
}

/// Distributed Shampoo's hyperparameters, under our names. Those that a file does not name are at
/// their defaults.
fn distributed_shampoo(golden: &Golden) -> Chain {
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
            coefficients: [0, 1, 2].map(|i| config["coefficients"][i].as_f64().unwrap()),
            steps: config["num_iterations"].as_u64().unwrap() as usize,
            divisor: PolarDivisor::AtLeast(1e-8),
        },
    };
    PolarConfig {
        method,
        scale: PolarScale::Number(config["scale"].as_f64().unwrap()),
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

#[test]
fn distributed_shampoo_merging_a_small_matrix() {
    let golden = Golden::read("dshampoo_default_merge_5x3");
    golden.replay::<f64>(&distributed_shampoo(&golden), false);
}

/// No file is left without a test: each is of a kind that some test above names.
#[test]
fn every_file_is_replayed() {
    let source = include_str!("golden.rs");
    let directory = format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(case) = name.strip_suffix(".json") else { continue };
        let shapes = SHAPES.iter().chain(OWN_SHAPES);
        let kind = shapes.copied().find_map(|shape| case.strip_suffix(&format!("_{shape}")));
        let quoted = |name: &str| source.contains(&format!("\"{name}\""));
        assert!(quoted(case) || kind.is_some_and(quoted), "{name} is not replayed");
        files += 1;
    }
    assert!(files >= 90, "{files} files");
}

#[test]
fn distributed_shampoo_sum() {
    replay_all("dshampoo_sum", distributed_shampoo);
}

#[test]
fn distributed_shampoo_grafted() {
    replay_all("dshampoo_adamgraft", distributed_shampoo);
    replay_all("dshampoo_adamgraft_wd", distributed_shampoo);
}

#[test]
fn distributed_soap() {
    for kind in ["dsoap_eigh_f1", "dsoap_eigh_f3", "dsoap_qr_f3"] {
        replay_all(kind, distributed_shampoo);
    }
}

#[test]
fn distributed_shampoo_with_options() {
    for name in [
        "ds_options_adagrad_one_sided_3x6",
        "ds_options_beta3_momentum_5x3",
        "ds_options_column_decayed_sum_6x1",
        "ds_options_coupled_fraction_3x5",
        "ds_options_coupled_newton_4x5",
        "ds_options_coupled_newton_from_trace_4x3",
        "ds_options_coupled_third_order_5x4",
        "ds_options_eigendecomposed_qr_5x4",
        "ds_options_eigendecomposed_qr_steps_4x6",
        "ds_options_eigendecomposed_tolerance_4x5",
        "ds_options_kl_4x5",
        "ds_options_kl_exponents_4x5",
        "ds_options_kl_qr_4x5",
        "ds_options_nesterov_blocks_7x5",
        "ds_options_primal_averaging_3x4",
        "ds_options_pseudo_inverse_absolute_3x6",
        "ds_options_pseudo_inverse_rank_3x6",
        "ds_options_rmsprop_uncorrected_4x6",
        "ds_options_schedule_free_3x4",
        "ds_options_sign_sum_3x4",
        "ds_options_soap_beta3_grafted_4x4",
        "ds_options_soap_blocks_summed_5x4",
        "ds_options_soap_one_sided_exponent_4x6",
        "ds_options_soap_qr_steps_5x4",
        "ds_options_soap_tolerance_4x5",
        "ds_options_spectral_newton_schulz_6x4",
        "ds_options_spectral_svd_nuclear_3x5",
        "ds_options_trace_scaling_4x5",
        "ds_options_vector_blocks_1x7",
    ] {
        let golden = Golden::read(name);
        golden.replay::<f64>(&distributed_shampoo(&golden), false);
    }
}

/// The hyperparameters of the code of SOAP's authors, under our names.
fn soap_by_its_authors(golden: &Golden) -> Soap {
    let factor_beta = golden.number("shampoo_beta");
    // Both act on vectors and on tensors of four dimensions alone.
    assert!(!golden.flag("precondition_1d"));
    assert_eq!(golden.hyper("data_format"), "channels_first");
    Soap {
        learning_rate: golden.schedule("lr"),
        beta1: golden.beta(0).into(),
        beta2: golden.beta(1).into(),
        factor_beta: if factor_beta < 0.0 { golden.beta(1) } else { factor_beta }.into(),
        epsilon: golden.schedule("eps"),
        bias_correction: golden.flag("correct_bias"),
        refresh: Refresh::every(golden.hyper("precondition_frequency").as_u64().unwrap()),
        weight_decay: WeightDecay::DecoupledAfter(golden.schedule("weight_decay")),
        normalize: golden.flag("normalize_grads"),
        partition: Partition {
            max_dimension: Some(golden.hyper("max_precond_dim").as_u64().unwrap() as usize),
            large: LargeDimension::LeftAlone,
            merging: if golden.flag("merge_dims") { Merging::Small } else { Merging::None },
            ..Partition::default()
        },
        ..Soap::as_published()
    }
}

#[test]
fn soap() {
    for kind in ["soap_f1", "soap_f3"] {
        for shape in SHAPES {
            let golden = Golden::read(&format!("{kind}_{shape}"));
            let method = soap_by_its_authors(&golden);
            golden.replay::<f64>(&method, true);
            if golden.json["extra"]["determined"] == true {
                golden.replay::<f64>(&method, false);
            }
        }
    }
}

#[test]
fn soap_with_options() {
    for name in [
        "soap_options_normalized_4x4",
        "soap_options_uncorrected_4x4",
        "soap_options_left_only_3x8",
        "soap_options_right_only_8x3",
        "soap_options_no_factor_5x6",
        "soap_options_merged_2x3",
    ] {
        let golden = Golden::read(name);
        let method = soap_by_its_authors(&golden);
        golden.replay::<f64>(&method, true);
        if golden.json["extra"]["determined"] == true {
            golden.replay::<f64>(&method, false);
        }
    }
}

#[test]
fn soap_in_single_precision() {
    let golden = Golden::read("soap_f1_float32_4x4");
    let method = soap_by_its_authors(&golden);
    golden.replay::<f32>(&method, true);
    golden.replay::<f32>(&method, false);
}

/// The updates of a damping rule, for both layers of the network, in each form of the signal.
fn kfac(rule: &str, method: impl Fn(f64) -> Kfac) {
    for name in ["kfac_linear_4_2_3", "kfac_linear_4_3_2"] {
        let golden = Golden::read(name);
        for case in golden.json["updates"].as_array().unwrap() {
            let damping = case["damping"].as_f64().unwrap();
            for layer in ["G", "F"] {
                let gradient = matrix::<f64>(&golden.json["gradients"][layer]);
                let factors = &golden.json["kronecker_factors"][layer];
                let (input, output) = (matrix::<f64>(&factors["A"]), matrix::<f64>(&factors["S"]));
                let samples = match layer {
                    "G" => matrix::<f64>(&golden.json["x"]),
                    _ => {
                        matrix::<f64>(&golden.json["x"]).dot(&matrix::<f64>(&golden.json["G"]).t())
                    }
                };
                let expected = matrix::<f64>(&case[rule][layer]);
                let inputs = [Factor::SecondMoment(input.view()), Factor::Samples(samples.view())];
                for input in inputs {
                    let signal = Signal::new(gradient.view())
                        .with_input(input)
                        .with_output(Factor::SecondMoment(output.view()));
                    let mut weight = Array2::<f64>::zeros(gradient.dim());
                    let mut optimizer = method(damping).build(weight.dim()).unwrap();
                    let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
                    let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                    let error = largest_difference((-&weight).view(), expected.view()) / scale;
                    // Solves lose the condition number of what they invert, and the file's own two
                    // ways differ by 1.4e-14.
                    let (left, right) = (report.left_condition, report.right_condition);
                    let condition = match rule {
                        "iii_exact" => left.unwrap(),
                        _ => left.unwrap() * right.unwrap(),
                    };
                    let tolerance = 5e-14 * condition;
                    assert!(
                        error <= tolerance && tolerance < 1e-6,
                        "{name}, {rule}, layer {layer}, damping {damping}: relative error \
                         {error:e}, tolerance {tolerance:e}"
                    );
                }
            }
        }
    }
}

fn undamped() -> Kfac {
    Kfac { learning_rate: 1.0.into(), damping: 0.0.into(), ..Kfac::stylised() }
}

#[test]
fn kfac_with_plain_damping() {
    for root in [RootMethod::Cholesky, RootMethod::Inverse, RootMethod::default()] {
        let plain =
            |damping: f64| Kfac { damping: damping.into(), root: root.clone(), ..undamped() };
        kfac("ii_full", plain);
        kfac("ii_sqrt", |damping| plain(damping.sqrt()));
    }
}

#[test]
fn kfac_with_factored_tikhonov_damping() {
    kfac("i_factored_tikhonov_pi", |damping| Kfac {
        damping: KfacDamping::FactoredTikhonov(damping.into()),
        ..undamped()
    });
}

#[test]
fn kfac_with_exact_damping() {
    kfac("iii_exact", |damping| Kfac { damping: KfacDamping::Exact(damping.into()), ..undamped() });
}

#[test]
fn a_basis_that_is_not_orthonormal_is_refused() {
    let golden = Golden::read("soap_f1_4x4");
    let mut optimizer = soap_by_its_authors(&golden).build::<f64>((4, 4)).unwrap();
    let mut basis = Array2::<f64>::eye(4);
    basis[[1, 0]] = 0.25;
    let error = optimizer.eigenbasis_mut().unwrap().set_basis(Side::Left, basis.view());
    assert!(matches!(error, Err(OptimError::InvalidHyperparameter { .. })), "{error:?}");
    let held = optimizer.eigenbasis_mut().unwrap().basis(Side::Left).unwrap().to_owned();
    assert_eq!(held, Array2::<f64>::eye(4));
}
