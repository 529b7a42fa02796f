//! Two hidden layers and a softmax, with the derivatives that optimizers ask for.

use layerwise_optim::ndarray::{Array2, s};
use rand::Rng;
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::data::{Images, PIXELS};

/// Widths of the two hidden layers.
pub const HIDDEN: [usize; 2] = [64, 32];
/// The parameters' names, in the order of the layers.
pub const NAMES: [&str; 3] = ["hidden.1", "hidden.2", "head"];

/// `softmax(W₃ [tanh(W₂ [tanh(W₁ [x, 1]), 1]), 1])`: each weight holds its bias as last column.
#[derive(Clone, Debug)]
pub struct Network {
    /// m × (n + 1) each.
    pub weights: [Array2<f64>; 3],
}

/// What a batch leads to, layer by layer.
#[derive(Clone, Debug)]
pub struct Derivatives {
    /// Of the mean loss with respect to each weight.
    pub gradients: [Array2<f64>; 3],
    /// The inputs of each layer, a sample a row, with a column of ones.
    pub inputs: [Array2<f64>; 3],
    /// Derivatives of each sample's loss with respect to each layer's output, for labels drawn
    /// from the network's own prediction: their second moment is the Fisher matrix that KFAC
    /// approximates (Martens and Grosse 2015, §2). Only where asked for.
    pub outputs: Option<[Array2<f64>; 3]>,
}

/// How well a network does.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of images whose label is the likeliest.
    pub accuracy: f64,
}

impl Network {
    /// Normal weights of variance one over the number of inputs; no biases.
    pub fn new(classes: usize, rng: &mut Xoshiro256PlusPlus) -> Self {
        let mut layer = |outputs: usize, inputs: usize| {
            let deviation = (inputs as f64).sqrt().recip();
            let mut weight = Array2::from_shape_simple_fn((outputs, inputs + 1), || {
                deviation * rng.sample::<f64, _>(StandardNormal)
            });
            weight.column_mut(inputs).fill(0.0);
            weight
        };
        Network {
            weights: [
                layer(HIDDEN[0], PIXELS),
                layer(HIDDEN[1], HIDDEN[0]),
                layer(classes, HIDDEN[1]),
            ],
        }
    }

    /// What the head reads: the second hidden layer, a sample a row, with a column of ones.
    #[must_use]
    pub fn features(&self, pixels: &Array2<f64>) -> Array2<f64> {
        let [_, _, features] = self.inputs(pixels);
        features
    }

    fn inputs(&self, pixels: &Array2<f64>) -> [Array2<f64>; 3] {
        let first = with_ones(pixels);
        let second = with_ones(&first.dot(&self.weights[0].t()).mapv(f64::tanh));
        let third = with_ones(&second.dot(&self.weights[1].t()).mapv(f64::tanh));
        [first, second, third]
    }

    /// Loss and accuracy.
    #[must_use]
    pub fn score(&self, images: &Images) -> Score {
        let probabilities = softmax(self.features(&images.pixels).dot(&self.weights[2].t()));
        let mut score = Score { loss: 0.0, accuracy: 0.0 };
        for (row, &label) in probabilities.rows().into_iter().zip(&images.labels) {
            score.loss -= row[label].max(f64::MIN_POSITIVE).ln();
            let is_likeliest = row.iter().enumerate().all(|(i, &p)| i == label || p < row[label]);
            score.accuracy += f64::from(u8::from(is_likeliest));
        }
        let n = images.labels.len() as f64;
        Score { loss: score.loss / n, accuracy: score.accuracy / n }
    }

    /// Gradients of the mean loss, and the other derivatives where they are asked for.
    pub fn derivatives(
        &self,
        images: &Images,
        outputs_by: Option<&mut Xoshiro256PlusPlus>,
    ) -> Derivatives {
        let inputs = self.inputs(&images.pixels);
        let probabilities = softmax(inputs[2].dot(&self.weights[2].t()));
        // The derivative of −ln p(label) by the logits is p − 1 at the label, p elsewhere.
        let by_logits = |labels: &[usize]| {
            let mut derivative = probabilities.clone();
            for (mut row, &label) in derivative.rows_mut().into_iter().zip(labels) {
                row[label] -= 1.0;
            }
            derivative
        };
        let outputs = self.backward(&inputs, by_logits(&images.labels));
        let n = images.labels.len() as f64;
        let gradient = |layer: usize| outputs[layer].t().dot(&inputs[layer]) / n;
        let gradients = [gradient(0), gradient(1), gradient(2)];
        let outputs = outputs_by.map(|rng| {
            let drawn: Vec<usize> = probabilities
                .rows()
                .into_iter()
                .map(|row| draw(row.iter().copied(), rng.random()))
                .collect();
            self.backward(&inputs, by_logits(&drawn))
        });
        Derivatives { gradients, inputs, outputs }
    }

    /// Derivatives of each sample's loss by each layer's output, from those by the logits.
    fn backward(&self, inputs: &[Array2<f64>; 3], by_logits: Array2<f64>) -> [Array2<f64>; 3] {
        let through = |layer: usize, derivative: &Array2<f64>| {
            let width = inputs[layer].ncols() - 1;
            let activations = inputs[layer].slice(s![.., ..width]);
            let mut back = derivative.dot(&self.weights[layer].slice(s![.., ..width]));
            back.zip_mut_with(&activations, |d, &a| *d *= 1.0 - a * a);
            back
        };
        let second = through(2, &by_logits);
        let first = through(1, &second);
        [first, second, by_logits]
    }
}

/// The first index at which the sum of probabilities passes a number from 0 to 1.
fn draw(probabilities: impl ExactSizeIterator<Item = f64>, uniform: f64) -> usize {
    let last = probabilities.len() - 1;
    let mut sum = 0.0;
    probabilities
        .take(last)
        .position(|p| {
            sum += p;
            uniform < sum
        })
        .unwrap_or(last)
}

fn with_ones(rows: &Array2<f64>) -> Array2<f64> {
    let mut wider = Array2::ones((rows.nrows(), rows.ncols() + 1));
    wider.slice_mut(s![.., ..rows.ncols()]).assign(rows);
    wider
}

fn softmax(mut logits: Array2<f64>) -> Array2<f64> {
    for mut row in logits.rows_mut() {
        let largest = row.fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        row.mapv_inplace(|x| (x - largest).exp());
        let sum = row.sum();
        row /= sum;
    }
    logits
}
