//! Random tasks: what they are, what they share, what is refused.

use std::sync::Arc;

use layerwise_data::ndarray::{Array1, Array2};
use layerwise_data::{
    Basis, Batch, Covariance, DataError, Law, LinearCovariates, LinearTask, LinearTaskSpec, Link,
    SingleIndexTask, Spectrum, Streams, Task,
};
use layerwise_linalg::singular_values;

fn spec() -> LinearTaskSpec {
    LinearTaskSpec {
        input_dimension: 12,
        output_dimension: 7,
        rank: 4,
        spectrum: Spectrum::LogSpaced { condition: 100.0 },
        basis: Basis::Haar,
        law: Law::Gaussian,
        head_condition: 10.0,
        noise: 0.1,
    }
}

fn largest(a: &Array2<f64>) -> f64 {
    a.iter().fold(0.0, |m, v| v.abs().max(m))
}

#[test]
fn a_drawn_task_is_as_specified() {
    let mut rng = Streams::new(1).stream("tasks", "drawn", 0);
    let task = spec().draw(&mut rng).unwrap();
    assert_eq!((task.input_dimension(), task.output_dimension(), task.rank()), (12, 7, 4));
    assert_eq!(task.noise(), 0.1);
    let g = task.representation();
    assert!(largest(&(g.dot(&g.t()) - Array2::<f64>::eye(4))) < 1e-14);
    let head = task.head();
    let values = singular_values(head).unwrap();
    // Singular values are accurate to ε σ_max, times κ = 10 relative to the smallest.
    assert!((values[0] / values[3] - 10.0).abs() < 1e-12);
    let ratio = values[0] / values[1];
    assert!((values[1] / values[2] - ratio).abs() < 1e-12);
    assert!(((&head * &head).sum() - 7.0).abs() < 1e-13);
    assert!(largest(&(head.dot(&g) - task.map())) < 1e-14);
    assert_eq!(task.covariates().law(), Law::Gaussian);
    assert!(
        (task.covariance().eigenvalues()[0] / task.covariance().eigenvalues()[11] - 100.0).abs()
            < 1e-10
    );
}

#[test]
fn one_dimensional_representations_need_no_condition_number() {
    let mut rng = Streams::new(1).stream("tasks", "rank one", 0);
    let task = LinearTaskSpec { rank: 1, ..spec() }.draw(&mut rng).unwrap();
    assert!(((&task.head() * &task.head()).sum() - 7.0).abs() < 1e-13);
}

#[test]
fn train_and_transfer_share_the_representation_alone() {
    let mut rng = Streams::new(1).stream("tasks", "pair", 0);
    let (train, transfer) = spec().draw_pair(&mut rng).unwrap();
    assert!(Arc::ptr_eq(&train.shared_representation(), &transfer.shared_representation()));
    assert!(largest(&(&train.head() - &transfer.head())) > 0.1);
    assert!(largest(&(&train.covariance().matrix() - &transfer.covariance().matrix())) > 0.1);

    let tasks = spec().draw_many(3, &mut rng).unwrap();
    assert_eq!(tasks.len(), 3);
    for pair in tasks.windows(2) {
        assert!(Arc::ptr_eq(&pair[0].shared_representation(), &pair[1].shared_representation()));
        assert!(largest(&(&pair[0].head() - &pair[1].head())) > 0.1);
    }
    assert!(largest(&(&tasks[0].representation() - &train.representation())) > 0.1);
}

#[test]
fn the_same_stream_draws_the_same_task_and_batch() {
    let draw = || {
        let mut rng = Streams::new(1).stream("tasks", "same", 3);
        let task = spec().draw(&mut rng).unwrap();
        let mut batch = Batch::with_dimensions(12, 7);
        task.draw_batch(9, &mut rng, &mut batch).unwrap();
        batch
    };
    assert_eq!(draw(), draw());
}

#[test]
fn noise_free_targets_are_the_map_of_the_inputs() {
    let mut rng = Streams::new(1).stream("tasks", "noise-free", 0);
    for law in [Law::Gaussian, Law::Signs, Law::Interval] {
        let task = LinearTaskSpec { noise: 0.0, law, ..spec() }.draw(&mut rng).unwrap();
        let mut batch = Batch::with_dimensions(12, 7);
        task.draw_batch(30, &mut rng, &mut batch).unwrap();
        let expected = batch.x().dot(&task.representation().t()).dot(&task.head().t());
        assert!(largest(&(&batch.y() - &expected)) < 1e-12);

        let single =
            SingleIndexTask::draw(Link::CentredRelu, task.covariates().clone(), 0.0, &mut rng)
                .unwrap();
        assert_eq!((single.input_dimension(), single.output_dimension()), (12, 1));
        let mut batch = Batch::with_dimensions(12, 1);
        single.draw_batch(30, &mut rng, &mut batch).unwrap();
        let index = batch.x().dot(&single.direction());
        for (y, z) in batch.y().iter().zip(&index) {
            assert!((y - single.link().value(*z)).abs() < 1e-13);
        }
    }
}

#[test]
fn single_index_noise_and_direction_have_their_scales() {
    let d = 4000;
    let mut rng = Streams::new(1).stream("tasks", "direction", 0);
    let covariance = Covariance::draw(&Spectrum::Isotropic, Basis::Axis, 40, &mut rng).unwrap();
    let covariates = LinearCovariates::new(Law::Gaussian, covariance);
    let task = SingleIndexTask::draw(Link::Identity, covariates.clone(), 0.5, &mut rng).unwrap();
    assert_eq!(task.noise(), 0.5);
    assert_eq!(task.covariates(), &covariates);
    let mut batch = Batch::with_dimensions(40, 1);
    task.draw_batch(d, &mut rng, &mut batch).unwrap();
    let residual = &batch.y().column(0) - &batch.x().dot(&task.direction());
    let variance = residual.dot(&residual) / d as f64;
    // σ²χ²_d/d has standard deviation σ²√(2/d); six of them, false alarm 2e-9.
    assert!((variance - 0.25).abs() < 6.0 * 0.25 * (2.0 / d as f64).sqrt());

    let squared_norms: f64 = (0..200)
        .map(|_| {
            let task =
                SingleIndexTask::draw(Link::Tanh, covariates.clone(), 0.0, &mut rng).unwrap();
            task.direction().dot(&task.direction())
        })
        .sum();
    // 200 times χ²_40/40: mean 200, variance 200·2/40.
    assert!((squared_norms - 200.0).abs() < 6.0 * 10_f64.sqrt());
}

#[test]
fn impossible_specifications_are_refused() {
    let mut rng = Streams::new(1).stream("tasks", "errors", 0);
    let mut text = |spec: LinearTaskSpec| {
        let error = spec.draw(&mut rng).unwrap_err();
        assert_eq!(spec.check().unwrap_err().to_string(), error.to_string());
        error.to_string()
    };
    assert_eq!(
        text(LinearTaskSpec { rank: 8, ..spec() }),
        "rank k = 8 exceeds min(d_X, d_Y) = min(12, 7)"
    );
    assert_eq!(text(LinearTaskSpec { rank: 0, ..spec() }), "rank k = 0: must be at least 1");
    for bad in [0.99, f64::NAN, f64::INFINITY] {
        assert_eq!(
            text(LinearTaskSpec { head_condition: bad, ..spec() }),
            format!("head condition number = {bad}: must be finite and at least 1")
        );
        assert_eq!(
            text(LinearTaskSpec { spectrum: Spectrum::LogSpaced { condition: bad }, ..spec() }),
            format!("condition number kappa = {bad}: must be finite and at least 1")
        );
    }
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(
            text(LinearTaskSpec { noise: bad, ..spec() }),
            format!("noise standard deviation sigma = {bad}: must be finite and non-negative")
        );
    }
    let shared = Arc::new(Array2::eye(12));
    let error = spec().draw_sharing(shared, &mut rng).unwrap_err();
    assert_eq!(error.to_string(), "representation is 12 x 12, expected 4 x 12");
    assert!(matches!(spec().draw_many(0, &mut rng), Err(DataError::TooFew { .. })));
}

#[test]
fn impossible_tasks_are_refused() {
    let mut rng = Streams::new(1).stream("tasks", "errors", 1);
    let covariance = Covariance::draw(&Spectrum::Isotropic, Basis::Haar, 3, &mut rng).unwrap();
    let covariates = LinearCovariates::new(Law::Signs, covariance);
    let linear = |head: Array2<f64>, g: Array2<f64>| {
        LinearTask::new(head, Arc::new(g), covariates.clone(), 0.1).unwrap_err()
    };
    let g = Array2::from_shape_fn((2, 3), |(i, j)| if i == j { 1.0 } else { 0.0 });
    assert_eq!(
        linear(Array2::ones((4, 3)), g.clone()).to_string(),
        "head is 4 x 3, expected 4 x 2"
    );
    assert_eq!(
        linear(Array2::ones((4, 2)), Array2::eye(2)).to_string(),
        "representation is 2 x 2, expected 2 x 3"
    );
    assert!(matches!(
        linear(Array2::ones((1, 2)), g.clone()),
        DataError::RankTooLarge { rank: 2, input_dimension: 3, output_dimension: 1 }
    ));
    assert!(matches!(
        linear(Array2::from_elem((4, 2), f64::NAN), g.clone()),
        DataError::NonFinite { what: "head", row: 0, column: 0, .. }
    ));
    assert!(matches!(
        linear(Array2::ones((4, 2)), g.clone() * f64::NAN),
        DataError::NonFinite { what: "representation", .. }
    ));
    assert_eq!(
        linear(Array2::ones((4, 2)), g * 2.0).to_string(),
        "representation: entry (0, 0) of G Gᵀ differs from the identity's by 3e0"
    );

    let single = |direction: Array1<f64>, link| {
        SingleIndexTask::new(direction, link, covariates.clone(), 0.1).unwrap_err()
    };
    assert!(matches!(single(Array1::ones(2), Link::Tanh), DataError::Shape { .. }));
    assert!(matches!(single(Array1::zeros(3), Link::Tanh), DataError::InvalidParameter { .. }));
    assert!(matches!(
        single(Array1::from_elem(3, f64::INFINITY), Link::Tanh),
        DataError::NonFinite { what: "direction", .. }
    ));
    assert!(matches!(single(Array1::ones(3), Link::Hermite(vec![])), DataError::TooFew { .. }));
}
