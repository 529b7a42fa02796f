//! Runs that diverge are results: no error, infinite losses, the largest distance, and a verdict.

use layerwise_data::{Basis, Features, Law, Spectrum, Streams};
use layerwise_experiments::claim::Verdict;
use layerwise_experiments::experiment::{Choices, Experiment, shipped};
use layerwise_experiments::linear::{LinearMethod, LinearSetting, Transfer, run_trial};
use layerwise_experiments::model::{Kind, Numbers, Outcome, Trial};
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::plot::{self, Cell as MapCell, Mark};
use layerwise_experiments::report::report;
use layerwise_experiments::runner::{Results, SettingResults};

const ALL: [&str; 11] = [
    "SGD",
    "momentum",
    "Adam",
    "AMGD",
    "AMGD+BN",
    "NGD (Gauss-Newton)",
    "NGD (empirical Fisher)",
    "Shampoo",
    "SOAP",
    "Muon",
    "KFAC",
];

fn trial(methods: &[LinearMethod]) -> Outcome {
    let setting = LinearSetting {
        inputs: 100,
        outputs: 15,
        rank: 8,
        spectrum: Spectrum::LogSpaced { condition: 100.0 },
        basis: Basis::Haar,
        law: Law::Gaussian,
        features: Features::Haar,
        head_condition: 4.0,
        noise: 0.1,
        samples: 128,
        iterations: 20,
        transfer: Some(Transfer::default()),
        target_distance: Some(0.2),
        recorded: 100,
    };
    let streams = &Streams::new(1);
    let trial = Trial { streams, stream: "divergence", trial: 0, samples: true };
    run_trial(&setting, methods, &trial, &Silent).unwrap()
}

/// Rates from harmless to absurd, three a decade: an iterate that grows by powers passes close
/// below every place where a product overflows.
#[test]
fn no_rate_of_any_method_is_an_error() {
    let mut cells = Vec::new();
    for method in ALL {
        // The empirical Fisher's steps cost a hundred times the others'.
        let costly = method == "NGD (empirical Fisher)";
        let damping = method.starts_with("NGD").then_some(1e-6);
        let thirds = (0..40).step_by(if costly { 8 } else { 1 });
        let rates = thirds.map(|third| 10_f64.powf(f64::from(third) / 3.0));
        for rate in rates.chain([1e50, 1e100, 1e150, 1e200, 1e300]) {
            cells.push((method, rate, LinearMethod::of_figures(method, rate, damping).unwrap()));
        }
    }
    let methods: Vec<LinearMethod> = cells.iter().map(|(.., method)| method.clone()).collect();
    let trial = trial(&methods);
    let diverged_at = |run: &Numbers| {
        let iteration = run["diverged_at"][0];
        (!iteration.is_nan()).then_some(iteration as usize)
    };
    for (run, (name, rate, _)) in trial.cells.iter().zip(&cells) {
        let (excess, transfer) = (&run["excess_training_loss"], &run["excess_transfer_loss"]);
        let distance = &run["subspace_distance"];
        for series in [excess, transfer, distance, &run["effective_subspace_distance"]] {
            assert_eq!(series.len(), 20, "{name} {rate}");
            assert!(series.iter().all(|x| !x.is_nan()), "{name} {rate}: {series:?}");
        }
        // Every iteration is recorded here, and from the divergence on nothing is learned.
        let from = diverged_at(run).map_or(20, |iteration| iteration - 1);
        for i in 0..20 {
            assert_eq!(excess[i].is_infinite(), i >= from, "{name} {rate} at {i}: {from}");
            if i >= from {
                assert_eq!((distance[i], transfer[i]), (1.0, f64::INFINITY), "{name} {rate}");
            }
        }
    }
    let of_sgd = trial.cells.iter().zip(&cells).filter(|(_, (name, ..))| *name == "SGD");
    let diverged = of_sgd.filter(|(run, _)| diverged_at(run).is_some()).count();
    assert!(diverged >= 30, "{diverged}");
}

/// Results of an experiment in which every run has diverged at the first step.
fn all_diverged(experiment: &Experiment) -> Results {
    let settings = experiment.settings.iter().map(|setting| {
        let points = setting.problem.recorded().len();
        let run: Numbers = experiment
            .model
            .measures()
            .iter()
            .filter(|measure| measure.kind != Kind::Trial)
            .map(|measure| {
                let values = match measure.name {
                    "diverged_at" => vec![1.0],
                    "steps_to_target" => vec![f64::NAN],
                    name if name.ends_with("distance") => vec![1.0; points],
                    _ => vec![f64::INFINITY; points],
                };
                (measure.name.to_string(), values)
            })
            .collect();
        let trial = Numbers::from([
            ("zero_loss".to_string(), vec![7.5]),
            ("batch_norm_distance".to_string(), vec![0.7]),
        ]);
        let of = |trials: u64| {
            let of_method = |cells: usize| {
                let outcome = Outcome { trial: trial.clone(), cells: vec![run.clone(); cells] };
                vec![outcome; trials as usize]
            };
            setting.methods.iter().map(|(_, cells)| of_method(cells.len())).collect()
        };
        SettingResults { shown: of(experiment.trials.shown), tuning: of(experiment.trials.tuning) }
    });
    Results { settings: settings.collect() }
}

/// Where nothing came of any run, the figure says so, draws, and claims nothing that it cannot.
#[test]
fn a_figure_of_diverged_runs_says_so() {
    for trials in [None, Some(1)] {
        let choices = Choices { quick: true, trials, seed: Some(1) };
        for number in [1, 2, 4, 5, 6] {
            let name = format!("figure{number}");
            let figure = shipped().iter().find(|shipped| shipped.name == name).unwrap();
            let experiment = figure.experiment(choices).unwrap();
            let report = report(&experiment, &all_diverged(&experiment)).unwrap();
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
                // A loss is infinite; steps that never arrive count as one more than there are.
                let worst = (number == 6).then_some(201.0);
                assert_eq!(choice.tuning_excess, worst, "{}", choice.method);
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
