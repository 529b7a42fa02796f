//! What can be wrong with a request for data.

use layerwise_linalg::LinalgError;
use ndarray::{ArrayView1, ArrayView2};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, DataError>;

/// Why a spectrum, covariance, task, batch or set of moments cannot be made.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DataError {
    /// A real parameter lies outside its range (or is not a number).
    #[error("{name} = {value}: must be {allowed}")]
    InvalidParameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values it may take.
        allowed: &'static str,
    },
    /// A count (a dimension, a sample size) is smaller than the smallest possible one.
    #[error("{name} = {value}: must be at least {least}")]
    TooFew {
        /// What is counted.
        name: &'static str,
        /// How many were asked for.
        value: usize,
        /// The smallest possible number.
        least: usize,
    },
    /// The representation has more rows than the inputs or the targets have coordinates.
    #[error("rank k = {rank} exceeds min(d_X, d_Y) = min({input_dimension}, {output_dimension})")]
    RankTooLarge {
        /// k, the number of rows of the representation.
        rank: usize,
        /// d_X.
        input_dimension: usize,
        /// d_Y.
        output_dimension: usize,
    },
    /// An array has the wrong shape.
    #[error("{what} is {} x {}, expected {} x {}", .found.0, .found.1, .expected.0, .expected.1)]
    Shape {
        /// The array.
        what: &'static str,
        /// The shape it should have (a vector counts as one column).
        expected: (usize, usize),
        /// The shape it has.
        found: (usize, usize),
    },
    /// An entry is infinite or not a number.
    #[error("{what} has a non-finite entry {value} at row {row}, column {column}")]
    NonFinite {
        /// The array.
        what: &'static str,
        /// The entry's row.
        row: usize,
        /// The entry's column.
        column: usize,
        /// The entry.
        value: f64,
    },
    /// A matrix that has to be symmetric is not.
    #[error(
        "{what} is not symmetric: entries ({row}, {column}) and ({column}, {row}) differ by {difference:e}"
    )]
    NotSymmetric {
        /// The matrix.
        what: &'static str,
        /// The row of the first entry found.
        row: usize,
        /// Its column.
        column: usize,
        /// Its difference from the entry opposite.
        difference: f64,
    },
    /// The rows of a representation are not orthonormal.
    #[error(
        "representation: entry ({row}, {column}) of G Gᵀ differs from the identity's by {difference:e}"
    )]
    NotOrthonormal {
        /// The row of G Gᵀ.
        row: usize,
        /// The column of G Gᵀ.
        column: usize,
        /// The difference from the identity there.
        difference: f64,
    },
    /// A matrix computation failed.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
}

/// Refuses a count below `least`.
pub(crate) fn at_least(name: &'static str, value: usize, least: usize) -> Result<()> {
    if value < least { Err(DataError::TooFew { name, value, least }) } else { Ok(()) }
}

/// Refuses a value for which the condition does not hold.
pub(crate) fn require(
    condition: bool,
    name: &'static str,
    value: f64,
    allowed: &'static str,
) -> Result<()> {
    if condition { Ok(()) } else { Err(DataError::InvalidParameter { name, value, allowed }) }
}

/// Refuses a noise standard deviation that is negative, infinite or not a number.
pub(crate) fn require_noise(noise: f64) -> Result<()> {
    require(
        noise.is_finite() && noise >= 0.0,
        "noise standard deviation sigma",
        noise,
        "finite and non-negative",
    )
}

/// Refuses an array of another shape.
pub(crate) fn require_shape(
    what: &'static str,
    expected: (usize, usize),
    found: (usize, usize),
) -> Result<()> {
    if expected == found { Ok(()) } else { Err(DataError::Shape { what, expected, found }) }
}

/// Refuses an array with an infinity or a NaN.
pub(crate) fn require_finite(what: &'static str, a: ArrayView2<'_, f64>) -> Result<()> {
    match a.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(DataError::NonFinite { what, row, column, value }),
        None => Ok(()),
    }
}

/// Refuses a vector with an infinity or a NaN.
pub(crate) fn require_finite_vector(what: &'static str, a: ArrayView1<'_, f64>) -> Result<()> {
    require_finite(what, a.insert_axis(ndarray::Axis(1)))
}
