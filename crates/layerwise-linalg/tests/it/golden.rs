//! Comparison with values from other programs; see `tests/golden/README.md`.

use std::path::Path;

use layerwise_linalg::ndarray::Array2;
use layerwise_linalg::{
    NewtonSchulz, PolarWorkspace, Ridge, RootOptions, SymmetricEigen, inverse_root,
};
use serde_json::Value;

use crate::common::{frobenius, relative_error};

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows = value.as_array().unwrap();
    let cols = rows[0].as_array().unwrap().len();
    let entries = rows.iter().flat_map(|row| row.as_array().unwrap()).map(number).collect();
    Array2::from_shape_vec((rows.len(), cols), entries).unwrap()
}

fn check_inverse_root(name: &str) {
    let case = read(&format!("inverse_root_{name}.json"));
    let a = matrix(&case["a"]);
    let n = a.nrows() as f64;
    let ridge = match number(&case["hyperparameters"]["ridge"]) {
        0.0 => Ridge::None,
        ridge => Ridge::Absolute(ridge),
    };
    let eigen = SymmetricEigen::new(a.view()).unwrap();
    let eigenvalues = case["eigenvalues"].as_array().unwrap();
    let largest = number(eigenvalues.last().unwrap());
    for (found, expected) in eigen.values().iter().zip(eigenvalues) {
        // Weyl: a backward error of n ε ‖A‖.
        assert!((found - number(expected)).abs() <= n * f64::EPSILON * largest, "{name}");
    }
    let results = case["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let exponent = 1.0 / number(&result["p"]);
        let options = RootOptions { ridge, pseudo_inverse: None };
        let root = inverse_root(a.view(), exponent, &options).unwrap();
        let error = relative_error(root.view(), &matrix(&result["root"]));
        // Another driver and another kernel round differently, by a small factor; n ε for sums.
        let yardstick = number(&result["float64_eigh_relative_error"]);
        assert!(
            error <= 10.0 * yardstick + n * f64::EPSILON,
            "{name}, exponent {exponent}: {error:e}, yardstick {yardstick:e}"
        );
    }
}

#[test]
fn inverse_roots_match_sixty_digit_arithmetic() {
    for name in [
        "n4_cond1e2",
        "n4_cond1e8",
        "n10_clustered",
        "n10_cond1e2",
        "n10_cond1e8",
        "n10_rank4_ridge1e-6",
        "n32_cond1e2_p2",
        "n32_cond1e2_p4",
        "n32_cond1e2_p8",
        "n32_cond1e8_p2",
        "n32_cond1e8_p4",
        "n32_cond1e8_p8",
    ] {
        check_inverse_root(name);
    }
}

#[test]
fn newton_schulz_matches_muon() {
    let case = read("newton_schulz.json");
    let settings = &case["hyperparameters"];
    let coefficients: Vec<f64> =
        settings["coefficients"].as_array().unwrap().iter().map(number).collect();
    let default = NewtonSchulz::default();
    assert_eq!(coefficients, default.polynomials[0]);
    assert_eq!(settings["steps"].as_u64().unwrap(), default.steps as u64);
    assert_eq!(number(&settings["eps"]), default.epsilon);
    for entry in case["matrices"].as_array().unwrap() {
        let input = matrix(&entry["input"]);
        let mut work = PolarWorkspace::with_shape(input.nrows(), input.ncols());
        let iterates = entry["iterates"].as_array().unwrap();
        assert_eq!(iterates.len(), default.steps);
        for (i, iterate) in iterates.iter().enumerate() {
            let steps = i + 1;
            let expected = matrix(iterate);
            let mut m = input.clone();
            NewtonSchulz { steps, ..default.clone() }.apply(&mut m.view_mut(), &mut work).unwrap();
            // A step s ↦ a s + b s³ + c s⁵ has slope at most 4 on [0, 1.2], so it multiplies an
            // error by 4 at most, and adds rounding of a few n ε (n at most 8, terms up to 5).
            let tolerance = 4_f64.powi(steps as i32) * 10.0 * 8.0 * f64::EPSILON;
            let error = frobenius(&(&m - &expected));
            assert!(error <= tolerance, "{:?}, {steps} steps: {error:e}", input.dim());
        }
    }
}
