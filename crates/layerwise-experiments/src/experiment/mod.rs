//! Experiments as files: tasks, methods, what is varied, panels and claims, in TOML.
//!
//! A file is read into an [`Experiment`], in which everything is checked and spelled out: each
//! [`Setting`] with its problem, each [`MethodEntry`] with its cells. The six figures are such files
//! ([`shipped()`]); nothing in them is out of a user's reach.

mod check;
pub(crate) mod file;
pub(crate) mod grid;
mod probe;
mod resolve;
mod schema;
mod shipped;
mod source;

use std::path::Path;

use serde_json::Value;

pub use schema::{schema, schema_text};
pub use shipped::{Shipped, figure_method, shipped};
pub use source::Fault;
pub(crate) use source::{typed, unknown_name};

use crate::experiment::file::ExperimentFile;
use crate::experiment::grid::Grid;
use crate::model::{Model, Problem};
use crate::plan::Plan;
use crate::runner::Trials;
use crate::store::is_plain;
use crate::{ExperimentError, Result};

/// An experiment of which everything is checked: nothing of it is refused once it runs.
pub struct Experiment {
    /// Its short name, which its files are called by.
    pub name: String,
    /// The text that it was read from.
    pub text: String,
    /// Its kind.
    pub model: &'static dyn Model,
    /// What was asked for.
    pub plan: Plan,
    /// Numbers of trials.
    pub trials: Trials,
    /// The settings, those that are swept once for each value.
    pub settings: Vec<Setting>,
    /// The methods.
    pub methods: Vec<MethodEntry>,
    pub(crate) file: ExperimentFile,
}

/// What a user chose beside the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choices {
    /// Fewer trials and coarser grids.
    pub quick: bool,
    /// Shown trials, in place of the file's.
    pub trials: Option<u64>,
    /// Seed, in place of the file's.
    pub seed: Option<u64>,
}

/// One task, with the methods that run on it.
pub struct Setting {
    /// Names the random streams.
    pub stream: String,
    /// The stream, and the values of what is swept.
    pub name: String,
    /// In panels and claims.
    pub title: String,
    /// What is swept, with its value here.
    pub point: Vec<(String, Value)>,
    /// Number of its `[[setting]]` in the file.
    pub group: usize,
    /// The checked task.
    pub problem: Box<dyn Problem>,
    /// The methods by number, in order, each with its cells spelled out as the problem reads them.
    pub methods: Vec<(usize, Vec<Value>)>,
    /// Whether batches are samples.
    pub samples: bool,
}

/// A method with all values of what is varied of it.
pub struct MethodEntry {
    /// In the file, and in claims.
    pub name: String,
    /// In legends and tables.
    pub label: String,
    /// What is varied; the cells are all combinations, the last axis the fastest.
    pub axes: Vec<Axis>,
    /// The values of the axes, cell by cell.
    pub cells: Vec<Vec<Value>>,
}

/// Something that is varied.
pub struct Axis {
    /// Its short name: the last step of its path; "rate" for a learning rate.
    pub name: String,
    /// Whether its value is chosen on the tuning trials.
    pub tuned: bool,
    pub(crate) grid: Grid,
}

/// What stands behind it in the names of files takes 60 more.
const LONGEST_NAME: usize = 140;

impl Experiment {
    /// Reads an experiment: a file, or the name of a shipped one.
    ///
    /// # Errors
    /// [`ExperimentError::Experiment`] with file, line, what is wrong and what is allowed;
    /// [`ExperimentError::Io`].
    pub fn open(file_or_name: &str, choices: Choices) -> Result<Self> {
        if let Some(shipped) = shipped().iter().find(|shipped| shipped.name == file_or_name) {
            return shipped.experiment(choices);
        }
        let path = Path::new(file_or_name);
        if !path.exists() && !file_or_name.contains(['/', '.']) {
            let names = shipped().iter().map(|shipped| shipped.name);
            return Err(ExperimentError::Experiment {
                path: path.into(),
                line: 0,
                message: format!(
                    "is no file, and {}",
                    unknown_name("experiment", file_or_name, names)
                ),
            });
        }
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = name.filter(|name| name.len() <= LONGEST_NAME && is_plain(name));
        let Some(name) = name else {
            return Err(ExperimentError::Experiment {
                path: path.into(),
                line: 0,
                message: format!(
                    "results are called by the file's name: choose one of at most {LONGEST_NAME} bytes \
                     that does not begin with a dot and holds no ':', '\\' or control character"
                ),
            });
        };
        let (source, text) = source::Source::read(path)?;
        resolve::resolve(&name, text, &source, choices)
    }

    /// Reads an experiment from a text; `name` is what its files are called by.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn parse(name: &str, text: &str, choices: Choices) -> Result<Self> {
        let source = source::Source::parse(Path::new(&format!("{name}.toml")), text)?;
        resolve::resolve(name, text.to_string(), &source, choices)
    }

    /// One line that says what it shows.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.file.title
    }

    /// A sentence or two on how to read its picture.
    #[must_use]
    pub fn caption(&self) -> &str {
        &self.file.caption
    }

    /// Its number, where it is a figure.
    #[must_use]
    pub fn figure(&self) -> Option<u8> {
        self.file.figure
    }

    /// The settings of a `[[setting]]`, by name or title; of the first where there is none.
    pub(crate) fn group(&self, name: Option<&str>) -> Vec<usize> {
        let group = match name {
            None => 0,
            Some(name) => self
                .file
                .setting
                .iter()
                .position(|setting| setting.name == name || setting.title.as_deref() == Some(name))
                .unwrap_or(usize::MAX),
        };
        (0..self.settings.len()).filter(|&i| self.settings[i].group == group).collect()
    }

    /// What theory says at another value of something that is varied than a cell has.
    ///
    /// # Errors
    /// Where a parameter is outside the range of the closed form.
    pub(crate) fn predicted(
        &self,
        (setting, method, cell): (usize, usize, usize),
        axis: &str,
        value: f64,
    ) -> Result<Option<f64>> {
        let changed = resolve::at_value(self, (setting, method, cell), axis, &Value::from(value));
        match changed {
            Ok((problem, cell)) => problem.predict(&cell),
            Err(_) => Ok(None),
        }
    }

    /// The values over which settings of a group are swept.
    pub(crate) fn grid_of_settings(&self, group: usize, axis: &str) -> Option<&Grid> {
        let sweep = &self.file.setting[group].sweep;
        sweep.iter().find(|(path, _)| resolve::axis_name(path) == axis).map(|(_, grid)| grid)
    }

    /// The number of a method.
    pub(crate) fn method(&self, name: &str) -> Option<usize> {
        self.methods.iter().position(|method| method.name == name)
    }
}

impl Setting {
    /// Its value of something that is swept.
    pub(crate) fn value(&self, axis: &str) -> Option<&Value> {
        self.point.iter().find(|(name, _)| name == axis).map(|(_, value)| value)
    }

    /// The cells of a method on it.
    pub(crate) fn cells(&self, method: usize) -> Option<&[Value]> {
        self.methods.iter().find(|(number, _)| *number == method).map(|(_, cells)| &**cells)
    }
}

impl Axis {
    /// Its values, all of them or those of a quick run.
    #[must_use]
    pub fn values(&self, quick: bool) -> Vec<Value> {
        self.grid.values(quick)
    }
}

impl MethodEntry {
    /// The number of an axis.
    pub(crate) fn axis(&self, name: &str) -> Option<usize> {
        self.axes.iter().position(|axis| axis.name == name)
    }

    /// The values of an axis.
    pub(crate) fn grid(&self, name: &str) -> Option<&Grid> {
        self.axis(name).map(|axis| &self.axes[axis].grid)
    }

    /// A cell's value on an axis, as a number.
    pub(crate) fn number(&self, cell: usize, axis: &str) -> Option<f64> {
        self.axis(axis).and_then(|axis| self.cells[cell][axis].as_f64())
    }
}
