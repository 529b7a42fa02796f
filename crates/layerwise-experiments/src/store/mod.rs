//! The record store: each computed trial, as soon as it is computed.
//!
//! A store is a folder. Whoever computes a trial puts its [`Record`] there, and whoever asks for the
//! same trial again, in this process or another, now or later, gets it from there bit for bit. A
//! process that is killed loses at most the record that it was writing. Any number of threads and
//! processes may read and write a store at once. `docs/store.md` describes the files.

mod cli;
mod damage;
mod document;
mod export;
mod files;
mod format;
mod frame;
mod index;
mod key;
mod prune;
mod record;
mod scan;
mod writer;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use cli::{StoreArguments, StoreFolder, info, prune, run, verify};
pub use damage::{Damage, Fault};
pub(crate) use document::is_plain;
pub use export::{ExportArguments, TableFormat, export};
pub(crate) use files::write_whole;
pub use key::Key;
pub use record::{Numbers, Outcome, Record};

use files::{Naming, RECORDS, refusal};
use index::{Index, Location};
use scan::{Frame, Segment};
use writer::{Unsynced, Writer};

use crate::Result;

/// A folder of records, open for reading and writing by any number of threads.
///
/// It knows the records that were there when it was opened, or when [`Store::refresh`] was called
/// last, and those it was given since.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    index: RwLock<Index>,
    /// Made with the first record that is put.
    writer: Mutex<Option<Writer>>,
}

impl Store {
    /// Opens a store, and makes it where there is none.
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where the path is a file, or a
    /// folder with something else in it; where the store has another format; and where it cannot be
    /// made or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        format::make(path.as_ref())?;
        Self::read(path.as_ref())
    }

    /// Opens a store that is there. Nothing is written before the first [`Store::put`].
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where there is no store, where it
    /// has another format, and where it cannot be read.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self> {
        format::require(path.as_ref())?;
        Self::read(path.as_ref())
    }

    fn read(path: &Path) -> Result<Self> {
        let index = read_index(path)?;
        Ok(Self { path: path.into(), index: RwLock::new(index), writer: Mutex::new(None) })
    }

    /// Looks for records that other processes have put, and for damage, anew.
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where the store cannot be read.
    pub fn refresh(&self) -> Result<()> {
        // What this process puts must not come between reading and replacing.
        let _writer = self.writer();
        let index = read_index(&self.path)?;
        *self.index_mut() = index;
        Ok(())
    }

    /// The store's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a record of this key is there, as far as headers tell. [`Store::get`] may yet find it
    /// damaged.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.index().contains(key)
    }

    /// The keys of all records, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.index().keys()
    }

    /// How many records there are, duplicates not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index().len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known to be wrong: all that headers tell, and the damaged records that
    /// [`Store::get`] has met. None of it is ever given out.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.index().damage().to_vec()
    }

    /// The record of this key, if there is one and its bytes are as they were written. A damaged one
    /// is not there from then on, and is listed by [`Store::damage`].
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where the record's file cannot be
    /// read.
    pub fn get(&self, key: &Key) -> Result<Option<Record>> {
        loop {
            let Some(location) = self.index().get(key) else { return Ok(None) };
            match Segment::open(&location.segment) {
                // It has been rewritten since, under another name.
                Err(e) if e.kind() == ErrorKind::NotFound => self.refresh()?,
                segment => {
                    let record = segment.and_then(|mut s| Ok(s.frame(&location.frame)?.1));
                    match record.naming(&location.segment, "cannot be read")? {
                        Ok(record) => return Ok(Some(record)),
                        Err(fault) => self.index_mut().strike(&location, fault),
                    }
                }
            }
        }
    }

    /// Adds a record. From then on it survives the end of this process, however that comes; it
    /// survives the loss of the machine's power after 64 more, or [`Store::flush`]. A record of the
    /// same key may be there already; the first good one counts.
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where it cannot be written. All
    /// former records are as they were, and another one may be tried.
    pub fn put(&self, record: &Record) -> Result<()> {
        let key = record.key();
        let frame = frame::encode(key, record)
            .map_err(|e| refusal(&self.path, format!("a record: {e}")))?;
        let unsynced = {
            let mut slot = self.writer();
            let writer = match &mut *slot {
                Some(writer) => writer,
                none => {
                    let records = self.path.join(RECORDS);
                    none.insert(Writer::create(&records).naming(&records, "cannot be written to")?)
                }
            };
            match writer.append(&frame) {
                Ok(offset) => {
                    let segment = writer.path.clone();
                    let frame = Frame { offset, length: frame.len() as u64, key };
                    self.index_mut().add(Location { segment, frame });
                    writer.due()
                }
                Err(e) => {
                    let path = writer.path.clone();
                    *slot = None;
                    return Err(e).naming(&path, "cannot be written to");
                }
            }
        };
        // Meanwhile other threads may put theirs.
        unsynced.map_or(Ok(()), |unsynced| self.sync(&unsynced))
    }

    /// Sees that every record that was put survives the loss of the machine's power. Dropping the
    /// store does this too, but cannot say if it failed.
    ///
    /// # Errors
    /// [`ExperimentError::Store`](crate::ExperimentError::Store) where the system cannot promise it.
    pub fn flush(&self) -> Result<()> {
        let unsynced = self.writer().as_mut().and_then(Writer::unsynced);
        unsynced.map_or(Ok(()), |unsynced| self.sync(&unsynced))
    }

    fn sync(&self, unsynced: &Unsynced) -> Result<()> {
        let synced = unsynced.sync();
        if synced.is_err() {
            // What the file takes from now on may be lost as well.
            let _ = self.writer().take_if(|writer| *writer.path == *unsynced.path);
        }
        synced.naming(&unsynced.path, "cannot be brought to the disk")
    }

    /// Reads every record in the order of the files, notes what is damaged, and hands on the first
    /// good one of each key.
    fn visit(&self, mut visit: impl FnMut(Record)) -> Result<()> {
        let mut open: Option<(Arc<Path>, Segment)> = None;
        let mut seen = HashSet::new();
        let locations = self.index().locations();
        for location in locations {
            let Location { segment: path, frame } = &location;
            let mut segment = match open.take_if(|(last, _)| last == path) {
                Some((_, segment)) => segment,
                None => match Segment::open(path) {
                    // It has been rewritten since, under another name.
                    Err(e) if e.kind() == ErrorKind::NotFound => {
                        let moved = self.get(&frame.key)?;
                        moved.filter(|_| seen.insert(frame.key)).into_iter().for_each(&mut visit);
                        continue;
                    }
                    segment => segment.naming(path, "cannot be read")?,
                },
            };
            match segment.frame(frame).naming(path, "cannot be read")?.1 {
                Ok(record) if seen.insert(frame.key) => visit(record),
                Ok(_) => {}
                Err(fault) => self.index_mut().strike(&location, fault),
            }
            open = Some((Arc::clone(path), segment));
        }
        Ok(())
    }

    // A thread that panicked within these has left them whole: each is changed in one place at a time.
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is there to be told.
        let _ = self.flush();
    }
}

fn read_index(store: &Path) -> Result<Index> {
    Index::read(store).map_err(|(path, e)| refusal(&path, format!("cannot be read: {e}")))
}
