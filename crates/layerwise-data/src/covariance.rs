//! Input covariances and random orthonormal frames.

use layerwise_linalg::{Cholesky, SymmetricEigen, gram, orthonormal_rows};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::error::{Result, at_least, require, require_finite, require_shape};
use crate::normal::fill_normal;
use crate::spectrum::Spectrum;

/// Where the eigenvectors of a random covariance point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Along the coordinate axes, the eigenvalues on them in uniformly random order.
    Axis,
    /// A Haar-distributed (uniformly random) orthonormal basis.
    Haar,
}

/// A positive definite covariance Σ (d × d) with its factors.
#[derive(Clone, Debug, PartialEq)]
pub struct Covariance {
    matrix: Array2<f64>,
    square_root: Array2<f64>,
    lower: Array2<f64>,
    eigenvalues: Array1<f64>,
    eigenvectors: Array2<f64>,
    on_axes: bool,
}

impl Covariance {
    /// A random covariance with the given spectrum and basis.
    ///
    /// # Errors
    ///
    /// Those of [`Spectrum::eigenvalues`]; [`crate::DataError::Linalg`] when the covariance is so
    /// ill-conditioned (beyond about 1/(d ε)) that it has no Cholesky factor in working
    /// precision.
    pub fn draw<R: Rng + ?Sized>(
        spectrum: &Spectrum,
        basis: Basis,
        dimension: usize,
        rng: &mut R,
    ) -> Result<Self> {
        let eigenvalues = spectrum.eigenvalues(dimension)?;
        match basis {
            Basis::Axis => {
                let mut axes: Vec<usize> = (0..dimension).collect();
                axes.shuffle(rng);
                Ok(Self::on_axes(eigenvalues, &axes))
            }
            Basis::Haar => {
                let eigenvectors = haar(dimension, dimension, rng)?;
                let matrix = spectral_power(&eigenvectors, &eigenvalues, 1.0)?;
                Self::dense(matrix, eigenvalues, eigenvectors)
            }
        }
    }

    /// The covariance Σ itself given, symmetric and positive definite.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::Shape`] when it is not square, [`crate::DataError::TooFew`] when it is
    /// empty, [`crate::DataError::NonFinite`], [`crate::DataError::Linalg`] when it is not
    /// symmetric, [`crate::DataError::InvalidParameter`] when it is not positive definite.
    pub fn from_matrix(matrix: ArrayView2<'_, f64>) -> Result<Self> {
        let (rows, columns) = matrix.dim();
        require_shape("covariance", (rows, rows), (rows, columns))?;
        at_least("dimension d", rows, 1)?;
        require_finite("covariance", matrix)?;
        if matrix.indexed_iter().all(|((i, j), &value)| i == j || value == 0.0) {
            let diagonal = matrix.diag();
            for &value in diagonal {
                require(value > 0.0, "covariance eigenvalue", value, "positive")?;
            }
            let mut axes: Vec<usize> = (0..rows).collect();
            axes.sort_by(|&i, &j| diagonal[j].total_cmp(&diagonal[i]));
            return Ok(Self::on_axes(axes.iter().map(|&i| diagonal[i]).collect(), &axes));
        }
        let eigen = SymmetricEigen::new(matrix)?;
        let eigenvalues = eigen.values().slice(s![..;-1]).to_owned();
        let smallest = eigenvalues[rows - 1];
        require(smallest > 0.0, "covariance eigenvalue", smallest, "positive")?;
        let eigenvectors = eigen.vectors().slice(s![.., ..;-1]).as_standard_layout().into_owned();
        Self::dense(matrix.as_standard_layout().into_owned(), eigenvalues, eigenvectors)
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.eigenvalues.len()
    }

    /// Σ, d × d.
    pub fn matrix(&self) -> ArrayView2<'_, f64> {
        self.matrix.view()
    }

    /// The symmetric square root Σ^{1/2}, d × d.
    pub fn square_root(&self) -> ArrayView2<'_, f64> {
        self.square_root.view()
    }

    /// The Cholesky factor L, lower triangular with positive diagonal, L Lᵀ = Σ.
    pub fn lower(&self) -> ArrayView2<'_, f64> {
        self.lower.view()
    }

    /// The eigenvalues, in descending order.
    pub fn eigenvalues(&self) -> ArrayView1<'_, f64> {
        self.eigenvalues.view()
    }

    /// The eigenvectors as columns, in the order of the eigenvalues.
    pub fn eigenvectors(&self) -> ArrayView2<'_, f64> {
        self.eigenvectors.view()
    }

    /// The diagonal of Σ: the variances of the coordinates.
    pub fn variances(&self) -> ArrayView1<'_, f64> {
        self.matrix.diag()
    }

    /// Whether Σ is diagonal, so that Σ^{1/2} and L are too.
    pub fn is_diagonal(&self) -> bool {
        self.on_axes
    }

    /// The covariance with eigenvalue i along axis `axes[i]`.
    fn on_axes(eigenvalues: Array1<f64>, axes: &[usize]) -> Self {
        let d = eigenvalues.len();
        let mut eigenvectors = Array2::zeros((d, d));
        let mut diagonal = Array1::zeros(d);
        for (i, &axis) in axes.iter().enumerate() {
            eigenvectors[[axis, i]] = 1.0;
            diagonal[axis] = eigenvalues[i];
        }
        let square_root = Array2::from_diag(&diagonal.mapv(f64::sqrt));
        Self {
            matrix: Array2::from_diag(&diagonal),
            lower: square_root.clone(),
            square_root,
            eigenvalues,
            eigenvectors,
            on_axes: true,
        }
    }

    fn dense(
        matrix: Array2<f64>,
        eigenvalues: Array1<f64>,
        eigenvectors: Array2<f64>,
    ) -> Result<Self> {
        let square_root = spectral_power(&eigenvectors, &eigenvalues, 0.5)?;
        let lower = Cholesky::new(matrix.view(), 0.0)?.lower().to_owned();
        Ok(Self { matrix, square_root, lower, eigenvalues, eigenvectors, on_axes: false })
    }
}

/// V diag(λ^p) Vᵀ, exactly symmetric.
fn spectral_power(vectors: &Array2<f64>, values: &Array1<f64>, power: f64) -> Result<Array2<f64>> {
    let scaled = vectors * &values.mapv(|value| value.powf(0.5 * power)).insert_axis(Axis(0));
    let mut out = Array2::zeros(vectors.raw_dim());
    gram(1.0, scaled.view(), 0.0, &mut out.view_mut())?;
    Ok(out)
}

/// An n × k matrix with orthonormal columns, Haar-distributed (uniform on the Stiefel manifold):
/// the Q factor of standard normals, with R's diagonal positive.
///
/// # Errors
///
/// [`crate::DataError::InvalidParameter`] for k > n, [`crate::DataError::TooFew`] for k = 0.
pub fn haar<R: Rng + ?Sized>(n: usize, k: usize, rng: &mut R) -> Result<Array2<f64>> {
    at_least("number of columns k", k, 1)?;
    require(k <= n, "number of columns k", k as f64, "at most the number of rows n")?;
    let mut normals = Array2::zeros((k, n));
    fill_normal(1.0, rng, &mut normals);
    let rows = orthonormal_rows(normals.view())?;
    Ok(rows.t().as_standard_layout().into_owned())
}
