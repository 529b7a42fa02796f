//! The `layerwise` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    layerwise_experiments::cli::main()
}
