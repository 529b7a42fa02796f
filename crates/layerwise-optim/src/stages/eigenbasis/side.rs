//! One side's eigenbasis, and how it is refreshed.

use layerwise_linalg::{Scalar, gemm};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::basis::{BasisMethod, BasisUse, ColumnOrder};
use crate::config::eigenbasis::EigenbasisConfig;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::bytes;
use crate::numeric::pool::{Needs, Pool};
use crate::numeric::sides::{Multiplier, multiply_sides};
use crate::stage::Step;
use crate::stages::drift;
use crate::stages::eigenvectors::{Eigenvectors, Found};
use crate::stages::refresh::Refreshed;
use crate::state::persist::{check_orthonormal, join, persist};
use crate::state::staged::Staged;
use crate::statistics::factor::{FactorStatistic, Reading, Source};

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
    finder: Option<Eigenvectors<A>>,
    /// The order of the columns proposed applies to `v` when the step is committed.
    reorders: bool,
}

/// The basis of a side, found from another.
#[derive(Debug)]
pub(crate) struct Finding<A> {
    pub(crate) finder: Eigenvectors<A>,
    pub(crate) former: Array2<A>,
    pub(crate) basis: Array2<A>,
    /// How it was found, and the condition number.
    pub(crate) result: layerwise_linalg::Result<(Option<Found>, f64)>,
}

persist!(BasisSide<A> { statistic, basis } checked by check_loaded);

impl<A: Scalar> BasisSide<A> {
    pub(crate) fn new(config: &EigenbasisConfig, statistic: FactorStatistic<A>) -> Self {
        let n = statistic.dimension();
        let active = statistic.kind != Statistic::None;
        let order = match config.basis_use {
            BasisUse::Previous | BasisUse::PreviousOrIdentity => ColumnOrder::Descending,
            BasisUse::Refreshed => config.basis.order(),
        };
        BasisSide {
            basis: active.then(|| Staged::twice(Array2::eye(n))),
            finder: active.then(|| Eigenvectors::new(n, &config.basis, order)),
            reorders: false,
            statistic,
        }
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        let Some(basis) = &self.basis else { return Ok(()) };
        check_orthonormal(&join(path, "basis"), basis.current().view())
    }

    /// What rotates a matrix into the basis or out of it, on this side.
    pub(crate) fn rotation(&self, used: BasisUse, rotation: Rotation) -> Multiplier<'_, A> {
        let basis = self.basis.as_ref()?;
        let basis = match used {
            BasisUse::Refreshed => basis.latest().view(),
            BasisUse::Previous | BasisUse::PreviousOrIdentity => basis.current().view(),
        };
        let factor = match (self.statistic.side, rotation) {
            (Side::Left, Rotation::Into) | (Side::Right, Rotation::OutOf) => basis.reversed_axes(),
            (Side::Left, Rotation::OutOf) | (Side::Right, Rotation::Into) => basis,
        };
        Some((A::one(), factor))
    }

    /// Whether another basis is proposed in the place of one.
    pub(crate) fn is_turned(&self) -> bool {
        self.basis.as_ref().is_some_and(Staged::is_proposed)
    }

    /// Multiplies by the squares of the products of the vectors proposed with the former ones, on this side,
    /// where the basis has turned.
    pub(crate) fn turn_squares(&self, v: &mut ArrayViewMut2<'_, A>, pool: &Pool<A>) -> Result<()> {
        let Some(basis) = self.basis.as_ref().filter(|basis| basis.is_proposed()) else {
            return Ok(());
        };
        let (former, next) = (basis.current(), basis.latest());
        let (first, second) = match self.statistic.side {
            Side::Left => (next, former),
            Side::Right => (former, next),
        };
        let mut squares = pool.array(former.dim());
        gemm(A::one(), first.t(), second.view(), A::zero(), &mut squares.view_mut())?;
        squares.mapv_inplace(|x| x * x);
        let squares = Some((A::one(), squares.view()));
        let (left, right) = match self.statistic.side {
            Side::Left => (squares, None),
            Side::Right => (None, squares),
        };
        Ok(multiply_sides(left, right, v, pool)?)
    }

    /// Into the basis of this side, each coordinate divided by the root of what the factor from before the step
    /// has along the vector; one that rounding makes nothing of the largest counts as that rounding.
    pub(crate) fn whiten(&self, matrix: &mut Array2<A>, pool: &Pool<A>) -> Result<()> {
        let (Some(basis), Some(factor)) = (&self.basis, self.statistic.average()) else {
            return Ok(());
        };
        let basis = basis.current();
        let mut product = pool.array(factor.dim());
        gemm(A::one(), factor.view(), basis.view(), A::zero(), &mut product.view_mut())?;
        let mut values = pool.array((1, basis.ncols()));
        let correction = self.statistic.held_correction();
        for ((value, vector), product) in
            values.iter_mut().zip(basis.columns()).zip(product.columns())
        {
            let along: f64 = vector.iter().zip(product).map(|(v, p)| v.as_f64() * p.as_f64()).sum();
            *value = A::from_f64(along / correction);
        }
        let largest = values.iter().fold(A::zero(), |largest, &value| largest.max(value));
        let least = A::from_f64((basis.ncols() as f64).sqrt()) * A::epsilon() * largest;
        let rotation = Some((A::one(), basis.view()));
        let (left, right) = match self.statistic.side {
            Side::Left => (Some((A::one(), basis.t())), None),
            Side::Right => (None, rotation),
        };
        multiply_sides(left, right, &mut matrix.view_mut(), pool)?;
        let mut rows = match self.statistic.side {
            Side::Left => matrix.view_mut(),
            Side::Right => matrix.view_mut().reversed_axes(),
        };
        for (mut row, &value) in rows.rows_mut().into_iter().zip(&*values) {
            let root = value.max(least).sqrt();
            row.mapv_inplace(|x| if root > A::zero() { x / root } else { A::zero() });
        }
        Ok(())
    }

    pub(crate) fn whiten_needs(&self) -> Needs {
        self.basis.as_ref().map_or_else(Needs::default, |basis| {
            let shape = basis.current().dim();
            Needs::arrays(1, shape).and(Needs::arrays(1, (1, shape.1)))
        })
    }

    pub(crate) fn turn_needs(&self) -> Needs {
        self.basis
            .as_ref()
            .map_or_else(Needs::default, |basis| Needs::arrays(1, basis.current().dim()))
    }

    /// A bound of what a rotation multiplies norms by: bases are orthonormal to √ε in each product of two
    /// columns, so that `‖VᵀV‖₂ ≤ 1 + n √ε`.
    pub(crate) fn stretch(&self) -> f64 {
        let n = self.basis.as_ref().map_or(0, |basis| basis.current().ncols());
        (1.0 + n as f64 * A::epsilon().as_f64().sqrt()).sqrt()
    }

    /// The squares of samples' coordinates in the basis, one sample a row.
    pub(crate) fn squares(
        &self,
        used: BasisUse,
        samples: ArrayView2<'_, A>,
        squares: &mut Array2<A>,
    ) -> Result<()> {
        match &self.basis {
            None => squares.assign(&samples),
            Some(basis) => {
                let basis = match used {
                    BasisUse::Refreshed => basis.latest(),
                    BasisUse::Previous | BasisUse::PreviousOrIdentity => basis.current(),
                };
                gemm(A::one(), samples, basis.view(), A::zero(), &mut squares.view_mut())?;
            }
        }
        squares.mapv_inplace(|x| x * x);
        Ok(())
    }

    /// Proposes a new basis.
    pub(crate) fn refresh(
        &mut self,
        config: &EigenbasisConfig,
        step: &Step<'_, A>,
        first: bool,
        pool: &Pool<A>,
    ) -> Result<Refreshed> {
        let (Some(basis), Some(finder)) = (&mut self.basis, &mut self.finder) else {
            return Ok(Refreshed::default());
        };
        let Source::Moment(moment) = self.statistic.source(&step.signal, Reading::Moment) else {
            return Ok(Refreshed::default());
        };
        let side = self.statistic.side;
        let correction = self.statistic.correction;
        let wrap = |source| OptimError::Factor { side, source };
        let (current, next) = basis.split();
        let found = match (config.basis_use, &config.basis) {
            (BasisUse::Refreshed, method) => {
                finder.iterate(method, step.time, (moment, correction), (current, next), pool)
            }
            (_, BasisMethod::QrStep { ridge, .. }) if !first => {
                let added = ridge.value(step.time) * correction;
                finder.power_step((moment, added), (current, next), pool)
            }
            _ => Ok(None),
        }
        .map_err(wrap)?;
        let condition = finder.complete(found, moment, next, pool).map_err(wrap)?;
        if found != Some(Found::Kept) {
            basis.propose();
            self.reorders = found.is_some() && config.basis_use.is_former();
        }
        Ok(Refreshed::made(Some(condition), false))
    }

    /// Proposes a basis that was found in the background.
    pub(crate) fn adopt(&mut self, finding: Option<&Finding<A>>) -> Result<Refreshed> {
        let (Some(basis), Some(finding)) = (&mut self.basis, finding) else {
            return Ok(Refreshed::default());
        };
        let side = self.statistic.side;
        let wrap = |source| OptimError::Factor { side, source };
        let (found, condition) = finding.result.clone().map_err(wrap)?;
        if found != Some(Found::Kept) {
            basis.split().1.assign(&finding.basis);
            basis.propose();
            self.reorders = false;
        }
        Ok(Refreshed::made(Some(condition), false))
    }

    /// The order in which the columns of the basis proposed stood before, where it applies to `v`; to be
    /// used up.
    pub(crate) fn new_order(&mut self) -> Option<&mut [usize]> {
        let is_proposed = self.basis.as_ref().is_some_and(Staged::is_proposed);
        let finder = self.finder.as_mut().filter(|_| is_proposed && self.reorders);
        finder.map(Eigenvectors::order_mut)
    }

    pub(crate) fn discard_basis(&mut self) {
        if let Some(basis) = &mut self.basis {
            basis.discard();
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let held = self.basis.as_ref().map_or(0, |basis| 2 * bytes::<A>(basis.current().dim()));
        self.statistic.memory_bytes() + held
    }

    pub(crate) fn needs(&self, config: &EigenbasisConfig) -> Needs {
        let takes_qr_steps = matches!(config.basis, BasisMethod::QrStep { .. });
        let is_decomposed = config.basis_use.is_former() || !takes_qr_steps;
        let finder = self.finder.as_ref();
        let needs = finder.map_or_else(Needs::default, |finder| finder.needs(is_decomposed));
        match (&self.basis, config.refresh.drift) {
            (Some(basis), Some(_)) => needs.or(drift::needs(basis.current().nrows())),
            _ => needs,
        }
    }
}
