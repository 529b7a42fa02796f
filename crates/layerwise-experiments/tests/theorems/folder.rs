//! What the check of statements says, writes, refuses, and ends with.

use std::fs;
use std::path::Path;
use std::process::Command;

use layerwise_experiments::backend::BackendArguments;
use layerwise_experiments::claim::Whose;
use layerwise_experiments::cli::{CLAIM_FAILED, SUCCESS};
use layerwise_experiments::linear::{Algorithm, StepData};
use layerwise_experiments::ndarray::Array2;
use layerwise_experiments::theorems::{
    Context, KfacRates, Outcome, Part, RealSteps, Statement, Steps,
};
use layerwise_experiments::theorems_cli::{TheoremsArguments, theorems};
use layerwise_experiments::{ExperimentError, Result};
use layerwise_models::TwoLayerLinear;
use serde_json::Value;

/// A statement with this deviation and tolerance 1.
struct Stub {
    deviation: f64,
}

impl Statement for Stub {
    fn id(&self) -> &'static str {
        "X1"
    }

    fn text(&self) -> &'static str {
        "a | b"
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        context.monitor.check()?;
        Ok(Outcome {
            parts: vec![Part {
                what: "a stub".into(),
                predicted: "1".into(),
                measured: "2".into(),
                deviation: self.deviation,
                tolerance: 1.0,
                tolerance_from: "nothing",
                cases: 3,
                discarded: 0,
            }],
        })
    }
}

fn run(out: &Path, seed: u64, fresh: bool, deviation: f64) -> (Result<u8>, String) {
    let arguments = TheoremsArguments {
        quick: true,
        seed,
        threads: Some(2),
        out: out.into(),
        fresh,
        backend: BackendArguments::default(),
    };
    let mut said = Vec::new();
    let status = theorems(&arguments, &[&Stub { deviation }], &RealSteps, &mut said);
    (status, String::from_utf8(said).unwrap())
}

const FILES: [&str; 6] = [
    "contraction.png",
    "contraction.svg",
    "phase.png",
    "phase.svg",
    "theorems.json",
    "theorems.md",
];

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_holds_one_run_and_the_status_says_whether_all_hold() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new").join("out");
    let (status, said) = run(&out, 1, false, 0.5);
    assert_eq!(status.unwrap(), SUCCESS);
    assert!(said.starts_with("X1  holds  (ours; 3 cases)  a | b\n"), "{said}");
    assert!(said.contains("\n1 statements: 1 hold, 0 fail\nwritten to "), "{said}");
    assert_eq!(names(&out), FILES);
    let read = || FILES.map(|name| fs::read(out.join(name)).unwrap());
    let before = read();
    assert!(before[0].starts_with(b"\x89PNG") && before[2].starts_with(b"\x89PNG"));

    let json: Value = serde_json::from_slice(&before[4]).unwrap();
    assert_eq!(json["run"]["seed"], 1);
    let statement = &json["statements"][0];
    for (key, value) in [
        ("id", Value::from("X1")),
        ("text", "a | b".into()),
        ("whose", "ours".into()),
        ("predicted", "1".into()),
        ("measured", "2".into()),
        ("tolerance", 1.0.into()),
        ("cases", 3.into()),
        ("discarded", 0.into()),
        ("verdict", "holds".into()),
    ] {
        assert_eq!(statement[key], value, "{key}");
        assert!(
            key == "id" || key == "text" || key == "whose" || statement["parts"][0][key] == value
        );
    }
    assert!(String::from_utf8(before[5].clone()).unwrap().contains("| X1 | a \\| b | ours |"));

    // The same settings again: the same bytes.
    assert_eq!(run(&out, 1, false, 0.5).0.unwrap(), SUCCESS);
    assert!(before == read());

    // Other settings are refused, and leave every byte.
    let (refused, said) = run(&out, 2, false, 0.5);
    let error = refused.unwrap_err();
    assert!(matches!(error, ExperimentError::Output { .. }));
    let text = error.to_string();
    assert!(text.contains("a run with other settings (quick, seed 1") && text.contains("--fresh"));
    assert!(said.is_empty() && before == read());

    // A statement that fails is a result: everything is written, and the status tells.
    let (status, said) = run(&out, 2, true, 1.5);
    assert_eq!(status.unwrap(), CLAIM_FAILED);
    assert!(said.starts_with("X1  fails") && said.contains("0 hold, 1 fail"), "{said}");
    let json: Value = serde_json::from_slice(&read()[4]).unwrap();
    assert_eq!(
        (&json["statements"][0]["verdict"], &json["run"]["seed"]),
        (&"fails".into(), &2.into())
    );
    assert_eq!(names(&out), FILES);
}

/// A step of KFAC that is never defined.
struct Undefined;

impl Algorithm for Undefined {
    fn step(&mut self, _: &mut TwoLayerLinear, _: &StepData) -> Result<()> {
        layerwise_linalg::Cholesky::new(Array2::<f64>::zeros((1, 1)).view(), 0.0)?;
        Ok(())
    }
}

struct WithoutKfac;

impl Steps for WithoutKfac {
    fn kfac(&self, _: KfacRates, _: (usize, usize, usize)) -> Result<Box<dyn Algorithm>> {
        Ok(Box::new(Undefined))
    }
}

#[test]
fn a_step_that_is_not_defined_leaves_a_gap_in_the_picture_and_the_table_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = [&RealSteps as &dyn Steps, &WithoutKfac].map(|steps| {
        let arguments = TheoremsArguments {
            quick: true,
            seed: 1,
            threads: Some(2),
            out: folder.path().into(),
            fresh: false,
            backend: BackendArguments::default(),
        };
        let statements: [&dyn Statement; 1] = [&Stub { deviation: 0.5 }];
        let status = theorems(&arguments, &statements, steps, &mut Vec::new());
        assert_eq!(status.unwrap(), SUCCESS);
        assert_eq!(names(folder.path()), FILES);
        fs::read_to_string(folder.path().join("contraction.svg")).unwrap()
    });
    // KFAC's points are circles, 11 in each of two panels.
    let circles = pictures.map(|picture| picture.matches("<circle").count());
    assert!(circles[0] >= circles[1] + 22, "{circles:?}");
}

#[test]
fn what_stands_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let text = run(&file, 1, false, 0.5).0.unwrap_err().to_string();
    assert!(text.ends_with("is not a folder; name a folder with --out"), "{text}");
    fs::write(folder.path().join("theorems.json"), "{}").unwrap();
    let text = run(folder.path(), 1, false, 0.5).0.unwrap_err().to_string();
    assert!(text.contains("theorems.json: is not a table of statements"), "{text}");
    assert_eq!(names(folder.path()), ["file", "theorems.json"]);
}

#[test]
fn bad_arguments_are_one_line_and_status_two() {
    for arguments in [["--seed", "x"], ["--threads", "0"], ["--trials", "3"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_layerwise"))
            .arg("theorems")
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    }
}
