//! What is made of an experiment's results: a picture, a table, and claims. All of it is a pure function
//! of the experiment and its results; it knows no thread, no file and no clock.

mod claims;
mod number;
mod panels;
mod table;
mod view;

pub use view::Chosen;

use crate::Result;
use crate::claim::Claim;
use crate::experiment::Experiment;
use crate::plot::Picture;
use crate::runner::Results;
use crate::table::Table;

/// What is made of the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The picture.
    pub picture: Picture,
    /// The data behind it, trial by trial.
    pub table: Table,
    /// The verdicts.
    pub claims: Vec<Claim>,
    /// The hyperparameters chosen on the tuning trials, where some are.
    pub chosen: Vec<Chosen>,
}

/// Makes it.
///
/// # Errors
/// Where a closed form is undefined.
pub fn report(experiment: &Experiment, results: &Results) -> Result<Report> {
    let view = view::View { experiment, results };
    Ok(Report {
        picture: panels::picture(view)?,
        table: table::table(view)?,
        claims: claims::claims(view)?,
        chosen: (0..experiment.settings.len()).flat_map(|s| view.all_tuned(s)).collect(),
    })
}
