//! The record store: what is put is there again bit for bit, whatever happens to processes and
//! files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a call that fails is a test that fails")]

mod commands;
mod damage;
mod documents;
mod folder;
mod processes;
mod pruning;

use std::fs;
use std::path::{Path, PathBuf};

use layerwise_experiments::store::{Key, Numbers, Outcome, Record, Store};

fn identity(model: &str, version: u64, trial: u64) -> String {
    format!(
        r#"{{"backend":"faer","model":"{model}","rate":0.1,"seed":7,"trial":{trial},"version":{version}}}"#
    )
}

/// A record that differs from that of any other trial.
fn record(trial: u64) -> Record {
    let number = trial as f64 + 0.1;
    let series = |name: &str, numbers: &[f64]| (name.to_string(), numbers.to_vec());
    let cell = |rate: f64| {
        Numbers::from([series("loss", &[number, number * rate]), series("rate", &[rate])])
    };
    Record {
        identity: identity("linear", 3, trial),
        code: "test".into(),
        outcome: Outcome {
            trial: Numbers::from([series("condition", &[number])]),
            cells: vec![cell(0.5), cell(2.0)],
        },
    }
}

fn key(trial: u64) -> Key {
    record(trial).key()
}

fn get(store: &Store, trial: u64) -> Option<Record> {
    store.get(&key(trial)).unwrap()
}

/// Puts these trials into one segment of the store.
fn put(path: &Path, trials: impl IntoIterator<Item = u64>) {
    let store = Store::open(path).unwrap();
    for trial in trials {
        store.put(&record(trial)).unwrap();
    }
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let records = fs::read_dir(path.join("records")).unwrap();
    records.map(|entry| entry.unwrap().path()).collect()
}

/// The only segment.
fn segment(path: &Path) -> PathBuf {
    let [segment] = segments(path).try_into().unwrap();
    segment
}

/// Where each frame of the only segment begins, and where the last one ends.
fn bounds(path: &Path) -> Vec<usize> {
    let bytes = fs::read(segment(path)).unwrap();
    let mut bounds = vec![0];
    while let Some(&at) = bounds.last().filter(|&&at| at < bytes.len()) {
        let length = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        bounds.push(at + 64 + usize::try_from(length).unwrap());
    }
    bounds
}

#[test]
fn every_bit_of_a_record_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<f64> = [
        f64::NAN.to_bits(),
        0x7ff0_0000_dead_beef,
        0xfff8_0000_0000_0001,
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        (-0.0_f64).to_bits(),
        1,
        f64::MAX.to_bits(),
    ]
    .map(f64::from_bits)
    .to_vec();
    let strange = Record {
        identity: r#"{"model":"λ \" \n \u0000","trial":18446744073709551615}"#.into(),
        code: "test".into(),
        outcome: Outcome {
            trial: Numbers::from([("ε".into(), numbers.clone()), ("".into(), Vec::new())]),
            cells: vec![Numbers::new(), Numbers::from([("x".into(), numbers)])],
        },
    };
    let empty =
        Record { identity: String::new(), code: "test".into(), outcome: Outcome::default() };
    let store = Store::open(folder.path()).unwrap();
    for record in [&strange, &empty] {
        store.put(record).unwrap();
    }
    let bits = |outcome: &Outcome| -> Vec<Vec<(String, Vec<u64>)>> {
        let numbers = std::iter::once(&outcome.trial).chain(&outcome.cells);
        let series = |(name, series): (&String, &Vec<f64>)| {
            (name.clone(), series.iter().map(|number| number.to_bits()).collect())
        };
        numbers.map(|numbers| numbers.iter().map(series).collect()).collect()
    };
    for store in [&store, &Store::open_existing(folder.path()).unwrap()] {
        for record in [&strange, &empty] {
            let back = store.get(&Key::of(&record.identity)).unwrap().unwrap();
            assert_eq!(back.identity, record.identity);
            assert_eq!(bits(&back.outcome), bits(&record.outcome));
        }
        assert_eq!(store.len(), 2);
        assert_eq!(store.damage(), []);
    }
}

#[test]
fn keys_are_hashes_that_other_programs_know() {
    // `xxhash.xxh3_128_hexdigest("")` of Python.
    assert_eq!(Key::of("").to_string(), "99aa06d3014798d86001c324468d497f");
}

#[test]
fn what_is_not_there_is_not_given() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), [1, 2]);
    let store = Store::open(folder.path()).unwrap();
    assert!(store.contains(&key(1)) && !store.contains(&key(3)));
    assert_eq!(get(&store, 3), None);
    let mut keys = vec![key(1), key(2)];
    keys.sort();
    assert_eq!(store.keys(), keys);
    assert_eq!(store.path(), folder.path());
    assert!(!store.is_empty());
}

#[test]
fn many_threads_put_and_get_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for trial in thread * 50..(thread + 1) * 50 {
                    store.put(&record(trial)).unwrap();
                    assert_eq!(get(store, trial), Some(record(trial)));
                    if trial % 20 == 0 {
                        store.refresh().unwrap();
                        store.flush().unwrap();
                    }
                }
            });
        }
    });
    for store in [&store, &Store::open(folder.path()).unwrap()] {
        assert_eq!(store.len(), 400);
        assert_eq!(store.damage(), []);
        assert!((0..400).all(|trial| get(store, trial) == Some(record(trial))));
    }
    segment(folder.path());
}
