//! Preconditioners fitted by descent on the group of triangular matrices: PSGD.

use layerwise_linalg::{Scalar, gemm, gram, solve_lower};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, Zip};

use crate::config::psgd::PsgdConfig;
use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::{bytes, check_shape, check_size, first_non_finite, frobenius_norm};
use crate::numeric::pool::{Needs, Pool};
use crate::stage::{Stage, Step};
use crate::stages::bounded::Bounded;
use crate::state::persist::{Persist, join, persist, stage_state};
use crate::state::staged::Staged;
use crate::values::refuse;

/// `D ← Q₁ᵀQ₁ D Q₂ᵀQ₂`.
#[derive(Debug)]
pub(crate) struct Psgd<A> {
    config: PsgdConfig,
    shape: (usize, usize),
    left: Fitted<A>,
    right: Fitted<A>,
    progress: Staged<Progress>,
    pool: Pool<A>,
}

persist!(Psgd<A> { left, right, progress });

/// Steps since the last fit, and fits.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    waited: u64,
    fits: u64,
}

persist!(Progress { waited, fits });

impl<A: Scalar> Psgd<A> {
    /// The configuration must have been checked.
    ///
    /// # Errors
    ///
    /// Factors that are too large.
    pub(crate) fn new(config: &PsgdConfig, shape: (usize, usize), pool: &Pool<A>) -> Result<Self> {
        let is_vector = shape.0.min(shape.1) == 1;
        let fitted = |side, n| Fitted::new(side, n, is_vector || n > config.max_dimension);
        Ok(Psgd {
            config: config.clone(),
            shape,
            left: fitted(Side::Left, shape.0)?,
            right: fitted(Side::Right, shape.1)?,
            progress: Staged::twice(Progress::default()),
            pool: pool.clone(),
        })
    }

    /// Proposes factors that are nearer to whitening a direction.
    fn fit(&mut self, direction: &ArrayView2<'_, A>, fits: u64, time: u64) -> Result<()> {
        let moduli = direction.iter().map(|d| d.as_f64().abs()).sum::<f64>();
        if moduli == 0.0 {
            // Nothing to whiten.
            return Ok(());
        }
        let added = self.config.damping.value(time) * moduli / direction.len() as f64;
        let balance = self.config.balance_every;
        if fits > 0 && balance > 0 && fits.is_multiple_of(balance) {
            let (left, right) = (self.left.largest(), self.right.largest());
            let ratio = (right / left).sqrt();
            self.left.propose_times(ratio);
            self.right.propose_times(1.0 / ratio);
        }
        let mut signs = self.pool.array(self.shape);
        write_signs(self.config.seed, fits, &mut signs);
        let mut whitened = self.pool.array(self.shape);
        let added = A::from_f64(added);
        Zip::from(&mut *whitened).and(direction).and(&*signs).for_each(|w, &d, &v| {
            *w = d + added * v;
        });
        self.left.multiply(&mut whitened, &self.pool)?;
        self.right.multiply(&mut whitened, &self.pool)?;
        self.left.divide(&mut signs)?;
        self.right.divide(&mut signs)?;
        let rate = self.config.learning_rate.value(time);
        let pair = (&*whitened, &*signs);
        self.left.step(rate, pair, &self.pool)?;
        self.right.step(rate, pair, &self.pool)
    }
}

impl<A: Scalar> Stage<A> for Psgd<A> {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        Persist::<A>::discard(self);
        let Progress { waited, fits } = *self.progress.current();
        let mut next = Progress { waited: waited + 1, fits };
        if next.waited as f64 * self.config.share.value(step.time) >= 1.0 {
            self.fit(&direction.view(), fits, step.time)?;
            next = Progress { waited: 0, fits: fits + 1 };
        }
        *self.progress.split_proposed().1 = next;
        let mut product = self.pool.array(self.shape);
        product.assign(direction);
        for side in [&self.left, &self.right] {
            side.multiply(&mut product, &self.pool)?;
            side.multiply_transposed(&mut product, &self.pool)?;
        }
        direction.assign(&*product);
        Ok(())
    }

    stage_state!();

    fn memory_bytes(&self) -> usize {
        [&self.left, &self.right]
            .map(|side| 2 * bytes::<A>(side.factor.current().dim()))
            .iter()
            .sum()
    }
}

impl<A: Scalar> Bounded<A> for Psgd<A> {
    fn needs(&self) -> Needs {
        // The pair, a product with each; and of a side two Gram matrices and a product.
        Needs::arrays(3, self.shape).and(self.left.needs().or(self.right.needs()))
    }
}

/// `Q` of one side: an upper triangle, or the diagonal as a row.
#[derive(Debug)]
struct Fitted<A> {
    side: Side,
    is_diagonal: bool,
    factor: Staged<Array2<A>>,
}

persist!(Fitted<A> { factor } checked by check_loaded);

impl<A: Scalar> Fitted<A> {
    fn new(side: Side, n: usize, is_diagonal: bool) -> Result<Self> {
        let shape = (if is_diagonal { 1 } else { n }, n);
        check_size::<A>("a factor", shape)?;
        let factor = if is_diagonal { Array2::ones(shape) } else { Array2::eye(n) };
        Ok(Fitted { side, is_diagonal, factor: Staged::twice(factor) })
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        let factor = self.factor.current();
        let diagonal = if self.is_diagonal { factor.row(0) } else { factor.diag() };
        if diagonal.iter().any(|&q| q <= A::zero()) {
            return Err(refuse(&join(path, "factor"), "has a diagonal that is not positive"));
        }
        let below = |((i, j), &q): ((usize, usize), &A)| i > j && q != A::zero();
        if !self.is_diagonal && factor.indexed_iter().any(below) {
            return Err(refuse(&join(path, "factor"), "is not an upper triangle"));
        }
        Ok(())
    }

    fn largest(&self) -> f64 {
        self.factor.latest().iter().fold(0.0, |m, q| q.as_f64().abs().max(m))
    }

    fn propose_times(&mut self, ratio: f64) {
        let ratio = A::from_f64(ratio);
        let (current, next) = self.factor.split_proposed();
        next.zip_mut_with(current, |next, &q| *next = q * ratio);
    }

    /// The rows of the matrix as this side has them: of the matrix, or of its transpose.
    fn oriented<'m>(&self, matrix: &'m mut Array2<A>) -> ArrayViewMut2<'m, A> {
        match self.side {
            Side::Left => matrix.view_mut(),
            Side::Right => matrix.view_mut().reversed_axes(),
        }
    }

    /// `Q M` on the left, `M Qᵀ` on the right.
    fn multiply(&self, matrix: &mut Array2<A>, pool: &Pool<A>) -> Result<()> {
        self.multiply_by(self.factor.latest().view(), matrix, pool)
    }

    /// `Qᵀ M` on the left, `M Q` on the right.
    fn multiply_transposed(&self, matrix: &mut Array2<A>, pool: &Pool<A>) -> Result<()> {
        self.multiply_by(self.factor.latest().t(), matrix, pool)
    }

    fn multiply_by(
        &self,
        factor: ArrayView2<'_, A>,
        matrix: &mut Array2<A>,
        pool: &Pool<A>,
    ) -> Result<()> {
        if self.is_diagonal {
            self.scale_rows(matrix, |row, q| row * q);
            return Ok(());
        }
        let mut before = pool.array(matrix.dim());
        before.assign(matrix);
        let before = match self.side {
            Side::Left => before.view(),
            Side::Right => before.t(),
        };
        Ok(gemm(A::one(), factor, before, A::zero(), &mut self.oriented(matrix))?)
    }

    /// `Q⁻ᵀ M` on the left, `M Q⁻¹` on the right.
    fn divide(&self, matrix: &mut Array2<A>) -> Result<()> {
        if self.is_diagonal {
            self.scale_rows(matrix, |row, q| row / q);
            return Ok(());
        }
        let lower = self.factor.latest().t();
        let side = self.side;
        solve_lower(lower, &mut self.oriented(matrix))
            .map_err(|source| OptimError::Factor { side, source })
    }

    fn scale_rows(&self, matrix: &mut Array2<A>, change: impl Fn(A, A) -> A) {
        let factor = self.factor.latest();
        for (mut row, &q) in self.oriented(matrix).rows_mut().into_iter().zip(factor) {
            row.mapv_inplace(|x| change(x, q));
        }
    }

    /// `Q ← Q − μ triu(AAᵀ − BBᵀ) Q / ‖AAᵀ + BBᵀ‖` on the left, with `AᵀA` and `BᵀB` on the right.
    fn step(&mut self, rate: f64, (a, b): (&Array2<A>, &Array2<A>), pool: &Pool<A>) -> Result<()> {
        let (a, b) = match self.side {
            Side::Left => (a.view(), b.view()),
            Side::Right => (a.t(), b.t()),
        };
        if !self.factor.is_proposed() {
            self.propose_times(1.0);
        }
        if self.is_diagonal {
            let square =
                |row: ArrayView1<'_, A>| row.iter().map(|x| x.as_f64().powi(2)).sum::<f64>();
            let squares = |i: usize| (square(a.row(i)), square(b.row(i)));
            let sum = |(a, b)| a + b;
            let largest = (0..a.nrows()).map(squares).map(sum).fold(0.0, f64::max);
            for (i, q) in self.factor.split_proposed().1.iter_mut().enumerate() {
                let (a, b) = squares(i);
                *q = A::from_f64(q.as_f64() * (1.0 - rate * (a - b) / largest));
            }
        } else {
            let shape = self.factor.current().dim();
            let (mut of_a, mut of_b) = (pool.array(shape), pool.array(shape));
            gram(A::one(), a, A::zero(), &mut of_a.view_mut())?;
            gram(A::one(), b, A::zero(), &mut of_b.view_mut())?;
            of_a.zip_mut_with(&*of_b, |a, &b| *a += b);
            let norm = lower_bound_of_norm(&of_a.view(), pool)?;
            // AAᵀ − BBᵀ = (AAᵀ + BBᵀ) − 2 BBᵀ, of which the triangle is taken.
            let (two, scale) = (A::from_f64(2.0), A::from_f64(-rate / norm));
            let (of_a, of_b) = (&mut *of_a, &*of_b);
            Zip::indexed(of_a.view_mut()).and(of_b).for_each(|(i, j), a, &b| {
                *a = if i <= j { scale * (*a - two * b) } else { A::zero() };
            });
            of_a.diag_mut().mapv_inplace(|x| x + A::one());
            let mut before = pool.array(shape);
            before.assign(self.factor.latest());
            let next = self.factor.split_proposed().1;
            gemm(A::one(), of_a.view(), before.view(), A::zero(), &mut next.view_mut())?;
            // The products of what stands below the diagonals are zero, but for the sign.
            Zip::indexed(next).for_each(|(i, j), q| {
                if i > j {
                    *q = A::zero();
                }
            });
        }
        match first_non_finite(&self.factor.latest().view()) {
            Some((row, col, value)) => {
                Err(OptimError::Overflow { what: "a fitted factor", row, col, value })
            }
            None => Ok(()),
        }
    }

    fn needs(&self) -> Needs {
        let shape = self.factor.current().dim();
        if self.is_diagonal {
            return Needs::default();
        }
        Needs::arrays(3, shape).and(Needs::arrays(2, (1, shape.1)))
    }
}

/// A lower bound of the spectral norm of a symmetric positive semi-definite matrix, not zero: two steps of
/// power iteration from its longest row (as in Li's code).
fn lower_bound_of_norm<A: Scalar>(matrix: &ArrayView2<'_, A>, pool: &Pool<A>) -> Result<f64> {
    let n = matrix.nrows();
    let (mut x, mut product) = (pool.array((1, n)), pool.array((1, n)));
    let norm = |row: &ArrayView1<'_, A>| frobenius_norm(&row.insert_axis(Axis(0)));
    let longer = |best: (usize, f64), row: (usize, f64)| if row.1 > best.1 { row } else { best };
    let norms = matrix.rows().into_iter().map(|row| norm(&row)).enumerate();
    let (longest, length) = norms.fold((0, 0.0), longer);
    x.row_mut(0).assign(&matrix.row(longest));
    x.mapv_inplace(|x| A::from_f64(x.as_f64() / length));
    gemm(A::one(), x.view(), matrix.view(), A::zero(), &mut product.view_mut())?;
    let length = norm(&product.row(0));
    product.mapv_inplace(|y| A::from_f64(y.as_f64() / length));
    gemm(A::one(), product.view(), matrix.view(), A::zero(), &mut x.view_mut())?;
    Ok(norm(&x.row(0)))
}

/// Random signs, as a function of seed, fit and place: SplitMix64 (Steele, Lea and Flood 2014), bit by bit.
fn write_signs<A: Scalar>(seed: u64, fit: u64, signs: &mut Array2<A>) {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let start = mix(seed.wrapping_add(fit.wrapping_mul(GAMMA)));
    for (index, sign) in (0..).zip(signs.iter_mut()) {
        let index: u64 = index;
        let word = mix(start.wrapping_add((index / 64 + 1).wrapping_mul(GAMMA)));
        *sign = if (word >> (index % 64)) & 1 == 1 { A::one() } else { -A::one() };
    }
}

/// SplitMix64's finalizer.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
