//! The data, which `data/README.md` describes.

pub mod digits;
pub mod text;

use std::io::Read;

use crate::error::{Error, Result};

/// Examples to train on, or to test on.
pub trait Examples: Sync {
    /// Some of them, as a network takes them.
    type Batch: Sync;

    /// How many there are.
    fn count(&self) -> usize;

    /// Those with these numbers, below [`count`](Self::count), in this order.
    fn select(&self, numbers: &[usize]) -> Self::Batch;

    /// So many, evenly spaced; all where there are fewer.
    fn spread(&self, most: usize) -> Self::Batch {
        let count = most.min(self.count());
        let numbers: Vec<usize> = (0..count).map(|i| i * self.count() / count).collect();
        self.select(&numbers)
    }
}

fn unpack(file: &'static str, bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .map_err(|source| Error::Unpack { file, source })?;
    Ok(text)
}
