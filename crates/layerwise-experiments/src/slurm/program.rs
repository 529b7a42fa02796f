//! Slurm's programs, and how they fail.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use crate::{ExperimentError, Result};

/// One of Slurm's programs, without the user's settings that would change what it does for us.
pub(super) fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    for (variable, _) in std::env::vars_os() {
        let unwanted = variable.as_encoded_bytes();
        // Filters of lists; an array's range for what is none; a wait that is ours.
        if [&b"SQUEUE_"[..], b"SACCT_", b"SBATCH_ARRAY_INX", b"SBATCH_WAIT"]
            .iter()
            .any(|prefix| unwanted.starts_with(prefix))
        {
            command.env_remove(variable);
        }
    }
    command.env_remove(crate::backend::RESTARTED).stdin(Stdio::null());
    command
}

/// What the program prints.
///
/// # Errors
/// [`ExperimentError::NoScheduler`] where it is not on the path; [`ExperimentError::Scheduler`] with its
/// last word where it fails.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => ExperimentError::NoScheduler(format!(
            "{name} is not on the PATH: run this where Slurm is installed (on Debian `apt-get \
             install slurm-wlm`), or start the shares yourself with --shard I/N"
        )),
        _ => ExperimentError::Scheduler(format!("{name} could not be started: {error}")),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let word = words.lines().map(str::trim).rfind(|line| !line.is_empty());
    let word = word.unwrap_or("it does not say why");
    Err(ExperimentError::Scheduler(format!("{name} failed: {word}")))
}
