//! What the example shows, on a budget that a test can have.

use networks::data::digits::digits;
use networks::data::text::play;
use networks::methods::{Candidate, Family, RATES, all};
use networks::plot::{Look, svg};
use networks::report::table;
use networks::task::{Budget, CONTEXT, convolution, dense, transformer};
use networks::training::Run;
use networks::tuning::{Trained, tune_and_train};

fn named(names: &[&str]) -> Vec<Candidate> {
    all().into_iter().filter(|candidate| names.contains(&candidate.name)).collect()
}

/// Every run of KFAC gets there before any of AdamW: by more than the starts differ.
#[test]
fn kfac_needs_fewer_steps_than_adam() {
    let budget = Budget { steps: 150, every: 1, tuning_runs: 1, shown_runs: 3 };
    let task = dense(digits().unwrap());
    let trained = tune_and_train(&named(&["AdamW", "KFAC"]), &task, &budget).unwrap();
    let [adam, kfac] = [&trained[0], &trained[1]].map(|method| {
        let step = |run: &Run| run.reached(task.target).map(|point| point.step);
        let steps: Option<Vec<usize>> = method.runs.iter().map(step).collect();
        steps.unwrap_or_else(|| panic!("{} does not get there", method.candidate.name))
    });
    assert!(kfac.iter().max() < adam.iter().min(), "KFAC needs {kfac:?} steps, AdamW {adam:?}");
}

/// Once they fit the data, methods by curvature stay there: with a memory of twenty steps, in which the Fisher matrix
/// of what the network is sure of vanishes, one run of five ends above the loss that it started from.
#[test]
fn methods_by_curvature_settle() {
    let budget = Budget { steps: 400, every: 50, tuning_runs: 2, shown_runs: 5 };
    let task = dense(digits().unwrap());
    for method in tune_and_train(&named(&["KFAC", "EKFAC"]), &task, &budget).unwrap() {
        for run in &method.runs {
            assert!(run.reached(task.target).is_some(), "{}", method.candidate.name);
            let end = run.curve[run.curve.len() - 1].loss;
            assert!(end < task.target, "{} ends at {end}", method.candidate.name);
        }
    }
}

/// Methods on the smallest budget: a table with a line and a plot with a legend for each.
#[test]
fn tables_and_plots_show_every_method() {
    let budget = Budget { steps: 4, every: 2, tuning_runs: 1, shown_runs: 1 };
    let task = dense(digits().unwrap());
    let trained = tune_and_train(&all(), &task, &budget).unwrap();
    let (table, svg) =
        (table(&trained, task.target), svg(&trained, Look { title: "-", axis: task.axis }));
    for method in &trained {
        let (name, curve) = (method.candidate.name, &method.runs[0].curve);
        assert_eq!(curve.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 2, 4]);
        assert!(curve[2].loss < curve[0].loss, "{name}");
        assert_eq!(table.lines().filter(|line| line.starts_with(name)).count(), 1, "{name}");
        assert!(svg.contains(&format!(">{name}<")), "{name}");
    }
}

/// The losses of a few steps, as bits.
fn losses(trained: &[Trained]) -> Vec<u64> {
    let runs = trained.iter().flat_map(|method| &method.runs);
    runs.flat_map(|run| run.curve.iter().map(|point| point.loss.to_bits())).collect()
}

/// The other two networks learn, by methods of each family, and the same on one thread as on two.
#[test]
fn all_networks_learn_the_same_on_any_number_of_threads() {
    let budget = Budget { steps: 8, every: 8, tuning_runs: 1, shown_runs: 1 };
    let (images, text) = (convolution(digits().unwrap()), transformer(play(CONTEXT).unwrap()));
    let methods = named(&["AdamW", "Muon", "KFAC"]);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let images = tune_and_train(&methods, &images, &budget).unwrap();
            let text = tune_and_train(&methods, &text, &budget).unwrap();
            for method in images.iter().chain(&text) {
                let curve = &method.runs[0].curve;
                assert!(curve[1].loss < curve[0].loss - 0.1, "{}", method.candidate.name);
            }
            [losses(&images), losses(&text)]
        })
    };
    assert_eq!(on(1), on(2));
}

#[test]
fn every_method_has_rates_round_its_own_and_a_name_and_family_of_its_own() {
    let methods = all();
    for (number, candidate) in methods.iter().enumerate() {
        let rates = candidate.rates();
        assert_eq!(rates.len(), RATES);
        assert!(rates.is_sorted() && rates[0] > 0.0, "{rates:?}");
        assert!(methods[..number].iter().all(|other| other.name != candidate.name));
        assert_eq!(candidate.groups(rates[0], Vec::new()).len(), 2);
    }
    for family in Family::ALL {
        assert!(methods.iter().any(|candidate| candidate.family == family), "{family:?}");
    }
}
