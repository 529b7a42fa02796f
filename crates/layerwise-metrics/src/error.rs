//! The error type of the crate.

use layerwise_linalg::LinalgError;

/// What can be wrong with the arguments of a metric.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Two arguments do not fit each other.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The argument at fault.
        what: &'static str,
        /// The shape that fits the other arguments.
        expected: (usize, usize),
        /// The shape that was given.
        found: (usize, usize),
    },
    /// A direction without a length: an alignment with it is undefined.
    #[error("{what} is the zero vector, so it has no direction")]
    ZeroVector {
        /// The argument at fault.
        what: &'static str,
    },
    /// A number is not finite.
    #[error("{what} contains {value}, not a finite number")]
    NonFinite {
        /// The argument at fault.
        what: &'static str,
        /// The number found.
        value: f64,
    },
    /// A matrix does not have the property that the metric needs, such as full row rank.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
}

/// Shorthand for a result with this crate's error.
pub type Result<T> = std::result::Result<T, MetricsError>;
