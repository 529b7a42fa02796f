//! The segment that a process writes.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files;
use crate::lock::LockFile;

/// A segment that this process alone writes to, until it is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) path: Arc<Path>,
    /// Locked until the last [`Unsynced`] is gone too.
    file: Arc<LockFile>,
    /// Bytes of whole frames.
    end: u64,
    unsynced: u32,
}

/// Frames that may be lost with the machine's power. The process may end at any of them.
const UNSYNCED: u32 = 64;

impl Writer {
    /// Makes a segment. It has its name only once it is locked: nobody sees it without its writer.
    pub(super) fn create(records: &Path) -> io::Result<Self> {
        files::make_folder(records)?;
        let new = NewSegment::create(records)?;
        let path = new.place()?.into();
        Ok(Self { path, file: new.file.into(), end: 0, unsynced: 0 })
    }

    /// Puts a frame at the end, and says where it begins. After an error the segment ends with its
    /// last whole frame, and is not to be written to any more.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<u64> {
        if let Err(e) = (&**self.file).write_all(frame) {
            // If this fails too, the torn frame is damage that readers pass over.
            let _ = self.file.set_len(self.end);
            if self.end == 0 {
                let _ = fs::remove_file(&self.path);
            }
            return Err(e);
        }
        let offset = self.end;
        self.end += frame.len() as u64;
        self.unsynced += 1;
        Ok(offset)
    }

    /// What is to be synced now, if it is time.
    pub(super) fn due(&mut self) -> Option<Unsynced> {
        if self.unsynced < UNSYNCED { None } else { self.unsynced() }
    }

    /// What is to be synced, if anything is.
    pub(super) fn unsynced(&mut self) -> Option<Unsynced> {
        (std::mem::take(&mut self.unsynced) > 0)
            .then(|| Unsynced { file: Arc::clone(&self.file), path: self.path.to_path_buf() })
    }
}

/// A segment that does not have its name yet.
#[derive(Debug)]
pub(super) struct NewSegment {
    /// Locked.
    pub(super) file: LockFile,
    records: PathBuf,
    id: String,
}

impl NewSegment {
    pub(super) fn create(records: &Path) -> io::Result<Self> {
        const TRIES: usize = 10;
        for _ in 0..TRIES {
            let id = files::random_id();
            let new = files::new_segment(records, &id);
            let file = match OpenOptions::new().read(true).write(true).create_new(true).open(&new) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                file => LockFile::from(file?),
            };
            match file.try_lock() {
                // Pruning takes it for a remnant, in the instant before it is locked.
                Err(TryLockError::WouldBlock) => continue,
                // Where there are no locks nothing is pruned.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            // Pruning may also have been faster.
            if new.try_exists()? {
                return Ok(Self { file, records: records.into(), id });
            }
        }
        Err(io::Error::other("new files in it disappear"))
    }

    /// The folder that it is in.
    pub(super) fn records(&self) -> &Path {
        &self.records
    }

    /// Gives the segment its name, and says which.
    pub(super) fn place(&self) -> io::Result<PathBuf> {
        let path = files::segment(&self.records, &self.id);
        fs::rename(files::new_segment(&self.records, &self.id), &path)?;
        files::sync_folder(&self.records);
        Ok(path)
    }

    /// Removes what was written so far.
    pub(super) fn discard(self) {
        // A remnant is removed by pruning.
        let _ = fs::remove_file(files::new_segment(&self.records, &self.id));
    }
}

/// A segment with frames that are not on the disk yet.
pub(super) struct Unsynced {
    file: Arc<LockFile>,
    pub(super) path: PathBuf,
}

impl Unsynced {
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
