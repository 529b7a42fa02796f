//! Eigendecomposition of symmetric matrices.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, Zip};

use crate::{
    LinalgError, Result, RootOptions, Scalar,
    backend::EigenWork,
    check,
    inverse_root::HalfRoot,
    product::{gemm, gram},
    scaling::Scaling,
};

/// The eigendecomposition S = V diag(λ) Vᵀ of a symmetric n × n matrix.
///
/// Holds all storage, the backend's workspace included: after construction nothing is allocated. An
/// error leaves the former decomposition in place.
///
/// Divide and conquer, as LAPACK's `syevd`; in pure Rust on one thread. S is scaled by a power of two first, so that no
/// square overflows or underflows; an eigenvalue beyond the range of the type becomes infinite or zero.
///
/// Source: J. J. M. Cuppen 1981; M. Gu and S. C. Eisenstat 1995.
#[derive(Debug, Clone)]
pub struct SymmetricEigen<A> {
    values: Array1<A>,
    /// Vᵀ, row-major: V by columns.
    rows: Array2<A>,
    spare_values: Array1<A>,
    /// Where the next decomposition is made; between decompositions, scratch for products.
    spare: Array2<A>,
    work: EigenWork<A>,
}

impl<A: Scalar> SymmetricEigen<A> {
    /// Storage for n × n matrices; holds the identity's decomposition.
    pub fn with_dimension(n: usize) -> Self {
        Self {
            values: Array1::ones(n),
            rows: Array2::eye(n),
            spare_values: Array1::zeros(n),
            spare: Array2::zeros((n, n)),
            work: (A::ROUTINES.eigen_work)(n),
        }
    }

    /// Decomposes S.
    ///
    /// # Errors
    ///
    /// As [`decompose`](Self::decompose).
    pub fn new(s: ArrayView2<A>) -> Result<Self> {
        let mut eigen = Self::with_dimension(check::square(s.dim())?);
        eigen.decompose(s)?;
        Ok(eigen)
    }

    /// Decomposes a symmetric n × n matrix S, without allocating.
    ///
    /// S must be symmetric up to rounding (see [`LinalgError::NotSymmetric`]); its lower triangle
    /// is what is decomposed.
    ///
    /// # Errors
    ///
    /// [`LinalgError::NotSquare`], [`LinalgError::Shape`] where S is not n × n,
    /// [`LinalgError::NonFinite`], [`LinalgError::NotSymmetric`], [`LinalgError::NoConvergence`].
    /// The former decomposition stays.
    pub fn decompose(&mut self, s: ArrayView2<A>) -> Result<()> {
        let n = self.dimension();
        check::square(s.dim())?;
        check::shape("matrix to decompose", s.dim(), (n, n))?;
        self.spare.assign(&s);
        // An iteration may not end when it is given NaN.
        check::check_symmetric(self.spare.view())?;
        if n == 0 {
            return Ok(());
        }
        let (Some(matrix), Some(values)) =
            (self.spare.as_slice_mut(), self.spare_values.as_slice_mut())
        else {
            return Err(LinalgError::TooLarge { rows: n, cols: n });
        };
        let scaling = Scaling::balance(matrix);
        (A::ROUTINES.eigen)(matrix, values, &mut self.work)?;
        for value in values {
            *value = scaling.undo(*value);
        }
        std::mem::swap(&mut self.rows, &mut self.spare);
        std::mem::swap(&mut self.values, &mut self.spare_values);
        Ok(())
    }

    /// Takes a decomposition itself, for instance one saved earlier: the eigenvalues, ascending, and
    /// the n × n matrix whose columns are the eigenvectors, which is not checked for orthogonality.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`] where there are not n of each, [`LinalgError::NonFinite`]. The former
    /// decomposition stays.
    pub fn set(&mut self, values: ArrayView1<A>, vectors: ArrayView2<A>) -> Result<()> {
        let n = self.dimension();
        check::shape("eigenvalues", (1, values.len()), (1, n))?;
        check::shape("eigenvectors", vectors.dim(), (n, n))?;
        check::finite(values.insert_axis(Axis(0)))?;
        check::finite(vectors)?;
        self.values.assign(&values);
        self.rows.assign(&vectors.t());
        Ok(())
    }

    /// n.
    pub fn dimension(&self) -> usize {
        self.values.len()
    }

    /// The bytes of its arrays, the backend's workspace included.
    pub fn memory_bytes(&self) -> usize {
        2 * size_of::<A>() * (self.values.len() + self.rows.len()) + self.work.memory_bytes()
    }

    /// The eigenvalues λ, ascending.
    pub fn values(&self) -> ArrayView1<'_, A> {
        self.values.view()
    }

    /// V, n × n: column j is the eigenvector of the j-th eigenvalue. Column-major.
    pub fn vectors(&self) -> ArrayView2<'_, A> {
        self.rows.t()
    }

    /// `out` ← (S + ridge·I)^(−exponent), `exponent` > 0, symmetric in every bit, without
    /// allocating where `out` is row- or column-major.
    ///
    /// See [`RootOptions`] for the treatment of small eigenvalues.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`] where `out` is not n × n, [`LinalgError::InvalidParameter`] for an
    /// exponent, ridge or cut-off outside its range, [`LinalgError::EigenvalueNotPositive`].
    /// `out` stays as it was.
    pub fn inverse_root_into(
        &mut self,
        exponent: f64,
        options: &RootOptions,
        out: &mut ArrayViewMut2<A>,
    ) -> Result<()> {
        let n = self.dimension();
        check::shape("inverse root", out.dim(), (n, n))?;
        let root = HalfRoot::new(exponent, options, self.values.view())?;
        // With W = V diag(√root), W Wᵀ costs half a general product, and is symmetric.
        self.scale_rows(|value| root.at(value.as_f64()).map(A::from_f64))?;
        gram(A::one(), self.spare.t(), A::zero(), out)
    }

    /// `out` ← V diag(λ) Vᵀ, the matrix that was decomposed up to rounding, without allocating
    /// where `out` is row- or column-major.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`] where `out` is not n × n.
    pub fn reconstruct_into(&mut self, out: &mut ArrayViewMut2<A>) -> Result<()> {
        let n = self.dimension();
        check::shape("reconstruction", out.dim(), (n, n))?;
        self.scale_rows(Ok)?;
        gemm(A::one(), self.rows.t(), self.spare.view(), A::zero(), out)
    }

    /// Spare ← diag(f(λ)) Vᵀ.
    fn scale_rows(&mut self, f: impl Fn(A) -> Result<A>) -> Result<()> {
        let mut result = Ok(());
        Zip::from(self.spare.rows_mut()).and(self.rows.rows()).and(&self.values).for_each(
            |mut scaled, row, &value| match f(value) {
                Ok(factor) => scaled.zip_mut_with(&row, |s, &v| *s = factor * v),
                Err(error) => result = Err(error),
            },
        );
        result
    }
}
