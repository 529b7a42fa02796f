//! `figures` and `run`: what is missing of experiments is run, and what follows is written.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::arguments::{parse_seed, parse_threads, whole_number};
use crate::backend::BackendArguments;
use crate::claim::{Claim, Verdict};
use crate::cli::complain;
use crate::experiment::{Choices, Experiment};
use crate::monitor::Monitor;
use crate::output::OutputFolder;
use crate::progress::Progress;
use crate::record::{CODE, RunInfo};
use crate::report::{Report, report};
use crate::runner::{Results, Share, Work};
use crate::slurm::{self, ClusterOptions, Scheduler};
use crate::status::{CLAIM_FAILED, INTERRUPTED, SUCCESS, say_on};
use crate::store::Store;
use crate::{ExperimentError, Result};

/// What `figures` and `run` share.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Fewer trials and coarser grids; the same dimensions, methods and claims
    #[arg(long)]
    pub quick: bool,
    /// Trials to show, 1 to 10000000, in place of each experiment's own
    #[arg(long, value_name = "N", value_parser = parse_trials, allow_negative_numbers = true)]
    pub trials: Option<u64>,
    /// Seed of all random numbers, 0 to 2⁶⁴ − 1, in place of each experiment's own
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Threads, 1 to 1024; the results do not depend on it [default: one a core]
    #[arg(long, value_name = "N", value_parser = parse_threads, allow_negative_numbers = true)]
    pub threads: Option<u16>,
    /// Folder that keeps every trial; what is in it is not computed again
    #[arg(long, value_name = "DIR", default_value = "layerwise-store")]
    pub store: PathBuf,
    /// Replace results of a run with other settings in the folder for the results
    #[arg(long)]
    pub fresh: bool,
    /// End with status 3 unless every claim holds
    #[arg(long)]
    pub require_claims: bool,
    /// Say what would be run: trials, memory, and time from a short measurement
    #[arg(long)]
    pub dry_run: bool,
    /// Run the I-th of N shares of the trials into the store, and write nothing else
    #[arg(long, value_name = "I/N", value_parser = parse_share)]
    pub shard: Option<Share>,
    /// Compute nothing: fail where trials are missing, and say how many
    #[arg(long, conflicts_with_all = ["shard", "dry_run"])]
    pub no_compute: bool,
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// The linear algebra.
    #[command(flatten)]
    pub backend: BackendArguments,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            quick: false,
            trials: None,
            seed: None,
            threads: None,
            store: "layerwise-store".into(),
            fresh: false,
            require_claims: false,
            dry_run: false,
            shard: None,
            no_compute: false,
            cluster: ClusterOptions::default(),
            backend: BackendArguments::default(),
        }
    }
}

fn parse_trials(text: &str) -> std::result::Result<u64, String> {
    whole_number(text, 1, 10_000_000)
}

fn parse_share(text: &str) -> std::result::Result<Share, String> {
    let parts = text.split_once('/').map(|(index, count)| (index.parse(), count.parse()));
    match parts {
        Some((Ok(index), Ok(count))) if 1 <= index && index <= count && count <= 1_000_000 => {
            Ok(Share { index, count })
        }
        _ => Err("choose I/N with 1 ≤ I ≤ N ≤ 1000000, such as 3/16".into()),
    }
}

impl RunOptions {
    fn choices(&self) -> Choices {
        Choices { quick: self.quick, trials: self.trials, seed: self.seed }
    }

    fn threads(&self) -> usize {
        match self.threads {
            Some(threads) => usize::from(threads),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// The folder for an experiment's results where none is named: its name.
pub(crate) fn folder_of(experiment: &str) -> PathBuf {
    Path::new(experiment).file_stem().map_or_else(|| "results".into(), PathBuf::from)
}

/// What a store keeps of an experiment that was reported on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Its name.
    pub experiment: String,
    /// What made it.
    pub run: RunInfo,
    /// The code that made it: see [`CODE`].
    pub code: String,
    /// The file.
    pub text: String,
    /// The verdicts.
    pub claims: Vec<Claim>,
}

impl Document {
    /// The experiment.
    ///
    /// # Errors
    /// As [`Experiment::parse`].
    pub fn read(&self) -> Result<Experiment> {
        let plan = self.run.plan;
        let choices = Choices { quick: plan.quick, trials: plan.trials, seed: Some(plan.seed) };
        Experiment::parse(&self.experiment, &self.text, choices)
    }

    /// The name of its file in a store: of the experiment, and of what was chosen beside it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.{}.json", self.experiment, plan_name(&self.run))
    }
}

/// What was chosen beside an experiment's file, as part of a file's name.
pub(crate) fn plan_name(run: &RunInfo) -> String {
    let size = if run.plan.quick { "quick" } else { "full" };
    let trials = run.plan.trials.map_or(String::new(), |trials| format!("-trials{trials}"));
    format!("{size}{trials}-seed{}", run.plan.seed)
}

/// Runs what is missing of the experiments in the store, writes their results to the folder, and says
/// on `out` what holds. Returns the exit status.
///
/// # Errors
/// Where an experiment is none, the store or the folder cannot be used, or a run fails.
pub fn run(
    names: &[String],
    folder: &Path,
    options: &RunOptions,
    out: &mut impl Write,
) -> Result<u8> {
    // One thread a product: trials run in parallel, and OpenBLAS's bits depend on it.
    layerwise_linalg::set_backend_threads(1);
    let experiments: Vec<Experiment> = names
        .iter()
        .map(|name| Experiment::open(name, options.choices()))
        .collect::<Result<_>>()?;
    if options.dry_run {
        return dry_run(&experiments, options, out);
    }
    if options.cluster.on == Some(Scheduler::Slurm) {
        return slurm::run(names, &experiments, folder, options, out);
    }
    let run = RunInfo::new(experiments.first().map(|e| e.plan).unwrap_or_default());
    let titles: Vec<&str> = experiments.iter().map(|e| e.name.as_str()).collect();
    let share = options.shard.unwrap_or(Share::ALL);
    let mut output = match options.shard {
        Some(_) => None,
        None => Some(OutputFolder::open(folder, &run, &titles, options.fresh)?),
    };
    let store = match options.no_compute {
        true => Store::open_existing(&options.store)?,
        false => Store::open(&options.store)?,
    };
    // A record that turns out to be damaged is computed again, once.
    let mut results = None;
    for _ in 0..2 {
        let work = Work::missing(&experiments, Some(&store), share);
        if options.no_compute && work.missing > 0 {
            return Err(ExperimentError::MissingResults(format!(
                "{} trials of {}, which are missing in {}: without --no-compute they are computed",
                work.missing,
                work.mine,
                options.store.display()
            )));
        }
        let said = compute(&work, &store, options)?;
        if let Some(status) = said {
            return Ok(status);
        }
        if options.shard.is_some() {
            store.flush()?;
            let text = format!(
                "share {} of {}: {} trials of {} were missing, and are in {}\n",
                share.index,
                share.count,
                work.missing,
                work.mine,
                options.store.display()
            );
            return say_on(out, &text);
        }
        let read = experiments.iter().map(|e| Results::read(e, &store));
        results = read.collect::<Result<Option<Vec<Results>>>>()?;
        if results.is_some() {
            break;
        }
    }
    for damage in store.damage() {
        let _ = writeln!(std::io::stderr(), "passed over: {damage}");
    }
    let results = results
        .ok_or_else(|| ExperimentError::MissingResults("records that were just written".into()))?;
    let reports: Vec<(&Experiment, Report)> = experiments
        .iter()
        .zip(&results)
        .map(|(experiment, results)| Ok((experiment, report(experiment, results)?)))
        .collect::<Result<_>>()?;
    if let Some(output) = &mut output {
        output.save(&run, &reports)?;
    }
    for (experiment, report) in &reports {
        let document = Document {
            experiment: experiment.name.clone(),
            run: RunInfo { plan: experiment.plan, ..run.clone() },
            code: CODE.into(),
            text: experiment.text.clone(),
            claims: report.claims.clone(),
        };
        store.save_document(&document.file_name(), &serde_json::to_vec_pretty(&document)?)?;
    }
    say_on(out, &format!("{}written to {}\n", summary(&reports), folder.display()))?;
    let all_hold = reports
        .iter()
        .flat_map(|(_, report)| &report.claims)
        .all(|claim| claim.verdict == Verdict::Holds);
    Ok(if options.require_claims && !all_hold { CLAIM_FAILED } else { SUCCESS })
}

/// Does the work; a status where the user stopped it.
///
/// # Errors
/// As [`Work::run`].
pub(crate) fn compute(work: &Work<'_>, store: &Store, options: &RunOptions) -> Result<Option<u8>> {
    if work.missing == 0 {
        return Ok(None);
    }
    let there = work.mine - work.missing;
    if there > 0 && std::io::stderr().is_terminal() {
        let _ = writeln!(
            std::io::stderr(),
            "{there} of {} trials are in {}: going on with the rest",
            work.mine,
            options.store.display()
        );
    }
    let progress = Progress::start(work.size());
    let before = store.len();
    let done = work.run(store, options.threads(), &progress).and_then(|()| progress.check());
    drop(progress);
    match done {
        Ok(()) => Ok(None),
        Err(ExperimentError::Interrupted) => {
            store.flush()?;
            complain(&format!(
                "interrupted; {} more results are kept in {}: the same command goes on from there",
                store.len() - before,
                options.store.display()
            ));
            Ok(Some(INTERRUPTED))
        }
        Err(error) => Err(error),
    }
}

fn dry_run(experiments: &[Experiment], options: &RunOptions, out: &mut impl Write) -> Result<u8> {
    let store =
        if options.store.exists() { Some(Store::open_existing(&options.store)?) } else { None };
    let share = options.shard.unwrap_or(Share::ALL);
    let work = Work::missing(experiments, store.as_ref(), share);
    let everything = Work::missing(experiments, None, share);
    let mut text = String::new();
    for experiment in experiments {
        let cells: usize =
            experiment.settings.iter().flat_map(|s| &s.methods).map(|(_, c)| c.len()).sum();
        text.push_str(&format!(
            "{}: {}\n  model {}, settings: {}, methods: {}, cells: {cells}, trials shown: {}, tuning: {}\n",
            experiment.name,
            experiment.title(),
            experiment.model.name(),
            experiment.settings.len(),
            experiment.methods.len(),
            experiment.trials.shown,
            experiment.trials.tuning,
        ));
    }
    text.push_str(&format!(
        "trials: {}, of which {} are to be run; records to be written: {}, some {}\n\
         memory: some {} for the results; what trials take is below\n",
        work.mine,
        work.missing,
        work.records(),
        bytes(work.bytes()),
        bytes(everything.bytes()),
    ));
    let threads = options.threads();
    let before = peak_memory();
    match work.measure()? {
        Some(seconds) if work.missing > 0 => {
            if let (Some(before), Some(after)) = (before, peak_memory()) {
                let of_a_trial = after.saturating_sub(before);
                text.push_str(&format!(
                    "memory of trials: about {} each, measured, on {threads} threads at once\n",
                    bytes(of_a_trial),
                ));
            }
            let total = seconds * work.size() as f64 / threads as f64;
            let time = std::time::Duration::try_from_secs_f64(total);
            let time = indicatif::HumanDuration(time.unwrap_or(std::time::Duration::MAX));
            text.push_str(&format!("time: about {time} on {threads} threads\n"));
        }
        _ => text.push_str("time: nothing is missing\n"),
    }
    say_on(out, &text)
}

/// The most memory that this process has had, in bytes, where the system says.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}

fn bytes(count: u64) -> indicatif::HumanBytes {
    indicatif::HumanBytes(count)
}

/// How many claims hold, and which do not.
pub(crate) fn summary(reports: &[(&Experiment, Report)]) -> String {
    let mut text = String::new();
    for (experiment, report) in reports {
        let count = |verdict| report.claims.iter().filter(|c| c.verdict == verdict).count();
        let name = match experiment.figure() {
            Some(number) => format!("figure {number}"),
            None => experiment.name.clone(),
        };
        text.push_str(&format!(
            "{name}: {} claims hold, {} not reproduced, {} undecided  ({})\n",
            count(Verdict::Holds),
            count(Verdict::NotReproduced),
            count(Verdict::Undecided),
            experiment.title(),
        ));
        for claim in report.claims.iter().filter(|c| c.verdict != Verdict::Holds) {
            text.push_str(&format!("  {}  {}: {}\n", claim.verdict, claim.id, claim.text));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::parse_share;

    #[test]
    fn shares_lie_within_their_number() {
        assert_eq!(parse_share("3/16").map(|s| (s.index, s.count)), Ok((3, 16)));
        for text in ["0/4", "5/4", "1", "a/b", "1/0", "-1/3", "1/1000001"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
