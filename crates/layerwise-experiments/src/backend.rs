//! The linear algebra that the program was built with, and what its user asks for.

use std::io::Write;
use std::process::{Command, ExitStatus};

use clap::{Args, ValueEnum};
use layerwise_linalg::{KERNEL_VARIABLE, Library};

use crate::{ExperimentError, Result};

/// Set where the program has started itself again.
pub(crate) const RESTARTED: &str = "LAYERWISE_RESTARTED";

/// A backend of the linear algebra.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// faer.
    PureRust,
    /// OpenBLAS, of the system or built from source.
    Openblas,
}

impl Backend {
    /// What serves in this program.
    #[must_use]
    pub fn serving() -> Self {
        match layerwise_linalg::backend().library {
            Library::OpenBlas => Self::Openblas,
            _ => Self::PureRust,
        }
    }

    /// The word on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PureRust => "pure-rust",
            Self::Openblas => "openblas",
        }
    }
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct BackendArguments {
    /// The linear algebra; `cargo xtask` builds the program for it [default: what it was built with]
    #[arg(long, value_name = "B", value_enum)]
    pub backend: Option<Backend>,
}

impl BackendArguments {
    /// Sees that the backend asked for is there, and OpenBLAS runs on a kernel worthy of the processor:
    /// else the program is started again with a better one, and its status is returned.
    ///
    /// # Errors
    /// [`ExperimentError::Backend`] for a backend that is not there, and for a kernel that OpenBLAS does
    /// not have, or that the processor cannot run.
    pub(crate) fn prepare(&self, command: &'static str) -> Result<Option<ExitStatus>> {
        let serves = Backend::serving();
        if let Some(asked) = self.backend.filter(|&asked| asked != serves) {
            let (serves, asked) = (serves.name(), asked.name());
            return Err(ExperimentError::Backend(format!(
                "this program was built with {serves}, not {asked}: \
                 type `cargo xtask {command} --backend {asked}`"
            )));
        }
        let backend = layerwise_linalg::backend();
        if backend.beyond_processor {
            return Err(ExperimentError::Backend(format!(
                "{KERNEL_VARIABLE}={} asks for vectors that this processor does not have: \
                 choose another kernel, or unset the variable",
                backend.kernel
            )));
        }
        let restarted = std::env::var_os(RESTARTED).is_some();
        match (backend.refused_kernel, backend.better_kernel) {
            (Some(refused), _) if !restarted => Err(ExperimentError::Backend(format!(
                "{KERNEL_VARIABLE}={refused} is not a kernel of this {}, which took {}: \
                 choose another, such as Haswell or SkylakeX, or unset the variable",
                backend.name, backend.kernel
            ))),
            (_, Some(better)) => {
                say(&format!(
                    "{} runs on its kernel {}, older than this processor's vectors: \
                     starting again with {KERNEL_VARIABLE}={better}",
                    backend.name, backend.kernel
                ));
                start_again(better).map(Some)
            }
            (Some(_), None) => {
                say(&format!(
                    "this {} has no kernel for this processor's vectors: going on with {}",
                    backend.name, backend.kernel
                ));
                Ok(None)
            }
            (None, None) => Ok(None),
        }
    }
}

/// A line on stderr; where that is closed there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Becomes this program with another kernel, or, where a process cannot be replaced, waits for it.
fn start_again(kernel: &str) -> Result<ExitStatus> {
    let failed = |error: std::io::Error| {
        ExperimentError::Backend(format!("the program could not be started again: {error}"))
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(std::env::args_os().skip(1));
    command.env(KERNEL_VARIABLE, kernel).env(RESTARTED, "1");
    #[cfg(unix)]
    return Err(failed(std::os::unix::process::CommandExt::exec(&mut command)));
    #[cfg(not(unix))]
    command.status().map_err(failed)
}
