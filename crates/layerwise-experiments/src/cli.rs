//! The `layerwise` program: its arguments, what it prints, and its exit status.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind as UsageError;
use clap::{Args, Parser, Subcommand};

use crate::backend::BackendArguments;
use crate::check_docs;
use crate::experiment::{schema_text, shipped};
use crate::judge::{self, JudgeArguments};
use crate::model::model;
use crate::report_cli::{self, ReportArguments};
use crate::run_cli::{self, RunOptions};
use crate::status::say_on;
use crate::store::StoreArguments;
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
    /// Run an experiment: a file, or the name of one that comes with the program
    Run(RunArguments),
    /// List the experiments that come with the program
    List,
    /// Print an experiment that comes with the program, to start one's own from
    Show {
        /// Its name, as `list` gives it
        name: String,
    },
    /// Print the JSON Schema of experiments, which editors complete and check files with
    Schema,
    /// Make the pictures, tables and claims of a store's experiments anew, without running anything
    Report(ReportArguments),
    /// Compute every verdict in a store anew by other code, and compare; end with status 3 if one differs
    Judge(JudgeArguments),
    /// Look into a store, check, clean or export it
    #[command(subcommand)]
    Store(StoreArguments),
    /// Check every statement: predicted, measured, verdict
    Theorems(TheoremsArguments),
}

/// Arguments of `figures`.
#[derive(Debug, Clone, Args)]
pub struct FiguresArguments {
    /// Figures to make, such as 1,3; all six by default
    #[arg(long, value_name = "LIST", value_parser = parse_numbers)]
    pub only: Option<Numbers>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "figures")]
    pub out: PathBuf,
    /// Compare the figures' data and claims in a folder with what is computed now, and write no results;
    /// size, trials and seed are those of the folder [default folder: docs/figures]
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        default_missing_value = "docs/figures",
        conflicts_with_all = [
            "quick", "trials", "seed", "out", "fresh", "require_claims", "dry_run", "shard",
            "no_compute", "on"
        ],
    )]
    pub check_docs: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub options: RunOptions,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// The file, or a name that `list` gives
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: String,
    /// Folder for the results [default: the experiment's name]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub options: RunOptions,
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

/// Runs the program on its command line.
#[must_use]
pub fn main() -> ExitCode {
    let status = match Arguments::try_parse() {
        Ok(Arguments { command }) => finish(run(command)),
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

fn run(command: Command) -> Result<u8> {
    let out = &mut std::io::stdout();
    match command {
        Command::Figures(FiguresArguments { only, out: folder, check_docs, options }) => {
            prepared(&options.backend, "figures", || {
                let wanted = |number: u8| only.as_ref().is_none_or(|list| list.0.contains(&number));
                let names: Vec<String> = (1..=6)
                    .filter(|number| wanted(*number))
                    .map(|number| format!("figure{number}"))
                    .collect();
                match check_docs {
                    Some(pages) => check_docs::run(&names, &pages, &options, out),
                    None => run_cli::run(&names, &folder, &options, out),
                }
            })
        }
        Command::Run(RunArguments { experiment, out: folder, options }) => {
            prepared(&options.backend, "run", || {
                let folder = folder.unwrap_or_else(|| run_cli::folder_of(&experiment));
                run_cli::run(&[experiment], &folder, &options, out)
            })
        }
        Command::List => {
            let width = shipped().iter().map(|shipped| shipped.name.len()).max().unwrap_or(0);
            let mut text = String::new();
            for shipped in shipped() {
                let title = shipped.experiment(Default::default())?.title().to_string();
                text.push_str(&format!("{:width$}  {title}\n", shipped.name));
            }
            say_on(out, &text)
        }
        Command::Show { name } => match shipped().iter().find(|shipped| shipped.name == name) {
            Some(shipped) => say_on(out, shipped.text),
            None => {
                let names = shipped().iter().map(|shipped| shipped.name);
                complain(&crate::experiment::unknown_name("experiment", &name, names));
                Ok(USAGE)
            }
        },
        Command::Schema => say_on(out, &schema_text()),
        Command::Report(arguments) => report_cli::main(&arguments, out),
        Command::Judge(arguments) => judge::run(&arguments, out),
        Command::Store(arguments) => {
            let current = |name: &str| model(name).map(|model| model.result_version());
            crate::store::run(&arguments, current, out)
        }
        Command::Theorems(arguments) => {
            prepared(&arguments.backend, "theorems", || theorems_cli::main(&arguments))
        }
    }
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
        Err(
            error @ (ExperimentError::Backend(_)
            | ExperimentError::Experiment { .. }
            | ExperimentError::NoScheduler(_)),
        ) => {
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
pub(crate) fn complain(message: &str) {
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
