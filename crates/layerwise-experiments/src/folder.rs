//! A folder of results: taken by one run at a time, each set of files written whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::lock::LockFile;
use crate::{ExperimentError, Result};

/// A folder that this run alone may write to, until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Open and locked.
    _lock: LockFile,
    /// Folders that this run made, and has not filled yet; the innermost first.
    made: Vec<PathBuf>,
}

impl Folder {
    /// Makes the folder where it does not exist, locks it, and sees that files of these names can
    /// be written to it.
    ///
    /// # Errors
    /// [`ExperimentError::Output`] with what stands in the way.
    pub(crate) fn open(path: &Path, mut names: impl Iterator<Item = String>) -> Result<Self> {
        let refuse = |reason: String| ExperimentError::Output { path: path.into(), reason };
        if path.exists() && !path.is_dir() {
            return Err(refuse("is not a folder; name a folder with --out".into()));
        }
        let made = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .map(Path::to_path_buf)
            .collect();
        fs::create_dir_all(path).map_err(|e| refuse(format!("cannot be made: {e}")))?;
        let lock =
            LockFile::from(File::open(path).map_err(|e| refuse(format!("cannot be opened: {e}")))?);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refuse(
                    "is being written by another run; wait for it, or choose another --out".into(),
                ));
            }
            Err(TryLockError::Error(e)) => return Err(refuse(format!("cannot be locked: {e}"))),
        }
        let folder = Self { path: path.into(), _lock: lock, made };
        if let Some(name) = names.find(|name| path.join(name).is_dir()) {
            return Err(refuse(format!("holds a folder {name}, where a file is to be written")));
        }
        folder.probe().map_err(|e| refuse(format!("cannot be written to: {e}")))?;
        Ok(folder)
    }

    fn probe(&self) -> std::io::Result<()> {
        let probe = self.path.join(".layerwise.tmp");
        File::create(&probe)?;
        fs::remove_file(probe)
    }

    /// That the folder cannot be used, for this reason.
    pub(crate) fn refusal(&self, reason: String) -> ExperimentError {
        ExperimentError::Output { path: self.path.clone(), reason }
    }

    /// The content of a JSON file, if it is there; `what` it should be is for the error.
    ///
    /// # Errors
    /// [`ExperimentError::Io`]; [`ExperimentError::Output`] where the file is something else.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>> {
        let path = self.path.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ExperimentError::Io { path, source }),
        };
        serde_json::from_str(&text).map(Some).map_err(|e| ExperimentError::Output {
            path,
            reason: format!("is not {what} ({e}); remove it, or use --fresh"),
        })
    }

    /// As [`read`](Self::read); what is something else is no error, but where it is `required`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_if<T: DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
        required: bool,
    ) -> Result<Option<T>> {
        match self.read(name, what) {
            Err(ExperimentError::Output { .. }) if !required => Ok(None),
            read => read,
        }
    }

    /// The names of the files with this extension.
    ///
    /// # Errors
    /// [`ExperimentError::Io`].
    pub(crate) fn names_with_extension(&self, extension: &str) -> Result<Vec<String>> {
        let failed = |source| ExperimentError::Io { path: self.path.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|found| found == extension) && path.is_file() {
                names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        Ok(names)
    }

    /// Writes the files. All of them are first written beside their places, and moved there when
    /// every one is complete.
    ///
    /// # Errors
    /// [`ExperimentError::Io`]. Every file is then whole, the former one or the new one, and none
    /// has changed unless moving one failed.
    pub(crate) fn replace(&mut self, files: &[(String, Vec<u8>)]) -> Result<()> {
        let beside = |name: &str| self.path.join(format!(".{name}.tmp"));
        let written = files.iter().try_for_each(|(name, bytes)| {
            let path = beside(name);
            write_synced(&path, bytes).map_err(|source| ExperimentError::Io { path, source })
        });
        let moved = written.and_then(|()| {
            files.iter().try_for_each(|(name, _)| {
                let path = self.path.join(name);
                fs::rename(beside(name), &path)
                    .map_err(|source| ExperimentError::Io { path, source })
            })
        });
        if moved.is_ok() {
            self.made.clear();
        } else {
            for (name, _) in files {
                // Some were not written or are already in their places.
                let _ = fs::remove_file(beside(name));
            }
        }
        moved
    }

    /// Removes a file, if it is there and can be.
    pub(crate) fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path.join(name));
    }
}

impl Drop for Folder {
    /// Folders that this run made and did not fill go again.
    fn drop(&mut self) {
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
