//! Figure 5: how the features learned depend on the learning rate.

use crate::Result;
use crate::claim::Side;
use crate::figures::convergence::{
    Series, cells_at_damping, comparable_ends, difference_claim, divergence_note, ends,
    method_legend, ratio_claim,
};
use crate::figures::figure1::{self, METHODS, WITHOUT_LAYERWISE};
use crate::figures::{Figure, Report};
use crate::linear::{Chosen, LinearMethod, LinearResults};
use crate::plan::Plan;
use crate::plot::{Axis, Colour, LegendEntry, Mark, Panel, Picture, Scale, Shape, method_style};
use crate::runner::{Demand, Results};
use crate::statistics::quantile;
use crate::table::Table;

/// A distance that counts as having found the features.
const FOUND: f64 = 0.25;

/// Marks a rate at which a method diverges.
const DIVERGED: Shape = Shape::Plus;

/// The figure.
pub(crate) struct Figure5;

impl Figure for Figure5 {
    fn number(&self) -> u8 {
        5
    }

    fn title(&self) -> &'static str {
        "Features against the learning rate"
    }

    fn caption(&self) -> &'static str {
        "Subspace distance after 1000 iterations against the learning rate, for the methods and \
         the setting of figure 1; natural gradient at its tuned damping. \
         A rate at which most trials diverge stands at distance 1, marked. \
         Lines are medians of the trials, bands their quartiles."
    }

    fn demand(&self, plan: &Plan) -> Demand {
        figure1::demand(plan)
    }

    fn report(&self, _plan: &Plan, results: &Results) -> Result<Report> {
        let (results, chosen) = figure1::shared(results)?;
        let sweeps: Vec<Sweep> = chosen.iter().map(|choice| Sweep::new(results, choice)).collect();
        let mut legend = method_legend(&METHODS);
        legend.push(LegendEntry::Points {
            label: "most trials diverged".into(),
            colour: Colour::INK,
            shape: DIVERGED,
            error: false,
        });
        let picture = Picture {
            title: String::new(),
            panels: vec![Panel {
                title: String::new(),
                x: Axis { label: "learning rate η".into(), scale: Scale::Log10, range: None },
                y: Axis {
                    label: "dist(G, G⋆) after 1000 iterations".into(),
                    scale: Scale::Log10,
                    range: None,
                },
                marks: sweeps
                    .iter()
                    .map(Sweep::line)
                    .chain(sweeps.iter().map(Sweep::diverged_points))
                    .collect(),
                note: divergence_note(results, &chosen),
            }],
            columns: 1,
            legend,
            colour_bar: None,
        };

        let mut table = Table::new(vec![
            "method",
            "rate",
            "damping",
            "trial",
            "subspace_distance",
            "diverged_at",
        ]);
        for choice in &chosen {
            for cell in cells_at_damping(results, choice) {
                for (trial, run) in results.runs(cell).into_iter().enumerate() {
                    table.push(vec![
                        choice.method.as_str().into(),
                        run.cell.rate.into(),
                        run.cell.damping.into(),
                        trial.into(),
                        crate::linear::last(&run.distance).into(),
                        run.diverged.into(),
                    ]);
                }
            }
        }

        let mut claims = Vec::new();
        let kfac = sweeps.iter().find(|sweep| sweep.method == LinearMethod::Kfac);
        let best_of_kfac = kfac.map(|sweep| sweep.best.clone()).unwrap_or_default();
        // Where KFAC itself finds nothing, there is nothing to compare.
        let decades_of_kfac: Vec<f64> = kfac
            .map(Sweep::decades)
            .unwrap_or_default()
            .into_iter()
            .map(|decades| if decades > 0.0 { decades } else { f64::NAN })
            .collect();
        for sweep in sweeps.iter().filter(|sweep| sweep.method != LinearMethod::Kfac) {
            let name = sweep.method.name();
            claims.push(ratio_claim(
                format!("5a/{name}"),
                figure1::whose(sweep.method),
                format!(
                    "KFAC's best subspace distance over the rates is at most {name}'s best, \
                     over its dampings too where it has them (paired ratio, geometric mean)"
                ),
                (&best_of_kfac, &sweep.best),
                Side::AtMost,
                1.0,
            ));
        }
        for sweep in sweeps.iter().filter(|sweep| WITHOUT_LAYERWISE.contains(&sweep.method)) {
            let name = sweep.method.name();
            claims.push(difference_claim(
                format!("5b/{name}"),
                figure1::whose(sweep.method),
                format!(
                    "KFAC finds the features (distance at most {FOUND}) over no fewer decades of \
                     learning rates than {name} (interpolated; paired difference in decades, mean)"
                ),
                (&decades_of_kfac, &sweep.decades()),
                Side::AtLeast,
                0.0,
            ));
        }
        Ok(Report { picture, table, claims, chosen })
    }
}

/// A method's final distances: one row a rate, one column a trial.
struct Sweep {
    method: LinearMethod,
    rates: Vec<f64>,
    distances: Vec<Vec<f64>>,
    /// Rates at which more than half of the trials diverged.
    diverged: Vec<f64>,
    /// The smallest distance over all of the method's cells, its dampings included, by trial.
    best: Vec<f64>,
}

impl Sweep {
    fn new(results: &LinearResults, choice: &Chosen) -> Self {
        let cells = cells_at_damping(results, choice);
        let method = results.setting.cells[choice.cell].method;
        let all: Vec<Vec<f64>> = results
            .cells(method)
            .into_iter()
            .map(|cell| comparable_ends(results, cell, Series::Distance))
            .collect();
        // f64::min passes over NaN, so that NaN is left only where every cell diverged.
        let best = (0..results.shown.len())
            .map(|trial| all.iter().map(|row| row[trial]).fold(f64::NAN, f64::min))
            .collect();
        let diverged = cells
            .iter()
            .filter(|&&cell| {
                let runs = results.runs(cell);
                2 * runs.iter().filter(|run| run.diverged.is_some()).count() > runs.len()
            })
            .map(|&cell| results.setting.cells[cell].rate)
            .collect();
        Self {
            method,
            best,
            diverged,
            rates: cells.iter().map(|&cell| results.setting.cells[cell].rate).collect(),
            distances: cells.iter().map(|&cell| ends(results, cell, Series::Distance)).collect(),
        }
    }

    fn line(&self) -> Mark {
        let column =
            |fraction: f64| self.distances.iter().map(|row| quantile(row, fraction)).collect();
        Mark::Line {
            x: self.rates.clone(),
            y: column(0.5),
            band: Some((column(0.25), column(0.75))),
            style: method_style(self.method.name()),
        }
    }

    /// Nothing is learned where most trials diverged: distance 1, marked.
    fn diverged_points(&self) -> Mark {
        Mark::Points {
            x: self.diverged.clone(),
            y: vec![1.0; self.diverged.len()],
            error: None,
            colour: Colour::INK,
            shape: DIVERGED,
        }
    }

    fn trial(&self, trial: usize) -> Vec<f64> {
        self.distances.iter().map(|row| row[trial]).collect()
    }

    fn trials(&self) -> usize {
        self.distances.first().map_or(0, Vec::len)
    }

    /// Decades of rates over which the features are found, by trial.
    fn decades(&self) -> Vec<f64> {
        (0..self.trials()).map(|t| decades_below(&self.rates, &self.trial(t), FOUND)).collect()
    }
}

/// Length, in decades of `x`, of where the interpolation of `y`, linear in log x, is ≤ `level`.
fn decades_below(x: &[f64], y: &[f64], level: f64) -> f64 {
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
    fn decades_are_interpolated_on_both_sides() {
        let x = [1e-3, 1e-2, 1e-1, 1.0];
        // Down through the level at half a decade, back up at a quarter of the last one.
        let decades = decades_below(&x, &[0.4, 0.1, 0.15, 0.55], 0.25);
        assert!((decades - (0.5 + 1.0 + 0.25)).abs() < 1e-12, "{decades}");
        assert_eq!(decades_below(&x, &[1.0; 4], 0.25), 0.0);
    }
}
