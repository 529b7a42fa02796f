//! The factor of adapted dampings.

use crate::config::adaptation::LevenbergMarquardt;
use crate::error::Result;
use crate::state::persist::{join, persist};
use crate::values::refuse;

/// The factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DampingFactor {
    config: LevenbergMarquardt,
    factor: f64,
}

persist!(DampingFactor { factor } checked by check_loaded);

impl DampingFactor {
    pub(crate) fn new(config: LevenbergMarquardt) -> Self {
        DampingFactor { config, factor: 1.0 }
    }

    fn check_loaded(&self, path: &str) -> Result<()> {
        if self.factor > 0.0 { Ok(()) } else { Err(refuse(&join(path, "factor"), "is not > 0")) }
    }

    /// Within its bounds, which may be narrower than those of the run that a state is of.
    pub(crate) fn factor(&self) -> f64 {
        self.factor.clamp(self.config.smallest, self.config.largest)
    }

    pub(crate) fn report(&mut self, ratio: f64) {
        let factor = if ratio > 0.75 {
            self.factor * self.config.decrease
        } else if ratio < 0.25 {
            self.factor / self.config.decrease
        } else {
            self.factor
        };
        self.factor = factor.clamp(self.config.smallest, self.config.largest);
    }
}
