//! Parameters: their names, shapes and starts, and the signals that optimizers take of them.

use layerwise_optim::layers::{Conv2d, Derivatives, Linear};
use layerwise_optim::ndarray::{Array2, ArrayD, ArrayViewD, Ix2, Ix4, IxDyn};
use layerwise_optim::{Scalar, Signal};
use rand::Rng;
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::error::Result;

/// One parameter of a network, with its layer's storage for what it reports.
#[derive(Clone, Debug)]
pub struct Parameter<A> {
    /// What optimizers know it by.
    pub name: String,
    /// Rows and columns of its weight.
    pub shape: (usize, usize),
    /// Deviation of the normal numbers that it starts with; 0 for ones.
    deviation: f64,
    has_bias: bool,
    layer: Layer<A>,
}

/// Who makes the signal.
#[derive(Clone, Debug)]
enum Layer<A> {
    /// A dense layer with one loss a sample.
    Dense(Linear<A>),
    /// A dense layer at every position of a sequence, each of which has a loss.
    Positions(Linear<A>),
    /// A convolution.
    Convolution(Conv2d<A>),
    /// None: an embedding or a gain, of which there is a gradient alone.
    None,
}

/// What a backward pass leaves of one parameter.
#[derive(Clone, Debug)]
pub struct Pass<A> {
    /// The layer's inputs, samples first, without the constant 1 of a bias; `None` of an embedding
    /// or a gain.
    pub inputs: Option<ArrayD<A>>,
    /// Derivatives of the mean loss by the layer's outputs, or by the embedding or gain itself.
    pub derivatives: ArrayD<A>,
    /// The same of the mean loss for labels that are drawn from the network's own prediction, of
    /// which KFAC makes its factor of the Fisher matrix (Martens and Grosse 2015, §2); only where
    /// asked for.
    pub drawn: Option<ArrayD<A>>,
}

impl<A: Scalar> Parameter<A> {
    /// A dense layer with one loss a sample and a bias as its last column.
    pub fn dense(name: impl Into<String>, outputs: usize, inputs: usize) -> Self {
        let layer = Linear::new(outputs, inputs).with_bias();
        let shape = layer.weight_shape();
        Self::layer(name, shape, inputs, true, Layer::Dense(layer))
    }

    /// A dense layer without bias at every position of a sequence, each of which has a loss.
    pub fn positions(name: impl Into<String>, outputs: usize, inputs: usize) -> Self {
        let layer = Linear::new(outputs, inputs);
        let shape = layer.weight_shape();
        Self::layer(name, shape, inputs, false, Layer::Positions(layer))
    }

    /// A convolution with a bias as its last column.
    pub fn convolution(name: impl Into<String>, layer: Conv2d<A>) -> Self {
        let shape = layer.weight_shape();
        Self::layer(name, shape, shape.1 - 1, true, Layer::Convolution(layer))
    }

    /// An embedding, a row for each thing, which starts with normal numbers of this deviation.
    pub fn embedding(name: impl Into<String>, shape: (usize, usize), deviation: f64) -> Self {
        Parameter { name: name.into(), shape, deviation, has_bias: false, layer: Layer::None }
    }

    /// Factors of so many entries, which start as ones.
    pub fn gain(name: impl Into<String>, width: usize) -> Self {
        Self::embedding(name, (1, width), 0.0)
    }

    /// Weights of variance one over the number of inputs.
    fn layer(
        name: impl Into<String>,
        shape: (usize, usize),
        inputs: usize,
        has_bias: bool,
        layer: Layer<A>,
    ) -> Self {
        let deviation = (inputs as f64).sqrt().recip();
        Parameter { name: name.into(), shape, deviation, has_bias, layer }
    }

    /// Whether it is a layer's weight, and not an embedding or a gain.
    #[must_use]
    pub fn is_weight(&self) -> bool {
        !matches!(self.layer, Layer::None)
    }

    /// What training starts from: normal numbers, no biases, gains of one.
    pub fn start(&self, rng: &mut Xoshiro256PlusPlus) -> Array2<A> {
        if self.deviation == 0.0 {
            return Array2::ones(self.shape);
        }
        let mut weight = Array2::from_shape_simple_fn(self.shape, || {
            A::from_f64(self.deviation * rng.sample::<f64, _>(StandardNormal))
        });
        if self.has_bias {
            weight.column_mut(self.shape.1 - 1).fill(A::zero());
        }
        weight
    }

    /// The gradient of the mean loss and the factors of inputs and outputs; the latter is of the
    /// drawn labels where there are any, which makes it Fisher's, and else of the data's own.
    ///
    /// # Errors
    ///
    /// A pass of another layer than this.
    pub fn signal<'a>(&'a mut self, pass: &'a Pass<A>) -> Result<Signal<'a, A>> {
        let (Some(inputs), derivatives) = (&pass.inputs, pass.derivatives.view()) else {
            return Ok(Signal::new(pass.derivatives.view().into_dimensionality::<Ix2>()?));
        };
        let drawn = pass.drawn.as_ref().map(|drawn| drawn.view());
        let inputs = inputs.view();
        match &mut self.layer {
            Layer::None => Ok(Signal::new(derivatives.into_dimensionality::<Ix2>()?)),
            Layer::Dense(layer) => {
                let drawn = drawn.map(Derivatives::OfMeanLoss);
                linear(layer, inputs, Derivatives::OfMeanLoss(derivatives), drawn)
            }
            Layer::Positions(layer) => {
                let drawn = drawn.map(Derivatives::OfMeanOverPositions);
                linear(layer, inputs, Derivatives::OfMeanOverPositions(derivatives), drawn)
            }
            Layer::Convolution(layer) => {
                let inputs = inputs.into_dimensionality::<Ix4>()?;
                let of_loss = Derivatives::OfMeanLoss(derivatives.into_dimensionality::<Ix4>()?);
                let Some(drawn) = drawn else { return Ok(layer.report(inputs, of_loss)?) };
                let drawn = Derivatives::OfMeanLoss(drawn.into_dimensionality::<Ix4>()?);
                Ok(layer.report_with(inputs, of_loss, drawn)?)
            }
        }
    }
}

fn linear<'a, A: Scalar>(
    layer: &'a mut Linear<A>,
    inputs: ArrayViewD<'_, A>,
    of_loss: Derivatives<'_, A, IxDyn>,
    drawn: Option<Derivatives<'_, A, IxDyn>>,
) -> Result<Signal<'a, A>> {
    Ok(match drawn {
        None => layer.report(inputs, of_loss),
        Some(drawn) => layer.report_with(inputs, of_loss, drawn),
    }?)
}
