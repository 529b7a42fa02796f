//! Two convolutions, a pooling and a softmax, on images.

use layerwise_optim::Scalar;
use layerwise_optim::layers::Conv2d;
use layerwise_optim::ndarray::{Array2, Array4, ArrayD, ArrayView4};

use crate::data::digits::{Images, SIDE};
use crate::error::Result;
use crate::network::{Network, affine, affine_back, tanh};
use crate::parameter::Parameter;

/// Channels of the two convolutions.
pub const CHANNELS: [usize; 2] = [16, 32];
/// Height and width of the windows that are averaged.
const POOL: usize = 2;
/// Height and width of what the second convolution gives.
const SECOND_SIDE: usize = SIDE / 2;
/// Height and width of what the pooling gives.
const POOLED_SIDE: usize = SECOND_SIDE / POOL;
/// What the head takes.
const FEATURES: usize = CHANNELS[1] * POOLED_SIDE * POOLED_SIDE;

/// A 3 × 3 convolution to 16 channels of 8 × 8, one with stride 2 to 32 channels of 4 × 4, tanh after
/// each, means over windows of 2 × 2, and a dense head. Each weight holds its bias as last column.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    classes: usize,
}

/// What a forward pass leaves, images first.
#[derive(Clone, Debug)]
pub struct Trace<A> {
    /// N × 1 × 8 × 8.
    images: Array4<A>,
    /// N × 16 × 8 × 8.
    first: Array4<A>,
    /// N × 32 × 4 × 4.
    second: Array4<A>,
    /// N × 128.
    pooled: Array2<A>,
}

impl Convolution {
    /// For images of so many classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Convolution { classes }
    }
}

fn first<A: Scalar>() -> Conv2d<A> {
    Conv2d::new(CHANNELS[0], 1, (3, 3)).with_padding((1, 1)).with_bias()
}

fn second<A: Scalar>() -> Conv2d<A> {
    let layer = Conv2d::new(CHANNELS[1], CHANNELS[0], (3, 3));
    layer.with_stride((2, 2)).with_padding((1, 1)).with_bias()
}

/// The convolution and tanh, N × O × H × W.
fn convolve<A: Scalar>(
    mut layer: Conv2d<A>,
    inputs: ArrayView4<'_, A>,
    weight: &Array2<A>,
) -> Result<Array4<A>> {
    let (samples, _, height, width) = inputs.dim();
    let (height, width) = layer.output_size((height, width))?;
    // The bias is the weight's last column, and the patches end in a 1.
    let outputs = layer.patches(inputs)?.dot(&weight.t()).mapv_into(tanh);
    channels_second(outputs, (samples, height, width))
}

/// Rows of channels, a place each, as N × C × H × W. Nothing is moved in memory.
fn channels_second<A: Scalar>(
    rows: Array2<A>,
    (samples, height, width): (usize, usize, usize),
) -> Result<Array4<A>> {
    let channels = rows.ncols();
    let rows = rows.into_shape_with_order((samples, height, width, channels))?;
    Ok(rows.permuted_axes([0, 3, 1, 2]))
}

/// Means over windows, N × (C·H/2·W/2).
fn pool<A: Scalar>(inputs: &Array4<A>) -> Array2<A> {
    let mut means = Array2::zeros((inputs.dim().0, FEATURES));
    for ((sample, channel, y, x), &value) in inputs.indexed_iter() {
        means[[sample, feature(channel, y, x)]] += value * share();
    }
    means
}

/// Which feature a place of a channel is part of.
fn feature(channel: usize, y: usize, x: usize) -> usize {
    (channel * POOLED_SIDE + y / POOL) * POOLED_SIDE + x / POOL
}

/// What a place counts in its window's mean.
fn share<A: Scalar>() -> A {
    A::from_f64(1.0 / (POOL * POOL) as f64)
}

impl<A: Scalar> Network<A> for Convolution {
    type Batch = Images<A>;
    type Trace = Trace<A>;

    fn parameters(&self) -> Vec<Parameter<A>> {
        vec![
            Parameter::convolution("convolution.1", first()),
            Parameter::convolution("convolution.2", second()),
            Parameter::dense("head", self.classes, FEATURES),
        ]
    }

    fn labels<'b>(&self, batch: &'b Images<A>) -> &'b [usize] {
        &batch.labels
    }

    fn forward(&self, weights: &[Array2<A>], batch: &Images<A>) -> Result<(Array2<A>, Trace<A>)> {
        let count = batch.labels.len();
        let images = batch.pixels.clone().into_shape_with_order((count, 1, SIDE, SIDE))?;
        let first = convolve(first(), images.view(), &weights[0])?;
        let second = convolve(second(), first.view(), &weights[1])?;
        let pooled = pool(&second);
        Ok((affine(pooled.view(), &weights[2]), Trace { images, first, second, pooled }))
    }

    fn backward(
        &self,
        weights: &[Array2<A>],
        trace: &Trace<A>,
        by_logits: Array2<A>,
    ) -> Result<Vec<ArrayD<A>>> {
        let by_pooled = affine_back(&by_logits, &weights[2]);
        let samples = by_pooled.nrows();
        // A place a row, as the weight takes and gives them.
        let places = SECOND_SIDE * SECOND_SIDE;
        let by_second = Array2::from_shape_fn((samples * places, CHANNELS[1]), |(row, channel)| {
            let (sample, y, x) = (row / places, row % places / SECOND_SIDE, row % SECOND_SIDE);
            let h = trace.second[[sample, channel, y, x]];
            by_pooled[[sample, feature(channel, y, x)]] * share() * (A::one() - h * h)
        });
        let by_patches = by_second.dot(&weights[1]);
        let mut by_first = second::<A>().scatter(by_patches.view(), samples, (SIDE, SIDE))?;
        by_first.zip_mut_with(&trace.first, |d, &h| *d *= A::one() - h * h);
        let by_second = channels_second(by_second, (samples, SECOND_SIDE, SECOND_SIDE))?;
        Ok(vec![by_first.into_dyn(), by_second.into_dyn(), by_logits.into_dyn()])
    }

    fn inputs(&self, trace: Trace<A>) -> Result<Vec<Option<ArrayD<A>>>> {
        let Trace { images, first, pooled, .. } = trace;
        Ok(vec![Some(images.into_dyn()), Some(first.into_dyn()), Some(pooled.into_dyn())])
    }
}
