//! What is wrong in a store.

use std::fmt;
use std::path::PathBuf;

use super::Key;

/// A piece of a store that is not as it was written. It is left where it is and ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file that it is in.
    pub file: PathBuf,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes it takes.
    pub length: u64,
    /// The record that it was, where this is known.
    pub key: Option<Key>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a piece of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends within a record.
    Torn,
    /// The record has other bytes than were written, fewer or more.
    Altered,
    /// The bytes are no record.
    Foreign,
    /// The record was written whole, but is not one that this program can read.
    Unreadable,
    /// The record was written whole, but under the key of another.
    OtherKey,
    /// The file is not a segment.
    NoSegment,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torn => "the file ends within a record",
            Self::Altered => "the record's bytes are altered or missing",
            Self::Foreign => "the bytes are no record",
            Self::Unreadable => "the record's content cannot be read",
            Self::OtherKey => "the record has the key of another",
            Self::NoSegment => "the file is not a segment of records",
        })
    }
}

impl fmt::Display for Damage {
    /// One line, whatever is in the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display().to_string().replace(['\n', '\r'], " ");
        write!(f, "{file}: byte {}, ", self.offset)?;
        if let Some(key) = self.key {
            write!(f, "record {key}, ")?;
        }
        write!(f, "{} bytes: {}", self.length, self.fault)
    }
}
