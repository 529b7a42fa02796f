//! Second moments that rows, columns or both share: NorMuon, Adafactor.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use crate::config::diagonal::{DiagonalConfig, MomentSharing};
use crate::error::{OptimError, Result};
use crate::numeric::finite::{bytes, check_shape};
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::Bounded;
use crate::stages::diagonal::Observed;
use crate::state::persist::{Persist, persist};
use crate::state::staged::Staged;
use crate::statistics::clock::AverageClock;
use crate::statistics::second_moments::{SECOND_MOMENT, SecondMomentRule};
use crate::values::{StateReader, StateWriter};

/// Second moments of rows, of columns, or of both.
#[derive(Debug)]
pub(crate) struct SharedMoments<A> {
    config: DiagonalConfig,
    of: Observed,
    shape: (usize, usize),
    rows: Option<Staged<Array2<A>>>,
    columns: Option<Staged<Array2<A>>>,
    clock: Staged<AverageClock>,
    /// Of the latest observation: what enters the averages, and what a direction is divided by.
    rule: SecondMomentRule<A>,
}

persist!(SharedMoments<A> { rows, columns, clock });

impl<A: Scalar> SharedMoments<A> {
    /// The configuration must have been checked, and say that moments are shared.
    pub(crate) fn new(config: &DiagonalConfig, of: Observed, shape: (usize, usize)) -> Self {
        let has = |sharing| [sharing, MomentSharing::RowsTimesColumns].contains(&config.sharing);
        let moments = |shape| Staged::twice(Array2::zeros(shape));
        SharedMoments {
            config: config.clone(),
            of,
            shape,
            rows: has(MomentSharing::Rows).then(|| moments((shape.0, 1))),
            columns: has(MomentSharing::Columns).then(|| moments((1, shape.1))),
            clock: Staged::twice(AverageClock::start()),
            rule: SecondMomentRule::start(),
        }
    }

    fn take_in(&mut self, entries: &ArrayView2<'_, A>) -> Result<()> {
        let rule = self.rule;
        for (moments, axis) in [(&mut self.rows, Axis(1)), (&mut self.columns, Axis(0))] {
            let Some(moments) = moments else { continue };
            let (current, next) = moments.split_proposed();
            // Sums in double precision, line by line, so that squares are read in the order of storage.
            let (mut sum, lines) = (0.0, entries.len_of(axis) as f64);
            let mean = |lane: ndarray::ArrayView1<'_, A>| {
                sum = lane.iter().map(|x| x.as_f64().powi(2)).sum::<f64>();
                A::from_f64(sum / lines)
            };
            for (((next, &v), mean), line) in
                next.iter_mut().zip(current).zip(entries.lanes(axis).into_iter().map(mean)).zip(0..)
            {
                *next = rule.average(v, mean);
                if !next.is_finite() {
                    let (row, col) = if axis == Axis(1) { (line, 0) } else { (0, line) };
                    let value = next.as_f64();
                    return Err(OptimError::Overflow { what: SECOND_MOMENT, row, col, value });
                }
            }
        }
        Ok(())
    }

    /// `v^p` of the latest moments, as the product of a power of each row and one of each column.
    fn divide(&self, direction: &mut ArrayViewMut2<'_, A>) {
        let (rule, exponent) = (self.rule, self.config.exponent);
        let power = |v: f64| if exponent == 0.5 { v.sqrt() } else { v.powf(exponent) };
        let rows = self.rows.as_ref().map(Staged::latest);
        let columns = self.columns.as_ref().map(Staged::latest);
        let mean = match (rows, columns) {
            (Some(rows), Some(_)) => {
                rows.iter().map(|r| r.as_f64()).sum::<f64>() / rows.len() as f64
            }
            _ => 1.0,
        };
        for (i, mut row) in direction.rows_mut().into_iter().enumerate() {
            let r = rows.map_or(1.0, |rows| rows[[i, 0]].as_f64());
            // Where all rows are zero, so is this one.
            let of_row = if mean > 0.0 { power(r / mean) } else { 0.0 };
            match columns {
                None => row.mapv_inplace(|d| rule.divide(d, A::from_f64(of_row))),
                Some(columns) => {
                    for (d, c) in row.iter_mut().zip(columns) {
                        *d = rule.divide(*d, A::from_f64(of_row * power(c.as_f64())));
                    }
                }
            }
        }
    }
}

impl<A: Scalar> Stage<A> for SharedMoments<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        check_shape("gradient", &step.gradient(), self.shape)?;
        Persist::<A>::discard(self);
        let (clock, weights) = self.clock.current().tick(&self.config.averaging, step.time);
        *self.clock.split_proposed().1 = clock;
        self.rule = SecondMomentRule::new(&self.config, weights, step.time, 1.0);
        Ok(Observation { scale: Some(self.rule.scale()), ..Observation::default() })
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        match self.of {
            Observed::Gradient => self.take_in(&step.gradient())?,
            Observed::Direction => self.take_in(&direction.view())?,
        }
        self.divide(direction);
        Ok(())
    }

    fn commit(&mut self) {
        Persist::<A>::commit(self);
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        Persist::save(self, "", out);
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        Persist::load(self, "", from)
    }

    fn memory_bytes(&self) -> usize {
        let moments = [&self.rows, &self.columns].into_iter().flatten();
        moments.map(|moments| 2 * bytes::<A>(moments.current().dim())).sum()
    }
}

impl<A: Scalar> Bounded<A> for SharedMoments<A> {}
