//! What is stored of a trial, and its bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Key;

/// Named series of numbers; a single number is a series of one.
pub type Numbers = BTreeMap<String, Vec<f64>>;

/// What a trial gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Numbers of the trial as a whole.
    pub trial: Numbers,
    /// Numbers of each of its cells, in the experiment's order.
    pub cells: Vec<Numbers>,
}

/// A computed trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Canonical JSON text of all that the result depends on: an object with at least `model`
    /// (text), `version` (the model's result version, a whole number), `backend` (text), `seed` and
    /// `trial`.
    pub identity: String,
    /// A name of the code that computed it. The key does not depend on it: code that changes results
    /// raises the model's version.
    pub code: String,
    /// What it gave.
    pub outcome: Outcome,
}

/// Where in the payload which numbers are: name and length of each series, in the order of the
/// numbers.
type Columns<S> = Vec<(S, usize)>;

#[derive(Serialize)]
struct WrittenDirectory<'a> {
    identity: &'a str,
    code: &'a str,
    trial: Columns<&'a str>,
    cells: Vec<Columns<&'a str>>,
}

#[derive(Deserialize)]
struct ReadDirectory {
    identity: String,
    code: String,
    trial: Columns<String>,
    cells: Vec<Columns<String>>,
}

impl Record {
    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of(&self.identity)
    }

    /// Puts the payload behind `bytes`: the directory's length, the directory, and every number bit
    /// for bit.
    pub(super) fn write_payload(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let Outcome { trial, cells } = &self.outcome;
        let directory = WrittenDirectory {
            identity: &self.identity,
            code: &self.code,
            trial: columns(trial),
            cells: cells.iter().map(columns).collect(),
        };
        let directory = serde_json::to_vec(&directory).map_err(|e| e.to_string())?;
        let length =
            u32::try_from(directory.len()).map_err(|_| "its names take more than 4 GiB")?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&directory);
        for series in std::iter::once(trial).chain(cells).flat_map(BTreeMap::values) {
            bytes.extend(series.iter().flat_map(|number| number.to_le_bytes()));
        }
        Ok(())
    }

    /// The record of a payload; nothing if the bytes are not one.
    pub(super) fn read_payload(payload: &[u8]) -> Option<Self> {
        let (length, rest) = payload.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (directory, mut numbers) = rest.split_at_checked(length)?;
        let ReadDirectory { identity, code, trial, cells } =
            serde_json::from_slice(directory).ok()?;
        let trial = read_numbers(trial, &mut numbers)?;
        let cells = cells
            .into_iter()
            .map(|cell| read_numbers(cell, &mut numbers))
            .collect::<Option<_>>()?;
        numbers.is_empty().then_some(Self { identity, code, outcome: Outcome { trial, cells } })
    }
}

fn columns(numbers: &Numbers) -> Columns<&str> {
    numbers.iter().map(|(name, series)| (name.as_str(), series.len())).collect()
}

fn read_numbers(columns: Columns<String>, bytes: &mut &[u8]) -> Option<Numbers> {
    let mut numbers = Numbers::new();
    for (name, length) in columns {
        let (series, rest) = bytes.split_at_checked(length.checked_mul(size_of::<f64>())?)?;
        *bytes = rest;
        let (series, _) = series.as_chunks();
        numbers.insert(name, series.iter().map(|number| f64::from_le_bytes(*number)).collect());
    }
    Some(numbers)
}

/// What an identity says of itself; what it does not say is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Facts {
    pub(super) model: Option<String>,
    pub(super) version: Option<u64>,
    pub(super) backend: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) trial: Option<u64>,
}

impl Facts {
    pub(super) fn of(identity: &str) -> Self {
        let identity: Value = serde_json::from_str(identity).unwrap_or_default();
        let text = |name: &str| identity.get(name).and_then(Value::as_str).map(String::from);
        // JSON that other programs write holds large whole numbers as text.
        let number = |name: &str| {
            let value = identity.get(name)?;
            value.as_u64().or_else(|| value.as_str()?.parse().ok())
        };
        Self {
            model: text("model"),
            version: number("version"),
            backend: text("backend"),
            seed: number("seed"),
            trial: number("trial"),
        }
    }
}
