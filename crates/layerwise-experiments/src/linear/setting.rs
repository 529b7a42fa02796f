//! What runs on linear representation learning are run on.

use layerwise_data::{Basis, Features, Law, LinearTaskSpec, Spectrum};
use serde::{Deserialize, Serialize};

use crate::experiment::Fault;

/// A task distribution and a budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearSetting {
    /// Inputs d_X.
    pub inputs: usize,
    /// Outputs d_Y.
    pub outputs: usize,
    /// Rank k of the target and width of the network, at most d_X and d_Y.
    pub rank: usize,
    /// Eigenvalues of Σ.
    pub spectrum: Spectrum,
    /// Eigenbasis of Σ.
    #[serde(default = "haar")]
    pub basis: Basis,
    /// Law of the whitened inputs.
    #[serde(default = "gaussian")]
    pub law: Law,
    /// Where the true features lie in Σ's eigenbasis.
    #[serde(default)]
    pub features: Features,
    /// Condition number κ(F⋆) ≥ 1 of the true head.
    pub head_condition: f64,
    /// Noise level σ_ε ≥ 0.
    pub noise: f64,
    /// Batch size n ≥ 1; each step has a batch of its own.
    pub samples: usize,
    /// Number of steps T ≥ 1.
    pub iterations: usize,
    /// The task on which the transfer loss is measured, which is not recorded without.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// Where set, each run notes the iteration from which on its subspace distance stays at most this.
    #[serde(default)]
    pub target_distance: Option<f64>,
    /// At how many iterations at most series are recorded, log-spaced, the first and the last included.
    #[serde(default = "hundred")]
    pub recorded: usize,
}

fn haar() -> Basis {
    Basis::Haar
}

fn gaussian() -> Law {
    Law::Gaussian
}

fn hundred() -> usize {
    100
}

/// The transfer task: the same features, a head and a covariance of its own, and otherwise the training
/// task's distribution where it says nothing else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Eigenvalues of its Σ.
    #[serde(default)]
    pub spectrum: Option<Spectrum>,
    /// Their eigenbasis.
    #[serde(default)]
    pub basis: Option<Basis>,
    /// Law of its whitened inputs.
    #[serde(default)]
    pub law: Option<Law>,
    /// Condition number of its head.
    #[serde(default)]
    pub head_condition: Option<f64>,
    /// Its noise level.
    #[serde(default)]
    pub noise: Option<f64>,
}

/// The most that a batch or a budget may be: beyond it a run would never end.
const MOST: usize = 10_000_000;
/// The most that a dimension may be: a factor of this size takes 3 GB.
pub(crate) const MOST_DIMENSION: usize = 20_000;
/// The largest condition number of a covariance: a Cholesky factor in f64 needs κ d ε well below 1.
const MOST_CONDITION: f64 = 1e12;
/// The most numbers that a batch may hold, 4 GB.
const MOST_NUMBERS: usize = 500_000_000;

impl LinearSetting {
    /// Refuses what no task can be drawn from.
    ///
    /// # Errors
    /// A [`Fault`] at the key.
    pub fn check(&self) -> Result<(), Fault> {
        let batch = MOST_NUMBERS / self.inputs.max(self.outputs).max(1);
        for (name, value, most) in [
            ("inputs", self.inputs, MOST_DIMENSION),
            ("outputs", self.outputs, MOST_DIMENSION),
            ("rank", self.rank, MOST_DIMENSION),
            ("samples", self.samples, MOST.min(batch)),
            ("iterations", self.iterations, MOST),
            ("recorded", self.recorded, MOST),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Fault::at(name, format!("{name} = {value}: choose 1 to {most}")));
            }
        }
        let bound = self.inputs.min(self.outputs);
        if self.rank > bound {
            return Err(Fault::at(
                "rank",
                format!(
                    "rank = {}: choose at most inputs = {} and outputs = {}",
                    self.rank, self.inputs, self.outputs
                ),
            ));
        }
        if self.target_distance.is_some_and(|target| !(target > 0.0 && target <= 1.0)) {
            return Err(Fault::at("target_distance", "target_distance: choose a number in (0, 1]"));
        }
        checked(&self.task_spec(), "")?;
        match self.transfer_spec() {
            Some(spec) => checked(&spec, "transfer."),
            None => Ok(()),
        }
    }

    /// The distribution of training tasks.
    #[must_use]
    pub fn task_spec(&self) -> LinearTaskSpec {
        LinearTaskSpec {
            input_dimension: self.inputs,
            output_dimension: self.outputs,
            rank: self.rank,
            spectrum: self.spectrum.clone(),
            basis: self.basis,
            law: self.law,
            head_condition: self.head_condition,
            noise: self.noise,
        }
    }

    /// The distribution of transfer tasks, where the transfer loss is measured.
    #[must_use]
    pub fn transfer_spec(&self) -> Option<LinearTaskSpec> {
        let transfer = self.transfer.as_ref()?;
        let spec = self.task_spec();
        Some(LinearTaskSpec {
            spectrum: transfer.spectrum.clone().unwrap_or(spec.spectrum.clone()),
            basis: transfer.basis.unwrap_or(spec.basis),
            law: transfer.law.unwrap_or(spec.law),
            head_condition: transfer.head_condition.unwrap_or(spec.head_condition),
            noise: transfer.noise.unwrap_or(spec.noise),
            ..spec
        })
    }

    /// The shape `(d_Y, k, d_X)` of the network.
    #[must_use]
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.outputs, self.rank, self.inputs)
    }
}

/// Sees that tasks can be drawn, key by key.
fn checked(spec: &LinearTaskSpec, prefix: &str) -> Result<(), Fault> {
    let fault = |key: &str, error: layerwise_data::DataError| {
        Fault::at(&format!("{prefix}{key}"), error.to_string())
    };
    let eigenvalues = spec
        .spectrum
        .eigenvalues(spec.input_dimension)
        .map_err(|error| fault("spectrum", error))?;
    let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
    let condition = largest / eigenvalues.iter().copied().fold(f64::INFINITY, f64::min);
    if condition > MOST_CONDITION {
        let message = format!(
            "κ(Σ) = {condition:.3e}: choose at most {MOST_CONDITION:e}, beyond which rounding makes Σ singular"
        );
        return Err(Fault::at(&format!("{prefix}spectrum"), message));
    }
    let mild = LinearTaskSpec { noise: 0.0, ..spec.clone() };
    mild.check().map_err(|error| fault("head_condition", error))?;
    spec.check().map_err(|error| fault("noise", error))
}

/// The iterations after which a run of `iterations` steps is recorded: log-spaced, the first and
/// the last included, at most `points` of them.
#[must_use]
pub fn recorded_iterations(iterations: usize, points: usize) -> Vec<usize> {
    if points < 2 {
        return vec![iterations];
    }
    let mut recorded: Vec<usize> = (0..points)
        .map(|i| (iterations as f64).powf(i as f64 / (points - 1) as f64).round() as usize)
        .collect();
    recorded.dedup();
    recorded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_includes_both_ends_once() {
        for iterations in [1, 2, 200, 1000] {
            let recorded = recorded_iterations(iterations, 100);
            assert_eq!((recorded[0], *recorded.last().unwrap()), (1, iterations));
            assert!(recorded.windows(2).all(|w| w[0] < w[1]));
            assert!(recorded.len() <= 100);
        }
        assert_eq!(recorded_iterations(50, 1), [50]);
    }
}
