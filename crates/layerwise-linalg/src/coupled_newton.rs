//! Inverse p-th roots by the coupled Newton iteration: products of matrices alone.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::{
    LinalgError, Result, Scalar, check,
    product::{gemm, symmetrize},
};

/// The coupled Newton iteration for A^(−1/p), A symmetric positive definite:
///
/// X₀ = z^(1/p) I, M₀ = z A with z = (p+1)/(2 ‖A‖_F); then, with T = ((p+1) I − M)/p, X ← X T and
/// M ← Tᵖ M, until max|M − I| is at most `tolerance`. M follows Xᵖ A, so that X tends to A^(−1/p).
///
/// The iteration takes about log(κ √n)/log(1 + 1/p) steps for a condition number κ, then converges
/// quadratically. It does not see that M has drifted from Xᵖ A by rounding; the residual does.
///
/// Source: Guo and Higham 2006, *A Schur-Newton method for the matrix pth root and its inverse*,
/// iteration (3.4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoupledNewton {
    /// p, at least 1.
    pub root: u32,
    /// The most steps taken.
    pub max_steps: usize,
    /// When to stop; finite and positive.
    pub tolerance: f64,
    /// The largest residual max|Xᵖ A − I| that is accepted; finite and positive.
    pub residual: f64,
}

impl Default for CoupledNewton {
    /// The fourth root, 100 steps, tolerance 10⁻⁶, residual 10⁻³.
    fn default() -> Self {
        Self { root: 4, max_steps: 100, tolerance: 1e-6, residual: 1e-3 }
    }
}

/// Storage for [`CoupledNewton::inverse_root_into`] on matrices of one size.
#[derive(Debug, Clone)]
pub struct CoupledNewtonWorkspace<A> {
    matrix: Array2<A>,
    x: Array2<A>,
    m: Array2<A>,
    /// T, and its powers.
    step: Array2<A>,
    power: Array2<A>,
    scratch: Array2<A>,
}

impl<A: Scalar> CoupledNewtonWorkspace<A> {
    /// Storage for n × n matrices.
    pub fn with_dimension(n: usize) -> Self {
        let square = || Array2::zeros((n, n));
        Self {
            matrix: square(),
            x: square(),
            m: square(),
            step: square(),
            power: square(),
            scratch: square(),
        }
    }

    /// n.
    pub fn dimension(&self) -> usize {
        self.x.nrows()
    }
}

impl CoupledNewton {
    /// `out` ← (S + ridge·I)^(−1/p) for a symmetric n × n matrix S, symmetric in every bit, without
    /// allocating where `out` is row- or column-major. Returns the number of steps.
    ///
    /// # Errors
    ///
    /// [`LinalgError::InvalidParameter`] for parameters outside their range,
    /// [`LinalgError::Shape`], [`LinalgError::NonFinite`], [`LinalgError::NotSymmetric`], and
    /// [`LinalgError::NoConvergence`] where neither the iteration nor the residual arrives, as with
    /// a matrix that is singular or not positive. `out` stays as it was.
    pub fn inverse_root_into<A: Scalar>(
        &self,
        s: ArrayView2<A>,
        ridge: f64,
        work: &mut CoupledNewtonWorkspace<A>,
        out: &mut ArrayViewMut2<A>,
    ) -> Result<usize> {
        self.check(ridge)?;
        let n = work.dimension();
        check::shape("matrix to take a root of", s.dim(), (n, n))?;
        check::shape("inverse root", out.dim(), (n, n))?;
        work.matrix.assign(&s);
        check::check_symmetric(work.matrix.view())?;
        if n == 0 {
            return Ok(0);
        }
        let added = A::from_f64(ridge);
        work.matrix.diag_mut().mapv_inplace(|x| x + added);
        let steps = self.iterate(work)?;
        // The power that the residual needs is of X.
        work.step.assign(&work.x);
        self.raise(work)?;
        let (power, matrix) = (work.power.view(), work.matrix.view());
        gemm(A::one(), power, matrix, A::zero(), &mut work.scratch.view_mut())?;
        let residual = distance_from_identity(&work.scratch);
        if residual.is_nan() || residual > self.residual {
            return Err(self.failure(steps));
        }
        symmetrize(&mut work.x.view_mut());
        out.assign(&work.x);
        Ok(steps)
    }

    fn iterate<A: Scalar>(&self, work: &mut CoupledNewtonWorkspace<A>) -> Result<usize> {
        let p = f64::from(self.root);
        let largest = work.matrix.as_slice().map_or(A::zero(), check::max_abs).as_f64();
        if largest == 0.0 {
            return Err(self.failure(0));
        }
        // Relative to the largest entry, squares neither overflow nor vanish.
        let relative =
            work.matrix.iter().map(|x| (x.as_f64() / largest).powi(2)).sum::<f64>().sqrt();
        let z = (p + 1.0) / (2.0 * relative);
        work.m.assign(&work.matrix);
        work.m.mapv_inplace(|x| A::from_f64(x.as_f64() / largest * z));
        work.x.fill(A::zero());
        let start = (z / largest).powf(1.0 / p);
        work.x.diag_mut().fill(A::from_f64(start));
        let (one, zero) = (A::one(), A::zero());
        for steps in 0..=self.max_steps {
            let error = distance_from_identity(&work.m);
            if error <= self.tolerance {
                return Ok(steps);
            }
            if error.is_nan() || steps == self.max_steps {
                return Err(self.failure(steps));
            }
            let (keep, shift) = (A::from_f64(-1.0 / p), A::from_f64(1.0 + 1.0 / p));
            work.step.assign(&work.m);
            work.step.mapv_inplace(|x| x * keep);
            work.step.diag_mut().mapv_inplace(|x| x + shift);
            let step = work.step.view();
            gemm(one, work.x.view(), step, zero, &mut work.scratch.view_mut())?;
            std::mem::swap(&mut work.x, &mut work.scratch);
            self.raise(work)?;
            gemm(one, work.power.view(), work.m.view(), zero, &mut work.scratch.view_mut())?;
            std::mem::swap(&mut work.m, &mut work.scratch);
        }
        Err(self.failure(self.max_steps))
    }

    /// Power ← stepᵖ, by squaring.
    fn raise<A: Scalar>(&self, work: &mut CoupledNewtonWorkspace<A>) -> Result<()> {
        let (one, zero) = (A::one(), A::zero());
        work.power.assign(&work.step);
        let bits = u32::BITS - self.root.leading_zeros();
        for bit in (0..bits.saturating_sub(1)).rev() {
            let power = work.power.view();
            gemm(one, power, power, zero, &mut work.scratch.view_mut())?;
            std::mem::swap(&mut work.power, &mut work.scratch);
            if self.root >> bit & 1 == 1 {
                let power = work.power.view();
                gemm(one, power, work.step.view(), zero, &mut work.scratch.view_mut())?;
                std::mem::swap(&mut work.power, &mut work.scratch);
            }
        }
        Ok(())
    }

    fn check(&self, ridge: f64) -> Result<()> {
        check::non_negative("ridge", ridge)?;
        if self.root == 0 {
            return Err(LinalgError::InvalidParameter {
                name: "root",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        for (name, value) in [("tolerance", self.tolerance), ("residual", self.residual)] {
            if !(value.is_finite() && value > 0.0) {
                let allowed = "finite and positive";
                return Err(LinalgError::InvalidParameter { name, value, allowed });
            }
        }
        Ok(())
    }

    fn failure(&self, steps: usize) -> LinalgError {
        let info = i32::try_from(steps).unwrap_or(i32::MAX);
        LinalgError::NoConvergence { routine: "coupled Newton", info }
    }
}

/// max|M − I|; NaN where an entry is.
fn distance_from_identity<A: Scalar>(m: &Array2<A>) -> f64 {
    let mut largest = 0.0_f64;
    for ((row, col), x) in m.indexed_iter() {
        let distance = (x.as_f64() - f64::from(u8::from(row == col))).abs();
        if distance.is_nan() {
            return f64::NAN;
        }
        largest = largest.max(distance);
    }
    largest
}
