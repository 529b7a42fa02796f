//! The text of an experiment: its values, and on which line each stands.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{ExperimentError, Result};

/// The most that a file may hold; a longer one is hardly an experiment.
const LARGEST: usize = 1 << 20;

/// A place in a file: keys, and positions in lists as numbers.
pub(crate) type Place = Vec<String>;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The place, from the table that was being read.
    pub(crate) place: Place,
    /// What is wrong and what is allowed, in one line.
    pub(crate) message: String,
}

impl Fault {
    /// At a place, of keys joined by dots.
    pub(crate) fn at(place: &str, message: impl Into<String>) -> Self {
        let place = place.split('.').filter(|step| !step.is_empty()).map(str::to_string).collect();
        Self { place, message: message.into() }
    }

    /// The same seen from further outside.
    pub(crate) fn inside(mut self, outer: &[&str]) -> Self {
        self.place.splice(0..0, outer.iter().map(ToString::to_string));
        self
    }
}

/// A file that is TOML, with the line of each value.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: PathBuf,
    pub(crate) root: Value,
    lines: HashMap<Place, usize>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ExperimentError::Io`]; [`ExperimentError::Experiment`] for what is no TOML, or too long.
    pub(crate) fn read(path: &Path) -> Result<(Self, String)> {
        let failed = |source| ExperimentError::Io { path: path.into(), source };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > LARGEST as u64 {
            return Err(too_long(path, size));
        }
        // A device has no size, and may have no end.
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|error| ExperimentError::Experiment {
            path: path.into(),
            line: 1,
            message: format!("is no text: {}", error.utf8_error()),
        })?;
        Ok((Self::parse(path, &text)?, text))
    }

    /// Reads a text that is called `path` in errors.
    ///
    /// # Errors
    /// [`ExperimentError::Experiment`] for what is no TOML, or too long.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        if text.len() > LARGEST {
            return Err(too_long(path, text.len() as u64));
        }
        let line = |offset: usize| 1 + text[..offset].matches('\n').count();
        let table = DeTable::parse(text).map_err(|error| ExperimentError::Experiment {
            path: path.into(),
            line: error.span().map_or(1, |span| line(span.start.min(text.len()))),
            message: format!("is no TOML: {}", error.message()),
        })?;
        let starts: Vec<usize> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut reader = Reader { starts, lines: HashMap::new(), place: Vec::new() };
        let root = reader.table(table.get_ref());
        let mut source = Self { path: path.into(), root: Value::Null, lines: reader.lines };
        source.root = root.map_err(|fault| source.error(fault))?;
        Ok(source)
    }

    /// An error that names the file and the line of the innermost table or value that is there.
    pub(crate) fn error(&self, fault: Fault) -> ExperimentError {
        let line = self.line(&fault.place);
        ExperimentError::Experiment { path: self.path.clone(), line, message: fault.message }
    }

    fn line(&self, place: &[String]) -> usize {
        (0..=place.len()).rev().find_map(|end| self.lines.get(&place[..end])).copied().unwrap_or(1)
    }

    /// Whether a place is written in the file itself.
    pub(crate) fn holds(&self, place: &[String]) -> bool {
        self.lines.contains_key(place)
    }
}

fn too_long(path: &Path, size: u64) -> ExperimentError {
    ExperimentError::Experiment {
        path: path.into(),
        line: 1,
        message: format!("holds {size} bytes; an experiment has at most {LARGEST}"),
    }
}

struct Reader {
    starts: Vec<usize>,
    lines: HashMap<Place, usize>,
    place: Place,
}

impl Reader {
    fn note(&mut self, offset: usize) {
        let line = self.starts.partition_point(|&start| start <= offset);
        self.lines.insert(self.place.clone(), line);
    }

    fn table(&mut self, table: &DeTable<'_>) -> std::result::Result<Value, Fault> {
        let mut values = Map::new();
        for (key, value) in table {
            self.place.push(key.get_ref().to_string());
            self.note(key.span().start);
            let read = self.value(value);
            self.place.pop();
            values.insert(key.get_ref().to_string(), read?);
        }
        Ok(Value::Object(values))
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> std::result::Result<Value, Fault> {
        let refuse = |place: &Place, message: String| Fault { place: place.clone(), message };
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Integer(number) => {
                let digits = number.as_str();
                i64::from_str_radix(digits, number.radix())
                    .map(Value::from)
                    .or_else(|_| u64::from_str_radix(digits, number.radix()).map(Value::from))
                    .map_err(|_| refuse(&self.place, format!("{digits} is too large a number")))?
            }
            DeValue::Float(number) => {
                let value = number.as_str().parse::<f64>().ok();
                let value = value.and_then(serde_json::Number::from_f64);
                Value::Number(value.ok_or_else(|| {
                    refuse(&self.place, format!("{} is no finite number", number.as_str()))
                })?)
            }
            DeValue::Datetime(_) => {
                return Err(refuse(&self.place, "dates have no use here".into()));
            }
            DeValue::Array(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    self.place.push(index.to_string());
                    self.note(item.span().start);
                    let read = self.value(item);
                    self.place.pop();
                    values.push(read?);
                }
                Value::Array(values)
            }
            DeValue::Table(table) => self.table(table)?,
        })
    }
}

/// Reads a typed value; a fault says the place inside it.
///
/// # Errors
/// A [`Fault`] for unknown keys, with the nearest known one, wrong types and missing keys.
pub(crate) fn typed<T: DeserializeOwned>(value: &Value) -> std::result::Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let place = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Enum { variant } => Some(variant.clone()),
                serde_path_to_error::Segment::Unknown => None,
            })
            .collect();
        Fault { place, message: in_plain_words(&error.inner().to_string()) }
    })
}

/// What serde says of a fault, with the nearest of the names that it allows.
fn in_plain_words(message: &str) -> String {
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_string).collect()
    };
    for (start, what) in [("unknown field ", "key"), ("unknown variant ", "name")] {
        if let Some(rest) = message.strip_prefix(start) {
            let names = quoted(rest);
            if let Some((unknown, allowed)) = names.split_first() {
                return unknown_name(what, unknown, allowed.iter().map(String::as_str));
            }
        }
    }
    if let Some(name) =
        message.strip_prefix("missing field ").map(quoted).and_then(|n| n.first().cloned())
    {
        return format!("the key {name} is missing");
    }
    if message.starts_with("data did not match any variant of untagged enum ColumnSpelled") {
        return "takes a name, or a table { header = \"..\", value = \"..\" }".into();
    }
    let parts = |start: &str| message.strip_prefix(start).and_then(|m| m.split_once(", expected "));
    if let Some((length, wanted)) = parts("invalid length ") {
        return format!("holds {length} values; takes {}", expected(wanted));
    }
    match parts("invalid type: ").or_else(|| parts("invalid value: ")) {
        Some((given, wanted)) => format!("takes {}, not {}", expected(wanted), found(given)),
        None => message.replace('`', "'"),
    }
}

/// What serde expects, as one would say it.
fn expected(wanted: &str) -> String {
    if let Some(length) = wanted.strip_prefix("an array of length ") {
        return format!("a list of {length}");
    }
    match wanted {
        "u8" => "a whole number from 0 to 255",
        "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "f64" | "f32" => "a number",
        "a string" | "string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" | "map" => "a table",
        "string or map" => "a name, or a table with one name",
        "map with a single key" => "a table with a single name",
        "unit variant" => "that name without anything",
        "newtype variant" | "struct variant" | "tuple variant" => {
            "that name with what belongs to it"
        }
        _ if wanted.starts_with("struct ") => "a table",
        _ => wanted,
    }
    .replace('`', "'")
}

/// What serde found, as one would say it.
fn found(given: &str) -> String {
    let (kind, value) = given.split_once(' ').unwrap_or((given, ""));
    match (kind, value) {
        ("string", text) => format!("the text {text}"),
        ("integer" | "boolean", value) => value.replace('`', ""),
        ("floating", value) => value.trim_start_matches("point ").replace('`', ""),
        ("sequence", _) => "a list".into(),
        ("map", _) => "a table".into(),
        ("null", _) => "none".into(),
        ("unit", "variant") => "the name alone".into(),
        _ => given.replace('`', "'"),
    }
}

/// That a name is not known, which one it is nearest to, and all that are allowed.
pub(crate) fn unknown_name<'a>(
    what: &str,
    unknown: &str,
    allowed: impl Iterator<Item = &'a str>,
) -> String {
    let allowed: Vec<&str> = allowed.collect();
    let nearest = allowed
        .iter()
        .map(|name| (similarity(&name.to_lowercase(), &unknown.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > 0.75);
    let hint = nearest.map_or(";".into(), |(_, name)| format!("; did you mean '{name}'?"));
    format!("unknown {what} '{unknown}'{hint} allowed: {}", allowed.join(", "))
}

/// From 0 to 1. A single slip counts as next to nothing even in names of three letters.
fn similarity(a: &str, b: &str) -> f64 {
    if a.len() > 2 && strsim::damerau_levenshtein(a, b) == 1 {
        return 0.99;
    }
    strsim::jaro_winkler(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_lines() {
        let text = "title = \"t\"\n[[a]]\nb = 1\n[[a]]\n  c = { d = 2,\n e = 3 }\n";
        let source = Source::parse(Path::new("x.toml"), text).unwrap();
        let line = |place: &str| match source.error(Fault::at(place, "")) {
            ExperimentError::Experiment { line, .. } => line,
            other => panic!("{other}"),
        };
        for (place, expected) in
            [("title", 1), ("a.0.b", 3), ("a.1.c.d", 5), ("a.1.c.e", 6), ("a.1.z", 4)]
        {
            assert_eq!(line(place), expected, "{place}");
        }
        assert_eq!(source.root["a"][1]["c"]["e"], 3);
    }

    #[test]
    fn what_is_no_experiment_is_refused_in_one_line() {
        let refused =
            |text: &str| Source::parse(Path::new("x.toml"), text).unwrap_err().to_string();
        assert!(refused("a = 1\nb = = 2").starts_with("x.toml:2: is no TOML"));
        assert_eq!(refused("a = inf"), "x.toml:1: inf is no finite number");
        assert!(refused(&"#".repeat(LARGEST + 1)).contains("at most 1048576"));
        assert!(!refused("a = \"\"\"").contains('\n'));
    }

    #[test]
    fn unknown_names_have_a_nearest_one() {
        let message = in_plain_words("unknown field `smaples`, expected one of `samples`, `rank`");
        assert_eq!(
            message,
            "unknown key 'smaples'; did you mean 'samples'? allowed: samples, rank"
        );
        let slip = unknown_name("name", "Sdg", ["Adam", "Sgd"].into_iter());
        assert!(slip.contains("did you mean 'Sgd'?"), "{slip}");
        for (said, plain) in [
            (
                "invalid type: string \"16\", expected usize",
                "takes a whole number of at least 0, not the text \"16\"",
            ),
            (
                "invalid type: floating point `1.5`, expected u64",
                "takes a whole number of at least 0, not 1.5",
            ),
            ("invalid type: sequence, expected f64", "takes a number, not a list"),
            (
                "invalid length 1, expected an array of length 2",
                "holds 1 values; takes a list of 2",
            ),
            ("invalid type: integer `3`, expected struct Sgd", "takes a table, not 3"),
        ] {
            assert_eq!(in_plain_words(said), plain);
        }
        let far = unknown_name("method", "xyz", ["SGD", "KFAC"].into_iter());
        assert_eq!(far, "unknown method 'xyz'; allowed: SGD, KFAC");
    }
}
