//! Pruning keeps every good record and every damaged byte.

use std::fs;
use std::path::Path;

use layerwise_experiments::store::{Record, Store, StoreFolder, prune};

use crate::{bounds, get, identity, put, record, segment, segments};

fn pruned(path: &Path, current: impl Fn(&str) -> Option<u64>) -> String {
    let mut out = Vec::new();
    let folder = StoreFolder { folder: path.into() };
    assert_eq!(prune(&folder, current, &mut out).unwrap(), 0);
    String::from_utf8(out).unwrap()
}

#[test]
fn good_records_stay_and_the_rest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    put(path, 0..4);
    let first = segment(path);
    let limits = bounds(path);
    let mut bytes = fs::read(&first).unwrap();
    bytes[limits[2] - 1] ^= 1;
    bytes.splice(limits[3]..limits[3], *b"foreign");
    bytes.pop();
    fs::write(&first, &bytes).unwrap();
    put(path, [0, 2, 9]);
    let old = |model: &str, version| Record {
        identity: identity(model, version, 1),
        code: "test".into(),
        outcome: record(1).outcome,
    };
    let unclear =
        Record { identity: "no JSON".into(), code: "test".into(), outcome: record(1).outcome };
    let store = Store::open(path).unwrap();
    for record in [&old("linear", 2), &old("linear", 4), &old("other", 1), &unclear] {
        store.put(record).unwrap();
    }
    drop(store);
    fs::write(path.join("records/notes.txt"), "mine").unwrap();
    fs::write(path.join("records/.0.new"), "a remnant").unwrap();

    let text = pruned(path, |model| (model == "linear").then_some(3));
    assert_eq!(
        text,
        "kept 6 records; removed 2 duplicates and 1 record of older result versions; moved 4 damaged \
         pieces aside; rewrote 3 segments\n"
    );
    let store = Store::open(path).unwrap();
    assert_eq!(store.damage(), []);
    assert_eq!(store.len(), 6);
    for trial in [0, 2, 9] {
        assert_eq!(get(&store, trial), Some(record(trial)));
    }
    for record in [old("linear", 4), old("other", 1), unclear] {
        assert_eq!(store.get(&record.key()).unwrap(), Some(record));
    }
    let aside = |name: String| fs::read(path.join("aside").join(name)).unwrap();
    let stem = first.file_stem().unwrap().to_str().unwrap();
    assert_eq!(aside(format!("{stem}-{}.bytes", limits[1])), bytes[limits[1]..limits[2]]);
    assert_eq!(aside(format!("{stem}-{}.bytes", limits[3])), b"foreign");
    assert_eq!(aside(format!("{stem}-{}.bytes", limits[3] + 7)), bytes[limits[3] + 7..]);
    assert_eq!(aside("notes.txt".into()), b"mine");

    let rewritten = segment(path);
    let text = pruned(path, |model| (model == "linear").then_some(3));
    assert!(text.ends_with(" rewrote 0 segments\n"), "{text}");
    assert_eq!(segment(path), rewritten);
}

#[test]
fn a_segment_in_use_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Store::open(folder.path()).unwrap();
    writer.put(&record(1)).unwrap();
    writer.put(&record(1)).unwrap();
    let bytes = fs::read(segment(folder.path())).unwrap();
    let text = pruned(folder.path(), |_| None);
    assert!(text.contains("\nleft 1 segment alone: in use"), "{text}");
    assert_eq!(fs::read(segment(folder.path())).unwrap(), bytes);
}

#[test]
fn readers_find_records_that_have_moved() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), 0..3);
    let reader = Store::open(folder.path()).unwrap();
    put(folder.path(), 2..6);
    pruned(folder.path(), |_| None);
    assert_eq!(segments(folder.path()).len(), 1);
    assert!((0..3).all(|trial| get(&reader, trial) == Some(record(trial))));
}

#[test]
fn a_store_without_good_records_becomes_empty() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), 0..3);
    pruned(folder.path(), |_| Some(4));
    assert!(segments(folder.path()).is_empty());
    assert!(Store::open(folder.path()).unwrap().is_empty());
    assert!(prune(&StoreFolder { folder: "no/store".into() }, |_| None, &mut Vec::new()).is_err());
}
