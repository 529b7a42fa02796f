//! One matrix with Muon: `W` maps some inputs near given outputs.
//!
//! `cargo run -p layerwise-optim --example muon`

use layerwise_optim::ndarray::Array2;
use layerwise_optim::{Method, Muon, OptimError, Schedule, Signal};

const STEPS: u64 = 200;

fn main() -> Result<(), OptimError> {
    let inputs = Array2::from_shape_fn((32, 6), |(i, j)| ((3 * i + 5 * j) as f64).sin());
    let target = Array2::from_shape_fn((4, 6), |(i, j)| ((i + 2 * j) as f64).cos());
    let outputs = inputs.dot(&target.t());

    let mut weight = Array2::<f64>::zeros(target.dim());
    let method = Muon { learning_rate: Schedule::warmup_cosine(0.1, 5, STEPS), ..Muon::default() };
    let mut optimizer = method.build(weight.dim())?;
    for step in 0..STEPS {
        let errors = inputs.dot(&weight.t()) - &outputs;
        let gradient = errors.t().dot(&inputs) / 32.0;
        let report = optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
        if step % 40 == 0 {
            let loss = errors.iter().map(|x| x * x).sum::<f64>() / 64.0;
            println!(
                "step {:3}: loss {loss:.2e}, moved by {:.2e}",
                report.step, report.update_norm
            );
        }
    }
    Ok(())
}
