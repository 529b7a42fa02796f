//! Runs that diverge are results: no error, infinite losses, the largest distance, and a verdict.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed assertion in a test is a panic")]

use layerwise_data::{Basis, Law, Streams};
use layerwise_experiments::claim::Verdict;
use layerwise_experiments::figures::{FIGURES, Figure};
use layerwise_experiments::linear::{
    Cell, LinearMethod, LinearResults, LinearSetting, LinearTrial, Run, recorded_iterations,
    run_trial,
};
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::plan::Plan;
use layerwise_experiments::plot::{self, Cell as MapCell, Mark};
use layerwise_experiments::runner::Results;

const ALL: [LinearMethod; 11] = [
    LinearMethod::Sgd,
    LinearMethod::Momentum,
    LinearMethod::Adam,
    LinearMethod::Amgd,
    LinearMethod::AmgdBatchNorm,
    LinearMethod::GaussNewton,
    LinearMethod::EmpiricalFisher,
    LinearMethod::Shampoo,
    LinearMethod::Soap,
    LinearMethod::Muon,
    LinearMethod::Kfac,
];

fn setting(cells: Vec<Cell>) -> LinearSetting {
    LinearSetting {
        name: "divergence",
        law: Law::Gaussian,
        basis: Basis::Haar,
        condition: 100.0,
        head_condition: 4.0,
        samples: 128,
        iterations: 20,
        transfer: true,
        target_distance: Some(0.2),
        cells,
    }
}

fn trial(cells: Vec<Cell>) -> LinearTrial {
    run_trial(&setting(cells), &Streams::new(1), 0, &Silent).unwrap()
}

/// Rates from harmless to absurd, three a decade: an iterate that grows by powers passes close
/// below every place where a product overflows.
#[test]
fn no_rate_of_any_method_is_an_error() {
    let mut cells = Vec::new();
    for method in ALL {
        // The empirical Fisher's steps cost a hundred times the others'.
        let costly = method == LinearMethod::EmpiricalFisher;
        for third in (0..40).step_by(if costly { 8 } else { 1 }) {
            let rate = 10_f64.powf(f64::from(third) / 3.0);
            cells.push(Cell { method, rate, damping: None });
        }
        for rate in [1e50, 1e100, 1e150, 1e200, 1e300] {
            cells.push(Cell { method, rate, damping: None });
        }
    }
    let trial = trial(cells);
    for run in &trial.runs {
        let cell = run.cell;
        assert_eq!(run.excess.len(), 20);
        for series in [&run.excess, &run.transfer, &run.distance, &run.effective_distance] {
            assert_eq!(series.len(), 20, "{cell:?}");
            assert!(series.iter().all(|x| !x.is_nan()), "{cell:?}: {series:?}");
        }
        // Every iteration is recorded here, and from the divergence on nothing is learned.
        let from = run.diverged.map_or(20, |iteration| iteration - 1);
        for i in 0..20 {
            assert_eq!(run.excess[i].is_infinite(), i >= from, "{cell:?} at {i}: {from}");
            if i >= from {
                assert_eq!((run.distance[i], run.transfer[i]), (1.0, f64::INFINITY), "{cell:?}");
            }
        }
    }
    let diverged = |method| {
        trial.runs.iter().filter(|run| run.cell.method == method && run.diverged.is_some()).count()
    };
    assert!(diverged(LinearMethod::Sgd) >= 30, "{}", diverged(LinearMethod::Sgd));
}

/// Results of a demand in which every run has diverged at the first step.
fn all_diverged(plan: &Plan, figure: &dyn Figure) -> Results {
    let mut results = Results::default();
    for (setting, trials) in figure.demand(plan).linear {
        let points = recorded_iterations(setting.iterations).len();
        let trial = LinearTrial {
            zero_loss: 7.5,
            batch_norm_distance: 0.7,
            runs: setting
                .cells
                .iter()
                .map(|&cell| Run {
                    cell,
                    excess: vec![f64::INFINITY; points],
                    distance: vec![1.0; points],
                    effective_distance: vec![1.0; points],
                    transfer: vec![f64::INFINITY; if setting.transfer { points } else { 0 }],
                    reached: None,
                    diverged: Some(1),
                })
                .collect(),
        };
        let name = setting.name.to_string();
        let shown = vec![trial.clone(); trials.shown as usize];
        let tuning = vec![trial; trials.tuning as usize];
        results.linear.insert(name, LinearResults { setting, shown, tuning });
    }
    results
}

/// Where nothing came of any run, the figure says so, draws, and claims nothing that it cannot.
#[test]
fn a_figure_of_diverged_runs_says_so() {
    for trials in [None, Some(1)] {
        let plan = Plan { quick: true, trials, seed: 1 };
        for number in [1, 2, 4, 5, 6] {
            let figure = FIGURES.into_iter().find(|figure| figure.number() == number).unwrap();
            let report = figure.report(&plan, &all_diverged(&plan, figure)).unwrap();
            if number == 6 {
                let Mark::Map { cells, .. } = &report.picture.panels[0].marks[0] else {
                    panic!("a map first");
                };
                assert!(cells.iter().flatten().all(|cell| *cell == MapCell::Diverged));
            } else {
                for panel in &report.picture.panels {
                    assert_eq!(panel.note.as_deref(), Some("all runs diverged"), "{number}");
                }
            }
            let rendered = plot::render(&report.picture).unwrap();
            assert!(!rendered.svg.contains("NaN"), "{number}");
            assert!(report.table.to_csv().contains(",1\n") || number == 6);
            for choice in &report.chosen {
                assert_eq!(choice.tuning_excess, None, "{}", choice.method);
            }
            for claim in &report.claims {
                assert!(trials.is_none() || claim.verdict == Verdict::Undecided, "{claim:?}");
                // An infinite loss is on the wrong side of any bound.
                if claim.id.starts_with("1a") && trials.is_none() {
                    assert_eq!(claim.verdict, Verdict::NotReproduced, "{claim:?}");
                }
                // What did not run to its end decides no comparison.
                if !claim.id.starts_with("1a") {
                    assert_eq!(claim.verdict, Verdict::Undecided, "{claim:?}");
                }
                let json = serde_json::to_value(claim).unwrap();
                assert_eq!(json["measured"].is_null(), !claim.measured.is_finite());
            }
        }
    }
}
