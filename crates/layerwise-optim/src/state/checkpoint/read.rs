//! Reading a checkpoint: its header whole and checked first, then tensor by tensor.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;
use safetensors::tensor::Metadata;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::chain::Chain;
use crate::error::{OptimError, Result};
use crate::state::checkpoint::header::{
    Content, Entry, FORMAT, LARGEST_HEADER, LENGTH_BYTES, Value, digits, dtype, tensor_name,
};
use crate::state::checkpoint::tensor;
use crate::state::saved::{Resume, check_fits, check_scalar, check_steps, check_version};
use crate::values::{Found, StateReader, StateSource};

/// A file whose header has been read and is consistent.
pub(crate) struct Checkpoint<R> {
    path: PathBuf,
    file: R,
    /// Where the tensors begin.
    start: u64,
    tensors: Metadata,
    content: Content<Entry<'static>>,
}

/// Which state is to be read, and what it has to fit.
pub(crate) struct Wanted<'w> {
    /// Of a set.
    pub(crate) parameter: Option<&'w str>,
    pub(crate) method: &'w Chain,
    pub(crate) shape: (usize, usize),
    pub(crate) resume: Resume,
}

impl Checkpoint<File> {
    pub(crate) fn open<A: Scalar>(path: &Path) -> Result<Self> {
        let failed = |error| OptimError::io(path, "read", &error);
        // Looked at before it is opened, as opening a pipe would wait for its other end.
        let found = fs::metadata(path).map_err(failed)?;
        if found.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if !found.is_file() {
            return Err(no_checkpoint(path, "it is no file"));
        }
        Checkpoint::new::<A>(path, File::open(path).map_err(failed)?)
    }
}

impl<R: Read + Seek> Checkpoint<R> {
    /// The path is for messages alone.
    pub(crate) fn new<A: Scalar>(path: &Path, mut file: R) -> Result<Self> {
        let failed = |error| OptimError::io(path, "read", &error);
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let header = read_header(path, &mut file, length)?;
        let start = (LENGTH_BYTES + header.len()) as u64;
        let tensors: Metadata = serde_json::from_slice(&header).map_err(|e| {
            no_checkpoint(path, format!("its header is no safetensors header: {e}"))
        })?;
        let expected = start.saturating_add(tensors.data_len() as u64);
        if length != expected {
            let problem = format!("it has {length} bytes, and its header says {expected}");
            return Err(damaged(path, problem));
        }
        let content = read_content::<A>(path, &tensors)?;
        check_tensors::<A>(path, &tensors, &content)?;
        Ok(Checkpoint { path: path.to_owned(), file, start, tensors, content })
    }

    /// Refuses the states of a set.
    pub(crate) fn check_one(&self) -> Result<()> {
        match self.content {
            Content::Optimizer(_) => Ok(()),
            Content::Set { .. } => Err(no_checkpoint(
                &self.path,
                "it holds the states of a set of optimizers, not that of one",
            )),
        }
    }

    /// Refuses the state of one optimizer, and other parameters than these; returns the run's steps.
    pub(crate) fn check_parameters<'n>(
        &self,
        mut names: impl Iterator<Item = &'n str>,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<u64> {
        let Content::Set { steps, parameters: entries } = &self.content else {
            let problem = "it holds the state of one optimizer, not those of a set";
            return Err(no_checkpoint(&self.path, problem));
        };
        let error = match entries.keys().find(|name| !is_known(name)) {
            Some(name) => OptimError::UnknownParameter { name: name.clone() },
            None => match names.find(|&name| !entries.contains_key(name)) {
                Some(name) => OptimError::StateParameter { name: name.to_owned() },
                None => return check_steps(*steps).map(|()| *steps),
            },
        };
        Err(self.explain(None, error))
    }

    /// Hands out the state of a parameter, or of the one optimizer, if it fits; the steps that it had
    /// taken first.
    pub(crate) fn read<A: Scalar>(
        &mut self,
        wanted: &Wanted<'_>,
        load: impl FnOnce(u64, &mut StateReader<'_, A>) -> Result<()>,
    ) -> Result<()> {
        self.read_entry(wanted, load).map_err(|error| self.explain(wanted.parameter, error))
    }

    fn read_entry<A: Scalar>(
        &mut self,
        wanted: &Wanted<'_>,
        load: impl FnOnce(u64, &mut StateReader<'_, A>) -> Result<()>,
    ) -> Result<()> {
        let parameter = wanted.parameter;
        let Some(entry) = self.content.part(parameter) else {
            let name = parameter.unwrap_or_default().to_owned();
            return Err(OptimError::StateParameter { name });
        };
        check_steps(entry.steps)?;
        let expected = (wanted.method, wanted.shape);
        check_fits(expected, (&entry.method, entry.shape), wanted.resume)?;
        let mut source = EntrySource {
            path: &self.path,
            file: &mut self.file,
            start: self.start,
            tensors: &self.tensors,
            parameter,
            entry,
        };
        let mut reader = StateReader::new(&mut source);
        load(entry.steps, &mut reader)?;
        reader.finish()
    }

    /// Adds which file, and which parameter, to an error that does not name the file already.
    fn explain(&self, parameter: Option<&str>, error: OptimError) -> OptimError {
        if let OptimError::CheckpointIo { .. }
        | OptimError::CheckpointDamaged { .. }
        | OptimError::NotACheckpoint { .. } = error
        {
            return error;
        }
        let source = match parameter {
            None => error,
            Some(name) => OptimError::Parameter { name: name.to_owned(), source: Box::new(error) },
        };
        OptimError::CheckpointMismatch { path: self.path.clone(), source: Box::new(source) }
    }
}

/// The part of a file that is one optimizer's state.
struct EntrySource<'c, R> {
    path: &'c Path,
    file: &'c mut R,
    start: u64,
    tensors: &'c Metadata,
    parameter: Option<&'c str>,
    entry: &'c Entry<'static>,
}

impl<A: Scalar, R: Read + Seek> StateSource<A> for EntrySource<'_, R> {
    fn find(&self, name: &str) -> Option<Found> {
        let array = self.entry.arrays.get(name);
        array.map(|array| Found::Array { rows: array.shape.0, cols: array.shape.1 }).or_else(|| {
            Some(match *self.entry.values.get(name)? {
                Value::Number(number) => Found::Number(number),
                Value::Count(count) => Found::Count(count),
                Value::Flag(flag) => Found::Flag(flag),
            })
        })
    }

    fn read(&mut self, name: &str, into: ArrayViewMut2<'_, A>) -> Result<()> {
        let tensor = tensor_name(self.parameter, name);
        let (Some(info), Some(array)) = (self.tensors.info(&tensor), self.entry.arrays.get(name))
        else {
            return Err(damaged(self.path, format!("it has no tensor {tensor:?}")));
        };
        let at = SeekFrom::Start(self.start + info.data_offsets.0 as u64);
        let read = self.file.seek(at).and_then(|_| tensor::read(into, self.file));
        let checksum = read.map_err(|error| OptimError::io(self.path, "read", &error))?;
        if digits(checksum) != array.checksum {
            let problem = format!("tensor {tensor:?} is not what was written");
            return Err(damaged(self.path, problem));
        }
        Ok(())
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.entry.arrays.keys().chain(self.entry.values.keys()).map(String::as_str))
    }
}

/// The header alone. Its length is believed only where the file is as long.
fn read_header(path: &Path, file: &mut (impl Read + Seek), length: u64) -> Result<Vec<u8>> {
    let failed = |error| OptimError::io(path, "read", &error);
    if length < LENGTH_BYTES as u64 {
        let problem = if length == 0 { "it is empty" } else { "it is too short" };
        return Err(no_checkpoint(path, problem));
    }
    let mut first = [0; LENGTH_BYTES];
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.read_exact(&mut first).map_err(failed)?;
    if first[0] == b'{' && first.is_ascii() {
        let problem = "it is a text, perhaps a state as JSON, which `from_json` reads";
        return Err(no_checkpoint(path, problem));
    }
    let stated = u64::from_le_bytes(first);
    if stated > LARGEST_HEADER || stated > length - LENGTH_BYTES as u64 {
        let problem =
            format!("it begins with a header's length of {stated}, and has {length} bytes");
        return Err(no_checkpoint(path, problem));
    }
    let mut header = vec![0; stated as usize];
    file.read_exact(&mut header).map_err(failed)?;
    Ok(header)
}

fn read_content<A: Scalar>(path: &Path, tensors: &Metadata) -> Result<Content<Entry<'static>>> {
    let value = |key| tensors.metadata().as_ref().and_then(|metadata| metadata.get(key));
    if value("format").map(String::as_str) != Some(FORMAT) {
        let problem = format!("the metadata of its header do not name the format {FORMAT:?}");
        return Err(no_checkpoint(path, problem));
    }
    let [version, scalar, checksum, state] = ["version", "scalar", "checksum", "state"].map(value);
    let (Some(version), Some(scalar), Some(checksum), Some(state)) =
        (version, scalar, checksum, state)
    else {
        return Err(damaged(path, "a part of its metadata is missing"));
    };
    let mismatch =
        |source| OptimError::CheckpointMismatch { path: path.to_owned(), source: Box::new(source) };
    let Ok(version) = version.parse() else {
        return Err(damaged(path, format!("its version is {version:?}")));
    };
    check_version(version).map_err(mismatch)?;
    check_scalar::<A>(scalar).map_err(mismatch)?;
    if digits(xxh3_64(state.as_bytes())) != *checksum {
        return Err(damaged(path, "its metadata are not what was written"));
    }
    serde_json::from_str(state).map_err(|e| damaged(path, format!("its metadata: {e}")))
}

/// Refuses tensors that the state does not name, and those that are not what it says.
fn check_tensors<A: Scalar>(
    path: &Path,
    tensors: &Metadata,
    content: &Content<Entry<'_>>,
) -> Result<()> {
    let arrays: BTreeMap<_, _> = content.arrays().into_iter().collect();
    if let Some(name) = tensors.offset_keys().iter().find(|&name| !arrays.contains_key(name)) {
        return Err(damaged(path, format!("its tensor {name:?} is not known")));
    }
    for (name, array) in arrays {
        let Some(info) = tensors.info(&name) else {
            return Err(damaged(path, format!("it has no tensor {name:?}")));
        };
        let (expected, shape) = (dtype::<A>(), [array.shape.0, array.shape.1]);
        if info.dtype != expected || info.shape != shape {
            let (found, is) = (info.dtype, &info.shape);
            let problem =
                format!("tensor {name:?} is {found} {is:?}, expected {expected} {shape:?}");
            return Err(damaged(path, problem));
        }
    }
    Ok(())
}

fn no_checkpoint(path: &Path, problem: impl Into<String>) -> OptimError {
    OptimError::NotACheckpoint { path: path.to_owned(), problem: problem.into() }
}

fn damaged(path: &Path, problem: impl Into<String>) -> OptimError {
    OptimError::CheckpointDamaged { path: path.to_owned(), problem: problem.into() }
}
