//! The networks' backward passes, against differences of their losses, in `f64`.

#![expect(clippy::unwrap_used, reason = "a failed test is a panic by design")]

use layerwise_optim::Scalar;
use layerwise_optim::ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix3};
use networks::data::Examples;
use networks::data::digits::digits;
use networks::data::text::play;
use networks::network::convolution::Convolution;
use networks::network::dense::Dense;
use networks::network::transformer::Transformer;
use networks::network::{Network, by_logits, draw, passes, score, softmax};
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Step of the central differences.
const H: f64 = 1e-5;
/// A mean of cross-entropies is right to some ε of itself; this leaves room for some tens.
const ROUNDINGS: f64 = 64.0;

const CONTEXT: usize = 6;

fn small_transformer() -> Transformer {
    Transformer {
        alphabet: play(CONTEXT).unwrap().alphabet.len(),
        context: CONTEXT,
        width: 8,
        heads: 2,
        hidden: 12,
        blocks: 2,
    }
}

/// Weights of which none is what training starts from: biases are not zero, gains not one.
fn weights<A: Scalar, N: Network<A>>(network: &N) -> Vec<Array2<A>> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut weight = |parameter: &networks::parameter::Parameter<A>| {
        let shift = A::from_f64(0.1);
        let mut weight = parameter.start(&mut rng);
        weight.mapv_inplace(|x| x + shift * A::from_f64(rng.sample(StandardNormal)));
        weight
    };
    network.parameters().iter().map(&mut weight).collect()
}

fn gradients<A: Scalar, N: Network<A>>(
    network: &N,
    weights: &[Array2<A>],
    batch: &N::Batch,
) -> Vec<Array2<A>> {
    let passes = passes(network, weights, batch, None).unwrap();
    let mut parameters = network.parameters();
    let signals = parameters.iter_mut().zip(&passes);
    signals.map(|(p, pass)| p.signal(pass).unwrap().gradient().to_owned()).collect()
}

/// The slope of the loss along a direction, and how far it may be off: the truncation of order H²,
/// of which steps of H and 2H differ by three times what is left at H, and rounding of order ε/H.
fn slope<N: Network<f64>>(
    network: &N,
    weights: &[Array2<f64>],
    batch: &N::Batch,
    direction: &[Array2<f64>],
) -> (f64, f64) {
    let loss = |t: f64| {
        let moved: Vec<_> = weights.iter().zip(direction).map(|(w, d)| w + &(d * t)).collect();
        score(network, &moved, batch).unwrap().loss
    };
    let central = |h: f64| (loss(h) - loss(-h)) / (2.0 * h);
    let (fine, coarse) = (central(H), central(2.0 * H));
    let rounding = ROUNDINGS * f64::EPSILON * loss(0.0) / H;
    (fine, (coarse - fine).abs() + rounding)
}

/// Of each parameter the entry with the largest derivative and five others, and one direction over
/// all of them.
fn gradients_are_those_of_the_loss<N: Network<f64>>(network: &N, batch: &N::Batch) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let weights = weights(network);
    let gradients = gradients(network, &weights, batch);
    let zeros: Vec<_> = weights.iter().map(|w| Array2::<f64>::zeros(w.dim())).collect();
    for (number, parameter) in network.parameters().iter().enumerate() {
        let gradient = &gradients[number];
        assert_eq!(gradient.dim(), parameter.shape);
        let mut largest = ((0, 0), 0.0);
        for (at, &x) in gradient.indexed_iter() {
            if x.abs() > largest.1 {
                largest = (at, x.abs());
            }
        }
        let (rows, columns) = parameter.shape;
        let others = (0..5).map(|_| (rng.random_range(0..rows), rng.random_range(0..columns)));
        for at in others.chain([largest.0]).collect::<Vec<_>>() {
            let mut direction = zeros.clone();
            direction[number][at] = 1.0;
            let (slope, tolerance) = slope(network, &weights, batch, &direction);
            let difference = (slope - gradient[at]).abs();
            let name = &parameter.name;
            assert!(difference <= tolerance, "{name} {at:?}: {slope} {} {tolerance}", gradient[at]);
            // A tolerance as large as what is tested would hide a wrong sign.
            assert!(tolerance < 1e-4 * largest.1, "{name}: {tolerance} for {}", largest.1);
        }
    }
    let mut direction = zeros;
    for entries in &mut direction {
        entries.mapv_inplace(|_| rng.sample(StandardNormal));
    }
    let norm = direction.iter().map(|d| d.mapv(|x| x * x).sum()).sum::<f64>().sqrt();
    direction.iter_mut().for_each(|d| d.mapv_inplace(|x| x / norm));
    let along: f64 = gradients.iter().zip(&direction).map(|(g, d)| (g * d).sum()).sum();
    let (slope, tolerance) = slope(network, &weights, batch, &direction);
    assert!((slope - along).abs() <= tolerance, "{slope} {along} {tolerance}");
    assert!(tolerance < 1e-4 * along.abs(), "{tolerance} for {along}");
}

#[test]
fn gradients_of_the_dense_network() {
    let batch = digits().unwrap().train.spread(20);
    gradients_are_those_of_the_loss(&Dense::new(10), &batch);
}

#[test]
fn gradients_of_the_convolutional_network() {
    let batch = digits().unwrap().train.spread(8);
    gradients_are_those_of_the_loss(&Convolution::new(10), &batch);
}

#[test]
fn gradients_of_the_transformer() {
    let batch = play(CONTEXT).unwrap().train.spread(9);
    gradients_are_those_of_the_loss(&small_transformer(), &batch);
}

/// In the precision of training: sums of some hundred terms, each right to a few ε of f32.
#[test]
fn gradients_in_f32_are_those_in_f64() {
    fn close<N: Network<f64>, M: Network<f32>>(double: (&N, &N::Batch), single: (&M, &M::Batch)) {
        let in_double = weights(double.0);
        let in_single: Vec<_> = in_double.iter().map(|w| w.mapv(|x| x as f32)).collect();
        let expected = gradients(double.0, &in_double, double.1);
        let found = gradients(single.0, &in_single, single.1);
        for (expected, found) in expected.iter().zip(&found) {
            let norm = |x: &Array2<f64>| x.mapv(|x| x * x).sum().sqrt();
            let difference = norm(&(found.mapv(f64::from) - expected)) / norm(expected);
            assert!(difference < 100.0 * f64::from(f32::EPSILON), "{difference}");
        }
    }
    let (double, single) = (digits().unwrap().train.spread(8), digits().unwrap().train.spread(8));
    close((&Dense::new(10), &double), (&Dense::new(10), &single));
    close((&Convolution::new(10), &double), (&Convolution::new(10), &single));
    let text = play(CONTEXT).unwrap().train.spread(9);
    close((&small_transformer(), &text), (&small_transformer(), &text));
}

/// No position sees what comes after it.
#[test]
fn attention_is_causal() {
    let network = small_transformer();
    let weights = weights::<f64, _>(&network);
    let mut batch = play(CONTEXT).unwrap().train.spread(2);
    let (before, _) = network.forward(&weights, &batch).unwrap();
    let changed = 3;
    batch.characters[changed] = (batch.characters[changed] + 1) % network.alphabet;
    let (after, _) = network.forward(&weights, &batch).unwrap();
    for (position, (before, after)) in before.rows().into_iter().zip(after.rows()).enumerate() {
        let sees = (changed..CONTEXT).contains(&position);
        assert_eq!(before != after, sees, "{position}");
    }
}

/// KFAC's factors of every layer of the transformer: the second moment over positions of what the
/// layer takes, and of derivatives by what it gives, which are added up from one loss at a time, each
/// with a label that is drawn for it.
#[test]
fn factors_of_the_transformer_are_moments_over_positions() {
    let network = small_transformer();
    let weights = weights::<f64, _>(&network);
    let batch = play(CONTEXT).unwrap().train.spread(4);
    let generator = || Xoshiro256PlusPlus::seed_from_u64(3);
    let passes = passes(&network, &weights, &batch, Some(&mut generator())).unwrap();

    let (logits, trace) = network.forward(&weights, &batch).unwrap();
    let probabilities = softmax(logits);
    let drawn = draw(&probabilities, &mut generator());
    assert_ne!(drawn, batch.next);
    let count = drawn.len();
    let of_mean = by_logits(&probabilities, &drawn);
    let mut sums: Option<Vec<ArrayD<f64>>> = None;
    for position in 0..count {
        let mut of_one = Array2::zeros(of_mean.dim());
        let row = &of_mean.row(position) * count as f64;
        of_one.row_mut(position).assign(&row);
        let derivatives = network.backward(&weights, &trace, of_one).unwrap();
        sums = Some(match sums {
            None => derivatives,
            Some(sums) => sums.into_iter().zip(derivatives).map(|(a, b)| a + b).collect(),
        });
    }
    let sums = sums.unwrap();
    let inputs = network.inputs(trace).unwrap();

    let moment = |rows: &ArrayD<f64>| {
        let rows = rows.view().into_dimensionality::<Ix3>().unwrap();
        let width = rows.dim().2;
        let mut moment = Array2::<f64>::zeros((width, width));
        for sequence in rows.outer_iter() {
            for x in sequence.rows() {
                let outer = &x.insert_axis(Axis(1)) * &x.insert_axis(Axis(0));
                moment += &(outer / count as f64);
            }
        }
        moment
    };
    let of_samples = |rows: ArrayView2<'_, f64>| rows.t().dot(&rows) / rows.nrows() as f64;
    let mut layers = 0;
    for (number, parameter) in Network::<f64>::parameters(&network).iter_mut().enumerate() {
        let name = parameter.name.clone();
        let signal = parameter.signal(&passes[number]).unwrap();
        let (Some(input), Some(output)) = (signal.input(), signal.output()) else { continue };
        layers += 1;
        let expected = [moment(inputs[number].as_ref().unwrap()), moment(&sums[number])];
        for (factor, expected) in [input, output].into_iter().zip(expected) {
            let found = of_samples(factor.array());
            let largest = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            let apart = (&found - &expected).iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            // Sums of some tens of terms in another order.
            assert!(apart <= 100.0 * f64::EPSILON * largest, "{name}: {apart}");
        }
    }
    assert_eq!(layers, 2 * 6 + 1);
}
