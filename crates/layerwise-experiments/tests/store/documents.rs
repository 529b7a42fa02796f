//! Files beside the records.

use std::fs;

use layerwise_experiments::store::Store;

#[test]
fn a_document_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.documents().unwrap(), Vec::<String>::new());
    assert_eq!(store.document("rate.json").unwrap(), None);
    for bytes in [&b"first"[..], b"", b"\x00\xff"] {
        store.save_document("rate.json", bytes).unwrap();
        assert_eq!(store.document("rate.json").unwrap().unwrap(), bytes);
    }
    store.save_document("Größe.txt", b"2").unwrap();
    assert_eq!(store.documents().unwrap(), ["Größe.txt", "rate.json"]);
    assert_eq!(fs::read_dir(folder.path().join("experiments")).unwrap().count(), 2);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let long = "x".repeat(201);
    for name in ["", ".", "..", ".hidden", "a/b", "../a", "/a", "a\\b", "c:a", "a\nb", "\0", &long]
    {
        let error = store.save_document(name, b"").unwrap_err().to_string();
        assert!(error.contains("choose a file name") && !error.contains('\n'), "{error}");
        assert!(store.document(name).is_err());
    }
    assert!(!folder.path().join("experiments").exists());
    store.save_document(&"x".repeat(200), b"").unwrap();
}

#[test]
fn a_document_that_cannot_be_written_leaves_the_former_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.save_document("a", b"former").unwrap();
    fs::create_dir(folder.path().join("experiments/b")).unwrap();
    let error = store.save_document("b", b"new").unwrap_err().to_string();
    assert!(error.contains("cannot be written") && !error.contains('\n'), "{error}");
    assert_eq!(store.documents().unwrap(), ["a"]);
    assert_eq!(fs::read_dir(folder.path().join("experiments")).unwrap().count(), 2);
}
