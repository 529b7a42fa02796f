//! Entry-wise preconditioning in the eigenbases of Kronecker factors: SOAP.

use layerwise_linalg::{LinalgError, RowOrthonormalizer, Scalar, SymmetricEigen, gemm};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use serde::{Deserialize, Serialize};

use crate::averaging::Averaging;
use crate::diagonal::{DiagonalConfig, SecondMoments};
use crate::error::{OptimError, Result, Side};
use crate::factor::{FactorStatistic, Source, Statistic};
use crate::finite::{check_finite, check_shape};
use crate::kronecker::Progress;
use crate::preconditioner::{Observation, Preconditioner, bytes};
use crate::refresh::Refresh;
use crate::schedule::Schedule;
use crate::signal::{Signal, Signals};
use crate::staged::Staged;

/// `D ← U [(UᵀDV) / (√v̂ + ε)] Vᵀ`, with `U` and `V` the eigenvectors of the left and right factor
/// and `v` the entry-wise second moment of the gradient in that basis (Vyas et al. 2024, SOAP).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EigenbasisConfig {
    /// Of what the left factor is a second moment.
    pub left: Statistic,
    /// Of what the right factor is a second moment.
    pub right: Statistic,
    /// How both remember.
    pub averaging: Averaging,
    /// How bases are computed.
    pub basis: BasisMethod,
    /// Which basis a step uses.
    pub basis_use: BasisUse,
    /// When bases are computed anew.
    pub refresh: Refresh,
    /// The statistic in the basis.
    pub diagonal: DiagonalConfig,
}

/// How an eigenbasis is refreshed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BasisMethod {
    /// An eigendecomposition.
    Eigendecomposition,
    /// One step of orthogonal iteration from the basis held, by a QR factorization. Where the
    /// product to factor is rank-deficient, an eigendecomposition takes its place, and is counted
    /// as a fall-back.
    QrStep {
        /// Multiple of the identity added to the bias-corrected factor, ≥ 0.
        ridge: Schedule,
    },
}

/// Which basis a step uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BasisUse {
    /// The step's gradient enters the factors and, where a refresh is due, the basis; then
    /// it is projected on that. Every step moves the weight. When the basis changes, `v` stays as
    /// it is. (Distributed Shampoo.)
    Refreshed,
    /// The first step only collects statistics and takes the first basis, by an
    /// eigendecomposition. Later steps use the basis from before the step, then update factors
    /// and basis; step `t` refreshes where `every` divides `t − 1`. Columns are in descending
    /// order of eigenvalue (of Rayleigh quotient, before a QR step), and `v` is permuted with
    /// them. (The code of SOAP's authors.)
    Previous,
}

impl EigenbasisConfig {
    pub(crate) fn check(&self) -> Result<()> {
        self.averaging.check("eigenbasis.averaging.beta")?;
        self.refresh.check()?;
        self.diagonal.check()?;
        if let BasisMethod::QrStep { ridge } = &self.basis {
            ridge.check_non_negative("eigenbasis.basis.ridge")?;
        }
        if self.basis_use == BasisUse::Previous && self.refresh.start != 1 {
            return Err(OptimError::Incompatible {
                first: "the basis from before the step",
                second: "a first refresh after step 1",
                why: "the first step is the one that takes the first basis",
            });
        }
        Ok(())
    }

    pub(crate) fn required(&self) -> Signals {
        Signals { input: self.right == Statistic::Signal, output: self.left == Statistic::Signal }
    }
}

/// Entry-wise preconditioning in eigenbases.
#[derive(Debug)]
pub struct EigenbasisDiagonal<A> {
    config: EigenbasisConfig,
    shape: (usize, usize),
    left: BasisSide<A>,
    right: BasisSide<A>,
    moments: SecondMoments<A>,
    progress: Staged<Progress>,
    projected: Array2<A>,
    scratch: Array2<A>,
}

impl<A: Scalar> EigenbasisDiagonal<A> {
    /// For weights of this shape.
    ///
    /// # Errors
    ///
    /// Hyperparameters out of range.
    pub fn new(config: &EigenbasisConfig, shape: (usize, usize)) -> Result<Self> {
        config.check()?;
        let side = |side, statistic| {
            BasisSide::new(config, FactorStatistic::new(side, statistic, &config.averaging, shape))
        };
        Ok(EigenbasisDiagonal {
            left: side(Side::Left, config.left),
            right: side(Side::Right, config.right),
            moments: SecondMoments::new(&config.diagonal, shape),
            progress: Staged::twice(Progress::default()),
            projected: Array2::zeros(shape),
            scratch: Array2::zeros(shape),
            config: config.clone(),
            shape,
        })
    }

    /// The basis of a side, its columns the vectors; `None` for a side left alone.
    #[must_use]
    pub fn basis(&self, side: Side) -> Option<ArrayView2<'_, A>> {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
        .basis
        .as_ref()
        .map(|basis| basis.current().view())
    }

    /// Replaces the basis of a side, for instance by one recorded elsewhere.
    ///
    /// # Errors
    ///
    /// A side that is left alone, another shape, entries that are not finite, or columns that are
    /// not orthonormal to `32 n` units of rounding.
    pub fn set_basis(&mut self, side: Side, vectors: ArrayView2<'_, A>) -> Result<()> {
        let target = match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        };
        let n = target.statistic.dimension();
        let Some(basis) = &mut target.basis else {
            return Err(OptimError::Shape {
                what: "a basis for a side that is left alone",
                expected: (0, 0),
                found: vectors.dim(),
            });
        };
        check_shape("basis", &vectors, (n, n))?;
        check_finite("basis", &vectors)?;
        let tolerance = 32.0 * n as f64 * A::epsilon().as_f64();
        for (i, a) in vectors.columns().into_iter().enumerate() {
            for (j, b) in vectors.columns().into_iter().enumerate().take(i + 1) {
                let product: f64 = a.iter().zip(b).map(|(x, y)| x.as_f64() * y.as_f64()).sum();
                let expected = if i == j { 1.0 } else { 0.0 };
                if (product - expected).abs() > tolerance {
                    return Err(OptimError::InvalidHyperparameter {
                        name: "inner product of two columns of a basis",
                        value: product,
                        allowed: "0, or 1 for a column with itself",
                    });
                }
            }
        }
        basis.split().1.assign(&vectors);
        basis.propose();
        basis.commit();
        Ok(())
    }

    fn discard(&mut self) {
        self.left.discard();
        self.right.discard();
        self.moments.discard();
        self.progress.discard();
    }

    /// Projects the gradient on the bases that the step uses, and takes its squares in.
    fn observe_projection(&mut self, gradient: &ArrayView2<'_, A>) -> Result<()> {
        self.projected.assign(gradient);
        let used = self.config.basis_use;
        for side in [&self.left, &self.right] {
            side.rotate(used, Rotation::Into, &mut self.projected.view_mut(), &mut self.scratch)?;
        }
        self.moments.observe(&self.projected.view())
    }

    fn refresh(&mut self, signal: &Signal<'_, A>, step: u64) -> Result<usize> {
        let first = !self.progress.current().ready;
        let mut fallbacks = 0;
        for side in [&mut self.left, &mut self.right] {
            fallbacks += side.refresh(&self.config, signal, step, first)?;
        }
        Ok(fallbacks)
    }

    fn refresh_or_keep(
        &mut self,
        signal: &Signal<'_, A>,
        step: u64,
        next: &mut Progress,
        observation: &mut Observation,
    ) -> Result<()> {
        match self.refresh(signal, step) {
            Ok(fallbacks) => {
                observation.refreshed = true;
                observation.fallbacks = fallbacks;
                next.ready = true;
                next.failures = 0;
            }
            Err(_) if next.tolerates_failure(&self.config.refresh) => {
                self.left.discard_basis();
                self.right.discard_basis();
                observation.fallbacks = 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl<A: Scalar> Preconditioner<A> for EigenbasisDiagonal<A> {
    fn required(&self) -> Signals {
        self.config.required()
    }

    fn observe(&mut self, signal: &Signal<'_, A>) -> Result<Observation> {
        self.discard();
        let gradient = signal.gradient();
        check_shape("gradient", &gradient, self.shape)?;
        let step = self.progress.current().steps;
        let mut next = Progress { steps: step + 1, ..*self.progress.current() };
        let mut observation = Observation::default();
        self.left.statistic.observe(signal, false)?;
        self.right.statistic.observe(signal, false)?;
        match self.config.basis_use {
            BasisUse::Refreshed => {
                if self.config.refresh.is_due(step + 1) {
                    self.refresh_or_keep(signal, step, &mut next, &mut observation)?;
                }
                self.observe_projection(&gradient)?;
                observation.warming_up = !next.ready;
            }
            BasisUse::Previous => {
                observation.skip = step == 0;
                if step > 0 {
                    self.observe_projection(&gradient)?;
                }
                if step.is_multiple_of(self.config.refresh.every) {
                    self.refresh_or_keep(signal, step, &mut next, &mut observation)?;
                }
            }
        }
        *self.progress.split().1 = next;
        self.progress.propose();
        Ok(observation)
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        let used = self.config.basis_use;
        for side in [&self.left, &self.right] {
            side.rotate(used, Rotation::Into, direction, &mut self.scratch)?;
        }
        self.moments.apply(direction);
        for side in [&self.left, &self.right] {
            side.rotate(used, Rotation::OutOf, direction, &mut self.scratch)?;
        }
        Ok(())
    }

    fn commit(&mut self) {
        // v follows the columns' new order; the step itself used the former.
        for side in [&self.left, &self.right] {
            if side.is_reordered() {
                let moments = self.moments.latest_mut();
                let axis = match side.statistic.side {
                    Side::Left => Axis(0),
                    Side::Right => Axis(1),
                };
                self.scratch.assign(moments);
                for (mut to, &from) in moments.axis_iter_mut(axis).zip(&side.order) {
                    to.assign(&self.scratch.index_axis(axis, from));
                }
            }
        }
        self.left.commit();
        self.right.commit();
        self.moments.commit();
        self.progress.commit();
    }

    fn memory_bytes(&self) -> usize {
        self.left.memory_bytes()
            + self.right.memory_bytes()
            + self.moments.memory_bytes()
            + 2 * bytes::<A>(self.shape)
    }

    fn as_eigenbasis(&mut self) -> Option<&mut EigenbasisDiagonal<A>> {
        Some(self)
    }
}

#[derive(Clone, Copy)]
enum Rotation {
    Into,
    OutOf,
}

/// One side: its factor, its basis, and what refreshing it needs.
#[derive(Debug)]
struct BasisSide<A> {
    statistic: FactorStatistic<A>,
    /// Columns are the vectors; none for a side left alone.
    basis: Option<Staged<Array2<A>>>,
    eigen: Option<SymmetricEigen<A>>,
    orthonormalizer: Option<RowOrthonormalizer<A>>,
    product: Array2<A>,
    work: Array2<A>,
    /// Rayleigh quotients, and the order of columns that they give.
    quotients: Vec<f64>,
    order: Vec<usize>,
    /// The order applies to `v` when the step is committed.
    reorders: bool,
}

impl<A: Scalar> BasisSide<A> {
    fn new(config: &EigenbasisConfig, statistic: FactorStatistic<A>) -> Self {
        let n = statistic.dimension();
        let active = statistic.kind != Statistic::Identity;
        let iterates = active && matches!(config.basis, BasisMethod::QrStep { .. });
        let square =
            |needed: bool| if needed { Array2::zeros((n, n)) } else { Array2::zeros((0, 0)) };
        BasisSide {
            basis: active.then(|| Staged::twice(Array2::eye(n))),
            eigen: active.then(|| SymmetricEigen::with_dimension(n)),
            orthonormalizer: iterates.then(|| RowOrthonormalizer::with_shape(n, n)),
            product: square(iterates),
            work: square(iterates),
            quotients: vec![0.0; if iterates { n } else { 0 }],
            order: (0..n).collect(),
            reorders: false,
            statistic,
        }
    }

    /// Rotates a matrix into the basis or out of it.
    fn rotate(
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

    /// Proposes a new basis; returns how often another routine had to serve.
    fn refresh(
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
            (BasisMethod::QrStep { ridge }, _) => Some(ridge.value(step)),
        };
        let Some(ridge) = by_qr else {
            self.by_eigendecomposition(config, signal).map_err(wrap)?;
            return Ok(0);
        };
        match self.by_qr_step(config, signal, ridge) {
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
        let Source::Moment(moment) = self.statistic.source(signal, false) else { return Ok(()) };
        eigen.decompose(moment)?;
        let (_, next) = basis.split();
        match config.basis_use {
            BasisUse::Refreshed => next.assign(&eigen.vectors()),
            BasisUse::Previous => next.assign(&eigen.vectors().slice(s![.., ..;-1])),
        }
        basis.propose();
        Ok(())
    }

    /// One step of orthogonal iteration on the factor `S` from the basis `Q` held.
    fn by_qr_step(
        &mut self,
        config: &EigenbasisConfig,
        signal: &Signal<'_, A>,
        ridge: f64,
    ) -> layerwise_linalg::Result<()> {
        let (Some(basis), Some(orthonormalizer)) = (&mut self.basis, &mut self.orthonormalizer)
        else {
            return Ok(());
        };
        let Source::Moment(moment) = self.statistic.source(signal, false) else { return Ok(()) };
        let (one, zero) = (A::one(), A::zero());
        let (current, next) = basis.split();
        let (product, work) = (&mut self.product, &mut self.work);
        // S Q + c r Q, c the divisor of the bias correction: the scale does not matter.
        let added = A::from_f64(ridge * self.statistic.correction);
        work.assign(current);
        gemm(one, moment, current.view(), added, &mut work.view_mut())?;
        match config.basis_use {
            BasisUse::Refreshed => {
                // B = Qᵀ(S + c r I)Q is symmetric, so that its rows are its columns; B = U R.
                gemm(one, current.t(), work.view(), zero, &mut product.view_mut())?;
                work.assign(product);
                orthonormalizer.orthonormalize(&mut product.view_mut())?;
                // R U has the diagonal of UᵀBU; here `product` is Uᵀ and `next` becomes UᵀB.
                gemm(one, product.view(), work.view(), zero, &mut next.view_mut())?;
                for ((quotient, row), u) in
                    self.quotients.iter_mut().zip(next.rows()).zip(product.rows())
                {
                    *quotient = row.iter().zip(u).map(|(a, b)| a.as_f64() * b.as_f64()).sum();
                }
                sort_by_quotient(&mut self.order, &self.quotients, Direction::Ascending);
                gemm(one, current.view(), product.t(), zero, &mut work.view_mut())?;
                for (mut to, &from) in next.columns_mut().into_iter().zip(&self.order) {
                    to.assign(&work.column(from));
                }
            }
            BasisUse::Previous => {
                for ((quotient, column), q) in
                    self.quotients.iter_mut().zip(work.columns()).zip(current.columns())
                {
                    *quotient = column.iter().zip(q).map(|(a, b)| a.as_f64() * b.as_f64()).sum();
                }
                sort_by_quotient(&mut self.order, &self.quotients, Direction::Descending);
                self.reorders = true;
                for (mut to, &from) in product.rows_mut().into_iter().zip(&self.order) {
                    to.assign(&work.column(from));
                }
                orthonormalizer.orthonormalize(&mut product.view_mut())?;
                next.assign(&product.t());
            }
        }
        basis.propose();
        Ok(())
    }

    fn is_reordered(&self) -> bool {
        self.reorders
    }

    fn discard_basis(&mut self) {
        self.reorders = false;
        if let Some(basis) = &mut self.basis {
            basis.discard();
        }
    }

    fn discard(&mut self) {
        self.statistic.discard();
        self.discard_basis();
    }

    fn commit(&mut self) {
        self.statistic.commit();
        self.reorders = false;
        if let Some(basis) = &mut self.basis {
            basis.commit();
        }
    }

    fn memory_bytes(&self) -> usize {
        let n = self.statistic.dimension();
        let held = if self.basis.is_some() { 6 } else { 0 };
        let iteration = if self.orthonormalizer.is_some() { 3 } else { 0 };
        self.statistic.memory_bytes() + (held + iteration) * bytes::<A>((n, n))
    }
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
