//! `--require-claims`, on experiments that cost next to nothing.

use std::fs;
use std::path::Path;

use layerwise_experiments::cli;
use layerwise_experiments::run_cli::{self, RunOptions};

/// Three steps of gradient descent at a rate at which nothing happens, so that the loss ends at the
/// start's, and a claim on its distance to 1.
fn experiment(threshold: f64, trials: u64) -> String {
    format!(
        r#"
title = "A distance"
caption = "Nothing is learned."
model = "linear"
trials = {{ shown = {trials} }}
setting = [{{ name = "small" }}]
panel = [{{ x = "iteration", y = "subspace_distance" }}]

[task]
inputs = 6
outputs = 3
rank = 1
spectrum = "isotropic"
head_condition = 1
noise = 0.1
samples = 8
iterations = 3

[[method]]
name = "SGD"
use = {{ optimizer = {{ Sgd = {{ learning_rate = 1e-9 }} }} }}

[[claim]]
id = "a"
text = "small"
value = {{ method = "SGD", end = "subspace_distance" }}
at_most = {threshold}
"#
    )
}

fn run(folder: &Path, names: &[&str], require_claims: bool) -> (u8, String) {
    let options = RunOptions {
        threads: Some(1),
        store: folder.join("store"),
        fresh: true,
        require_claims,
        ..RunOptions::default()
    };
    let files: Vec<String> = names
        .iter()
        .map(|name| folder.join(format!("{name}.toml")).display().to_string())
        .collect();
    let mut said = Vec::new();
    let status = run_cli::run(&files, &folder.join("out"), &options, &mut said).unwrap();
    (status, String::from_utf8(said).unwrap())
}

#[test]
fn a_claim_that_does_not_hold_ends_with_its_own_status() {
    let folder = tempfile::tempdir().unwrap();
    for (name, threshold, trials) in [("holds", 2.0, 3), ("fails", -1.0, 3), ("open", 2.0, 1)] {
        let file = folder.path().join(format!("{name}.toml"));
        fs::write(file, experiment(threshold, trials)).unwrap();
    }
    for (names, expected, said) in [
        (&["holds"][..], cli::SUCCESS, "1 claims hold"),
        (&["fails"], cli::CLAIM_FAILED, "not reproduced  a: small"),
        (&["open"], cli::CLAIM_FAILED, "undecided  a: small"),
        (&["holds", "fails"], cli::CLAIM_FAILED, "not reproduced  a: small"),
    ] {
        let (status, summary) = run(folder.path(), names, true);
        assert_eq!(status, expected);
        assert!(summary.contains(said), "{summary}");
        // Without the flag a claim that does not hold is a result like any other.
        assert_eq!(run(folder.path(), names, false).0, cli::SUCCESS);
        for name in names {
            assert!(folder.path().join("out").join(format!("{name}.json")).is_file());
        }
    }
}
