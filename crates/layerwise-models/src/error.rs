//! The error type of the crate.

use layerwise_data::DataError;
use layerwise_linalg::LinalgError;

/// What can be wrong with a model, its parameters or the data given to it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Two arguments do not fit each other.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The argument at fault.
        what: &'static str,
        /// The shape that fits the model.
        expected: (usize, usize),
        /// The shape that was given.
        found: (usize, usize),
    },
    /// A number outside its range.
    #[error("{name} is {value}, but must be {allowed}")]
    InvalidParameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A matrix is not what the computation needs: singular, indefinite, or not finite.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
    /// The data are not valid.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Shorthand for a result with this crate's error.
pub type Result<T> = std::result::Result<T, ModelError>;

pub(crate) fn check_shape(
    what: &'static str,
    expected: (usize, usize),
    found: (usize, usize),
) -> Result<()> {
    if expected == found { Ok(()) } else { Err(ModelError::Shape { what, expected, found }) }
}

pub(crate) fn check_damping(value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(ModelError::InvalidParameter {
            name: "damping λ",
            value,
            allowed: "positive and finite",
        })
    }
}
