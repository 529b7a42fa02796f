//! Features learned on some digits, and a linear head refit on others.

use layerwise_optim::ndarray::Array2;
use layerwise_optim::{Factor, Method, OneSidedKfac, OptimError, Signal};

use crate::data::{Images, Split};

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
    features: impl Fn(&Images) -> Array2<f64>,
    data: &Split,
) -> Result<f64, OptimError> {
    let inputs = features(&data.train);
    let mut head = Array2::<f64>::zeros((data.train.classes, inputs.ncols()));
    let targets = Array2::from_shape_fn((inputs.nrows(), head.nrows()), |(i, class)| {
        f64::from(u8::from(data.train.labels[i] == class))
    });
    let gradient = targets.t().dot(&inputs) / -(inputs.nrows() as f64);
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
