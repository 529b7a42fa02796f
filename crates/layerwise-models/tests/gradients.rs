//! Gradients against finite differences, and the curvature solvers against dense matrices.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is a panic by design")]

use layerwise_data::{Batch, Link, Moments};
use layerwise_linalg::{Cholesky, SymmetricEigen};
use layerwise_models::ndarray::{Array1, Array2, ArrayView2, s};
use layerwise_models::{
    EmpiricalFisher, FisherWorkspace, GaussNewton, InputNorm, LeastSquaresHead, LinearPass,
    ModelError, SingleIndexStudent, SpectralMoment, StudentPass, TwoLayerLinear,
    empirical_fisher_matrix, gauss_newton_matrix,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

fn normals(rows: usize, columns: usize, rng: &mut Xoshiro256PlusPlus) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || StandardNormal.sample(rng))
}

struct Case {
    net: TwoLayerLinear,
    batch: Batch,
    moments: Moments,
}

/// A network and a batch with correlated inputs, d_Y outputs, width k, d_X inputs.
fn case(seed: u64, (outputs, k, inputs): (usize, usize, usize), samples: usize) -> Case {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let net =
        TwoLayerLinear::new(normals(outputs, k, &mut rng), normals(k, inputs, &mut rng)).unwrap();
    let mixing = normals(inputs, inputs, &mut rng);
    let x = normals(samples, inputs, &mut rng).dot(&mixing);
    let y = normals(samples, outputs, &mut rng) + x.dot(&normals(inputs, outputs, &mut rng));
    let batch = Batch::new(x, y).unwrap();
    let moments = Moments::from_batch(&batch).unwrap();
    Case { net, batch, moments }
}

fn batch_loss(net: &TwoLayerLinear, batch: &Batch) -> f64 {
    let residual = batch.x().dot(&net.predictor().unwrap().t()) - batch.y();
    0.5 * residual.iter().map(|r| r * r).sum::<f64>() / batch.x().nrows() as f64
}

/// Central differences of a function that is quadratic in each single weight are exact but for
/// rounding: `ε · loss / step`, here with a hundredfold margin for the sum over samples.
fn difference_tolerance(loss: f64, step: f64) -> f64 {
    100.0 * f64::EPSILON * loss / step
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn linear_gradients_are_the_losss(seed in 0_u64..u64::MAX, outputs in 1_usize..5, k in 1_usize..4, extra in 0_usize..4, samples in 1_usize..12) {
        let shape = (outputs, k, k + extra);
        let Case { net, batch, moments } = case(seed, shape, samples);
        let mut pass = LinearPass::with_shape(shape);
        pass.joint(&net, &moments).unwrap();
        let loss = batch_loss(&net, &batch);
        // Moments and samples round differently, in sums of about n·d terms of the loss's size
        // before cancellation.
        let scale = loss + moments.yy_trace();
        prop_assert!((pass.loss(&net, &moments) - loss).abs() <= 1e-12 * scale);

        let step = 1e-3;
        for layer in 0..2 {
            let gradient = if layer == 0 { pass.representation_gradient() } else { pass.head_gradient() };
            for ((i, j), &expected) in gradient.indexed_iter() {
                let shifted = |by: f64| {
                    let mut net = net.clone();
                    let weights = &mut if layer == 0 { net.representation_mut() } else { net.head_mut() };
                    weights[[i, j]] += by;
                    batch_loss(&net, &batch)
                };
                let (up, down) = (shifted(step), shifted(-step));
                let tolerance = difference_tolerance(up.max(down) + scale, step);
                prop_assert!(((up - down) / (2.0 * step) - expected).abs() <= tolerance);
            }
        }
        // Sequential passes see the same numbers as the joint one.
        let mut sequential = LinearPass::with_shape(shape);
        sequential.representation(&net, &moments).unwrap();
        sequential.head(&net, &moments).unwrap();
        prop_assert_eq!(sequential.representation_gradient(), pass.representation_gradient());
        prop_assert_eq!(sequential.head_gradient(), pass.head_gradient());
    }

    #[test]
    fn least_squares_head_zeroes_its_gradient(seed in 0_u64..u64::MAX, outputs in 1_usize..5, k in 1_usize..4, extra in 0_usize..4) {
        let shape = (outputs, k, k + extra);
        let Case { mut net, moments, .. } = case(seed, shape, 30);
        let mut pass = LinearPass::with_shape(shape);
        pass.head(&net, &moments).unwrap();
        let eigen = SymmetricEigen::new(pass.features()).unwrap();
        let condition = eigen.values()[k - 1] / eigen.values()[0];
        prop_assume!(condition < 1e6);
        LeastSquaresHead::with_shape(outputs, k).fit(&mut net, &pass).unwrap();
        let size = pass.targets_features().iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        pass.head(&net, &moments).unwrap();
        for gradient in pass.head_gradient() {
            prop_assert!(gradient.abs() <= 100.0 * k as f64 * f64::EPSILON * condition.sqrt() * size);
        }
    }

    /// ε times the condition number of the system bounds the difference of two backward-stable
    /// solves; a factor of 1000 covers dimensions and the two-stage elimination.
    #[test]
    fn gauss_newton_solve_equals_the_dense_one(seed in 0_u64..u64::MAX, outputs in 1_usize..5, k in 1_usize..4, extra in 0_usize..4, exponent in -4.0..1.0_f64) {
        let shape = (outputs, k, k + extra);
        let Case { net, moments, .. } = case(seed, shape, 40);
        let damping = 10.0_f64.powf(exponent);
        let matrix = gauss_newton_matrix(&net, moments.xx()).unwrap();
        let mut pass = LinearPass::with_shape(shape);
        pass.joint(&net, &moments).unwrap();
        let dense = dense_solve(matrix.view(), &stack(pass.representation_gradient(), pass.head_gradient()), damping);
        let mut spectrum = SpectralMoment::with_dimension(shape.2);
        spectrum.decompose(moments.xx()).unwrap();
        let mut solver = GaussNewton::new(shape, damping).unwrap();
        solver.solve(&net, &pass, &spectrum).unwrap();
        let (representation, head) = solver.direction();
        let largest = SymmetricEigen::new(matrix.view()).unwrap().values().last().copied().unwrap();
        assert_close(&stack(representation, head), &dense, 1000.0 * f64::EPSILON * (largest + damping) / damping);
    }

    #[test]
    fn empirical_fisher_solve_equals_the_dense_one(seed in 0_u64..u64::MAX, outputs in 1_usize..5, k in 1_usize..4, extra in 0_usize..4, samples in 1_usize..25, exponent in -3.0..1.0_f64) {
        let shape = (outputs, k, k + extra);
        let Case { net, batch, moments } = case(seed, shape, samples);
        let damping = 10.0_f64.powf(exponent);
        let matrix = empirical_fisher_matrix(&net, &batch).unwrap();
        let mut pass = LinearPass::with_shape(shape);
        pass.joint(&net, &moments).unwrap();
        let dense = dense_solve(matrix.view(), &stack(pass.representation_gradient(), pass.head_gradient()), damping);
        let mut solver = EmpiricalFisher::new(shape, samples, damping).unwrap();
        let gram = batch.x().dot(&batch.x().t());
        let mut workspace = FisherWorkspace::with_samples(samples);
        solver.solve(&net, &batch, gram.view(), &mut workspace).unwrap();
        let (representation, head) = solver.direction();
        let largest = SymmetricEigen::new(matrix.view()).unwrap().values().last().copied().unwrap();
        assert_close(&stack(representation, head), &dense, 1000.0 * f64::EPSILON * (largest + damping) / damping);
    }

    #[test]
    fn student_gradient_is_the_losss(seed in 0_u64..u64::MAX, hidden in 1_usize..6, inputs in 1_usize..6, samples in 1_usize..9) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let x = normals(samples, inputs, &mut rng);
        let batch = Batch::new(x, normals(samples, 1, &mut rng)).unwrap();
        let head = Array1::from_shape_simple_fn(hidden, || StandardNormal.sample(&mut rng));
        let weights = normals(hidden, inputs, &mut rng);
        for link in [Link::Tanh, Link::Hermite(vec![0.3, -1.0, 0.5, 0.2])] {
            let student = SingleIndexStudent::new(weights.clone(), head.clone(), link.clone()).unwrap();
            let mut pass = StudentPass::with_shape(samples, hidden, inputs);
            pass.evaluate(&student, &batch).unwrap();
            let gradient = pass.gradient().to_owned();
            let step = 1e-4;
            for ((i, j), expected) in gradient.indexed_iter() {
                let mut shifted = |by: f64| {
                    let mut weights = weights.clone();
                    weights[[i, j]] += by;
                    let student = SingleIndexStudent::new(weights, head.clone(), link.clone()).unwrap();
                    pass.evaluate(&student, &batch).unwrap();
                    pass.loss()
                };
                let (up, middle, down) = (shifted(step), shifted(0.0), shifted(-step));
                // Truncation is step²/6 times a third derivative. For normal weights and inputs
                // (|g·x| < 40 here) that derivative of a cubic link's squared loss stays below
                // 10⁴ (1 + loss) max|x|³ ≤ 10⁶ (1 + loss).
                let tolerance = step * step / 6.0 * 1e6 * (1.0 + middle) + difference_tolerance(up.max(down), step);
                prop_assert!(((up - down) / (2.0 * step) - expected).abs() <= tolerance);
            }
        }
    }
}

fn stack(representation: ArrayView2<f64>, head: ArrayView2<f64>) -> Array1<f64> {
    representation.iter().chain(head).copied().collect()
}

fn dense_solve(matrix: ArrayView2<f64>, gradient: &Array1<f64>, damping: f64) -> Array1<f64> {
    let mut column = gradient.clone().into_shape_with_order((gradient.len(), 1)).unwrap();
    Cholesky::new(matrix, damping).unwrap().solve_left(&mut column.view_mut()).unwrap();
    column.column(0).to_owned()
}

fn assert_close(found: &Array1<f64>, expected: &Array1<f64>, tolerance: f64) {
    let norm = |v: &Array1<f64>| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&(found - expected));
    assert!(difference <= tolerance * norm(expected), "{difference} against {}", norm(expected));
}

/// The Gauss-Newton matrix is `Ê[JᵀJ]`, J by finite differences: exact, as `F G x` is linear in
/// every single weight.
#[test]
fn gauss_newton_matrix_is_the_mean_of_jacobian_products() {
    let shape = (3, 2, 4);
    let Case { net, batch, moments } = case(5, shape, 7);
    let parameters = 2 * 4 + 3 * 2;
    let mut expected = Array2::<f64>::zeros((parameters, parameters));
    for x in batch.x().rows() {
        let mut jacobian = Array2::<f64>::zeros((3, parameters));
        for p in 0..parameters {
            let mut moved = net.clone();
            if p < 8 {
                moved.representation_mut()[[p / 4, p % 4]] += 1.0;
            } else {
                moved.head_mut()[[(p - 8) / 2, (p - 8) % 2]] += 1.0;
            }
            let change = (moved.predictor().unwrap() - net.predictor().unwrap()).dot(&x);
            jacobian.column_mut(p).assign(&change);
        }
        expected += &(jacobian.t().dot(&jacobian) / 7.0);
    }
    let matrix = gauss_newton_matrix(&net, moments.xx()).unwrap();
    let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    for (a, b) in matrix.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-13 * scale);
    }
}

#[test]
fn normalized_inputs_have_unit_variance_and_refuse_constants() {
    let Case { batch, moments, .. } = case(9, (2, 2, 5), 11);
    let mut norm = InputNorm::with_dimension(5);
    let mut normalized = Moments::with_dimensions(5, 2);
    norm.normalize(&moments, &mut normalized).unwrap();
    let mean = normalized.x_mean();
    for (square, mean) in normalized.xx().diag().iter().zip(mean) {
        // Second moment minus squared mean; rounding of the subtraction is ε (1 + mean²).
        assert!((square - mean * mean - 1.0).abs() < 32.0 * f64::EPSILON * (1.0 + mean * mean));
    }
    let scaled = Batch::new(&batch.x() * &norm.scale(), batch.y().to_owned()).unwrap();
    let direct = Moments::from_batch(&scaled).unwrap();
    for (a, b) in normalized.yx().iter().zip(direct.yx()) {
        assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()));
    }
    let mut constant = batch.x().to_owned();
    constant.slice_mut(s![.., 3]).fill(2.0);
    let constant = Moments::from_batch(&Batch::new(constant, batch.y().to_owned()).unwrap());
    let error = norm.normalize(&constant.unwrap(), &mut normalized).unwrap_err();
    assert_eq!(
        error.to_string(),
        "batch variance of an input is 0, but must be finite, and above the rounding errors of its \
         computation"
    );
}

#[test]
fn bad_shapes_and_dampings_are_refused() {
    let error = TwoLayerLinear::new(Array2::zeros((3, 2)), Array2::zeros((4, 5))).unwrap_err();
    assert_eq!(error.to_string(), "head: expected shape (3, 4), found (3, 2)");
    for damping in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            GaussNewton::new((2, 2, 2), damping),
            Err(ModelError::InvalidParameter { name: "damping λ", .. })
        ));
    }
    let Case { net, batch, .. } = case(1, (2, 2, 3), 6);
    let gram = Array2::zeros((5, 5));
    let mut workspace = FisherWorkspace::with_samples(6);
    let mut solver = EmpiricalFisher::new((2, 2, 3), 6, 1.0).unwrap();
    let error = solver.solve(&net, &batch, gram.view(), &mut workspace);
    assert!(matches!(error, Err(ModelError::Shape { what: "Gram matrix of the inputs", .. })));
    let student =
        SingleIndexStudent::new(Array2::zeros((2, 3)), Array1::zeros(3), Link::Tanh).unwrap_err();
    assert_eq!(student.to_string(), "head: expected shape (2, 1), found (3, 1)");
    let weights = Array2::from_elem((2, 3), f64::NAN);
    let student = SingleIndexStudent::new(weights, Array1::zeros(2), Link::Relu).unwrap_err();
    assert_eq!(student.to_string(), "weight is NaN, but must be finite");

    // Storage for three outputs, a network with two.
    let mut solver = EmpiricalFisher::new((3, 2, 3), 6, 1.0).unwrap();
    let gram = Array2::zeros((6, 6));
    let error = solver.solve(&net, &batch, gram.view(), &mut workspace);
    assert!(matches!(error, Err(ModelError::Shape { what: "head", .. })));
    let mut pass = LinearPass::with_shape(net.shape());
    pass.joint(&net, &Moments::from_batch(&batch).unwrap()).unwrap();
    let mut solver = GaussNewton::new((3, 2, 3), 1.0).unwrap();
    let error = solver.solve(&net, &pass, &SpectralMoment::with_dimension(3));
    assert!(matches!(error, Err(ModelError::Shape { what: "head", .. })));
    let mut other = net.clone();
    let error = LeastSquaresHead::with_shape(3, 2).fit(&mut other, &pass);
    assert!(matches!(error, Err(ModelError::Shape { what: "head", .. })));
    assert_eq!(other, net);
}
