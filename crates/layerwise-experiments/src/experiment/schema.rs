//! A JSON Schema of experiments, for editors.
//!
//! The form of a file is derived from the structs that it is read into; what a model's tasks and methods
//! are is found by asking the model. Tasks and methods of the models are told apart by the key `model`.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::experiment::file::ExperimentFile;
use crate::experiment::probe::Probe;
use crate::model::{Kind, MODELS, Model, OptimizerSpec};

/// The JSON Schema (draft 2020-12) of an experiment's file.
///
/// What it takes has the right keys, types and names. Whether numbers are in their range where it depends
/// on other keys, and whether what is named is there, only reading the file can tell.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let root = settings.into_generator().into_root_schema_for::<ExperimentFile>();
    let mut root = root.to_value();
    simplify(&mut root);
    name_measures(&mut root);
    let mut probe = Probe::default();
    let branches: Vec<Value> = MODELS.iter().map(|model| branch(*model, &mut probe)).collect();
    for definition in probe.definitions.values_mut() {
        add_defaults(definition);
    }
    if let Some(definitions) = root["$defs"].as_object_mut() {
        definitions.extend(probe.definitions);
    }
    root["$id"] = "experiment.schema.json".into();
    root["title"] = "An experiment of layerwise".into();
    root["properties"]["model"]["enum"] = MODELS.iter().map(|model| model.name()).collect();
    root["allOf"] = branches.into();
    root
}

/// The schema as it is printed.
#[must_use]
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// What holds of files of a model.
fn branch(model: &dyn Model, probe: &mut Probe) -> Value {
    let examples = model.examples();
    let task_name = format!("task of {}", model.name()).replace(' ', "-");
    let task = probe.describe(&|task| model.problem(task).map(|_| ()));
    let of_task = task["properties"].as_object().map(keys).unwrap_or_default();
    probe.definitions.insert(task_name.clone(), task);
    let task = json!({ "$ref": format!("#/$defs/{task_name}") });
    let spec = match readable(model, &examples.task) {
        Some(problem) => probe.describe(&|spec| problem.method(spec).map(|_| ())),
        None => json!(true),
    };
    // A path begins in a method's table, in that of an optimizer, or with the name of a layer.
    let of_optimizers = OptimizerSpec::defaults().into_iter().map(|(_, defaults)| defaults);
    let mut paths: Vec<String> = of_optimizers
        .chain(examples.methods.into_iter().map(|(_, method)| method))
        .flat_map(|table| table.as_object().map(keys).unwrap_or_default())
        .filter(|key| !key.starts_with(char::is_uppercase))
        .collect();
    paths.sort();
    paths.dedup();
    let beginning = |names: &[String]| json!({ "propertyNames": { "pattern": format!("^({})(\\.|$)", names.join("|")) } });
    let ends: Vec<&str> =
        model.measures().iter().filter(|m| m.kind != Kind::Trial).map(|m| m.name).collect();
    json!({
        "if": { "required": ["model"], "properties": { "model": { "const": model.name() } } },
        "then": { "properties": {
            "tune_by": { "enum": ends },
            "task": task,
            "setting": { "items": { "properties": { "task": task, "sweep": beginning(&of_task) } } },
            "method": { "items": { "properties": {
                "use": spec, "tune": beginning(&paths), "sweep": beginning(&paths),
            } } },
        } },
    })
}

/// The example without the keys that exclude one another.
fn readable(model: &dyn Model, task: &Value) -> Option<Box<dyn crate::model::Problem>> {
    let without = |key: &str| {
        let mut task = task.clone();
        task.as_object_mut()?.remove(key)?;
        model.problem(&task).ok()
    };
    let all = task.as_object().map(keys).unwrap_or_default();
    model.problem(task).ok().or_else(|| all.iter().find_map(|key| without(key)))
}

fn keys(table: &Map<String, Value>) -> Vec<String> {
    table.keys().cloned().collect()
}

/// The defaults of the optimizers' hyperparameters, as files spell them.
fn add_defaults(definition: &mut Value) {
    let all = OptimizerSpec::defaults();
    let optimizers = definition.get_mut("properties").and_then(Value::as_object_mut);
    let Some(optimizers) = optimizers else { return };
    if !all.iter().all(|(name, _)| optimizers.contains_key(*name)) {
        return;
    }
    for (name, defaults) in all {
        for (key, default) in defaults.as_object().into_iter().flatten() {
            if let Some(schema) = optimizers[name]["properties"].get_mut(key)
                && schema.is_object()
            {
                schema["default"] = in_files(default);
            }
        }
    }
}

/// `none` for null, and a constant as its number.
fn in_files(value: &Value) -> Value {
    match value {
        Value::Null => "none".into(),
        Value::Array(items) => items.iter().map(in_files).collect(),
        Value::Object(table) => match table.get("Constant") {
            Some(number) if table.len() == 1 => number.clone(),
            _ => table.iter().map(|(key, value)| (key.clone(), in_files(value))).collect(),
        },
        _ => value.clone(),
    }
}

/// Takes out what TOML has not, null, and what no editor reads, names of Rust's types.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(table) => {
            table.remove("format");
            if table.get("default").is_some_and(Value::is_null) {
                table.remove("default");
            }
            if let Some(Value::Array(types)) = table.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [kind] = types.as_slice() {
                    let kind = kind.clone();
                    table.insert("type".into(), kind);
                }
            }
            if let Some(Value::Array(all)) = table.get_mut("anyOf") {
                all.retain(|one| one["type"] != "null");
                if let [Value::Object(one)] = all.as_slice() {
                    let one = one.clone();
                    table.remove("anyOf");
                    table.extend(one);
                }
            }
            table.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        // A sentence of a comment runs over several lines.
        Value::String(text) => *text = text.replace('\n', " "),
        _ => {}
    }
}

/// Says which measures there are, of all models.
fn name_measures(root: &mut Value) {
    use Kind::{Iteration, Series, Trial};
    let places: [(&str, &str, &[Kind]); 11] = [
        ("PanelFile", "fastest", &[Series, Iteration]),
        ("PanelFile", "map", &[Series, Iteration]),
        ("BelowFile", "y", &[Series]),
        ("RuleFile", "trial", &[Trial]),
        ("NumberFile", "end", &[Series, Iteration]),
        ("NumberFile", "matched", &[Series]),
        ("NumberFile", "by", &[Series]),
        ("NumberFile", "of", &[Trial]),
        ("NumberFile", "trial", &[Trial]),
        ("NumberFile", "decades", &[Series]),
        ("NumberFile", "share", &[Iteration]),
    ];
    for (table, key, kinds) in places {
        let mut names: Vec<&str> = Vec::new();
        for measure in MODELS.iter().flat_map(|model| model.measures()) {
            if kinds.contains(&measure.kind) && !names.contains(&measure.name) {
                names.push(measure.name);
            }
        }
        root["$defs"][table]["properties"][key]["enum"] = names.into();
    }
}
