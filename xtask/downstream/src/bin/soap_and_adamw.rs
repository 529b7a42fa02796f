//! A model with SOAP on its matrices and AdamW on its vectors:
//! `f(x) = W₂ tanh(W₁ x + b₁) + b₂`, squared loss.

use std::error::Error;

use layerwise_downstream::{noise, require_fall};
use layerwise_optim::ndarray::{Array1, Axis};
use layerwise_optim::{
    AdamW, Group, Method, OptimizerSet, Selector, Signal, Signals, Soap, Update,
};

fn main() -> Result<(), Box<dyn Error>> {
    let (samples, inputs, hidden, outputs) = (512, 12, 24, 4);
    let mut x = noise(samples, inputs, 1);
    for (j, mut column) in x.axis_iter_mut(Axis(1)).enumerate() {
        column *= 30_f64.powf(-(j as f64) / (inputs - 1) as f64);
    }
    // Shifted, so that the biases matter.
    let y = (x.dot(&noise(inputs, outputs, 2)) * 0.5).mapv(f64::tanh) + 1.0;

    let mut first = noise(hidden, inputs, 3) / (inputs as f64).sqrt();
    let mut first_bias = Array1::<f64>::zeros(hidden);
    let mut second = noise(outputs, hidden, 4) / (hidden as f64).sqrt();
    let mut second_bias = Array1::<f64>::zeros(outputs);

    let soap = Soap { learning_rate: 0.01.into(), ..Soap::default() };
    let adamw = AdamW { learning_rate: 0.01.into(), ..AdamW::default() };
    let mut optimizers = OptimizerSet::new(vec![
        Group::new(Selector::Matrices, &soap.chain()),
        Group::new(Selector::Vectors, &adamw.chain()),
    ]);
    optimizers.register("first.weight", first.dim(), Signals::GRADIENT)?;
    optimizers.register("first.bias", (1, hidden), Signals::GRADIENT)?;
    optimizers.register("second.weight", second.dim(), Signals::GRADIENT)?;
    optimizers.register("second.bias", (1, outputs), Signals::GRADIENT)?;

    let mut losses = Vec::new();
    for _ in 0..400 {
        let activations = (x.dot(&first.t()) + &first_bias).mapv(f64::tanh);
        let residual = activations.dot(&second.t()) + &second_bias - &y;
        losses.push(0.5 * residual.mapv(|r| r * r).sum() / samples as f64);

        let output_derivative = residual / samples as f64;
        let hidden_derivative = output_derivative.dot(&second) * activations.mapv(|z| 1.0 - z * z);
        let first_gradient = hidden_derivative.t().dot(&x);
        let first_bias_gradient = hidden_derivative.sum_axis(Axis(0)).insert_axis(Axis(0));
        let second_gradient = output_derivative.t().dot(&activations);
        let second_bias_gradient = output_derivative.sum_axis(Axis(0)).insert_axis(Axis(0));

        optimizers.step(&mut [
            Update::new("first.weight", first.view_mut(), Signal::new(first_gradient.view())),
            Update::new(
                "first.bias",
                first_bias.view_mut().insert_axis(Axis(0)),
                first_bias_gradient.view(),
            ),
            Update::new("second.weight", second.view_mut(), Signal::new(second_gradient.view())),
            Update::new(
                "second.bias",
                second_bias.view_mut().insert_axis(Axis(0)),
                second_bias_gradient.view(),
            ),
        ])?;
    }
    Ok(require_fall(losses[0], losses[losses.len() - 1], 1e4)?)
}
