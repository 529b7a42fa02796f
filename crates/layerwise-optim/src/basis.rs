//! One side's eigenbasis, and how it is refreshed.

use layerwise_linalg::{
    LinalgError, RowOrthonormalizer, Scalar, SymmetricEigen, check_symmetric, gemm, symmetrize,
};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::drift::off_diagonal_share;
use crate::eigenbasis::{BasisMethod, BasisUse, EigenbasisConfig};
use crate::error::{OptimError, Result, Side};
use crate::factor::Statistic;
use crate::persist::persist;
use crate::preconditioner::bytes;
use crate::signal::Signal;
use crate::staged::Staged;
use crate::statistic::{FactorStatistic, Reading, Source};

#[derive(Clone, Copy)]
pub(crate) enum Rotation {
    Into,
    OutOf,
}

/// One side: its factor, its basis, and what refreshing it needs.
#[derive(Debug)]
pub(crate) struct BasisSide<A> {
    pub(crate) statistic: FactorStatistic<A>,
    /// Columns are the vectors; none for a side left alone.
    pub(crate) basis: Option<Staged<Array2<A>>>,
    eigen: Option<SymmetricEigen<A>>,
    orthonormalizer: Option<RowOrthonormalizer<A>>,
    product: Array2<A>,
    work: Array2<A>,
    /// The basis between two steps of a refresh, where it takes several.
    between: Array2<A>,
    /// Rayleigh quotients, and the order of columns that they give.
    quotients: Vec<f64>,
    pub(crate) order: Vec<usize>,
    /// The order applies to `v` when the step is committed.
    reorders: bool,
}

persist!(BasisSide<A> { statistic, basis });

impl<A: Scalar> BasisSide<A> {
    pub(crate) fn new(config: &EigenbasisConfig, statistic: FactorStatistic<A>) -> Self {
        let n = statistic.dimension();
        let active = statistic.kind != Statistic::Identity;
        let repeats = matches!(config.basis, BasisMethod::QrStep { steps, .. } if steps > 1);
        let iterates = active && matches!(config.basis, BasisMethod::QrStep { .. });
        let square =
            |needed: bool| if needed { Array2::zeros((n, n)) } else { Array2::zeros((0, 0)) };
        BasisSide {
            basis: active.then(|| Staged::twice(Array2::eye(n))),
            eigen: active.then(|| SymmetricEigen::with_dimension(n)),
            orthonormalizer: iterates.then(|| RowOrthonormalizer::with_shape(n, n)),
            product: square(iterates),
            work: square(iterates),
            between: square(active && repeats),
            quotients: vec![0.0; if iterates { n } else { 0 }],
            order: (0..n).collect(),
            reorders: false,
            statistic,
        }
    }

    /// Rotates a matrix into the basis or out of it.
    pub(crate) fn rotate(
        &self,
        used: BasisUse,
        rotation: Rotation,
        matrix: &mut ArrayViewMut2<'_, A>,
        scratch: &mut Array2<A>,
    ) -> Result<()> {
        let Some(basis) = &self.basis else { return Ok(()) };
        let basis = match used {
            BasisUse::Refreshed => basis.latest().view(),
            BasisUse::Previous => basis.current().view(),
        };
        scratch.assign(matrix);
        let (one, zero) = (A::one(), A::zero());
        match (self.statistic.side, rotation) {
            (Side::Left, Rotation::Into) => gemm(one, basis.t(), scratch.view(), zero, matrix),
            (Side::Left, Rotation::OutOf) => gemm(one, basis, scratch.view(), zero, matrix),
            (Side::Right, Rotation::Into) => gemm(one, scratch.view(), basis, zero, matrix),
            (Side::Right, Rotation::OutOf) => gemm(one, scratch.view(), basis.t(), zero, matrix),
        }?;
        Ok(())
    }

    /// The squares of samples' coordinates in the basis, one sample a row, in the first rows of
    /// `storage`, which grows where there are more samples than ever before.
    pub(crate) fn squares<'s>(
        &self,
        used: BasisUse,
        samples: ArrayView2<'_, A>,
        storage: &'s mut Array2<A>,
    ) -> Result<ArrayView2<'s, A>> {
        if storage.nrows() < samples.nrows() {
            *storage = Array2::zeros(samples.dim());
        }
        let mut squares = storage.slice_mut(s![..samples.nrows(), ..]);
        match &self.basis {
            None => squares.assign(&samples),
            Some(basis) => {
                let basis = match used {
                    BasisUse::Refreshed => basis.latest(),
                    BasisUse::Previous => basis.current(),
                };
                gemm(A::one(), samples, basis.view(), A::zero(), &mut squares)?;
            }
        }
        squares.mapv_inplace(|x| x * x);
        Ok(storage.slice(s![..samples.nrows(), ..]))
    }

    /// Proposes a new basis; returns how often another routine had to serve.
    pub(crate) fn refresh(
        &mut self,
        config: &EigenbasisConfig,
        signal: &Signal<'_, A>,
        step: u64,
        first: bool,
    ) -> Result<usize> {
        let side = self.statistic.side;
        let wrap = |source| OptimError::Factor { side, source };
        let by_qr = match (&config.basis, config.basis_use) {
            (BasisMethod::Eigendecomposition, _) => None,
            (BasisMethod::QrStep { .. }, BasisUse::Previous) if first => None,
            (BasisMethod::QrStep { ridge, steps, tolerance }, _) => {
                Some(QrSteps { ridge: ridge.value(step), count: *steps, tolerance: *tolerance })
            }
        };
        let Some(steps) = by_qr else {
            self.by_eigendecomposition(config, signal).map_err(wrap)?;
            return Ok(0);
        };
        match self.by_qr_steps(config, signal, steps) {
            Ok(()) => Ok(0),
            Err(LinalgError::RankDeficient { .. }) => {
                self.by_eigendecomposition(config, signal).map_err(wrap)?;
                Ok(1)
            }
            Err(error) => Err(wrap(error)),
        }
    }

    fn by_eigendecomposition(
        &mut self,
        config: &EigenbasisConfig,
        signal: &Signal<'_, A>,
    ) -> layerwise_linalg::Result<()> {
        let (Some(basis), Some(eigen)) = (&mut self.basis, &mut self.eigen) else { return Ok(()) };
        let Source::Moment(moment) = self.statistic.source(signal, Reading::Moment) else {
            return Ok(());
        };
        eigen.decompose(moment)?;
        let (_, next) = basis.split();
        match config.basis_use {
            BasisUse::Refreshed => next.assign(&eigen.vectors()),
            BasisUse::Previous => next.assign(&eigen.vectors().slice(s![.., ..;-1])),
        }
        basis.propose();
        Ok(())
    }

    /// Orthogonal iteration on the factor `S` from the basis `Q` held.
    fn by_qr_steps(
        &mut self,
        config: &EigenbasisConfig,
        signal: &Signal<'_, A>,
        steps: QrSteps,
    ) -> layerwise_linalg::Result<()> {
        let (Some(basis), Some(orthonormalizer)) = (&mut self.basis, &mut self.orthonormalizer)
        else {
            return Ok(());
        };
        let Source::Moment(moment) = self.statistic.source(signal, Reading::Moment) else {
            return Ok(());
        };
        check_symmetric(moment)?;
        let (one, zero) = (A::one(), A::zero());
        let (current, next) = basis.split();
        let (product, work) = (&mut self.product, &mut self.work);
        // S Q + c r Q, c the divisor of the bias correction: the scale does not matter.
        let added = A::from_f64(steps.ridge * self.statistic.correction);
        work.assign(current);
        gemm(one, moment, current.view(), added, &mut work.view_mut())?;
        match config.basis_use {
            BasisUse::Refreshed => {
                // B = Qᵀ(S + c r I)Q is symmetric, so that its rows are its columns; B = U R.
                gemm(one, current.t(), work.view(), zero, &mut product.view_mut())?;
                work.assign(current);
                for step in 0..steps.count {
                    if steps.tolerance > 0.0
                        && is_diagonal(product, &mut self.quotients, steps.tolerance)
                    {
                        break;
                    }
                    // From here on `work` is B, and Q stands in `between`, after the first step.
                    if step > 0 {
                        self.between.assign(work);
                    }
                    work.assign(product);
                    orthonormalizer.orthonormalize(&mut product.view_mut())?;
                    // R U is UᵀBU; here `product` is Uᵀ and `next` becomes UᵀB.
                    gemm(one, product.view(), work.view(), zero, &mut next.view_mut())?;
                    for ((quotient, row), u) in
                        self.quotients.iter_mut().zip(next.rows()).zip(product.rows())
                    {
                        *quotient = row.iter().zip(u).map(|(a, b)| a.as_f64() * b.as_f64()).sum();
                    }
                    let before = if step > 0 { self.between.view() } else { current.view() };
                    gemm(one, before, product.t(), zero, &mut work.view_mut())?;
                    if step + 1 < steps.count {
                        self.between.assign(product);
                        let u = self.between.t();
                        gemm(one, next.view(), u, zero, &mut product.view_mut())?;
                        symmetrize(&mut product.view_mut());
                    }
                }
                sort_by_quotient(&mut self.order, &self.quotients, Direction::Ascending);
                for (mut to, from) in next.rows_mut().into_iter().zip(work.rows()) {
                    to.iter_mut().zip(&self.order).for_each(|(to, &column)| *to = from[column]);
                }
            }
            BasisUse::Previous => {
                self.quotients.fill(0.0);
                for (row, q) in work.rows().into_iter().zip(current.rows()) {
                    for ((quotient, a), b) in self.quotients.iter_mut().zip(row).zip(q) {
                        *quotient += a.as_f64() * b.as_f64();
                    }
                }
                sort_by_quotient(&mut self.order, &self.quotients, Direction::Descending);
                self.reorders = true;
                assign_columns(product, work, self.order.iter().copied());
                orthonormalizer.orthonormalize(&mut product.view_mut())?;
                assign_columns(next, product, 0..product.ncols());
            }
        }
        basis.propose();
        Ok(())
    }

    pub(crate) fn is_reordered(&self) -> bool {
        self.reorders
    }

    pub(crate) fn discard_basis(&mut self) {
        self.reorders = false;
        if let Some(basis) = &mut self.basis {
            basis.discard();
        }
    }

    pub(crate) fn discard(&mut self) {
        self.statistic.discard();
        self.discard_basis();
    }

    pub(crate) fn commit(&mut self) {
        self.statistic.commit();
        self.reorders = false;
        if let Some(basis) = &mut self.basis {
            basis.commit();
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let n = self.statistic.dimension();
        let held = if self.basis.is_some() { 6 } else { 0 };
        let iteration = if self.orthonormalizer.is_some() { 3 } else { 0 };
        self.statistic.memory_bytes()
            + (held + iteration) * bytes::<A>((n, n))
            + bytes::<A>(self.between.dim())
    }
}

/// The rows of `to` become these columns of `from`; in strips that the cache holds.
fn assign_columns<A: Scalar>(
    to: &mut Array2<A>,
    from: &Array2<A>,
    columns: impl Iterator<Item = usize> + Clone,
) {
    const STRIP: usize = 16;
    let strips = to.axis_chunks_iter_mut(Axis(1), STRIP);
    for (mut to, from) in strips.zip(from.axis_chunks_iter(Axis(0), STRIP)) {
        for (mut row, column) in to.rows_mut().into_iter().zip(columns.clone()) {
            row.assign(&from.column(column));
        }
    }
}

/// The QR steps of a refresh.
struct QrSteps {
    ridge: f64,
    count: u32,
    tolerance: f64,
}

/// Whether a matrix is diagonal to a share of it, with its diagonal in `quotients` then.
fn is_diagonal<A: Scalar>(matrix: &mut Array2<A>, quotients: &mut [f64], tolerance: f64) -> bool {
    for (quotient, x) in quotients.iter_mut().zip(matrix.diag()) {
        *quotient = x.as_f64();
    }
    let share = off_diagonal_share(matrix);
    for (x, &quotient) in matrix.diag_mut().iter_mut().zip(&*quotients) {
        *x = A::from_f64(quotient);
    }
    share <= tolerance
}

enum Direction {
    Ascending,
    Descending,
}

/// An order of columns by quotient, equal ones in their former order; without allocation.
fn sort_by_quotient(order: &mut [usize], quotients: &[f64], direction: Direction) {
    for (index, slot) in order.iter_mut().enumerate() {
        *slot = index;
    }
    order.sort_unstable_by(|&a, &b| {
        let by_quotient = quotients[a].total_cmp(&quotients[b]);
        match direction {
            Direction::Ascending => by_quotient,
            Direction::Descending => by_quotient.reverse(),
        }
        .then(a.cmp(&b))
    });
}
