//! The name of a record.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// The name of a record: the XXH3-128 hash of its identity. Shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u128);

impl Key {
    /// The key of the record with this identity.
    #[must_use]
    pub fn of(identity: &str) -> Self {
        Self(xxh3_128(identity.as_bytes()))
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
