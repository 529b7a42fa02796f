//! A side's second moment as it accumulates.

use layerwise_linalg::{Scalar, check_symmetric, gram};
use ndarray::{Array2, ArrayView2, Zip};

use crate::config::averaging::Averaging;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::{bytes, check_finite, check_shape, check_size, first_non_finite};
use crate::numeric::pool::{Lent, Needs, Pool};
use crate::signal::{Factor, Signal};
use crate::state::persist::{check_loaded_symmetric, join, persist};
use crate::state::staged::Staged;
use crate::statistics::clock::{AverageClock, AverageWeights};

/// A side's second moment as it accumulates.
#[derive(Debug)]
pub(crate) struct FactorStatistic<A> {
    pub(crate) side: Side,
    pub(crate) kind: Statistic,
    dimension: usize,
    averaging: Averaging,
    /// The average; absent without averaging.
    average: Option<Staged<Array2<A>>>,
    /// The latest second moment where it has to be formed without averaging, until it is released.
    formed: Option<Lent<A>>,
    clock: Staged<AverageClock>,
    /// The divisor of the bias correction at the latest observation.
    pub(crate) correction: f64,
}

/// What of an observation is read at its step, where it is not averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Nothing,
    /// The second moment, or its Cholesky factor where that is given.
    Either,
    Moment,
}

/// Where a side's second moment stands after an observation.
pub(crate) enum Source<'s, A> {
    Identity,
    Moment(ArrayView2<'s, A>),
    Cholesky(ArrayView2<'s, A>),
}

persist!(FactorStatistic<A> { average, clock } checked by check_loaded);

impl<A: Scalar> FactorStatistic<A> {
    pub(crate) fn new(
        side: Side,
        kind: Statistic,
        averaging: &Averaging,
        shape: (usize, usize),
    ) -> Result<Self> {
        let dimension = match side {
            Side::Left => shape.0,
            Side::Right => shape.1,
        };
        if kind != Statistic::None {
            check_size::<A>("a factor", (dimension, dimension))?;
        }
        let square = || Array2::zeros((dimension, dimension));
        let is_averaged = kind != Statistic::None && *averaging != Averaging::None;
        Ok(FactorStatistic {
            side,
            kind,
            dimension,
            averaging: averaging.clone(),
            average: is_averaged.then(|| Staged::twice(square())),
            formed: None,
            clock: Staged::twice(AverageClock::start()),
            correction: 1.0,
        })
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        let Some(average) = &self.average else { return Ok(()) };
        check_loaded_symmetric(&join(path, "average"), average.current().view())
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// n where there is a factor, n × n.
    pub(crate) fn factor_size(&self) -> Option<usize> {
        (self.kind != Statistic::None).then_some(self.dimension)
    }

    /// Takes a signal in. `whitened` is the gradient times the other side's root, where that is
    /// what the statistic is of; `time` is the run's step.
    pub(crate) fn observe(
        &mut self,
        signal: &Signal<'_, A>,
        whitened: Option<ArrayView2<'_, A>>,
        reading: Reading,
        time: u64,
        pool: &Pool<A>,
    ) -> Result<()> {
        if self.kind == Statistic::None {
            return Ok(());
        }
        let (clock, weights) = self.clock.current().tick(&self.averaging, time);
        self.correction = weights.correction;
        if self.kind == Statistic::Signal {
            self.take_factor(signal, weights, reading, pool)?;
        } else {
            let gradient = whitened.unwrap_or_else(|| signal.gradient());
            let rows = match self.side {
                Side::Left => gradient,
                Side::Right => gradient.reversed_axes(),
            };
            let scale = match self.kind {
                Statistic::Whitened { normalized: true } => 1.0 / rows.ncols() as f64,
                _ => 1.0,
            };
            self.take_gram(rows, A::from_f64(scale), weights, reading, pool)?;
        }
        if let Some(average) = &mut self.average {
            let next = &average.split().1.view();
            if let Some((row, col, value)) = first_non_finite(next) {
                let what = "a factor's statistic";
                return Err(OptimError::Overflow { what, row, col, value });
            }
            average.propose();
        }
        *self.clock.split().1 = clock;
        self.clock.propose();
        Ok(())
    }

    fn take_factor(
        &mut self,
        signal: &Signal<'_, A>,
        weights: AverageWeights,
        reading: Reading,
        pool: &Pool<A>,
    ) -> Result<()> {
        let factor = signal.factor(self.side)?;
        if matches!(factor, Factor::Diagonal(_)) {
            return Err(OptimError::DiagonalFactor { side: self.side });
        }
        let what = match self.side {
            Side::Left => "output factor",
            Side::Right => "input factor",
        };
        let array = factor.array();
        let n = self.dimension;
        let samples = array.nrows();
        let expected = match factor {
            Factor::Samples(_) => (samples.max(1), n),
            _ => (n, n),
        };
        check_shape(what, &array, expected)?;
        match factor {
            Factor::Samples(_) => {
                check_finite(what, &array)?;
                let scale = A::from_f64(1.0 / samples as f64);
                self.take_gram(array.reversed_axes(), scale, weights, reading, pool)
            }
            Factor::SecondMoment(_) | Factor::Diagonal(_) => {
                check_finite(what, &array)?;
                // What is not averaged is checked by whatever it is factored by.
                if let Some(average) = &mut self.average {
                    let side = self.side;
                    check_symmetric(array).map_err(|source| OptimError::Factor { side, source })?;
                    let (old, new) = (A::from_f64(weights.old), A::from_f64(weights.new));
                    let (current, next) = average.split();
                    Zip::from(next).and(current).and(&array).for_each(|next, &s, &x| {
                        *next = old * s + new * x;
                    });
                }
                Ok(())
            }
            Factor::Cholesky(_) => {
                if reading == Reading::Either && self.average.is_none() {
                    return Ok(());
                }
                // Without what stands above its diagonal.
                let mut lower = pool.array((n, n));
                Zip::indexed(&mut *lower).and(&array).for_each(|(row, col), lower, &x| {
                    *lower = if col <= row { x } else { A::zero() };
                });
                check_finite(what, &lower.view())?;
                self.take_gram(lower.view(), A::one(), weights, reading, pool)
            }
        }
    }

    /// Takes `scale · rows rowsᵀ` in.
    fn take_gram(
        &mut self,
        rows: ArrayView2<'_, A>,
        scale: A,
        weights: AverageWeights,
        reading: Reading,
        pool: &Pool<A>,
    ) -> Result<()> {
        let side = self.side;
        let wrap = |source| OptimError::Factor { side, source };
        match &mut self.average {
            Some(average) => {
                let (current, next) = average.split();
                next.assign(current);
                gram(
                    scale * A::from_f64(weights.new),
                    rows,
                    A::from_f64(weights.old),
                    &mut next.view_mut(),
                )
                .map_err(wrap)
            }
            None => {
                // Made at the first observation, whether it is read or not.
                let shape = (self.dimension, self.dimension);
                let formed = self.formed.get_or_insert_with(|| pool.array(shape));
                if reading == Reading::Nothing {
                    return Ok(());
                }
                gram(scale, rows, A::zero(), &mut formed.view_mut()).map_err(wrap)
            }
        }
    }

    /// The average from before the step that is under way.
    pub(crate) fn average(&self) -> Option<&Array2<A>> {
        self.average.as_ref().map(Staged::current)
    }

    /// The divisor of the bias correction of that.
    pub(crate) fn held_correction(&self) -> f64 {
        self.clock.current().correction(&self.averaging)
    }

    /// Gives back what a later step does not need.
    pub(crate) fn release(&mut self) {
        self.formed = None;
    }

    /// What an observation is lent that is not of a layer's signal.
    pub(crate) fn needs(&self) -> Needs {
        match (self.kind, &self.average) {
            (Statistic::Gradient | Statistic::Whitened { .. }, None) => {
                Needs::arrays(1, (self.dimension, self.dimension))
            }
            _ => Needs::default(),
        }
    }

    /// Whether an observation that is not read leaves no trace.
    pub(crate) fn forgets(&self, reading: Reading) -> bool {
        reading == Reading::Nothing && self.average.is_none()
    }

    /// The second moment after the latest observation, which was of this signal and read so, until it is
    /// released. It has still to be divided by the bias correction.
    pub(crate) fn source<'s>(
        &'s self,
        signal: &'s Signal<'_, A>,
        reading: Reading,
    ) -> Source<'s, A> {
        if self.kind == Statistic::None {
            return Source::Identity;
        }
        if let Some(average) = &self.average {
            return Source::Moment(average.latest().view());
        }
        if self.kind == Statistic::Signal {
            match signal.factor(self.side) {
                Ok(Factor::SecondMoment(moment)) => return Source::Moment(moment.reborrow()),
                Ok(Factor::Cholesky(lower)) if reading == Reading::Either => {
                    return Source::Cholesky(lower.reborrow());
                }
                _ => {}
            }
        }
        self.formed.as_ref().map_or(Source::Identity, |formed| Source::Moment(formed.view()))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let average = if self.average.is_some() { 2 } else { 0 };
        average * bytes::<A>((self.dimension, self.dimension))
            + self.formed.as_ref().map_or(0, |formed| bytes::<A>(formed.dim()))
    }
}
