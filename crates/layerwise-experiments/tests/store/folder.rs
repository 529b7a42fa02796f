//! Which folders are stores.

use std::fs;
use std::path::Path;

use layerwise_experiments::ExperimentError;
use layerwise_experiments::store::Store;

use crate::{get, put, record};

const FILE: &str = "layerwise-store.json";

/// The reason for which a path is refused.
fn refusal(opened: layerwise_experiments::Result<Store>, path: &Path) -> String {
    match opened {
        Err(error @ ExperimentError::Store { .. }) => {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line}");
            let reason = line.strip_prefix(&format!("{}: ", path.display()));
            reason.unwrap_or_else(|| panic!("{line}")).to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_or_empty_folder_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("new/in/new"), folder.path().join("empty")] {
        if path.ends_with("empty") {
            fs::create_dir(&path).unwrap();
        }
        let missing = refusal(Store::open_existing(&path), &path);
        assert!(missing.contains("name the folder that a run stored its records in"), "{missing}");
        assert!(Store::open(&path).unwrap().is_empty());
        assert!(Store::open_existing(&path).unwrap().is_empty());
        let entries: Vec<_> =
            fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(entries, [FILE]);
    }
}

#[test]
fn a_file_is_no_store() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for opened in [Store::open(file.path()), Store::open_existing(file.path())] {
        assert_eq!(refusal(opened, file.path()), "is a file; a record store is a folder");
    }
    assert!(Store::open(file.path().join("in/it")).is_err());
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "…").unwrap();
    let reason = refusal(Store::open(folder.path()), folder.path());
    assert!(reason.contains("name a store, or an empty or new folder"), "{reason}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn another_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (r#"{"format": 2}"#, "is a record store of format 2, this program has format 1; use"),
        (r#"{"format": "new"}"#, "does not name a format"),
        ("", "does not name a format"),
    ] {
        fs::write(folder.path().join(FILE), text).unwrap();
        for opened in [Store::open(folder.path()), Store::open_existing(folder.path())] {
            let reason = refusal(opened, folder.path());
            assert!(reason.contains(expected) && reason.contains("another folder"), "{reason}");
        }
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
    }
}

#[test]
fn threads_that_make_the_same_store_all_get_it() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::thread::scope(|scope| {
            for trial in 0..4 {
                let path = &path;
                scope.spawn(move || put(path, [trial]));
            }
        });
        let store = Store::open_existing(&path).unwrap();
        assert!((0..4).all(|trial| get(&store, trial) == Some(record(trial))));
    }
}
