//! How a folder is known for a store: by a file that names its format.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::Deserialize;

use super::files::{self, Naming, refusal};
use crate::Result;

const FILE: &str = "layerwise-store.json";
/// The version that this program writes, and the only one that it reads.
const FORMAT: u64 = 1;

#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// Sees that the folder is a store; makes it one where it is empty or not there.
pub(super) fn make(path: &Path) -> Result<()> {
    if known(path)? {
        return Ok(());
    }
    fs::create_dir_all(path).naming(path, "cannot be made")?;
    let entries = files::list(path).naming(path, "cannot be listed")?;
    // Another process may be making the store in this moment.
    let foreign = entries
        .iter()
        .filter_map(|entry| entry.file_name())
        .any(|name| !name.to_string_lossy().trim_start_matches('.').starts_with(FILE));
    if foreign && !known(path)? {
        return Err(refusal(
            path,
            "holds other files and is not a record store; name a store, or an empty or new folder",
        ));
    }
    files::write_whole(&path.join(FILE), |file| {
        writeln!(file, "{{\"format\": {FORMAT}, \"content\": \"computed trials of layerwise\"}}")
    })
    .naming(path, "cannot be made a record store")
}

/// Sees that the folder is a store.
pub(super) fn require(path: &Path) -> Result<()> {
    if known(path)? {
        return Ok(());
    }
    Err(refusal(
        path,
        if path.exists() {
            "is not a record store; name the folder that a run stored its records in"
        } else {
            "does not exist; name the folder that a run stored its records in"
        },
    ))
}

/// Whether the folder is a store. One of another format is an error.
fn known(path: &Path) -> Result<bool> {
    if path.exists() && !path.is_dir() {
        return Err(refusal(path, "is a file; a record store is a folder"));
    }
    let text = match fs::read(path.join(FILE)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        text => text.naming(&path.join(FILE), "cannot be read")?,
    };
    match serde_json::from_slice(&text).map_err(io::Error::from) {
        Ok(Format { format: FORMAT }) => Ok(true),
        Ok(Format { format }) => Err(refusal(
            path,
            format!(
                "is a record store of format {format}, this program has format {FORMAT}; use the \
                 program that made it, or name another folder"
            ),
        )),
        Err(e) => Err(refusal(
            path,
            format!("its {FILE} does not name a format ({e}); name another folder"),
        )),
    }
}
