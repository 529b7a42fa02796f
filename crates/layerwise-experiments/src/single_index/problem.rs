//! Single-index learning as a kind of experiment.

use layerwise_data::{Basis, Law, Link, Spectrum};
use layerwise_linalg::ndarray::Array1;
use layerwise_optim::{Averaging, Damping, Momentum, OneSidedKfac, Schedule, Sgd, WeightDecay};
use layerwise_theory::{KfacAlignment, LinkMoments, sgd_alignment};
use serde_json::{Value, json};

use crate::experiment::{Fault, typed};
use crate::linear::recorded_iterations;
use crate::model::{Examples, Measure, Model, OptimizerSpec, Outcome, Problem, Trial};
use crate::monitor::Monitor;
use crate::single_index::runs::{SIGNALS, run_trial, work_of_a_step};
use crate::single_index::{SingleIndexMethod, SingleIndexSetting, measures};
use crate::{ExperimentError, Result};

/// A student of a single-index teacher, on one batch or on one a step.
pub struct SingleIndexModel;

impl Model for SingleIndexModel {
    fn name(&self) -> &'static str {
        "single-index"
    }

    fn result_version(&self) -> u64 {
        2
    }

    fn measures(&self) -> &'static [Measure] {
        &measures::ALL
    }

    fn problem(&self, task: &Value) -> std::result::Result<Box<dyn Problem>, Fault> {
        let setting: SingleIndexSetting = typed(task)?;
        Ok(Box::new(setting.checked()?))
    }

    fn examples(&self) -> Examples {
        let task = json!({
            "inputs": 100, "width": 100, "spectrum": "isotropic", "basis": "axis",
            "law": "gaussian", "teacher": "tanh", "student": "tanh", "noise": 0.1,
            "samples": 400, "samples_per_input": 4.0, "iterations": 10, "fresh_batches": false,
            "test_samples": 1000, "recorded": 10,
        });
        Examples { task, methods: vec![("optimizer", json!({ "Sgd": {} }))] }
    }
}

fn read(method: &Value) -> Result<SingleIndexMethod> {
    Ok(serde_json::from_value(method.clone())?)
}

impl Problem for SingleIndexSetting {
    fn canonical(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn method(&self, method: &Value) -> std::result::Result<Value, Fault> {
        let method: SingleIndexMethod = typed(method)?;
        let SingleIndexMethod::Optimizer(optimizer) = &method;
        let refused = |error: ExperimentError| Fault::at("", error.to_string());
        optimizer
            .chain()
            .build_for::<f64>((self.width(), self.inputs), SIGNALS)
            .map_err(|error| refused(error.into()))?;
        serde_json::to_value(&method).map_err(|error| refused(error.into()))
    }

    fn needs_samples(&self, _method: &Value) -> bool {
        true
    }

    fn missing_for(&self, measure: &str) -> Option<&'static str> {
        let untested = measure == measures::TEST_LOSS.name && self.test_samples.is_none();
        untested.then_some("test_samples")
    }

    fn recorded(&self) -> Vec<usize> {
        recorded_iterations(self.iterations, self.recorded)
    }

    fn work(&self, methods: usize) -> u64 {
        (self.iterations as u64).saturating_mul(methods as u64).saturating_mul(work_of_a_step(self))
    }

    fn run(&self, methods: &[&Value], trial: &Trial<'_>, monitor: &dyn Monitor) -> Result<Outcome> {
        let methods = methods.iter().map(|method| read(method)).collect::<Result<Vec<_>>>()?;
        run_trial(self, &methods, trial, monitor)
    }

    /// The asymptotic alignment after one step of SGD or of undivided one-sided KFAC, on Gaussian inputs
    /// with tr Σ = d and a tanh student.
    fn predict(&self, method: &Value) -> Result<Option<f64>> {
        let covered = self.iterations == 1
            && self.law == Law::Gaussian
            && self.basis == Basis::Axis
            && self.width() == self.inputs
            && self.student == Link::Tanh
            && !matches!(self.spectrum, Spectrum::Explicit(_));
        let link = match &self.teacher {
            Link::Identity => LinkMoments::identity(1.0)?,
            Link::Tanh => LinkMoments::tanh(1.0)?,
            Link::Relu => LinkMoments::relu(1.0)?,
            Link::CentredRelu => LinkMoments::centred_relu(1.0)?,
            Link::Hermite(_) => return Ok(None),
        };
        let SingleIndexMethod::Optimizer(optimizer) = read(method)?;
        if !covered {
            return Ok(None);
        }
        let spectrum: Array1<f64> = self.spectrum.eigenvalues(self.inputs)?;
        Ok(match optimizer {
            OptimizerSpec::Sgd(sgd) if is_one_step(&sgd) => {
                Some(sgd_alignment(spectrum.view(), &link, self.ratio(), self.noise)?)
            }
            OptimizerSpec::OneSidedKfac(kfac) => match absolute_damping(&kfac, self.inputs) {
                Some(damping) => {
                    let ratio = self.ratio();
                    let limit =
                        KfacAlignment::new(spectrum.view(), &link, ratio, damping, self.noise)?;
                    Some(limit.alignment)
                }
                None => None,
            },
            _ => None,
        })
    }
}

/// Whether the first step is along the gradient: momentum does not matter yet, a decay would.
fn is_one_step(sgd: &Sgd) -> bool {
    sgd.weight_decay == WeightDecay::None && !sgd.maximize
}

/// λ, where the first step on `inputs` coordinates is `∇L (Q + λI)⁻¹` up to its length, with Q undivided.
fn absolute_damping(kfac: &OneSidedKfac, inputs: usize) -> Option<f64> {
    let partition = &kfac.partition;
    let divided =
        partition.column_blocks > 1 || partition.max_dimension.is_some_and(|most| most < inputs);
    let plain = !divided
        && kfac.exponent == 1.0
        && kfac.averaging == Averaging::None
        && matches!(kfac.momentum, None | Some(Momentum::HeavyBall(_)))
        && kfac.weight_decay == WeightDecay::None;
    match &kfac.damping {
        Damping::Absolute(Schedule::Constant(damping)) if plain => Some(*damping),
        Damping::None if plain => Some(0.0),
        _ => None,
    }
}
