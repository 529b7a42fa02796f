//! Which network is trained on what.

use crate::data::Examples;
use crate::data::digits::{Images, Split};
use crate::data::text::{Play, Text};
use crate::network::Network;
use crate::network::convolution::Convolution;
use crate::network::dense::Dense;
use crate::network::transformer::Transformer;
use crate::plot::LossAxis;

/// Examples that a training loss is measured on, at most.
const SCORED: usize = 2048;
/// The same of windows of text, each of which has as many losses as positions.
const SCORED_WINDOWS: usize = 64;
/// Characters of a window.
pub const CONTEXT: usize = 32;

/// A network with the examples that it is trained on and tested on.
#[derive(Clone, Debug)]
pub struct Task<N, E: Examples> {
    /// A title for tables and plots.
    pub title: String,
    /// The network.
    pub network: N,
    /// What steps take their batches from.
    pub train: E,
    /// What the training loss is measured on.
    pub scored: E::Batch,
    /// What the held-out loss and the accuracy are measured on.
    pub held_out: E::Batch,
    /// Examples a step.
    pub batch: usize,
    /// The training loss in nats up to which steps and seconds are counted.
    pub target: f64,
    /// How losses are drawn.
    pub axis: LossAxis,
}

/// How long runs are, and how often they are repeated.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Steps of a run, ≥ 1.
    pub steps: usize,
    /// Steps from one point of a curve to the next, ≥ 1.
    pub every: usize,
    /// Runs with other starts and batches to choose a rate on.
    pub tuning_runs: u64,
    /// Runs with yet others that are shown.
    pub shown_runs: u64,
}

impl Budget {
    /// The same with an eighth of the steps, and one run of each kind.
    #[must_use]
    pub fn quick(self) -> Self {
        Budget { steps: self.steps.div_ceil(8), tuning_runs: 1, shown_runs: 1, ..self }
    }
}

/// The dense network on images of digits.
#[must_use]
pub fn dense(split: Split<f32>) -> Task<Dense, Images<f32>> {
    let network = Dense::new(split.train.classes);
    on_digits("Dense network, two hidden layers, on handwritten digits", network, split, 128)
}

/// The convolutional network on images of digits.
#[must_use]
pub fn convolution(split: Split<f32>) -> Task<Convolution, Images<f32>> {
    let network = Convolution::new(split.train.classes);
    on_digits("Convolutional network on handwritten digits", network, split, 64)
}

fn on_digits<N: Network<f32>>(
    title: &str,
    network: N,
    split: Split<f32>,
    batch: usize,
) -> Task<N, Images<f32>> {
    Task {
        title: title.to_owned(),
        network,
        scored: split.train.spread(SCORED),
        held_out: split.test.spread(SCORED),
        train: split.train,
        batch,
        target: 0.05,
        axis: LossAxis::Logarithmic,
    }
}

/// The transformer on the text of a play, read through windows of [`CONTEXT`] characters.
#[must_use]
pub fn transformer(play: Play) -> Task<Transformer, Text> {
    let network = Transformer {
        alphabet: play.alphabet.len(),
        context: CONTEXT,
        width: 48,
        heads: 4,
        hidden: 192,
        blocks: 2,
    };
    Task {
        title: "Transformer, two blocks, on the characters of a play".to_owned(),
        network,
        scored: play.train.spread(SCORED_WINDOWS),
        held_out: play.held_out.spread(SCORED_WINDOWS),
        train: play.train,
        batch: 16,
        target: 2.3,
        axis: LossAxis::UpTo(3.2),
    }
}
