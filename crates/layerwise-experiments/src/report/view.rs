//! Numbers of an experiment's results: by setting, method and cell, and which cells are chosen.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::claims_page::in_words;
use crate::experiment::grid::equal;
use crate::experiment::{Experiment, Setting};
use crate::model::{DIVERGED_AT, Kind, Measure, Outcome};
use crate::runner::{Results, SettingResults};
use crate::statistics::median;

/// The hyperparameters with the smallest median of the tuning measure at the end of the tuning trials;
/// of equals those with the smaller rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// The setting, with what is swept at its value; left out where there is but one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The method, as legends and tables call it.
    pub method: String,
    /// Learning rate η, where it is varied.
    pub rate: Option<f64>,
    /// Damping λ, where it is varied.
    pub damping: Option<f64>,
    /// True where the rate is the smallest or largest of the grid: a better one may lie beyond.
    pub rate_on_grid_edge: bool,
    /// The same for the damping.
    pub damping_on_grid_edge: bool,
    /// The number by which it was chosen; null where every tuning run diverged.
    pub tuning_excess: Option<f64>,
    /// What else is varied.
    #[serde(flatten)]
    pub others: Map<String, Value>,
    #[serde(skip)]
    pub(crate) at: At,
}

/// A cell of a method on a setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) setting: usize,
    pub(crate) method: usize,
    pub(crate) cell: usize,
}

/// Values of axes that are held.
pub(crate) type Held<'a> = [(&'a str, &'a Value)];

/// Results beside their experiment.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) results: &'a Results,
}

impl<'a> View<'a> {
    pub(crate) fn setting(&self, at: At) -> &'a Setting {
        &self.experiment.settings[at.setting]
    }

    fn outcomes(
        &self,
        setting: usize,
        method: usize,
        of: impl Fn(&'a SettingResults) -> &'a Vec<Vec<Outcome>>,
    ) -> &'a [Outcome] {
        let position =
            self.experiment.settings[setting].methods.iter().position(|(m, _)| *m == method);
        let results = &self.results.settings[setting];
        position.and_then(|position| of(results).get(position)).map_or(&[], Vec::as_slice)
    }

    /// The shown outcomes of a method, by trial.
    pub(crate) fn shown(&self, setting: usize, method: usize) -> &'a [Outcome] {
        self.outcomes(setting, method, |results| &results.shown)
    }

    /// Number of shown trials of a setting.
    pub(crate) fn trials(&self, setting: usize) -> usize {
        self.results.settings[setting].shown.first().map_or(0, Vec::len)
    }

    /// A measure of a cell, by shown trial; empty where it was not recorded.
    pub(crate) fn series(&self, at: At, measure: &str) -> Vec<&'a [f64]> {
        let of = |outcome: &'a Outcome| outcome.cells.get(at.cell).and_then(|c| c.get(measure));
        let shown = self.shown(at.setting, at.method);
        shown.iter().map(|outcome| of(outcome).map_or(&[][..], Vec::as_slice)).collect()
    }

    /// A measure at the end of each of some trials. An iteration that was not reached counts as one
    /// more than there are.
    fn ends_of(&self, outcomes: &[Outcome], at: At, measure: &Measure) -> Vec<f64> {
        let never = self.setting(at).problem.recorded().last().map_or(1, |last| last + 1) as f64;
        outcomes
            .iter()
            .map(|outcome| {
                let numbers = outcome.cells.get(at.cell).and_then(|c| c.get(measure.name));
                let end = numbers.and_then(|n| n.last()).copied().unwrap_or(f64::NAN);
                if measure.kind == Kind::Iteration && end.is_nan() { never } else { end }
            })
            .collect()
    }

    /// A measure at the end of each shown trial.
    pub(crate) fn ends(&self, at: At, measure: &Measure) -> Vec<f64> {
        self.ends_of(self.shown(at.setting, at.method), at, measure)
    }

    /// Whether each shown run diverged.
    pub(crate) fn diverged(&self, at: At) -> Vec<bool> {
        self.series(at, DIVERGED_AT.name)
            .into_iter()
            .map(|numbers| numbers.first().is_some_and(|iteration| !iteration.is_nan()))
            .collect()
    }

    pub(crate) fn most_diverged(&self, at: At) -> bool {
        let diverged = self.diverged(at);
        2 * diverged.iter().filter(|diverged| **diverged).count() > diverged.len()
    }

    /// A measure at the end of each shown trial, for comparisons, which a run that diverged does not
    /// decide: NaN.
    pub(crate) fn comparable(&self, at: At, measure: &Measure) -> Vec<f64> {
        let ends = self.ends(at, measure);
        if measure.kind == Kind::Iteration {
            return ends;
        }
        let decided = |(end, diverged)| if diverged { f64::NAN } else { end };
        ends.into_iter().zip(self.diverged(at)).map(decided).collect()
    }

    /// A number of each shown trial of a setting.
    pub(crate) fn of_trials(&self, setting: usize, measure: &str) -> Vec<f64> {
        let shown = self.results.settings[setting].shown.first().map_or(&[][..], Vec::as_slice);
        let of = |outcome: &Outcome| outcome.trial.get(measure).and_then(|n| n.first()).copied();
        shown.iter().map(|outcome| of(outcome).unwrap_or(f64::NAN)).collect()
    }

    /// The cells of a method on which axes have these values.
    pub(crate) fn cells(&self, setting: usize, method: usize, held: &Held<'_>) -> Vec<At> {
        let entry = &self.experiment.methods[method];
        let fits = |cell: &usize| {
            held.iter().all(|(axis, value)| match entry.axis(axis) {
                Some(axis) => equal(&entry.cells[*cell][axis], value),
                None => true,
            })
        };
        let cells = self.experiment.settings[setting].cells(method).map_or(0, <[Value]>::len);
        (0..cells).filter(fits).map(|cell| At { setting, method, cell }).collect()
    }

    /// The cell that is chosen on the tuning trials, of those with these values; the only one where
    /// nothing is tuned; `None` where there is none, or where there are several and nothing is tuned.
    pub(crate) fn tuned(&self, setting: usize, method: usize, held: &Held<'_>) -> Option<Chosen> {
        let by = self.experiment.file.tune_by.as_deref();
        self.tuned_by(by.and_then(|by| self.experiment.model.measure(by)), setting, method, held)
    }

    /// The same by a measure that need not be the experiment's.
    pub(crate) fn tuned_by(
        &self,
        measure: Option<&Measure>,
        setting: usize,
        method: usize,
        held: &Held<'_>,
    ) -> Option<Chosen> {
        let cells = self.cells(setting, method, held);
        let entry = &self.experiment.methods[method];
        let tuning = self.outcomes(setting, method, |results| &results.tuning);
        if cells.len() > 1 && (tuning.is_empty() || !entry.axes.iter().any(|axis| axis.tuned)) {
            return None;
        }
        let excess = |at: At| match measure {
            Some(measure) if !tuning.is_empty() => median(&self.ends_of(tuning, at, measure)),
            _ => f64::NAN,
        };
        let number = |at: At, axis: &str| entry.number(at.cell, axis).unwrap_or(0.0);
        // The rate is the last axis, and decides first.
        let by_axes = |a: At, b: &At| {
            let mut axes = entry.axes.iter().rev();
            axes.find_map(|axis| {
                let order = number(a, &axis.name).total_cmp(&number(*b, &axis.name));
                Some(order).filter(|order| order.is_ne())
            })
            .unwrap_or(std::cmp::Ordering::Equal)
        };
        let &at = cells
            .iter()
            .min_by(|a, b| excess(**a).total_cmp(&excess(**b)).then_with(|| by_axes(**a, b)))?;
        let on_edge = |axis: &str| {
            let chosen = number(at, axis);
            let all = || cells.iter().map(|&other| number(other, axis));
            entry.axis(axis).is_some_and(|axis| entry.axes[axis].tuned)
                && (all().all(|other| other <= chosen) || all().all(|other| other >= chosen))
        };
        let others = entry
            .axes
            .iter()
            .zip(&entry.cells[at.cell])
            .filter(|(axis, _)| axis.name != "rate" && axis.name != "damping")
            .map(|(axis, value)| (axis.name.clone(), value.clone()))
            .collect();
        let settings = &self.experiment.settings;
        Some(Chosen {
            setting: (settings.len() > 1).then(|| with_point(&settings[setting])),
            method: entry.label.clone(),
            rate: entry.number(at.cell, "rate"),
            damping: entry.number(at.cell, "damping"),
            rate_on_grid_edge: on_edge("rate"),
            damping_on_grid_edge: on_edge("damping"),
            tuning_excess: Some(excess(at)).filter(|excess| excess.is_finite()),
            others,
            at,
        })
    }

    /// The cell with the smallest median of a measure over the shown trials; of equals the first: a
    /// choice by the mean would be one more look at the trials that are judged.
    pub(crate) fn fastest(
        &self,
        setting: usize,
        method: usize,
        measure: &Measure,
        held: &Held<'_>,
    ) -> Option<At> {
        let cells = self.cells(setting, method, held);
        let number = |at: At| median(&self.ends(at, measure));
        cells.into_iter().min_by(|a, b| number(*a).total_cmp(&number(*b)))
    }

    /// The cells that differ from one in the value of one axis alone, itself included.
    pub(crate) fn along(&self, at: At, axis: &str) -> Vec<At> {
        let entry = &self.experiment.methods[at.method];
        let held: Vec<(&str, &Value)> = entry
            .axes
            .iter()
            .zip(&entry.cells[at.cell])
            .filter(|(other, _)| other.name != axis)
            .map(|(other, value)| (other.name.as_str(), value))
            .collect();
        self.cells(at.setting, at.method, &held)
    }

    /// All combinations of the values of a method's axes that are not tuned.
    pub(crate) fn swept(&self, method: usize) -> Vec<Vec<(&'a str, &'a Value)>> {
        let entry = &self.experiment.methods[method];
        let mut all: Vec<Vec<(&str, &Value)>> = Vec::new();
        for cell in &entry.cells {
            let held: Vec<(&str, &Value)> = entry
                .axes
                .iter()
                .zip(cell)
                .filter(|(axis, _)| !axis.tuned)
                .map(|(axis, value)| (axis.name.as_str(), value))
                .collect();
            if !all.contains(&held) {
                all.push(held);
            }
        }
        all
    }

    /// What is chosen of all methods of a setting of which something is tuned.
    pub(crate) fn all_tuned(&self, setting: usize) -> Vec<Chosen> {
        let methods = self.experiment.settings[setting].methods.iter().map(|(method, _)| *method);
        let tuned =
            |method: &usize| self.experiment.methods[*method].axes.iter().any(|axis| axis.tuned);
        let of = |method| {
            let held = self.swept(method);
            held.into_iter().filter_map(move |held| self.tuned(setting, method, &held))
        };
        methods.filter(tuned).flat_map(of).collect()
    }
}

/// A setting's title, and the values of what is swept.
fn with_point(setting: &Setting) -> String {
    let point = setting.point.iter().map(|(name, at)| format!(", {name} = {}", in_words(at)));
    setting.title.clone() + &point.collect::<String>()
}
