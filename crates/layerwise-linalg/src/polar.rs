//! Orthogonal polar factors: Newton-Schulz as in Muon, and exact.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::{
    LinalgError, Result, Scalar,
    backend::SvdWork,
    check,
    product::{gemm, gram},
    scaling::Scaling,
};

/// Newton-Schulz iterations towards the orthogonal polar factor, as used by Muon.
///
/// X₀ = M / (‖M‖_F + epsilon), or with `epsilon_is_floor` M / max(‖M‖_F, epsilon); then `steps`
/// times A = X Xᵀ, X ← a X + (b A + c A²) X, each with its own polynomial. A step acts on each singular
/// value alone, as s ↦ a s + b s³ + c s⁵. The default trades exactness for speed: after five steps the
/// singular values lie near 1, roughly in [0.7, 1.2], except those that started very small; zero stays
/// zero. [`minimax_polynomials`](crate::minimax_polynomials) has those that come closest to 1.
///
/// Source of iteration and defaults: K. Jordan and others, *Muon: an optimizer for hidden layers in
/// neural networks*, 2024 (function `zeropower_via_newtonschulz5`).
#[derive(Debug, Clone, PartialEq)]
pub struct NewtonSchulz {
    /// a, b, c of each step, finite; the last serves all steps after it. At least one, unless there are no
    /// steps.
    pub polynomials: Vec<[f64; 3]>,
    /// Number of steps; 0 only normalizes.
    pub steps: usize,
    /// Added to the Frobenius norm before the division; finite and at least 0.
    pub epsilon: f64,
    /// The least divisor, instead of a term of it.
    pub epsilon_is_floor: bool,
}

impl Default for NewtonSchulz {
    /// Muon's: (3.4445, −4.7750, 2.0315), 5 steps, 10⁻⁷.
    fn default() -> Self {
        Self {
            polynomials: vec![[3.4445, -4.7750, 2.0315]],
            steps: 5,
            epsilon: 1e-7,
            epsilon_is_floor: false,
        }
    }
}

/// Storage for [`NewtonSchulz::apply`] on matrices of one shape.
#[derive(Debug, Clone)]
pub struct PolarWorkspace<A> {
    shape: (usize, usize),
    /// The iterate, transposed where the matrix has more rows than columns.
    x: Array2<A>,
    next: Array2<A>,
    /// A, and a I + b A + c A².
    square: Array2<A>,
    polynomial: Array2<A>,
}

impl<A: Scalar> PolarWorkspace<A> {
    /// Storage for r × c matrices.
    pub fn with_shape(r: usize, c: usize) -> Self {
        let (short, long) = (r.min(c), r.max(c));
        Self {
            shape: (r, c),
            x: Array2::zeros((short, long)),
            next: Array2::zeros((short, long)),
            square: Array2::zeros((short, short)),
            polynomial: Array2::zeros((short, short)),
        }
    }

    /// The bytes of its arrays.
    pub fn memory_bytes(&self) -> usize {
        2 * size_of::<A>() * (self.x.len() + self.square.len())
    }
}

impl NewtonSchulz {
    /// a, b, c of each step in turn.
    pub fn sequence(&self) -> impl Iterator<Item = [f64; 3]> + '_ {
        let at = |step: usize| self.polynomials.get(step).or(self.polynomials.last()).copied();
        (0..self.steps).map_while(at)
    }

    /// M ← the iterate after `steps` steps, without allocating. Works on Mᵀ where M has more rows
    /// than columns, as Muon does.
    ///
    /// # Errors
    ///
    /// [`LinalgError::InvalidParameter`] for coefficients or epsilon outside their range,
    /// [`LinalgError::Shape`] where the workspace is for another shape, [`LinalgError::NonFinite`],
    /// [`LinalgError::RankDeficient`] where ‖M‖_F + epsilon is zero, and
    /// [`LinalgError::NoConvergence`] where the iteration diverges (which the default coefficients
    /// never do). M stays as it was.
    pub fn apply<A: Scalar>(
        &self,
        m: &mut ArrayViewMut2<A>,
        work: &mut PolarWorkspace<A>,
    ) -> Result<()> {
        check::non_negative("epsilon", self.epsilon)?;
        if self.polynomials.is_empty() && self.steps > 0 {
            return Err(LinalgError::InvalidParameter {
                name: "number of polynomials",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        if let Some(&value) = self.polynomials.iter().flatten().find(|c| !c.is_finite()) {
            return Err(LinalgError::InvalidParameter {
                name: "coefficients",
                value,
                allowed: "finite",
            });
        }
        check::shape("matrix for the polar workspace", m.dim(), work.shape)?;
        check::finite(m.view())?;
        if m.is_empty() {
            return Ok(());
        }
        let transposed = m.nrows() > m.ncols();
        if transposed {
            work.x.assign(&m.t())
        } else {
            work.x.assign(m)
        }
        self.normalize(&mut work.x)?;

        for polynomial in self.sequence() {
            let [a, b, c] = polynomial.map(A::from_f64);
            gram(A::one(), work.x.view(), A::zero(), &mut work.square.view_mut())?;
            if c == A::zero() {
                work.polynomial.zip_mut_with(&work.square, |p, &s| *p = b * s);
            } else {
                // A is symmetric: A Aᵀ = A².
                work.polynomial.assign(&work.square);
                gram(c, work.square.view(), b, &mut work.polynomial.view_mut())?;
            }
            work.polynomial.diag_mut().mapv_inplace(|x| x + a);
            let next = &mut work.next.view_mut();
            gemm(A::one(), work.polynomial.view(), work.x.view(), A::zero(), next)?;
            std::mem::swap(&mut work.x, &mut work.next);
        }

        if check::finite(work.x.view()).is_err() {
            let info = i32::try_from(self.steps).unwrap_or(i32::MAX);
            return Err(LinalgError::NoConvergence { routine: "Newton-Schulz", info });
        }
        if transposed {
            m.assign(&work.x.t())
        } else {
            m.assign(&work.x)
        }
        Ok(())
    }

    /// X ← X / (‖X‖_F + epsilon), or its floor; the norm is taken in double precision.
    fn normalize<A: Scalar>(&self, x: &mut Array2<A>) -> Result<()> {
        let largest = x.as_slice().map_or(A::zero(), check::max_abs).as_f64();
        // Relative to the largest entry, squares neither overflow nor vanish.
        let relative = if largest > 0.0 {
            x.iter().map(|v| (v.as_f64() / largest).powi(2)).sum::<f64>().sqrt()
        } else {
            0.0
        };
        if largest * relative + self.epsilon == 0.0 {
            return Err(LinalgError::RankDeficient { rank: 0, needed: 1 });
        }
        let divisor = match self.epsilon / largest {
            _ if largest == 0.0 => 1.0,
            least if self.epsilon_is_floor => relative.max(least),
            added => relative + added,
        };
        let largest = if largest > 0.0 { largest } else { 1.0 };
        x.mapv_inplace(|v| A::from_f64(v.as_f64() / largest / divisor));
        Ok(())
    }
}

/// Storage for the polar factor U Vᵀ of an r × c matrix M = U diag(s) Vᵀ over the singular values that
/// are not zero: a partial isometry with M's row and column space. By singular value decomposition; it
/// is what [`NewtonSchulz`] approximates, and what Shampoo's first step is without averaging and ridge.
///
/// Source: singular value decomposition by divide and conquer, as LAPACK's `gesdd`.
#[derive(Debug, Clone)]
pub struct ExactPolar<A> {
    /// M, which the routine destroys.
    matrix: Array2<A>,
    values: Vec<A>,
    u: Array2<A>,
    vt: Array2<A>,
    work: SvdWork<A>,
}

impl<A: Scalar> ExactPolar<A> {
    /// Storage for r × c matrices.
    pub fn with_shape(r: usize, c: usize) -> Self {
        let k = r.min(c);
        Self {
            matrix: Array2::zeros((r, c)),
            values: vec![A::zero(); k],
            u: Array2::zeros((r, k)),
            vt: Array2::zeros((k, c)),
            work: (A::ROUTINES.svd_work)(r, c),
        }
    }

    /// The bytes of its arrays, the backend's workspace included.
    pub fn memory_bytes(&self) -> usize {
        let entries = self.matrix.len() + self.values.len() + self.u.len() + self.vt.len();
        size_of::<A>() * entries + self.work.memory_bytes()
    }

    /// M ← U Vᵀ, without allocating where M is row- or column-major. Returns the nuclear norm, the sum
    /// of M's singular values.
    ///
    /// A singular value counts as zero at or below max(r, c) ε s_max.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`], [`LinalgError::NonFinite`], [`LinalgError::NoConvergence`]. M stays as
    /// it was.
    pub fn apply(&mut self, m: &mut ArrayViewMut2<A>) -> Result<f64> {
        let (rows, cols) = self.matrix.dim();
        check::shape("matrix to take the polar factor of", m.dim(), (rows, cols))?;
        check::finite(m.view())?;
        if m.is_empty() {
            return Ok(0.0);
        }
        self.matrix.assign(m);
        let failed = LinalgError::TooLarge { rows, cols };
        let (Some(matrix), Some(u), Some(vt)) =
            (self.matrix.as_slice_mut(), self.u.as_slice_mut(), self.vt.as_slice_mut())
        else {
            return Err(failed);
        };
        let (values, work) = (&mut self.values, &mut self.work);
        let scaling = Scaling::balance(matrix);
        (A::ROUTINES.svd)(matrix, values, u, vt, work)?;
        let largest = self.values.first().copied().unwrap_or(A::zero());
        let cutoff = A::from_f64(rows.max(cols) as f64) * A::epsilon() * largest;
        for (mut column, &value) in self.u.columns_mut().into_iter().zip(&self.values) {
            if value <= cutoff {
                column.fill(A::zero());
            }
        }
        gemm(A::one(), self.u.view(), self.vt.view(), A::zero(), m)?;
        Ok(self.values.iter().map(|&value| scaling.undo(value).as_f64()).sum())
    }
}

/// The polar factor of M; see [`ExactPolar`], which does not allocate.
///
/// # Errors
///
/// [`LinalgError::NonFinite`], [`LinalgError::NoConvergence`].
pub fn polar_factor_exact<A: Scalar>(m: ArrayView2<A>) -> Result<Array2<A>> {
    let (rows, cols) = m.dim();
    let mut polar = Array2::zeros((rows, cols));
    polar.assign(&m);
    ExactPolar::with_shape(rows, cols).apply(&mut polar.view_mut())?;
    Ok(polar)
}
