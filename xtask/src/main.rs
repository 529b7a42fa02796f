//! The commands of the workspace, run as `cargo xtask COMMAND`.
//!
//! This program links no BLAS and depends on no other crate of the workspace: it starts them as
//! processes, so that it can install what they need before they are built.

mod bench;
mod downstream;
mod machine;
mod openblas;
mod peers;
mod process;
mod program;
mod test;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::process::{Failure, say};

#[derive(Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    about = "The commands of the layerwise workspace"
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Regenerate the figures, with a verdict on each claim (`figures --help` lists its options)
    #[command(disable_help_flag = true)]
    Figures {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print the table of statements: predicted, measured, verdict (`theorems --help` lists its options)
    #[command(disable_help_flag = true)]
    Theorems {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run everything that must pass: format, lints, features, tests, statements, documentation, downstream programs
    Test,
    /// Run the benchmarks and write target/bench-summary.json
    Bench {
        /// Stop measuring a benchmark as soon as its estimate is good enough
        #[arg(long)]
        quick: bool,
        /// Measure against NumPy and PyTorch, and write target/peers-summary.json instead
        #[arg(long)]
        peers: bool,
        /// Only the benchmarks whose name matches this regular expression
        filter: Option<String>,
    },
    /// Make sure that OpenBLAS is there: install it, or find out how else to get it
    Setup,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let result = match cli.command {
        Task::Figures { arguments } => program::run("figures", &arguments),
        Task::Theorems { arguments } => program::run("theorems", &arguments),
        Task::Test => test::run(),
        Task::Bench { quick, peers: true, filter } => peers::run(quick, filter.as_deref()),
        Task::Bench { quick, peers: false, filter } => bench::run(quick, filter.as_deref()),
        Task::Setup => openblas::setup(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {}", failure.message));
            ExitCode::from(failure.status)
        }
    }
}

/// Prints the help that was asked for, or what is wrong with the arguments in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    say(&in_one_line(error));
    ExitCode::from(Failure::USAGE)
}

/// What is wrong with the arguments, and what is allowed.
fn in_one_line(error: &clap::Error) -> String {
    let rendered = error.to_string();
    let what = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "error: no command given",
        _ => rendered.lines().next().unwrap_or("error: bad arguments"),
    };
    let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: "));
    let allowed = match usage {
        Some(usage) if !usage.contains("<COMMAND>") => usage.to_owned(),
        _ => {
            let commands = Cli::command();
            let names: Vec<_> = commands.get_subcommands().map(clap::Command::get_name).collect();
            format!("cargo xtask {}", names.join(" | "))
        }
    };
    format!("{what}; allowed: {allowed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_of_the_figures_are_passed_on_verbatim() {
        let line = ["cargo xtask", "figures", "--only", "1,3", "--help", "--", "-x"];
        let cli = Cli::try_parse_from(line).unwrap();
        let Task::Figures { arguments } = cli.command else { panic!("not figures") };
        assert_eq!(arguments, ["--only", "1,3", "--help", "--", "-x"]);
    }

    #[test]
    fn bad_arguments_are_told_in_one_line_with_what_is_allowed() {
        let told = |line: &[&str]| {
            let program = ["cargo xtask"].iter();
            let error = Cli::try_parse_from(program.chain(line)).err().expect("accepted");
            in_one_line(&error)
        };
        let all = "cargo xtask figures | theorems | test | bench | setup";
        assert_eq!(told(&[]), format!("error: no command given; allowed: {all}"));
        assert_eq!(
            told(&["frob"]),
            format!("error: unrecognized subcommand 'frob'; allowed: {all}")
        );
        assert_eq!(
            told(&["test", "x"]),
            "error: unexpected argument 'x' found; allowed: cargo xtask test"
        );
        assert_eq!(
            told(&["bench", "--fast"]),
            "error: unexpected argument '--fast' found; \
             allowed: cargo xtask bench [OPTIONS] [FILTER]"
        );
    }

    #[test]
    fn the_tests_accept_no_arguments() {
        for extra in ["--quick", "layerwise-optim"] {
            assert!(Cli::try_parse_from(["cargo xtask", "test", extra]).is_err(), "{extra}");
        }
    }
}
