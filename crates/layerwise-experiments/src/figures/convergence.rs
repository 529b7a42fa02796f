//! What figures of training curves share: grids of cells, lines with bands, tables, claims.

use crate::claim::{Claim, LOG_T_INTERVAL, Side, T_INTERVAL, Whose};
use crate::linear::{Cell, Chosen, LinearMethod, LinearResults, Run, last};
use crate::plan::Plan;
use crate::plot::{Axis, Colour, LegendEntry, Mark, Scale, Stroke, method_style};
use crate::runner::Results;
use crate::statistics::{Estimate, quantile};
use crate::table::Table;
use crate::{ExperimentError, Result};

/// Dampings λ among which natural gradient is tuned.
const NATURAL_GRADIENT_DAMPINGS: [f64; 4] = [1e-6, 1e-4, 1e-2, 1.0];

/// Every method at every rate; natural gradient also at every damping.
pub(crate) fn cells(methods: &[LinearMethod], plan: &Plan) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &method in methods {
        let dampings: Vec<Option<f64>> = match method {
            LinearMethod::GaussNewton | LinearMethod::EmpiricalFisher => {
                NATURAL_GRADIENT_DAMPINGS.map(Some).to_vec()
            }
            _ => vec![None],
        };
        for damping in dampings {
            cells.extend(plan.rates().into_iter().map(|rate| Cell { method, rate, damping }));
        }
    }
    cells
}

/// The results on a setting.
pub(crate) fn results<'a>(results: &'a Results, name: &str) -> Result<&'a LinearResults> {
    results.linear.get(name).ok_or_else(|| ExperimentError::MissingResults(name.into()))
}

/// A method's chosen cell.
pub(crate) fn chosen(results: &LinearResults, method: LinearMethod) -> Result<Chosen> {
    results.chosen(method).ok_or_else(|| ExperimentError::MissingResults(method.name().into()))
}

/// Which recorded series a panel shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    Excess,
    Distance,
    EffectiveDistance,
    Transfer,
}

impl Series {
    pub(crate) fn of(self, run: &Run) -> &[f64] {
        match self {
            Self::Excess => &run.excess,
            Self::Distance => &run.distance,
            Self::EffectiveDistance => &run.effective_distance,
            Self::Transfer => &run.transfer,
        }
    }

    pub(crate) fn axis(self) -> Axis {
        let (label, range) = match self {
            Self::Excess => ("excess training loss", None),
            Self::Distance | Self::EffectiveDistance => ("subspace distance dist(G, G⋆)", None),
            Self::Transfer => ("excess transfer loss", None),
        };
        Axis { label: label.into(), scale: Scale::Log10, range }
    }
}

/// The horizontal axis of training curves.
pub(crate) fn iteration_axis() -> Axis {
    Axis { label: "iteration t".into(), scale: Scale::Log10, range: None }
}

/// A cell's median over the shown trials against the iteration, with the quartiles as a band.
pub(crate) fn curve(results: &LinearResults, cell: usize, series: Series, stroke: Stroke) -> Mark {
    let method = results.setting.cells[cell].method;
    let runs = results.runs(cell);
    let iterations = results.iterations();
    let at = |i: usize, fraction: f64| {
        let values: Vec<f64> =
            runs.iter().map(|run| series.of(run).get(i).copied().unwrap_or(f64::NAN)).collect();
        quantile(&values, fraction)
    };
    let column = |fraction: f64| (0..iterations.len()).map(|i| at(i, fraction)).collect();
    Mark::Line {
        x: iterations.iter().map(|&t| t as f64).collect(),
        y: column(0.5),
        band: Some((column(0.25), column(0.75))),
        style: method_style(method.name()).with_stroke(stroke),
    }
}

/// A note for a panel in which some methods have nothing to show, or none.
pub(crate) fn divergence_note(results: &LinearResults, chosen: &[Chosen]) -> Option<String> {
    let diverged: Vec<&str> = chosen
        .iter()
        .filter(|c| results.runs(c.cell).iter().all(|run| run.diverged.is_some()))
        .map(|c| c.method.as_str())
        .collect();
    if diverged.is_empty() {
        None
    } else if diverged.len() == chosen.len() {
        Some("all runs diverged".into())
    } else {
        Some(format!("all trials diverged: {}", diverged.join(", ")))
    }
}

/// One legend line a method, and the bands'.
pub(crate) fn method_legend(methods: &[LinearMethod]) -> Vec<LegendEntry> {
    let lines = methods.iter().map(|method| LegendEntry::Line {
        label: method.name().into(),
        style: method_style(method.name()),
    });
    let band = LegendEntry::Band { label: "quartiles".into(), colour: Colour::GREY };
    lines.chain([band]).collect()
}

/// The recorded series of the chosen cells, trial by trial.
pub(crate) fn table_of_runs(
    table: &mut Table,
    setting: &str,
    results: &LinearResults,
    chosen: &[Chosen],
) {
    let iterations = results.iterations();
    for choice in chosen {
        for (trial, run) in results.runs(choice.cell).into_iter().enumerate() {
            for (i, &iteration) in iterations.iter().enumerate() {
                table.push(vec![
                    setting.into(),
                    choice.method.as_str().into(),
                    choice.rate.into(),
                    choice.damping.into(),
                    trial.into(),
                    iteration.into(),
                    run.excess[i].into(),
                    run.distance[i].into(),
                    run.effective_distance[i].into(),
                    run.transfer.get(i).copied().into(),
                    run.diverged.into(),
                ]);
            }
        }
    }
}

/// The columns of [`table_of_runs`].
pub(crate) fn run_columns() -> Vec<&'static str> {
    vec![
        "setting",
        "method",
        "rate",
        "damping",
        "trial",
        "iteration",
        "excess_training_loss",
        "subspace_distance",
        "effective_subspace_distance",
        "excess_transfer_loss",
        "diverged_at",
    ]
}

/// The value at the end of each shown trial.
pub(crate) fn ends(results: &LinearResults, cell: usize, series: Series) -> Vec<f64> {
    results.by_trial(cell, |run| last(series.of(run)))
}

/// The same for comparisons, which a run that diverged does not decide: NaN.
pub(crate) fn comparable_ends(results: &LinearResults, cell: usize, series: Series) -> Vec<f64> {
    results.by_trial(cell, |run| match run.diverged {
        Some(_) => f64::NAN,
        None => last(series.of(run)),
    })
}

/// A claim on the geometric mean of trial-by-trial ratios.
pub(crate) fn ratio_claim(
    id: String,
    whose: Whose,
    text: String,
    (above, below): (&[f64], &[f64]),
    side: Side,
    threshold: f64,
) -> Claim {
    let estimate = Estimate::paired_ratio(above, below);
    Claim::judge(id, whose, text, estimate, LOG_T_INTERVAL, side, threshold)
}

/// A claim on the mean of one number a trial.
pub(crate) fn mean_claim(
    id: String,
    whose: Whose,
    text: String,
    values: &[f64],
    side: Side,
    threshold: f64,
) -> Claim {
    Claim::judge(id, whose, text, Estimate::mean(values), T_INTERVAL, side, threshold)
}

/// A claim on the mean of trial-by-trial differences.
pub(crate) fn difference_claim(
    id: String,
    whose: Whose,
    text: String,
    (left, right): (&[f64], &[f64]),
    side: Side,
    threshold: f64,
) -> Claim {
    let differences: Vec<f64> = left.iter().zip(right).map(|(l, r)| l - r).collect();
    mean_claim(id, whose, text, &differences, side, threshold)
}

/// A method's cells at its chosen damping, in the order of their rates.
pub(crate) fn cells_at_damping(results: &LinearResults, choice: &Chosen) -> Vec<usize> {
    let method = results.setting.cells[choice.cell].method;
    results
        .cells(method)
        .into_iter()
        .filter(|&cell| results.setting.cells[cell].damping == choice.damping)
        .collect()
}
