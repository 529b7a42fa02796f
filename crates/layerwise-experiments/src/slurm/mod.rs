//! `--on slurm`: what is missing of experiments is run as an array of jobs, and a job behind it writes the
//! results.

mod answer;
mod program;
mod script;
mod submit;
mod watch;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::Result;
use crate::arguments::{parse_threads, whole_number};
use crate::cli::complain;
use crate::experiment::Experiment;
use crate::output::OutputFolder;
use crate::record::RunInfo;
use crate::run_cli::RunOptions;
use crate::runner::{Share, Work};
use crate::status::{FAILURE, SUCCESS, say_on};
use crate::store::Store;

use script::Scripts;

/// Where trials are run, if not by the program that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scheduler {
    /// The Slurm Workload Manager.
    Slurm,
}

/// The options of a run on a cluster.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterOptions {
    /// Run what is missing as jobs of a cluster, and write the results in a job behind them
    #[arg(long, value_name = "SCHEDULER", value_enum,
        conflicts_with_all = ["dry_run", "shard", "no_compute", "threads"])]
    pub on: Option<Scheduler>,
    /// Tasks of the array, 1 to 100000, no more than there are missing trials [default: 16]
    #[arg(long, value_name = "N", requires = "on", value_parser = parse_tasks,
        allow_negative_numbers = true)]
    pub tasks: Option<u64>,
    /// Partition that the jobs are for
    #[arg(long, value_name = "P", requires = "on", value_parser = parse_word)]
    pub partition: Option<String>,
    /// Account that the jobs are charged to
    #[arg(long, value_name = "A", requires = "on", value_parser = parse_word)]
    pub account: Option<String>,
    /// Time limit of each job, as Slurm writes it, such as 4:00:00
    #[arg(long, value_name = "T", requires = "on", value_parser = parse_word)]
    pub time: Option<String>,
    /// Memory of each job, as Slurm writes it, such as 2G
    #[arg(long, value_name = "M", requires = "on", value_parser = parse_word)]
    pub mem: Option<String>,
    /// Processors, and so threads, of a task, 1 to 1024 [default: 1]
    #[arg(long, value_name = "N", requires = "on", value_parser = parse_threads,
        allow_negative_numbers = true)]
    pub cpus: Option<u16>,
    /// Wait for the jobs; the status is 0 only where all of them are completed
    #[arg(long, requires = "on")]
    pub wait: bool,
}

fn parse_tasks(text: &str) -> std::result::Result<u64, String> {
    whole_number(text, 1, 100_000)
}

fn parse_word(text: &str) -> std::result::Result<String, String> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err("choose a word that Slurm knows".into());
    }
    Ok(text.into())
}

/// Submits the jobs of a run, says which they are, and waits for them where that is asked for. Returns
/// the exit status.
///
/// # Errors
/// [`NoScheduler`](crate::ExperimentError::NoScheduler) where Slurm's programs are not there,
/// [`Scheduler`](crate::ExperimentError::Scheduler) where they fail; where the store or the folder for
/// the results cannot be used, or a script cannot be written.
pub(crate) fn run(
    names: &[String],
    experiments: &[Experiment],
    folder: &Path,
    options: &RunOptions,
    out: &mut impl Write,
) -> Result<u8> {
    submit::look_for_slurm()?;
    let run = RunInfo::new(experiments.first().map(|e| e.plan).unwrap_or_default());
    let titles: Vec<&str> = experiments.iter().map(|e| e.name.as_str()).collect();
    // What stands in the way of the results is said now, not when the trials are done.
    drop(OutputFolder::open(folder, &run, &titles, options.fresh)?);
    let store = Store::open(&options.store)?;
    let missing = Work::missing(experiments, Some(&store), Share::ALL).missing;
    let tasks = options.cluster.tasks.unwrap_or(16).min(missing);
    let scripts = Scripts::write(names, experiments, folder, options, tasks)?;
    let jobs = submit::submit(&scripts, &options.cluster, tasks)?;
    let mut text = match jobs.array {
        Some(array) => format!(
            "job {array}: an array of {tasks} tasks for {missing} missing trials\n\
             job {}: behind it, writes the results to {}\n",
            jobs.render,
            shown(folder)
        ),
        None => format!(
            "nothing is missing\njob {}: writes the results to {}\n",
            jobs.render,
            shown(folder)
        ),
    };
    text.push_str(&format!(
        "see `squeue -j {}`, the logs in {}, and `layerwise store info {}`\n",
        jobs.listed(),
        shown(&scripts.folder),
        shown(&options.store)
    ));
    say_on(out, &text)?;
    if !options.cluster.wait {
        return Ok(SUCCESS);
    }
    let failed = watch::wait(&jobs, tasks)?;
    failed.iter().for_each(|line| complain(line));
    if failed.is_empty() { say_on(out, "all jobs are completed\n") } else { Ok(FAILURE) }
}

/// A path on one line.
fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

/// The path from the root, wherever a job starts.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|source| crate::ExperimentError::Io { path: path.into(), source })
}
