//! Stages by entries, rows and columns, each against its formula written anew: masks, shared second moments,
//! differences, curvatures, bounds and scales.

use crate::common::{generator, gradients, largest_difference, normal};
use layerwise_optim::chain::{
    Clipping, CurvatureDiagonalConfig, DiagonalConfig, MomentSharing, PolarConfig, PolarMethod,
    PsgdConfig, ShapeScale, StageConfig,
};
use layerwise_optim::layers::QkClip;
use layerwise_optim::ndarray::{Array2, Axis, array};
use layerwise_optim::parity::PolarDivisor;
use layerwise_optim::{
    Adafactor, AdamW, Averaging, Chain, Method, Muon, OptimError, Schedule, Signal, Signals, Sophia,
};

/// The directions of a chain of rate 1, of gradients that do not depend on the weight.
fn directions(chain: &Chain, gradients: &[Array2<f64>]) -> Vec<Array2<f64>> {
    let mut optimizer = chain.build::<f64>(gradients[0].dim()).unwrap();
    gradients
        .iter()
        .map(|gradient| {
            let mut weight = Array2::zeros(gradient.dim());
            optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
            -weight
        })
        .collect()
}

fn close(found: &Array2<f64>, expected: &Array2<f64>) {
    let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let error = largest_difference(found.view(), expected.view());
    // Sums of at most seven terms, a root and a quotient.
    assert!(error <= 16.0 * f64::EPSILON * scale, "{error:e} of {scale:e}");
}

#[test]
fn shared_moments_are_means_of_squares() {
    let gradients = gradients(41, 6, (4, 7));
    let (beta, epsilon) = (0.8, 1e-3);
    for sharing in [MomentSharing::Rows, MomentSharing::Columns, MomentSharing::RowsTimesColumns] {
        let config = DiagonalConfig {
            averaging: Averaging::Ema { beta: beta.into(), bias_correction: true },
            epsilon: epsilon.into(),
            sharing,
            ..DiagonalConfig::default()
        };
        let found = directions(&Chain::new(1.0).then(config), &gradients);
        let (mut rows, mut columns) = (Array2::<f64>::zeros((4, 1)), Array2::<f64>::zeros((1, 7)));
        let mut decay = 1.0;
        for (gradient, found) in gradients.iter().zip(found) {
            let squares = gradient.mapv(|g| g * g);
            let by_row = squares.mean_axis(Axis(1)).unwrap().insert_axis(Axis(1));
            let by_column = squares.mean_axis(Axis(0)).unwrap().insert_axis(Axis(0));
            rows = &rows * beta + &by_row * (1.0 - beta);
            columns = &columns * beta + &by_column * (1.0 - beta);
            decay *= beta;
            let expected = Array2::from_shape_fn((4, 7), |(i, j)| {
                let (r, c) = (rows[[i, 0]], columns[[0, j]]);
                let v = match sharing {
                    MomentSharing::Rows => r,
                    MomentSharing::Columns => c,
                    _ => r * c / rows.mean().unwrap(),
                };
                gradient[[i, j]] / ((v / (1.0 - decay)).sqrt() + epsilon)
            });
            close(&found, &expected);
        }
    }
}

#[test]
fn a_vector_shares_nothing_under_adafactor() {
    let gradients = gradients(42, 5, (1, 6));
    let plain = Chain::new(Adafactor::default().learning_rate)
        .then(DiagonalConfig {
            averaging: Averaging::Ema {
                beta: Schedule::growing_memory(0.8),
                bias_correction: false,
            },
            epsilon: 1e-15.into(),
            ..DiagonalConfig::default()
        })
        .then(Clipping::RootMeanSquare(1.0.into()))
        .then(StageConfig::RelativeToWeight(1e-3.into()));
    let adafactor = Adafactor::default().chain();
    for (found, expected) in
        directions(&adafactor, &gradients).iter().zip(directions(&plain, &gradients))
    {
        close(found, &expected);
    }
}

#[test]
fn dead_rows_and_columns_do_not_move() {
    for sharing in [MomentSharing::Rows, MomentSharing::Columns, MomentSharing::RowsTimesColumns] {
        let config = DiagonalConfig { epsilon: 0.0.into(), sharing, ..DiagonalConfig::default() };
        let mut gradient = normal::<f64>(&mut generator(43), (4, 5));
        gradient.row_mut(1).fill(0.0);
        gradient.column_mut(3).fill(0.0);
        for direction in directions(&Chain::new(1.0).then(config), &[gradient.clone(), gradient]) {
            assert!(direction.iter().all(|d| d.is_finite()));
            assert!(direction.row(1).iter().chain(direction.column(3)).all(|&d| d == 0.0));
        }
    }
}

#[test]
fn cautious_steps_go_down_the_gradient_alone() {
    let gradients = gradients(44, 8, (5, 6));
    let adam = AdamW { learning_rate: 1.0.into(), weight_decay: 0.0.into(), ..AdamW::default() };
    let plain = directions(&adam.chain(), &gradients);
    let cautious = directions(&adam.chain().then(StageConfig::Cautious), &gradients);
    let mut masked = 0;
    for ((gradient, plain), cautious) in gradients.iter().zip(&plain).zip(&cautious) {
        let agrees = |(&d, &g): (&f64, &f64)| d * g > 0.0;
        let share = plain.iter().zip(gradient).filter(|&pair| agrees(pair)).count() as f64 / 30.0;
        for ((&d, &g), &found) in plain.iter().zip(gradient).zip(cautious) {
            let expected = if d * g > 0.0 { d / share } else { 0.0 };
            assert!((found - expected).abs() <= 4.0 * f64::EPSILON * expected.abs());
            masked += usize::from(found == 0.0);
        }
    }
    assert!(masked > 20, "{masked}");
    // Where nothing agrees nothing moves; and products that vanish have signs all the same.
    let up = Chain::new(1.0).then(ShapeScale::Number(1.0)).then(StageConfig::Negate);
    let against = directions(&up.then(StageConfig::Cautious), &gradients[..1]);
    assert!(against[0].iter().all(|&d| d == 0.0));
    let tiny = array![[1e-200, -1e-200]];
    let kept =
        directions(&Chain::new(1.0).then(StageConfig::Cautious), std::slice::from_ref(&tiny));
    assert_eq!(kept[0], tiny);
}

#[test]
fn differences_are_of_what_arrived_before() {
    let gradients = gradients(45, 5, (3, 4));
    let found =
        directions(&Chain::new(1.0).then(StageConfig::AddDifference(0.7.into())), &gradients);
    assert_eq!(found[0], gradients[0]);
    for step in 1..5 {
        close(&found[step], &(&gradients[step] + (&gradients[step] - &gradients[step - 1]) * 0.7));
    }
}

#[test]
fn curvature_is_what_was_reported_last() {
    let gradient = array![[0.5, -2.0, 3.0]];
    let method = CurvatureDiagonalConfig {
        averaging: Averaging::Ema { beta: 0.5.into(), bias_correction: true },
        floor: 0.1.into(),
        ..CurvatureDiagonalConfig::default()
    };
    let mut optimizer = Chain::new(1.0).then(method).build::<f64>((1, 3)).unwrap();
    let mut take = |curvature: Option<&Array2<f64>>| {
        let mut weight = Array2::zeros((1, 3));
        let signal = Signal::new(gradient.view());
        let signal = curvature.map_or(signal, |curvature| signal.with_diagonal(curvature.view()));
        optimizer.step(&mut weight.view_mut(), &signal).map(|_| -weight)
    };
    close(&take(None).unwrap(), &(&gradient / 0.1));
    let (first, second) = (array![[2.0, -1.0, 4.0]], array![[8.0, 5.0, -4.0]]);
    close(&take(Some(&first)).unwrap(), &(&gradient / &array![[2.0, 0.1, 4.0]]));
    close(&take(None).unwrap(), &(&gradient / &array![[2.0, 0.1, 4.0]]));
    // (0.5 · 0.5 first + 0.5 second)/0.75
    let mean = (&first * 0.25 + &second * 0.5) / 0.75;
    close(&take(Some(&second)).unwrap(), &(&gradient / &mean.mapv(|h| h.max(0.1))));

    let error = take(Some(&array![[1.0, f64::NAN, 1.0]])).unwrap_err();
    let what = "diagonal of the second derivative";
    assert!(matches!(error, OptimError::NonFinite { what: w, row: 0, col: 1, .. } if w == what));
    let error = take(Some(&array![[1.0, 1.0]])).unwrap_err();
    assert_eq!(error.to_string(), format!("{what} is 1 × 2, expected 1 × 3"));
    close(&take(None).unwrap(), &(&gradient / &mean.mapv(|h| h.max(0.1))));
}

#[test]
fn a_layer_without_curvature_is_refused_when_it_is_set_up() {
    let error = Sophia::default().build_for::<f64>((2, 3), Signals::FACTORS).unwrap_err();
    assert_eq!(error, OptimError::MissingDiagonal);
    assert!(Sophia::default().build_for::<f64>((2, 3), Signals::DIAGONAL).is_ok());
}

#[test]
fn bounds_and_scales() {
    let gradient = array![[3.0, -4.0], [0.0, 0.0]]; // of root mean square 2.5
    let of = |stage: StageConfig| {
        directions(&Chain::new(1.0).then(stage), std::slice::from_ref(&gradient))
    };
    close(&of(Clipping::RootMeanSquare(0.5.into()).into())[0], &(&gradient * 0.2));
    assert_eq!(of(Clipping::RootMeanSquare(2.6.into()).into())[0], gradient);
    close(&of(ShapeScale::InverseMean.into())[0], &(&gradient * 0.5));

    let relative = Chain::new(1.0).then(StageConfig::RelativeToWeight(0.5.into()));
    let mut optimizer = relative.build::<f64>((2, 2)).unwrap();
    for (size, factor) in [(3.0, 3.0), (0.1, 0.5)] {
        let before = array![[size, -size], [size, size]];
        let mut weight = before.clone();
        optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
        close(&(before - weight), &(&gradient * factor));
    }
}

#[test]
fn clipped_queries_and_keys_have_the_logit_that_is_allowed() {
    let mut rng = generator(46);
    let (heads, width, inputs) = (4, 3, 6);
    for (key_heads, balance) in [(4, 0.5), (4, 1.0), (2, 0.3)] {
        let mut query = normal::<f64>(&mut rng, (heads * width, inputs)) * 4.0;
        let mut key = normal::<f64>(&mut rng, (key_heads * width, inputs)) * 4.0;
        let x = normal::<f64>(&mut rng, (10, inputs));
        let logits = |query: &Array2<f64>, key: &Array2<f64>| -> Vec<f64> {
            let (q, k) = (x.dot(&query.t()), x.dot(&key.t()));
            let of = |m: &Array2<f64>, head: usize| {
                m.slice_axis(Axis(1), (head * width..(head + 1) * width).into()).to_owned()
            };
            let served = heads / key_heads;
            let largest = |m: Array2<f64>| m.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            (0..heads).map(|h| largest(of(&q, h).dot(&of(&k, h / served).t()))).collect()
        };
        let before = logits(&query, &key);
        let mut sorted = before.clone();
        sorted.sort_by(f64::total_cmp);
        let clip = QkClip { threshold: 0.5 * (sorted[1] + sorted[2]), balance };
        clip.apply(&mut query.view_mut(), &mut key.view_mut(), &before).unwrap();
        let after = logits(&query, &key);
        for (before, after) in before.iter().zip(&after) {
            let most = clip.threshold * (1.0 + 1e-12);
            assert!(*after <= most, "{before} to {after}, allowed {}", clip.threshold);
            if key_heads == heads {
                let expected = before.min(clip.threshold);
                assert!((after - expected).abs() <= 1e-12 * expected);
            }
        }
    }
}

#[test]
fn projections_that_are_not_of_heads_are_refused() {
    let refused = |query: (usize, usize), key: (usize, usize), logits: &[f64], clip: QkClip| {
        let (mut query, mut key) = (Array2::<f64>::ones(query), Array2::<f64>::ones(key));
        let error = clip.apply(&mut query.view_mut(), &mut key.view_mut(), logits).unwrap_err();
        assert!(query.iter().chain(&key).all(|&w| w == 1.0));
        error
    };
    let default = QkClip::default();
    for (query, key, heads) in
        [((6, 2), (6, 2), 4), ((6, 2), (4, 2), 2), ((8, 2), (6, 2), 4), ((6, 2), (6, 2), 0)]
    {
        let error = refused(query, key, &vec![200.0; heads], default);
        assert!(matches!(error, OptimError::LayerShape { .. }), "{error}");
    }
    for (logit, clip, name) in [
        (f64::NAN, default, "largest logit"),
        (f64::INFINITY, default, "largest logit"),
        (1.0, QkClip { threshold: 0.0, ..default }, "threshold"),
        (1.0, QkClip { balance: 1.5, ..default }, "balance"),
    ] {
        let error = refused((4, 2), (4, 2), &[200.0, logit], clip);
        let named =
            matches!(&error, OptimError::InvalidHyperparameter { name: n, .. } if *n == name);
        assert!(named, "{error}");
    }
}

#[test]
fn schedules_of_the_newer_methods() {
    let power = Schedule::inverse_root(0.3, 1.0);
    assert_eq!([0, 15, 99].map(|t| power.value(t)), [0.3, 0.25, 0.1]);
    let memory = Schedule::growing_memory(0.8);
    assert_eq!(memory.value(0), 0.0);
    assert!((memory.value(31) - (1.0 - 2.0_f64.powi(-4))).abs() < 1e-15);
    let falling = Schedule::exponential(1.0, 0.03, 1e-3);
    assert_eq!(falling.value(0), 1.0);
    assert!((falling.value(1000) - (-1.0_f64).exp()).abs() < 1e-15);
    assert_eq!(falling.value(100_000), 0.03);
    // Values that are approached are in range, those that are met have to be.
    let adam = |beta2: Schedule| AdamW { beta2, ..AdamW::default() }.build::<f64>((2, 2));
    assert!(adam(Schedule::growing_memory(0.8)).is_ok());
    for bad in [
        Schedule::OneMinus(Box::new(0.0.into())),
        Schedule::OneMinus(Box::new(Schedule::linear(0.5, 0.0, 10))),
        Schedule::growing_memory(-1.0),
        Schedule::exponential(0.1, 0.5, 1.0),
        Schedule::exponential(0.9, 0.5, -1.0),
        Schedule::Power { largest: f64::NAN, scale: 1.0, exponent: 1.0 },
    ] {
        let error = adam(bad.clone()).unwrap_err();
        assert!(matches!(error, OptimError::InvalidHyperparameter { .. }), "{bad:?}: {error}");
    }
}

/// Numbers that single precision does not have are refused, or come to what it has, and never make a weight that is
/// not finite, also where a step could be taken in place.
#[test]
fn numbers_out_of_the_scalars_range_leave_the_weight_finite() {
    let chains = [
        Chain::new(1.0).then(ShapeScale::Number(1e300)),
        Sophia { gamma: 1e-40, ..Sophia::default() }.chain(),
        Sophia { epsilon: 1e-50, ..Sophia::default() }.chain(),
        Chain::new(1.0).then(CurvatureDiagonalConfig {
            floor: 1e-50.into(),
            ..CurvatureDiagonalConfig::default()
        }),
        Muon {
            polar: PolarConfig {
                method: PolarMethod::NewtonSchulz {
                    polynomials: vec![[1e-20, 0.0, 0.0], [1.0, 1e40, 0.0]],
                    steps: 2,
                    divisor: PolarDivisor::Plus(1e-7),
                },
                ..PolarConfig::default()
            },
            ..Muon::default()
        }
        .chain(),
    ];
    for chain in chains {
        for scale in [0.0, 1e-30, 1.0] {
            let mut optimizer = chain.build::<f32>((3, 4)).unwrap();
            let mut weight = Array2::<f32>::ones((3, 4));
            let gradient = normal::<f32>(&mut generator(47), (3, 4)) * scale;
            for _ in 0..2 {
                let before = (weight.clone(), optimizer.state());
                match optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())) {
                    Ok(_) => assert!(weight.iter().all(|w| w.is_finite()), "{chain:?}"),
                    Err(error) => {
                        let half = matches!(error, OptimError::HalfTaken { .. });
                        assert!(!half, "{chain:?}: {error}");
                        assert_eq!((weight.clone(), optimizer.state()), before, "{chain:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn factors_that_cannot_be_held_are_refused() {
    let config = PsgdConfig { max_dimension: usize::MAX, ..PsgdConfig::default() };
    let error = Chain::new(0.1).then(config).build::<f64>((8_000_000, 2)).unwrap_err();
    assert!(error.to_string().starts_with("there is no memory for a factor"), "{error}");
    for steps in [0, usize::MAX] {
        assert!(PolarMethod::cans(1e-3, steps).is_err());
    }
    assert!(PolarMethod::polar_express(0).is_err());
}
