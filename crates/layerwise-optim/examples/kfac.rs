//! A network with KFAC from its activations: `tanh` in between, squared loss.
//!
//! `cargo run -p layerwise-optim --example kfac`

use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::Array2;
use layerwise_optim::{
    Averaging, Factor, Group, Kfac, OptimError, OptimizerSet, Selector, Signal, Signals, Update,
};

fn main() -> Result<(), OptimError> {
    let inputs = Array2::from_shape_fn((64, 5), |(i, j)| ((7 * i + 3 * j) as f64).sin());
    let targets =
        Array2::from_shape_fn((64, 2), |(i, j)| (inputs[[i, j]] + 2.0 * inputs[[i, j + 2]]).sin());
    let mut first = Array2::from_shape_fn((8, 5), |(i, j)| 0.5 * ((i + 3 * j) as f64).cos());
    let mut second = Array2::from_shape_fn((2, 8), |(i, j)| 0.3 * ((2 * i + j) as f64).sin());

    let method = Kfac {
        learning_rate: 0.3.into(),
        damping: KfacDamping::FactoredTikhonov(1e-3.into()),
        averaging: Averaging::Ema { beta: 0.9.into(), bias_correction: true },
        ..Kfac::stylised()
    };
    let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &method)]);
    set.register("first", first.dim(), Signals::ALL)?;
    set.register("second", second.dim(), Signals::ALL)?;

    for step in 0..100 {
        let hidden = inputs.dot(&first.t()).mapv(f64::tanh);
        let errors = hidden.dot(&second.t()) - &targets;
        if step % 20 == 0 {
            let loss = errors.iter().map(|x| x * x).sum::<f64>() / 128.0;
            println!("step {step:2}: loss {loss:.2e}");
        }
        // Derivatives of each sample's loss by the outputs of each layer. Under the squared loss,
        // the Gauss-Newton factor of the last layer is the identity; that of the first is what
        // the rows of `second`, through the tanh, make of it.
        let slopes = hidden.mapv(|h| 1.0 - h * h);
        let by_hidden = errors.dot(&second) * &slopes;
        let gradients = (by_hidden.t().dot(&inputs) / 64.0, errors.t().dot(&hidden) / 64.0);
        let mut gauss_newton = Array2::<f64>::zeros((8, 8));
        for row in second.rows() {
            let through = &slopes * &row;
            gauss_newton = gauss_newton + through.t().dot(&through) / 64.0;
        }
        let identity = Array2::<f64>::eye(2);
        set.step(&mut [
            Update::new(
                "first",
                first.view_mut(),
                Signal::new(gradients.0.view())
                    .with_input(Factor::Samples(inputs.view()))
                    .with_output(Factor::SecondMoment(gauss_newton.view())),
            ),
            Update::new(
                "second",
                second.view_mut(),
                Signal::new(gradients.1.view())
                    .with_input(Factor::Samples(hidden.view()))
                    .with_output(Factor::SecondMoment(identity.view())),
            ),
        ])?;
    }
    Ok(())
}
