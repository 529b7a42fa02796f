//! Two hidden layers and a softmax, on images.

use layerwise_optim::Scalar;
use layerwise_optim::ndarray::{Array2, ArrayD, Axis, concatenate};

use crate::data::digits::{Images, PIXELS};
use crate::error::Result;
use crate::network::{Network, affine, affine_back, tanh};
use crate::parameter::Parameter;

/// Widths of the two hidden layers.
pub const HIDDEN: [usize; 2] = [64, 32];

/// `softmax(W₃ [tanh(W₂ [tanh(W₁ [x, 1]), 1]), 1])`: each weight holds its bias as last column.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    classes: usize,
}

impl Dense {
    /// For images of so many classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Dense { classes }
    }

    /// What the last hidden layer makes of images, with a column of ones.
    #[must_use]
    pub fn features<A: Scalar>(&self, weights: &[Array2<A>], pixels: &Array2<A>) -> Array2<A> {
        let [_, _, features] = activations(weights, pixels);
        let ones = Array2::ones((features.nrows(), 1));
        concatenate![Axis(1), features, ones]
    }
}

/// The inputs of each of the three layers, a sample a row.
fn activations<A: Scalar>(weights: &[Array2<A>], pixels: &Array2<A>) -> [Array2<A>; 3] {
    let first = affine(pixels.view(), &weights[0]).mapv_into(tanh);
    let second = affine(first.view(), &weights[1]).mapv_into(tanh);
    [pixels.clone(), first, second]
}

impl<A: Scalar> Network<A> for Dense {
    type Batch = Images<A>;
    /// The inputs of the layers.
    type Trace = [Array2<A>; 3];

    fn parameters(&self) -> Vec<Parameter<A>> {
        vec![
            Parameter::dense("hidden.1", HIDDEN[0], PIXELS),
            Parameter::dense("hidden.2", HIDDEN[1], HIDDEN[0]),
            Parameter::dense("head", self.classes, HIDDEN[1]),
        ]
    }

    fn labels<'b>(&self, batch: &'b Images<A>) -> &'b [usize] {
        &batch.labels
    }

    fn forward(
        &self,
        weights: &[Array2<A>],
        batch: &Images<A>,
    ) -> Result<(Array2<A>, Self::Trace)> {
        let inputs = activations(weights, &batch.pixels);
        Ok((affine(inputs[2].view(), &weights[2]), inputs))
    }

    fn backward(
        &self,
        weights: &[Array2<A>],
        inputs: &Self::Trace,
        by_logits: Array2<A>,
    ) -> Result<Vec<ArrayD<A>>> {
        let through = |layer: usize, derivatives: &Array2<A>| {
            let mut back = affine_back(derivatives, &weights[layer]);
            back.zip_mut_with(&inputs[layer], |d, &h| *d *= A::one() - h * h);
            back
        };
        let second = through(2, &by_logits);
        let first = through(1, &second);
        Ok([first, second, by_logits].map(Array2::into_dyn).into())
    }

    fn inputs(&self, inputs: Self::Trace) -> Result<Vec<Option<ArrayD<A>>>> {
        Ok(inputs.map(|inputs| Some(inputs.into_dyn())).into())
    }
}
