//! Runs that are killed, interrupted, or left without room: what is kept is whole, and the next run goes on
//! from there to the very bytes of a run that nothing disturbed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a call that fails is a test that fails")]
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use layerwise_data::Streams;
use layerwise_experiments::store::Store;
use rand::Rng;

/// Trials of some milliseconds each.
const EXPERIMENT: &str = r#"
title = "A small experiment"
caption = "Subspace distance of two methods."
model = "linear"
trials = { shown = 60, tuning = 4 }
tune_by = "excess_training_loss"

[task]
inputs = 10
outputs = 5
rank = 2
spectrum = { power_law = { exponent = 1 } }
basis = "haar"
law = "gaussian"
head_condition = 2
noise = 0.5
samples = 64
iterations = 200
recorded = 10

[[setting]]
name = "features anywhere"
task = { features = "haar" }

[[method]]
name = "SGD"
tune = { learning_rate = { log10 = [-3, 0], points = 4 } }
use = { optimizer = { Sgd = {} } }

[[method]]
name = "KFAC"
tune = { learning_rate = { log10 = [-3, 0], points = 4 } }
[method.use.optimizer.OneSidedKfac]
damping = 1e-6
root = "Cholesky"
averaging = "None"
refresh = { every = 1 }
momentum = "none"
partition = {}

[[panel]]
x = "iteration"
y = "subspace_distance"

[table]
rows = "iterations"
columns = ["setting", "method", "rate", "trial", "iteration", "subspace_distance"]

[[claim]]
id = "smaller"
text = "KFAC's distance is the smaller one"
difference = [
  { method = "SGD", end = "subspace_distance" },
  { method = "KFAC", end = "subspace_distance" },
]
at_least = 0
"#;

/// A trial of a method is a record.
const RECORDS: usize = 2 * 64;

const RUN: [&str; 8] = ["run", "small.toml", "--store", "S", "--out", "O", "--threads", "2"];

const OUTPUTS: [&str; 5] = ["claims.md", "small.csv", "small.json", "small.png", "small.svg"];

type Files = BTreeMap<String, Vec<u8>>;

/// A folder with the experiment.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), EXPERIMENT).unwrap();
    folder
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerwise"));
    command.current_dir(folder).args(RUN).stdin(Stdio::null());
    command
}

fn start(folder: &Path) -> Child {
    command(folder).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The files that are in a folder under their own names; what is beside them begins with a dot.
fn files(folder: &Path) -> Files {
    let Ok(entries) = fs::read_dir(folder) else { return Files::new() };
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

/// Runs to the end, and returns all that is written.
fn complete(folder: &Path) -> Files {
    let output = command(folder).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let files = files(&folder.join("O"));
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), OUTPUTS);
    files
}

/// What an undisturbed run writes.
fn undisturbed() -> Files {
    complete(folder().path())
}

/// The number of records in the store, each of which is read and found whole.
fn records(folder: &Path) -> usize {
    let path = folder.join("S");
    if !path.join("layerwise-store.json").exists() {
        return 0;
    }
    let store = Store::open_existing(&path).unwrap();
    for key in store.keys() {
        assert!(store.get(&key).unwrap().is_some(), "{key} is damaged");
    }
    store.len()
}

fn same(found: &Files, expected: &Files) {
    for (name, bytes) in expected {
        assert!(found.get(name) == Some(bytes), "{name} is another one");
    }
    assert_eq!(found.len(), expected.len());
}

/// A process that has ended, by itself or by a signal.
#[derive(PartialEq)]
enum End {
    Itself,
    Killed,
}

fn kill(mut child: Child) -> End {
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.signal() {
        Some(9) => End::Killed,
        _ => {
            assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
            End::Itself
        }
    }
}

/// Waits until there are so many records.
fn until_there_are(count: usize, child: &mut Child, folder: &Path) {
    while records(folder) < count {
        assert!(child.try_wait().unwrap().is_none(), "ended by itself");
        sleep(Duration::from_millis(1));
    }
}

/// Waits until the run has begun to write its results.
fn until_it_writes(child: &mut Child, folder: &Path) {
    let out = folder.join("O");
    let writes = || {
        fs::read_dir(&out).is_ok_and(|mut entries| {
            entries.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".small"))
        })
    };
    while child.try_wait().unwrap().is_none() && !writes() {
        sleep(Duration::from_micros(200));
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_loses_nothing() {
    const KILLS: usize = 60;
    let expected = undisturbed();
    let timed = folder();
    let begin = Instant::now();
    complete(timed.path());
    let whole = begin.elapsed();

    let mut random = Streams::new(20_250_202).stream("kills", "moments", 0);
    let (mut kills, mut while_writing, mut ends) = (0, 0, 0);
    let mut seen_before = [0; 4];
    let mut at = folder();
    let mut before = 0;
    while kills < KILLS {
        let mut child = start(at.path());
        // Chance alone would seldom meet the instant in which results are written.
        let writing = before > RECORDS / 2 && random.random_bool(0.5);
        if writing {
            until_it_writes(&mut child, at.path());
            sleep(Duration::from_micros(random.random_range(0..8000)));
        } else {
            sleep(whole.mul_f64(random.random_range(0.0..0.2)));
        }
        let end = kill(child);
        let now = records(at.path());
        assert!(now >= before, "{before} records have become {now}");
        before = now;
        let found = files(&at.path().join("O"));
        for (name, bytes) in &found {
            assert!(expected.get(name) == Some(bytes), "{name} is not whole");
        }
        match end {
            End::Killed => {
                kills += 1;
                while_writing += usize::from(writing);
                seen_before[(4 * now / (RECORDS + 1)).min(3)] += 1;
            }
            End::Itself => {
                same(&found, &expected);
                ends += 1;
                // From the start again, so that kills meet all of a run.
                (at, before) = (folder(), 0);
            }
        }
    }
    same(&complete(at.path()), &expected);
    assert_eq!(records(at.path()), RECORDS);
    eprintln!(
        "{kills} kills in runs of {whole:?}, by quarters of the records that were there: \
         {seen_before:?}; {while_writing} as results were written; {ends} runs came to their end"
    );
    assert!(seen_before.iter().all(|kills| *kills > 0) && while_writing > 0);
}

#[test]
fn an_interrupted_run_says_what_it_keeps_and_is_gone_on_with() {
    let expected = undisturbed();
    let at = folder();
    let mut child = start(at.path());
    until_there_are(4, &mut child, at.path());
    // The shell's own `kill`: the program of that name is not everywhere.
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let kept = records(at.path());
    assert!((4..RECORDS).contains(&kept), "{kept}");
    assert_eq!(
        text(&output.stderr),
        format!(
            "error: interrupted; {kept} more results are kept in S: the same command goes on from there\n"
        )
    );
    assert_eq!(files(&at.path().join("O")), Files::new());
    same(&complete(at.path()), &expected);
}

/// One line, of a failure.
fn failed(output: &Output) -> String {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "{line:?}");
    line
}

/// The system lets no file grow beyond a length: that is to a program as a disk that is full.
#[test]
fn a_run_without_room_says_so_and_is_gone_on_with() {
    let expected = undisturbed();
    let at = folder();
    let mut before = 0;
    // Blocks of 512 bytes, up to where a good part of the records fits.
    for blocks in [8, 40, 100, 140] {
        // Ignored, the signal becomes an error.
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .current_dir(at.path())
            .args(["-c", &limited, env!("CARGO_BIN_EXE_layerwise")])
            .args(RUN)
            .output()
            .unwrap();
        let line = failed(&output);
        assert!(line.contains("File too large"), "{line}");
        let now = records(at.path());
        assert!(now >= before, "{before} records have become {now}");
        before = now;
        assert_eq!(files(&at.path().join("O")), Files::new());
    }
    assert!(before > 0);
    same(&complete(at.path()), &expected);
}

/// The folder of the results, or of the records, cannot be written to any more.
#[test]
fn a_run_that_loses_its_permission_says_so_and_is_gone_on_with() {
    /// Somebody who is not root, whom permissions do not concern.
    const NOBODY: u32 = 65_534;
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let as_user = |command: &mut Command| {
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
    };
    let expected = undisturbed();
    let at = folder();
    if is_root {
        std::os::unix::fs::chown(at.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let mut probe = Command::new(env!("CARGO_BIN_EXE_layerwise"));
        as_user(probe.arg("--version").stdout(Stdio::null()));
        if !probe.status().is_ok_and(|status| status.success()) {
            eprintln!("left out: the program cannot be run by another user than root");
            return;
        }
    }
    let start = |folder: &Path| {
        let mut command = command(folder);
        as_user(&mut command);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let forbid = |name: &str, mode: u32| {
        fs::set_permissions(at.path().join(name), Permissions::from_mode(mode)).unwrap();
    };

    let mut child = start(at.path());
    until_there_are(4, &mut child, at.path());
    assert!(kill(child) == End::Killed);
    let kept = records(at.path());
    forbid("S/records", 0o555);
    let line = failed(&start(at.path()).wait_with_output().unwrap());
    assert!(
        line.starts_with("error: S/records: cannot be written to: Permission denied"),
        "{line}"
    );
    forbid("S/records", 0o755);
    assert_eq!(records(at.path()), kept);

    let mut child = start(at.path());
    until_there_are(kept + 4, &mut child, at.path());
    forbid("O", 0o555);
    let line = failed(&child.wait_with_output().unwrap());
    assert!(line.starts_with("error: O/") && line.contains("Permission denied"), "{line}");
    assert_eq!(files(&at.path().join("O")), Files::new());
    forbid("O", 0o755);
    assert_eq!(records(at.path()), RECORDS);

    let output = start(at.path()).wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    same(&files(&at.path().join("O")), &expected);
}
