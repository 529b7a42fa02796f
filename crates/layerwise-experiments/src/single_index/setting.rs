//! What runs on single-index models are run on.

use layerwise_data::{Basis, Law, Link, Spectrum};
use serde::{Deserialize, Serialize};

use crate::experiment::Fault;
use crate::model::OptimizerSpec;

/// A distribution of single-index tasks, a student, and a budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SingleIndexSetting {
    /// Inputs d.
    pub inputs: usize,
    /// Width h of the student; d where it is left out.
    #[serde(default)]
    pub width: Option<usize>,
    /// Eigenvalues of Σ.
    pub spectrum: Spectrum,
    /// Eigenbasis of Σ.
    #[serde(default = "axis")]
    pub basis: Basis,
    /// Law of the whitened inputs.
    #[serde(default = "gaussian")]
    pub law: Law,
    /// The teacher's link.
    pub teacher: Link,
    /// The student's link.
    #[serde(default = "tanh")]
    pub student: Link,
    /// Noise level σ_ε ≥ 0.
    pub noise: f64,
    /// Batch size n ≥ 1; this or `samples_per_input`.
    #[serde(default)]
    pub samples: Option<usize>,
    /// n/d > 0, rounded to whole samples.
    #[serde(default)]
    pub samples_per_input: Option<f64>,
    /// Number of steps T ≥ 1.
    #[serde(default = "one")]
    pub iterations: usize,
    /// Whether each step has a batch of its own, instead of all of them the same.
    #[serde(default)]
    pub fresh_batches: bool,
    /// Samples on which the test loss is measured, which is not recorded without.
    #[serde(default)]
    pub test_samples: Option<usize>,
    /// At how many iterations at most series are recorded, log-spaced, the first and the last included.
    #[serde(default = "hundred")]
    pub recorded: usize,
}

fn axis() -> Basis {
    Basis::Axis
}

fn gaussian() -> Law {
    Law::Gaussian
}

fn tanh() -> Link {
    Link::Tanh
}

fn one() -> usize {
    1
}

fn hundred() -> usize {
    100
}

/// A method on the student.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SingleIndexMethod {
    /// An optimizer of G, which is shown its gradient and its input factor `Ê[xxᵀ]`.
    Optimizer(OptimizerSpec),
}

const MOST: usize = 10_000_000;
/// The most that a dimension may be: a factor of this size takes 3 GB.
const MOST_DIMENSION: usize = 20_000;
/// The most numbers that a batch may hold, 4 GB.
const MOST_NUMBERS: usize = 500_000_000;

impl SingleIndexSetting {
    /// Refuses what no task can be drawn from, and spells out what follows from other keys.
    ///
    /// # Errors
    /// A [`Fault`] at the key.
    pub fn checked(mut self) -> Result<Self, Fault> {
        let samples = match (self.samples, self.samples_per_input) {
            (Some(samples), None) => samples,
            (None, Some(ratio)) if ratio.is_finite() && ratio > 0.0 => {
                (ratio * self.inputs as f64).round() as usize
            }
            (None, Some(ratio)) => {
                let message = format!("samples_per_input = {ratio}: choose a number > 0");
                return Err(Fault::at("samples_per_input", message));
            }
            _ => return Err(Fault::at("", "give one of samples and samples_per_input")),
        };
        self.samples_per_input = None;
        self.samples = Some(samples);
        self.width = Some(self.width.unwrap_or(self.inputs));
        let batch = MOST.min(MOST_NUMBERS / self.inputs.max(self.width()).max(1));
        for (name, value, most) in [
            ("inputs", self.inputs, MOST_DIMENSION),
            ("width", self.width(), MOST_DIMENSION),
            ("samples", samples, batch),
            ("iterations", self.iterations, MOST),
            ("recorded", self.recorded, MOST),
            ("test_samples", self.test_samples.unwrap_or(1), batch),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Fault::at(name, format!("{name} = {value}: choose 1 to {most}")));
            }
        }
        let fault = |key: &str| {
            let key = key.to_string();
            move |error: layerwise_data::DataError| Fault::at(&key, error.to_string())
        };
        self.spectrum.eigenvalues(self.inputs).map_err(fault("spectrum"))?;
        self.teacher.check().map_err(fault("teacher"))?;
        self.student.check().map_err(fault("student"))?;
        if !(self.noise.is_finite() && self.noise >= 0.0) {
            return Err(Fault::at("noise", format!("noise = {}: choose a number ≥ 0", self.noise)));
        }
        Ok(self)
    }

    /// n.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples.unwrap_or(1)
    }

    /// h.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width.unwrap_or(self.inputs)
    }

    /// φ = d/n.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.inputs as f64 / self.samples() as f64
    }
}
