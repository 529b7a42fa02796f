//! Second moments that rows, columns or both share: NorMuon, Adafactor.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use crate::config::diagonal::{DiagonalConfig, MomentSharing};
use crate::error::{OptimError, Result};
use crate::numeric::finite::{check_shape, first_non_finite, within_limit};
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::stages::diagonal::Observed;
use crate::state::held::Held;
use crate::state::persist::{Persist, join, persist, stage_state};
use crate::state::staged::Staged;
use crate::statistics::clock::AverageClock;
use crate::statistics::second_moments::{SECOND_MOMENT, SecondMomentRule};
use crate::values::refuse;

/// Second moments of rows, of columns, or of both.
#[derive(Debug)]
pub(crate) struct SharedMoments<A> {
    config: DiagonalConfig,
    of: Observed,
    shape: (usize, usize),
    rows: Option<Held<A>>,
    columns: Option<Held<A>>,
    clock: Staged<AverageClock>,
    /// Of the latest observation: what enters the averages, and what a direction is divided by.
    rule: SecondMomentRule<A>,
}

persist!(SharedMoments<A> { rows, columns, clock } checked by check_loaded);

impl<A: Scalar> SharedMoments<A> {
    /// The configuration must have been checked, and say that moments are shared.
    pub(crate) fn new(config: &DiagonalConfig, of: Observed, shape: (usize, usize)) -> Self {
        let has = |sharing| [sharing, MomentSharing::RowsTimesColumns].contains(&config.sharing);
        let moments = |shape| Held::new(Array2::zeros(shape));
        let (_, weights) = AverageClock::start().tick(&config.averaging, 0);
        SharedMoments {
            config: config.clone(),
            of,
            shape,
            rows: has(MomentSharing::Rows).then(|| moments((shape.0, 1))),
            columns: has(MomentSharing::Columns).then(|| moments((1, shape.1))),
            clock: Staged::twice(AverageClock::start()),
            // Whether a step is sure is asked before the first.
            rule: SecondMomentRule::new(config, weights, 0, 1.0),
        }
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        for (name, moments) in [("rows", &self.rows), ("columns", &self.columns)] {
            let negative = |held: &Held<A>| held.current().iter().any(|&v| v < A::zero());
            if moments.as_ref().is_some_and(negative) {
                return Err(refuse(&join(path, name), "has a negative entry"));
            }
        }
        Ok(())
    }

    fn take_in(&mut self, entries: &ArrayView2<'_, A>, in_place: bool) -> Result<()> {
        let rule = self.rule;
        for (moments, axis) in [(&mut self.rows, Axis(1)), (&mut self.columns, Axis(0))] {
            let Some(moments) = moments else { continue };
            let moments = moments.place(in_place);
            let count = entries.len_of(axis) as f64;
            for (v, lane) in moments.iter_mut().zip(entries.lanes(axis)) {
                let squares = lane.iter().map(|x| x.as_f64().powi(2)).sum::<f64>();
                *v = rule.average(*v, A::from_f64(squares / count));
            }
            if !in_place && let Some((row, col, value)) = first_non_finite(&moments.view()) {
                return Err(OptimError::Overflow { what: SECOND_MOMENT, row, col, value });
            }
        }
        Ok(())
    }

    /// `v^p` of the latest moments, as the product of a power of each row and one of each column.
    fn divide(&self, direction: &mut ArrayViewMut2<'_, A>) {
        let (rule, exponent) = (self.rule, self.config.exponent);
        let power = |v: f64| if exponent == 0.5 { v.sqrt() } else { v.powf(exponent) };
        let rows = self.rows.as_ref().map(Held::latest);
        let columns = self.columns.as_ref().map(Held::latest);
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
            Observed::Gradient => self.take_in(&step.gradient(), step.in_place)?,
            Observed::Direction => self.take_in(&direction.view(), step.in_place)?,
        }
        self.divide(direction);
        Ok(())
    }

    stage_state!();

    fn memory_bytes(&self) -> usize {
        let moments = [&self.rows, &self.columns].into_iter().flatten();
        moments.map(Held::memory_bytes).sum()
    }
}

impl<A: Scalar> Bounded<A> for SharedMoments<A> {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        let observed = match self.of {
            Observed::Gradient => measured.gradient,
            Observed::Direction => arrives,
        };
        // A mean of squares is at most their sum.
        for moments in [&mut self.rows, &mut self.columns].into_iter().flatten() {
            let bound = within_limit::<A>(self.rule.bound(moments.norm(), observed * observed))?;
            moments.will_be_within(bound);
        }
        // A product of two roots can be smaller than the root of any number.
        let is_product = self.config.sharing == MomentSharing::RowsTimesColumns;
        if is_product && self.config.epsilon.value(measured.time) == 0.0 {
            return None;
        }
        self.rule.bound_quotient(arrives, self.config.exponent)
    }

    fn reserve(&mut self) {
        [&mut self.rows, &mut self.columns].into_iter().flatten().for_each(Held::reserve);
    }
}
