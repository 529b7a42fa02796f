//! Everything that must pass.

use std::process::Command;
use std::time::Instant;

use crate::downstream;
use crate::openblas::{self, Backend};
use crate::process::{Failure, capture, describe, run as run_command, say};
use crate::workspace;

type Check = fn(Backend) -> Result<(), Failure>;

const CHECKS: [(&str, Check); 8] = [
    ("format", format),
    ("lints", lints),
    ("types with openblas-static", types_with_static_backend),
    ("no backend is refused", no_backend_is_refused),
    ("tests", tests),
    ("statements", statements),
    ("documentation", documentation),
    ("downstream programs", downstream::run),
];

/// Runs all checks in order, up to the first that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let start = Instant::now();
    let backend = openblas::ensure()?;
    for (number, (name, check)) in CHECKS.iter().enumerate() {
        let position = format!("{} of {}", number + 1, CHECKS.len());
        say(&format!("\n==== {position}: {name} ===="));
        check(backend).map_err(|failure| Failure {
            message: format!("xtask test: {name} ({position}): {}", failure.message),
            ..failure
        })?;
    }
    let seconds = start.elapsed().as_secs();
    say(&format!("\nxtask test: all {} checks passed in {seconds} s", CHECKS.len()));
    Ok(())
}

fn format(_backend: Backend) -> Result<(), Failure> {
    run_command(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    let downstream = workspace::root().join("xtask").join("downstream").join("Cargo.toml");
    let mut command = workspace::cargo();
    run_command(command.args(["fmt", "--check", "--manifest-path"]).arg(downstream))
}

fn lints(backend: Backend) -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["clippy", "--workspace", "--all-targets"]).args(backend.cargo_flags());
    run_command(command.args(["--", "-D", "warnings"]))
}

/// Both backends are on here: openblas-src then looks for the system's and downloads nothing,
/// and what is there for `openblas-static` is compiled nevertheless.
fn types_with_static_backend(_backend: Backend) -> Result<(), Failure> {
    run_command(workspace::cargo().args(["check", "--workspace", "--features", "openblas-static"]))
}

/// Without a backend the build must end with the error that says what to choose.
fn no_backend_is_refused(_backend: Backend) -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["check", "--quiet", "--color", "never"]);
    command.args(["--package", "layerwise-optim", "--no-default-features"]);
    let output = capture(&mut command)?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && names_both_backends(&messages) {
        return Ok(());
    }
    say(&messages);
    Err(Failure::new(format!(
        "`{}` ended with {}, but must fail with an error that names openblas-system and \
         openblas-static",
        describe(&command),
        output.status
    )))
}

fn names_both_backends(messages: &str) -> bool {
    messages.lines().any(|line| {
        line.starts_with("error: ")
            && ["openblas-system", "openblas-static"].iter().all(|name| line.contains(name))
    })
}

fn tests(backend: Backend) -> Result<(), Failure> {
    run_command(workspace::cargo().args(["test", "--workspace"]).args(backend.cargo_flags()))
}

/// Every statement must hold, at the sizes of a quick run.
fn statements(backend: Backend) -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--package", "layerwise-experiments", "--bin", "layerwise"]);
    command.args(backend.cargo_flags()).args(["--", "theorems", "--quick", "--fresh", "--out"]);
    run_command(command.arg(workspace::target_directory()?.join("theorems")))
}

fn documentation(backend: Backend) -> Result<(), Failure> {
    let mut command: Command = workspace::cargo();
    command.args(["doc", "--workspace", "--no-deps"]).args(backend.cargo_flags());
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::names_both_backends;

    #[test]
    fn the_error_must_name_both_backends_on_its_line() {
        assert!(names_both_backends(
            "warning: x\nerror: choose a feature: openblas-system or openblas-static\n --> lib.rs"
        ));
        assert!(!names_both_backends("error: openblas-system\nerror: openblas-static"));
        assert!(!names_both_backends("note: openblas-system or openblas-static"));
        assert!(!names_both_backends(""));
    }
}
