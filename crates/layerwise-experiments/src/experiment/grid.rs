//! Lists of values over which something is varied.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Values of a key that is varied: a list, or numbers that are equally spaced between two ends, on a
/// logarithmic or a linear scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Grid {
    /// These values; in a quick run, where they are given, those.
    List { values: Vec<Value>, quick: Option<Vec<Value>> },
    /// Equally spaced numbers, both ends included.
    Spaced(Spaced),
}

/// `points` numbers from one end to the other; in a quick run `quick_points` of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spaced {
    /// Whether the ends are exponents of ten.
    logarithmic: bool,
    ends: [f64; 2],
    points: usize,
    quick_points: usize,
}

/// As it stands in a file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log10: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    linear: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    points: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quick_points: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quick: Option<Vec<Value>>,
}

/// The most values that a grid may have.
const MOST: usize = 10_000;

impl Grid {
    fn checked(spelled: Spelled) -> Result<Self, String> {
        let Spelled { log10, linear, points, quick_points, values, quick } = spelled;
        let grid = match (log10, linear, values) {
            (None, None, Some(values)) if points.is_none() && quick_points.is_none() => {
                Self::List { values, quick }
            }
            (Some(ends), None, None) | (None, Some(ends), None) if quick.is_none() => {
                let points = points.ok_or("points is missing: how many values the grid has")?;
                let quick_points = quick_points.unwrap_or(points);
                if !(2..=MOST).contains(&points) {
                    return Err(format!("points = {points}: choose a number from 2 to {MOST}"));
                }
                if quick_points < 2 || (points - 1) % (quick_points - 1) != 0 {
                    return Err(format!(
                        "quick_points = {quick_points}: choose at least 2, so that points − 1 = {} is \
                         a multiple of quick_points − 1 (a quick run takes every so many points, both \
                         ends included)",
                        points - 1
                    ));
                }
                let ascend = ends[0] < ends[1];
                if !ascend || log10.is_some_and(|e| e[0] < -300.0 || e[1] > 300.0) {
                    return Err(format!(
                        "[{}, {}]: give the lower end first, and exponents of ten within ±300",
                        ends[0], ends[1]
                    ));
                }
                let logarithmic = log10.is_some();
                Self::Spaced(Spaced { logarithmic, ends, points, quick_points })
            }
            _ => {
                return Err("a grid is a list, or one of { log10 = [low, high], points = n }, \
                            { linear = [low, high], points = n } and { values = [..], quick = [..] }"
                    .into());
            }
        };
        for list in [grid.values(false), grid.values(true)] {
            if list.is_empty() || list.len() > MOST {
                return Err(format!("{} values: choose 1 to {MOST}", list.len()));
            }
            if let Some(value) =
                list.iter().find(|v| !(v.is_number() || v.is_string() || v.is_boolean()))
            {
                return Err(format!("{value} is neither a number, a name nor a truth value"));
            }
            let known = |i: usize| list[..i].iter().any(|other| equal(other, &list[i]));
            if let Some(twice) = (1..list.len()).find(|&i| known(i)) {
                return Err(format!("{} stands in it twice", list[twice]));
            }
        }
        Ok(grid)
    }

    /// The values, all of them or those of a quick run.
    pub(crate) fn values(&self, quick: bool) -> Vec<Value> {
        match self {
            Self::List { values, quick: fewer } => {
                fewer.as_ref().filter(|_| quick).unwrap_or(values).clone()
            }
            Self::Spaced(spaced) => {
                let stride = (spaced.points - 1) / (spaced.quick_points - 1);
                spaced
                    .numbers(spaced.points)
                    .into_iter()
                    .step_by(if quick { stride } else { 1 })
                    .map(in_a_file)
                    .collect()
            }
        }
    }

    /// Where the numbers are equally spaced: as many of them between the same ends, for curves.
    pub(crate) fn refined(&self, points: usize) -> Option<Vec<f64>> {
        match self {
            Self::List { .. } => None,
            Self::Spaced(spaced) => Some(spaced.numbers(points)),
        }
    }

    /// Whether an axis of these values is logarithmic.
    pub(crate) fn is_logarithmic(&self) -> bool {
        match self {
            Self::Spaced(spaced) => spaced.logarithmic,
            Self::List { values, .. } => {
                let numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
                let [first, .., last] = numbers.as_slice() else { return false };
                *first > 0.0 && *last > 0.0 && (last / first).max(first / last) >= 30.0
            }
        }
    }
}

/// A number as one writes it: whole ones without a point, so that a key of whole numbers takes them.
fn in_a_file(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// Whether two values are the same name, or the same number however it is written.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}

impl Spaced {
    fn numbers(&self, points: usize) -> Vec<f64> {
        let [low, high] = self.ends;
        let step = (high - low) / (points - 1) as f64;
        let at = |i: usize| low + step * i as f64;
        (0..points).map(|i| if self.logarithmic { 10_f64.powf(at(i)) } else { at(i) }).collect()
    }
}

impl JsonSchema for Grid {
    fn schema_name() -> Cow<'static, str> {
        "Grid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let values = json_schema!({
            "type": "array", "items": { "type": ["number", "string", "boolean"] },
            "minItems": 1, "maxItems": MOST, "uniqueItems": true,
        });
        let spaced = |ends: &str, says: &str| {
            json_schema!({
                "type": "object",
                "properties": {
                    ends: {
                        "description": says, "type": "array", "items": { "type": "number" },
                        "minItems": 2, "maxItems": 2,
                    },
                    "points": {
                        "description": "How many, both ends included.",
                        "type": "integer", "minimum": 2, "maximum": MOST,
                    },
                    "quick_points": {
                        "description": "How many of them in a quick run: every so many.",
                        "type": "integer", "minimum": 2, "maximum": MOST,
                    },
                },
                "required": [ends, "points"], "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "The values that are taken: a list, or numbers that are equally spaced.",
            "anyOf": [
                values,
                {
                    "type": "object", "properties": { "values": values, "quick": values },
                    "required": ["values"], "additionalProperties": false,
                },
                spaced("log10", "Powers of ten from 10^low to 10^high, by their exponents."),
                spaced("linear", "Numbers from low to high."),
            ],
        })
    }
}

impl<'de> Deserialize<'de> for Grid {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct ListOrTable;

        impl<'de> Visitor<'de> for ListOrTable {
            type Value = Spelled;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of values, or a table of log10 or linear ends and points")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Spelled, A::Error> {
                let list = serde::de::value::SeqAccessDeserializer::new(list);
                let values = Some(Vec::deserialize(list)?);
                Ok(Spelled { values, ..Spelled::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Spelled, A::Error> {
                Spelled::deserialize(serde::de::value::MapAccessDeserializer::new(table))
            }
        }

        Self::checked(source.deserialize_any(ListOrTable)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Grid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let empty = Spelled::default();
        match self.clone() {
            Self::List { values, quick } => Spelled { values: Some(values), quick, ..empty },
            Self::Spaced(Spaced { logarithmic, ends, points, quick_points }) => Spelled {
                log10: logarithmic.then_some(ends),
                linear: (!logarithmic).then_some(ends),
                points: Some(points),
                quick_points: Some(quick_points),
                ..empty
            },
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grid(value: Value) -> Grid {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn quick_grids_are_subsets_with_both_ends() {
        let rates = grid(json!({"log10": [-4, 0], "points": 13, "quick_points": 5}));
        let (full, quick) = (rates.values(false), rates.values(true));
        assert_eq!((full.len(), quick.len()), (13, 5));
        assert_eq!((full[0].as_f64(), full[12].as_f64()), (Some(1e-4), Some(1.0)));
        assert!(quick.iter().all(|rate| full.contains(rate)));
        assert_eq!(quick[4].as_f64(), Some(1.0));
        assert!(rates.is_logarithmic());
        assert_eq!(rates.refined(97).unwrap().len(), 97);
        let whole = grid(json!({"linear": [10, 30], "points": 3}));
        assert_eq!(whole.values(false), [json!(10), json!(20), json!(30)]);
        let list = grid(json!({"values": [1, 2, 3], "quick": [1, 3]}));
        assert_eq!(list.values(true), [json!(1), json!(3)]);
        assert_eq!(grid(json!(["leading", "trailing"])).values(true).len(), 2);
    }

    #[test]
    fn what_is_no_grid_is_refused() {
        for (value, text) in [
            (json!([]), "0 values"),
            (json!([1, 1.0]), "twice"),
            (json!([[1]]), "neither a number"),
            (json!({"log10": [0, 1]}), "points is missing"),
            (json!({"log10": [0, 1], "points": 13, "quick_points": 6}), "multiple"),
            (json!({"linear": [1, 0], "points": 3}), "lower end first"),
            (json!({"linear": [0, 1], "log10": [0, 1], "points": 3}), "a grid is"),
            (json!({"log10": [0, 1], "points": 100_000_000}), "from 2 to 10000"),
            (json!(3), "a list of values"),
            (json!({"log": [0, 1]}), "unknown field"),
        ] {
            let error = serde_json::from_value::<Grid>(value).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn grids_are_written_as_they_are_read() {
        let rates = grid(json!({"log10": [-4, 0], "points": 13, "quick_points": 5}));
        assert_eq!(grid(serde_json::to_value(&rates).unwrap()), rates);
    }
}
