//! Trajectories and updates of reference implementations, replayed through the public API.
//!
//! `tests/golden/README.md` says where they come from and what each file holds.

use crate::references::{self, Golden, chain_of, largest_difference, matrix};
use layerwise_optim::factor::RootMethod;
use layerwise_optim::layers::QkClip;
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::Array2;
use layerwise_optim::{Factor, Kfac, Method, OptimError, Side, Signal};

/// Every file is of a reference, and met.
#[test]
fn trajectories_are_met() {
    let all = references::all();
    for golden in &all {
        let name = &golden.name;
        let method = chain_of(golden).unwrap_or_else(|| panic!("{name} is of no method"));
        for (deviation, tolerance) in golden.deviations(&method) {
            assert!(
                deviation <= tolerance,
                "{name}: off by {deviation:e}, tolerance {tolerance:e}"
            );
        }
    }
    assert!(all.len() >= 138, "{} files", all.len());
}

#[test]
fn clipped_attention_is_met() {
    let json = Golden::read("qk_clip").json;
    let clip = QkClip {
        threshold: json["threshold"].as_f64().unwrap(),
        balance: json["balance"].as_f64().unwrap(),
    };
    let logits: Vec<f64> =
        json["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let (mut query, mut key) = (matrix::<f64>(&json["query"]), matrix::<f64>(&json["key"]));
    clip.apply(&mut query.view_mut(), &mut key.view_mut(), &logits).unwrap();
    for (found, name) in [(query, "query"), (key, "key")] {
        let expected = matrix::<f64>(&json["after"][name]);
        // A power and a product, of numbers below four.
        let error = largest_difference(found.view(), expected.view());
        assert!(error <= 4.0 * 4.0 * f64::EPSILON, "{name}: {error:e}");
    }
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
    let mut optimizer = chain_of(&golden).unwrap().build::<f64>((4, 4)).unwrap();
    let mut basis = Array2::<f64>::eye(4);
    basis[[1, 0]] = 0.25;
    let error = optimizer.eigenbasis_mut().unwrap().set_basis(Side::Left, basis.view());
    assert!(matches!(error, Err(OptimError::InvalidHyperparameter { .. })), "{error:?}");
    let held = optimizer.eigenbasis_mut().unwrap().basis(Side::Left).unwrap().to_owned();
    assert_eq!(held, Array2::<f64>::eye(4));
}
