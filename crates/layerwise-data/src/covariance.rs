//! Input covariances and random orthonormal frames.

use layerwise_linalg::{Cholesky, SymmetricEigen, gram, orthonormal_rows};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::{Result, at_least, require, require_finite, require_shape};
use crate::normal::fill_normal;
use crate::spectrum::Spectrum;

/// Where the eigenvectors of a random covariance point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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
        let factor = Cholesky::new(matrix.view(), 0.0)?;
        let lower = factor.lower().as_standard_layout().into_owned();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataError, Streams};
    use ndarray::array;
    use proptest::prelude::*;

    fn largest(a: &Array2<f64>) -> f64 {
        a.iter().fold(0.0, |m, v| v.abs().max(m))
    }

    /// All factors belong to the same matrix, within c·d ε λ_max (backward stability of the
    /// products and of the factorizations; c = 10 covers their constants).
    fn check_factors(covariance: &Covariance) {
        let d = covariance.dimension();
        let tolerance = 10.0 * d as f64 * f64::EPSILON * covariance.eigenvalues()[0];
        let sigma = covariance.matrix();
        let root = covariance.square_root();
        let lower = covariance.lower();
        let vectors = covariance.eigenvectors();
        assert_eq!(sigma, sigma.t());
        assert_eq!(root, root.t());
        assert!(largest(&(root.dot(&root) - sigma)) < tolerance);
        assert!(largest(&(lower.dot(&lower.t()) - sigma)) < tolerance);
        assert!(lower.indexed_iter().all(|((i, j), &v)| j <= i || v == 0.0));
        assert!(lower.diag().iter().all(|&v| v > 0.0));
        let rebuilt = (&vectors * &covariance.eigenvalues().insert_axis(Axis(0))).dot(&vectors.t());
        assert!(largest(&(rebuilt - sigma)) < tolerance);
        let orthonormal = vectors.t().dot(&vectors) - Array2::<f64>::eye(d);
        assert!(largest(&orthonormal) < 10.0 * d as f64 * f64::EPSILON);
        assert!(covariance.eigenvalues().windows(2).into_iter().all(|w| w[0] >= w[1]));
        // The symmetric root is the positive one: its trace is the sum of the roots.
        let trace = covariance.eigenvalues().mapv(f64::sqrt).sum();
        assert!((root.diag().sum() - trace).abs() < tolerance * d as f64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn factors_agree(d in 1_usize..25, log_kappa in 0.0..8.0_f64, seed in 0_u64..1000) {
            let mut rng = Streams::new(seed).stream("covariance", "factors", 0);
            let spectrum = Spectrum::LogSpaced { condition: 10_f64.powf(log_kappa) };
            for basis in [Basis::Axis, Basis::Haar] {
                let covariance = Covariance::draw(&spectrum, basis, d, &mut rng).unwrap();
                check_factors(&covariance);
                prop_assert_eq!(covariance.eigenvalues(), spectrum.eigenvalues(d).unwrap());
                prop_assert!((covariance.variances().sum() - d as f64).abs() < 1e-11);
                if basis == Basis::Axis {
                    prop_assert!(covariance.is_diagonal());
                }
                let given = Covariance::from_matrix(covariance.matrix()).unwrap();
                check_factors(&given);
                prop_assert_eq!(given.matrix(), covariance.matrix());
                prop_assert_eq!(given.is_diagonal(), covariance.is_diagonal() || d == 1);
                for (a, b) in given.eigenvalues().iter().zip(covariance.eigenvalues()) {
                    // Weyl: eigenvalues move by no more than the matrix's rounding, d ε λ_max.
                    prop_assert!((a - b).abs() < 1e-13 * covariance.eigenvalues()[0]);
                }
            }
        }
    }

    #[test]
    fn a_matrix_given_in_any_layout() {
        let matrix = array![[4.0, 1.0, 0.5], [1.0, 3.0, -0.25], [0.5, -0.25, 2.0]];
        let row_major = Covariance::from_matrix(matrix.view()).unwrap();
        let reversed = Covariance::from_matrix(matrix.slice(s![..;-1, ..;-1])).unwrap();
        check_factors(&row_major);
        check_factors(&reversed);
        assert_eq!(reversed.matrix()[[0, 1]], -0.25);
        assert!(!row_major.is_diagonal());
    }

    #[test]
    fn what_is_not_a_covariance_is_refused() {
        let of = |m: Array2<f64>| Covariance::from_matrix(m.view()).unwrap_err();
        assert_eq!(of(Array2::zeros((2, 3))).to_string(), "covariance is 2 x 3, expected 2 x 2");
        assert!(matches!(of(Array2::zeros((0, 0))), DataError::TooFew { .. }));
        let error = of(array![[1.0, f64::NAN], [0.0, 1.0]]);
        assert_eq!(error.to_string(), "covariance has a non-finite entry NaN at row 0, column 1");
        assert!(matches!(of(array![[1.0, 0.5], [0.25, 1.0]]), DataError::Linalg(_)));
        let indefinite = DataError::InvalidParameter {
            name: "covariance eigenvalue",
            value: -1.0,
            allowed: "positive",
        };
        assert_eq!(of(array![[2.0, 0.0], [0.0, -1.0]]), indefinite);
        let error = of(array![[1.0, 2.0], [2.0, 1.0]]);
        assert!(
            matches!(error, DataError::InvalidParameter { value, .. } if (value + 1.0).abs() < 1e-14)
        );
    }

    #[test]
    fn haar_frames_have_the_moments_of_uniform_ones() {
        // For Q uniform on O(3): E tr Q = 0, E (tr Q)² = 1, E (tr Q)⁴ = 3 (Diaconis and
        // Shahshahani 1994); Q_11 is uniform on [−1, 1]: moments 0, 1/3, 1/5. Without R's sign
        // condition tr Q has a mean far from 0.
        let count = 20_000;
        let mut rng = Streams::new(2).stream("haar", "moments", 0);
        let mut sums = [0.0; 6];
        for _ in 0..count {
            let q = haar(3, 3, &mut rng).unwrap();
            let (trace, corner, product) = (q.diag().sum(), q[[0, 0]], q[[0, 1]] * q[[1, 0]]);
            let values =
                [trace, trace.powi(2), trace.powi(4), corner, corner.powi(2), corner * product];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        let expected = [0.0, 1.0, 3.0, 0.0, 1.0 / 3.0, 0.0];
        // |tr Q| ≤ 3: variances at most 1, 3 − 1, 81·3, and below 1 for the entries.
        let variances = [1.0, 2.0, 243.0, 1.0 / 3.0, 4.0 / 45.0, 1.0];
        for ((sum, expected), variance) in sums.iter().zip(expected).zip(variances) {
            // Six standard errors: false alarm 2e-9 each.
            let error = (variance / f64::from(count)).sqrt();
            assert!((sum / f64::from(count) - expected).abs() < 6.0 * error, "{sum} {expected}");
        }
    }

    #[test]
    fn haar_columns_are_orthonormal_and_too_many_refused() {
        let mut rng = Streams::new(2).stream("haar", "shape", 0);
        let q = haar(9, 4, &mut rng).unwrap();
        assert_eq!(q.dim(), (9, 4));
        assert!(largest(&(q.t().dot(&q) - Array2::<f64>::eye(4))) < 1e-14);
        let error = haar(3, 4, &mut rng).unwrap_err();
        assert_eq!(
            error.to_string(),
            "number of columns k = 4: must be at most the number of rows n"
        );
        assert!(matches!(haar(3, 0, &mut rng), Err(DataError::TooFew { .. })));
    }

    #[test]
    fn every_axis_gets_the_largest_eigenvalue_equally_often() {
        let count = 4000;
        let mut rng = Streams::new(2).stream("axis", "order", 0);
        let spectrum = Spectrum::Explicit(vec![1.0, 2.0, 3.0, 4.0]);
        let mut hits = [0.0; 4];
        for _ in 0..count {
            let c = Covariance::draw(&spectrum, Basis::Axis, 4, &mut rng).unwrap();
            for (hit, &variance) in hits.iter_mut().zip(c.variances()) {
                *hit += if variance == 4.0 { 1.0 } else { 0.0 };
            }
        }
        // Binomial(4000, 1/4), six standard deviations: false alarm 2e-9 each.
        let deviation = (f64::from(count) * 0.25 * 0.75).sqrt();
        assert!(hits.iter().all(|hit| (hit - f64::from(count) / 4.0).abs() < 6.0 * deviation));
    }
}
