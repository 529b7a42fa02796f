//! The handwritten digits.

use layerwise_optim::Scalar;
use layerwise_optim::ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::data::{Examples, unpack};
use crate::error::{Error, Result};

/// Height and width of an image.
pub const SIDE: usize = 8;
/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;
/// Every fourth image, of a shuffled order, is for testing.
const TEST_SHARE: usize = 4;

/// Images as rows, with their labels.
#[derive(Clone, Debug)]
pub struct Images<A> {
    /// N × 64, each pixel from 0 to 1.
    pub pixels: Array2<A>,
    /// From 0 to `classes − 1`.
    pub labels: Vec<usize>,
    /// How many digits there are to tell apart.
    pub classes: usize,
}

/// What is trained on, and what is tested on.
#[derive(Clone, Debug)]
pub struct Split<A> {
    /// Three quarters.
    pub train: Images<A>,
    /// One quarter.
    pub test: Images<A>,
}

/// All images, split the same way each time.
///
/// # Errors
///
/// A damaged file.
pub fn digits<A: Scalar>() -> Result<Split<A>> {
    let text = unpack("digits.csv.gz", include_bytes!("../../data/digits.csv.gz"))?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let bad = || Error::Line { line: index + 1 };
        let numbers: std::result::Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
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

fn images<A: Scalar>(rows: &[(Vec<u8>, usize)]) -> Images<A> {
    Images {
        pixels: Array2::from_shape_fn((rows.len(), PIXELS), |(i, j)| {
            A::from_f64(f64::from(rows[i].0[j]) / 16.0)
        }),
        labels: rows.iter().map(|row| row.1).collect(),
        classes: 10,
    }
}

impl<A: Scalar> Images<A> {
    /// The images of some digits alone, numbered from 0.
    #[must_use]
    pub fn of(&self, digits: std::ops::Range<usize>) -> Self {
        let kept: Vec<usize> =
            (0..self.labels.len()).filter(|&i| digits.contains(&self.labels[i])).collect();
        let images = self.select(&kept);
        Images {
            labels: images.labels.iter().map(|label| label - digits.start).collect(),
            classes: digits.len(),
            ..images
        }
    }
}

impl<A: Scalar> Split<A> {
    /// Both parts of some digits alone.
    #[must_use]
    pub fn of(&self, digits: std::ops::Range<usize>) -> Self {
        Split { train: self.train.of(digits.clone()), test: self.test.of(digits) }
    }
}

impl<A: Scalar> Examples for Images<A> {
    type Batch = Self;

    fn count(&self) -> usize {
        self.labels.len()
    }

    fn select(&self, numbers: &[usize]) -> Self {
        Images {
            pixels: self.pixels.select(Axis(0), numbers),
            labels: numbers.iter().map(|&i| self.labels[i]).collect(),
            classes: self.classes,
        }
    }
}
