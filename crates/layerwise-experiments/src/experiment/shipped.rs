//! The experiments that come with the program.

use std::path::Path;

use serde_json::Value;

use crate::experiment::file::ExperimentFile;
use crate::experiment::resolve::{forget_none, set_hyperparameter};
use crate::experiment::source::{Source, typed};
use crate::experiment::{Choices, Experiment};
use crate::{ExperimentError, Result};

/// An experiment that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$(Shipped {
            name: $name,
            text: include_str!(concat!("../../experiments/", $name, ".toml")),
        }),*]
    };
}

static SHIPPED: [Shipped; 9] = shipped![
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
    "figure6",
    "condition",
    "exponent",
    "sample-complexity",
];

/// All of them, the six figures first.
#[must_use]
pub fn shipped() -> &'static [Shipped] {
    &SHIPPED
}

impl Shipped {
    /// Reads it.
    ///
    /// # Errors
    /// As [`Experiment::parse`].
    pub fn experiment(&self, choices: Choices) -> Result<Experiment> {
        Experiment::parse(self.name, self.text, choices)
    }
}

/// A method of a shipped experiment as its model reads it, with some hyperparameters set.
///
/// # Errors
/// [`ExperimentError::MissingResults`] where there is no such experiment or method.
pub fn figure_method(experiment: &str, method: &str, set: &[(&str, f64)]) -> Result<Value> {
    let missing = || ExperimentError::MissingResults(format!("{method} of {experiment}"));
    let shipped = SHIPPED.iter().find(|shipped| shipped.name == experiment).ok_or_else(missing)?;
    let source = Source::parse(Path::new(experiment), shipped.text)?;
    let file: ExperimentFile = typed(&source.root).map_err(|fault| source.error(fault))?;
    let entry = file.method.iter().find(|entry| entry.name == method).ok_or_else(missing)?;
    let mut spec = entry.spec.clone();
    for (path, value) in set {
        set_hyperparameter(&mut spec, path, &Value::from(*value)).map_err(|_| missing())?;
    }
    forget_none(&mut spec);
    Ok(spec)
}
