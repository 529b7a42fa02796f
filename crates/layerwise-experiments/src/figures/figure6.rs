//! Figure 6: full second-order methods against the layer-wise one, over damping and rate.

use layerwise_data::{Basis, Law};

use crate::Result;
use crate::claim::{Claim, Side, Whose};
use crate::figures::convergence::{
    Series, curve, difference_claim, iteration_axis, method_legend, results,
};
use crate::figures::{Figure, Report};
use crate::linear::{Cell as Racer, LinearMethod, LinearResults, LinearSetting, Run};
use crate::plan::Plan;
use crate::plot::{Axis, Cell, ColourBar, Mark, Panel, Picture, Scale, Stroke};
use crate::runner::{Demand, Results, Trials};
use crate::statistics::median;
use crate::table::Table;

const METHODS: [LinearMethod; 3] =
    [LinearMethod::GaussNewton, LinearMethod::EmpiricalFisher, LinearMethod::Kfac];
const SETTING: &str = "Gaussian inputs, Haar basis, condition 100, damping and rate";
const ITERATIONS: usize = 200;
const TARGET: f64 = 0.2;

/// The figure.
pub(crate) struct Figure6;

fn dampings(plan: &Plan) -> Vec<f64> {
    plan.grid(-6.0, 0.0, 7, 2)
}

fn rates(plan: &Plan) -> Vec<f64> {
    plan.grid(-2.0, 0.0, 9, 2)
}

impl Figure for Figure6 {
    fn number(&self) -> u8 {
        6
    }

    fn title(&self) -> &'static str {
        "Full second-order methods against the layer-wise one"
    }

    fn caption(&self) -> &'static str {
        "Steps to a subspace distance of 0.2 over damping λ and rate η, for natural gradient with \
         the full Gauss-Newton matrix, with the full empirical Fisher matrix, and for KFAC \
         (Gaussian inputs, κ(Σ) = 100, κ(F⋆) = 4, n = 256), medians of the trials, reached \
         once is reached; and the distance against the iteration in the cell of each method that is \
         fastest on these trials. This figure is our own \
         choice for the claim about full second-order methods."
    }

    fn demand(&self, plan: &Plan) -> Demand {
        let mut cells = Vec::new();
        for method in METHODS {
            for damping in dampings(plan) {
                for rate in rates(plan) {
                    cells.push(Racer { method, rate, damping: Some(damping) });
                }
            }
        }
        let setting = LinearSetting {
            name: SETTING,
            law: Law::Gaussian,
            basis: Basis::Haar,
            condition: 100.0,
            head_condition: 4.0,
            samples: 256,
            iterations: ITERATIONS,
            transfer: false,
            target_distance: Some(TARGET),
            cells,
        };
        let trials = Trials { shown: plan.shown_trials(5, 2), tuning: 0 };
        Demand { linear: vec![(setting, trials)], single_index: Vec::new() }
    }

    fn report(&self, plan: &Plan, results_of_run: &Results) -> Result<Report> {
        let results = results(results_of_run, SETTING)?;
        let maps: Vec<Map> = METHODS.iter().map(|&method| Map::new(results, method)).collect();
        let mut panels: Vec<Panel> = maps.iter().map(|map| map.panel(plan)).collect();
        panels.push(Panel {
            title: "each at its fastest cell".into(),
            x: iteration_axis(),
            y: Series::Distance.axis(),
            marks: maps
                .iter()
                .map(|map| curve(results, map.fastest, Series::Distance, Stroke::Solid))
                .collect(),
            note: None,
        });
        let picture = Picture {
            title: String::new(),
            panels,
            columns: 2,
            legend: method_legend(&METHODS),
            colour_bar: Some(ColourBar {
                label: format!("steps to dist(G, G⋆) ≤ {TARGET}"),
                scale: Scale::Log10,
                range: Some((1.0, ITERATIONS as f64)),
                diverged: "diverged".into(),
                not_reached: format!("not within {ITERATIONS}"),
            }),
        };

        let mut table = Table::new(vec![
            "method",
            "damping",
            "rate",
            "trial",
            "steps_to_target",
            "diverged_at",
            "final_subspace_distance",
        ]);
        for (cell, racer) in results.setting.cells.iter().enumerate() {
            for (trial, run) in results.runs(cell).into_iter().enumerate() {
                table.push(vec![
                    racer.method.name().into(),
                    racer.damping.into(),
                    racer.rate.into(),
                    trial.into(),
                    run.reached.into(),
                    run.diverged.into(),
                    crate::linear::last(&run.distance).into(),
                ]);
            }
        }
        Ok(Report { picture, table, claims: claims(&maps), chosen: Vec::new() })
    }
}

fn claims(maps: &[Map<'_>]) -> Vec<Claim> {
    let mut claims = Vec::new();
    let Some((kfac, others)) = maps.split_last() else { return claims };
    // Where KFAC itself gets nowhere, there is nothing to compare.
    let known = |value: f64, nowhere: f64| if value == nowhere { f64::NAN } else { value };
    let never = (ITERATIONS + 1) as f64;
    let kfac_steps: Vec<f64> = kfac.steps().into_iter().map(|s| known(s, never)).collect();
    let kfac_shares: Vec<f64> = kfac.shares().into_iter().map(|s| known(s, 0.0)).collect();
    for other in others {
        let name = other.method.name();
        claims.push(difference_claim(
            format!("6a/{name}"),
            Whose::Paper,
            format!(
                "KFAC's fastest cell needs no more steps to a distance of {TARGET} than {name}'s \
                 ({:.0} against {:.0}, medians; the cells are chosen on the same trials; paired \
                 difference in steps, mean; a run that does not get there counts as {} steps)",
                median(&kfac.steps()),
                median(&other.steps()),
                ITERATIONS + 1
            ),
            (&kfac_steps, &other.steps()),
            Side::AtMost,
            0.0,
        ));
        claims.push(difference_claim(
            format!("6b/{name}"),
            Whose::Paper,
            format!(
                "KFAC reaches a distance of {TARGET} within {ITERATIONS} steps on no smaller a \
                 share of the map than {name} ({:.0} % against {:.0} %, medians; paired \
                 difference of shares, mean)",
                100.0 * median(&kfac.shares()),
                100.0 * median(&other.shares())
            ),
            (&kfac_shares, &other.shares()),
            Side::AtLeast,
            0.0,
        ));
    }
    claims
}

/// One method's cells over λ × η.
struct Map<'a> {
    results: &'a LinearResults,
    method: LinearMethod,
    cells: Vec<usize>,
    /// The cell with the smallest median of steps; of equals the first, that with the smallest λ and
    /// then η: a choice by the mean would be one more look at the trials that are judged.
    fastest: usize,
}

impl<'a> Map<'a> {
    fn new(results: &'a LinearResults, method: LinearMethod) -> Self {
        let cells = results.cells(method);
        let by_steps = |a: &&usize, b: &&usize| {
            let steps = |cell: usize| median(&results.by_trial(cell, steps));
            steps(**a).total_cmp(&steps(**b))
        };
        let fastest = cells.iter().min_by(by_steps).copied().unwrap_or(0);
        Self { results, method, cells, fastest }
    }

    /// Steps of the fastest cell, by trial.
    fn steps(&self) -> Vec<f64> {
        self.results.by_trial(self.fastest, steps)
    }

    /// Share of the cells that reach the target, by trial.
    fn shares(&self) -> Vec<f64> {
        (0..self.results.shown.len())
            .map(|trial| {
                let runs = &self.results.shown[trial].runs;
                let reached = self.cells.iter().filter(|&&cell| runs[cell].reached.is_some());
                reached.count() as f64 / self.cells.len() as f64
            })
            .collect()
    }

    fn panel(&self, plan: &Plan) -> Panel {
        let (rates, dampings) = (rates(plan), dampings(plan));
        let cells = self
            .cells
            .chunks(rates.len())
            .map(|row| row.iter().map(|&cell| self.content(cell)).collect())
            .collect();
        let axis = |label: &str| Axis { label: label.into(), scale: Scale::Log10, range: None };
        Panel {
            title: self.method.name().into(),
            x: axis("learning rate η"),
            y: axis("damping λ"),
            marks: vec![Mark::Map { x: rates, y: dampings, cells }],
            note: None,
        }
    }

    fn content(&self, cell: usize) -> Cell {
        let runs = self.results.runs(cell);
        let steps = median(&self.results.by_trial(cell, steps));
        if steps <= ITERATIONS as f64 {
            return Cell::Value(steps);
        }
        let diverged = runs.iter().filter(|run| run.diverged.is_some()).count();
        if 2 * diverged > runs.len() { Cell::Diverged } else { Cell::NotReached }
    }
}

/// Steps to the target; one more than there are for a run that does not reach it.
fn steps(run: &Run) -> f64 {
    run.reached.unwrap_or(ITERATIONS + 1) as f64
}
