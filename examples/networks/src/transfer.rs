//! Features learned on some digits, and a linear head refit on others.

use layerwise_optim::ndarray::{Array2, Axis, concatenate};
use layerwise_optim::{Factor, Method, OneSidedKfac, Signal};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::data::digits::{Images, Split};
use crate::error::Result;
use crate::network::Network;
use crate::network::dense::Dense;
use crate::report::median;
use crate::task::{Budget, dense};
use crate::training::train;
use crate::tuning::{Trained, side_by_side};

/// Ridge of the refit head, on second moments of features (of order one).
const RIDGE: f64 = 1e-3;

/// The share of test images recognized by a linear head fitted to the training images, with
/// everything that makes the features left as it is.
///
/// The head minimizes the mean squared distance to the labels' unit vectors, plus the ridge. That
/// is a quadratic, whose curvature is the features' second moment on the input side and the
/// identity on the output side: one step of one-sided KFAC with rate 1 is its minimum.
///
/// # Errors
///
/// What the optimizer refuses: features that are not finite.
pub fn refit_accuracy(
    features: impl Fn(&Images<f32>) -> Array2<f32>,
    data: &Split<f32>,
) -> Result<f64> {
    let inputs = features(&data.train);
    let mut head = Array2::<f32>::zeros((data.train.classes, inputs.ncols()));
    let targets = Array2::from_shape_fn((inputs.nrows(), head.nrows()), |(i, class)| {
        f32::from(u8::from(data.train.labels[i] == class))
    });
    let gradient = targets.t().dot(&inputs) / -(inputs.nrows() as f32);
    let method = OneSidedKfac {
        learning_rate: 1.0.into(),
        damping: RIDGE.into(),
        ..OneSidedKfac::stylised()
    };
    let signal = Signal::new(gradient.view()).with_input(Factor::Samples(inputs.view()));
    method.build(head.dim())?.step(&mut head.view_mut(), &signal)?;

    let scores = features(&data.test).dot(&head.t());
    let recognized = scores
        .rows()
        .into_iter()
        .zip(&data.test.labels)
        .filter(|(row, label)| {
            row.iter().enumerate().all(|(i, &x)| i == **label || x < row[**label])
        })
        .count();
    Ok(recognized as f64 / data.test.labels.len() as f64)
}

/// A table of the dense network's features: learned on 0 to 4 by each method, with the rate chosen on
/// all digits, and refit on 5 to 9.
///
/// # Errors
///
/// As [`refit_accuracy`]; arrays that do not fit.
pub fn table(methods: &[Trained], data: &Split<f32>, budget: &Budget) -> Result<String> {
    let (source, target) = (data.of(0..5), data.of(5..10));
    let task = dense(source);
    let seeds = budget.tuning_runs..budget.tuning_runs + budget.shown_runs;
    let mut text = format!(
        "features learned on the digits 0 to 4, linear head refit on 5 to 9: test accuracy,\n\
         median of {} (least to most); chance is 20%\n",
        budget.shown_runs
    );
    let mut line = |name: &str, accuracies: &[f64]| {
        let least = accuracies.iter().copied().fold(f64::INFINITY, f64::min);
        let most = accuracies.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let middle = median(accuracies.iter().copied());
        text += &format!(
            "{name:<22} {:>5.1}% ({:.1} to {:.1})\n",
            100.0 * middle,
            100.0 * least,
            100.0 * most
        );
    };
    let pixels = |images: &Images<f32>| {
        concatenate![Axis(1), images.pixels, Array2::ones((images.labels.len(), 1))]
    };
    line("pixels, no features", &[refit_accuracy(pixels, &target)?]);
    let features_of = |network: &Dense, weights: &[Array2<f32>]| {
        refit_accuracy(|images| network.features(weights, &images.pixels), &target)
    };
    let untrained: Result<Vec<f64>> = seeds
        .clone()
        .map(|seed| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let parameters = task.network.parameters();
            let weights: Vec<_> = parameters.iter().map(|p| p.start(&mut rng)).collect();
            features_of(&task.network, &weights)
        })
        .collect();
    line("untrained", &untrained?);
    let trials: Vec<_> =
        methods.iter().flat_map(|method| seeds.clone().map(move |seed| (method, seed))).collect();
    let accuracies = side_by_side(&trials, |&(method, seed)| {
        let run = train(&method.candidate, method.rate, &task, budget, seed)?;
        features_of(&task.network, &run.weights)
    })?;
    for (method, accuracies) in
        methods.iter().zip(accuracies.chunks((budget.shown_runs as usize).max(1)))
    {
        line(method.candidate.name, accuracies);
    }
    Ok(text)
}
