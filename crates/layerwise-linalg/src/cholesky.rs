//! Cholesky factorization and solves.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use crate::{
    LinalgError, Result, Scalar,
    backend::{Action, CholeskyWork, Side},
    check, product,
};

/// The width of the strips in which an inverse is formed.
const STRIP: usize = 128;

/// The Cholesky factorization S + ridge·I = L Lᵀ of a symmetric positive definite n × n matrix.
///
/// Holds two n × n buffers: [`factor`](Self::factor) works in the spare one, so that an error
/// leaves the former factorization in place, and nothing is allocated.
///
/// Source: LAPACK's `potrf`; N. J. Higham, *Accuracy and Stability of Numerical Algorithms*,
/// chapter 10.
#[derive(Debug, Clone)]
pub struct Cholesky<A> {
    /// Lᵀ, row-major, zero below the diagonal: L by columns, which both backends factor fastest.
    upper: Array2<A>,
    spare: Array2<A>,
    /// n × 1, zero between calls.
    probe: Array2<A>,
    work: CholeskyWork,
}

impl<A: Scalar> Cholesky<A> {
    /// Storage for n × n matrices; holds the identity's factorization.
    pub fn with_dimension(n: usize) -> Self {
        Self {
            upper: Array2::eye(n),
            spare: Array2::zeros((n, n)),
            probe: Array2::zeros((n, 1)),
            work: (A::ROUTINES.cholesky_work)(n),
        }
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
    /// [`LinalgError::NotPositiveDefinite`], also for `ridge` = 0 and an S that cannot be told from
    /// a singular one: with an eigenvalue of at most (n + 10) ε max S_ii. The former factorization stays.
    pub fn factor(&mut self, s: ArrayView2<A>, ridge: A) -> Result<()> {
        let n = self.dimension();
        check::square(s.dim())?;
        check::shape("matrix to factor", s.dim(), (n, n))?;
        check::non_negative("ridge", ridge.as_f64())?;
        self.spare.assign(&s);
        check::check_symmetric(self.spare.view())?;
        self.spare.diag_mut().mapv_inplace(|x| x + ridge);
        let Some(entries) = self.spare.as_slice_mut() else {
            return Err(LinalgError::TooLarge { rows: n, cols: n });
        };
        (A::ROUTINES.cholesky)(n, entries, &mut self.work)?;
        for (i, row) in entries.chunks_exact_mut(n.max(1)).enumerate() {
            row[..i].fill(A::zero());
        }
        if ridge == A::zero() {
            self.refuse_rounding(s)?;
        }
        self.accept()
    }

    /// Rounding turns the zero eigenvalue of a singular S into one of about ± n ε max S_ii, and a
    /// positive one makes a factor that means nothing. One inverse iteration, from the coordinate
    /// with the smallest pivot, bounds the factor's least eigenvalue from above; a ridge that the
    /// caller chose is taken as it is.
    fn refuse_rounding(&mut self, s: ArrayView2<A>) -> Result<()> {
        let largest = s.diag().iter().fold(A::zero(), |largest, &entry| largest.max(entry));
        let mut least = (0, A::infinity());
        for (i, (&pivot, &entry)) in self.spare.diag().iter().zip(s.diag()).enumerate() {
            let relative = pivot * pivot / entry;
            if relative < least.1 {
                least = (i, relative);
            }
        }
        let Some(start) = self.probe.get_mut([least.0, 0]) else { return Ok(()) };
        // In units of the largest entry, so that nothing overflows.
        *start = largest;
        let lower = self.spare.t();
        product::triangular(Action::Solve, Side::Left, lower, &mut self.probe.view_mut())?;
        product::triangular(
            Action::SolveTransposed,
            Side::Left,
            lower,
            &mut self.probe.view_mut(),
        )?;
        let square = self.probe.iter().fold(A::zero(), |sum, &x| sum + x * x);
        let eigenvalue = self.probe[[least.0, 0]] / square;
        self.probe.fill(A::zero());
        let rounding = A::from_f64((self.dimension() + 10) as f64) * A::epsilon();
        if eigenvalue > rounding {
            Ok(())
        } else {
            Err(LinalgError::NotPositiveDefinite { minor: least.0 + 1 })
        }
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

    /// The bytes of its arrays: of the factorization, and of the spare buffers.
    pub fn memory_bytes(&self) -> usize {
        size_of::<A>() * (self.upper.len() + self.spare.len() + self.probe.len())
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

    /// `out` ← (S + ridge·I)⁻¹ = L⁻ᵀ L⁻¹, symmetric in every bit, without allocating where `out` is
    /// row- or column-major. Products with it lose κ ε of what they compute, where solves lose that of
    /// what they are given.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`] where `out` is not n × n, [`LinalgError::TooLarge`].
    pub fn inverse_into(&mut self, out: &mut ArrayViewMut2<A>) -> Result<()> {
        let n = self.dimension();
        check::shape("inverse", out.dim(), (n, n))?;
        // In strips, which leave out what is zero: a third of the multiplications.
        let strips = || (0..n).step_by(STRIP).map(move |from| (from, n.min(from + STRIP)));
        let (lower, inverse) = (self.upper.t(), &mut self.spare);
        inverse.fill(A::zero());
        inverse.diag_mut().fill(A::one());
        for (from, to) in strips() {
            let columns = &mut inverse.slice_mut(s![from.., from..to]);
            product::triangular(
                Action::Solve,
                Side::Left,
                lower.slice(s![from.., from..]),
                columns,
            )?;
        }
        for (from, to) in strips() {
            let (left, right) =
                (inverse.slice(s![from.., from..to]), inverse.slice(s![from.., ..to]));
            let rows = &mut out.slice_mut(s![from..to, ..to]);
            product::gemm(A::one(), left.t(), right, A::zero(), rows)?;
        }
        product::mirror_lower(out);
        Ok(())
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
