//! The six figures: what each runs, and what it makes of the results. A figure is data; it knows
//! no thread, no file and no clock.

mod batch_norm;
mod convergence;
mod figure1;
mod figure2;
mod figure3;
mod figure4;
mod figure5;
mod figure6;

use crate::Result;
use crate::claim::Claim;
use crate::linear::Chosen;
use crate::plan::Plan;
use crate::plot::Picture;
use crate::runner::{Demand, Results};
use crate::table::Table;

/// One figure.
pub trait Figure: Sync {
    /// Its number, 1 to 6.
    fn number(&self) -> u8;

    /// One line that says what it shows.
    fn title(&self) -> &'static str;

    /// A sentence or two on how to read it, with the settings that matter.
    fn caption(&self) -> &'static str;

    /// What has to be run for it.
    fn demand(&self, plan: &Plan) -> Demand;

    /// Its picture, data and verdicts.
    ///
    /// # Errors
    /// Where results that it demanded are missing, or a closed form is undefined.
    fn report(&self, plan: &Plan, results: &Results) -> Result<Report>;
}

/// What a figure makes of the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The picture.
    pub picture: Picture,
    /// The data behind it, trial by trial.
    pub table: Table,
    /// The verdicts.
    pub claims: Vec<Claim>,
    /// The rates chosen on the tuning trials, where rates are chosen.
    pub chosen: Vec<Chosen>,
}

/// All figures, in order.
pub static FIGURES: [&dyn Figure; 6] = [
    &figure1::Figure1,
    &figure2::Figure2,
    &figure3::Figure3,
    &figure4::Figure4,
    &figure5::Figure5,
    &figure6::Figure6,
];
