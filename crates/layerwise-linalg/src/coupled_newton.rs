//! Inverse roots by coupled iterations: products of matrices alone.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::{
    LinalgError, Result, Scalar, check,
    product::{gemm, symmetrize},
};

/// The coupled Newton iteration, or one of higher order, for A^(−q/p) with A symmetric positive
/// definite:
///
/// X₀ = z^(1/p) I, M₀ = z A; then, with T a polynomial in E = I − M, X ← X T and M ← Tᵖ M, until
/// max|M − I| is at most `tolerance`, does not fall any more, or `max_steps` are taken. M follows
/// Xᵖ A, so that X tends to A^(−1/p); its q-th power is the result. T has the first `order` terms of
///
/// (I − E)^(−1/p) = I + E/p + (1 + p) E²/(2 p²) + …,
///
/// and two, Newton's, at the first step, after which the spectrum of M is in (0, 1].
///
/// Newton's iteration takes about log(κ √n)/log(1 + 1/p) steps for a condition number κ, then
/// converges quadratically. It does not see that M has drifted from Xᵖ A by rounding; the residual,
/// by which the result is accepted, does.
///
/// Sources: Guo and Higham 2006, *A Schur-Newton method for the matrix pth root and its inverse*,
/// iteration (3.4); for higher orders Lakić 1998, *On the computation of the matrix k-th root*.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoupledNewton {
    /// p, at least 1.
    pub root: u32,
    /// q, at least 1.
    pub power: u32,
    /// The number of terms, and the order of convergence, at least 2.
    pub order: u32,
    /// Start from z = 1/tr(A), instead of (p+1)/(2 ‖A‖_F).
    pub from_trace: bool,
    /// The most steps taken.
    pub max_steps: usize,
    /// When to stop; finite and positive. Below what rounding allows: when the error grows by a fifth,
    /// or is under 10⁻³ and stays the same.
    pub tolerance: f64,
    /// The largest residual max|Xᵖ A − I| that is accepted; finite and positive.
    pub residual: f64,
}

impl Default for CoupledNewton {
    /// The fourth root, Newton's order, 100 steps, tolerance 10⁻⁶, residual 10⁻³.
    fn default() -> Self {
        Self {
            root: 4,
            power: 1,
            order: 2,
            from_trace: false,
            max_steps: 100,
            tolerance: 1e-6,
            residual: 1e-3,
        }
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

    /// The bytes of its arrays.
    pub fn memory_bytes(&self) -> usize {
        6 * size_of::<A>() * self.x.len()
    }
}

impl CoupledNewton {
    /// `out` ← (S + ridge·I)^(−q/p) for a symmetric n × n matrix S, symmetric in every bit, without
    /// allocating where `out` is row- or column-major. Returns the number of steps.
    ///
    /// # Errors
    ///
    /// [`LinalgError::InvalidParameter`] for parameters outside their range,
    /// [`LinalgError::Shape`], [`LinalgError::NonFinite`], [`LinalgError::NotSymmetric`], and
    /// [`LinalgError::NoConvergence`] where the residual is too large or the result is not finite, as
    /// with a matrix that is singular or not positive. `out` stays as it was.
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
        // The powers that are needed now are of X.
        work.step.assign(&work.x);
        raise(work, self.root)?;
        let (power, matrix) = (work.power.view(), work.matrix.view());
        gemm(A::one(), power, matrix, A::zero(), &mut work.scratch.view_mut())?;
        let residual = distance_from_identity(&work.scratch);
        if residual.is_nan() || residual > self.residual {
            return Err(self.failure(steps));
        }
        if self.power > 1 {
            raise(work, self.power)?;
            std::mem::swap(&mut work.x, &mut work.power);
        }
        symmetrize(&mut work.x.view_mut());
        if check::finite(work.x.view()).is_err() {
            return Err(self.failure(steps));
        }
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
        let trace = work.matrix.diag().iter().map(|x| x.as_f64() / largest).sum::<f64>();
        let z = if self.from_trace { 1.0 / trace } else { (p + 1.0) / (2.0 * relative) };
        work.m.assign(&work.matrix);
        work.m.mapv_inplace(|x| A::from_f64(x.as_f64() / largest * z));
        work.x.fill(A::zero());
        let start = (z / largest).powf(1.0 / p);
        work.x.diag_mut().fill(A::from_f64(start));
        let (one, zero) = (A::one(), A::zero());
        let mut error = distance_from_identity(&work.m);
        for steps in 0..self.max_steps {
            if error <= self.tolerance {
                return Ok(steps);
            }
            if error.is_nan() {
                return Err(self.failure(steps));
            }
            if steps == 0 || self.order == 2 {
                newton_step(work, p);
            } else {
                self.higher_order_step(work, p)?;
            }
            let step = work.step.view();
            gemm(one, work.x.view(), step, zero, &mut work.scratch.view_mut())?;
            std::mem::swap(&mut work.x, &mut work.scratch);
            raise(work, self.root)?;
            gemm(one, work.power.view(), work.m.view(), zero, &mut work.scratch.view_mut())?;
            std::mem::swap(&mut work.m, &mut work.scratch);
            let before = std::mem::replace(&mut error, distance_from_identity(&work.m));
            let stagnates = error > 1.2 * before || (error == before && before < 1e-3);
            if steps > 0 && stagnates {
                return Ok(steps + 1);
            }
        }
        Ok(self.max_steps)
    }

    /// Step ← Σ b_i (I − M)^i over i < order, by Horner's rule, with b_i the coefficients of
    /// (1 − x)^(−1/p).
    fn higher_order_step<A: Scalar>(
        &self,
        work: &mut CoupledNewtonWorkspace<A>,
        p: f64,
    ) -> Result<()> {
        let (one, zero) = (A::one(), A::zero());
        let coefficient = |i: u32| -> f64 {
            (1..=i).map(f64::from).map(|j| (1.0 + (j - 1.0) * p) / (j * p)).product()
        };
        work.step.assign(&work.m);
        work.step.mapv_inplace(|x| -x);
        work.step.diag_mut().mapv_inplace(|x| x + one);
        // Power is free until the step is raised: it holds the sum, and step I − M.
        work.power.fill(zero);
        work.power.diag_mut().fill(A::from_f64(coefficient(self.order - 1)));
        for i in (0..self.order - 1).rev() {
            let (sum, e) = (work.power.view(), work.step.view());
            gemm(one, sum, e, zero, &mut work.scratch.view_mut())?;
            let added = A::from_f64(coefficient(i));
            work.scratch.diag_mut().mapv_inplace(|x| x + added);
            std::mem::swap(&mut work.power, &mut work.scratch);
        }
        std::mem::swap(&mut work.step, &mut work.power);
        Ok(())
    }

    fn check(&self, ridge: f64) -> Result<()> {
        check::non_negative("ridge", ridge)?;
        for (name, value, least, allowed) in [
            ("root", self.root, 1, "at least 1"),
            ("power", self.power, 1, "at least 1"),
            ("order", self.order, 2, "at least 2"),
        ] {
            if value < least {
                let value = f64::from(value);
                return Err(LinalgError::InvalidParameter { name, value, allowed });
            }
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

/// Step ← I + (I − M)/p.
fn newton_step<A: Scalar>(work: &mut CoupledNewtonWorkspace<A>, p: f64) {
    let (keep, shift) = (A::from_f64(-1.0 / p), A::from_f64(1.0 + 1.0 / p));
    work.step.assign(&work.m);
    work.step.mapv_inplace(|x| x * keep);
    work.step.diag_mut().mapv_inplace(|x| x + shift);
}

/// Power ← step^exponent, by squaring.
fn raise<A: Scalar>(work: &mut CoupledNewtonWorkspace<A>, exponent: u32) -> Result<()> {
    let (one, zero) = (A::one(), A::zero());
    work.power.assign(&work.step);
    let bits = u32::BITS - exponent.leading_zeros();
    for bit in (0..bits.saturating_sub(1)).rev() {
        let power = work.power.view();
        gemm(one, power, power, zero, &mut work.scratch.view_mut())?;
        std::mem::swap(&mut work.power, &mut work.scratch);
        if exponent >> bit & 1 == 1 {
            let power = work.power.view();
            gemm(one, power, work.step.view(), zero, &mut work.scratch.view_mut())?;
            std::mem::swap(&mut work.power, &mut work.scratch);
        }
    }
    Ok(())
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
