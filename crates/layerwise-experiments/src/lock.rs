//! Locks that end when their holder says so.

use std::fs::File;
use std::ops::Deref;

/// A file whose lock is given up when this is dropped. Closing the file is not enough: a process that
/// is started meanwhile holds the file too, and with it the lock, until it becomes another program.
#[derive(Debug)]
pub(crate) struct LockFile(File);

impl From<File> for LockFile {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Deref for LockFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Where there are no locks there is none to give up.
        let _ = self.0.unlock();
    }
}
