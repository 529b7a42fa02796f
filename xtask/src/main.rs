//! The commands of the workspace, run as `cargo xtask COMMAND`.
//!
//! This program depends on no other crate of the workspace: it starts them as processes, so that it
//! can choose their backend, and get what that needs, before they are built.

mod backend;
mod bench;
mod downstream;
mod kernels;
mod machine;
mod no_c;
mod openblas;
mod peers;
mod process;
mod program;
mod python;
mod slurm;
mod test;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::backend::{Backend, BackendOption};
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
    /// Run an experiment: a file, or the name of one that comes along (`run --help` lists its options)
    #[command(disable_help_flag = true)]
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Any command of the program `layerwise`: list, show, report, judge, store, ... (`layerwise --help`)
    #[command(disable_help_flag = true)]
    Layerwise {
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
    Test(BackendOption),
    /// Run the benchmarks and write target/bench-summary.json
    Bench {
        #[command(flatten)]
        option: BackendOption,
        /// Stop measuring a benchmark as soon as its estimate is good enough
        #[arg(long)]
        quick: bool,
        /// Measure against NumPy and PyTorch, and write target/peers-summary.json instead
        #[arg(long)]
        peers: bool,
        /// Only the benchmarks whose name matches this regular expression
        filter: Option<String>,
    },
    /// Get what a backend needs: install OpenBLAS, or find out how else to have it
    Setup {
        #[command(flatten)]
        option: BackendOption,
        /// Get Slurm too, on which the tests run jobs: slurm-wlm and munge, with apt-get as root or by
        /// a sudo that asks for no password; elsewhere say the one command to type
        #[arg(long)]
        slurm: bool,
    },
}

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => run(cli.command),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp) => {
            error.print().map_err(|error| Failure::new(format!("stdout: {error}")))
        }
        Err(error) => Err(usage(&error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {}", failure.message));
            ExitCode::from(failure.status)
        }
    }
}

fn run(task: Task) -> Result<(), Failure> {
    match task {
        Task::Figures { arguments } => program::run(Some("figures"), &arguments),
        Task::Run { arguments } => program::run(Some("run"), &arguments),
        Task::Layerwise { arguments } => program::run(None, &arguments),
        Task::Theorems { arguments } => program::run(Some("theorems"), &arguments),
        Task::Test(BackendOption { backend }) => test::run(backend),
        Task::Bench { option, quick, peers: true, filter } => {
            peers::run(option.backend, quick, filter.as_deref())
        }
        Task::Bench { option, quick, peers: false, filter } => {
            bench::run(option.backend, quick, filter.as_deref())
        }
        Task::Setup { option, slurm } => {
            match option.backend {
                Backend::Openblas => openblas::setup()?,
                Backend::PureRust if slurm => {}
                Backend::PureRust => {
                    say("the default backend, pure-rust, needs nothing; --backend openblas gets \
                     OpenBLAS, --slurm Slurm")
                }
            }
            if slurm { slurm::setup() } else { Ok(()) }
        }
    }
}

/// What is wrong with the arguments, and what is allowed, in one line.
fn usage(error: &clap::Error) -> Failure {
    let rendered = error.to_string();
    let what = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command given",
        _ => rendered.lines().next().unwrap_or("bad arguments").trim_start_matches("error: "),
    };
    let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: "));
    let allowed = match (error.get(ContextKind::ValidValue), usage) {
        (Some(ContextValue::Strings(values)), _) => values.join(" | "),
        (_, Some(usage)) if !usage.contains("<COMMAND>") => usage.to_owned(),
        _ => {
            let commands = Cli::command();
            let names: Vec<_> = commands.get_subcommands().map(clap::Command::get_name).collect();
            format!("cargo xtask {}", names.join(" | "))
        }
    };
    Failure { message: format!("{what}; allowed: {allowed}"), status: Failure::USAGE }
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
        let line = [
            "cargo xtask",
            "figures",
            "--only",
            "1,3",
            "--backend",
            "openblas",
            "--help",
            "--",
            "-x",
        ];
        let cli = Cli::try_parse_from(line).unwrap();
        let Task::Figures { arguments } = cli.command else { panic!("not figures") };
        assert_eq!(arguments, line[2..]);
    }

    #[test]
    fn bad_arguments_are_told_in_one_line_with_what_is_allowed() {
        let told = |line: &[&str]| {
            let program = ["cargo xtask"].iter();
            let error = Cli::try_parse_from(program.chain(line)).err().expect("accepted");
            usage(&error).message
        };
        let all = "cargo xtask figures | run | layerwise | theorems | test | bench | setup";
        assert_eq!(told(&[]), format!("no command given; allowed: {all}"));
        assert_eq!(told(&["frob"]), format!("unrecognized subcommand 'frob'; allowed: {all}"));
        assert_eq!(
            told(&["test", "x"]),
            "unexpected argument 'x' found; allowed: cargo xtask test [OPTIONS]"
        );
        assert_eq!(
            told(&["bench", "--fast"]),
            "unexpected argument '--fast' found; \
             allowed: cargo xtask bench [OPTIONS] [FILTER]"
        );
        for command in ["test", "bench", "setup"] {
            assert_eq!(
                told(&[command, "--backend", "mkl"]),
                "invalid value 'mkl' for '--backend <BACKEND>'; allowed: pure-rust | openblas"
            );
            assert_eq!(
                told(&[command, "--backend"]),
                "a value is required for '--backend <BACKEND>' but none was supplied; \
                 allowed: pure-rust | openblas"
            );
        }
    }

    #[test]
    fn the_default_backend_is_pure_rust() {
        let chosen = |line: &[&str]| {
            let program = ["cargo xtask"].iter();
            match Cli::try_parse_from(program.chain(line)).unwrap().command {
                Task::Test(option) | Task::Setup { option, .. } | Task::Bench { option, .. } => {
                    option.backend
                }
                _ => panic!("{line:?}"),
            }
        };
        for command in ["test", "bench", "setup"] {
            assert_eq!(chosen(&[command]), Backend::PureRust);
            assert_eq!(chosen(&[command, "--backend=openblas"]), Backend::Openblas);
        }
    }

    #[test]
    fn the_tests_accept_no_other_arguments() {
        for extra in ["--quick", "layerwise-optim"] {
            assert!(Cli::try_parse_from(["cargo xtask", "test", extra]).is_err(), "{extra}");
        }
    }
}
