//! What a model takes, found by asking it.
//!
//! The types of tasks and methods lie in several crates, and read numbers, names and tables each in their
//! own way. So a schema of them is not written beside them, where it would age, nor derived, which all
//! of these crates would have to provide for: values of each kind are put to the model, and what it
//! says of them is the schema.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::experiment::Fault;
use crate::experiment::source::Place;

/// Whether a model takes a value.
pub(crate) type Takes<'a> = dyn Fn(&Value) -> Result<(), Fault> + 'a;

/// The schemas of what was asked about.
#[derive(Default)]
pub(crate) struct Probe {
    /// Choices among names, which may hold one another.
    pub(crate) definitions: Map<String, Value>,
    /// The definition of a choice, by what its model says of it, and a value that it takes.
    known: HashMap<String, (String, Value)>,
}

/// A schema, and a value that it takes.
type Described = (Value, Value);

impl Probe {
    /// The schema of what is taken.
    pub(crate) fn describe(&mut self, takes: &Takes<'_>) -> Value {
        self.at(&mut Asked { takes, whole: Value::Null, place: Vec::new() }).0
    }

    fn at(&mut self, asked: &mut Asked<'_>) -> Described {
        let takes = |value: Value| asked.complaint(value).is_none();
        let nullable = takes(Value::Null);
        let truth = takes(json!(true));
        let whole_number = takes(json!(1));
        let word = asked.complaint(json!("?"));
        let table = asked.complaint(json!({ "?": 0 }));
        let list = asked.complaint(json!([]));
        if truth && whole_number && word.is_none() && table.is_none() && list.is_none() {
            return (json!(true), Value::Null);
        }
        let mut all = Vec::new();
        let mut sample = Value::Null;
        if truth {
            all.push(json!({ "type": "boolean" }));
            sample = json!(false);
        }
        if whole_number {
            all.push(if takes(json!(1.5)) {
                json!({ "type": "number" })
            } else if takes(json!(-1)) {
                json!({ "type": "integer" })
            } else {
                json!({ "type": "integer", "minimum": 0 })
            });
            sample = json!(1);
        }
        match word.as_ref().map(|message| allowed(message, "unknown name ")) {
            None => {
                all.push(json!({ "type": "string" }));
                sample = json!("?");
            }
            Some(Some(names)) => {
                let numbers = std::mem::take(&mut all);
                let (choice, one) = self.choice(asked, &names, numbers);
                all.push(choice);
                sample = if sample.is_null() { one } else { sample };
            }
            Some(None) => {
                let keys = table.as_ref().map(|message| allowed(message, "unknown key "));
                if let Some(Some(keys)) = keys {
                    let (schema, one) = self.table(asked, keys, true);
                    all.push(schema);
                    sample = one;
                } else if table.as_ref().is_some_and(|message| missing(message).is_some()) {
                    let (schema, one) = self.table(asked, Vec::new(), false);
                    all.push(schema);
                    sample = one;
                } else if table.is_none() {
                    all.push(json!({ "type": "object" }));
                    sample = json!({});
                } else if let Some(length) =
                    list.as_ref().map_or(Some(0), |message| length(message))
                {
                    let (items, one) = self.inside(asked, json!([null]), "0");
                    let mut schema = json!({ "type": "array", "items": items });
                    if length > 0 {
                        schema["minItems"] = length.into();
                        schema["maxItems"] = length.into();
                    }
                    all.push(schema);
                    sample = json!(vec![one; length]);
                }
            }
        }
        if nullable {
            // Where a file has null: the word of `forget_none`.
            all.push(json!({ "const": "none" }));
            sample = Value::Null;
        }
        (any_of(all), sample)
    }

    /// What is inside of the value here, once `outer` stands in its place.
    fn inside(&mut self, asked: &mut Asked<'_>, outer: Value, step: &str) -> Described {
        asked.put(outer);
        asked.place.push(step.to_string());
        let described = self.at(asked);
        asked.place.pop();
        described
    }

    /// A name, or a table with a single one; or a number, where that is short for one of them.
    fn choice(
        &mut self,
        asked: &mut Asked<'_>,
        names: &[String],
        numbers: Vec<Value>,
    ) -> Described {
        let mut says = format!("{names:?} {numbers:?}");
        for name in names {
            for value in [
                json!(name),
                json!({ name: null }),
                json!({ name: 0 }),
                json!({ name: { "?": 0 } }),
            ] {
                says.push_str(&asked.complaint(value).unwrap_or_default());
                says.push('\n');
            }
        }
        if let Some((name, sample)) = self.known.get(&says) {
            return (reference(name), sample.clone());
        }
        let words: Vec<&String> =
            names.iter().filter(|name| asked.complaint(json!(name)).is_none()).collect();
        let step = asked.place.iter().rev().find(|step| step.parse::<usize>().is_err());
        let mut called = step.cloned().unwrap_or_else(|| "method".into());
        if self.definitions.contains_key(&called) {
            let more = (2..).map(|n| format!("{called}-{n}"));
            called = more.into_iter().find(|n| !self.definitions.contains_key(n)).unwrap_or(called);
        }
        // What is inside may be of this kind again.
        self.definitions.insert(called.clone(), Value::Null);
        let mut sample = words.first().map_or(Value::Null, |word| json!(word));
        self.known.insert(says.clone(), (called.clone(), sample.clone()));
        let mut all = numbers;
        if !words.is_empty() {
            all.push(json!({ "enum": words }));
        }
        let mut tables = Map::new();
        for name in names.iter().filter(|name| !words.contains(name)) {
            let (schema, one) = self.inside(asked, json!({ name: null }), name);
            if sample.is_null() {
                sample = json!({ name: one });
            }
            tables.insert(name.clone(), schema);
        }
        if !tables.is_empty() {
            all.push(json!({
                "type": "object", "properties": tables, "additionalProperties": false,
                "minProperties": 1, "maxProperties": 1,
            }));
        }
        self.definitions.insert(called.clone(), any_of(all));
        self.known.insert(says, (called.clone(), sample.clone()));
        (reference(&called), sample)
    }

    /// A table, of these keys and those that it has to have.
    fn table(&mut self, asked: &mut Asked<'_>, keys: Vec<String>, closed: bool) -> Described {
        let mut properties = Map::new();
        let mut needed = Map::new();
        while let Some(key) = asked
            .complaint(json!(needed))
            .as_deref()
            .and_then(missing)
            .filter(|k| !needed.contains_key(k))
        {
            let mut outer = needed.clone();
            outer.insert(key.clone(), Value::Null);
            let (schema, one) = self.inside(asked, outer.into(), &key);
            properties.insert(key.clone(), schema);
            needed.insert(key, one);
        }
        for key in keys {
            if !properties.contains_key(&key) {
                let mut outer = needed.clone();
                outer.insert(key.clone(), Value::Null);
                let (schema, _) = self.inside(asked, outer.into(), &key);
                properties.insert(key, schema);
            }
        }
        // Nothing is required: a sweep, a tuned hyperparameter or the common task may give it.
        let mut schema = json!({ "type": "object", "properties": properties });
        if closed {
            schema["additionalProperties"] = false.into();
        }
        (schema, needed.into())
    }
}

/// A value that is asked about, inside of a whole one.
struct Asked<'a> {
    takes: &'a Takes<'a>,
    whole: Value,
    place: Place,
}

impl Asked<'_> {
    fn put(&mut self, value: Value) {
        if let Some(at) = find(&mut self.whole, &self.place) {
            *at = value;
        }
    }

    /// What is said of the form of a value in this place; nothing where it is taken, or refused for its size.
    fn complaint(&self, value: Value) -> Option<String> {
        let mut whole = self.whole.clone();
        *find(&mut whole, &self.place)? = value;
        let fault = (self.takes)(&whole).err()?;
        let here = fault.place.starts_with(&self.place) && of_form(&fault.message);
        here.then_some(fault.message)
    }
}

fn find<'v>(whole: &'v mut Value, place: &[String]) -> Option<&'v mut Value> {
    place.iter().try_fold(whole, |at, step| match at {
        Value::Object(entries) => entries.get_mut(step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Whether a message is about keys and types, which are all that a schema knows of.
pub(crate) fn of_form(message: &str) -> bool {
    ["unknown key ", "unknown name ", "the key ", "takes ", "holds "]
        .iter()
        .any(|start| message.starts_with(start))
}

/// The names that a message allows.
fn allowed(message: &str, start: &str) -> Option<Vec<String>> {
    let (_, names) = message.strip_prefix(start)?.split_once("allowed: ")?;
    Some(names.split(", ").filter(|name| !name.is_empty()).map(str::to_string).collect())
}

fn missing(message: &str) -> Option<String> {
    Some(message.strip_prefix("the key ")?.strip_suffix(" is missing")?.to_string())
}

/// Of a list that has one.
fn length(message: &str) -> Option<usize> {
    message.strip_prefix("holds 0 values; takes a list of ")?.parse().ok()
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn any_of(mut all: Vec<Value>) -> Value {
    match all.len() {
        0 => json!(true),
        1 => all.remove(0),
        _ => json!({ "anyOf": all }),
    }
}
