//! The `layerwise` program: its arguments, what it prints, and its exit status.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind as UsageError;
use clap::{Args, Parser, Subcommand};

use crate::arguments::{parse_seed, parse_threads, whole_number};
use crate::backend::BackendArguments;
use crate::claim::Verdict;
use crate::figures::{FIGURES, Figure, Report};
use crate::monitor::Monitor;
use crate::output::OutputFolder;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::record::RunInfo;
use crate::runner::{self, Demand};
use crate::theorems_cli::{self, TheoremsArguments};
use crate::{ExperimentError, Result};

pub use crate::status::{CLAIM_FAILED, FAILURE, INTERRUPTED, SUCCESS, USAGE};

#[derive(Debug, Parser)]
#[command(name = "layerwise", version, about = "Layer-wise preconditioning: the evidence")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Regenerate the six figures, each with its data and a verdict on every claim
    Figures(FiguresArguments),
    /// Check every statement: predicted, measured, verdict
    Theorems(TheoremsArguments),
}

/// Arguments of `figures`.
#[derive(Debug, Clone, Args)]
pub struct FiguresArguments {
    /// Figures to make, such as 1,3; all six by default
    #[arg(long, value_name = "LIST", value_parser = parse_numbers)]
    pub only: Option<Numbers>,
    /// Fewer trials and coarser grids; the same dimensions, methods and claims
    #[arg(long)]
    pub quick: bool,
    /// Trials to show in every figure, 1 to 100000
    #[arg(long, value_name = "N", value_parser = parse_trials, allow_negative_numbers = true)]
    pub trials: Option<u64>,
    /// Seed of all random numbers, 0 to 2⁶⁴ − 1
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = parse_seed,
        allow_negative_numbers = true)]
    pub seed: u64,
    /// Threads, 1 to 1024; the results do not depend on it [default: one a core]
    #[arg(long, value_name = "N", value_parser = parse_threads, allow_negative_numbers = true)]
    pub threads: Option<u16>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "figures")]
    pub out: PathBuf,
    /// Replace results of a run with other settings
    #[arg(long)]
    pub fresh: bool,
    /// End with status 3 unless every claim holds
    #[arg(long)]
    pub require_claims: bool,
    /// The linear algebra.
    #[command(flatten)]
    pub backend: BackendArguments,
}

/// A list of figure numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(pub Vec<u8>);

fn parse_numbers(text: &str) -> std::result::Result<Numbers, String> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let number = part.trim().parse::<u8>().ok().filter(|n| (1..=6).contains(n));
        let Some(number) = number else {
            return Err(format!("'{part}' is not a figure; choose among 1,2,3,4,5,6"));
        };
        if numbers.contains(&number) {
            return Err(format!("figure {number} is named twice"));
        }
        numbers.push(number);
    }
    Ok(Numbers(numbers))
}

fn parse_trials(text: &str) -> std::result::Result<u64, String> {
    whole_number(text, 1, 100_000)
}

/// Runs the program on its command line.
#[must_use]
pub fn main() -> ExitCode {
    let status = match Arguments::try_parse() {
        Ok(Arguments { command: Command::Figures(arguments) }) => {
            finish(prepared(&arguments.backend, "figures", || {
                figures(&arguments, &FIGURES, &mut std::io::stdout())
            }))
        }
        Ok(Arguments { command: Command::Theorems(arguments) }) => {
            finish(prepared(&arguments.backend, "theorems", || theorems_cli::main(&arguments)))
        }
        Err(error) if !error.use_stderr() => {
            // Help and version are answers, not errors.
            let _ = error.print();
            SUCCESS
        }
        Err(error) => {
            complain(&usage_message(&error));
            USAGE
        }
    };
    ExitCode::from(status)
}

/// Runs the command in this program, unless another one did with a better kernel.
fn prepared(
    backend: &BackendArguments,
    command: &'static str,
    run: impl FnOnce() -> Result<u8>,
) -> Result<u8> {
    match backend.prepare(command)? {
        None => run(),
        Some(status) => {
            Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILURE))
        }
    }
}

fn finish(outcome: Result<u8>) -> u8 {
    match outcome {
        Ok(status) => status,
        Err(error @ ExperimentError::Backend(_)) => {
            complain(&error.to_string());
            USAGE
        }
        Err(ExperimentError::Interrupted) => {
            complain("interrupted; nothing was written");
            INTERRUPTED
        }
        Err(error) => {
            complain(&error.to_string());
            FAILURE
        }
    }
}

/// One line on stderr, whatever is in the message: a path may hold line breaks.
fn complain(message: &str) {
    let lines = message.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {line}");
}

/// The message of a usage error without the hints that follow it.
fn usage_message(error: &clap::Error) -> String {
    if error.kind() == UsageError::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given; try 'layerwise figures', or --help".into();
    }
    let text = error.to_string();
    let hints = ["\n\n  tip:", "\n\nUsage:", "\n\nFor more information"];
    let end = hints.iter().filter_map(|hint| text.find(hint)).min().unwrap_or(text.len());
    text[..end].trim_start_matches("error: ").to_string()
}

/// Makes the figures of `catalogue` that the arguments name, and says on `out` what holds.
/// Returns the exit status.
///
/// # Errors
/// Where the output folder cannot be used, a run fails or is interrupted.
pub fn figures(
    arguments: &FiguresArguments,
    catalogue: &[&'static dyn Figure],
    out: &mut impl Write,
) -> Result<u8> {
    // One thread a product: trials run in parallel, and OpenBLAS's bits depend on it.
    layerwise_linalg::set_backend_threads(1);
    let plan = Plan { quick: arguments.quick, trials: arguments.trials, seed: arguments.seed };
    let run = RunInfo::new(plan);
    let chosen: Vec<&dyn Figure> = catalogue
        .iter()
        .copied()
        .filter(|figure| match &arguments.only {
            Some(Numbers(numbers)) => numbers.contains(&figure.number()),
            None => true,
        })
        .collect();
    let threads = match arguments.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut folder = OutputFolder::open(&arguments.out, &run, arguments.fresh)?;
    let demand: Demand = runner::merge(chosen.iter().map(|figure| figure.demand(&plan)).collect())?;
    let progress = Progress::start(runner::work(&demand));
    let results = runner::run(&demand, &plan, threads, &progress)?;
    let reports: Vec<(&dyn Figure, Report)> = chosen
        .iter()
        .map(|&figure| Ok((figure, figure.report(&plan, &results)?)))
        .collect::<Result<_>>()?;
    progress.check()?;
    drop(progress);
    folder.save(&run, &reports)?;
    summarize(arguments, &reports, out)?;
    let all_hold = reports
        .iter()
        .flat_map(|(_, report)| &report.claims)
        .all(|claim| claim.verdict == Verdict::Holds);
    Ok(if arguments.require_claims && !all_hold { CLAIM_FAILED } else { SUCCESS })
}

fn summarize(
    arguments: &FiguresArguments,
    reports: &[(&dyn Figure, Report)],
    out: &mut impl Write,
) -> Result<()> {
    let mut text = String::new();
    for (figure, report) in reports {
        let count = |verdict| report.claims.iter().filter(|c| c.verdict == verdict).count();
        text.push_str(&format!(
            "figure {}: {} claims hold, {} not reproduced, {} undecided  ({})\n",
            figure.number(),
            count(Verdict::Holds),
            count(Verdict::NotReproduced),
            count(Verdict::Undecided),
            figure.title(),
        ));
        for claim in report.claims.iter().filter(|c| c.verdict != Verdict::Holds) {
            text.push_str(&format!("  {}  {}: {}\n", claim.verdict, claim.id, claim.text));
        }
    }
    text.push_str(&format!("written to {}\n", arguments.out.display()));
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away has seen what it wanted; the files are there.
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(ExperimentError::Io { path: "standard output".into(), source: e })
        }
        _ => Ok(()),
    }
}
