//! The bytes of a record in a segment: a header of fixed size, then the payload.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic |
//! | 8 | length of the payload |
//! | 16 | key |
//! | 16 | XXH3-128 of the payload |
//! | 16 | XXH3-128 of the 48 bytes before |
//!
//! All numbers are little-endian.

use xxhash_rust::xxh3::xxh3_128;

use super::{Fault, Key, Record};

/// Not text, so that no JSON holds it.
pub(super) const MAGIC: [u8; 8] = *b"\x97LWREC\r\n";
pub(super) const HEADER: usize = 64;
const CHECKED: usize = HEADER - 16;

/// A header that is as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the payload.
    pub(super) length: u64,
    pub(super) key: Key,
    checksum: u128,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.key.to_bytes());
        bytes[32..48].copy_from_slice(&self.checksum.to_le_bytes());
        let check = xxh3_128(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`; nothing if there is none, or a damaged one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (checked, rest) = bytes.split_at_checked(CHECKED)?;
        let (check, _) = rest.split_first_chunk()?;
        if xxh3_128(checked) != u128::from_le_bytes(*check) {
            return None;
        }
        let (magic, rest) = checked.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (checksum, _) = rest.split_first_chunk()?;
        (*magic == MAGIC).then_some(Self {
            length: u64::from_le_bytes(*length),
            key: Key::from_bytes(*key),
            checksum: u128::from_le_bytes(*checksum),
        })
    }

    /// Whether the payload is what was written behind this header.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        xxh3_128(payload) == self.checksum
    }
}

/// The frame of a record.
///
/// # Errors
/// Why the record cannot be written.
pub(super) fn encode(key: Key, record: &Record) -> Result<Vec<u8>, String> {
    let mut frame = vec![0; HEADER];
    record.write_payload(&mut frame)?;
    let (header, payload) = frame.split_at_mut(HEADER);
    let length = payload.len() as u64;
    header.copy_from_slice(&Header { length, key, checksum: xxh3_128(payload) }.to_bytes());
    Ok(frame)
}

/// The record in a frame that should hold the one of this key.
///
/// # Errors
/// What is wrong with the frame.
pub(super) fn decode(frame: &[u8], key: Key) -> Result<Record, Fault> {
    let header = Header::read(frame).filter(|header| header.key == key).ok_or(Fault::Altered)?;
    let payload = &frame[HEADER..];
    if !header.fits(payload) {
        return Err(Fault::Altered);
    }
    let record = Record::read_payload(payload).ok_or(Fault::Unreadable)?;
    if record.key() == key { Ok(record) } else { Err(Fault::OtherKey) }
}
