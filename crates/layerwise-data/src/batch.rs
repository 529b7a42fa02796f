//! A batch of samples.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::error::{Result, at_least, require_finite, require_shape};

/// n pairs of an input and its target, finite, one pair a row.
///
/// The storage is reused: a batch of the same size is drawn into it without allocating.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    x: Array2<f64>,
    y: Array2<f64>,
}

impl Batch {
    /// An empty batch (n = 0), to be drawn into, for inputs in R^{d_X} and targets in R^{d_Y}.
    pub fn with_dimensions(input_dimension: usize, output_dimension: usize) -> Self {
        Self { x: Array2::zeros((0, input_dimension)), y: Array2::zeros((0, output_dimension)) }
    }

    /// The batch of these inputs (n × d_X) and targets (n × d_Y).
    ///
    /// # Errors
    ///
    /// [`crate::DataError::Shape`] when the numbers of rows differ, [`crate::DataError::TooFew`]
    /// for n = 0, [`crate::DataError::NonFinite`] for an infinity or a NaN.
    pub fn new(x: Array2<f64>, y: Array2<f64>) -> Result<Self> {
        check(x.view(), y.view())?;
        Ok(Self { x, y })
    }

    /// Copies inputs (n × d_X) and targets (n × d_Y) into the storage, which grows or shrinks
    /// where n or a dimension has changed. On error the batch stays as it was.
    ///
    /// # Errors
    ///
    /// As [`Batch::new`].
    pub fn set(&mut self, x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>) -> Result<()> {
        check(x, y)?;
        reshape(&mut self.x, x.dim());
        reshape(&mut self.y, y.dim());
        self.x.assign(&x);
        self.y.assign(&y);
        Ok(())
    }

    /// n, the number of samples.
    pub fn sample_size(&self) -> usize {
        self.x.nrows()
    }

    /// d_X.
    pub fn input_dimension(&self) -> usize {
        self.x.ncols()
    }

    /// d_Y.
    pub fn output_dimension(&self) -> usize {
        self.y.ncols()
    }

    /// The inputs, n × d_X.
    pub fn x(&self) -> ArrayView2<'_, f64> {
        self.x.view()
    }

    /// The targets, n × d_Y.
    pub fn y(&self) -> ArrayView2<'_, f64> {
        self.y.view()
    }

    /// Inputs and targets.
    pub fn into_parts(self) -> (Array2<f64>, Array2<f64>) {
        (self.x, self.y)
    }

    /// Storage for n samples; what stands in it is arbitrary.
    pub(crate) fn storage(&mut self, n: usize) -> (ArrayViewMut2<'_, f64>, ArrayViewMut2<'_, f64>) {
        let (d_x, d_y) = (self.x.ncols(), self.y.ncols());
        reshape(&mut self.x, (n, d_x));
        reshape(&mut self.y, (n, d_y));
        (self.x.view_mut(), self.y.view_mut())
    }
}

fn check(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>) -> Result<()> {
    at_least("sample size n", x.nrows(), 1)?;
    require_shape("targets y", (x.nrows(), y.ncols()), y.dim())?;
    require_finite("inputs x", x)?;
    require_finite("targets y", y)
}

/// Replaces the array where its shape differs.
pub(crate) fn reshape(a: &mut Array2<f64>, shape: (usize, usize)) {
    if a.dim() != shape {
        *a = Array2::zeros(shape);
    }
}
