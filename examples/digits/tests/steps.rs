//! What the example shows, on a budget that a test can have.

use digits::data::digits;
use digits::methods::{SETTINGS, adam, all, kfac};
use digits::network::Network;
use digits::plot::svg;
use digits::report::{TARGET, steps_to, table};
use digits::training::{Budget, tune_and_train};
use digits::transfer::refit_accuracy;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

#[test]
fn kfac_needs_no_more_steps_than_adam() {
    let budget = Budget { steps: 150, every: 2, tuning_runs: 1, shown_runs: 3 };
    let data = digits().unwrap();
    let [adam, kfac] = [adam(), kfac()].map(|candidate| {
        let trained = tune_and_train(&candidate, &data, &budget).unwrap();
        let steps = steps_to(&trained, TARGET);
        assert!(steps.is_finite(), "{} does not reach {TARGET}", candidate.name);
        steps
    });
    assert!(kfac <= adam, "KFAC needs {kfac} steps, Adam {adam}");
}

/// Methods on the smallest budget: a table with a line and a plot with a legend for each.
#[test]
fn tables_and_plots_show_every_method() {
    let budget = Budget { steps: 4, every: 2, tuning_runs: 1, shown_runs: 1 };
    let data = digits().unwrap();
    let trained: Vec<_> =
        all().iter().map(|method| tune_and_train(method, &data, &budget).unwrap()).collect();
    let (table, svg) = (table(&trained), svg(&trained));
    assert_eq!(table.lines().count(), 1 + trained.len());
    for method in &trained {
        assert_eq!(method.runs[0].curve.iter().map(|p| p.step).collect::<Vec<_>>(), [0, 2, 4]);
        assert!(method.runs[0].curve[2].loss < method.runs[0].curve[0].loss, "{}", method.name);
        assert!(table.contains(method.name) && table.contains(&method.setting.label));
        assert!(svg.contains(&format!(">{}<", method.name)), "{}", method.name);
    }
}

#[test]
fn every_method_has_the_same_number_of_settings() {
    for candidate in all() {
        assert_eq!(candidate.settings.len(), SETTINGS, "{}", candidate.name);
    }
}

/// Central differences have an error of order h² = 1e-10, and of ε/h = 2e-11 by rounding.
#[test]
fn gradients_are_those_of_the_loss() {
    let data = digits().unwrap();
    let batch = data.train.select(&(0..20).collect::<Vec<_>>());
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut network = Network::new(10, &mut rng);
    let derivatives = network.derivatives(&batch, Some(&mut rng));
    let h = 1e-5;
    for layer in 0..3 {
        let (rows, cols) = network.weights[layer].dim();
        for at in [(0, cols - 1), (rows - 1, 0), (rows / 2, cols / 2), (3, 20)] {
            let kept = network.weights[layer][at];
            let mut loss = |x: f64| {
                network.weights[layer][at] = x;
                network.score(&batch).loss
            };
            let slope = (loss(kept + h) - loss(kept - h)) / (2.0 * h);
            network.weights[layer][at] = kept;
            let gradient = derivatives.gradients[layer][at];
            assert!((slope - gradient).abs() < 1e-8, "{layer}, {at:?}: {slope} {gradient}");
        }
        assert_eq!(derivatives.inputs[layer].dim(), (20, cols));
        assert_eq!(derivatives.outputs.as_ref().unwrap()[layer].dim(), (20, rows));
    }
}

#[test]
fn the_data_is_what_its_readme_says() {
    let data = digits().unwrap();
    assert_eq!(data.train.labels.len() + data.test.labels.len(), 1797);
    for images in [&data.train, &data.test] {
        assert!(images.pixels.iter().all(|x| (0.0..=1.0).contains(x)));
        assert!((0..10).all(|digit| images.labels.contains(&digit)));
    }
    let target = data.of(5..10);
    assert_eq!(target.test.classes, 5);
    // Linear classifiers on the pixels of digits are known to do well; chance is a fifth.
    let accuracy = refit_accuracy(|images| images.pixels.clone(), &target).unwrap();
    assert!((0.85..=1.0).contains(&accuracy), "{accuracy}");
}
