//! One matrix with Muon: a linear regression whose inputs differ a hundredfold in scale.

use std::error::Error;

use layerwise_downstream::{noise, require_fall};
use layerwise_optim::ndarray::{Array2, Axis};
use layerwise_optim::{Method, Muon, Signal};

fn main() -> Result<(), Box<dyn Error>> {
    let (samples, inputs, outputs) = (512, 24, 16);
    let mut x = noise(samples, inputs, 1);
    for (j, mut column) in x.axis_iter_mut(Axis(1)).enumerate() {
        column *= 10_f64.powf(-2.0 * j as f64 / (inputs - 1) as f64);
    }
    let y = x.dot(&noise(outputs, inputs, 2).t());

    let mut weight = Array2::<f64>::zeros((outputs, inputs));
    let muon = Muon { learning_rate: 0.02.into(), ..Muon::default() };
    let mut optimizer = muon.build(weight.dim())?;
    let mut losses = Vec::new();
    for _ in 0..400 {
        let residual = x.dot(&weight.t()) - &y;
        losses.push(0.5 * residual.mapv(|r| r * r).sum() / samples as f64);
        let gradient = residual.t().dot(&x) / samples as f64;
        optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
    }
    Ok(require_fall(losses[0], losses[losses.len() - 1], 100.0)?)
}
