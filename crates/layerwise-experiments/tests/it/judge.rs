//! Verdicts computed twice: what agrees, and what is found where somebody changed something.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use layerwise_experiments::claim::Claim;
use layerwise_experiments::experiment::{Choices, Experiment};
use layerwise_experiments::judge::{self, JudgeArguments, compare, judge};
use layerwise_experiments::model::{Numbers, Outcome};
use layerwise_experiments::report::report;
use layerwise_experiments::run_cli::{self, RunOptions};
use layerwise_experiments::runner::{Results, SettingResults};
use layerwise_experiments::store::{Record, Store};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Claims of every kind but the gap to theory, on problems that take milliseconds.
const LINEAR: &str = r#"
title = "Small"
caption = "Small."
model = "linear"
trials = { shown = 4, tuning = 2 }
tune_by = "excess_training_loss"

[task]
inputs = 10
outputs = 4
rank = 2
spectrum = { log_spaced = { condition = 10 } }
noise = 0.1
samples = 40
iterations = 30
target_distance = 0.5

[[setting]]
name = "plain"
task = { head_condition = 4 }

[[setting]]
name = "heads"
title = "swept heads"
sweep = { head_condition = [1, 4, 16] }
methods = ["SGD", "AMGD"]

[[method]]
name = "SGD"
tune = { learning_rate = { log10 = [-2, 0], points = 5 } }
use = { optimizer = { Sgd = {} } }

[[method]]
name = "AMGD"
tune = { learning_rate = [0.3, 0.1, 0.03, 1.0] }
use = { amgd = {} }

[[method]]
name = "natural"
tune = { learning_rate = [0.01, 0.1, 1.0] }
sweep = { damping = [1e-3, 1e-1] }
use = { gauss_newton = {} }

[[panel]]
x = "iteration"
y = "excess_training_loss"
methods = ["SGD", "AMGD"]

[[claim]]
id = "loss/{method}"
text = "{method}: less than {threshold} of nothing ({left:.2} to {right:.1})"
whose = { paper_for = ["SGD"] }
methods = ["SGD", "AMGD"]
ratio = [{ method = "{method}", end = "excess_training_loss", diverged = "counts" }, { trial = "zero_loss" }]
at_most = 0.5

[[claim]]
id = "distance"
text = "small"
value = { method = "SGD", end = "subspace_distance" }
at_most = 0.3

[[claim]]
id = "far"
text = "not reproduced"
value = { method = "SGD", end = "subspace_distance", cell = "best", divided_by = -2 }
at_least = 3

[[claim]]
id = "steps"
text = "{left:.0} against {right:.0}"
difference = [{ method = "natural", end = "steps_to_target", cell = "fastest", undecided_at = 31 }, { method = "AMGD", end = "steps_to_target", cell = "fastest" }]
at_most = 0

[[claim]]
id = "limit"
text = "{right:.3}"
deviation = [{ method = "AMGD", end = "subspace_distance" }, { trial = "batch_norm_distance" }]
at_most = 0.05

[[claim]]
id = "decades"
text = "{left:.3}"
difference = [{ method = "AMGD", decades = "subspace_distance", level = 0.4, undecided_at = 0 }, { method = "SGD", decades = "subspace_distance", level = 0.4 }]
at_least = 0

[[claim]]
id = "held"
text = "at values of what is swept {left:.2}"
ratio = [{ method = "natural", end = "excess_training_loss", at = { damping = "last" } }, { method = "natural", end = "excess_training_loss", at = { damping = 0.001 } }]
at_least = 1

[[claim]]
id = "share"
text = "{left:.0%}"
difference = [{ method = "natural", share = "steps_to_target", undecided_at = 0 }, { method = "SGD", share = "steps_to_target" }]
at_least = -0.5

[[claim]]
id = "smallest"
text = "smallest"
ratio = [{ smallest = [{ method = "SGD", end = "subspace_distance" }, { method = "AMGD", end = "subspace_distance" }] }, { method = "natural", end = "subspace_distance", cell = "best" }]
at_most = 100

[[claim]]
id = "less"
text = "less"
difference = [
  { less = [{ method = "SGD", end = "excess_training_loss", setting = "swept heads", at = { head_condition = "first" } }, { method = "SGD", end = "excess_training_loss", setting = "heads", at = { head_condition = "last" } }], divided_by = 3 },
  { method = "AMGD", end = "excess_training_loss", setting = "heads", at = { head_condition = 4 } },
]
at_most = 1
"#;

const SINGLE_INDEX: &str = r#"
title = "Small"
caption = "Small."
model = "single-index"
trials = { shown = 5 }

[task]
inputs = 20
spectrum = { two_level = { epsilon = 0.5 } }
noise = 0.1
teacher = "tanh"
samples_per_input = 4

[[setting]]
name = "one"

[[setting]]
name = "some"
title = "varied"
sweep = { "spectrum.two_level.epsilon" = [0, 0.5, 0.9] }
methods = ["SGD"]

[[method]]
name = "SGD"
use = { optimizer = { Sgd = { learning_rate = 1 } } }

[[method]]
name = "KFAC"
sweep = { damping = [0.01, 1.0] }
[method.use.optimizer.OneSidedKfac]
learning_rate = 1
root = "Cholesky"
averaging = "None"
refresh = { every = 1 }
momentum = "none"
partition = {}

[[panel]]
x = "iteration"
y = "alignment"
methods = ["SGD"]

[[claim]]
id = "gap"
text = "theory is near at {points} points"
theory_gap = { settings = ["one", "varied"], standard_errors = 3, stream = ["small", "gap"] }
at_most = 0.5

[[claim]]
id = "fall"
text = "falls"
difference = [{ method = "SGD", end = "alignment", setting = "some", at = { epsilon = "first" } }, { method = "SGD", end = "alignment", setting = "some", at = { epsilon = "last" } }]
at_least = 0
"#;

struct Judged {
    status: u8,
    text: String,
}

fn judged(store: &Path) -> Judged {
    let mut said = Vec::new();
    let status = judge::run(&JudgeArguments { store: store.into() }, &mut said).unwrap();
    Judged { status, text: String::from_utf8(said).unwrap() }
}

/// A folder with a store of both experiments.
fn store() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let options = RunOptions { threads: Some(2), store: path.clone(), ..RunOptions::default() };
    for (name, text) in [("small", LINEAR), ("index", SINGLE_INDEX)] {
        let file = folder.path().join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        let names = [file.to_str().unwrap().to_string()];
        run_cli::run(&names, &folder.path().join(name), &options, &mut Vec::new()).unwrap();
    }
    (folder, path)
}

/// A store with the same documents, and each record as `change` leaves it, or none.
fn copied(from: &Path, to: &Path, change: impl Fn(Record) -> Option<Record>) {
    let (from, to) = (Store::open_existing(from).unwrap(), Store::open(to).unwrap());
    for name in from.documents().unwrap() {
        to.save_document(&name, &from.document(&name).unwrap().unwrap()).unwrap();
    }
    for key in from.keys() {
        if let Some(record) = change(from.get(&key).unwrap().unwrap()) {
            to.put(&record).unwrap();
        }
    }
}

#[test]
fn what_was_reported_is_found_again_and_what_was_forged_is_not() {
    let (folder, store) = store();
    let found = judged(&store);
    let expected = "index: 2 verdicts recomputed, all as reported\n\
                    small: 11 verdicts recomputed, all as reported\n";
    assert_eq!((found.status, found.text.as_str()), (0, expected));

    // Other numbers in a record whose checksums are right.
    let first = |record: &Record, trial: &str, method: &str| {
        record.identity.contains(&format!("\"trial\":{trial},")) && record.identity.contains(method)
    };
    let forged = folder.path().join("forged");
    copied(&store, &forged, |mut record| {
        if first(&record, "0", "Sgd") && record.identity.contains("\"stream\":\"plain\"") {
            for cell in &mut record.outcome.cells {
                *cell.get_mut("subspace_distance").unwrap().last_mut().unwrap() *= 1.0 + 1e-6;
            }
        }
        Some(record)
    });
    let found = judged(&forged);
    assert_eq!(found.status, 3, "{}", found.text);
    assert!(found.text.contains("  small: distance: measured: reported 0."), "{}", found.text);
    assert!(found.text.contains("index: 2 verdicts recomputed, all as reported"));

    // A forged tuning trial changes which rate is chosen.
    let tuned = folder.path().join("tuned");
    copied(&store, &tuned, |mut record| {
        if record.identity.contains("\"trial\":42949672") {
            for (cell, numbers) in record.outcome.cells.iter_mut().enumerate() {
                if let Some(loss) = numbers.get_mut("excess_training_loss") {
                    *loss.last_mut().unwrap() = cell as f64;
                }
            }
        }
        Some(record)
    });
    assert_eq!(judged(&tuned).status, 3);

    // One of the points of theory.
    let gap = folder.path().join("gap");
    copied(&store, &gap, |mut record| {
        if first(&record, "3", "OneSidedKfac") {
            record.outcome.cells[1].get_mut("alignment").unwrap()[0] += 10.0;
        }
        Some(record)
    });
    let found = judged(&gap);
    assert_eq!(found.status, 3);
    assert!(found.text.contains("  index: gap: upper end of the interval"), "{}", found.text);

    // Of another machine, whose backend is in the records and in the documents.
    let backend = layerwise_experiments::record::RunInfo::new(Default::default()).backend;
    let moved = folder.path().join("moved");
    copied(&store, &moved, |record| {
        Some(Record { identity: record.identity.replace(&backend, "another"), ..record })
    });
    assert_eq!(judged(&moved).status, 1);
    let documents = Store::open_existing(&moved).unwrap();
    for name in documents.documents().unwrap() {
        let text = String::from_utf8(documents.document(&name).unwrap().unwrap()).unwrap();
        documents.save_document(&name, text.replace(&backend, "another").as_bytes()).unwrap();
    }
    assert_eq!(judged(&moved).text, expected);

    // A record that is not there.
    let lacking = folder.path().join("lacking");
    copied(&store, &lacking, |record| Some(record).filter(|r| !first(r, "1", "amgd")));
    let found = judged(&lacking);
    assert_eq!(found.status, 1);
    assert!(
        found.text.contains("small: missing or damaged: record ")
            && found.text.contains(" of AMGD on plain, trial 1\n"),
        "{}",
        found.text
    );
}

#[test]
fn a_flipped_byte_is_damage() {
    let (_folder, store) = store();
    let records = store.join("records");
    let segment = fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    // In the numbers of its last record, which is read from the end.
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let found = judged(&store);
    assert_eq!(found.status, 1, "{}", found.text);
    assert!(found.text.contains("missing or damaged: record "), "{}", found.text);
    assert!(found.text.contains("damaged: ") && found.text.contains("bytes are altered"));
}

fn changed(value: &Value) -> Value {
    match value {
        Value::Null => json!(1.5),
        Value::Number(number) => json!(number.as_f64().unwrap() * (1.0 + 1e-6) + 1e-6),
        Value::String(text) => json!(match text.as_str() {
            "at most" => "at least".to_string(),
            "at least" => "at most".to_string(),
            "paper" => "ours".to_string(),
            "ours" => "paper".to_string(),
            other => format!("{other}1"),
        }),
        other => other.clone(),
    }
}

/// Every change of a document is found: of each claim every verdict, threshold, number and word.
#[test]
fn whatever_is_changed_in_a_document_is_found() {
    let (_folder, path) = store();
    let store = Store::open_existing(&path).unwrap();
    let mut changes = 0;
    for name in store.documents().unwrap() {
        let original = store.document(&name).unwrap().unwrap();
        let document: Value = serde_json::from_slice(&original).unwrap();
        let mut find = |what: &str, document: &Value| {
            store.save_document(&name, &serde_json::to_vec(document).unwrap()).unwrap();
            let found = judged(&path);
            assert_eq!(found.status, 3, "{what}: {}", found.text);
            changes += 1;
        };
        for claim in 0..document["claims"].as_array().unwrap().len() {
            let places = ["id", "text", "whose", "measured", "side", "threshold"];
            let ends = ["interval/0", "interval/1"];
            for place in places.iter().chain(&ends) {
                let mut document = document.clone();
                let place = format!("/claims/{claim}/{place}");
                let value = document.pointer_mut(&place).unwrap();
                *value = changed(value);
                find(&place, &document);
            }
            for verdict in ["holds", "not reproduced", "undecided"] {
                let mut document = document.clone();
                let value = &mut document["claims"][claim]["verdict"];
                if value != verdict {
                    *value = json!(verdict);
                    find(&format!("{claim}: {verdict}"), &document);
                }
            }
        }
        let mut shorter = document.clone();
        shorter["claims"].as_array_mut().unwrap().pop();
        find("a claim less", &shorter);
        let mut other = document.clone();
        other["run"]["trials"] = json!(2);
        find("fewer trials", &other);
        other["run"]["trials"] = json!(u64::MAX);
        find("trials without end", &other);
        let mut text = document.clone();
        text["text"] =
            json!(document["text"].as_str().unwrap().replace("at_least = 0", "at_least = 9"));
        find("another threshold in the experiment", &text);
        store.save_document(&name, b"{}").unwrap();
        assert_eq!(judged(&path).status, 1);
        store.save_document(&name, &original).unwrap();
    }
    assert!(changes > 100);
    assert_eq!(judged(&path).status, 0);
}

/// What a run may leave behind, ordinary or not.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-6.0..6.0_f64).prop_map(|exponent| 10_f64.powf(exponent)),
        3 => 0.0..1.0_f64,
        1 => prop_oneof![Just(0.0), Just(1.0), Just(0.4), Just(31.0)],
        1 => Just(f64::INFINITY),
        1 => Just(f64::NAN),
    ]
}

fn iteration() -> impl Strategy<Value = f64> {
    prop_oneof![4 => Just(f64::NAN), 2 => (0..31_u32).prop_map(f64::from)]
}

const SERIES: [&str; 5] = [
    "excess_training_loss",
    "subspace_distance",
    "effective_subspace_distance",
    "alignment",
    "training_loss",
];

/// Outcomes of all of an experiment's runs, of an own number of shown and of tuning trials.
fn results(experiment: &Experiment, tame: bool) -> BoxedStrategy<Results> {
    let shape: Vec<Vec<usize>> = experiment
        .settings
        .iter()
        .map(|setting| setting.methods.iter().map(|(_, cells)| cells.len()).collect())
        .collect();
    let number = move || if tame { (0.0..1.0_f64).boxed() } else { number().boxed() };
    let cell = move || {
        let diverged = if tame { Just(f64::NAN).boxed() } else { iteration().boxed() };
        (prop::array::uniform5(number()), diverged, iteration()).prop_map(
            |(ends, diverged, steps)| {
                let mut numbers: Numbers = SERIES
                    .iter()
                    .zip(ends)
                    .map(|(name, end)| ((*name).into(), vec![0.5, end]))
                    .collect();
                numbers.insert("diverged_at".into(), vec![diverged]);
                numbers.insert("steps_to_target".into(), vec![steps]);
                numbers
            },
        )
    };
    let outcome = move |cells: usize| {
        (prop::collection::vec(cell(), cells), number(), number()).prop_map(|(cells, a, b)| {
            let trial = Numbers::from([
                ("zero_loss".into(), vec![a]),
                ("batch_norm_distance".into(), vec![b]),
            ]);
            Outcome { trial, cells }
        })
    };
    (1..6_usize, 1..4_usize)
        .prop_flat_map(move |(shown, tuning)| {
            let of_setting = |methods: &Vec<usize>| {
                let all = |trials: usize| -> Vec<_> {
                    let of = |cells: &usize| prop::collection::vec(outcome(*cells), trials);
                    methods.iter().map(of).collect()
                };
                (all(shown), all(tuning))
                    .prop_map(|(shown, tuning)| SettingResults { shown, tuning })
            };
            shape.iter().map(of_setting).collect::<Vec<_>>()
        })
        .prop_map(|settings| Results { settings })
        .boxed()
}

fn small(name: &str) -> Experiment {
    let text = if name == "small" { LINEAR } else { SINGLE_INDEX };
    Experiment::parse(name, text, Choices::default()).unwrap()
}

fn agree(name: &str, results: &Results) {
    let experiment = small(name);
    let reported = report(&experiment, results).unwrap().claims;
    let judged = judge(&experiment, results).unwrap();
    assert_eq!(compare(&judged, &reported), Vec::<String>::new());
    // The same once they have been in a file.
    let text = serde_json::to_string(&reported).unwrap();
    let read: Vec<Claim> = serde_json::from_str(&text).unwrap();
    assert_eq!(compare(&judged, &read), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn judge_and_report_agree_on_anything(results in results(&small("small"), false)) {
        agree("small", &results);
    }

    #[test]
    fn judge_and_report_agree_on_ordinary_numbers(results in results(&small("small"), true)) {
        agree("small", &results);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn judge_and_report_agree_on_theory(results in results(&small("index"), true)) {
        agree("index", &results);
    }

    #[test]
    fn judge_and_report_agree_on_theory_and_anything(results in results(&small("index"), false)) {
        agree("index", &results);
    }
}

/// Student's quantiles of both, over numbers of trials that no random case has.
#[test]
fn judge_and_report_agree_on_many_trials() {
    for trials in (2..40).chain([100, 1000]) {
        let experiment = small("index");
        let outcome = |trial: usize, cells: usize| Outcome {
            trial: Numbers::new(),
            cells: (0..cells)
                .map(|cell| {
                    let alignment = ((trial * 7 + cell) as f64).sin().abs();
                    Numbers::from([("alignment".into(), vec![alignment])])
                })
                .collect(),
        };
        let of_setting = |setting: &layerwise_experiments::experiment::Setting| SettingResults {
            shown: setting
                .methods
                .iter()
                .map(|(_, cells)| (0..trials).map(|trial| outcome(trial, cells.len())).collect())
                .collect(),
            tuning: Vec::new(),
        };
        let settings = experiment.settings.iter().map(of_setting).collect();
        agree("index", &Results { settings });
    }
}

fn layerwise(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerwise"));
    command.current_dir(folder).args(arguments).output().unwrap()
}

fn checked(folder: &Path) -> (Option<i32>, Vec<String>) {
    let output = layerwise(folder, &["figures", "--only", "2", "--check-docs", "--store", "store"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    assert!(lines.pop().is_some_and(|last| last.contains("claims compared")), "{output:?}");
    (output.status.code(), lines)
}

#[test]
fn committed_pages_are_compared_with_what_is_computed_now() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("docs").join("figures");
    let made = ["figures", "--quick", "--trials", "2", "--only", "2", "--store", "store"];
    let output = layerwise(folder.path(), &[&made[..], &["--out", "docs/figures"]].concat());
    assert!(output.status.success(), "{output:?}");
    let names = |folder: &Path| -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&pages);
    let document = |folder: &Path| fs::read_dir(folder.join("store/experiments")).unwrap().count();
    let documents = document(folder.path());
    assert_eq!(checked(folder.path()), (Some(0), Vec::new()));
    assert_eq!((names(&pages), document(folder.path())), (before, documents));

    let path = pages.join("figure2.json");
    let original = fs::read_to_string(&path).unwrap();
    let json: Value = serde_json::from_str(&original).unwrap();
    let changed_at = |place: &str, value: Value| {
        let mut json = json.clone();
        *json.pointer_mut(place).unwrap() = value;
        fs::write(&path, serde_json::to_string(&json).unwrap()).unwrap();
        checked(folder.path())
    };
    let measured = json["claims"][3]["measured"].as_f64().unwrap();
    for (place, value, expected) in [
        ("/claims/3/verdict", json!("undecided"), "figure2: 2c: verdict: the folder has undecided"),
        ("/claims/3/threshold", json!(0.2), "figure2: 2c: threshold: the folder has 0.2"),
        ("/claims/3/text", json!("KFAC"), "figure2: 2c: text"),
        ("/claims/3/id", json!("2d"), "figure2: 2c: id"),
        ("/claims/3/measured", json!(measured * (1.0 + 1e-6)), "figure2: 2c: measured"),
        ("/caption", json!("other"), "figure2: caption"),
        ("/settings/shown_trials", json!(7), "figure2: settings.shown_trials"),
        ("/chosen_rates/0/rate", json!(7.0), "figure2: chosen_rates.0.rate"),
    ] {
        let (status, lines) = changed_at(place, value);
        assert_eq!(status, Some(3), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{place}: {lines:?}");
    }
    // Numbers in texts may differ.
    let text =
        json["claims"][1]["text"].as_str().unwrap().replace("limit here 0.", "limit here 3.");
    assert_ne!(json["claims"][1]["text"], json!(text));
    let (_, lines) = changed_at("/claims/1/text", json!(text));
    assert!(lines.iter().all(|line| line.starts_with("claims.md: is not what")), "{lines:?}");
    // Another kernel has other numbers, and the same verdicts; the page names it.
    let mut other = json.clone();
    other["run"]["backend"] = json!("OpenBLAS 0.3, kernel Zen");
    other["claims"][3]["measured"] = json!(measured * 1.01);
    fs::write(&path, other.to_string()).unwrap();
    let (_, lines) = checked(folder.path());
    assert!(lines.len() == 1 && lines[0].starts_with("claims.md: is not what"), "{lines:?}");
    other["claims"][3]["verdict"] = json!("not reproduced");
    fs::write(&path, other.to_string()).unwrap();
    let (_, lines) = checked(folder.path());
    assert!(lines.iter().any(|line| line.starts_with("figure2: 2c: verdict")), "{lines:?}");
    // Another format.
    let mut older = json.clone();
    older.as_object_mut().unwrap().remove("experiment");
    fs::write(&path, older.to_string()).unwrap();
    let (status, lines) = checked(folder.path());
    assert_eq!((status, lines.len()), (Some(3), 1));
    assert!(lines[0].starts_with("figure2.json: is not of this program's format"), "{lines:?}");
    fs::write(&path, &original).unwrap();
    // The page of claims, to the byte, and the table.
    let page = pages.join("claims.md");
    let claims = fs::read_to_string(&page).unwrap();
    fs::write(&page, format!("{claims}\n")).unwrap();
    let (status, lines) = checked(folder.path());
    assert_eq!((status, lines.len()), (Some(3), 1), "{lines:?}");
    fs::write(&page, &claims).unwrap();
    let table = pages.join("figure2.csv");
    let csv = fs::read_to_string(&table).unwrap();
    fs::write(&table, csv.replacen("AMGD", "SGD", 1)).unwrap();
    assert_eq!(checked(folder.path()).1, ["figure2: the table differs in line 2"]);
    fs::write(&table, &csv).unwrap();
    assert_eq!(checked(folder.path()), (Some(0), Vec::new()));
    fs::remove_file(&path).unwrap();
    assert_eq!(checked(folder.path()).1[0], "figure2.json: is not there");
}

#[test]
fn the_plan_is_that_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for option in [&["--quick"][..], &["--trials", "3"], &["--seed", "2"], &["--fresh"]] {
        let arguments = [&["figures", "--check-docs", "pages"][..], option].concat();
        let output = layerwise(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    let output = layerwise(folder.path(), &["figures", "--check-docs", "pages"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}
