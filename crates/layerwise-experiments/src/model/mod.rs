//! Kinds of experiments. A kind is one implementation of [`Model`] and one line in [`MODELS`]: what a
//! task and a method of it are, what a trial measures, and how it is run.

mod optimizer;

use layerwise_data::Streams;
use serde_json::Value;

pub use optimizer::OptimizerSpec;

pub use crate::store::{Numbers, Outcome};

use crate::Result;
use crate::experiment::Fault;
use crate::linear::LinearModel;
use crate::monitor::Monitor;
use crate::single_index::SingleIndexModel;

/// All kinds, by the names that files give them.
pub static MODELS: [&dyn Model; 2] = [&LinearModel, &SingleIndexModel];

/// The kind of this name.
#[must_use]
pub fn model(name: &str) -> Option<&'static dyn Model> {
    MODELS.iter().copied().find(|model| model.name() == name)
}

/// A kind of experiment.
pub trait Model: Sync {
    /// Its name in files.
    fn name(&self) -> &'static str;

    /// Raised whenever the same task, methods and seed give other numbers than before, so that what is
    /// stored is computed again.
    fn result_version(&self) -> u64;

    /// What its trials measure; first what [`Problem::predict`] is about.
    fn measures(&self) -> &'static [Measure];

    /// Checks a task as it stands in a file.
    ///
    /// # Errors
    /// A [`Fault`] with the key that is wrong and what is allowed.
    fn problem(&self, task: &Value) -> std::result::Result<Box<dyn Problem>, Fault>;

    /// A task and a method that can be read, with every key that has a default: what a schema for editors
    /// is made of.
    fn examples(&self) -> Examples;
}

/// See [`Model::examples`].
#[derive(Debug, Clone)]
pub struct Examples {
    /// Keys of a task, with a value each.
    pub task: Value,
    /// Ways to write a method, by the key that names them.
    pub methods: Vec<(&'static str, Value)>,
}

/// A checked task of a model.
pub trait Problem: Send + Sync {
    /// All that its results depend on, spelled out.
    fn canonical(&self) -> Value;

    /// Checks a method as it stands in a file, and spells it out.
    ///
    /// # Errors
    /// A [`Fault`] with the key that is wrong and what is allowed, as for a method that needs a signal
    /// which no layer here reports.
    fn method(&self, method: &Value) -> std::result::Result<Value, Fault>;

    /// Whether batches have to be samples, where moments alone would do for other methods: all methods
    /// of a setting then step on samples.
    fn needs_samples(&self, method: &Value) -> bool;

    /// The key of the task that has to be given for this measure to be recorded, where it is not.
    fn missing_for(&self, measure: &str) -> Option<&'static str>;

    /// The iterations at which series are recorded.
    fn recorded(&self) -> Vec<usize>;

    /// Work of a trial of some methods in the units of [`Monitor::advance`], one of which is about a step
    /// of the two-layer linear network of figure 1.
    fn work(&self, methods: usize) -> u64;

    /// Runs methods, as [`method`](Self::method) spells them out, on the task and batches of one trial.
    /// Neither the other trials nor the other methods change what one sees, but for `samples`.
    ///
    /// # Errors
    /// [`crate::ExperimentError::Interrupted`], and faults of the setting. A diverging iterate is a
    /// result, not an error.
    fn run(&self, methods: &[&Value], trial: &Trial<'_>, monitor: &dyn Monitor) -> Result<Outcome>;

    /// What theory says that a method measures of the model's main number, where it says something.
    ///
    /// # Errors
    /// Where a parameter is outside the range of the closed form.
    fn predict(&self, method: &Value) -> Result<Option<f64>>;
}

/// What a trial's random numbers come from, and how its batches are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// The streams of the seed.
    pub streams: &'a Streams,
    /// Names the streams of the setting.
    pub stream: &'a str,
    /// Number of the trial.
    pub trial: u64,
    /// Whether batches are samples, see [`Problem::needs_samples`].
    pub samples: bool,
}

/// Something that trials measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Its name in files, tables and records.
    pub name: &'static str,
    /// Its name on an axis.
    pub label: &'static str,
    /// What it is a number of.
    pub kind: Kind,
    /// Whether its axis is logarithmic.
    pub logarithmic: bool,
}

/// What a measure is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of a run, at each recorded iteration.
    Series,
    /// Of a run: an iteration; NaN where it was not reached.
    Iteration,
    /// Of a trial.
    Trial,
}

/// The measure that every model has: the iteration at which a run stopped being finite or defined.
pub const DIVERGED_AT: Measure = Measure {
    name: "diverged_at",
    label: "iteration of divergence",
    kind: Kind::Iteration,
    logarithmic: true,
};

impl dyn Model {
    /// Its measure of this name.
    #[must_use]
    pub fn measure(&self, name: &str) -> Option<&'static Measure> {
        self.measures().iter().find(|measure| measure.name == name)
    }
}
