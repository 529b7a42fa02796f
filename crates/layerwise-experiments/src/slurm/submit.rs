//! What is submitted.

use std::path::Path;
use std::process::Command;

use crate::{ExperimentError, Result};

use super::script::Scripts;
use super::{ClusterOptions, program};

/// The jobs of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jobs {
    /// Runs the trials; none where none is missing.
    pub(super) array: Option<u64>,
    /// Writes the results.
    pub(super) render: u64,
}

impl Jobs {
    /// As Slurm's programs read them.
    pub(super) fn listed(self) -> String {
        match self.array {
            Some(array) => format!("{array},{}", self.render),
            None => self.render.to_string(),
        }
    }
}

/// Sees that Slurm's programs are there, before anything is written.
pub(super) fn look_for_slurm() -> Result<()> {
    program::output(program::command("sbatch").arg("--version")).map(drop)
}

/// Submits the array, if there is anything to run, and behind it the job that writes the results.
pub(super) fn submit(scripts: &Scripts, options: &ClusterOptions, tasks: u64) -> Result<Jobs> {
    let array = match tasks {
        0 => None,
        _ => {
            let mut command = sbatch(scripts, options);
            command.arg(format!("--array=1-{tasks}")).arg(log(scripts, "task-%A_%a.log")?);
            command.arg(format!("--cpus-per-task={}", options.cpus.unwrap_or(1)));
            Some(submitted(&mut command, &scripts.task)?)
        }
    };
    let mut command = sbatch(scripts, options);
    command.arg(log(scripts, "render-%j.log")?).arg("--cpus-per-task=1");
    if let Some(array) = array {
        // Whatever becomes of the tasks: this job says what is missing.
        command.arg(format!("--dependency=afterany:{array}"));
    }
    let render = submitted(&mut command, &scripts.render).map_err(|error| match array {
        Some(array) => ExperimentError::Scheduler(format!(
            "{error}; job {array} runs the trials, and no job writes the results: the same command \
             does that once the trials are there"
        )),
        None => error,
    })?;
    Ok(Jobs { array, render })
}

/// What both have in common.
fn sbatch(scripts: &Scripts, options: &ClusterOptions) -> Command {
    let mut command = program::command("sbatch");
    // A task that starts anew writes behind what it wrote before.
    command.args(["--parsable", "--requeue", "--ntasks=1", "--open-mode=append"]);
    command.arg(format!("--job-name={}", scripts.name));
    let passed_on = [
        ("partition", &options.partition),
        ("account", &options.account),
        ("time", &options.time),
        ("mem", &options.mem),
    ];
    for (name, value) in passed_on {
        if let Some(value) = value {
            command.arg(format!("--{name}={value}"));
        }
    }
    command
}

/// The option that names a log, in which Slurm replaces what begins with a per cent.
fn log(scripts: &Scripts, name: &str) -> Result<String> {
    let folder = scripts.folder.to_str().filter(|folder| !folder.contains('\\'));
    let folder = folder.ok_or_else(|| ExperimentError::Store {
        path: scripts.folder.clone(),
        reason: "cannot be named to Slurm, which reads UTF-8 without backslashes; choose another --store"
            .into(),
    })?;
    Ok(format!("--output={}/{name}", folder.replace('%', "%%")))
}

fn submitted(command: &mut Command, script: &Path) -> Result<u64> {
    let answer = program::output(command.arg(script))?;
    // A cluster's name may follow the number.
    let number = answer.trim().split(';').next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        ExperimentError::Scheduler(format!("sbatch named no job, but said {:?}", answer.trim()))
    })
}
