//! Writing a checkpoint: beside the old one first, in whose place it is put when it is whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use layerwise_linalg::Scalar;
use ndarray::ArrayView2;

use crate::config::chain::Chain;
use crate::error::{OptimError, Result};
use crate::numeric::finite::first_non_finite;
use crate::state::checkpoint::header::{
    Array, Content, Entry, LARGEST_HEADER, LENGTH_BYTES, Value, digits,
};
use crate::state::checkpoint::tensor;
use crate::values::{StateRef, StateWriter, refuse};

/// One optimizer as it stands.
pub(crate) struct Section<'s, A> {
    pub(crate) method: &'s Chain,
    pub(crate) shape: (usize, usize),
    pub(crate) steps: u64,
    pub(crate) values: StateWriter<'s, A>,
}

/// Writes a checkpoint. What stood at the path stays whole until the new one is.
pub(crate) fn save<A: Scalar>(path: &Path, sections: Content<Section<'_, A>>) -> Result<()> {
    let mut arrays = Vec::new();
    let mut content = sections.try_map(|name, section| {
        section.entry(&mut arrays).map_err(|source| match name {
            None => source,
            Some(name) => OptimError::Parameter { name: name.to_owned(), source: Box::new(source) },
        })
    })?;
    let failed = |action| move |error| OptimError::io(path, action, &error);
    let mut file = Beside::create(path).map_err(failed("write"))?;
    write(&mut file.file, &mut content, &arrays).map_err(failed("write"))?;
    file.replace().map_err(failed("replace"))
}

fn write<A: Scalar>(
    file: &mut File,
    content: &mut Content<Entry<'_>>,
    arrays: &[ArrayView2<'_, A>],
) -> io::Result<()> {
    // Each checksum is as long as what stands for it here.
    let length = content.header::<A>()?.len();
    if (length - LENGTH_BYTES) as u64 > LARGEST_HEADER {
        return Err(io::Error::other("its header would be larger than the format allows"));
    }
    file.seek(SeekFrom::Start(length as u64))?;
    for (entry, &array) in content.arrays_mut().into_iter().zip(arrays) {
        entry.checksum = digits(tensor::write(array, file)?);
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&content.header::<A>()?)
}

impl<'s, A: Scalar> Section<'s, A> {
    /// What the header says of it; its arrays are added to those that are to be written.
    fn entry(self, to_write: &mut Vec<ArrayView2<'s, A>>) -> Result<Entry<'s>> {
        let (mut values, mut arrays) = (BTreeMap::new(), BTreeMap::new());
        for (path, value) in self.values.into_refs() {
            let value = match value {
                StateRef::Array(array) => {
                    if first_non_finite(&array).is_some() {
                        return Err(refuse(&path, "has an entry that is not finite"));
                    }
                    if path.contains('/') {
                        return Err(refuse(&path, "has a name with a slash"));
                    }
                    to_write.push(array);
                    arrays.insert(path, Array { shape: array.dim(), checksum: digits(0) });
                    continue;
                }
                StateRef::Number(number) if !number.is_finite() => {
                    return Err(refuse(&path, "is not finite"));
                }
                StateRef::Number(number) => Value::Number(number),
                StateRef::Count(count) => Value::Count(count),
                StateRef::Flag(flag) => Value::Flag(flag),
            };
            values.insert(path, value);
        }
        let method = Cow::Borrowed(self.method);
        Ok(Entry { shape: self.shape, steps: self.steps, method, values, arrays })
    }
}

/// A file beside the one that it is to replace, deleted where it does not come to that.
struct Beside {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

/// Sets saved at the same time do not meet.
static SAVED: AtomicU64 = AtomicU64::new(0);

impl Beside {
    fn create(path: &Path) -> io::Result<Self> {
        // A link is followed, not replaced.
        let target = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            target => target?,
        };
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            let mut beside = std::ffi::OsString::from(".");
            beside.push(name);
            let saved = SAVED.fetch_add(1, Ordering::Relaxed);
            beside.push(format!(".{}-{saved}.tmp", std::process::id()));
            let path = target.with_file_name(beside);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                // Left behind by a killed process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok(Beside { file: file?, path, target }),
            }
        }
    }

    fn replace(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        sync_folder(&self.target);
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Nothing is there any more after `replace`; what cannot be deleted does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// After a power cut either of two whole files is there: which one, is all that may fail here, as it
/// does on file systems whose folders cannot be synced.
#[cfg(unix)]
fn sync_folder(target: &Path) {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
}

#[cfg(not(unix))]
fn sync_folder(_target: &Path) {}
