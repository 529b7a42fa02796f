//! What a number in a claim means: which runs it is of, found once, and its value in each trial.

use serde_json::Value;

use crate::experiment::file::{CellChoice, Diverged, NumberFile};
use crate::experiment::{Experiment, MethodEntry};
use crate::judge::order::{ascending, median};
use crate::model::{Kind, Measure, Outcome};
use crate::runner::Results;

/// An experiment and what its trials gave.
#[derive(Clone, Copy)]
pub(super) struct Trials<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) results: &'a Results,
}

/// A cell of a method on a setting: one run in each trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    setting: usize,
    /// Place of the method among the setting's.
    place: usize,
    cell: usize,
}

/// A number of a claim.
pub(super) struct Number<'a> {
    trials: Trials<'a>,
    meaning: Meaning<'a>,
    divided_by: f64,
    undecided_at: Option<f64>,
}

enum Meaning<'a> {
    /// There is nothing of the kind.
    Nothing,
    OfTrial {
        setting: usize,
        name: &'a str,
    },
    /// The smallest of the runs' ends.
    End {
        setting: usize,
        runs: Vec<Run>,
        measure: &'a Measure,
        counts: bool,
    },
    /// Names of what comes down and of what is read off there.
    Matched {
        run: Run,
        by: &'a str,
        read: &'a str,
        level: f64,
        unit: Option<&'a str>,
    },
    /// Runs with their rates, ascending.
    Decades {
        runs: Vec<(f64, Run)>,
        setting: usize,
        measure: &'a Measure,
        level: f64,
    },
    Share {
        setting: usize,
        runs: Vec<Run>,
        name: &'a str,
    },
    Smallest(Vec<Number<'a>>),
    Less(Box<[Number<'a>; 2]>),
}

impl<'a> Number<'a> {
    /// Finds what it is of. `method` stands for "{method}".
    pub(super) fn new(trials: Trials<'a>, file: &'a NumberFile, method: Option<&'a str>) -> Self {
        let inner = |file| Self::new(trials, file, method);
        let meaning = if let Some(all) = &file.smallest {
            Meaning::Smallest(all.iter().map(inner).collect())
        } else if let Some(pair) = &file.less {
            Meaning::Less(Box::new([inner(&pair[0]), inner(&pair[1])]))
        } else {
            trials.meaning(file, method).unwrap_or(Meaning::Nothing)
        };
        let divided_by = file.divided_by.unwrap_or(1.0);
        Self { trials, meaning, divided_by, undecided_at: file.undecided_at }
    }

    /// Its value in a trial; nothing where there is no such trial. With `as_it_is` a value that leaves
    /// a claim undecided is one like any other.
    pub(super) fn in_trial(&self, trial: usize, as_it_is: bool) -> Option<f64> {
        let value = self.undivided(trial, as_it_is)? / self.divided_by;
        let nothing = !as_it_is && self.undecided_at == Some(value);
        Some(if nothing { f64::NAN } else { value })
    }

    fn undivided(&self, trial: usize, as_it_is: bool) -> Option<f64> {
        let trials = self.trials;
        match &self.meaning {
            Meaning::Nothing => None,
            Meaning::OfTrial { setting, name } => {
                let outcome = trials.outcome(*setting, 0, trial)?;
                Some(
                    outcome.trial.get(*name).and_then(|of| of.first()).copied().unwrap_or(f64::NAN),
                )
            }
            Meaning::End { setting, runs, measure, counts } => {
                trials.outcome(*setting, 0, trial)?;
                let end = |run: &Run| {
                    let diverged = trials.reached(run, trial, "diverged_at");
                    let decided = *counts || measure.kind == Kind::Iteration || !diverged;
                    if decided { trials.end(run, trial, measure) } else { f64::NAN }
                };
                Some(smallest(runs.iter().map(end)))
            }
            Meaning::Matched { run, by, read, level, unit } => {
                let outcome = trials.outcome(run.setting, run.place, trial)?;
                let unit = unit.map_or(Some(1.0), |name| {
                    outcome.trial.get(name).and_then(|of| of.first()).copied()
                });
                let cell = outcome.cells.get(run.cell);
                let curve = |name: &str| cell.and_then(|of| of.get(name));
                Some(match (curve(by), curve(read), unit) {
                    (Some(by), Some(read), Some(unit)) => read_off(by, read, level * unit),
                    _ => f64::NAN,
                })
            }
            Meaning::Decades { runs, setting, measure, level } => {
                trials.outcome(*setting, 0, trial)?;
                let point = |(rate, run): &(f64, Run)| (*rate, trials.end(run, trial, measure));
                let points: Vec<(f64, f64)> = runs.iter().map(point).collect();
                Some(points.windows(2).map(|pair| decades(pair[0], pair[1], *level)).sum())
            }
            Meaning::Share { setting, runs, name } => {
                trials.outcome(*setting, 0, trial)?;
                let reached = runs.iter().filter(|run| trials.reached(run, trial, name)).count();
                Some(reached as f64 / runs.len() as f64)
            }
            Meaning::Smallest(all) => {
                let values: Option<Vec<f64>> =
                    all.iter().map(|number| number.in_trial(trial, as_it_is)).collect();
                values
                    .filter(|values| !values.is_empty())
                    .map(|values| smallest(values.into_iter()))
            }
            Meaning::Less(pair) => {
                let [left, right] = &**pair;
                Some(left.in_trial(trial, as_it_is)? - right.in_trial(trial, as_it_is)?)
            }
        }
    }
}

/// The smallest that is a number; NaN where none is.
fn smallest(values: impl Iterator<Item = f64>) -> f64 {
    values.min_by(ascending).unwrap_or(f64::NAN)
}

/// What a second curve is at where a first one crosses a level and does not come back above it; on the
/// straight line between their logarithms.
fn read_off(first: &[f64], second: &[f64], level: f64) -> f64 {
    let mut crossing = None;
    let steps = first.windows(2).zip(second.windows(2));
    for (falling, read) in steps {
        if falling[1] <= level {
            if falling[0] > level || falling[0].is_nan() {
                crossing = Some((falling, read));
            }
        } else {
            crossing = None;
        }
    }
    let Some((falling, read)) = crossing else { return f64::NAN };
    let share = (falling[0] / level).ln() / (falling[0] / falling[1]).ln();
    read[0] * (read[1] / read[0]).powf(share)
}

/// How many decades between two rates lie at most at a level, on the straight line, over the logarithm of
/// the rate, between what two runs end with. One without a number is nowhere near.
fn decades((from, start): (f64, f64), (to, end): (f64, f64), level: f64) -> f64 {
    let width = to.log10() - from.log10();
    let far = |height: f64| if height.is_nan() { f64::INFINITY } else { height };
    let (low, high) = (far(start).min(far(end)), far(start).max(far(end)));
    if high <= level {
        width
    } else if low <= level {
        width * ((level - low) / (high - low))
    } else {
        0.0
    }
}

impl<'a> Trials<'a> {
    /// What a shown trial gave of the method in this place of a setting.
    fn outcome(&self, setting: usize, place: usize, trial: usize) -> Option<&'a Outcome> {
        self.results.settings.get(setting)?.shown.get(place)?.get(trial)
    }

    fn meaning(self, file: &'a NumberFile, method: Option<&'a str>) -> Option<Meaning<'a>> {
        let setting = self.setting(file)?;
        if let Some(name) = &file.trial {
            return Some(Meaning::OfTrial { setting, name });
        }
        let named = file.method.as_deref()?;
        let named = if named == "{method}" { method? } else { named };
        let number = self.experiment.methods.iter().position(|entry| entry.name == named)?;
        let runs = self.runs(setting, number, file)?;
        let measures = self.experiment.model.measures();
        let measured = |name: &str| measures.iter().find(|measure| measure.name == name);
        if let Some(measure) = file.end.as_deref().and_then(measured) {
            let runs = match &file.cell {
                CellChoice::Best => runs,
                CellChoice::Tuned => vec![self.tuned(number, &runs)?],
                CellChoice::TunedBy(name) => vec![self.tuned_by(Some(name), number, &runs)?],
                CellChoice::Fastest => vec![self.fastest(&runs, measure)?],
            };
            let counts = file.diverged == Diverged::Counts;
            return Some(Meaning::End { setting, runs, measure, counts });
        }
        if let Some(read) = file.matched.as_deref() {
            let (run, level) = (self.tuned(number, &runs)?, file.level?);
            let (by, unit) = (file.by.as_deref()?, file.of.as_deref());
            return Some(Meaning::Matched { run, by, read, level, unit });
        }
        if let Some(measure) = file.decades.as_deref().and_then(measured) {
            let chosen = self.tuned(number, &runs)?;
            let runs = self.over_rates(number, chosen);
            let level = file.level.unwrap_or(f64::NAN);
            return Some(Meaning::Decades { runs, setting, measure, level });
        }
        file.share.as_deref().map(|name| Meaning::Share { setting, runs, name })
    }

    /// The first of the settings of a `[[setting]]` with the values of `at`.
    fn setting(self, file: &NumberFile) -> Option<usize> {
        let entries = &self.experiment.file.setting;
        let group = match file.setting.as_deref() {
            None => 0,
            Some(name) => entries
                .iter()
                .position(|s| s.name == name || s.title.as_deref().is_some_and(|t| t == name))?,
        };
        let swept = |axis: &str| entries[group].sweep.iter().find(|(path, _)| short(path) == axis);
        let settings = &self.experiment.settings;
        (0..settings.len()).find(|&number| {
            settings[number].group == group
                && settings[number].point.iter().all(|(axis, value)| {
                    let (Some(wanted), Some((_, grid))) = (file.at.get(axis), swept(axis)) else {
                        return true;
                    };
                    is_wanted(value, wanted, &grid.values(self.experiment.plan.quick))
                })
        })
    }

    /// The runs of a method on a setting with the values of `at`.
    fn runs(self, setting: usize, method: usize, file: &NumberFile) -> Option<Vec<Run>> {
        let of = &self.experiment.settings[setting].methods;
        let place = of.iter().position(|(number, _)| *number == method)?;
        let entry = &self.experiment.methods[method];
        let quick = self.experiment.plan.quick;
        let fits = |cell: &usize| {
            entry.axes.iter().zip(&entry.cells[*cell]).all(|(axis, value)| {
                file.at.get(&axis.name).is_none_or(|w| is_wanted(value, w, &axis.values(quick)))
            })
        };
        let cells = (0..of[place].1.len()).filter(fits);
        Some(cells.map(|cell| Run { setting, place, cell }).collect())
    }

    /// The run whose tuning trials have the smallest median; of equals that with the smaller rate, and
    /// then with smaller other values, the last axis first.
    fn tuned(self, method: usize, runs: &[Run]) -> Option<Run> {
        self.tuned_by(self.experiment.file.tune_by.as_deref(), method, runs)
    }

    /// The same by a measure of another name.
    fn tuned_by(self, by: Option<&str>, method: usize, runs: &[Run]) -> Option<Run> {
        let (first, others) = runs.split_first()?;
        if others.is_empty() {
            return Some(*first);
        }
        let entry = &self.experiment.methods[method];
        let tuning = self.results.settings.get(first.setting)?.tuning.get(first.place)?;
        if tuning.is_empty() || !entry.axes.iter().any(|axis| axis.tuned) {
            return None;
        }
        let measure = self.experiment.model.measures().iter().find(|m| Some(m.name) == by);
        let medians: Vec<f64> = runs
            .iter()
            .map(|run| match measure {
                Some(measure) => median(tuning.iter().map(|of| self.end_of(of, run, measure))),
                None => f64::NAN,
            })
            .collect();
        let least = smallest(medians.iter().copied());
        let equals = runs.iter().zip(&medians).filter(|(_, m)| **m == least || least.is_nan());
        let values = |run: &Run| -> Vec<f64> {
            let cell = entry.cells.get(run.cell).into_iter().flatten();
            cell.rev().map(|value| value.as_f64().unwrap_or(0.0)).collect()
        };
        let lexical = |a: &Run, b: &Run| {
            let (a, b) = (values(a), values(b));
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
        };
        equals.map(|(run, _)| *run).min_by(lexical)
    }

    /// The first run with the smallest median over the shown trials.
    fn fastest(self, runs: &[Run], measure: &Measure) -> Option<Run> {
        let first = runs.first()?;
        let shown = self.results.settings.get(first.setting)?.shown.get(first.place)?;
        let number = |run: &Run| median(shown.iter().map(|of| self.end_of(of, run, measure)));
        let least = smallest(runs.iter().map(number));
        runs.iter().find(|run| least.is_nan() || number(run) == least).copied()
    }

    /// The runs that differ from one in the rate alone, itself included, by ascending rate.
    fn over_rates(self, method: usize, chosen: Run) -> Vec<(f64, Run)> {
        let MethodEntry { axes, cells, .. } = &self.experiment.methods[method];
        let Some(rate) = axes.iter().position(|axis| axis.name == "rate") else {
            return Vec::new();
        };
        let alike = |cell: &Vec<Value>| {
            let mut axes = (0..axes.len()).filter(|&axis| axis != rate);
            axes.all(|axis| cell[axis] == cells[chosen.cell][axis])
        };
        let mut runs: Vec<(f64, Run)> = cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| alike(cell))
            .filter_map(|(number, cell)| {
                Some((cell[rate].as_f64()?, Run { cell: number, ..chosen }))
            })
            .collect();
        runs.sort_by(|a, b| ascending(&a.0, &b.0));
        runs
    }

    /// Whether an iteration is noted.
    fn reached(self, run: &Run, trial: usize, name: &str) -> bool {
        let outcome = self.outcome(run.setting, run.place, trial);
        let noted = outcome.and_then(|of| of.cells.get(run.cell)?.get(name)?.first());
        noted.is_some_and(|iteration| !iteration.is_nan())
    }

    /// What a run ends with in a shown trial.
    pub(super) fn end(self, run: &Run, trial: usize, measure: &Measure) -> f64 {
        let outcome = self.outcome(run.setting, run.place, trial);
        outcome.map_or(f64::NAN, |outcome| self.end_of(outcome, run, measure))
    }

    /// What a run ends with: an iteration that it does not reach is one more than there are.
    fn end_of(self, outcome: &Outcome, run: &Run, measure: &Measure) -> f64 {
        let last = outcome.cells.get(run.cell).and_then(|of| of.get(measure.name)?.last().copied());
        match last.filter(|end| !end.is_nan()) {
            Some(end) => end,
            None if measure.kind == Kind::Iteration => {
                let recorded = self.experiment.settings[run.setting].problem.recorded();
                recorded.last().map_or(1.0, |&iterations| iterations as f64 + 1.0)
            }
            None => f64::NAN,
        }
    }

    /// All runs of a setting, each with its method as the problem reads it.
    pub(super) fn all_runs(self, setting: usize) -> impl Iterator<Item = (Run, &'a Value)> {
        let methods = self.experiment.settings[setting].methods.iter().enumerate();
        methods.flat_map(move |(place, (_, cells))| {
            let run = move |cell| Run { setting, place, cell };
            cells.iter().enumerate().map(move |(cell, method)| (run(cell), method))
        })
    }

    /// Number of shown trials of a run.
    pub(super) fn shown(self, run: &Run) -> usize {
        let of = self.results.settings.get(run.setting).and_then(|of| of.shown.get(run.place));
        of.map_or(0, Vec::len)
    }
}

/// The last step of a path, "rate" for a learning rate.
fn short(path: &str) -> &str {
    let last = path.rfind('.').map_or(path, |dot| &path[dot + 1..]);
    if last == "learning_rate" { "rate" } else { last }
}

/// Whether a value is the one that `at` names: a number, or the first or last of all.
fn is_wanted(value: &Value, wanted: &Value, all: &[Value]) -> bool {
    let wanted = match wanted.as_str() {
        Some("first") => all.first(),
        Some("last") => all.last(),
        _ => Some(wanted),
    };
    wanted.is_some_and(|wanted| match (value.as_f64(), wanted.as_f64()) {
        (Some(value), Some(wanted)) => value == wanted,
        _ => value == wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_counted_where_the_line_is_low() {
        let (left, right) = ((1e-2, 0.1), (1.0, 0.5));
        assert!((decades(left, right, 0.2) - 0.5).abs() < 1e-15);
        assert_eq!(decades(left, right, 0.5), 2.0);
        assert_eq!(decades(left, right, 0.05), 0.0);
        assert_eq!(decades(left, (1.0, f64::INFINITY), 0.2), 0.0);
        assert_eq!(decades(left, (1.0, f64::NAN), 0.2), 0.0);
    }

    #[test]
    fn a_curve_is_read_off_where_the_other_stays_low() {
        let (first, second) = ([1.0, 0.1, 1.0, 0.01, 0.001], [1.0, 1.0, 16.0, 4.0, 3.0]);
        assert!((read_off(&first, &second, 0.1) - 8.0).abs() < 1e-14);
        assert!((read_off(&first, &second, 0.001) - 3.0).abs() < 1e-14);
        for level in [2.0, 1e-4, f64::NAN] {
            assert!(read_off(&first, &second, level).is_nan(), "{level}");
        }
        assert!(read_off(&[f64::INFINITY; 2], &[1.0; 2], 0.5).is_nan());
    }

    #[test]
    fn values_are_found_by_number_or_place() {
        let all = [Value::from(1), Value::from(2.5)];
        assert!(is_wanted(&Value::from(1.0), &Value::from(1), &all));
        assert!(is_wanted(&all[0], &Value::from("first"), &all));
        assert!(!is_wanted(&all[0], &Value::from("last"), &all));
        assert_eq!(["a.learning_rate", "x", "a.0.damping"].map(short), ["rate", "x", "damping"]);
    }
}
