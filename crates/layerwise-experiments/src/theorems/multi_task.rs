//! A KFAC step on the representation that several tasks share, from single-task optimizers.

use layerwise_models::{LinearPass, TwoLayerLinear};
use layerwise_optim::chain::StageConfig;
use layerwise_optim::factor::FactorConfig;
use layerwise_optim::{Factor, Kfac, Method, OneSidedKfac, OptimError, Signal};
use ndarray::{Array2, ArrayView2};

use crate::Result;
use crate::linear::{StepData, representation_kfac};

/// `G − η (mean F_tᵀF_t)⁻¹ mean(∇_G L̂_t Σ̂_t⁻¹)`.
pub(crate) fn step(
    eta: f64,
    representation: ArrayView2<'_, f64>,
    heads: &[Array2<f64>],
    batches: &[StepData],
) -> Result<Array2<f64>> {
    let (k, d) = representation.dim();
    if heads.len() != batches.len() || heads.is_empty() {
        return Err(OptimError::Shape {
            what: "batches, one a task",
            expected: (heads.len().max(1), 1),
            found: (batches.len(), 1),
        }
        .into());
    }
    let mut mean = Array2::zeros((k, d));
    let mut output = Array2::zeros((k, k));
    let share = 1.0 / heads.len() as f64;
    for (head, data) in heads.iter().zip(batches) {
        let net = TwoLayerLinear::new(head.clone(), representation.to_owned())?;
        let mut pass = LinearPass::with_shape(net.shape());
        pass.representation(&net, data.moments())?;
        // Each task's inputs are whitened by its own factor: a step of rate 1 from zero is
        // −∇ Σ̂_t⁻¹.
        let one_sided =
            OneSidedKfac { learning_rate: 1.0.into(), damping: 0.0.into(), ..Default::default() };
        let mut whitened = Array2::zeros((k, d));
        let signal = Signal::new(pass.representation_gradient())
            .with_input(Factor::SecondMoment(data.moments().xx()));
        one_sided.build((k, d))?.step(&mut whitened.view_mut(), &signal)?;
        mean.scaled_add(-share, &whitened);
        output.scaled_add(share, &pass.head_gram());
    }
    let mut next = representation.to_owned();
    let signal = Signal::new(mean.view()).with_output(Factor::SecondMoment(output.view()));
    let chain = output_side_only(&representation_kfac(eta, 0.0));
    chain.build((k, d))?.step(&mut next.view_mut(), &signal)?;
    Ok(next)
}

/// KFAC that leaves the input side alone.
fn output_side_only(kfac: &Kfac) -> layerwise_optim::Chain {
    let mut chain = kfac.chain();
    for stage in chain.stages_mut() {
        if let StageConfig::Kronecker(config) = stage {
            config.right = FactorConfig::left_alone();
        }
    }
    chain
}
