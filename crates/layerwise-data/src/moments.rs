//! The moments of a batch.

use layerwise_linalg::{gemm, gram};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Zip};

use crate::batch::Batch;
use crate::error::{
    DataError, Result, at_least, require, require_finite, require_finite_vector, require_shape,
};
use crate::workspace::Workspace;

/// What a step on a squared loss needs of a batch of n pairs (x, y): `Ê[xxᵀ]`, `Ê[yxᵀ]`, tr `Ê[yyᵀ]`,
/// and the means `Ê[x]`, `Ê[y]`. Ê is the batch mean.
///
/// Storage is kept: moments of the same dimensions and sample size are set or drawn again
/// without allocating. Where drawing them yields the Cholesky factor of `Ê[xxᵀ]`, it is kept too.
#[derive(Clone, Debug)]
pub struct Moments {
    pub(crate) n: usize,
    pub(crate) xx: Array2<f64>,
    pub(crate) lower: Array2<f64>,
    pub(crate) lower_is_known: bool,
    pub(crate) yx: Array2<f64>,
    pub(crate) yy_trace: f64,
    pub(crate) x_mean: Array1<f64>,
    pub(crate) y_mean: Array1<f64>,
    pub(crate) workspace: Workspace,
}

impl Moments {
    /// Storage for inputs in R^{d_X} and targets in R^{d_Y}; all moments zero, n = 0.
    pub fn with_dimensions(input_dimension: usize, output_dimension: usize) -> Self {
        let (d_x, d_y) = (input_dimension, output_dimension);
        Self {
            n: 0,
            xx: Array2::zeros((d_x, d_x)),
            lower: Array2::zeros((d_x, d_x)),
            lower_is_known: false,
            yx: Array2::zeros((d_y, d_x)),
            yy_trace: 0.0,
            x_mean: Array1::zeros(d_x),
            y_mean: Array1::zeros(d_y),
            workspace: Workspace::default(),
        }
    }

    /// The moments of a batch.
    ///
    /// # Errors
    ///
    /// As [`Moments::set_from_batch`].
    pub fn from_batch(batch: &Batch) -> Result<Self> {
        let mut moments = Self::with_dimensions(batch.input_dimension(), batch.output_dimension());
        moments.set_from_batch(batch)?;
        Ok(moments)
    }

    /// Moments given as numbers: `Ê[xxᵀ]` (d_X × d_X), `Ê[yxᵀ]` (d_Y × d_X), tr `Ê[yyᵀ]`, `Ê[x]`, `Ê[y]`.
    ///
    /// With population moments the sample size n is whatever the caller wants it to stand for.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::Shape`] when shapes do not fit together,
    /// [`crate::DataError::NonFinite`] or [`crate::DataError::InvalidParameter`] for entries that
    /// are not finite or a negative trace, [`crate::DataError::TooFew`] for n = 0,
    /// [`crate::DataError::NotSymmetric`] when `Ê[xxᵀ]` is not symmetric. (That it is positive
    /// semidefinite is not checked.)
    pub fn from_parts(
        n: usize,
        xx: Array2<f64>,
        yx: Array2<f64>,
        yy_trace: f64,
        x_mean: Array1<f64>,
        y_mean: Array1<f64>,
    ) -> Result<Self> {
        at_least("sample size n", n, 1)?;
        let (d_y, d_x) = yx.dim();
        require_shape("E[x xT]", (d_x, d_x), xx.dim())?;
        require_shape("E[x]", (d_x, 1), (x_mean.len(), 1))?;
        require_shape("E[y]", (d_y, 1), (y_mean.len(), 1))?;
        require_finite("E[x xT]", xx.view())?;
        require_finite("E[y xT]", yx.view())?;
        require_finite_vector("E[x]", x_mean.view())?;
        require_finite_vector("E[y]", y_mean.view())?;
        let allowed = "finite and non-negative";
        require(yy_trace.is_finite() && yy_trace >= 0.0, "tr E[y yT]", yy_trace, allowed)?;
        require_symmetric("E[x xT]", xx.view())?;
        Ok(Self { n, xx, yx, yy_trace, x_mean, y_mean, ..Self::with_dimensions(d_x, d_y) })
    }

    /// Replaces these moments by a batch's.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::Shape`] when the dimensions differ, [`crate::DataError::TooFew`] when
    /// the batch is empty; the moments are then as they were.
    pub fn set_from_batch(&mut self, batch: &Batch) -> Result<()> {
        let n = batch.sample_size();
        at_least("sample size n", n, 1)?;
        self.check_dimensions(batch.input_dimension(), batch.output_dimension())?;
        self.set_from_samples(batch.x(), batch.y())
    }

    /// Sets from samples of the right dimensions, n ≥ 1.
    pub(crate) fn set_from_samples(
        &mut self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<()> {
        let scale = 1.0 / x.nrows() as f64;
        gram(scale, x.t(), 0.0, &mut self.xx.view_mut())?;
        gemm(scale, y.t(), x, 0.0, &mut self.yx.view_mut())?;
        column_means(x, &mut self.x_mean);
        column_means(y, &mut self.y_mean);
        self.yy_trace = scale * y.iter().map(|value| value * value).sum::<f64>();
        self.n = x.nrows();
        self.lower_is_known = false;
        Ok(())
    }

    /// n, the number of samples (0 before anything was set or drawn).
    pub fn sample_size(&self) -> usize {
        self.n
    }

    /// d_X.
    pub fn input_dimension(&self) -> usize {
        self.x_mean.len()
    }

    /// d_Y.
    pub fn output_dimension(&self) -> usize {
        self.y_mean.len()
    }

    /// `Ê[xxᵀ]`, d_X × d_X, symmetric.
    pub fn xx(&self) -> ArrayView2<'_, f64> {
        self.xx.view()
    }

    /// The Cholesky factor of `Ê[xxᵀ]` (lower triangular, positive diagonal) where it is known
    /// without factoring: for drawn Gaussian moments with n ≥ d_X, and for independent signs or
    /// uniforms on the axes.
    pub fn xx_lower(&self) -> Option<ArrayView2<'_, f64>> {
        self.lower_is_known.then(|| self.lower.view())
    }

    /// `Ê[yxᵀ]`, d_Y × d_X.
    pub fn yx(&self) -> ArrayView2<'_, f64> {
        self.yx.view()
    }

    /// tr `Ê[yyᵀ]` = Ê‖y‖².
    pub fn yy_trace(&self) -> f64 {
        self.yy_trace
    }

    /// `Ê[x]`.
    pub fn x_mean(&self) -> ArrayView1<'_, f64> {
        self.x_mean.view()
    }

    /// `Ê[y]`.
    pub fn y_mean(&self) -> ArrayView1<'_, f64> {
        self.y_mean.view()
    }

    /// The moments of (D x, y), D = diag(`scale`), written into `out`.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::Shape`] when lengths or dimensions differ,
    /// [`crate::DataError::InvalidParameter`] for a scale that is not finite and positive; `out`
    /// is then as it was.
    pub fn scale_inputs_into(&self, scale: ArrayView1<'_, f64>, out: &mut Self) -> Result<()> {
        let (d_x, d_y) = (self.input_dimension(), self.output_dimension());
        require_shape("input scale", (d_x, 1), (scale.len(), 1))?;
        out.check_dimensions(d_x, d_y)?;
        for &value in scale {
            require(value.is_finite() && value > 0.0, "input scale", value, "finite and positive")?;
        }
        out.n = self.n;
        for ((mut target, source), &row) in
            out.xx.outer_iter_mut().zip(self.xx.outer_iter()).zip(scale)
        {
            Zip::from(&mut target).and(source).and(scale).for_each(|t, &s, &column| {
                *t = row * column * s;
            });
        }
        out.lower_is_known = self.lower_is_known;
        if self.lower_is_known {
            out.lower.assign(&self.lower);
            scale_rows(scale, &mut out.lower);
        }
        for (mut target, source) in out.yx.outer_iter_mut().zip(self.yx.outer_iter()) {
            Zip::from(&mut target).and(source).and(scale).for_each(|t, &s, &c| *t = s * c);
        }
        out.yy_trace = self.yy_trace;
        Zip::from(&mut out.x_mean).and(&self.x_mean).and(scale).for_each(|t, &s, &c| *t = s * c);
        out.y_mean.assign(&self.y_mean);
        Ok(())
    }

    /// Refuses dimensions that are not those of the storage.
    pub(crate) fn check_dimensions(&self, d_x: usize, d_y: usize) -> Result<()> {
        let found = (self.output_dimension(), self.input_dimension());
        require_shape("moment storage (d_Y x d_X)", (d_y, d_x), found)
    }
}

/// D a, D = diag(`scale`).
pub(crate) fn scale_rows(scale: ArrayView1<'_, f64>, a: &mut Array2<f64>) {
    for (mut row, &factor) in a.outer_iter_mut().zip(scale) {
        row *= factor;
    }
}

/// The mean of the rows.
fn column_means(a: ArrayView2<'_, f64>, out: &mut Array1<f64>) {
    out.fill(0.0);
    for row in a.outer_iter() {
        *out += &row;
    }
    *out /= a.nrows() as f64;
}

/// Refuses what differs from its transpose by more than the rounding of its own computation:
/// d ε times its largest entry.
fn require_symmetric(what: &'static str, a: ArrayView2<'_, f64>) -> Result<()> {
    let largest = a.iter().fold(0.0_f64, |m, value| m.max(value.abs()));
    let tolerance = a.nrows() as f64 * f64::EPSILON * largest;
    for ((row, column), &value) in a.indexed_iter() {
        let difference = value - a[[column, row]];
        if difference.abs() > tolerance {
            return Err(DataError::NotSymmetric { what, row, column, difference });
        }
    }
    Ok(())
}
