//! Code that changes results raises the result version of its model, so that what is stored is computed
//! again: the numbers of a few records of each kind, and the hashes of a few keys, are held here.

use std::collections::BTreeMap;
use std::path::Path;

use layerwise_experiments::experiment::{Choices, Experiment, shipped};
use layerwise_experiments::model::{MODELS, OptimizerSpec};
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::runner::{Results, Share, Work, identity};
use layerwise_experiments::store::{Key, Store};
use serde::{Deserialize, Serialize};

/// What is held of a model.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    /// Its result version.
    version: u64,
    /// Keys of records, were they computed by a backend that is called "test".
    keys: BTreeMap<String, String>,
    /// The last numbers of each series, method by method.
    numbers: BTreeMap<String, Vec<f64>>,
}

/// Every method of the figures and every optimizer, for twelve steps: long enough for bases to turn, too
/// short for rounding to grow.
const LINEAR: &str = r#"
title = "t"
caption = "c"
model = "linear"
trials = { shown = 1 }
setting = [{ name = "a" }, { name = "b", task = { law = "signs", features = "leading" } }]
panel = [{ x = "iteration", y = "subspace_distance" }]

[task]
inputs = 20
outputs = 6
rank = 3
spectrum = { log_spaced = { condition = 100 } }
head_condition = 4
noise = 0.1
samples = 64
iterations = 12
transfer = { noise = 0.2 }
target_distance = 0.9
"#;

const SINGLE_INDEX: &str = r#"
title = "t"
caption = "c"
model = "single-index"
trials = { shown = 1 }
setting = [{ name = "a" }, { name = "b", task = { teacher = { hermite = [0, 0, 1] }, fresh_batches = true } }]
panel = [{ x = "iteration", y = "alignment" }]

[task]
inputs = 20
spectrum = { two_level = { epsilon = 0.5 } }
teacher = "tanh"
noise = 0.1
samples = 80
iterations = 3
test_samples = 50

[[method]]
name = "SGD"
use = { optimizer = { Sgd = { learning_rate = 1 } } }

[[method]]
name = "KFAC"
use = { optimizer = { OneSidedKfac = { learning_rate = 1, momentum = "none" } } }
"#;

fn linear() -> Experiment {
    let figure = |name: &str| shipped().iter().find(|shipped| shipped.name == name).unwrap().text;
    let mut text = LINEAR.to_string();
    // The methods as the figures have them, each at one rate.
    for (name, methods) in [("figure1", 9), ("figure2", 2), ("figure6", 2)] {
        let of = figure(name);
        let start = of.find("[[method]]").unwrap();
        let end = of.find("[[panel]]").unwrap();
        for method in of[start..end].split("[[method]]").skip(1).take(methods) {
            let lines = method.lines().map(|line| match line.split_once(" = ") {
                Some(("tune" | "sweep", _)) if method.contains("NGD") => {
                    "sweep = { damping = [0.1], learning_rate = [0.05] }".to_string()
                }
                Some(("tune" | "sweep", _)) => "sweep = { learning_rate = [0.05] }".to_string(),
                Some(("name", quoted)) => format!("name = \"{name}: {}", &quoted[1..]),
                _ => line.to_string(),
            });
            text.push_str("[[method]]\n");
            text.push_str(&lines.collect::<Vec<_>>().join("\n"));
            text.push('\n');
        }
    }
    // Every optimizer with its own hyperparameters, on the representation. EKFAC asks for samples of the
    // derivatives, which no model gives.
    for (name, _) in OptimizerSpec::defaults() {
        if name != "Chain" && name != "Ekfac" {
            text.push_str(&format!(
                "[[method]]\nname = \"{name}\"\nuse = {{ layers = {{ representation = {{ {name} = \
                 {{ learning_rate = 0.01 }} }}, head = {{ Sgd = {{ learning_rate = 0.01 }} }} }} }}\n"
            ));
        }
    }
    Experiment::parse("linear", &text, Choices::default()).unwrap()
}

fn held(experiments: Vec<Experiment>) -> Held {
    layerwise_linalg::set_backend_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    Work::missing(&experiments, Some(&store), Share::ALL).run(&store, 2, &Silent).unwrap();
    let experiment = &experiments[0];
    let results = Results::read(experiment, &store).unwrap().unwrap();
    let (mut keys, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for (setting, results) in experiment.settings.iter().zip(&results.settings) {
        for ((method, cells), outcomes) in setting.methods.iter().zip(&results.shown) {
            let name = format!("{}, {}", setting.name, experiment.methods[*method].name);
            let key = Key::of(&identity(experiment, setting, cells, 0, "test"));
            keys.insert(name.clone(), key.to_string());
            let series = outcomes[0].cells.iter().chain([&outcomes[0].trial]);
            let last = series.flat_map(|of| of.values()).filter_map(|of| of.last()).copied();
            numbers.insert(name, last.filter(|number| number.is_finite()).collect());
        }
    }
    Held { version: experiment.model.result_version(), keys, numbers }
}

#[test]
fn results_change_with_their_version_alone() {
    let single = Experiment::parse("single-index", SINGLE_INDEX, Choices::default()).unwrap();
    let now = BTreeMap::from([
        ("linear".to_string(), held(vec![linear()])),
        ("single-index".to_string(), held(vec![single])),
    ]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/records.json");
    let written = serde_json::to_string_pretty(&now).unwrap() + "\n";
    let again = "run the test with LAYERWISE_HOLD_RESULTS=1 to hold the new ones";
    if std::env::var_os("LAYERWISE_HOLD_RESULTS").is_some() {
        std::fs::write(&file, written).unwrap();
    }
    let before: BTreeMap<String, Held> =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let models: Vec<&str> = MODELS.iter().map(|model| model.name()).collect();
    assert!(now.keys().eq(models), "each model has numbers that are held");
    for (model, now) in &now {
        let before = &before[model];
        assert_eq!(before.version, now.version, "{model} has another version: {again}");
        assert_eq!(
            before.keys, now.keys,
            "records of {model} have other keys, so that none of a user's is found again: {again}"
        );
        for (name, numbers) in &now.numbers {
            let held = &before.numbers[name];
            assert_eq!(held.len(), numbers.len(), "{model}: {name}");
            for (held, number) in held.iter().zip(numbers) {
                // Processors and backends differ by 1e-13 of a number after a dozen steps, times the
                // conditions of what is inverted, up to 1e3 here.
                let off = (held - number).abs() / held.abs().max(1e-3);
                assert!(
                    off < 1e-9,
                    "{model}, {name}: {number} where there was {held}. If that is meant, raise the \
                     model's result version, and {again}"
                );
            }
        }
    }
}
