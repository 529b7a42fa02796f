//! Figure 1: which methods converge in loss, and which learn the features that transfer.

use layerwise_data::{Basis, Law};

use crate::Result;
use crate::claim::{Side, Whose};
use crate::figures::convergence::{
    Series, cells, chosen, comparable_ends, curve, divergence_note, ends, iteration_axis,
    method_legend, ratio_claim, results, run_columns, table_of_runs,
};
use crate::figures::{Figure, Report};
use crate::linear::{Chosen, LinearMethod, LinearResults, LinearSetting};
use crate::plan::Plan;
use crate::plot::{Panel, Picture, Stroke};
use crate::runner::{Demand, Results, Trials};
use crate::table::Table;

/// The methods of figures 1 and 5; the last is drawn on top.
pub(crate) const METHODS: [LinearMethod; 9] = [
    LinearMethod::Sgd,
    LinearMethod::Momentum,
    LinearMethod::Adam,
    LinearMethod::Amgd,
    LinearMethod::GaussNewton,
    LinearMethod::Shampoo,
    LinearMethod::Soap,
    LinearMethod::Muon,
    LinearMethod::Kfac,
];

/// The methods without a layer-wise preconditioner.
pub(crate) const WITHOUT_LAYERWISE: [LinearMethod; 4] =
    [LinearMethod::Sgd, LinearMethod::Momentum, LinearMethod::Adam, LinearMethod::Amgd];

/// Whose a claim on a method is: the paper speaks of SGD, Adam, alternating descent and KFAC; that
/// the others stand beside them is our choice.
pub(crate) fn whose(method: LinearMethod) -> Whose {
    match method {
        LinearMethod::Sgd | LinearMethod::Adam | LinearMethod::Amgd | LinearMethod::Kfac => {
            Whose::Paper
        }
        _ => Whose::Ours,
    }
}

const SETTING: &str = "uniform inputs, Haar basis, condition 10000";

/// What figures 1 and 5 run.
pub(crate) fn demand(plan: &Plan) -> Demand {
    let setting = LinearSetting {
        name: SETTING,
        law: Law::Signs,
        basis: Basis::Haar,
        condition: 1e4,
        head_condition: 10.0,
        samples: 1024,
        iterations: 1000,
        transfer: true,
        target_distance: None,
        cells: cells(&METHODS, plan),
    };
    let trials = Trials { shown: plan.shown_trials(10, 3), tuning: plan.tuning_trials() };
    Demand { linear: vec![(setting, trials)], single_index: Vec::new() }
}

/// The results that figures 1 and 5 share, and each method's chosen cell.
pub(crate) fn shared(results_of_run: &Results) -> Result<(&LinearResults, Vec<Chosen>)> {
    let results = results(results_of_run, SETTING)?;
    let chosen = METHODS.iter().map(|&method| chosen(results, method)).collect::<Result<_>>()?;
    Ok((results, chosen))
}

/// The figure.
pub(crate) struct Figure1;

impl Figure for Figure1 {
    fn number(&self) -> u8 {
        1
    }

    fn title(&self) -> &'static str {
        "Training loss, features, and transfer"
    }

    fn caption(&self) -> &'static str {
        "Linear representation learning on anisotropic inputs (uniform on ±1, κ(Σ) = 10⁴, \
         κ(F⋆) = 10): excess training loss, subspace distance to the true features, and excess \
         loss on a transfer task, each method at the rate that minimizes its training loss. \
         Lines are medians of the trials, bands their quartiles."
    }

    fn demand(&self, plan: &Plan) -> Demand {
        demand(plan)
    }

    fn report(&self, _plan: &Plan, results: &Results) -> Result<Report> {
        let (results, chosen) = shared(results)?;
        let panel = |series: Series| Panel {
            title: String::new(),
            x: iteration_axis(),
            y: series.axis(),
            marks: chosen
                .iter()
                .map(|choice| curve(results, choice.cell, series, Stroke::Solid))
                .collect(),
            note: divergence_note(results, &chosen),
        };
        let picture = Picture {
            title: String::new(),
            panels: [Series::Excess, Series::Distance, Series::Transfer].map(panel).to_vec(),
            columns: 3,
            legend: method_legend(&METHODS),
            colour_bar: None,
        };
        let mut table = Table::new(run_columns());
        table_of_runs(&mut table, SETTING, results, &chosen);

        let mut claims = Vec::new();
        let zero = results.trials(|trial| trial.zero_loss);
        let cell = |method: LinearMethod| {
            chosen.iter().find(|choice| choice.method == method.name()).map(|choice| choice.cell)
        };
        let comparable = |method: LinearMethod, series: Series| {
            cell(method).map(|cell| comparable_ends(results, cell, series)).unwrap_or_default()
        };
        for method in METHODS {
            let name = method.name();
            claims.push(ratio_claim(
                format!("1a/{name}"),
                whose(method),
                format!(
                    "{name} converges: its final excess training loss is at most 1 % of the zero \
                     predictor's (ratio, geometric mean)"
                ),
                // A diverged loss is infinite, and that decides this claim.
                (
                    &cell(method).map(|c| ends(results, c, Series::Excess)).unwrap_or_default(),
                    &zero,
                ),
                Side::AtMost,
                0.01,
            ));
        }
        for (letter, series, what, threshold) in [
            ("b", Series::Distance, "subspace distance", 3.0),
            ("c", Series::Transfer, "excess transfer loss", 10.0),
        ] {
            let kfac = comparable(LinearMethod::Kfac, series);
            for method in WITHOUT_LAYERWISE {
                let name = method.name();
                claims.push(ratio_claim(
                    format!("1{letter}/{name}"),
                    whose(method),
                    format!(
                        "{name} misses the features that KFAC learns: its final {what} is at \
                         least {threshold} times KFAC's (paired ratio, geometric mean)"
                    ),
                    (&comparable(method, series), &kfac),
                    Side::AtLeast,
                    threshold,
                ));
            }
        }
        Ok(Report { picture, table, claims, chosen })
    }
}
