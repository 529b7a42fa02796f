//! Step lengths of other methods, as data.

use serde::{Deserialize, Serialize};

use crate::config::diagonal::DiagonalConfig;
use crate::error::Result;
use crate::schedule::When;

/// The step length of another method: what a stage makes, `D`, becomes `D · ‖D'‖_F / (‖D‖_F + 10⁻¹⁶)`,
/// with `D'` what the other method makes of the same direction (Agarwal et al. 2020). Before the stage
/// has its first roots or bases, the direction is `D'` itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Grafting {
    /// That of SGD: `D'` is the direction that arrives.
    Sgd,
    /// That of a diagonal method, Adagrad's, RMSprop's or Adam's: the direction that arrives, divided by
    /// the root of a second moment of the gradient.
    Diagonal(DiagonalConfig),
}

impl Grafting {
    pub(crate) fn check(&self, when: When) -> Result<()> {
        match self {
            Grafting::Sgd => Ok(()),
            Grafting::Diagonal(config) => {
                config.check(when)?;
                config.check_unshared("grafting")
            }
        }
    }
}
