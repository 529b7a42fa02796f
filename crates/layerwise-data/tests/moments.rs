//! Identities that hold for every batch and every draw of moments.
#![expect(clippy::unwrap_used, reason = "a call that fails is a test that fails")]

use layerwise_data::ndarray::{Array1, Array2, s};
use layerwise_data::{
    Basis, Batch, Covariates, DataError, Law, LinearTask, LinearTaskSpec, Moments, Spectrum,
    Streams, Task,
};
use layerwise_linalg::SymmetricEigen;
use proptest::prelude::*;

fn task(law: Law, basis: Basis, d_x: usize, d_y: usize, kappa: f64, seed: u64) -> LinearTask {
    let spec = LinearTaskSpec {
        input_dimension: d_x,
        output_dimension: d_y,
        rank: 1,
        spectrum: Spectrum::LogSpaced { condition: kappa },
        basis,
        law,
        head_condition: 1.0,
        noise: 0.7,
    };
    spec.draw(&mut Streams::new(seed).stream("moments", "task", 0)).unwrap()
}

fn largest(a: &Array2<f64>) -> f64 {
    a.iter().fold(0.0, |m, v| v.abs().max(m))
}

fn law() -> impl Strategy<Value = Law> {
    prop_oneof![Just(Law::Gaussian), Just(Law::Signs), Just(Law::Interval)]
}

fn basis() -> impl Strategy<Value = Basis> {
    prop_oneof![Just(Basis::Axis), Just(Basis::Haar)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// For d_Y = 1 the second moments of (x, y, 1) are known whole: W = Ê[(x, y, 1)(x, y, 1)ᵀ], a
    /// Gram matrix of n vectors in d_X + 2 dimensions: positive semidefinite of rank min(n, d_X + 2).
    #[test]
    fn joint_moments_are_a_gram_matrix(
        law in law(), basis in basis(), d in 1_usize..12, n in 1_usize..30, seed in 0_u64..10_000,
    ) {
        let task = task(law, basis, d, 1, 10.0, seed);
        let mut moments = Moments::with_dimensions(d, 1);
        let mut rng = Streams::new(seed).stream("moments", "draw", 0);
        task.draw_moments(n, &mut rng, &mut moments).unwrap();
        let mut joint = Array2::zeros((d + 2, d + 2));
        joint.slice_mut(s![..d, ..d]).assign(&moments.xx());
        joint.slice_mut(s![d, ..d]).assign(&moments.yx().row(0));
        joint.slice_mut(s![..d, d]).assign(&moments.yx().row(0));
        joint[[d, d]] = moments.yy_trace();
        joint.slice_mut(s![d + 1, ..d]).assign(&moments.x_mean());
        joint.slice_mut(s![..d, d + 1]).assign(&moments.x_mean());
        joint[[d, d + 1]] = moments.y_mean()[0];
        joint[[d + 1, d]] = moments.y_mean()[0];
        joint[[d + 1, d + 1]] = 1.0;
        let eigen = SymmetricEigen::new(joint.view()).unwrap();
        let values = eigen.values();
        // Rounding of the moments, at most some 100 operations deep, and of the eigenvalues; a
        // factor with squared pivots down to 1e-8 gives back up to 1e-8 of that.
        let scale = values[d + 1];
        prop_assert!(values[0] > -1e-11 * scale, "{values}");
        for k in 0..(d + 2).saturating_sub(n) {
            prop_assert!(values[k].abs() < 1e-11 * scale, "{k}: {values}");
        }
        if n >= d + 4 && law == Law::Gaussian {
            prop_assert!(values[0] > 0.0);
        }
    }

    #[test]
    fn the_known_factor_is_the_cholesky_factor(
        law in law(), basis in basis(), d in 1_usize..25, extra in 0_usize..60,
        log_kappa in 0.0..8.0_f64, seed in 0_u64..10_000,
    ) {
        let task = task(law, basis, d, 2, 10_f64.powf(log_kappa), seed);
        let n = d + extra;
        let mut moments = Moments::with_dimensions(d, 2);
        let mut rng = Streams::new(seed).stream("moments", "draw", 1);
        task.draw_moments(n, &mut rng, &mut moments).unwrap();
        let xx = moments.xx();
        prop_assert_eq!(xx, xx.t());
        match moments.xx_lower() {
            Some(lower) => {
                prop_assert!(lower.indexed_iter().all(|((i, j), &v)| j <= i || v == 0.0));
                prop_assert!(lower.diag().iter().all(|&v| v > 0.0));
                let product = lower.dot(&lower.t()) - moments.xx();
                // d products, and the white factor's backward error d ε, on the scale of Σ̂.
                let scale = moments.xx().diag().iter().fold(0.0_f64, |m, &v| v.max(m));
                prop_assert!(largest(&product) < 8.0 * (d + 2) as f64 * f64::EPSILON * scale);
            }
            None => prop_assert!(law != Law::Gaussian),
        }
    }

    #[test]
    fn moments_of_a_batch_are_its_sums(n in 1_usize..20, seed in 0_u64..1000) {
        let (d_x, d_y) = (4, 3);
        let task = task(Law::Interval, Basis::Haar, d_x, d_y, 5.0, seed);
        let mut batch = Batch::with_dimensions(d_x, d_y);
        let mut rng = Streams::new(seed).stream("moments", "batch", 0);
        task.draw_batch(n, &mut rng, &mut batch).unwrap();
        let moments = Moments::from_batch(&batch).unwrap();
        let (x, y) = (batch.x(), batch.y());
        let mean = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        for i in 0..d_x {
            prop_assert!(near(moments.x_mean()[i], mean(&|s| x[[s, i]])));
            for j in 0..d_x {
                prop_assert!(near(moments.xx()[[i, j]], mean(&|s| x[[s, i]] * x[[s, j]])));
            }
            for o in 0..d_y {
                prop_assert!(near(moments.yx()[[o, i]], mean(&|s| y[[s, o]] * x[[s, i]])));
            }
        }
        for o in 0..d_y {
            prop_assert!(near(moments.y_mean()[o], mean(&|s| y[[s, o]])));
        }
        prop_assert!(near(moments.yy_trace(), mean(&|s| y.row(s).dot(&y.row(s)))));
        prop_assert!(moments.xx_lower().is_none());
        prop_assert_eq!(moments.sample_size(), n);
    }

    #[test]
    fn scaled_inputs_have_the_scaled_batchs_moments(n in 1_usize..20, seed in 0_u64..1000) {
        let task = task(Law::Interval, Basis::Haar, 4, 3, 5.0, seed);
        let mut batch = Batch::with_dimensions(4, 3);
        let mut rng = Streams::new(seed).stream("moments", "scaled", 0);
        task.draw_batch(n, &mut rng, &mut batch).unwrap();
        let scale = Array1::from(vec![0.25, 3.0, 1.0, 7.5]);
        let scaled = Batch::new(&batch.x() * &scale, batch.y().to_owned()).unwrap();
        let expected = Moments::from_batch(&scaled).unwrap();
        let mut moments = Moments::with_dimensions(4, 3);
        Moments::from_batch(&batch).unwrap().scale_inputs_into(scale.view(), &mut moments).unwrap();
        // Entries below 7.5²·20, sums of n terms.
        prop_assert!(largest(&(&moments.xx() - &expected.xx())) < 1e-11);
        prop_assert!(largest(&(&moments.yx() - &expected.yx())) < 1e-11);
        prop_assert!((&moments.x_mean() - &expected.x_mean()).iter().all(|e| e.abs() < 1e-12));
        prop_assert_eq!(moments.y_mean(), expected.y_mean());
        prop_assert_eq!(moments.yy_trace(), expected.yy_trace());
        prop_assert_eq!(moments.sample_size(), n);
    }
}

#[test]
fn the_factor_follows_a_scaling_of_the_inputs() {
    let task = task(Law::Gaussian, Basis::Haar, 6, 2, 100.0, 1);
    let mut rng = Streams::new(1).stream("moments", "factor", 0);
    let mut moments = Moments::with_dimensions(6, 2);
    task.draw_moments(50, &mut rng, &mut moments).unwrap();
    let scale = Array1::from_shape_fn(6, |i| 0.5 + i as f64);
    let mut scaled = Moments::with_dimensions(6, 2);
    moments.scale_inputs_into(scale.view(), &mut scaled).unwrap();
    assert_eq!(scaled.xx(), scaled.xx().reversed_axes());
    let lower = scaled.xx_lower().unwrap();
    assert!(largest(&(lower.dot(&lower.t()) - scaled.xx())) < 1e-12);
    moments
        .set_from_batch(&Batch::new(Array2::ones((3, 6)), Array2::ones((3, 2))).unwrap())
        .unwrap();
    moments.scale_inputs_into(scale.view(), &mut scaled).unwrap();
    assert!(scaled.xx_lower().is_none());
}

/// A small batch after a large one, and back: storage follows, values are those of fresh storage.
#[test]
fn storage_leaves_no_trace() {
    for law in [Law::Gaussian, Law::Signs, Law::Interval] {
        for basis in [Basis::Haar, Basis::Axis] {
            let task = task(law, basis, 6, 2, 10.0, 3);
            let mut reused = Moments::with_dimensions(6, 2);
            for (trial, n) in [40, 3, 100, 6, 7, 200, 40].into_iter().enumerate() {
                let mut rng = Streams::new(5).stream("moments", "storage", trial as u64);
                task.draw_moments(n, &mut rng.clone(), &mut reused).unwrap();
                let mut fresh = Moments::with_dimensions(6, 2);
                task.draw_moments(n, &mut rng, &mut fresh).unwrap();
                assert_eq!(reused.xx(), fresh.xx());
                assert_eq!(reused.xx_lower(), fresh.xx_lower());
                assert_eq!(reused.yx(), fresh.yx());
                assert_eq!(reused.yy_trace(), fresh.yy_trace());
                assert_eq!(reused.x_mean(), fresh.x_mean());
                assert_eq!(reused.y_mean(), fresh.y_mean());
                assert_eq!(reused.clone().xx(), fresh.xx());
            }
        }
    }
}

#[test]
fn what_is_no_batch_is_refused() {
    let error = Batch::new(Array2::zeros((3, 2)), Array2::zeros((4, 1))).unwrap_err();
    assert_eq!(error.to_string(), "targets y is 4 x 1, expected 3 x 1");
    let error = Batch::new(Array2::zeros((0, 2)), Array2::zeros((0, 1))).unwrap_err();
    assert_eq!(error.to_string(), "sample size n = 0: must be at least 1");
    let mut y = Array2::zeros((3, 2));
    y[[2, 1]] = f64::INFINITY;
    let error = Batch::new(Array2::zeros((3, 2)), y.clone()).unwrap_err();
    assert_eq!(error.to_string(), "targets y has a non-finite entry inf at row 2, column 1");

    let mut batch = Batch::new(Array2::ones((3, 2)), Array2::ones((3, 1))).unwrap();
    let before = batch.clone();
    assert!(matches!(
        batch.set(y.view(), Array2::zeros((3, 1)).view()),
        Err(DataError::NonFinite { what: "inputs x", row: 2, column: 1, .. })
    ));
    assert_eq!(batch, before);
    batch.set(Array2::zeros((5, 2)).view(), Array2::ones((5, 1)).view()).unwrap();
    assert_eq!((batch.sample_size(), batch.input_dimension(), batch.output_dimension()), (5, 2, 1));
    assert_eq!(batch.into_parts(), (Array2::zeros((5, 2)), Array2::ones((5, 1))));
}

#[test]
fn moments_refuse_what_does_not_fit_and_stay_as_they_were() {
    let task = task(Law::Gaussian, Basis::Haar, 3, 2, 10.0, 1);
    let mut rng = Streams::new(5).stream("moments", "errors", 0);
    let mut moments = Moments::with_dimensions(3, 2);
    task.draw_moments(10, &mut rng, &mut moments).unwrap();
    let before = moments.xx().to_owned();

    let error = task.draw_moments(0, &mut rng, &mut moments).unwrap_err();
    assert_eq!(error, DataError::TooFew { name: "sample size n", value: 0, least: 1 });
    let other = Batch::new(Array2::ones((4, 2)), Array2::ones((4, 2))).unwrap();
    let error = moments.set_from_batch(&other).unwrap_err();
    assert_eq!(error.to_string(), "moment storage (d_Y x d_X) is 2 x 3, expected 2 x 2");
    let error = moments.set_from_batch(&Batch::with_dimensions(3, 2)).unwrap_err();
    assert!(matches!(error, DataError::TooFew { .. }));
    let noise = task.covariates().draw_noise_moments(4, -1.0, &mut rng, &mut moments).unwrap_err();
    assert_eq!(
        noise.to_string(),
        "noise standard deviation sigma = -1: must be finite and non-negative"
    );
    let mut wrong = Moments::with_dimensions(2, 2);
    assert!(matches!(
        task.draw_moments(5, &mut rng, &mut wrong),
        Err(DataError::Shape { expected: (2, 3), found: (2, 2), .. })
    ));
    assert_eq!(wrong.sample_size(), 0);
    let scale = Array1::from(vec![1.0, 0.0, 1.0]);
    let mut out = Moments::with_dimensions(3, 2);
    let error = moments.scale_inputs_into(scale.view(), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "input scale = 0: must be finite and positive");
    assert!(moments.scale_inputs_into(Array1::ones(2).view(), &mut out).is_err());
    assert!(moments.scale_inputs_into(Array1::ones(3).view(), &mut wrong).is_err());
    assert_eq!(moments.xx(), before);
    assert_eq!(moments.sample_size(), 10);

    let mut batch = Batch::with_dimensions(2, 2);
    assert!(matches!(task.draw_batch(5, &mut rng, &mut batch), Err(DataError::Shape { .. })));
    let mut batch = Batch::with_dimensions(3, 2);
    assert!(matches!(task.draw_batch(0, &mut rng, &mut batch), Err(DataError::TooFew { .. })));
    assert_eq!(batch.sample_size(), 0);
    let mut narrow = Array2::zeros((4, 2));
    let error = task.covariates().draw(&mut rng, &mut narrow.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "inputs is 4 x 2, expected 4 x 3");
    assert_eq!(narrow, Array2::<f64>::zeros((4, 2)));
}

#[test]
fn given_moments_are_checked() {
    let of = |n, xx: Array2<f64>, yx: Array2<f64>, trace| {
        let (d_y, d_x) = yx.dim();
        Moments::from_parts(n, xx, yx, trace, Array1::zeros(d_x), Array1::zeros(d_y))
    };
    let identity = Array2::eye(2);
    let yx = Array2::ones((3, 2));
    let moments = of(9, identity.clone(), yx.clone(), 4.0).unwrap();
    assert_eq!((moments.sample_size(), moments.yy_trace()), (9, 4.0));
    assert_eq!((moments.input_dimension(), moments.output_dimension()), (2, 3));
    assert!(moments.xx_lower().is_none());

    assert!(matches!(of(0, identity.clone(), yx.clone(), 1.0), Err(DataError::TooFew { .. })));
    assert!(matches!(of(1, Array2::eye(3), yx.clone(), 1.0), Err(DataError::Shape { .. })));
    let error = of(1, identity.clone(), yx.clone(), f64::NAN).unwrap_err();
    assert_eq!(error.to_string(), "tr E[y yT] = NaN: must be finite and non-negative");
    let error = of(1, identity.clone(), yx.clone() * f64::NAN, 1.0).unwrap_err();
    assert!(matches!(error, DataError::NonFinite { what: "E[y xT]", .. }));
    let mut skewed = identity.clone();
    skewed[[1, 0]] = 0.5;
    let error = of(1, skewed, yx.clone(), 1.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "E[x xT] is not symmetric: entries (0, 1) and (1, 0) differ by -5e-1"
    );
    let short =
        Moments::from_parts(1, identity, yx, 1.0, Array1::zeros(3), Array1::zeros(3)).unwrap_err();
    assert_eq!(short.to_string(), "E[x] is 3 x 1, expected 2 x 1");
}
