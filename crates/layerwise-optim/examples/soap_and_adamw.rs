//! Hidden matrices by SOAP, the rest by AdamW; saved, and resumed in the very same bits.
//!
//! `cargo run -p layerwise-optim --example soap_and_adamw`

use layerwise_optim::checkpoint::OptimizerSetState;
use layerwise_optim::ndarray::{Array1, Array2};
use layerwise_optim::{AdamW, Group, OptimError, OptimizerSet, Selector, Signals, Soap, Update};

#[derive(Clone, PartialEq)]
struct Model {
    weight: Array2<f64>,
    bias: Array1<f64>,
}

/// The set that a program builds at each start, resumed or not.
fn optimizers(model: &Model) -> Result<OptimizerSet<f64>, OptimError> {
    let mut set = OptimizerSet::new(vec![
        Group::new(Selector::Matrices, &Soap { learning_rate: 0.03.into(), ..Soap::default() }),
        Group::new(Selector::All, &AdamW::default()),
    ]);
    set.register("weight", model.weight.dim(), Signals::GRADIENT)?;
    set.register("bias", (1, model.bias.len()), Signals::GRADIENT)?;
    Ok(set)
}

fn train(set: &mut OptimizerSet<f64>, model: &mut Model, steps: usize) -> Result<(), OptimError> {
    let inputs = Array2::from_shape_fn((48, 5), |(i, j)| ((2 * i + 3 * j) as f64).sin());
    let targets = Array2::from_shape_fn((48, 3), |(i, j)| ((i * (j + 1)) as f64).cos());
    for _ in 0..steps {
        let errors = inputs.dot(&model.weight.t()) + &model.bias - &targets;
        let by_weight = errors.t().dot(&inputs) / 48.0;
        let by_bias = errors.t().dot(&Array1::ones(48)) / 48.0;
        set.step(&mut [
            Update::new("weight", model.weight.view_mut(), by_weight.view()),
            Update::vector("bias", model.bias.view_mut(), by_bias.view()),
        ])?;
    }
    Ok(())
}

fn main() -> Result<(), OptimError> {
    let mut model = Model { weight: Array2::zeros((3, 5)), bias: Array1::zeros(3) };
    let mut set = optimizers(&model)?;
    train(&mut set, &mut model, 50)?;

    // To be written to a file, beside the model.
    let (saved, checkpoint) = (set.state().to_json()?, model.clone());
    println!("{} bytes of state, {} in memory", saved.len(), set.memory_bytes());
    train(&mut set, &mut model, 50)?;

    let mut resumed_model = checkpoint;
    let mut resumed = optimizers(&resumed_model)?;
    resumed.load(&OptimizerSetState::from_json(&saved)?)?;
    train(&mut resumed, &mut resumed_model, 50)?;
    println!("resumed equals uninterrupted: {}", resumed_model == model);
    for (name, report) in set.reports() {
        println!("{name}: step {}, moved by {:.2e}", report.step, report.update_norm);
    }
    Ok(())
}
