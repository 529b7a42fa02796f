//! What is kept of a figure beside its pictures, and of the run that made it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claim::Claim;
use crate::linear::Chosen;
use crate::plan::Plan;

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

/// What `figureN.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureFile {
    /// The figure's number.
    pub figure: u8,
    /// Its title.
    pub title: String,
    /// Its caption.
    pub caption: String,
    /// What made it.
    pub run: RunInfo,
    /// The settings, all chosen here, as the paper's are not known.
    pub settings: Value,
    /// The rates chosen on tuning trials.
    pub chosen_rates: Vec<Chosen>,
    /// The verdicts.
    pub claims: Vec<Claim>,
}
