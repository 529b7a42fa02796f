//! Several writers, writers that are killed, and disks that are full.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use layerwise_experiments::store::{Fault, Store, StoreFolder, prune};

use crate::{get, key, put, record, segment, segments};

const STORE: &str = "LAYERWISE_TEST_STORE";
const TASK: &str = "LAYERWISE_TEST_TASK";
/// What a child says before each trial that it has put; the test harness writes lines of its own.
const DONE: &str = "done ";

/// This program again, to do a task with a store.
fn command(program: &Path, arguments: &[&str], store: &Path, task: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["--exact", "processes::child", "--nocapture"])
        .env(STORE, store)
        .env(TASK, task);
    command
}

fn spawn(store: &Path, task: &str) -> Child {
    command(&std::env::current_exe().unwrap(), &[], store, task)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does nothing, unless a test starts this program anew for it.
#[test]
fn child() {
    let (Some(store), Ok(task)) = (std::env::var_os(STORE), std::env::var(TASK)) else { return };
    let path = Path::new(&store);
    let (task, number) = task.split_once(' ').unwrap();
    let number: u64 = number.parse().unwrap();
    match task {
        "put" => put(path, number..number + 200),
        "put-for-ever" => put_for_ever(path, number),
        "prune-for-ever" => prune_for_ever(path, number),
        "fill" => fill(path, number),
        other => panic!("{other}"),
    }
}

/// Says of each trial that it is stored, as soon as it is.
fn put_for_ever(path: &Path, threads: u64) {
    let store = Store::open(path).unwrap();
    thread::scope(|scope| {
        for first in 0..threads {
            let store = &store;
            scope.spawn(move || {
                for trial in (first..).step_by(usize::try_from(threads).unwrap()) {
                    store.put(&record(trial)).unwrap();
                    // One call, so that lines of several threads stay whole.
                    let line = format!("\n{DONE}{trial}\n");
                    if std::io::stdout().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn a_killed_writer_loses_at_most_what_it_was_writing() {
    for (round, lines) in [1, 2, 5, 11, 40, 63, 64, 65, 130, 200, 300, 500].into_iter().enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let threads = if round % 2 == 0 { 1 } else { 4 };
        let mut child = spawn(folder.path(), &format!("put-for-ever {threads}"));
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        for _ in 0..3 * lines {
            output.read_line(&mut said).unwrap();
        }
        // Somewhere in the next records.
        thread::sleep(Duration::from_micros(137 * round as u64));
        child.kill().unwrap();
        output.read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        let done: Vec<u64> = said
            .lines()
            .filter_map(|line| line.strip_prefix(DONE))
            .filter_map(|trial| trial.parse().ok())
            .collect();
        assert!(!done.is_empty());
        // The last line may be cut within its number.
        let done = &done[..done.len() - usize::from(!said.ends_with('\n'))];
        let store = Store::open_existing(folder.path()).unwrap();
        for &trial in done {
            assert_eq!(get(&store, trial), Some(record(trial)), "{trial}");
        }
        let damage = store.damage();
        assert!(damage.len() <= 1 && damage.iter().all(|d| d.fault == Fault::Torn), "{damage:?}");
        // And it goes on.
        store.put(&record(1 << 40)).unwrap();
        assert_eq!(segments(folder.path()).len(), 2);
    }
}

#[test]
fn processes_write_to_one_store_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let children = [0, 100, 200].map(|first| spawn(folder.path(), &format!("put {first}")));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::open_existing(folder.path()).unwrap();
    assert_eq!(store.len(), 400);
    assert!((0..400).all(|trial| get(&store, trial) == Some(record(trial))));
    assert_eq!(store.damage(), []);
    assert_eq!(segments(folder.path()).len(), 3);
}

#[test]
fn what_others_put_is_seen_after_a_refresh() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap());
    here.put(&record(1)).unwrap();
    there.put(&record(2)).unwrap();
    assert_eq!(get(&there, 1), None);
    there.refresh().unwrap();
    assert_eq!(get(&there, 1), Some(record(1)));
    assert_eq!(get(&there, 2), Some(record(2)));
}

#[test]
fn what_a_living_writer_has_begun_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Store::open(folder.path()).unwrap();
    writer.put(&record(1)).unwrap();
    let path = segment(folder.path());
    let frame = fs::read(&path).unwrap();
    for begun in [1, 7, 8, 63, 64, 65, frame.len() - 1] {
        let bytes = [&frame, &frame[..begun]].concat();
        fs::write(&path, bytes).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.damage(), [], "{begun}");
        assert_eq!(store.len(), 1);
    }
    drop(writer);
    let [torn] = Store::open(folder.path()).unwrap().damage().try_into().unwrap();
    assert_eq!((torn.fault, torn.offset), (Fault::Torn, frame.len() as u64));
}

/// Puts records of about 4 KB until the file may not grow, sees that nothing is lost, and goes on.
fn fill(path: &Path, rounds: u64) {
    let store = Store::open(path).unwrap();
    let large = |trial| {
        let mut large = record(trial);
        large.outcome.trial.insert("large".into(), vec![trial as f64; 500]);
        large
    };
    let mut stored = Vec::new();
    for trial in 0..rounds {
        match store.put(&large(trial)) {
            Ok(()) => stored.push(trial),
            Err(e) => {
                let line = e.to_string();
                assert!(line.contains("cannot be written to: ") && !line.contains('\n'), "{line}");
                assert!(line.starts_with(path.to_str().unwrap()), "{line}");
                assert_eq!(store.get(&key(trial)).unwrap(), None);
            }
        }
    }
    let failed = rounds - stored.len() as u64;
    assert!(failed > 2, "{failed}");
    for store in [&store, &Store::open(path).unwrap()] {
        assert_eq!(store.damage(), []);
        assert_eq!(store.len(), stored.len());
        assert!(stored.iter().all(|&trial| get(store, trial) == Some(large(trial))));
    }
    assert_eq!(segments(path).len() as u64, failed + 1);
    let mut too_large = record(rounds);
    too_large.outcome.trial.insert("large".into(), vec![0.0; 100_000]);
    // After the first the segment is new, and goes again.
    for _ in 0..2 {
        store.put(&too_large).unwrap_err();
        assert_eq!(segments(path).len() as u64, failed + 1);
    }
    println!("\n{DONE}{failed}");
}

#[cfg(unix)]
#[test]
fn a_put_that_fails_half_way_leaves_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    // At most 64 blocks a file; the signal for it is ignored, so that the write fails. A record is cut.
    let script = r#"trap "" XFSZ; ulimit -f 64; exec "$0" "$@""#;
    let arguments = ["-c", script, program.to_str().unwrap()];
    let output = command(Path::new("sh"), &arguments, folder.path(), "fill 100").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(DONE), "{said}");
}

#[test]
fn a_put_may_be_tried_again_once_the_cause_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let records = folder.path().join("records");
    fs::write(&records, "in the way").unwrap();
    for _ in 0..2 {
        let line = store.put(&record(1)).unwrap_err().to_string();
        assert!(line.contains("cannot be written to: ") && !line.contains('\n'), "{line}");
        assert!(!store.contains(&key(1)));
    }
    let line = Store::open(folder.path()).unwrap_err().to_string();
    assert!(line.contains("cannot be read: "), "{line}");
    fs::remove_file(&records).unwrap();
    store.put(&record(1)).unwrap();
    assert_eq!(get(&store, 1), Some(record(1)));
}

/// Makes duplicates and prunes them, for as long as it lives.
fn prune_for_ever(path: &Path, trials: u64) {
    let folder = StoreFolder { folder: path.into() };
    for round in 0.. {
        put(path, (0..trials).filter(|trial| trial % 3 == round % 3));
        println!("\n{DONE}{round}");
        prune(&folder, |_| Some(3), &mut std::io::sink()).unwrap();
    }
}

#[test]
fn pruning_that_is_killed_loses_nothing() {
    const TRIALS: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), 0..TRIALS);
    for round in 0..12 {
        let mut child = spawn(folder.path(), &format!("prune-for-ever {TRIALS}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pruning = |line: &String| line.starts_with(DONE);
        lines.by_ref().map(Result::unwrap).find(pruning).unwrap();
        thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open_existing(folder.path()).unwrap();
        assert!((0..TRIALS).all(|trial| get(&store, trial) == Some(record(trial))), "{round}");
    }
    prune(&StoreFolder { folder: folder.path().into() }, |_| None, &mut std::io::sink()).unwrap();
    assert_eq!(segments(folder.path()).len(), 1);
}
