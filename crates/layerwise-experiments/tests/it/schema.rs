//! The schema for editors: it is what is committed, and says of files what reading them says.

use std::collections::BTreeSet;

use jsonschema::Validator;
use layerwise_experiments::experiment::{Choices, Experiment, schema, schema_text, shipped};
use layerwise_experiments::model::OptimizerSpec;
use serde_json::{Value, json};

/// Where the two part, and why: a piece of a mutation's name, and of what reading it says, which is empty
/// where it is read.
const EXCEPTIONS: [(&str, &str, &str); 8] = [
    ("", "is missing", "a key may come from [task], a sweep or a grid: the schema asks for none"),
    ("/points", "quick_points", "whether numbers divide is beyond a schema"),
    ("/tune/", "takes a number", "the values of a grid are those of whatever it varies"),
    ("/sweep/", "takes a number", "the same"),
    ("/sweep/", "unknown name", "the same"),
    ("=[] ", "", "a list without entries is read as a table without keys"),
    ("figure3/task/spectrum/two_level/epsilon", "", "a sweep writes over what stands there"),
    ("sample-complexity/task/samples_per_input", "", "the same"),
];

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

fn value(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

/// A file with each of its keys on one line.
fn toml_of(file: &Value) -> String {
    file.as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| format!("{} = {}\n", json!(k), inline(v)))
        .collect()
}

fn inline(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", list(items.iter().map(inline).collect())),
        Value::Object(table) => {
            let pairs = table.iter().map(|(k, v)| format!("{} = {}", json!(k), inline(v)));
            format!("{{ {} }}", list(pairs.collect()))
        }
        other => other.to_string(),
    }
}

/// What reading a file says; nothing where it is read.
fn complaint(file: &Value) -> Option<String> {
    let choices = Choices { quick: true, ..Choices::default() };
    Experiment::parse("mutant", &toml_of(file), choices).err().map(|error| error.to_string())
}

/// Whether a file is refused for its form, and not for a value, or a name that it does not define.
fn of_form(message: &str) -> bool {
    let kinds =
        ["unknown key '", "unknown name '", "unknown model", "the key ", "takes ", "holds "];
    kinds.iter().any(|kind| message.contains(kind))
}

fn places(value: &Value, place: &str, all: &mut Vec<String>) {
    all.push(place.to_string());
    match value {
        Value::Object(table) => {
            for (key, inner) in table {
                places(
                    inner,
                    &format!("{place}/{}", key.replace('~', "~0").replace('/', "~1")),
                    all,
                );
            }
        }
        Value::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                places(inner, &format!("{place}/{i}"), all);
            }
        }
        _ => {}
    }
}

/// Files with one change each, every kind of place changed once.
fn mutants() -> Vec<(String, Value)> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for shipped in shipped() {
        let file = value(shipped.text);
        let mut of_file = Vec::new();
        places(&file, "", &mut of_file);
        for place in of_file {
            let kind: String = place
                .split('/')
                .map(|s| if s.parse::<u8>().is_ok() { "/0" } else { "/" }.to_string() + s)
                .map(|s| if s.starts_with("/0") { "/*".into() } else { s })
                .collect();
            if !seen.insert((file["model"].clone().to_string(), kind)) {
                continue;
            }
            let mut change = |what: &str, f: &dyn Fn(&mut Value)| {
                let mut mutant = file.clone();
                f(mutant.pointer_mut(&place).unwrap());
                if mutant != file && mutant.is_object() {
                    all.push((format!("{what} {}{place}", shipped.name), mutant));
                }
            };
            for other in [
                json!(true),
                json!("?"),
                json!(7.5),
                json!(-3),
                json!(3),
                json!([]),
                json!([[]]),
                json!({}),
                json!("none"),
            ] {
                change(&format!("={}", inline(&other)), &|at| *at = other.clone());
            }
            change("unknown key", &|at| {
                if let Value::Object(table) = at {
                    table.insert("smaples".into(), json!(3));
                }
            });
            change("misspelled", &|at| {
                if let Value::String(word) = at {
                    word.push('x');
                }
            });
            let keys = file.pointer(&place).unwrap().as_object();
            for key in keys.into_iter().flatten().map(|(key, _)| key) {
                change(&format!("without {key}:"), &|at| {
                    at.as_object_mut().unwrap().remove(key);
                });
            }
        }
    }
    all
}

#[test]
fn the_committed_schema_is_the_programs() {
    let committed = include_str!("../../experiments/experiment.schema.json");
    assert!(committed == schema_text(), "layerwise schema > experiments/experiment.schema.json");
}

#[test]
fn it_is_a_schema_and_knows_every_hyperparameter() {
    assert!(jsonschema::draft202012::meta::is_valid(&schema()));
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap();
    let optimizers = definitions.values().find(|d| !d["properties"]["Kfac"].is_null()).unwrap();
    for (name, defaults) in OptimizerSpec::defaults() {
        let described = optimizers["properties"][name]["properties"].as_object().unwrap();
        let keys: Vec<_> = defaults.as_object().unwrap().keys().collect();
        assert_eq!(described.keys().collect::<Vec<_>>(), keys, "{name}");
    }
}

#[test]
fn shipped_experiments_are_valid() {
    let validator = validator();
    for shipped in shipped() {
        let errors: Vec<String> = validator
            .iter_errors(&value(shipped.text))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", shipped.name);
        assert_eq!(complaint(&value(shipped.text)), None, "{}", shipped.name);
    }
}

#[test]
fn it_says_what_reading_says() {
    let validator = validator();
    let mutants = mutants();
    let (mut refused, mut taken, mut apart) = (0, 0, Vec::new());
    for (name, mutant) in &mutants {
        let message = complaint(mutant);
        let valid = validator.is_valid(mutant);
        let agreed = match &message {
            None => valid,
            Some(message) => !valid || !of_form(message),
        };
        match &message {
            None => taken += 1,
            Some(message) if of_form(message) => refused += 1,
            Some(_) => {}
        }
        let message = message.unwrap_or_default();
        let excepted = EXCEPTIONS.iter().any(|(piece, says, _)| {
            name.contains(piece) && message.contains(says) && says.is_empty() == message.is_empty()
        });
        if !agreed && !excepted {
            apart.push(format!(
                "{name}: {}",
                if message.is_empty() { "read, but not valid" } else { &message }
            ));
        }
    }
    assert!(apart.is_empty(), "{} of {}: {apart:#?}", apart.len(), mutants.len());
    assert!(
        mutants.len() > 1000 && refused > 500 && taken > 50,
        "{} {refused} {taken}",
        mutants.len()
    );
}
