//! Linear representation learning as a kind of experiment.

use layerwise_data::{Basis, Law, LinearTaskSpec, Spectrum, Streams};
use layerwise_optim::OptimError;
use serde_json::{Value, json};

use crate::experiment::{Fault, typed};
use crate::linear::runs::starting_point;
use crate::linear::setting::MOST_DIMENSION;
use crate::linear::{
    LinearMethod, LinearSetting, StepData, measures, recorded_iterations, run_trial,
};
use crate::model::{Examples, Measure, Model, Outcome, Problem, Trial};
use crate::monitor::Monitor;
use crate::{ExperimentError, Result};

/// The two-layer linear network on linear representation learning, one batch a step.
pub struct LinearModel;

impl Model for LinearModel {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn result_version(&self) -> u64 {
        2
    }

    fn measures(&self) -> &'static [Measure] {
        &measures::ALL
    }

    fn problem(&self, task: &Value) -> std::result::Result<Box<dyn Problem>, Fault> {
        let setting: LinearSetting = typed(task)?;
        setting.check()?;
        Ok(Box::new(setting))
    }

    fn examples(&self) -> Examples {
        let task = json!({
            "inputs": 100, "outputs": 15, "rank": 8, "spectrum": "isotropic", "basis": "haar",
            "law": "gaussian", "features": "haar", "head_condition": 4.0, "noise": 0.1,
            "samples": 256, "iterations": 100, "transfer": {}, "target_distance": 0.2,
            "recorded": 100,
        });
        let optimizer = json!({ "Sgd": {} });
        let methods = vec![
            ("optimizer", optimizer.clone()),
            (
                "layers",
                json!({ "representation": optimizer, "head": optimizer, "sequential": false }),
            ),
            ("amgd", json!({ "learning_rate": 0.1, "batch_norm": false })),
            ("gauss_newton", json!({ "learning_rate": 0.1, "damping": 1e-2 })),
            ("empirical_fisher", json!({ "learning_rate": 0.1, "damping": 1e-2 })),
        ];
        Examples { task, methods }
    }
}

/// Why an optimizer that asks for samples of its layer's signals has to be refused: layers here report moments.
/// Only a step tells, so one is made on a small problem.
fn lacks_samples(method: &LinearMethod) -> Result<Option<ExperimentError>> {
    const SHAPE: (usize, usize, usize) = (3, 2, 4);
    const SAMPLES: usize = 8;
    if !matches!(method, LinearMethod::Optimizer(_) | LinearMethod::Layers(_)) {
        return Ok(None);
    }
    // What is refused for these dimensions alone is no matter.
    let Ok(mut algorithm) = method.algorithm(SHAPE, SAMPLES) else { return Ok(None) };
    let (outputs, rank, inputs) = SHAPE;
    let spec = LinearTaskSpec {
        input_dimension: inputs,
        output_dimension: outputs,
        rank,
        spectrum: Spectrum::Isotropic,
        basis: Basis::Axis,
        law: Law::Gaussian,
        head_condition: 1.0,
        noise: 0.1,
    };
    let mut random = Streams::new(1).stream("a step", "probe", 0);
    let task = spec.draw(&mut random)?;
    let mut data = StepData::new(inputs, outputs, SAMPLES, algorithm.needs());
    data.draw(&task, &mut random)?;
    let mut net = starting_point(SHAPE, &mut random)?;
    Ok(match algorithm.step(&mut net, &data) {
        Err(error @ ExperimentError::Optim(OptimError::MissingSamples { .. })) => Some(error),
        _ => None,
    })
}

/// A method that this setting has taken already.
fn read(method: &Value) -> Result<LinearMethod> {
    Ok(serde_json::from_value(method.clone())?)
}

impl Problem for LinearSetting {
    fn canonical(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn method(&self, method: &Value) -> std::result::Result<Value, Fault> {
        let method: LinearMethod = typed(method)?;
        let rate = match &method {
            LinearMethod::Amgd(amgd) => Some(("amgd", amgd.learning_rate)),
            LinearMethod::GaussNewton(natural) => Some(("gauss_newton", natural.learning_rate)),
            LinearMethod::EmpiricalFisher(natural) => {
                Some(("empirical_fisher", natural.learning_rate))
            }
            LinearMethod::Optimizer(_) | LinearMethod::Layers(_) => None,
        };
        if let Some((name, rate)) = rate.filter(|(_, rate)| !(rate.is_finite() && *rate > 0.0)) {
            let place = format!("{name}.learning_rate");
            return Err(Fault::at(&place, format!("learning_rate = {rate}: choose one > 0")));
        }
        // Solves on samples have matrices of n × n numbers.
        if let LinearMethod::EmpiricalFisher(_) = &method
            && self.samples > MOST_DIMENSION
        {
            let message = format!(
                "steps on samples: choose samples of at most {MOST_DIMENSION}, not {}",
                self.samples
            );
            return Err(Fault::at("empirical_fisher", message));
        }
        if method.normalizes_inputs() && self.samples < 2 {
            let message = "one sample has no variance: choose samples of at least 2";
            return Err(Fault::at("amgd.batch_norm", message));
        }
        let refused = |error: ExperimentError| Fault::at("", error.to_string());
        method.algorithm(self.shape(), self.samples).map_err(refused)?;
        if let Some(error) = lacks_samples(&method).map_err(refused)? {
            return Err(refused(error));
        }
        serde_json::to_value(&method).map_err(|error| refused(error.into()))
    }

    fn needs_samples(&self, method: &Value) -> bool {
        method.get("empirical_fisher").is_some()
    }

    fn missing_for(&self, measure: &str) -> Option<&'static str> {
        if measure == measures::TRANSFER.name && self.transfer.is_none() {
            Some("transfer")
        } else if measure == measures::STEPS.name && self.target_distance.is_none() {
            Some("target_distance")
        } else {
            None
        }
    }

    fn recorded(&self) -> Vec<usize> {
        recorded_iterations(self.iterations, self.recorded)
    }

    fn work(&self, methods: usize) -> u64 {
        (self.iterations * methods) as u64
    }

    fn run(&self, methods: &[&Value], trial: &Trial<'_>, monitor: &dyn Monitor) -> Result<Outcome> {
        let methods = methods.iter().map(|method| read(method)).collect::<Result<Vec<_>>>()?;
        run_trial(self, &methods, trial, monitor)
    }

    fn predict(&self, _method: &Value) -> Result<Option<f64>> {
        Ok(None)
    }
}
