//! The checkpoint of a set.

use std::io::{Read, Seek};
use std::path::Path;

use layerwise_linalg::Scalar;

use crate::error::{OptimError, Result};
use crate::set::OptimizerSet;
use crate::state::checkpoint::header::Content;
use crate::state::checkpoint::read::Checkpoint;
use crate::state::checkpoint::write::save;
use crate::state::saved::Resume;

impl<A: Scalar> OptimizerSet<A> {
    /// Writes the states of all parameters to a file, without a copy of them in memory: a safetensors
    /// file, in which arrays are called `PARAMETER/PATH`, with the paths of the state as JSON.
    ///
    /// The file is written beside the path, synced, and put in its place when it is whole: a process
    /// that is killed leaves what stood there, and perhaps a hidden file `.NAME.PROCESS-NUMBER.tmp`,
    /// which can be deleted.
    ///
    /// ```
    /// use layerwise_optim::{Adam, Group, OptimError, OptimizerSet, Selector, Signals};
    ///
    /// let new = || -> Result<OptimizerSet<f32>, OptimError> {
    ///     let mut set = OptimizerSet::new(vec![Group::new(Selector::All, &Adam::default())]);
    ///     set.register("weight", (3, 2), Signals::GRADIENT)?;
    ///     Ok(set)
    /// };
    /// let path = std::env::temp_dir().join(format!("optimizers-{}.safetensors", std::process::id()));
    /// let set = new()?;
    /// set.save_file(&path)?;
    ///
    /// let mut resumed = new()?;
    /// resumed.load_file(&path)?;
    /// assert_eq!(resumed.state(), set.state());
    /// # std::fs::remove_file(path).ok();
    /// # Ok::<(), OptimError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A file that cannot be written, a state with a number that is not finite, and
    /// [`OptimError::HalfLoaded`] or [`OptimError::HalfTaken`]. What stood at the path is as it was then.
    pub fn save_file(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check_whole()?;
        let sections = self.parameters.iter().map(|p| (p.name.clone(), p.optimizer.section()));
        save(path.as_ref(), Content::Set { steps: self.steps, parameters: sections.collect() })
    }

    /// Takes the states that [`save_file`](Self::save_file) wrote of a set with the same parameters (in
    /// any order), each with the same method. Reports begin anew.
    ///
    /// The file is read twice: first into optimizers that are thrown away, one parameter's at a time,
    /// so that nothing has changed when anything is found wrong; then in place.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is no checkpoint, or is damaged, and states that
    /// [`load`](Self::load) would refuse: nothing has changed then. [`OptimError::HalfLoaded`] where
    /// the file was read once and cannot be read again: the set then refuses steps and to be saved,
    /// until it has been loaded.
    pub fn load_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.resume_file(path, Resume::Exact)
    }

    /// As [`load_file`](Self::load_file), of parameters whose methods are the same or [close
    /// enough](Resume).
    ///
    /// # Errors
    ///
    /// As `load_file`, with [`resume`](Self::resume).
    pub fn resume_file(&mut self, path: impl AsRef<Path>, resume: Resume) -> Result<()> {
        self.load_checkpoint(Checkpoint::open::<A>(path.as_ref())?, resume)
    }

    fn load_checkpoint(
        &mut self,
        mut checkpoint: Checkpoint<impl Read + Seek>,
        resume: Resume,
    ) -> Result<()> {
        let steps =
            checkpoint.check_parameters(self.names(), |name| self.index.contains_key(name))?;
        for parameter in &self.parameters {
            let mut tried = parameter.optimizer.fresh()?;
            tried.load_section(Some(&parameter.name), resume, &mut checkpoint)?;
        }
        for parameter in &mut self.parameters {
            let name = Some(parameter.name.as_str());
            if let Err(error) = parameter.optimizer.load_section(name, resume, &mut checkpoint) {
                let error = OptimError::HalfLoaded { source: Box::new(error) };
                self.half_loaded = Some(error.clone());
                return Err(error);
            }
            parameter.report = None;
        }
        self.half_loaded = None;
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
