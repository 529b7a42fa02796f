//! All runs on one setting, and the rates chosen from them.

use serde::{Deserialize, Serialize};

use crate::linear::{LinearMethod, LinearSetting, LinearTrial, Run, recorded_iterations};
use crate::statistics::median;

/// All results on one linear setting.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearResults {
    /// The setting.
    pub setting: LinearSetting,
    /// The trials to show, in order.
    pub shown: Vec<LinearTrial>,
    /// The trials to tune on, in order.
    pub tuning: Vec<LinearTrial>,
}

/// The rate, and damping, with the smallest median excess training loss at the end of the tuning
/// trials; of equals the smaller rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// The method's name.
    pub method: String,
    /// Learning rate η.
    pub rate: f64,
    /// Damping λ, where the figure varies it.
    pub damping: Option<f64>,
    /// True where the rate is the smallest or largest of the grid: a better one may lie beyond.
    pub rate_on_grid_edge: bool,
    /// The same for the damping.
    pub damping_on_grid_edge: bool,
    /// The number by which it was chosen; null where every tuning run diverged.
    pub tuning_excess: Option<f64>,
    /// Index of its cell in the setting.
    #[serde(skip)]
    pub cell: usize,
}

impl LinearResults {
    /// A setting on which nothing was run yet.
    #[must_use]
    pub fn empty(setting: LinearSetting) -> Self {
        Self { setting, shown: Vec::new(), tuning: Vec::new() }
    }

    /// The iterations at which runs are recorded.
    #[must_use]
    pub fn iterations(&self) -> Vec<usize> {
        recorded_iterations(self.setting.iterations)
    }

    /// The cells of a method, by index.
    #[must_use]
    pub fn cells(&self, method: LinearMethod) -> Vec<usize> {
        (0..self.setting.cells.len())
            .filter(|&cell| self.setting.cells[cell].method == method)
            .collect()
    }

    /// The shown runs of a cell, by trial.
    #[must_use]
    pub fn runs(&self, cell: usize) -> Vec<&Run> {
        self.shown.iter().map(|trial| &trial.runs[cell]).collect()
    }

    /// A number of each shown run of a cell, by trial.
    #[must_use]
    pub fn by_trial(&self, cell: usize, number: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.shown.iter().map(|trial| number(&trial.runs[cell])).collect()
    }

    /// A number of each shown trial.
    #[must_use]
    pub fn trials(&self, number: impl Fn(&LinearTrial) -> f64) -> Vec<f64> {
        self.shown.iter().map(number).collect()
    }

    /// Chooses a method's rate on the tuning trials; `None` for a method without cells.
    #[must_use]
    pub fn chosen(&self, method: LinearMethod) -> Option<Chosen> {
        let cells = self.cells(method);
        let excess = |cell: usize| {
            let ends: Vec<f64> =
                self.tuning.iter().map(|trial| last(&trial.runs[cell].excess)).collect();
            median(&ends)
        };
        let rate = |cell: usize| self.setting.cells[cell].rate;
        let damping = |cell: usize| self.setting.cells[cell].damping.unwrap_or(0.0);
        let &cell = cells.iter().min_by(|&&a, &&b| {
            excess(a)
                .total_cmp(&excess(b))
                .then(rate(a).total_cmp(&rate(b)))
                .then(damping(a).total_cmp(&damping(b)))
        })?;
        let on_edge = |value: &dyn Fn(usize) -> f64| {
            let chosen = value(cell);
            let all = || cells.iter().map(|&other| value(other));
            all().all(|other| other <= chosen) || all().all(|other| other >= chosen)
        };
        Some(Chosen {
            method: method.name().into(),
            rate: rate(cell),
            damping: self.setting.cells[cell].damping,
            rate_on_grid_edge: on_edge(&rate),
            damping_on_grid_edge: self.setting.cells[cell].damping.is_some() && on_edge(&damping),
            tuning_excess: Some(excess(cell)).filter(|excess| excess.is_finite()),
            cell,
        })
    }
}

/// The value at the end of a recorded series; NaN for an empty one.
#[must_use]
pub fn last(series: &[f64]) -> f64 {
    series.last().copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use layerwise_data::{Basis, Law};

    use super::*;
    use crate::linear::Cell;

    fn run(cell: Cell, excess: f64) -> Run {
        Run {
            cell,
            excess: vec![excess],
            distance: vec![1.0],
            effective_distance: vec![1.0],
            transfer: Vec::new(),
            reached: None,
            diverged: None,
        }
    }

    fn results(excess: &[[f64; 3]]) -> LinearResults {
        let cells: Vec<Cell> = [0.01, 0.1, 1.0]
            .map(|rate| Cell { method: LinearMethod::Sgd, rate, damping: None })
            .to_vec();
        let setting = LinearSetting {
            name: "test",
            law: Law::Gaussian,
            basis: Basis::Haar,
            condition: 1.0,
            head_condition: 1.0,
            samples: 1,
            iterations: 1,
            transfer: false,
            target_distance: None,
            cells: cells.clone(),
        };
        let tuning = excess
            .iter()
            .map(|row| LinearTrial {
                zero_loss: 1.0,
                batch_norm_distance: 1.0,
                runs: cells.iter().zip(row).map(|(cell, &e)| run(*cell, e)).collect(),
            })
            .collect();
        LinearResults { tuning, ..LinearResults::empty(setting) }
    }

    #[test]
    fn the_rate_of_the_smallest_median_is_chosen() {
        let chosen = results(&[[3.0, 2.0, 0.1], [3.0, 2.0, f64::INFINITY], [3.0, 2.0, 9.0]])
            .chosen(LinearMethod::Sgd)
            .unwrap();
        assert_eq!((chosen.rate, chosen.rate_on_grid_edge), (0.1, false));
        assert_eq!(chosen.tuning_excess, Some(2.0));
    }

    #[test]
    fn ties_go_to_the_smaller_rate_and_the_edge_is_said() {
        let chosen = results(&[[2.0, 2.0, 2.0]]).chosen(LinearMethod::Sgd).unwrap();
        assert_eq!((chosen.rate, chosen.rate_on_grid_edge), (0.01, true));
        let diverged = results(&[[f64::INFINITY; 3]]).chosen(LinearMethod::Sgd).unwrap();
        assert_eq!(diverged.tuning_excess, None);
        assert!(results(&[[1.0; 3]]).chosen(LinearMethod::Muon).is_none());
    }
}
