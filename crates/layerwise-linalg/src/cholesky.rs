//! Cholesky factorization and solves.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use crate::{
    LinalgError, Result, Scalar,
    backend::{self, Action, Side},
    check, product,
};

/// The Cholesky factorization S + ridge·I = L Lᵀ of a symmetric positive definite n × n matrix.
///
/// Holds two n × n buffers: [`factor`](Self::factor) works in the spare one, so that an error
/// leaves the former factorization in place, and nothing is allocated.
///
/// Source: LAPACK's `potrf`; N. J. Higham, *Accuracy and Stability of Numerical Algorithms*,
/// chapter 10.
#[derive(Debug, Clone)]
pub struct Cholesky<A> {
    /// Lᵀ, row-major, zero below the diagonal: OpenBLAS's column-major `potrf` is faster by half
    /// for the lower triangle than for the upper.
    upper: Array2<A>,
    spare: Array2<A>,
}

impl<A: Scalar> Cholesky<A> {
    /// Storage for n × n matrices; holds the identity's factorization.
    pub fn with_dimension(n: usize) -> Self {
        Self { upper: Array2::eye(n), spare: Array2::zeros((n, n)) }
    }

    /// Factors S + ridge·I.
    ///
    /// # Errors
    ///
    /// As [`factor`](Self::factor).
    pub fn new(s: ArrayView2<A>, ridge: A) -> Result<Self> {
        let mut cholesky = Self::with_dimension(check::square(s.dim())?);
        cholesky.factor(s, ridge)?;
        Ok(cholesky)
    }

    /// The factorization whose L is given; what is above `l`'s diagonal is not read.
    ///
    /// # Errors
    ///
    /// As [`set_lower`](Self::set_lower).
    pub fn from_lower(l: ArrayView2<A>) -> Result<Self> {
        let mut cholesky = Self::with_dimension(check::square(l.dim())?);
        cholesky.set_lower(l)?;
        Ok(cholesky)
    }

    /// Factors S + ridge·I for a symmetric S and `ridge` ≥ 0, without allocating.
    ///
    /// S must be symmetric up to rounding (see [`LinalgError::NotSymmetric`]); its upper triangle
    /// is what is factored.
    ///
    /// # Errors
    ///
    /// [`LinalgError::NotSquare`], [`LinalgError::Shape`] where S is not n × n,
    /// [`LinalgError::InvalidParameter`] for a negative or non-finite ridge,
    /// [`LinalgError::NonFinite`], [`LinalgError::NotSymmetric`],
    /// [`LinalgError::NotPositiveDefinite`]. The former factorization stays.
    pub fn factor(&mut self, s: ArrayView2<A>, ridge: A) -> Result<()> {
        let n = self.dimension();
        check::square(s.dim())?;
        check::shape("matrix to factor", s.dim(), (n, n))?;
        check::non_negative("ridge", ridge.as_f64())?;
        self.spare.assign(&s);
        check::symmetric(self.spare.view())?;
        self.spare.diag_mut().mapv_inplace(|x| x + ridge);
        let Some(entries) = self.spare.as_slice_mut() else {
            return Err(LinalgError::TooLarge { rows: n, cols: n });
        };
        backend::potrf(n, entries).map_err(|info| match usize::try_from(info) {
            Ok(minor) => LinalgError::NotPositiveDefinite { minor },
            Err(_) => LinalgError::TooLarge { rows: n, cols: n },
        })?;
        for i in 0..n {
            self.spare.slice_mut(s![i, ..i]).fill(A::zero());
        }
        self.accept()
    }

    /// Takes L itself: lower triangular, with a positive diagonal. What is above `l`'s diagonal is
    /// not read. Does not allocate.
    ///
    /// # Errors
    ///
    /// [`LinalgError::NotSquare`], [`LinalgError::Shape`] where `l` is not n × n,
    /// [`LinalgError::NonFinite`] in the lower triangle, [`LinalgError::NotPositiveDefinite`]
    /// where a diagonal entry is not positive. The former factorization stays.
    pub fn set_lower(&mut self, l: ArrayView2<A>) -> Result<()> {
        let n = self.dimension();
        check::square(l.dim())?;
        check::shape("lower factor", l.dim(), (n, n))?;
        for i in 0..n {
            self.spare.slice_mut(s![i, i..]).assign(&l.slice(s![i.., i]));
            self.spare.slice_mut(s![i, ..i]).fill(A::zero());
        }
        check::finite(self.spare.view())?;
        self.accept()
    }

    /// Makes the spare buffer the factor if its diagonal is positive and finite.
    fn accept(&mut self) -> Result<()> {
        let zero = A::zero();
        if let Some(i) = self.spare.diag().iter().position(|&x| !(x.is_finite() && x > zero)) {
            return Err(LinalgError::NotPositiveDefinite { minor: i + 1 });
        }
        std::mem::swap(&mut self.upper, &mut self.spare);
        Ok(())
    }

    /// n.
    pub fn dimension(&self) -> usize {
        self.upper.nrows()
    }

    /// L, n × n, zero above the diagonal, in column-major order.
    pub fn lower(&self) -> ArrayView2<'_, A> {
        self.upper.t()
    }

    /// B ← (S + ridge·I)⁻¹ B, for B n × m.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`] where B has not n rows, [`LinalgError::TooLarge`].
    pub fn solve_left(&self, b: &mut ArrayViewMut2<A>) -> Result<()> {
        product::triangular(Action::Solve, Side::Left, self.lower(), b)?;
        product::triangular(Action::SolveTransposed, Side::Left, self.lower(), b)
    }

    /// B ← B (S + ridge·I)⁻¹, for B m × n.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`] where B has not n columns, [`LinalgError::TooLarge`].
    pub fn solve_right(&self, b: &mut ArrayViewMut2<A>) -> Result<()> {
        product::triangular(Action::SolveTransposed, Side::Right, self.lower(), b)?;
        product::triangular(Action::Solve, Side::Right, self.lower(), b)
    }

    /// ln det(S + ridge·I) = 2 Σ ln L_ii.
    pub fn log_determinant(&self) -> A {
        let sum: A = self.upper.diag().iter().map(|x| x.ln()).sum();
        sum + sum
    }

    /// An estimate of 1/κ₂(S + ridge·I) from above, in O(n): (min L_ii / max L_ii)².
    ///
    /// The squared pivots lie between the smallest and the largest eigenvalue, so the true
    /// reciprocal condition number is never larger; it is equal for diagonal matrices, and can be
    /// much smaller for others. 1 for n = 0.
    pub fn reciprocal_condition(&self) -> A {
        let first = self.upper.diag().first().copied().unwrap_or(A::one());
        let (least, largest) = self
            .upper
            .diag()
            .iter()
            .fold((first, first), |(least, largest), &x| (least.min(x), largest.max(x)));
        (least / largest).powi(2)
    }
}
