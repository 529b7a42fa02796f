//! Where in a segment the records are: found by its headers, around what is damaged.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::frame::{self, HEADER, Header, MAGIC};
use super::{Fault, Key, Record};

/// A segment that is read.
pub(super) struct Segment {
    file: BufReader<File>,
    position: u64,
    size: u64,
}

/// A whole frame, as far as its header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) offset: u64,
    /// Bytes of header and payload.
    pub(super) length: u64,
    pub(super) key: Key,
}

impl Frame {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// Bytes that are no whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) key: Option<Key>,
    pub(super) fault: Fault,
}

/// What is in a segment, in order.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) frames: Vec<Frame>,
    pub(super) gaps: Vec<Gap>,
}

impl Segment {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::new(File::open(path)?)
    }

    pub(super) fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let mut file = BufReader::new(file);
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, position: 0, size })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether somebody alive holds the segment's lock to write to it. Where there are no locks,
    /// nobody does.
    pub(super) fn is_held(&self) -> bool {
        let file = self.file.get_ref();
        match file.try_lock_shared() {
            Ok(()) => {
                // It also goes with the file.
                let _ = file.unlock();
                false
            }
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => false,
        }
    }

    /// Up to `buffer.len()` bytes from `offset` on: fewer at the end of the file.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        // Within the buffer a relative move costs no call of the system.
        match i64::try_from(i128::from(offset) - i128::from(self.position)) {
            Ok(distance) => self.file.seek_relative(distance)?,
            Err(_) => _ = self.file.seek(SeekFrom::Start(offset))?,
        }
        self.position = offset;
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read(&mut buffer[done..]) {
                Ok(0) => break,
                Ok(read) => {
                    done += read;
                    self.position += read as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn bytes(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length.min(self.size.saturating_sub(offset)))
            .map_err(|_| ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; length];
        let read = self.read_at(offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The bytes of a frame, and its record if they are as they were written.
    pub(super) fn frame(&mut self, frame: &Frame) -> io::Result<(Vec<u8>, Result<Record, Fault>)> {
        let bytes = self.bytes(frame.offset, frame.length)?;
        let record = if bytes.len() as u64 == frame.length {
            frame::decode(&bytes, frame.key)
        } else {
            Err(Fault::Altered)
        };
        Ok((bytes, record))
    }

    /// The bytes of a gap, in parts.
    pub(super) fn copy(
        &mut self,
        offset: u64,
        length: u64,
        to: &mut impl io::Write,
    ) -> io::Result<()> {
        const PART: u64 = 1 << 20;
        let end = offset + length;
        let mut at = offset;
        while at < end {
            let part = self.bytes(at, PART.min(end - at))?;
            if part.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            to.write_all(&part)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn header(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER];
        let read = self.read_at(offset, &mut bytes)?;
        Ok(Header::read(&bytes[..read]))
    }

    /// Finds every frame by its header. Payloads are read only beside damage.
    pub(super) fn scan(&mut self) -> io::Result<Scan> {
        let mut scan = Scan::default();
        let mut at = 0;
        while at < self.size {
            let header = self.header(at)?;
            let mut gap = Gap { offset: at, length: 0, key: None, fault: Fault::Foreign };
            if let Some(Header { length, key, .. }) = header {
                let length = length.saturating_add(HEADER as u64);
                if length <= self.size - at {
                    scan.frames.push(Frame { offset: at, length, key });
                    at += length;
                    continue;
                }
                (gap.key, gap.fault) = (Some(key), Fault::Torn);
            } else if let Some(last) = scan.frames.pop_if(|last| last.end() == at) {
                // Where bytes are missing from the frame before, or were put into it, this is not
                // where the next one begins.
                if self.frame(&last)?.1 == Err(Fault::Altered) {
                    gap.offset = last.offset;
                    (gap.key, gap.fault) = (Some(last.key), Fault::Altered);
                } else {
                    scan.frames.push(last);
                }
            }
            let next = self.find(gap.offset + 1)?;
            if next.is_some() && gap.fault == Fault::Torn {
                gap.fault = Fault::Altered;
            } else if next.is_none() && gap.fault == Fault::Foreign && self.is_torn_header(at)? {
                gap.fault = Fault::Torn;
            }
            at = next.unwrap_or(self.size);
            gap.length = at - gap.offset;
            scan.gaps.push(gap);
        }
        Ok(scan)
    }

    /// The first place from `from` on where a header is.
    fn find(&mut self, from: u64) -> io::Result<Option<u64>> {
        const PART: usize = 1 << 16;
        let mut part = vec![0; PART];
        let mut at = from;
        loop {
            let read = self.read_at(at, &mut part)?;
            let found = part[..read].windows(MAGIC.len()).enumerate();
            let places: Vec<u64> =
                found.filter(|(_, bytes)| *bytes == MAGIC).map(|(i, _)| at + i as u64).collect();
            for place in places {
                if self.header(place)?.is_some() {
                    return Ok(Some(place));
                }
            }
            if read < PART {
                return Ok(None);
            }
            // A magic may lie across two parts.
            at += (PART - (MAGIC.len() - 1)) as u64;
        }
    }

    /// Whether the file's last bytes are the beginning of a header.
    fn is_torn_header(&mut self, offset: u64) -> io::Result<bool> {
        let rest = self.bytes(offset, HEADER as u64)?;
        let known = rest.len().min(MAGIC.len());
        Ok(rest.len() < HEADER && rest[..known] == MAGIC[..known])
    }
}
