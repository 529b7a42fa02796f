//! Where all records of a store are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, RECORDS};
use super::scan::{Frame, Gap, Scan, Segment};
use super::{Damage, Fault, Key};

/// A frame in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: Arc<Path>,
    pub(super) frame: Frame,
}

/// Where every record is, by key.
#[derive(Debug, Default)]
pub(super) struct Index {
    first: HashMap<Key, Location>,
    /// Further records of the same keys.
    others: HashMap<Key, Vec<Location>>,
    damage: Vec<Damage>,
}

/// What is wrong in a segment. What its living writer is about to write is not.
pub(super) fn damage<'a>(
    path: &'a Path,
    scan: &'a Scan,
    held: bool,
) -> impl Iterator<Item = Damage> + 'a {
    let written = move |gap: &&Gap| !(held && gap.fault == Fault::Torn);
    scan.gaps.iter().filter(written).map(|gap| Damage {
        file: path.into(),
        offset: gap.offset,
        length: gap.length,
        key: gap.key,
        fault: gap.fault,
    })
}

impl Index {
    /// Finds all records of a store.
    pub(super) fn read(store: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let records = store.join(RECORDS);
        'listing: loop {
            let mut index = Self::default();
            for path in files::list(&records).map_err(|e| (records.clone(), e))? {
                if files::is_hidden(&path) {
                    continue;
                }
                match index.add_file(&path) {
                    // It has been rewritten since, under another name.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue 'listing,
                    added => added.map_err(|e| (path, e))?,
                }
            }
            return Ok(index);
        }
    }

    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        if !files::is_segment(path) || !path.is_file() {
            let length = path.symlink_metadata()?.len();
            let (file, fault) = (path.into(), Fault::NoSegment);
            self.damage.push(Damage { file, offset: 0, length, key: None, fault });
            return Ok(());
        }
        let mut segment = Segment::open(path)?;
        // Before it is read: who ends its last frame meanwhile may be gone afterwards.
        let held = segment.is_held();
        let scan = segment.scan()?;
        self.damage.extend(damage(path, &scan, held));
        let path: Arc<Path> = path.into();
        for frame in scan.frames {
            self.add(Location { segment: Arc::clone(&path), frame });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, location: Location) {
        match self.first.entry(location.frame.key) {
            Entry::Vacant(first) => _ = first.insert(location),
            Entry::Occupied(first) => self.others.entry(*first.key()).or_default().push(location),
        }
    }

    /// Takes out a record that turned out to be damaged.
    pub(super) fn strike(&mut self, location: &Location, fault: Fault) {
        let Location { segment, frame: Frame { offset, length, key } } = location;
        let others = self.others.get_mut(key);
        let struck = if self.first.get(key) == Some(location) {
            match others.filter(|others| !others.is_empty()) {
                Some(others) => self.first.insert(*key, others.remove(0)),
                None => self.first.remove(key),
            };
            true
        } else {
            others.is_some_and(|others| {
                let known = others.len();
                others.retain(|other| other != location);
                others.len() < known
            })
        };
        // Two threads may have found the same.
        if struck {
            let (file, offset, length) = (segment.to_path_buf(), *offset, *length);
            self.damage.push(Damage { file, offset, length, key: Some(*key), fault });
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Location> {
        self.first.get(key).cloned()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.first.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.first.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    pub(super) fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Every record, duplicates too, in the order of segments and bytes.
    pub(super) fn locations(&self) -> Vec<Location> {
        let mut locations: Vec<Location> =
            self.first.values().chain(self.others.values().flatten()).cloned().collect();
        locations.sort_unstable_by(|a, b| {
            a.segment.cmp(&b.segment).then(a.frame.offset.cmp(&b.frame.offset))
        });
        locations
    }
}
