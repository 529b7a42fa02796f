//! Documents: files beside the records, each replaced as a whole.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::Store;
use super::files::{self, EXPERIMENTS, Naming, refusal};
use crate::Result;

/// File systems take names of 255 bytes; what is written beside has 38 more.
const LONGEST: usize = 200;

impl Store {
    /// Writes a document, in place of a former one of this name. Whoever reads it meanwhile, and
    /// whatever ends the program, it is the former or the new one as a whole.
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where the name is not a plain file
    /// name, or the document cannot be written.
    pub fn save_document(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.document_path(name)?;
        let folder = self.path.join(EXPERIMENTS);
        files::make_folder(&folder).naming(&folder, "cannot be made")?;
        files::write_whole(&path, |file| file.write_all(bytes)).naming(&path, "cannot be written")
    }

    /// The document of this name, if there is one.
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where the name is not a plain file
    /// name, or the document cannot be read.
    pub fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.document_path(name)?;
        match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some).naming(&path, "cannot be read"),
        }
    }

    /// The names of all documents, sorted.
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where they cannot be listed.
    pub fn documents(&self) -> Result<Vec<String>> {
        let folder = self.path.join(EXPERIMENTS);
        let paths = files::list(&folder).naming(&folder, "cannot be listed")?;
        let names = paths.iter().filter(|path| path.is_file()).filter_map(|path| path.file_name());
        Ok(names.filter_map(|name| name.to_str()).filter(|n| is_plain(n)).map(Into::into).collect())
    }

    fn document_path(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path.join(EXPERIMENTS);
        if is_plain(name) {
            return Ok(folder.join(name));
        }
        Err(refusal(
            &folder,
            format!(
                "cannot hold a document named {name:?}; choose a file name of at most {LONGEST} \
                 bytes without separators that does not begin with a dot"
            ),
        ))
    }
}

/// Whether a name may be that of a document, alone or with as much behind it as a plan takes.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST
        && !name.starts_with('.')
        && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | ':'))
}
