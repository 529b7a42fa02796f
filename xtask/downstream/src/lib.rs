//! What the programs of this package share.

use std::error::Error;

use layerwise_optim::ndarray::{Array2, Axis};
use layerwise_optim::{Method, Signal};

/// A matrix of numbers uniform on [−√3, √3], so of variance 1; the same for the same seed.
pub fn noise(rows: usize, cols: usize, seed: u64) -> Array2<f64> {
    let mut state = seed;
    Array2::from_shape_simple_fn((rows, cols), || {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits as a number in [0, 1).
        let uniform = (z >> 11) as f64 / (1_u64 << 53) as f64;
        3.0_f64.sqrt() * (2.0 * uniform - 1.0)
    })
}

/// Ends the program with an error unless the loss fell at least by the factor.
pub fn require_fall(first: f64, last: f64, factor: f64) -> Result<(), String> {
    println!("loss: {first:.4e} at the start, {last:.4e} at the end");
    // Written so that a loss that is not a number does not pass.
    if last <= first / factor {
        Ok(())
    } else {
        Err(format!("the loss fell by {:.3}, expected at least {factor}", first / last))
    }
}

/// Fits a linear regression whose inputs differ a hundredfold in scale, one matrix, in 400 steps. Ends
/// the program with an error unless the loss falls to a hundredth.
pub fn fit_regression(method: &impl Method) -> Result<(), Box<dyn Error>> {
    let (samples, inputs, outputs) = (512, 24, 16);
    let mut x = noise(samples, inputs, 1);
    for (j, mut column) in x.axis_iter_mut(Axis(1)).enumerate() {
        column *= 10_f64.powf(-2.0 * j as f64 / (inputs - 1) as f64);
    }
    let y = x.dot(&noise(outputs, inputs, 2).t());

    let mut weight = Array2::<f64>::zeros((outputs, inputs));
    let mut optimizer = method.build(weight.dim())?;
    let mut losses = Vec::new();
    for _ in 0..400 {
        let residual = x.dot(&weight.t()) - &y;
        losses.push(0.5 * residual.mapv(|r| r * r).sum() / samples as f64);
        let gradient = residual.t().dot(&x) / samples as f64;
        optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
    }
    Ok(require_fall(losses[0], losses[losses.len() - 1], 100.0)?)
}
