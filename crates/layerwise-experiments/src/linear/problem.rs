//! Linear representation learning as a kind of experiment.

use serde_json::{Value, json};

use crate::experiment::{Fault, typed};
use crate::linear::{LinearMethod, LinearSetting, measures, recorded_iterations, run_trial};
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
        let refused = |error: ExperimentError| Fault::at("", error.to_string());
        method.algorithm(self.shape(), self.samples).map_err(refused)?;
        serde_json::to_value(&method).map_err(|error| refused(error.into()))
    }

    fn needs_samples(&self, method: &Value) -> bool {
        method.get("empirical_fisher").is_some()
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
