//! The checkpoint of one optimizer.

use std::io::{Read, Seek};
use std::path::Path;

use layerwise_linalg::Scalar;

use crate::error::Result;
use crate::state::checkpoint::header::Content;
use crate::state::checkpoint::read::{Checkpoint, Wanted};
use crate::state::checkpoint::write::{Section, save};
use crate::state::saved::Resume;
use crate::step::optimizer::Optimizer;

impl<A: Scalar> Optimizer<A> {
    /// Writes its [`state`](Self::state) to a file, without a copy of it in memory; see
    /// [`OptimizerSet::save_file`](crate::OptimizerSet::save_file).
    ///
    /// # Errors
    ///
    /// A file that cannot be written, a state with a number that is not finite, and
    /// [`OptimError::HalfTaken`](crate::OptimError::HalfTaken). What stood at the path is as it was then.
    pub fn save_file(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check_whole()?;
        save(path.as_ref(), Content::Optimizer(self.section()))
    }

    /// Takes the state that [`save_file`](Self::save_file) wrote of an optimizer of the same method and
    /// shape.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is no checkpoint, or is damaged, and a state that
    /// [`load`](Self::load) would refuse. Nothing has changed then.
    pub fn load_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.resume_file(path, Resume::Exact)
    }

    /// As [`load_file`](Self::load_file), of a state of the same method or of one that is [close
    /// enough](Resume) to it.
    ///
    /// # Errors
    ///
    /// As `load_file`; a method that is not close enough.
    pub fn resume_file(&mut self, path: impl AsRef<Path>, resume: Resume) -> Result<()> {
        let mut checkpoint = Checkpoint::open::<A>(path.as_ref())?;
        checkpoint.check_one()?;
        let mut loaded = self.fresh()?;
        loaded.load_section(None, resume, &mut checkpoint)?;
        *self = loaded;
        Ok(())
    }

    pub(crate) fn section(&self) -> Section<'_, A> {
        Section {
            method: self.chain(),
            shape: self.shape(),
            steps: self.steps(),
            values: self.values(),
        }
    }

    /// On an error, `self` may be partly overwritten.
    pub(crate) fn load_section(
        &mut self,
        parameter: Option<&str>,
        resume: Resume,
        checkpoint: &mut Checkpoint<impl Read + Seek>,
    ) -> Result<()> {
        let method = self.chain().clone();
        let wanted = Wanted { parameter, method: &method, shape: self.shape(), resume };
        checkpoint.read(&wanted, |steps, from| self.load_values(steps, from))
    }
}
