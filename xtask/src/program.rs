//! Building the `layerwise` program and becoming it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::backend::{BackendOption, Feature};
use crate::process::{Failure, not_started};
use crate::{usage, workspace};

const PACKAGE: &str = "layerwise-experiments";
const PROGRAM: &str = "layerwise";

/// Runs `layerwise SUBCOMMAND ARGUMENTS…`, or without a subcommand of its own `layerwise ARGUMENTS…`, in the
/// user's folder, with its own status and signals.
pub(crate) fn run(subcommand: Option<&str>, arguments: &[OsString]) -> Result<(), Failure> {
    let command = format!("cargo xtask {}", subcommand.unwrap_or("layerwise"));
    let backend = BackendOption::among(&command, arguments).map_err(|error| usage(&error))?;
    let mut command = Command::new(build(backend.ensure()?)?);
    command.args(subcommand).args(arguments);
    become_program(&mut command)
}

/// Builds the program and returns where cargo says that it is.
fn build(feature: Feature) -> Result<PathBuf, Failure> {
    let mut command = workspace::cargo();
    command
        .args(["build", "--release", "--package", PACKAGE, "--bin", PROGRAM])
        .args(feature.cargo_flags())
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_started(&command, &error))?;
    let mut executable = None;
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines().map_while(Result::ok) {
            executable = executable_in(&line).or(executable);
        }
    }
    let status = child.wait().map_err(|error| not_started(&command, &error))?;
    if !status.success() {
        return Err(Failure::of_child(&command, status));
    }
    executable.ok_or_else(|| {
        Failure::new(format!("cargo built {PACKAGE} but named no program `{PROGRAM}`"))
    })
}

/// The path of the program in one of cargo's messages, if this is the message that has it.
fn executable_in(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == PROGRAM;
    message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
}

#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<(), Failure> {
    let error = std::os::unix::process::CommandExt::exec(command);
    Err(not_started(command, &error))
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<(), Failure> {
    crate::process::run(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"layerwise"},"executable":"/t/release/layerwise"}"#;
        assert_eq!(executable_in(line), Some(PathBuf::from("/t/release/layerwise")));
        let library =
            r#"{"reason":"compiler-artifact","target":{"name":"layerwise"},"executable":null}"#;
        assert_eq!(executable_in(library), None);
        let other =
            r#"{"reason":"compiler-artifact","target":{"name":"xtask"},"executable":"/t/xtask"}"#;
        assert_eq!(executable_in(other), None);
        assert_eq!(executable_in("not json"), None);
    }
}
