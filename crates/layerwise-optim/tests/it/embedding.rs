//! Embeddings: what they report is what a dense layer of unit vectors reports, and KFAC with a diagonal factor is
//! KFAC with the whole of it.

use crate::common::{covariance, generator, largest_difference, normal};
use layerwise_optim::chain::DiagonalFactorConfig;
use layerwise_optim::factor::RootMethod;
use layerwise_optim::layers::{Derivatives, Embedding, Linear};
use layerwise_optim::linalg::LinalgError;
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::{Array1, Array2, Array3, Axis, array};
use layerwise_optim::{
    Averaging, Chain, EmbeddingKfac, Factor, Kfac, Method, OptimError, Refresh, Scalar, Side,
    Signal,
};
use rand::Rng;

const TOKENS: usize = 9;
const DIMENSIONS: usize = 4;

/// Tokens of a steep distribution (token 7 never occurs), and derivatives: N × T and N × T × d.
fn batch(seed: u64, samples: usize, places: usize) -> (Array2<usize>, Array3<f64>) {
    let mut rng = generator(seed);
    let tokens = Array2::from_shape_simple_fn((samples, places), || {
        let token = (rng.random::<f64>().powi(3) * TOKENS as f64) as usize;
        if token == 7 { 0 } else { token }
    });
    let derivatives = normal::<f64>(&mut generator(seed + 1), (samples * places, DIMENSIONS))
        .into_shape_with_order((samples, places, DIMENSIONS))
        .unwrap();
    (tokens, derivatives)
}

fn unit_vectors(tokens: &Array2<usize>) -> Array3<f64> {
    let (samples, places) = tokens.dim();
    Array3::from_shape_fn((samples, places, TOKENS), |(n, t, v)| {
        f64::from(u8::from(tokens[[n, t]] == v))
    })
}

fn second_moment(factor: &Factor<'_, f64>) -> Array2<f64> {
    match factor {
        Factor::Samples(rows) => rows.t().dot(rows) / rows.nrows() as f64,
        Factor::Diagonal(diagonal) => Array2::from_diag(diagonal),
        other => other.array().to_owned(),
    }
}

#[test]
fn it_reports_what_a_dense_layer_of_unit_vectors_does() {
    let (tokens, derivatives) = batch(51, 6, 5);
    let drawn = batch(61, 6, 5).1;
    let mut dense = Linear::<f64>::new(DIMENSIONS, TOKENS);
    let mut embedding = Embedding::<f64>::new(DIMENSIONS, TOKENS);
    let inputs = unit_vectors(&tokens);
    for kind in 0..3 {
        let of = |view| match kind {
            0 => Derivatives::OfEachLoss(view),
            1 => Derivatives::OfMeanLoss(view),
            _ => Derivatives::OfMeanOverPositions(view),
        };
        for with_curvature in [false, true] {
            let (expected, found) = if with_curvature {
                (
                    dense.report_with(inputs.view(), of(derivatives.view()), of(drawn.view())),
                    embedding.report_with(tokens.view(), of(derivatives.view()), of(drawn.view())),
                )
            } else {
                (
                    dense.report(inputs.view(), of(derivatives.view())),
                    embedding.report(tokens.view(), of(derivatives.view())),
                )
            };
            let (expected, found) = (expected.unwrap(), found.unwrap());
            // Sums of 30 terms in two orders.
            let close = |a: &Array2<f64>, b: &Array2<f64>| {
                let scale = b.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                largest_difference(a.view(), b.view()) <= 30.0 * f64::EPSILON * scale
            };
            assert!(close(&found.gradient().to_owned(), &expected.gradient().to_owned()));
            for (a, b) in [(found.input(), expected.input()), (found.output(), expected.output())] {
                assert!(close(&second_moment(a.unwrap()), &second_moment(b.unwrap())), "{kind}");
            }
        }
    }
}

/// The weight after steps on batches, by either layer.
fn trained<A: Scalar>(method: &impl Method, is_dense: bool, cast: fn(f64) -> A) -> Array2<A> {
    let mut weight = normal::<f64>(&mut generator(71), (DIMENSIONS, TOKENS)).mapv(cast);
    let mut optimizer = method.build::<A>(weight.dim()).unwrap();
    let mut dense = Linear::<A>::new(DIMENSIONS, TOKENS);
    let mut embedding = Embedding::<A>::new(DIMENSIONS, TOKENS);
    for step in 0..15 {
        let (tokens, derivatives) = batch(100 + 2 * step, 7, 3);
        let derivatives = derivatives.mapv(cast);
        let inputs = unit_vectors(&tokens).mapv(cast);
        let of = Derivatives::OfEachLoss(derivatives.view());
        let signal = if is_dense {
            dense.report(inputs.view(), of).unwrap()
        } else {
            embedding.report(tokens.view(), of).unwrap()
        };
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
    }
    weight
}

#[test]
fn kfac_of_the_diagonal_is_kfac_of_the_whole_factor() {
    let averaging = Averaging::Ema { beta: 0.9.into(), bias_correction: true };
    for (output, input) in [(0.1, 1e-3), (1e-3, 0.1)] {
        let whole = Kfac {
            averaging: averaging.clone(),
            damping: KfacDamping::per_factor(output, input),
            refresh: Refresh::default(),
            norm_constraint: None,
            ..Kfac::default()
        };
        let diagonal = EmbeddingKfac {
            averaging: averaging.clone(),
            output_damping: output.into(),
            input_damping: input.into(),
            root: RootMethod::Inverse,
            refresh: Refresh::default(),
            norm_constraint: None,
            ..EmbeddingKfac::default()
        };
        let expected = trained::<f64>(&whole, true, |x| x);
        let found = trained::<f64>(&diagonal, false, |x| x);
        let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        // Inverses of condition number up to 1/1e-3 on each side, fifteen steps.
        let tolerance = 15.0 * 2.0 * 1e3 * f64::EPSILON * scale;
        let error = largest_difference(found.view(), expected.view());
        assert!(error <= tolerance, "{error:e}, tolerance {tolerance:e}");
        // A token that never occurs does not move.
        let start = normal::<f64>(&mut generator(71), (DIMENSIONS, TOKENS));
        assert_eq!(found.column(7), start.column(7));
        // In single precision the same but for rounding.
        let single = trained::<f32>(&diagonal, false, |x| x as f32).mapv(f64::from);
        let error = largest_difference(single.view(), found.view());
        let tolerance = tolerance / f64::EPSILON * f64::from(f32::EPSILON);
        assert!(error > 0.0 && error <= tolerance, "{error:e}, tolerance {tolerance:e}");
    }
}

#[test]
fn a_diagonal_is_taken_of_any_form() {
    let mut rng = generator(81);
    let moment = covariance(&mut rng, 5, 50.0);
    let lower = layerwise_linalg::Cholesky::new(moment.view(), 0.0).unwrap().lower().to_owned();
    let samples = lower.t().to_owned() * 5.0_f64.sqrt();
    let diagonal: Array1<f64> = moment.diag().to_owned();
    let gradient = normal::<f64>(&mut rng, (3, 5));
    for side in [Side::Left, Side::Right] {
        let gradient = if side == Side::Left { gradient.t().to_owned() } else { gradient.clone() };
        let config = DiagonalFactorConfig {
            damping: 0.25.into(),
            exponent: 0.5,
            averaging: Averaging::None,
            ..DiagonalFactorConfig::new(side)
        };
        let chain = Chain::new(1.0).then(config);
        for factor in [
            Factor::Diagonal(diagonal.view()),
            Factor::SecondMoment(moment.view()),
            Factor::Cholesky(lower.view()),
            Factor::Samples(samples.view()),
        ] {
            let mut weight = Array2::<f64>::zeros(gradient.dim());
            let signal = Signal::new(gradient.view());
            let signal = match side {
                Side::Left => signal.with_output(factor),
                Side::Right => signal.with_input(factor),
            };
            chain.build(weight.dim()).unwrap().step(&mut weight.view_mut(), &signal).unwrap();
            let axis = if side == Side::Left { Axis(1) } else { Axis(0) };
            let roots = diagonal.mapv(|a| (a + 0.25).sqrt()).insert_axis(axis);
            let expected = -(&gradient / &roots);
            let error = largest_difference(weight.view(), expected.view());
            // Sums of five squares, a root and a quotient, of entries of order ten.
            assert!(error <= 10.0 * 16.0 * f64::EPSILON, "{side:?}: {error:e}");
        }
    }
}

#[test]
fn what_an_embedding_cannot_report_is_refused() {
    let mut embedding = Embedding::<f64>::new(2, 3);
    let derivatives = Array2::<f64>::ones((2, 2));
    let of = || Derivatives::OfEachLoss(derivatives.view());
    let error = embedding.report(array![0, 3].view(), of()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "token 3 is not one of an embedding's 3, which are counted from 0"
    );
    let error = embedding.report(array![0, 1, 2].view(), of()).unwrap_err();
    assert_eq!(error.to_string(), "derivatives 2 × 2 has to be 3 × 2");
    let none = Array2::<f64>::ones((0, 2));
    let error = embedding
        .report(Array1::<usize>::zeros(0).view(), Derivatives::OfEachLoss(none.view()))
        .unwrap_err();
    assert!(matches!(error, OptimError::LayerShape { what: "tokens", .. }), "{error}");

    // A method with whole factors, and a diagonal that is none.
    let signal = embedding.report(array![0, 2].view(), of()).unwrap();
    let mut weight = Array2::<f64>::zeros((2, 3));
    let mut kfac = Kfac::default().build(weight.dim()).unwrap();
    let error = kfac.step(&mut weight.view_mut(), &signal).unwrap_err();
    assert_eq!(error, OptimError::DiagonalFactor { side: Side::Right });
    let negative = array![0.5, -0.1, 0.6];
    let gradient = Array2::<f64>::ones((2, 3));
    let signal = Signal::new(gradient.view())
        .with_input(Factor::Diagonal(negative.view()))
        .with_output(Factor::SecondMoment(derivatives.view()));
    let mut optimizer = EmbeddingKfac::default().build(weight.dim()).unwrap();
    let error = optimizer.step(&mut weight.view_mut(), &signal).unwrap_err();
    let source = LinalgError::NotPositiveDefinite { minor: 2 };
    assert_eq!(error, OptimError::Factor { side: Side::Right, source });
    assert_eq!(weight, Array2::<f64>::zeros((2, 3)));
}
