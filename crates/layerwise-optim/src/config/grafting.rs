//! Step lengths of other methods, as data.

use serde::{Deserialize, Serialize};

use crate::config::diagonal::DiagonalConfig;
use crate::error::Result;
use crate::schedule::When;

/// The step length of another method: the preconditioned direction `D` becomes
/// `D · ‖D'‖_F / (‖D‖_F + 10⁻¹⁶)` with `D'` the other method's (Agarwal et al. 2020). Before the
/// first roots exist, the direction is `D'` itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Grafting {
    /// The direction before it is preconditioned.
    Sgd,
    /// An entry-wise preconditioned direction: Adagrad's, RMSprop's, Adam's.
    Diagonal(DiagonalConfig),
}

impl Grafting {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        match self {
            Grafting::Sgd => Ok(()),
            Grafting::Diagonal(config) => config.check(when),
        }
    }
}
