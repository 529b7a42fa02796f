//! Products with a power of the diagonal of a layer's factor: KFAC of embeddings.

use layerwise_linalg::{LinalgError, Scalar};
use ndarray::{Array2, ArrayView1, ArrayViewMut2};

use crate::config::damping::Damping;
use crate::config::diagonal_factor::DiagonalFactorConfig;
use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::{bytes, check_finite, check_shape, first_non_finite, within_limit};
use crate::numeric::pool::{Needs, Pool};
use crate::signal::Factor;
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::state::persist::{Persist, join, persist, stage_state};
use crate::state::staged::Staged;
use crate::statistics::clock::{AverageClock, AverageWeights};
use crate::values::refuse;

/// `D ← D diag(a/c + λ)^{-p}`, or on the left.
#[derive(Debug)]
pub(crate) struct DiagonalFactor<A> {
    config: DiagonalFactorConfig,
    shape: (usize, usize),
    /// `a`, as a row.
    diagonal: Staged<Array2<A>>,
    clock: Staged<AverageClock>,
    /// Of the latest observation: `c`, `λ`, and the least `a/c + λ` that is not zero.
    correction: f64,
    damping: f64,
    least: f64,
    pool: Pool<A>,
}

persist!(DiagonalFactor<A> { diagonal, clock } checked by check_loaded);

impl<A: Scalar> DiagonalFactor<A> {
    /// The configuration must have been checked.
    pub(crate) fn new(
        config: &DiagonalFactorConfig,
        shape: (usize, usize),
        pool: &Pool<A>,
    ) -> Self {
        let n = match config.side {
            Side::Left => shape.0,
            Side::Right => shape.1,
        };
        DiagonalFactor {
            config: config.clone(),
            shape,
            diagonal: Staged::twice(Array2::zeros((1, n))),
            clock: Staged::twice(AverageClock::start()),
            correction: 1.0,
            damping: 0.0,
            least: 1.0,
            pool: pool.clone(),
        }
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        if self.diagonal.current().iter().any(|&a| a < A::zero()) {
            return Err(refuse(&join(path, "diagonal"), "has a negative entry"));
        }
        Ok(())
    }

    /// Proposes the diagonal with what is reported in it.
    fn take_in(&mut self, factor: &Factor<'_, A>, weights: AverageWeights) -> Result<()> {
        let side = self.config.side;
        let what = match side {
            Side::Left => "output factor",
            Side::Right => "input factor",
        };
        let array = factor.array();
        let (current, next) = self.diagonal.split();
        let n = current.ncols();
        let expected = match factor {
            Factor::Diagonal(_) => (1, n),
            Factor::Samples(_) => (array.nrows().max(1), n),
            Factor::SecondMoment(_) | Factor::Cholesky(_) => (n, n),
        };
        check_shape(what, &array, expected)?;
        if !matches!(factor, Factor::Cholesky(_)) {
            check_finite(what, &array)?;
        }
        let squares =
            |lane: ArrayView1<'_, A>| lane.iter().map(|x| x.as_f64().powi(2)).sum::<f64>();
        let count = array.nrows() as f64;
        for (i, (next, &a)) in next.iter_mut().zip(current).enumerate() {
            let entry = match factor {
                Factor::Diagonal(_) => array[[0, i]].as_f64(),
                Factor::SecondMoment(_) => array[[i, i]].as_f64(),
                Factor::Samples(_) => squares(array.column(i)) / count,
                // Of L Lᵀ; what is above L's diagonal is not read.
                Factor::Cholesky(_) => squares(array.row(i).slice_move(ndarray::s![..=i])),
            };
            if entry < 0.0 {
                let source = LinalgError::NotPositiveDefinite { minor: i + 1 };
                return Err(OptimError::Factor { side, source });
            }
            *next = A::from_f64(weights.old * a.as_f64() + weights.new * entry);
        }
        if let Some((row, col, value)) = first_non_finite(&next.view()) {
            return Err(OptimError::Overflow { what: "a factor's diagonal", row, col, value });
        }
        self.diagonal.propose();
        Ok(())
    }
}

/// `λ` of a diagonal.
fn damping_of<A: Scalar>(
    damping: &Damping,
    diagonal: &Array2<A>,
    correction: f64,
    time: u64,
) -> f64 {
    let entries = || diagonal.iter().map(|a| a.as_f64() / correction);
    let largest = || entries().fold(0.0, f64::max);
    match damping {
        Damping::None => 0.0,
        Damping::Absolute(damping) => damping.value(time),
        Damping::RelativeToLargest(share) => share.value(time) * largest(),
        Damping::RelativeToTrace(share) => {
            share.value(time) * entries().sum::<f64>() / diagonal.len() as f64
        }
        Damping::RelativeToRowSum { relative, least } => {
            (relative.value(time) * largest()).max(least.value(time))
        }
    }
}

impl<A: Scalar> Stage<A> for DiagonalFactor<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        Persist::<A>::discard(self);
        let factor = *step.signal.factor(self.config.side)?;
        let (clock, weights) = self.clock.current().tick(&self.config.averaging, step.time);
        self.take_in(&factor, weights)?;
        *self.clock.split_proposed().1 = clock;
        let diagonal = self.diagonal.latest();
        self.correction = weights.correction;
        self.damping = damping_of(&self.config.damping, diagonal, self.correction, step.time);
        let damped = diagonal.iter().map(|a| a.as_f64() / self.correction + self.damping);
        self.least = damped.filter(|&a| a > 0.0).fold(f64::INFINITY, f64::min);
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        let diagonal = self.diagonal.latest();
        let mut scales = self.pool.array(diagonal.dim());
        for (scale, a) in scales.iter_mut().zip(diagonal) {
            let damped = a.as_f64() / self.correction + self.damping;
            let inverse = if damped > 0.0 { damped.powf(-self.config.exponent) } else { 0.0 };
            *scale = A::from_f64(inverse);
        }
        match self.config.side {
            Side::Left => {
                for (mut row, &scale) in direction.rows_mut().into_iter().zip(scales.iter()) {
                    row.mapv_inplace(|d| d * scale);
                }
            }
            Side::Right => {
                for mut row in direction.rows_mut() {
                    row.zip_mut_with(&scales.row(0), |d, &scale| *d *= scale);
                }
            }
        }
        Ok(())
    }

    stage_state!();

    fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.diagonal.current().dim())
    }
}

impl<A: Scalar> Bounded<A> for DiagonalFactor<A> {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        let scale = within_limit::<A>(self.least.powf(-self.config.exponent))?;
        within_limit::<A>(arrives * scale)
    }

    fn needs(&self) -> Needs {
        Needs::arrays(1, self.diagonal.current().dim())
    }
}
