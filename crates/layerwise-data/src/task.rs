//! What a training step needs from a problem.

use rand::Rng;

use crate::batch::Batch;
use crate::error::{Result, at_least, require_shape};
use crate::moments::Moments;

/// A distribution of pairs of an input x in R^{d_X} and a target y in R^{d_Y}.
pub trait Task {
    /// d_X.
    fn input_dimension(&self) -> usize;

    /// d_Y.
    fn output_dimension(&self) -> usize;

    /// Draws n independent pairs into `out`.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::TooFew`] for n = 0, [`crate::DataError::Shape`] when `out` was made
    /// for other dimensions; `out` is then as it was.
    fn draw_batch<R: Rng + ?Sized>(&self, n: usize, rng: &mut R, out: &mut Batch) -> Result<()>;

    /// Draws the moments of n independent pairs into `out`: exactly in distribution, though not
    /// necessarily by way of the pairs.
    ///
    /// # Errors
    ///
    /// As [`Task::draw_batch`]; and [`crate::DataError::Linalg`] when a product fails.
    fn draw_moments<R: Rng + ?Sized>(&self, n: usize, rng: &mut R, out: &mut Moments)
    -> Result<()>;
}

/// Refuses to draw into a batch for other dimensions, or nothing.
pub(crate) fn check_batch<T: Task + ?Sized>(task: &T, n: usize, out: &Batch) -> Result<()> {
    at_least("sample size n", n, 1)?;
    let expected = (n, task.input_dimension());
    require_shape("batch inputs", expected, (n, out.input_dimension()))?;
    let expected = (n, task.output_dimension());
    require_shape("batch targets", expected, (n, out.output_dimension()))
}

/// Refuses to draw into moments for other dimensions, or nothing.
pub(crate) fn check_moments<T: Task + ?Sized>(task: &T, n: usize, out: &Moments) -> Result<()> {
    at_least("sample size n", n, 1)?;
    out.check_dimensions(task.input_dimension(), task.output_dimension())
}
