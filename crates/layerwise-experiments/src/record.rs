//! What is kept of an experiment beside its pictures, and of the run that made it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claim::Claim;
use crate::plan::Plan;
use crate::report::Chosen;

/// What made the results in a folder. Results of different runs do not mix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The plan.
    #[serde(flatten)]
    pub plan: Plan,
    /// Version of this program.
    pub version: String,
    /// The linear algebra library and its kernel, on which last digits depend.
    pub backend: String,
}

impl RunInfo {
    /// Describes a run of this program on this machine.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            version: env!("CARGO_PKG_VERSION").into(),
            backend: layerwise_linalg::backend().to_string(),
        }
    }
}

/// What an experiment's JSON holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentRecord {
    /// The experiment's name, which its files are called by.
    pub experiment: String,
    /// Its number, where it is a figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure: Option<u8>,
    /// Its title.
    pub title: String,
    /// Its caption.
    pub caption: String,
    /// What made it.
    pub run: RunInfo,
    /// The code that made it: see [`CODE`].
    pub code: String,
    /// The settings, all chosen here where they are a figure's, as the paper's are not known.
    pub settings: Value,
    /// The hyperparameters chosen on tuning trials.
    pub chosen_rates: Vec<Chosen>,
    /// The verdicts.
    pub claims: Vec<Claim>,
}

/// A hash of the sources of every crate that results come from, and of the versions of what they
/// depend on.
pub const CODE: &str = env!("LAYERWISE_CODE");
