//! Same seed, same bytes: whatever the number of threads, the other figures, or OpenBLAS's threads
//! that the environment asks for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use layerwise_experiments::experiment::{Choices, Experiment};
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::runner::{Results, Share, Work};
use layerwise_experiments::store::{Outcome, Store};

const LINEAR: &str = r#"
title = "t"
caption = "c"
model = "linear"
tune_by = "excess_training_loss"
trials = { shown = 3, tuning = 2 }
setting = [{ name = "a" }]
panel = [{ x = "iteration", y = "subspace_distance" }]

[task]
inputs = 100
outputs = 15
rank = 8
spectrum = { log_spaced = { condition = 100 } }
law = "gaussian"
head_condition = 4
noise = 0.1
samples = 256
iterations = 12
transfer = {}
target_distance = 0.2
"#;

const SINGLE: &str = r#"
title = "t"
caption = "c"
model = "single-index"
trials = { shown = 2 }
setting = [{ name = "single", sweep = { "spectrum.two_level.epsilon" = [0.0, 0.5] } }]
panel = [{ x = "damping", y = "alignment" }]

[task]
inputs = 60
spectrum = { two_level = { epsilon = 0.5 } }
teacher = "tanh"
noise = 0.1
samples = 200
iterations = 3

[[method]]
name = "KFAC"
sweep = { damping = [0.01, 1] }
use.optimizer.OneSidedKfac = {}
"#;

/// The linear experiment with methods of the figures.
fn linear(name: &str, methods: &[(&str, &str)]) -> String {
    let mut text = LINEAR.replace("name = \"a\"", &format!("name = \"{name}\""));
    for (method, spec) in methods {
        text.push_str(&format!(
            "[[method]]\nname = \"{method}\"\nuse = {spec}\ntune = {{ learning_rate = [0.01, 0.1] }}\n"
        ));
    }
    text
}

const KFAC: (&str, &str) = ("KFAC", "{ optimizer = { OneSidedKfac = {} } }");
const SOAP: (&str, &str) = ("SOAP", "{ optimizer = { Soap = {} } }");
const AMGD: (&str, &str) = ("AMGD", "{ amgd = { batch_norm = true } }");
const NEWTON: (&str, &str) = ("NGD", "{ gauss_newton = { damping = 0.1 } }");
const FISHER: (&str, &str) = ("Fisher", "{ empirical_fisher = { damping = 0.1 } }");

fn experiments(seed: u64) -> Vec<Experiment> {
    let of = |name: &str, text: &str| {
        Experiment::parse(name, text, Choices { seed: Some(seed), ..Choices::default() }).unwrap()
    };
    vec![
        of("gaussian", &linear("a", &[KFAC, SOAP, AMGD])),
        of("signs", &linear("b", &[KFAC, SOAP, AMGD]).replace("gaussian", "signs")),
        of("samples", &linear("c", &[FISHER, NEWTON, KFAC])),
        of("single", SINGLE),
    ]
}

/// All outcomes of experiments, run together in shares one after the other.
fn run(experiments: &[Experiment], threads: usize, shares: u64) -> Vec<Vec<Outcome>> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    for index in 1..=shares {
        let share = Share { index, count: shares };
        Work::missing(experiments, Some(&store), share).run(&store, threads, &Silent).unwrap();
    }
    assert_eq!(Work::missing(experiments, Some(&store), Share::ALL).records(), 0);
    experiments
        .iter()
        .map(|experiment| {
            let results = Results::read(experiment, &store).unwrap().unwrap();
            let settings = results.settings.into_iter();
            settings.flat_map(|s| s.shown.into_iter().chain(s.tuning).flatten()).collect()
        })
        .collect()
}

/// By bits, which NaN is equal to itself by.
fn bits(outcomes: &[Outcome]) -> Vec<u64> {
    let numbers = |outcome: &Outcome| -> Vec<u64> {
        let all = outcome.cells.iter().chain([&outcome.trial]);
        all.flat_map(|numbers| numbers.values().flatten()).map(|x| x.to_bits()).collect()
    };
    outcomes.iter().flat_map(numbers).collect()
}

fn all_bits(outcomes: &[Vec<Outcome>]) -> Vec<Vec<u64>> {
    outcomes.iter().map(|of| bits(of)).collect()
}

#[test]
fn results_do_not_depend_on_threads_company_or_shares() {
    layerwise_linalg::set_backend_threads(1);
    let together = experiments(3);
    let one = run(&together, 1, 1);
    assert!(all_bits(&one) == all_bits(&run(&together, 2, 1)));
    assert!(all_bits(&one) == all_bits(&run(&together, 5, 3)));
    for (number, of_one) in one.iter().enumerate() {
        let alone = run(&together[number..=number], 2, 1);
        assert_eq!(bits(&alone[0]), bits(of_one), "{}", together[number].name);
        // Trials differ, and tuning ones are others than the shown.
        for (i, outcome) in of_one.iter().enumerate() {
            assert!(of_one[..i].iter().all(|other| other != outcome), "{i}");
        }
    }
    assert!(all_bits(&one) != all_bits(&run(&experiments(4), 2, 1)));
}

/// A method more, or a trial more, costs what is new alone, and changes nothing of what was there.
#[test]
fn only_what_is_missing_is_computed() {
    layerwise_linalg::set_backend_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let of = |methods: &[(&str, &str)], trials| {
        let choices = Choices { trials: Some(trials), ..Choices::default() };
        vec![Experiment::parse("x", &linear("a", methods), choices).unwrap()]
    };
    let records = |experiments: &[Experiment]| {
        let work = Work::missing(experiments, Some(&store), Share::ALL);
        work.run(&store, 2, &Silent).unwrap();
        work.records()
    };
    // Two tuning trials beside the shown.
    assert_eq!(records(&of(&[KFAC], 1)), 3);
    let before = Results::read(&of(&[KFAC], 1)[0], &store).unwrap().unwrap();
    assert_eq!(records(&of(&[KFAC], 3)), 2);
    assert_eq!(records(&of(&[AMGD, KFAC], 3)), 5);
    assert_eq!(records(&of(&[KFAC, AMGD], 3)), 0);
    let after = Results::read(&of(&[AMGD, KFAC], 1)[0], &store).unwrap().unwrap();
    assert_eq!(bits(&before.settings[0].shown[0]), bits(&after.settings[0].shown[1]));
    // A caption, a panel or a claim are no part of what a trial depends on.
    let text = linear("a", &[KFAC])
        .replace("\"c\"", "\"another\"")
        .replace("subspace_distance", "excess_training_loss");
    let choices = Choices { trials: Some(3), ..Choices::default() };
    assert_eq!(records(&[Experiment::parse("y", &text, choices).unwrap()]), 0);
}

/// The CSV files of a run of the program.
fn files(folder: &Path, only: &str, threads: &str, blas: &str) -> BTreeMap<String, Vec<u8>> {
    let out = folder.join(format!("{only}-{threads}-{blas}"));
    let output = Command::new(env!("CARGO_BIN_EXE_layerwise"))
        .args(["figures", "--quick", "--trials", "1", "--only", only, "--threads", threads])
        .arg("--out")
        .arg(&out)
        .current_dir(folder)
        .arg("--store")
        .arg(folder.join(format!("store-{only}-{threads}-{blas}")))
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
