//! Time of one step of each optimizer on one n × n weight in f32: the counterpart of
//! `torch/optimizer_step.py`, measured in the same way.
//!
//! ```text
//! cargo run --release -p layerwise-benches --example optimizer_step -- [threads] [seconds per row] [sizes...]
//! ```

use std::error::Error;
use std::time::Duration;

use layerwise_benches::{Layer, methods, time_steps};
use layerwise_linalg::ndarray::Array2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.first().map_or(Ok(1), |text| text.parse())?;
    let seconds = arguments.get(1).map_or(Ok(1.0), |text| text.parse())?;
    let sizes: Vec<usize> =
        arguments.iter().skip(2).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let sizes = if sizes.is_empty() { vec![256, 1024] } else { sizes };
    let budget = Duration::try_from_secs_f64(seconds)?;
    layerwise_linalg::set_backend_threads(threads);
    for n in sizes {
        let layer = Layer::<f32>::new(n)?;
        for (name, composition) in methods() {
            let mut weight = Array2::zeros((n, n));
            let mut optimizer = composition.build((n, n))?;
            let mut step = 0;
            let times = time_steps(budget, 10, || {
                step += 1;
                optimizer.step(&mut weight.view_mut(), &layer.signal(step)).map(drop)
            })?;
            println!("layerwise, {threads} threads, {n}, {name}: {times}");
        }
    }
    Ok(())
}
