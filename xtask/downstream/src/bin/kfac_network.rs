//! A small network with KFAC from its activations: `f(x) = w₂ᵀ tanh(W₁ x)`, squared loss.

use std::error::Error;

use layerwise_downstream::{noise, require_fall};
use layerwise_optim::methods::OutputFactor;
use layerwise_optim::ndarray::{Array2, Axis};
use layerwise_optim::{Factor, Kfac, Method, Signal};

fn main() -> Result<(), Box<dyn Error>> {
    let (samples, inputs, hidden) = (512, 10, 16);
    // Inputs with scales from 1 to 1/30, a target that depends on all of them alike.
    let latent = noise(samples, inputs, 1);
    let mut x = latent.clone();
    for (j, mut column) in x.axis_iter_mut(Axis(1)).enumerate() {
        column *= 30_f64.powf(-(j as f64) / (inputs - 1) as f64);
    }
    let y = latent.dot(&(noise(inputs, 1, 2) / (inputs as f64).sqrt())).mapv(f64::tanh);

    let mut first = noise(hidden, inputs, 3) / (inputs as f64).sqrt();
    let mut second: Array2<f64> = noise(1, hidden, 4) / (hidden as f64).sqrt();
    let kfac = Kfac { learning_rate: 0.3.into(), damping: 1e-4.into(), ..Kfac::default() };
    let mut first_optimizer = kfac.build(first.dim())?;
    // The second layer's output is the network's: under the squared loss its factor is I.
    let one_sided = Kfac { output: OutputFactor::Identity, ..kfac };
    let mut second_optimizer = one_sided.build(second.dim())?;

    let mut losses = Vec::new();
    for _ in 0..100 {
        let activations = x.dot(&first.t()).mapv(f64::tanh);
        let residual = activations.dot(&second.t()) - &y;
        losses.push(0.5 * residual.mapv(|r| r * r).sum() / samples as f64);

        // The derivative of the network's output by the first layer's outputs, sample by sample:
        // the root of the Gauss-Newton matrix's output factor.
        let derivative = activations.mapv(|z| 1.0 - z * z) * &second;
        let first_gradient = (&derivative * &residual).t().dot(&x) / samples as f64;
        let second_gradient = residual.t().dot(&activations) / samples as f64;

        let signal = Signal::new(first_gradient.view())
            .with_input(Factor::Samples(x.view()))
            .with_output(Factor::Samples(derivative.view()));
        first_optimizer.step(&mut first.view_mut(), &signal)?;

        let signal =
            Signal::new(second_gradient.view()).with_input(Factor::Samples(activations.view()));
        second_optimizer.step(&mut second.view_mut(), &signal)?;
    }
    Ok(require_fall(losses[0], losses[losses.len() - 1], 1000.0)?)
}
