//! Rewriting segments without what is of no use any more.

use std::collections::HashSet;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::files::{self, ASIDE, Naming, RECORDS, refusal};
use super::record::Facts;
use super::scan::{Frame, Gap, Segment};
use super::writer::NewSegment;
use super::{Key, format};
use crate::Result;
use crate::lock::LockFile;

/// A segment without damage that is as large is not copied just to join it with others.
const LARGE: u64 = 64 << 20;

/// What pruning did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pruned {
    /// Good records in the segments that nobody holds.
    pub(super) kept: usize,
    pub(super) duplicates: usize,
    /// Records of older result versions.
    pub(super) older: usize,
    /// Damaged pieces, and files that are no segments.
    pub(super) aside: usize,
    /// Segments that were rewritten.
    pub(super) rewritten: usize,
    /// Segments that others are writing, or that cannot be locked.
    pub(super) held: usize,
}

/// A segment that this process alone holds, and what is to become of its bytes.
struct Plan {
    path: PathBuf,
    _lock: LockFile,
    segment: Segment,
    keep: Vec<Frame>,
    aside: Vec<Gap>,
    dropped: usize,
}

impl Plan {
    fn is_clean(&self) -> bool {
        self.aside.is_empty() && self.dropped == 0 && !self.keep.is_empty()
    }
}

/// Rewrites the segments that nobody holds. At any moment every good record is in a segment.
pub(super) fn prune(store: &Path, current: impl Fn(&str) -> Option<u64>) -> Result<Pruned> {
    format::require(store)?;
    let records = store.join(RECORDS);
    let aside = store.join(ASIDE);
    let mut pruned = Pruned::default();
    let mut plans = Vec::new();
    let mut seen = HashSet::new();
    for path in files::list(&records).naming(&records, "cannot be listed")? {
        if files::is_new_segment(&path) {
            remove_remnant(&path).naming(&path, "cannot be removed")?;
        } else if files::is_hidden(&path) {
        } else if !files::is_segment(&path) || !path.is_file() {
            move_aside(&path, &aside).naming(&path, "cannot be moved aside")?;
            pruned.aside += 1;
        } else {
            match hold(&path).naming(&path, "cannot be opened for writing")? {
                Held::Here(file) => plans.push(
                    plan(path.clone(), file, &mut seen, &current, &mut pruned)
                        .naming(&path, "cannot be read")?,
                ),
                Held::Elsewhere => pruned.held += 1,
                Held::Gone => {}
            }
        }
    }
    plans.retain(|plan| !(plan.is_clean() && plan.segment.size() >= LARGE));
    if plans.len() > 1 || plans.iter().any(|plan| !plan.is_clean()) {
        pruned.rewritten = plans.len();
        rewrite(&records, &aside, plans)?;
    }
    Ok(pruned)
}

enum Held {
    /// The file is locked.
    Here(LockFile),
    Elsewhere,
    /// Somebody else has pruned it.
    Gone,
}

fn hold(path: &Path) -> io::Result<Held> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Held::Gone),
        file => LockFile::from(file?),
    };
    Ok(match file.try_lock() {
        Ok(()) => Held::Here(file),
        // Without locks nobody knows whether it is written.
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => Held::Elsewhere,
    })
}

fn remove_remnant(path: &Path) -> io::Result<()> {
    match hold(path)? {
        Held::Here(_locked) => fs::remove_file(path),
        Held::Elsewhere | Held::Gone => Ok(()),
    }
}

fn move_aside(path: &Path, aside: &Path) -> io::Result<()> {
    files::make_folder(aside)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    if aside.join(&name).try_exists()? {
        name.push(format!(".{}", files::random_id()));
    }
    fs::rename(path, aside.join(name))
}

fn plan(
    path: PathBuf,
    lock: LockFile,
    seen: &mut HashSet<Key>,
    current: &impl Fn(&str) -> Option<u64>,
    pruned: &mut Pruned,
) -> io::Result<Plan> {
    let mut segment = Segment::new(lock.try_clone()?)?;
    let scan = segment.scan()?;
    let (mut keep, mut aside, mut dropped) = (Vec::new(), scan.gaps, 0);
    for frame in scan.frames {
        match segment.frame(&frame)?.1 {
            Err(fault) => {
                let Frame { offset, length, key } = frame;
                aside.push(Gap { offset, length, key: Some(key), fault });
            }
            Ok(record) if is_older(&Facts::of(&record.identity), current) => {
                pruned.older += 1;
                dropped += 1;
            }
            Ok(_) if seen.insert(frame.key) => keep.push(frame),
            Ok(_) => {
                pruned.duplicates += 1;
                dropped += 1;
            }
        }
    }
    pruned.kept += keep.len();
    pruned.aside += aside.len();
    Ok(Plan { path, _lock: lock, segment, keep, aside, dropped })
}

fn is_older(facts: &Facts, current: &impl Fn(&str) -> Option<u64>) -> bool {
    let current = facts.model.as_deref().and_then(current);
    facts.version.zip(current).is_some_and(|(version, current)| version < current)
}

/// First the damaged bytes are aside and the good ones in a new segment, then the old ones go. Who is
/// killed between leaves duplicates.
fn rewrite(records: &Path, aside: &Path, mut plans: Vec<Plan>) -> Result<()> {
    if plans.iter().any(|plan| !plan.aside.is_empty()) {
        files::make_folder(aside).naming(aside, "cannot be made")?;
    }
    for plan in &mut plans {
        let stem = plan.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for gap in &plan.aside {
            let path = aside.join(format!("{stem}-{}.bytes", gap.offset));
            files::write_whole(&path, |file| plan.segment.copy(gap.offset, gap.length, file))
                .naming(&path, "cannot be written")?;
        }
    }
    if plans.iter().any(|plan| !plan.keep.is_empty()) {
        let new = NewSegment::create(records).naming(records, "cannot be written to")?;
        if let Err(e) = copy(&mut plans, &new) {
            new.discard();
            return Err(e);
        }
        new.place().naming(records, "cannot be written to")?;
    }
    for plan in &plans {
        match fs::remove_file(&plan.path) {
            // Others prune too.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            removed => removed.naming(&plan.path, "cannot be removed")?,
        }
    }
    files::sync_folder(records);
    Ok(())
}

fn copy(plans: &mut [Plan], new: &NewSegment) -> Result<()> {
    const WRITING: &str = "a new segment cannot be written to it";
    let records = new.records();
    let mut file = BufWriter::with_capacity(1 << 20, &*new.file);
    for Plan { path, segment, keep, .. } in plans {
        for frame in &*keep {
            let (bytes, record) = segment.frame(frame).naming(path, "cannot be read")?;
            if let Err(fault) = record {
                return Err(refusal(path, format!("changed while it was pruned: {fault}")));
            }
            file.write_all(&bytes).naming(records, WRITING)?;
        }
    }
    file.flush().and_then(|()| new.file.sync_all()).naming(records, WRITING)
}
