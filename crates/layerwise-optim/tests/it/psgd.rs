//! The preconditioner that is fitted: it whitens, stays triangular and bounded, and draws the same signs anywhere.

use crate::common::{covariance, generator, normal};
use layerwise_optim::chain::PsgdConfig;
use layerwise_optim::ndarray::Array2;
use layerwise_optim::{Chain, OptimError, Scalar, Signal};

fn fitted(config: PsgdConfig) -> Chain {
    Chain::new(1.0).then(config)
}

/// The direction that a gradient of second moment `A ⊗ B` is turned into, step by step; the weight is what it
/// was subtracted from.
fn directions<A: Scalar>(
    config: &PsgdConfig,
    shape: (usize, usize),
    condition: f64,
    steps: usize,
) -> Vec<Array2<f64>> {
    let mut rng = generator(31);
    let (left, right) =
        (covariance(&mut rng, shape.0, condition), covariance(&mut rng, shape.1, condition));
    let mut optimizer = fitted(config.clone()).build::<A>(shape).unwrap();
    (0..steps)
        .map(|_| {
            let gradient = left.dot(&normal::<f64>(&mut rng, shape)).dot(&right).mapv(A::from_f64);
            let mut weight = Array2::<A>::zeros(shape);
            optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
            weight.mapv(|x| -x.as_f64())
        })
        .collect()
}

/// Largest over smallest eigenvalue of the mean of `D Dᵀ`, and the mean square of the entries.
fn spread(directions: &[Array2<f64>]) -> (f64, f64) {
    let rows = directions[0].nrows();
    let mut moment = Array2::<f64>::zeros((rows, rows));
    directions.iter().for_each(|d| moment += &d.dot(&d.t()));
    let entries = (directions.len() * directions[0].len()) as f64;
    let mean = moment.diag().sum() / entries;
    let values = layerwise_linalg::singular_values(moment.view()).unwrap();
    (values[0] / values[rows - 1], mean)
}

#[test]
fn it_whitens_what_arrives() {
    let config = PsgdConfig { share: 1.0.into(), ..PsgdConfig::default() };
    let directions = directions::<f64>(&config, (8, 12), 30.0, 1500);
    let (before, _) = spread(&directions[..50]);
    let (after, mean) = spread(&directions[1200..]);
    // The gradients' moment on the left is A², whose condition number is 900. The mean of 300 · 12 outer
    // products of eight dimensions is white to (1 + √(8/3600))²/(1 − √(8/3600))² = 1.2, and the fit, at a
    // rate of 0.1 by one pair a step, wanders by some 10 % of each factor about the optimum: ((1.1/0.9)²)².
    assert!(before > 100.0, "{before}");
    assert!(after < 1.2 * 2.24, "{after}");
    assert!((mean - 1.0).abs() < 0.25, "{mean}");
}

#[test]
fn a_gradient_of_zeros_is_no_fit() {
    let config = PsgdConfig { share: 1.0.into(), ..PsgdConfig::default() };
    let mut optimizer = fitted(config).build::<f64>((3, 4)).unwrap();
    let mut weight = Array2::<f64>::ones((3, 4));
    let zero = Array2::<f64>::zeros((3, 4));
    for _ in 0..50 {
        optimizer.step(&mut weight.view_mut(), &Signal::new(zero.view())).unwrap();
    }
    assert_eq!(weight, Array2::<f64>::ones((3, 4)));
    // Whatever was there before: the identity still.
    let gradient = normal::<f64>(&mut generator(33), (3, 4)) * 1e-3;
    let mut fresh = fitted(PsgdConfig { share: 1e-9.into(), ..PsgdConfig::default() })
        .build::<f64>((3, 4))
        .unwrap();
    let mut untouched = Array2::<f64>::zeros((3, 4));
    fresh.step(&mut untouched.view_mut(), &Signal::new(gradient.view())).unwrap();
    assert_eq!(untouched, -gradient);
}

#[test]
fn what_squares_do_not_hold_is_refused() {
    let config = PsgdConfig { share: 1.0.into(), ..PsgdConfig::default() };
    let mut optimizer = fitted(config).build::<f32>((3, 4)).unwrap();
    let gradient = Array2::<f32>::from_elem((3, 4), 1e25);
    let mut weight = Array2::<f32>::zeros((3, 4));
    let error = optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap_err();
    assert!(matches!(error, OptimError::Overflow { what: "a fitted factor", .. }), "{error}");
    assert_eq!(weight, Array2::<f32>::zeros((3, 4)));
}
