//! The numbers of claims, trial by trial.

use serde_json::Value;

use crate::experiment::file::{CellChoice, Diverged, NumberFile};
use crate::experiment::grid::equal;
use crate::model::Measure;
use crate::report::view::{At, View};

/// Where a number's names are looked up.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<'a> {
    pub(crate) view: View<'a>,
    /// What "{method}" stands for.
    pub(crate) method: Option<&'a str>,
    /// Whether a value that leaves a claim undecided is passed on as it is.
    pub(crate) raw: bool,
}

impl Numbers<'_> {
    /// A number, by shown trial; empty where there is nothing of the kind.
    pub(crate) fn of(&self, number: &NumberFile) -> Vec<f64> {
        let mut values = self.evaluated(number);
        if let Some(by) = number.divided_by {
            values.iter_mut().for_each(|value| *value /= by);
        }
        if let (Some(nothing), false) = (number.undecided_at, self.raw) {
            for value in values.iter_mut().filter(|value| **value == nothing) {
                *value = f64::NAN;
            }
        }
        values
    }

    fn evaluated(&self, number: &NumberFile) -> Vec<f64> {
        if let Some(all) = &number.smallest {
            let mut all = all.iter().map(|number| self.of(number));
            let first = all.next().unwrap_or_default();
            return all.fold(first, |least, more| {
                least.into_iter().zip(more).map(|(a, b)| a.min(b)).collect()
            });
        }
        if let Some(pair) = &number.less {
            let [left, right] = &**pair;
            return self.of(left).into_iter().zip(self.of(right)).map(|(l, r)| l - r).collect();
        }
        let Some(setting) = self.setting(number) else { return Vec::new() };
        if let Some(trial) = &number.trial {
            return self.view.of_trials(setting, trial);
        }
        let name = match number.method.as_deref() {
            Some("{method}") => self.method,
            other => other,
        };
        let Some(method) = name.and_then(|name| self.view.experiment.method(name)) else {
            return Vec::new();
        };
        let held = self.held(number, method);
        let held: Vec<(&str, &Value)> = held.iter().map(|(a, v)| (a.as_str(), v)).collect();
        let measure = |name: &str| self.view.experiment.model.measure(name);
        if let Some(measure) = number.end.as_deref().and_then(measure) {
            return self.end(number, measure, (setting, method), &held);
        }
        if let (Some(y), Some(x)) = (&number.matched, &number.by) {
            return self.matched(number, [x, y], (setting, method), &held);
        }
        if let Some(measure) = number.decades.as_deref().and_then(measure) {
            let Some(chosen) = self.view.tuned(setting, method, &held) else { return Vec::new() };
            return self.decades(measure, chosen.at, number.level.unwrap_or(f64::NAN));
        }
        let Some(share) = &number.share else { return Vec::new() };
        let cells = self.view.cells(setting, method, &held);
        let reached: Vec<Vec<&[f64]>> =
            cells.iter().map(|&at| self.view.series(at, share)).collect();
        (0..self.view.trials(setting))
            .map(|trial| {
                let there = |of: &&Vec<&[f64]>| of[trial].first().is_some_and(|at| !at.is_nan());
                reached.iter().filter(there).count() as f64 / cells.len() as f64
            })
            .collect()
    }

    /// The setting that a number names, at the values that it names.
    fn setting(&self, number: &NumberFile) -> Option<usize> {
        let experiment = self.view.experiment;
        let group = experiment.group(number.setting.as_deref());
        let mut left = group.clone();
        for (axis, value) in &number.at {
            let values: Vec<&Value> =
                group.iter().filter_map(|&i| experiment.settings[i].value(axis)).collect();
            if let Some(value) = at(value, &values) {
                left.retain(|&i| {
                    experiment.settings[i].value(axis).is_some_and(|v| equal(v, value))
                });
            }
        }
        left.first().copied()
    }

    /// The values of the method's axes that a number names.
    fn held(&self, number: &NumberFile, method: usize) -> Vec<(String, Value)> {
        let entry = &self.view.experiment.methods[method];
        let mut held = Vec::new();
        for (name, value) in &number.at {
            if let Some(axis) = entry.axis(name) {
                let values: Vec<&Value> = entry.cells.iter().map(|cell| &cell[axis]).collect();
                held.extend(at(value, &values).map(|value| (name.clone(), value.clone())));
            }
        }
        held
    }

    fn end(
        &self,
        number: &NumberFile,
        measure: &Measure,
        (setting, method): (usize, usize),
        held: &[(&str, &Value)],
    ) -> Vec<f64> {
        let ends = |at: At| match number.diverged {
            Diverged::Counts => self.view.ends(at, measure),
            Diverged::Undecided => self.view.comparable(at, measure),
        };
        match &number.cell {
            CellChoice::Tuned => {
                self.view.tuned(setting, method, held).map(|chosen| ends(chosen.at))
            }
            CellChoice::TunedBy(name) => {
                let by = self.view.experiment.model.measure(name);
                self.view.tuned_by(by, setting, method, held).map(|chosen| ends(chosen.at))
            }
            CellChoice::Fastest => self.view.fastest(setting, method, measure, held).map(ends),
            CellChoice::Best => {
                let all: Vec<Vec<f64>> =
                    self.view.cells(setting, method, held).into_iter().map(ends).collect();
                // f64::min passes over NaN, so that NaN is left only where every cell diverged.
                let best = |trial: usize| all.iter().map(|row| row[trial]).fold(f64::NAN, f64::min);
                Some((0..self.view.trials(setting)).map(best).collect())
            }
        }
        .unwrap_or_default()
    }

    /// A measure y where another, x, has come down to a level for good, by trial.
    fn matched(
        &self,
        number: &NumberFile,
        [x, y]: [&str; 2],
        (setting, method): (usize, usize),
        held: &[(&str, &Value)],
    ) -> Vec<f64> {
        let Some(chosen) = self.view.tuned(setting, method, held) else { return Vec::new() };
        let level = number.level.unwrap_or(f64::NAN);
        let unit = number.of.as_ref().map(|name| self.view.of_trials(setting, name));
        let [x, y] = [x, y].map(|name| self.view.series(chosen.at, name));
        let of = |trial: usize| {
            let unit = unit.as_ref().map_or(1.0, |unit| unit[trial]);
            where_it_stays(x[trial], y[trial], level * unit)
        };
        (0..self.view.trials(setting)).map(of).collect()
    }

    /// Decades of rates around a cell over which a measure ends at most at a level, by trial.
    fn decades(&self, measure: &Measure, around: At, level: f64) -> Vec<f64> {
        let entry = &self.view.experiment.methods[around.method];
        let mut cells = self.view.along(around, "rate");
        // A list of rates may stand in any order.
        let rate = |at: &At| entry.number(at.cell, "rate").unwrap_or(f64::NAN);
        cells.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        let rates: Vec<f64> = cells.iter().filter_map(|at| entry.number(at.cell, "rate")).collect();
        let ends: Vec<Vec<f64>> = cells.iter().map(|&at| self.view.ends(at, measure)).collect();
        (0..self.view.trials(around.setting))
            .map(|trial| {
                let of_trial: Vec<f64> = ends.iter().map(|row| row[trial]).collect();
                decades_below(&rates, &of_trial, level)
            })
            .collect()
    }
}

/// "first", "last" or a number, among values.
fn at<'v>(wanted: &'v Value, values: &[&'v Value]) -> Option<&'v Value> {
    match wanted.as_str() {
        Some("first") => values.first().copied(),
        Some("last") => values.last().copied(),
        _ if values.is_empty() => None,
        _ => Some(wanted),
    }
}

/// `y` where `x` comes down to `level` for the last time, and stays: interpolated between two recorded
/// iterations, linear in the logarithms of both; NaN where it does not, or is there from the start.
fn where_it_stays(x: &[f64], y: &[f64], level: f64) -> f64 {
    let Some(before) = x.iter().rposition(|x| *x > level || x.is_nan()) else { return f64::NAN };
    let at = |i: usize| Some((x.get(i)?.ln(), y.get(i)?.ln()));
    let (Some((x0, y0)), Some((x1, y1))) = (at(before), at(before + 1)) else { return f64::NAN };
    (y0 + (y1 - y0) * (x0 - level.ln()) / (x0 - x1)).exp()
}

/// Length, in decades of `x`, of where the interpolation of `y`, linear in log x, is ≤ `level`; NaN counts as
/// infinite.
fn decades_below(x: &[f64], y: &[f64], level: f64) -> f64 {
    let y: Vec<f64> = y.iter().map(|y| if y.is_nan() { f64::INFINITY } else { *y }).collect();
    x.windows(2)
        .zip(y.windows(2))
        .map(|(x, y)| {
            let width = (x[1] / x[0]).log10();
            match (y[0] <= level, y[1] <= level) {
                (true, true) => width,
                (false, false) => 0.0,
                _ => {
                    let (inside, outside) = (y[0].min(y[1]), y[0].max(y[1]));
                    width * (level - inside) / (outside - inside)
                }
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_matched_where_they_come_down_for_good() {
        let x = [10.0, 0.5, 2.0, 0.02, 0.01];
        let y = [9.0, 1.0, 8.0, 2.0, 5.0];
        // Half of the way, on logarithms, from (2, 8) to (0.02, 2).
        assert!((where_it_stays(&x, &y, 0.2) - 4.0).abs() < 1e-12);
        assert!(where_it_stays(&x, &y, 0.005).is_nan());
        assert!(where_it_stays(&x, &y, 20.0).is_nan());
        assert!(where_it_stays(&[1.0, f64::NAN], &[1.0, 1.0], 2.0).is_nan());
        assert!(where_it_stays(&[], &[], 2.0).is_nan());
    }

    #[test]
    fn decades_are_interpolated_on_both_sides() {
        let x = [1e-3, 1e-2, 1e-1, 1.0];
        // Down through the level at half a decade, back up at a quarter of the last one.
        let decades = decades_below(&x, &[0.4, 0.1, 0.15, 0.55], 0.25);
        assert!((decades - (0.5 + 1.0 + 0.25)).abs() < 1e-12, "{decades}");
        assert_eq!(decades_below(&x, &[1.0; 4], 0.25), 0.0);
        assert_eq!(decades_below(&x, &[f64::NAN, 0.1, f64::NAN, 1.0], 0.25), 0.0);
    }
}
