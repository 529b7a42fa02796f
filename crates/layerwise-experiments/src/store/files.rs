//! Names in a store, and files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::{ExperimentError, Result};

pub(super) const RECORDS: &str = "records";
pub(super) const EXPERIMENTS: &str = "experiments";
pub(super) const ASIDE: &str = "aside";
const SEGMENT: &str = "records";

/// 32 hexadecimal digits that no other process has.
pub(super) fn random_id() -> String {
    // The system's randomness, by way of what seeds hash maps.
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

pub(super) fn refusal(path: &Path, reason: impl Into<String>) -> ExperimentError {
    ExperimentError::Store { path: path.into(), reason: reason.into() }
}

/// The path of a segment.
pub(super) fn segment(records: &Path, id: &str) -> PathBuf {
    records.join(format!("{id}.{SEGMENT}"))
}

/// The path of a segment that is not complete.
pub(super) fn new_segment(records: &Path, id: &str) -> PathBuf {
    records.join(format!(".{id}.new"))
}

pub(super) fn is_new_segment(path: &Path) -> bool {
    is_hidden(path) && path.extension().is_some_and(|extension| extension == "new")
}

pub(super) fn is_segment(path: &Path) -> bool {
    !is_hidden(path) && path.extension().is_some_and(|extension| extension == SEGMENT)
}

pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// What is in a folder, sorted; nothing if there is no folder.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Makes a folder in another one that is there.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Sees that names survive a loss of power, where the file system can be asked for that.
pub(super) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Writes a file beside its place, and moves it there when it is complete. Fails with the file as it
/// was.
pub(crate) fn write_whole<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename).map_err(io::Error::from)?;
    let mut beside_name = std::ffi::OsString::from(".");
    beside_name.push(name);
    beside_name.push(format!(".{}.tmp", random_id()));
    let beside = path.with_file_name(beside_name);
    let written = write_new(&beside, write).and_then(|()| Ok(fs::rename(&beside, path)?));
    if written.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&beside);
    }
    written?;
    sync_folder(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    Ok(())
}

fn write_new<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut file = BufWriter::with_capacity(
        1 << 18,
        OpenOptions::new().write(true).create_new(true).open(path)?,
    );
    write(&mut file)?;
    file.flush()?;
    Ok(file.get_ref().sync_all()?)
}

/// Runs a step on a path of the store; an error says in one line which.
pub(super) trait Naming<T> {
    fn naming(self, path: &Path, what: &str) -> Result<T>;
}

impl<T> Naming<T> for io::Result<T> {
    fn naming(self, path: &Path, what: &str) -> Result<T> {
        self.map_err(|e| refusal(path, format!("{what}: {e}")))
    }
}
