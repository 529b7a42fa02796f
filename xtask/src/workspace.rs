//! Where the workspace is, and cargo in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failure, capture, describe};

/// The folder that holds the workspace's Cargo.toml.
pub(crate) fn root() -> PathBuf {
    // Set by `cargo run`; the value at compile time is stale in a folder that was moved.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Cargo, started in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` sets for us is not the user's environment: build scripts that watch these
    // variables would run again each time that cargo is called by hand.
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("CARGO_PKG_")
            || shown.starts_with("CARGO_MANIFEST_")
            || shown == "CARGO_BIN_NAME"
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The folder of build results, as cargo's configuration has it.
pub(crate) fn target_directory() -> Result<PathBuf, Failure> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--no-deps"]);
    let output = capture(&mut command)?;
    if !output.status.success() {
        return Err(Failure::of_child(&command, output.status));
    }
    serde_json::from_slice::<serde_json::Value>(&output.stdout)
        .ok()
        .and_then(|metadata| metadata["target_directory"].as_str().map(PathBuf::from))
        .ok_or_else(|| Failure::new(format!("`{}` names no target_directory", describe(&command))))
}
