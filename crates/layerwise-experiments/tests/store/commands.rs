//! What the commands say, and the tables that they write.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::FileReader;
use layerwise_experiments::store::{
    ExportArguments, Record, Store, StoreFolder, TableFormat, export, info, verify,
};

use crate::{bounds, identity, key, put, record, segment};

fn folder(path: &Path) -> StoreFolder {
    StoreFolder { folder: path.into() }
}

fn damage_trial_1(path: &Path) {
    let mut bytes = fs::read(segment(path)).unwrap();
    let end = bounds(path)[2];
    bytes[end - 1] ^= 1;
    fs::write(segment(path), bytes).unwrap();
}

fn said(run: impl FnOnce(&mut Vec<u8>) -> layerwise_experiments::Result<u8>) -> (u8, String) {
    let mut out = Vec::new();
    let status = run(&mut out).unwrap();
    (status, String::from_utf8(out).unwrap())
}

#[test]
fn info_says_what_is_there() {
    let store = tempfile::tempdir().unwrap();
    put(store.path(), 0..3);
    damage_trial_1(store.path());
    let opened = Store::open(store.path()).unwrap();
    opened
        .put(&Record {
            identity: identity("single", 1, 0),
            code: "test".into(),
            outcome: Default::default(),
        })
        .unwrap();
    opened
        .put(&Record { identity: "{}".into(), code: "test".into(), outcome: Default::default() })
        .unwrap();
    opened.save_document("plan.json", b"{}").unwrap();
    let (status, text) = said(|out| info(&folder(store.path()), out));
    assert_eq!(status, 0);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("4 records, ") && lines[0].ends_with(" bytes in 2 segments"));
    assert_eq!(
        lines[1..6],
        [
            "  model unknown, version unknown, backend unknown: 1",
            "  model linear, version 3, backend faer: 2",
            "  model single, version 1, backend faer: 1",
            "1 document",
            "1 damaged piece",
        ]
    );
    assert!(lines[6].contains(&key(1).to_string()));
}

#[test]
fn verify_ends_with_1_where_anything_is_damaged() {
    let store = tempfile::tempdir().unwrap();
    put(store.path(), 0..3);
    let (status, text) = said(|out| verify(&folder(store.path()), out));
    assert_eq!((status, text.as_str()), (0, "3 good records\n0 damaged pieces\n"));
    damage_trial_1(store.path());
    let (status, text) = said(|out| verify(&folder(store.path()), out));
    assert_eq!(status, 1);
    assert!(text.starts_with("2 good records\n1 damaged piece\n  "), "{text}");
    assert!(text.contains(segment(store.path()).to_str().unwrap()));
    assert!(text.contains(&format!("byte {}, record {}", bounds(store.path())[1], key(1))));
}

fn table(store: &Path, format: TableFormat, out: &Path, model: Option<&str>) -> String {
    let (folder, out, model) = (store.into(), out.into(), model.map(String::from));
    let (status, text) = said(|said| export(&ExportArguments { folder, format, out, model }, said));
    assert_eq!(status, 0);
    text
}

/// One row as text, with the number's bits.
type Row = (Vec<String>, u64);

fn expected(record: &Record) -> Vec<Row> {
    let trial =
        serde_json::from_str::<serde_json::Value>(&record.identity).unwrap()["trial"].clone();
    let mut rows = Vec::new();
    let mut identity = record.identity.clone();
    let cells = record.outcome.cells.iter().enumerate();
    let cells = cells.map(|(cell, numbers)| (cell.to_string(), numbers));
    for (cell, numbers) in std::iter::once((String::new(), &record.outcome.trial)).chain(cells) {
        for (name, series) in numbers {
            for (index, value) in series.iter().enumerate() {
                let texts = [
                    record.key().to_string(),
                    "linear".into(),
                    "3".into(),
                    "faer".into(),
                    "7".into(),
                    trial.to_string(),
                    cell.clone(),
                    name.clone(),
                    index.to_string(),
                    // In the first row alone.
                    std::mem::take(&mut identity),
                ];
                rows.push((texts.to_vec(), value.to_bits()));
            }
        }
    }
    rows
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let text = |name: &str, row| {
        let column = batch.column_by_name(name).unwrap();
        if column.is_null(row) {
            return String::new();
        }
        match column.as_string_opt::<i32>() {
            Some(texts) => texts.value(row).to_string(),
            None => column.as_primitive::<UInt64Type>().value(row).to_string(),
        }
    };
    let names = [
        "key", "model", "version", "backend", "seed", "trial", "cell", "name", "index", "identity",
    ];
    let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    (0..batch.num_rows())
        .map(|row| {
            (names.iter().map(|name| text(name, row)).collect(), values.value(row).to_bits())
        })
        .collect()
}

#[test]
fn tables_hold_every_number() {
    let store = tempfile::tempdir().unwrap();
    let tables = tempfile::tempdir().unwrap();
    let (csv, arrow) = (tables.path().join("t.csv"), tables.path().join("t.arrow"));
    // More rows than one batch takes.
    let mut records: Vec<Record> = (0..5).map(record).collect();
    records[2].outcome.trial.insert("curve".into(), (0..70_000).map(f64::from).collect());
    records[3].outcome.trial.insert("odd".into(), vec![f64::NAN, f64::INFINITY, -0.0, 1e-300]);
    let opened = Store::open(store.path()).unwrap();
    for record in &records {
        opened.put(record).unwrap();
    }
    opened
        .put(&Record {
            identity: identity("other", 1, 0),
            code: "test".into(),
            outcome: record(0).outcome,
        })
        .unwrap();
    drop(opened);
    records.sort_by_key(Record::key);
    let expected: Vec<Row> = records.iter().flat_map(expected).collect();

    let text = table(store.path(), TableFormat::Arrow, &arrow, Some("linear"));
    assert_eq!(text, format!("5 records written to {}\n", arrow.display()));
    let reader = FileReader::try_new(File::open(&arrow).unwrap(), None).unwrap();
    let read: Vec<Row> = reader.flat_map(|batch| rows_of(&batch.unwrap())).collect();
    assert!(read == expected);

    table(store.path(), TableFormat::Csv, &csv, Some("linear"));
    let mut reader = csv::Reader::from_path(&csv).unwrap();
    let read: Vec<Row> = reader
        .records()
        .map(|line| {
            let mut texts: Vec<String> = line.unwrap().iter().map(String::from).collect();
            let value: f64 = texts.remove(9).parse().unwrap();
            (texts, value.to_bits())
        })
        .collect();
    assert!(read == expected);

    // The same table from other segments.
    let bytes = fs::read(&csv).unwrap();
    put(store.path(), 0..1);
    table(store.path(), TableFormat::Csv, &csv, Some("linear"));
    assert!(fs::read(&csv).unwrap() == bytes);
    let text = table(store.path(), TableFormat::Csv, &csv, None);
    assert!(text.starts_with("6 records"), "{text}");
    assert_eq!(fs::read_dir(tables.path()).unwrap().count(), 2);
}

#[test]
fn a_table_leaves_damage_out_and_says_so() {
    let store = tempfile::tempdir().unwrap();
    put(store.path(), 0..3);
    damage_trial_1(store.path());
    let out = store.path().with_extension("csv");
    let text = table(store.path(), TableFormat::Csv, &out, None);
    fs::remove_file(&out).unwrap();
    assert!(text.contains("2 records written"), "{text}");
    assert!(text.contains("1 damaged piece left out"), "{text}");
}

#[test]
fn a_table_that_cannot_be_written_leaves_the_former_file() {
    let store = tempfile::tempdir().unwrap();
    let tables = tempfile::tempdir().unwrap();
    put(store.path(), 0..1);
    let file = tables.path().join("former");
    fs::write(&file, "former").unwrap();
    for (out, model, reason) in [
        (file.clone(), Some("unknown"), "holds no record of model \"unknown\""),
        (tables.path().into(), None, "is not a file"),
        (tables.path().join("none/x"), None, "cannot be written: "),
    ] {
        for format in [TableFormat::Csv, TableFormat::Arrow] {
            let arguments = ExportArguments {
                folder: store.path().into(),
                format,
                out: out.clone(),
                model: model.map(String::from),
            };
            let line = export(&arguments, &mut Vec::new()).unwrap_err().to_string();
            assert!(line.contains(reason) && !line.contains('\n'), "{line}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "former");
    assert_eq!(fs::read_dir(tables.path()).unwrap().count(), 1);
}

struct Closed(ErrorKind);

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let store = tempfile::tempdir().unwrap();
    put(store.path(), 0..1);
    let folder = folder(store.path());
    assert_eq!(info(&folder, &mut Closed(ErrorKind::BrokenPipe)).unwrap(), 0);
    assert_eq!(verify(&folder, &mut Closed(ErrorKind::BrokenPipe)).unwrap(), 0);
    assert!(info(&folder, &mut Closed(ErrorKind::StorageFull)).is_err());
}
