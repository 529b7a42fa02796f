//! What can go wrong.

use layerwise_optim::OptimError;
use layerwise_optim::ndarray::ShapeError;

/// Why data cannot be read, or a network cannot be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A compressed file is damaged.
    #[error("{file} cannot be unpacked: {source}")]
    Unpack {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// A line of the digits is not 64 pixels and a digit.
    #[error("line {line} of the digits is not 64 numbers up to 16 and a digit")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// Arrays that do not fit together.
    #[error("arrays do not fit together: {0}")]
    Shape(#[from] ShapeError),
    /// An optimizer refused, as with gradients that are not finite where a rate is too large.
    #[error(transparent)]
    Optimizer(#[from] OptimError),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
