//! The error type of the crate.

use layerwise_linalg::LinalgError;

/// What can be wrong with the arguments of a closed form.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TheoryError {
    /// A number outside the range for which the formula holds.
    #[error("{name} is {value}, but must be {allowed}")]
    InvalidParameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
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
    /// A matrix does not have the property that the formula needs.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
}

/// Shorthand for a result with this crate's error.
pub type Result<T> = std::result::Result<T, TheoryError>;

pub(crate) fn check_shape(
    what: &'static str,
    expected: (usize, usize),
    found: (usize, usize),
) -> Result<()> {
    if expected == found { Ok(()) } else { Err(TheoryError::Shape { what, expected, found }) }
}

/// Passes `value` where `holds`; NaN never does, as no comparison with it is true.
pub(crate) fn require(
    name: &'static str,
    value: f64,
    holds: bool,
    allowed: &'static str,
) -> Result<f64> {
    if holds { Ok(value) } else { Err(TheoryError::InvalidParameter { name, value, allowed }) }
}
