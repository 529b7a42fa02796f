//! `--on slurm`, on a Slurm that these tests start and stop.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a call that fails is a test that fails")]
#![cfg(unix)]

mod local;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use local::{Slurm, signal};

/// Fails where it is set and Slurm is not installed.
const REQUIRE: &str = "LAYERWISE_REQUIRE_SLURM";

const TASKS: u64 = 4;

/// Trials of a second or so each, of which every task has five.
const EXPERIMENT: &str = r#"
title = "A small experiment"
caption = "Subspace distance of two methods."
model = "linear"
trials = { shown = 18, tuning = 2 }
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
iterations = 8000
recorded = 10

[[setting]]
name = "features anywhere"
task = { features = "haar" }

[[method]]
name = "SGD"
tune = { learning_rate = { log10 = [-3, 0], points = 4 } }
use = { optimizer = { Sgd = {} } }

[[method]]
name = "Adam"
tune = { learning_rate = { log10 = [-3, 0], points = 4 } }
use = { optimizer = { Adam = {} } }

[[panel]]
x = "iteration"
y = "subspace_distance"

[table]
rows = "iterations"
columns = ["setting", "method", "rate", "trial", "iteration", "subspace_distance"]

[[claim]]
id = "smaller"
text = "Adam's distance is the smaller one"
difference = [
  { method = "SGD", end = "subspace_distance" },
  { method = "Adam", end = "subspace_distance" },
]
at_least = 0
"#;

/// Names that a shell, Slurm's lines and its patterns of names would all take apart.
const FILE: &str = "it's a \"small\" $(exit 7) %j.toml";
const PLACE: &str = "a 'place'\n#SBATCH --no-such-option\n%A `x`";

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_layerwise")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

/// A run on the cluster that waits for its jobs.
struct Waiting {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    said: String,
}

impl Waiting {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers, said: String::new() }
    }

    /// The number in the next line, which names a job.
    fn job(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        self.said.push_str(&line);
        let number = line.strip_prefix("job ").and_then(|rest| rest.split(':').next());
        number.unwrap_or_else(|| panic!("{line:?}{}", self.errors())).to_owned()
    }

    fn errors(&mut self) -> String {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        errors
    }

    fn end(mut self) -> (Option<i32>, String, String) {
        self.answers.read_to_string(&mut self.said).unwrap();
        let errors = self.errors();
        (self.child.wait().unwrap().code(), self.said, errors)
    }
}

#[test]
fn without_slurm_a_run_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), EXPERIMENT).unwrap();
    let output = Command::new(program())
        .current_dir(folder.path())
        .env("PATH", folder.path())
        .args(["run", "small.toml", "--on", "slurm"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = text(&output.stderr);
    assert!(
        line.starts_with("error: sbatch is not on the PATH") && line.contains("--shard"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn options_of_a_cluster_need_one() {
    for arguments in [
        &["--tasks", "3"][..],
        &["--wait"],
        &["--on", "slurm", "--threads", "2"],
        &["--on", "slurm", "--shard", "1/2"],
        &["--on", "slurm", "--tasks", "0"],
        &["--on", "slurm", "--mem", ""],
        &["--on", "pbs"],
        &["--no-compute", "--shard", "1/2"],
    ] {
        let output = Command::new(program()).args(["run", "figure3"]).args(arguments).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{arguments:?}");
    }
}

/// One Slurm for all of it: the tasks of a run are killed, requeued, and completed; another run is
/// cancelled; a third has nothing to compute.
#[test]
fn runs_on_a_cluster_are_those_on_one_machine() {
    if let Some(program) = Slurm::missing() {
        assert!(std::env::var_os(REQUIRE).is_none(), "{REQUIRE} is set, and {program} is missing");
        eprintln!("left out: {program} of Slurm is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(PLACE);
    fs::create_dir(&place).unwrap();
    fs::write(place.join(FILE), EXPERIMENT).unwrap();
    let mut slurm = Slurm::start();

    on_the_cluster(&mut slurm, &place);
    let local =
        run(&slurm, &place, &["--store", "local", "--out", "on one machine", "--threads", "2"]);
    assert_eq!((local.status.code(), text(&local.stderr)), (Some(0), String::new()));
    let (here, there) =
        (files(&place.join("on one machine")), files(&place.join("on the cluster")));
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    assert_eq!(here.len(), 5);
    for (name, bytes) in &here {
        assert!(*bytes == there[name], "{name} is another one");
    }

    nothing_is_missing(&slurm, &place);
    some_is_missing(&slurm, &place);
    cancelled(&slurm, &place);
    refused(&slurm, &place);
}

fn command(slurm: &Slurm, place: &Path, arguments: &[&str]) -> Command {
    let mut command = slurm.command(program());
    command.current_dir(place).args(["run", FILE]).args(arguments);
    command
}

fn run(slurm: &Slurm, place: &Path, arguments: &[&str]) -> Output {
    command(slurm, place, arguments).output().unwrap()
}

const ON_THE_CLUSTER: [&str; 9] =
    ["--on", "slurm", "--tasks", "4", "--wait", "--store", "the store", "--out", "on the cluster"];

/// A task is killed as it runs, and requeued; `--wait` sees all of it through to the end.
fn on_the_cluster(slurm: &mut Slurm, place: &Path) {
    let mut waiting = Waiting::start(&mut command(slurm, place, &ON_THE_CLUSTER));
    let (array, render) = (waiting.job(), waiting.job());
    // What is edited from now on is another experiment's.
    fs::write(place.join(FILE), EXPERIMENT.replace("8000", "10")).unwrap();
    let task = format!("{array}_2");
    let mut process = None;
    slurm.until("a task runs", |slurm| {
        process = process.or_else(|| slurm.process_of(&task));
        process.is_some()
            && local::holds_something(&place.join("the store").join("records"))
            && slurm.state(&task) == "RUNNING"
    });
    signal(process.unwrap(), "KILL");
    slurm.until("the task has failed", |slurm| slurm.state(&task) == "FAILED");
    slurm.tell("scontrol", &["requeue", &task]);
    let (status, said, errors) = waiting.end();
    fs::write(place.join(FILE), EXPERIMENT).unwrap();
    assert_eq!((status, errors), (Some(0), String::new()), "{said}{}", logs(place));
    assert!(said.contains("4 tasks for 20 missing trials"), "{said}");
    assert!(said.ends_with("all jobs are completed\n"), "{said}");
    for task in (1..=TASKS).map(|task| format!("{array}_{task}")).chain([render]) {
        assert_eq!(slurm.state(&task), "COMPLETED", "{task}");
    }
    let restarts = slurm.tell("scontrol", &["-o", "show", "job", &task]);
    assert!(restarts.contains("Restarts=1"), "{restarts}");
}

/// What the jobs of the runs said.
fn logs(place: &Path) -> String {
    let folder = place.join("the store/slurm").join(FILE.trim_end_matches(".toml"));
    let logs = files_with(&folder, "log");
    logs.iter().map(|(name, bytes)| format!("\n---- {name}\n{}", text(bytes))).collect()
}

fn files_with(folder: &Path, extension: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}

fn nothing_is_missing(slurm: &Slurm, place: &Path) {
    let before = files(&place.join("on the cluster"));
    let output = run(slurm, place, &ON_THE_CLUSTER);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let said = text(&output.stdout);
    assert!(
        said.starts_with("nothing is missing\njob ") && said.matches("job ").count() == 1,
        "{said}"
    );
    assert!(before == files(&place.join("on the cluster")));
}

/// Two more trials are two tasks, and `--no-compute` says that they are missing.
fn some_is_missing(slurm: &Slurm, place: &Path) {
    let more = ["--trials", "20", "--store", "the store", "--out", "more"];
    let output = run(slurm, place, &[&more[..], &["--no-compute"]].concat());
    let line = text(&output.stderr);
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("2 trials of 22, which are missing in the store"), "{line}");
    assert!(!place.join("more").exists());
    let output = run(slurm, place, &[&more[..], &["--on", "slurm", "--wait", "--time=5"]].concat());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let said = text(&output.stdout);
    assert!(said.contains("2 tasks for 2 missing trials"), "{said}");
    assert_eq!(files(&place.join("more")).len(), 5);
}

fn cancelled(slurm: &Slurm, place: &Path) {
    let other = [
        "--on",
        "slurm",
        "--tasks",
        "2",
        "--wait",
        "--seed",
        "7",
        "--store",
        "the store",
        "--out",
        "no",
    ];
    let mut waiting = Waiting::start(&mut command(slurm, place, &other));
    let (array, render) = (waiting.job(), waiting.job());
    slurm.tell("scancel", &[&array]);
    let (status, said, errors) = waiting.end();
    assert_eq!(status, Some(1), "{said}{errors}");
    let expected = [
        format!("error: job {array}_1 is not completed: CANCELLED ("),
        format!("error: job {array}_2 is not completed: CANCELLED ("),
        format!("error: job {render} is not completed: FAILED (NonZeroExitCode)"),
    ];
    assert_eq!(errors.lines().count(), expected.len(), "{errors}");
    for (line, expected) in errors.lines().zip(&expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(!said.contains("completed"), "{said}");
    // The render job's own word.
    assert!(logs(place).contains("without --no-compute they are computed"), "{}", logs(place));
}

/// What Slurm refuses is told in its words, on one line.
fn refused(slurm: &Slurm, place: &Path) {
    let output = run(
        slurm,
        place,
        &[
            "--on",
            "slurm",
            "--seed",
            "8",
            "--store",
            "the store",
            "--out",
            "no",
            "--partition",
            "none such",
        ],
    );
    let line = text(&output.stderr);
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.starts_with("error: sbatch failed: ") && line.contains("partition"), "{line}");
}
