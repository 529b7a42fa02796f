//! What the program leaves behind: whole files, of one run, and nothing else.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SMALL: [&str; 6] = ["figures", "--quick", "--trials", "1", "--only", "2"];

fn layerwise(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerwise"));
    command.current_dir(folder).stdin(Stdio::null()).args(SMALL).args(arguments);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    layerwise(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const FIGURE_2: [&str; 5] =
    ["claims.md", "figure2.csv", "figure2.json", "figure2.png", "figure2.svg"];

/// The schema that readers of `figureN.json` rely on.
fn check_claims(json: &Value) {
    let number = |value: &Value| value.is_null() || value.is_f64();
    for claim in json["claims"].as_array().unwrap() {
        assert!(claim["id"].is_string() && claim["text"].is_string(), "{claim}");
        assert!(["paper", "ours"].contains(&claim["whose"].as_str().unwrap()), "{claim}");
        assert!(claim["measured"].is_f64() && claim["threshold"].is_f64(), "{claim}");
        let [low, high] = claim["interval"].as_array().unwrap().as_slice() else {
            unreachable!("{claim}")
        };
        assert!(number(low) && number(high), "{claim}");
        let verdict = claim["verdict"].as_str().unwrap();
        assert!(["holds", "not reproduced", "undecided"].contains(&verdict), "{claim}");
    }
}

/// One run, and then what the same folder is good for.
#[test]
fn a_folder_holds_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), &["--out", "out"]);
    assert_eq!((first.status.code(), text(&first.stderr)), (Some(0), String::new()));
    let out = folder.path().join("out");
    assert_eq!(names(&out), FIGURE_2);

    // One trial bounds nothing: every verdict is open, and no number is made up.
    let json: Value =
        serde_json::from_str(&fs::read_to_string(out.join("figure2.json")).unwrap()).unwrap();
    check_claims(&json);
    let claims = json["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 7);
    assert!(claims.iter().all(|claim| claim["verdict"] == "undecided"), "{claims:?}");
    assert!(claims.iter().all(|claim| claim["interval"][1].is_null()), "{claims:?}");
    assert!(text(&first.stdout).contains("figure 2: 0 claims hold, 0 not reproduced, 7 undecided"));
    for name in ["figure2.svg", "figure2.csv", "claims.md"] {
        let content = fs::read_to_string(out.join(name)).unwrap();
        assert!(!content.contains("NaN"), "{name}");
    }
    assert!(fs::read(out.join("figure2.png")).unwrap().starts_with(b"\x89PNG"));

    // Other settings are refused, and leave every byte.
    let before: Vec<Vec<u8>> = FIGURE_2.iter().map(|n| fs::read(out.join(n)).unwrap()).collect();
    let other = run(folder.path(), &["--out", "out", "--seed", "2"]);
    assert_eq!(other.status.code(), Some(1));
    let line = text(&other.stderr);
    assert!(line.contains("holds figure2 of a run with other settings"), "{line}");
    assert!(line.contains("--fresh") && line.lines().count() == 1, "{line}");
    let after: Vec<Vec<u8>> = FIGURE_2.iter().map(|n| fs::read(out.join(n)).unwrap()).collect();
    assert!(before == after && names(&out) == FIGURE_2);

    // The same settings again, on a standard output that nobody reads: the same bytes.
    let mut child = layerwise(folder.path(), &["--out", "out", "--require-claims"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let closed = child.wait_with_output().unwrap();
    // Undecided is not "holds", so the status is that of a claim that failed; and no panic.
    assert_eq!((closed.status.code(), text(&closed.stderr)), (Some(3), String::new()));
    let again: Vec<Vec<u8>> = FIGURE_2.iter().map(|n| fs::read(out.join(n)).unwrap()).collect();
    assert!(before == again && names(&out) == FIGURE_2);

    // --fresh replaces, and what is not ours stays.
    fs::write(out.join("notes.txt"), "mine").unwrap();
    let stale = fs::read_to_string(out.join("figure2.json")).unwrap();
    let stale = stale.replace("\"figure2\"", "\"figure3\"");
    fs::write(out.join("figure3.json"), stale).unwrap();
    fs::write(out.join("data.json"), "[1, 2]").unwrap();
    let fresh = run(folder.path(), &["--out", "out", "--seed", "2", "--fresh"]);
    assert_eq!((fresh.status.code(), text(&fresh.stderr)), (Some(0), String::new()));
    let (claims, figure) = (FIGURE_2[0], &FIGURE_2[1..]);
    assert_eq!(names(&out), [&[claims, "data.json"], figure, &["notes.txt"]].concat());
    assert_ne!(fs::read(out.join("figure2.csv")).unwrap(), before[1]);
}

/// Pictures of other origin that lie in the folder are not the run's to remove.
#[test]
fn without_fresh_nothing_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mine = ["figure3.png", "figure4.csv", ".figure2.svg.tmp2"];
    mine.iter().for_each(|name| fs::write(folder.path().join(name), "mine").unwrap());
    let output = run(folder.path(), &["--out", "."]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    for name in mine {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "mine");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_no_files_and_keeps_its_trials() {
    let folder = tempfile::tempdir().unwrap();
    let long = ["figures", "--only", "2", "--trials", "50", "--out", "a/new/place"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_layerwise"))
        .current_dir(folder.path())
        .args(long)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The handler stands soon after the folder; the run itself takes minutes.
    while !folder.path().join("a/new/place").is_dir() {
        assert!(child.try_wait().unwrap().is_none(), "ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    // The shell's own `kill`: the program of that name is not everywhere.
    let kill = format!("kill -INT {}", child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let line = text(&output.stderr);
    assert!(line.starts_with("error: interrupted; ") && line.lines().count() == 1, "{line}");
    assert!(line.contains("the same command goes on from there"), "{line}");
    assert!(output.stdout.is_empty());
    assert_eq!(names(folder.path()), ["layerwise-store"]);
}
