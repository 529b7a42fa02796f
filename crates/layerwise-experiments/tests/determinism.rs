//! Same seed, same bytes: whatever the number of threads, the other figures, or OpenBLAS's threads
//! that the environment asks for.
#![allow(clippy::unwrap_used, reason = "a call that fails is a test that fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use layerwise_data::{Basis, Law};
use layerwise_experiments::linear::{Cell, LinearMethod, LinearSetting};
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::plan::Plan;
use layerwise_experiments::runner::{self, Demand, Trials};
use layerwise_experiments::single_index::{SingleIndexSetting, Teacher};

fn linear(name: &'static str, law: Law, methods: &[LinearMethod]) -> (LinearSetting, Trials) {
    let cells = methods
        .iter()
        .flat_map(|&method| [0.01, 0.1].map(|rate| Cell { method, rate, damping: None }))
        .collect();
    let setting = LinearSetting {
        name,
        law,
        basis: Basis::Haar,
        condition: 100.0,
        head_condition: 4.0,
        samples: 256,
        iterations: 12,
        transfer: true,
        target_distance: Some(0.2),
        cells,
    };
    (setting, Trials { shown: 3, tuning: 2 })
}

fn demands() -> [Demand; 3] {
    let methods = [LinearMethod::Kfac, LinearMethod::Soap, LinearMethod::Amgd];
    let single = SingleIndexSetting {
        name: "single".into(),
        stream: "single".into(),
        teacher: Teacher::Tanh,
        epsilon: 0.5,
        samples: 600,
        dampings: vec![0.01, 1.0],
    };
    [
        Demand {
            linear: vec![linear("a", Law::Gaussian, &methods)],
            single_index: vec![(single, 2)],
        },
        Demand { linear: vec![linear("b", Law::Signs, &methods)], single_index: Vec::new() },
        Demand {
            linear: vec![linear(
                "c",
                Law::Gaussian,
                &[LinearMethod::EmpiricalFisher, LinearMethod::GaussNewton, LinearMethod::Kfac],
            )],
            single_index: Vec::new(),
        },
    ]
}

#[test]
fn results_do_not_depend_on_threads_or_company() {
    layerwise_linalg::set_backend_threads(1);
    let plan = Plan { quick: true, trials: None, seed: 3 };
    let together = runner::merge(demands().to_vec()).unwrap();
    let run = |demand: &Demand, threads| runner::run(demand, &plan, threads, &Silent).unwrap();
    let one = run(&together, 1);
    assert_eq!(one, run(&together, 2));
    assert_eq!(one, run(&together, 5));
    for demand in demands() {
        let alone = run(&demand, 2);
        assert!(!alone.linear.is_empty());
        for (name, results) in &alone.linear {
            assert_eq!(one.linear[name], *results);
            // Trials differ, and tuning ones are others than the shown.
            assert_ne!(results.shown[0], results.shown[1]);
            assert_ne!(results.shown[0], results.tuning[0]);
        }
        for (name, results) in &alone.single_index {
            assert_eq!(one.single_index[name], *results);
        }
    }
    let other = Plan { seed: 4, ..plan };
    assert_ne!(one, runner::run(&together, &other, 2, &Silent).unwrap());
}

/// The CSV files of a run of the program.
fn files(folder: &Path, only: &str, threads: &str, blas: &str) -> BTreeMap<String, Vec<u8>> {
    let out = folder.join(format!("{only}-{threads}-{blas}"));
    let output = Command::new(env!("CARGO_BIN_EXE_layerwise"))
        .args(["figures", "--quick", "--trials", "1", "--only", only, "--threads", threads])
        .arg("--out")
        .arg(&out)
        .env("OPENBLAS_NUM_THREADS", blas)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_string(), fs::read(&path).unwrap())
        })
        .collect()
}

#[test]
fn files_do_not_depend_on_threads_or_company() {
    let folder = tempfile::tempdir().unwrap();
    let alone = files(folder.path(), "2", "1", "1");
    assert_eq!(alone.len(), 5);
    assert_eq!(alone, files(folder.path(), "2", "2", "2"));
    // With figure 4, which shares its setting and runs two more.
    let together = files(folder.path(), "4,2", "2", "2");
    assert_eq!(together.len(), 9);
    for (name, bytes) in alone.iter().filter(|(name, _)| *name != "claims.md") {
        assert!(together[name] == *bytes, "{name}");
    }
}
