//! From a file to an experiment: sweeps expanded, tasks and methods checked and spelled out.

use serde_json::{Map, Value};

use crate::experiment::file::{ExperimentFile, MethodFile, SettingFile};
use crate::experiment::grid::Grid;
use crate::experiment::probe::of_form;
use crate::experiment::source::{Place, Source, typed, unknown_name};
use crate::experiment::{Axis, Choices, Experiment, Fault, MethodEntry, Setting, check};
use crate::model::{MODELS, Model, Problem, model};
use crate::plan::Plan;
use crate::runner::Trials;
use crate::{ExperimentError, Result};

/// The most trials of a setting.
const MOST_TRIALS: u64 = 10_000_000;
/// The most combinations of what is varied.
const MOST_CELLS: usize = 100_000;

type Checked<T> = std::result::Result<T, Fault>;

/// Checks and spells out everything.
pub(crate) fn resolve(
    name: &str,
    text: String,
    source: &Source,
    choices: Choices,
) -> Result<Experiment> {
    let here = |fault| source.error(fault);
    tables(&source.root).map_err(here)?;
    let file: ExperimentFile = typed(&source.root).map_err(here)?;
    let kind = model(&file.model).ok_or_else(|| {
        let names = MODELS.iter().map(|model| model.name());
        here(Fault::at("model", unknown_name("model", &file.model, names)))
    })?;
    let trials = trials(&file, choices).map_err(here)?;
    let plan = Plan {
        quick: choices.quick,
        trials: choices.trials,
        seed: choices.seed.unwrap_or(file.seed),
    };
    let methods = file
        .method
        .iter()
        .enumerate()
        .map(|(i, method)| {
            entry(method, choices.quick).map_err(|f| here(f.inside(&["method", &i.to_string()])))
        })
        .collect::<Result<Vec<_>>>()?;
    unique("method", file.method.iter().map(|method| method.name.as_str())).map_err(here)?;
    unique("setting", file.setting.iter().map(|setting| setting.name.as_str())).map_err(here)?;
    let mut settings = Vec::new();
    for (group, setting) in file.setting.iter().enumerate() {
        let expander = Expander { source, file: &file, kind, methods: &methods, group };
        settings.extend(expander.settings(setting, choices.quick)?);
        let cells = |setting: &Setting| setting.methods.iter().map(|(_, c)| c.len()).sum::<usize>();
        if settings.iter().map(cells).sum::<usize>() > MOST_CELLS {
            return Err(here(Fault::at(&format!("setting.{group}"), too_many())));
        }
    }
    if settings.is_empty() || methods.is_empty() {
        return Err(here(Fault::at("", "an experiment has at least one setting and one method")));
    }
    let experiment = Experiment {
        name: name.to_string(),
        text,
        model: kind,
        plan,
        trials,
        settings,
        methods,
        file,
    };
    check::check(&experiment).map_err(here)?;
    Ok(experiment)
}

/// Refuses a list that was read as the values of a table, in the order of its keys; `spelled` is what was
/// read.
fn no_list_for_a_table(given: &Value, spelled: &Value) -> Checked<()> {
    match (given, spelled) {
        (Value::Array(_), Value::Object(_)) => Err(Fault::at("", NO_LIST)),
        (Value::Array(given), Value::Array(spelled)) => {
            given.iter().zip(spelled).enumerate().try_for_each(|(i, (given, spelled))| {
                no_list_for_a_table(given, spelled).map_err(|f| f.inside(&[&i.to_string()]))
            })
        }
        (Value::Object(given), Value::Object(spelled)) => {
            given.iter().try_for_each(|(key, given)| {
                let spelled = spelled.get(key).unwrap_or(&Value::Null);
                no_list_for_a_table(given, spelled).map_err(|f| f.inside(&[key]))
            })
        }
        _ => Ok(()),
    }
}

const NO_LIST: &str = "takes a table, { key = value }, not a list";

/// Refuses lists where tables belong: serde would read one as a table's values in the order of its keys.
fn tables(root: &Value) -> Checked<()> {
    const TABLES: [&str; 6] = ["trials", "picture", "colour_bar", "table", "value", "theory_gap"];
    const LISTS: [&str; 12] = [
        "setting",
        "method",
        "panel",
        "claim",
        "series",
        "below",
        "rule",
        "ratio",
        "difference",
        "deviation",
        "smallest",
        "less",
    ];
    let refuse = |place: &str| Err(Fault::at(place, NO_LIST));
    let Value::Object(entries) = root else { return Ok(()) };
    for (key, value) in entries {
        match value {
            Value::Array(_) if TABLES.contains(&key.as_str()) => return refuse(key),
            Value::Object(_) if TABLES.contains(&key.as_str()) => {
                tables(value).map_err(|fault| fault.inside(&[key]))?;
            }
            Value::Array(items) if LISTS.contains(&key.as_str()) => {
                for (i, item) in items.iter().enumerate() {
                    if item.is_array() {
                        return refuse(&format!("{key}.{i}"));
                    }
                    tables(item).map_err(|fault| fault.inside(&[key, &i.to_string()]))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn trials(file: &ExperimentFile, choices: Choices) -> Checked<Trials> {
    let of = file.trials;
    let pick = |full: u64, quick: Option<u64>| {
        if choices.quick { quick.unwrap_or(full) } else { full }
    };
    for (name, value) in [("shown", Some(of.shown)), ("quick_shown", of.quick_shown)] {
        if value.is_some_and(|value| !(1..=MOST_TRIALS).contains(&value)) {
            let message = format!("{name}: choose 1 to {MOST_TRIALS} trials");
            return Err(Fault::at(&format!("trials.{name}"), message));
        }
    }
    if choices.trials.is_some_and(|trials| !(1..=MOST_TRIALS).contains(&trials)) {
        return Err(Fault::at("trials", format!("choose 1 to {MOST_TRIALS} trials")));
    }
    let tuning = pick(of.tuning, of.quick_tuning);
    for (name, value) in [("tuning", Some(of.tuning)), ("quick_tuning", of.quick_tuning)] {
        if value.is_some_and(|value| value > MOST_TRIALS) {
            let message = format!("{name}: choose at most {MOST_TRIALS} trials");
            return Err(Fault::at(&format!("trials.{name}"), message));
        }
    }
    let tuned = file.method.iter().any(|method| !method.tune.is_empty());
    if tuned && (tuning == 0 || file.tune_by.is_none()) {
        let message = "methods are tuned: give tune_by, a measure, and trials.tuning of at least 1";
        return Err(Fault::at("trials", message));
    }
    let shown = choices.trials.unwrap_or(pick(of.shown, of.quick_shown));
    // Trials on which nothing is chosen would be run for nothing.
    Ok(Trials { shown, tuning: if tuned { tuning } else { 0 } })
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Checked<()> {
    let mut seen: Vec<&str> = Vec::new();
    for (i, name) in names.enumerate() {
        let place = format!("{what}.{i}.name");
        if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(Fault::at(&place, "a name has 1 to 200 characters, none of control"));
        }
        if seen.contains(&name) {
            return Err(Fault::at(&place, format!("two {what}s are named '{name}'")));
        }
        seen.push(name);
    }
    Ok(())
}

/// Short name of something that is varied.
pub(crate) fn axis_name(path: &str) -> &str {
    match path.rsplit('.').next().unwrap_or(path) {
        "learning_rate" => "rate",
        last => last,
    }
}

/// Refuses paths of which one holds another, and axes of one name.
fn disjoint<'a>(paths: impl Iterator<Item = (&'static str, &'a str)>) -> Checked<()> {
    let mut seen: Vec<&str> = Vec::new();
    for (kind, path) in paths {
        let place = vec![kind.to_string(), path.to_string()];
        let refuse = |message: String| Err(Fault { place: place.clone(), message });
        if path.split('.').any(str::is_empty) {
            return refuse(format!("'{path}' is no path of keys"));
        }
        for other in &seen {
            let within = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}."));
            if within(path, other) || within(other, path) {
                return refuse(format!("'{path}' and '{other}' vary the same thing"));
            }
            if axis_name(path) == axis_name(other) {
                return refuse(format!(
                    "'{path}' and '{other}' would both be called '{}'",
                    axis_name(path)
                ));
            }
        }
        seen.push(path);
    }
    Ok(())
}

fn too_many() -> String {
    format!(
        "more than {MOST_CELLS} combinations of what is varied, over all settings and methods: \
         choose fewer values"
    )
}

/// All combinations of the values of axes, the last axis the fastest.
fn combinations(axes: &[Vec<Value>]) -> Checked<Vec<Vec<Value>>> {
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.len()));
    if count.is_none_or(|count| count > MOST_CELLS) {
        return Err(Fault::at("", too_many()));
    }
    let mut all: Vec<Vec<Value>> = vec![Vec::new()];
    for axis in axes {
        all = all
            .into_iter()
            .flat_map(|row| {
                axis.iter().map(move |value| row.iter().cloned().chain([value.clone()]).collect())
            })
            .collect();
    }
    Ok(all)
}

fn paths_of(method: &MethodFile) -> Vec<(&'static str, &str, &Grid)> {
    let sweep = method.sweep.iter().map(|(path, grid)| ("sweep", path.as_str(), grid));
    let tune = method.tune.iter().map(|(path, grid)| ("tune", path.as_str(), grid));
    let mut paths: Vec<_> = sweep.chain(tune).collect();
    // The rate varies fastest: curves over it are cells next to one another.
    paths.sort_by_key(|(_, path, _)| (axis_name(path) == "rate", axis_name(path).to_string()));
    paths
}

fn entry(method: &MethodFile, quick: bool) -> Checked<MethodEntry> {
    let paths = paths_of(method);
    disjoint(paths.iter().map(|(kind, path, _)| (*kind, *path)))?;
    let axes: Vec<Axis> = paths
        .iter()
        .map(|(kind, path, grid)| Axis {
            name: axis_name(path).to_string(),
            tuned: *kind == "tune",
            grid: (*grid).clone(),
        })
        .collect();
    let values: Vec<_> = axes.iter().map(|axis| axis.grid.values(quick)).collect();
    let label = method.label.clone().unwrap_or_else(|| method.name.clone());
    Ok(MethodEntry { name: method.name.clone(), label, cells: combinations(&values)?, axes })
}

struct Expander<'a> {
    source: &'a Source,
    file: &'a ExperimentFile,
    kind: &'static dyn Model,
    methods: &'a [MethodEntry],
    group: usize,
}

impl Expander<'_> {
    /// A fault of the task at a value of its sweep, where it is written: in the setting's task, in the
    /// common one, or in the sweep.
    fn task_error(&self, fault: Fault, setting: &SettingFile) -> ExperimentError {
        let group = self.group.to_string();
        let own = fault.clone().inside(&["setting", &group, "task"]);
        let common = fault.clone().inside(&["task"]);
        let swept = setting.sweep.keys().find(|path| {
            let steps: Vec<&str> = path.split('.').collect();
            let common = steps.len().min(fault.place.len());
            common > 0 && steps[..common] == fault.place[..common]
        });
        let outside = Fault::at(&format!("setting.{group}"), fault.message.clone());
        let place = match swept {
            Some(path) => Fault {
                place: vec!["setting".into(), group, "sweep".into(), path.clone()],
                message: fault.message,
            },
            None if !fault.place.is_empty() && self.source.holds(&own.place) => own,
            None if !fault.place.is_empty() && self.source.holds(&common.place) => common,
            None => {
                let first =
                    |place: &Place, at: usize| place.len() > at && self.source.holds(&place[..=at]);
                if first(&own.place, 3) {
                    own
                } else if first(&common.place, 1) {
                    common
                } else {
                    outside
                }
            }
        };
        self.source.error(place)
    }

    fn settings(&self, setting: &SettingFile, quick: bool) -> Result<Vec<Setting>> {
        let group = self.group.to_string();
        let here = |fault: Fault| self.source.error(fault.inside(&["setting", &group]));
        disjoint(setting.sweep.keys().map(|path| ("sweep", path.as_str()))).map_err(here)?;
        let axes: Vec<_> = setting.sweep.values().map(|grid| grid.values(quick)).collect();
        let chosen = self.chosen(setting).map_err(here)?;
        let mut task = self.file.task.clone();
        task.extend(setting.task.clone());
        let mut settings = Vec::new();
        let points = combinations(&axes).map_err(here)?;
        let cells: usize = chosen.iter().map(|&method| self.methods[method].cells.len()).sum();
        if points.len().saturating_mul(cells) > MOST_CELLS {
            return Err(here(Fault::at("sweep", too_many())));
        }
        for values in points {
            let mut task = Value::Object(task.clone());
            let mut point = Vec::new();
            for (path, value) in setting.sweep.keys().zip(&values) {
                set(&mut task, path, value).map_err(|message| {
                    here(Fault { place: vec!["sweep".into(), path.clone()], message })
                })?;
                point.push((axis_name(path).to_string(), value.clone()));
            }
            forget_none(&mut task);
            let problem = self.kind.problem(&task).map_err(|f| self.task_error(f, setting))?;
            no_list_for_a_table(&task, &problem.canonical())
                .map_err(|f| self.task_error(f, setting))?;
            let mut methods = Vec::new();
            for &number in &chosen {
                methods.push((number, self.cells(number, &*problem)?));
            }
            let samples =
                methods.iter().flat_map(|(_, cells)| cells).any(|c| problem.needs_samples(c));
            let at = point.iter().map(|(_, value)| in_words(value)).collect::<Vec<_>>().join(", ");
            settings.push(Setting {
                stream: setting.name.clone(),
                name: if at.is_empty() {
                    setting.name.clone()
                } else {
                    format!("{}: {at}", setting.name)
                },
                title: setting.title.clone().unwrap_or_else(|| setting.name.clone()),
                point,
                group: self.group,
                problem,
                methods,
                samples,
            });
        }
        Ok(settings)
    }

    fn chosen(&self, setting: &SettingFile) -> Checked<Vec<usize>> {
        let Some(names) = &setting.methods else {
            return Ok((0..self.methods.len()).collect());
        };
        let known = || self.methods.iter().map(|method| method.name.as_str());
        let find = |(i, name): (usize, &String)| {
            known().position(|other| other == name).ok_or_else(|| {
                Fault::at(&format!("methods.{i}"), unknown_name("method", name, known()))
            })
        };
        names.iter().enumerate().map(find).collect()
    }

    /// The cells of a method as the problem spells them out.
    fn cells(&self, number: usize, problem: &dyn Problem) -> Result<Vec<Value>> {
        let method = &self.file.method[number];
        let paths = paths_of(method);
        let place = number.to_string();
        let here = |fault: Fault| self.source.error(fault.inside(&["method", &place]));
        self.methods[number]
            .cells
            .iter()
            .map(|values| {
                let mut spec = method.spec.clone();
                for ((kind, path, _), value) in paths.iter().zip(values) {
                    set_hyperparameter(&mut spec, path, value).map_err(|message| {
                        here(Fault { place: vec![(*kind).into(), (*path).into()], message })
                    })?;
                }
                forget_none(&mut spec);
                let spelled = problem
                    .method(&spec)
                    .and_then(|spelled| no_list_for_a_table(&spec, &spelled).map(|()| spelled));
                spelled.map_err(|fault| {
                    let name = &method.name;
                    let at = paths.iter().zip(values).map(|((_, path, _), value)| {
                        format!("{} = {}", axis_name(path), in_words(value))
                    });
                    let at = at.collect::<Vec<_>>().join(", ");
                    // What is wrong with keys and types is so at every value.
                    let plain = at.is_empty() || of_form(&fault.message);
                    let at = if plain { String::new() } else { format!(" at {at}") };
                    let message = format!("{name}{at}: {}", fault.message);
                    let varied = paths.iter().find(|(_, path, _)| {
                        let last = path.rsplit('.').next().unwrap_or(path);
                        fault.place.last().is_some_and(|step| step == last)
                            || fault.message.contains(&format!("'{last}'"))
                            || fault.message.contains(&format!("{last} = "))
                    });
                    let place = match varied {
                        Some((kind, path, _)) => vec![(*kind).into(), (*path).into()],
                        None => Fault { message: String::new(), ..fault }.inside(&["use"]).place,
                    };
                    here(Fault { place, message })
                })
            })
            .collect()
    }
}

/// The problem and the method of a cell, at another value of something that is varied.
///
/// # Errors
/// A [`Fault`] where there is none at this value.
pub(crate) fn at_value(
    experiment: &Experiment,
    (setting, method, cell): (usize, usize, usize),
    axis: &str,
    value: &Value,
) -> Checked<(Box<dyn Problem>, Value)> {
    let file = &experiment.file;
    let setting = &experiment.settings[setting];
    let of_setting = &file.setting[setting.group];
    let mut task = file.task.clone();
    task.extend(of_setting.task.clone());
    let mut task = Value::Object(task);
    let changed =
        |name: &str, held: &Value| if name == axis { value.clone() } else { held.clone() };
    let fault = |message: String| Fault::at("", message);
    for (path, (name, held)) in of_setting.sweep.keys().zip(&setting.point) {
        set(&mut task, path, &changed(name, held)).map_err(fault)?;
    }
    forget_none(&mut task);
    let problem = experiment.model.problem(&task)?;
    let of_method = &file.method[method];
    let mut spec = of_method.spec.clone();
    for ((_, path, _), held) in
        paths_of(of_method).iter().zip(&experiment.methods[method].cells[cell])
    {
        set_hyperparameter(&mut spec, path, &changed(axis_name(path), held)).map_err(fault)?;
    }
    forget_none(&mut spec);
    let spec = problem.method(&spec)?;
    Ok((problem, spec))
}

/// A value as names of settings hold it.
fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        _ => value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string()),
    }
}

/// TOML has no null: the word "none" stands for what is switched off.
pub(crate) fn forget_none(value: &mut Value) {
    match value {
        Value::String(text) if text == "none" => *value = Value::Null,
        Value::Array(items) => items.iter_mut().for_each(forget_none),
        Value::Object(entries) => entries.values_mut().for_each(forget_none),
        _ => {}
    }
}

/// Sets a key by its path; all but its last step have to be there.
fn set(target: &mut Value, path: &str, value: &Value) -> std::result::Result<(), String> {
    let (outer, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = target;
    for step in outer.split('.').filter(|step| !step.is_empty()) {
        at = match at {
            Value::Object(entries) => entries.get_mut(step),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
            _ => None,
        }
        .ok_or_else(|| {
            format!("'{path}' is varied, but there is no '{step}' in the file to vary it in")
        })?;
    }
    match at {
        Value::Object(entries) => {
            entries.insert(last.to_string(), value.clone());
            Ok(())
        }
        Value::Array(items) => {
            let item = last.parse::<usize>().ok().and_then(|i| items.get_mut(i));
            *item.ok_or_else(|| format!("'{path}' is varied, but the list ends before"))? =
                value.clone();
            Ok(())
        }
        _ => Err(format!("'{path}' is varied, but '{outer}' is no table")),
    }
}

/// Sets a hyperparameter of a method as it stands in a file: in the optimizer of each layer, or in one,
/// where the path begins with its name.
pub(crate) fn set_hyperparameter(
    spec: &mut Value,
    path: &str,
    value: &Value,
) -> std::result::Result<(), String> {
    /// The hyperparameters in `{ Name = { … } }`.
    fn inner(named: Option<&mut Value>) -> std::result::Result<&mut Value, String> {
        named
            .and_then(Value::as_object_mut)
            .filter(|entries| entries.len() == 1)
            .and_then(|entries: &mut Map<String, Value>| entries.values_mut().next())
            .ok_or_else(|| "use names one method: { name = { .. } }".to_string())
    }

    let kind = spec.as_object().and_then(|entries| entries.keys().next()).cloned();
    let within = inner(Some(spec))?;
    match kind.as_deref() {
        Some("optimizer") => set(inner(Some(within))?, path, value),
        Some("layers") => match path.split_once('.') {
            Some((layer @ ("representation" | "head"), rest)) => {
                set(inner(within.get_mut(layer))?, rest, value)
            }
            _ => ["representation", "head"]
                .into_iter()
                .try_for_each(|layer| set(inner(within.get_mut(layer))?, path, value)),
        },
        _ => set(within, path, value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hyperparameters_are_set_in_each_layer_or_in_one() {
        let mut spec = json!({"layers": {"representation": {"Kfac": {}}, "head": {"Sgd": {}}}});
        set_hyperparameter(&mut spec, "learning_rate", &json!(0.5)).unwrap();
        set_hyperparameter(&mut spec, "representation.damping", &json!(1)).unwrap();
        let expected = json!({"layers": {
            "representation": {"Kfac": {"learning_rate": 0.5, "damping": 1}},
            "head": {"Sgd": {"learning_rate": 0.5}},
        }});
        assert_eq!(spec, expected);
        let mut chain = json!({"optimizer": {"Chain": {"update": [{"kronecker": {"right": {}}}]}}});
        let path = "update.0.kronecker.right.exponent";
        set_hyperparameter(&mut chain, path, &json!(0.25)).unwrap();
        assert_eq!(
            chain["optimizer"]["Chain"]["update"][0]["kronecker"]["right"]["exponent"],
            0.25
        );
        assert!(set_hyperparameter(&mut chain, "update.1.x", &json!(0)).is_err());
        assert!(set_hyperparameter(&mut json!("Sgd"), "x", &json!(0)).is_err());
    }

    #[test]
    fn combinations_vary_the_last_fastest_and_are_bounded() {
        let axes = [vec![json!(1), json!(2)], vec![json!("a"), json!("b")]];
        let all = combinations(&axes).unwrap();
        assert_eq!(all[1], [json!(1), json!("b")]);
        assert_eq!(combinations(&[]).unwrap(), [Vec::<Value>::new()]);
        let long: Vec<Value> = (0..1000).map(Value::from).collect();
        assert!(combinations(&[long.clone(), long]).is_err());
    }
}
