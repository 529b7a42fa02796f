//! The handwritten digits (see `data/README.md` for where they come from).

use std::io::Read;

use layerwise_optim::ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Pixels of an image.
pub const PIXELS: usize = 64;
/// Every fourth image, of a shuffled order, is for testing.
const TEST_SHARE: usize = 4;

/// Images as rows, with their labels.
#[derive(Clone, Debug)]
pub struct Images {
    /// N × 64, each pixel from 0 to 1.
    pub pixels: Array2<f64>,
    /// From 0 to `classes − 1`.
    pub labels: Vec<usize>,
    /// How many digits there are to tell apart.
    pub classes: usize,
}

/// What is trained on, and what is tested on.
#[derive(Clone, Debug)]
pub struct Split {
    /// Three quarters.
    pub train: Images,
    /// One quarter.
    pub test: Images,
}

/// Why the data cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The compressed file is damaged.
    #[error("the digits cannot be unpacked: {0}")]
    Unpack(#[from] std::io::Error),
    /// A line is not 64 pixels and a digit.
    #[error("line {line} of the digits is not 64 numbers up to 16 and a digit")]
    Line {
        /// Counted from 1.
        line: usize,
    },
}

/// All images, split the same way each time.
///
/// # Errors
///
/// A damaged file.
pub fn digits() -> Result<Split, DataError> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("../data/digits.csv.gz")[..])
        .read_to_string(&mut text)?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let bad = || DataError::Line { line: index + 1 };
        let numbers: Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|_| bad())?;
        match numbers.split_last() {
            Some((&digit, pixels))
                if digit < 10 && pixels.len() == PIXELS && pixels.iter().all(|&x| x <= 16) =>
            {
                rows.push((pixels.to_vec(), usize::from(digit)));
            }
            _ => return Err(bad()),
        }
    }
    rows.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(0));
    let (test, train) = rows.split_at(rows.len() / TEST_SHARE);
    Ok(Split { train: images(train), test: images(test) })
}

fn images(rows: &[(Vec<u8>, usize)]) -> Images {
    Images {
        pixels: Array2::from_shape_fn((rows.len(), PIXELS), |(i, j)| {
            f64::from(rows[i].0[j]) / 16.0
        }),
        labels: rows.iter().map(|row| row.1).collect(),
        classes: 10,
    }
}

impl Images {
    /// The images of some digits alone, numbered from 0.
    #[must_use]
    pub fn of(&self, digits: std::ops::Range<usize>) -> Self {
        let kept: Vec<usize> =
            (0..self.labels.len()).filter(|&i| digits.contains(&self.labels[i])).collect();
        Images {
            pixels: self.pixels.select(Axis(0), &kept),
            labels: kept.iter().map(|&i| self.labels[i] - digits.start).collect(),
            classes: digits.len(),
        }
    }

    /// Some images, in this order.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        Images {
            pixels: self.pixels.select(Axis(0), indices),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            classes: self.classes,
        }
    }
}

impl Split {
    /// Both parts of some digits alone.
    #[must_use]
    pub fn of(&self, digits: std::ops::Range<usize>) -> Self {
        Split { train: self.train.of(digits.clone()), test: self.test.of(digits) }
    }
}
