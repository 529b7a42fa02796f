//! The hyperparameters of each reference, under our names.

use layerwise_optim::chain::{
    LargeDimension, Merging, Partition, PolarConfig, PolarMethod, PsgdConfig, ShapeScale,
    StageConfig, WeightAveraging,
};
use layerwise_optim::parity::PolarDivisor;
use layerwise_optim::{
    Adafactor, Adagrad, Adam, AdamW, Chain, Lion, Mars, Method, Muon, NorMuon, PsgdKron, Refresh,
    RmsProp, SPlus, Schedule, Sgd, Soap, Sophia, WeightDecay,
};

use serde_json::Value;

use super::Golden;
use super::distributed_shampoo::distributed_shampoo;

/// The method of a file, by what the file is called; `None` where nothing here is called so.
pub(crate) fn chain_of(golden: &Golden) -> Option<Chain> {
    let name = golden.name.strip_prefix("torch_").unwrap_or(&golden.name);
    let is = |prefix: &str| name.starts_with(prefix);
    Some(match name {
        _ if is("sgd_") => sgd_of(golden).chain(),
        _ if is("adamw_") => adamw_of(golden).chain(),
        _ if is("adam_") => adam_of(golden).chain(),
        _ if is("adagrad_") => adagrad_of(golden).chain(),
        _ if is("rmsprop_") => rmsprop_of(golden).chain(),
        _ if is("muon_") || is("polar_express_") => muon_of(golden).chain(),
        _ if is("normuon_") => normuon_of(golden).chain(),
        _ if is("soap_kl_") || is("soap_polar_") => own_soap_of(golden).chain(),
        _ if is("soap_") => soap_by_its_authors(golden).chain(),
        _ if is("psgd_kron_") => psgd_of(golden).chain(),
        _ if is("mars_") => mars_of(golden).chain(),
        _ if is("cautious_adamw_") => adamw_of(golden).chain().then(StageConfig::Cautious),
        _ if is("cautious_lion_") => lion_of(golden).chain().then(StageConfig::Cautious),
        _ if is("splus_") => splus_of(golden).chain(),
        _ if is("sophia_") => sophia_of(golden).chain(),
        _ if is("adafactor_") => adafactor_of(golden).chain(),
        _ if is("schedulefree_adamw_") => schedule_free_of(golden),
        _ if is("dshampoo_") || is("dsoap_") || is("ds_options_") => distributed_shampoo(golden),
        _ => return None,
    })
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

/// The author's Muon, or PyTorch's.
fn muon_of(golden: &Golden) -> Muon {
    let hyper = &golden.json["hyperparameters"];
    let polynomial = |list: &Value| [0, 1, 2].map(|i| list[i].as_f64().unwrap());
    let polynomials = match hyper["polynomials"].as_array() {
        Some(lists) => lists.iter().map(polynomial).collect(),
        None => vec![polynomial(golden.hyper("ns_coefficients"))],
    };
    Muon {
        learning_rate: golden.schedule("lr"),
        momentum: golden.schedule("momentum"),
        nesterov: golden.flag("nesterov"),
        polar: PolarConfig {
            method: PolarMethod::NewtonSchulz {
                polynomials,
                steps: golden.hyper("ns_steps").as_u64().unwrap() as usize,
                divisor: match hyper["eps"].as_f64() {
                    Some(floor) => PolarDivisor::AtLeast(floor),
                    None => PolarDivisor::Plus(1e-7),
                },
            },
            scale: match hyper["adjust_lr_fn"].as_str() {
                None | Some("original") => ShapeScale::Tall,
                Some("match_rms_adamw") => ShapeScale::RootMeanSquare,
                Some("spectral_unclamped") => ShapeScale::Ratio,
                other => panic!("{other:?}"),
            },
            ..PolarConfig::default()
        },
        weight_decay: golden.schedule("weight_decay"),
        ..Muon::default()
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

fn normuon_of(golden: &Golden) -> NorMuon {
    NorMuon {
        learning_rate: golden.schedule("lr"),
        momentum: golden.schedule("momentum"),
        nesterov: golden.flag("nesterov"),
        beta2: golden.schedule("beta2"),
        epsilon: golden.schedule("eps"),
        polar: PolarConfig {
            method: PolarMethod::NewtonSchulz {
                polynomials: vec![[3.4445, -4.7750, 2.0315]],
                steps: golden.hyper("ns_steps").as_u64().unwrap() as usize,
                divisor: PolarDivisor::AtLeast(1e-7),
            },
            ..PolarConfig::default()
        },
        weight_decay: golden.schedule("weight_decay"),
        ..NorMuon::default()
    }
}

fn lion_of(golden: &Golden) -> Lion {
    Lion {
        learning_rate: golden.schedule("lr"),
        beta1: golden.beta(0).into(),
        beta2: golden.beta(1).into(),
        weight_decay: golden.schedule("weight_decay"),
        ..Lion::default()
    }
}

/// SOAP as the program of the file has it: KL-SOAP, or with a polar factor in its bases.
fn own_soap_of(golden: &Golden) -> Soap {
    let base = if golden.flag("kl") { Soap::kl() } else { Soap::default() };
    let exact = PolarConfig {
        method: PolarMethod::SingularValues { times_nuclear_norm: false },
        scale: ShapeScale::Number(1.0),
        ..PolarConfig::default()
    };
    Soap {
        learning_rate: golden.schedule("lr"),
        beta1: golden.beta(0).into(),
        beta2: golden.beta(1).into(),
        factor_beta: golden.schedule("factor_beta"),
        epsilon: golden.schedule("eps"),
        refresh: Refresh::every(golden.hyper("frequency").as_u64().unwrap()),
        polar: golden.flag("polar").then_some(exact),
        ..base
    }
}

fn psgd_of(golden: &Golden) -> PsgdKron {
    PsgdKron {
        learning_rate: golden.schedule("lr"),
        beta: golden.schedule("momentum"),
        preconditioner: PsgdConfig {
            learning_rate: golden.schedule("precondition_lr"),
            damping: 0.0.into(),
            share: golden.schedule("pre_conditioner_update_probability"),
            balance_every: 0,
            ..PsgdConfig::default()
        },
        weight_decay: WeightDecay::Decoupled(golden.schedule("weight_decay")),
        ..PsgdKron::default()
    }
}

fn mars_of(golden: &Golden) -> Mars {
    Mars {
        learning_rate: golden.schedule("lr"),
        beta1: golden.beta(0),
        beta2: golden.beta(1).into(),
        gamma: golden.number("gamma"),
        epsilon: golden.schedule("eps"),
        weight_decay: WeightDecay::Decoupled(golden.schedule("weight_decay")),
        ..Mars::default()
    }
}

fn splus_of(golden: &Golden) -> SPlus {
    SPlus {
        learning_rate: golden.schedule("lr"),
        beta1: golden.beta(0).into(),
        beta2: golden.beta(1).into(),
        weight_beta: golden.schedule("ema_rate"),
        refresh: Refresh::every(golden.hyper("inverse_steps").as_u64().unwrap()),
        weight_decay: golden.schedule("weight_decay"),
        ..SPlus::default()
    }
}

/// Its bound is our `γ`, and its rate times the bound ours.
fn sophia_of(golden: &Golden) -> Sophia {
    let bound = golden.number("p");
    Sophia {
        learning_rate: (golden.number("lr") * bound).into(),
        beta1: golden.beta(0).into(),
        beta2: golden.beta(1).into(),
        gamma: bound,
        epsilon: golden.number("eps") * bound,
        weight_decay: (golden.number("weight_decay") / bound).into(),
        ..Sophia::default()
    }
}

fn adafactor_of(golden: &Golden) -> Adafactor {
    Adafactor {
        learning_rate: Schedule::inverse_root(golden.number("lr"), 1.0),
        beta2: Schedule::growing_memory(-golden.number("beta2_decay")),
        largest_size: golden.schedule("d"),
        least_weight: Some(golden.hyper("eps")[1].as_f64().unwrap().into()),
        ..Adafactor::default()
    }
}

/// What it calls β₁ is where gradients are taken; the gradients themselves are not averaged.
fn schedule_free_of(golden: &Golden) -> Chain {
    let adam = Adam {
        learning_rate: golden.schedule("lr"),
        beta1: 0.0.into(),
        beta2: golden.beta(1).into(),
        epsilon: golden.schedule("eps"),
        ..Adam::default()
    };
    Chain {
        weight_averaging: Some(WeightAveraging::ScheduleFree {
            train: golden.beta(0).into(),
            power: golden.number("weight_lr_power"),
        }),
        ..adam.chain()
    }
}
