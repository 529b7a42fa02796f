//! The state of an optimizer, handed out and taken.

use layerwise_linalg::Scalar;

use crate::error::Result;
use crate::state::persist::Persist;
use crate::state::saved::{OptimizerState, Resume, check_fits};
use crate::step::optimizer::Optimizer;
use crate::values::{StateReader, StateWriter};

impl<A: Scalar> Optimizer<A> {
    /// All that it needs to go on later as if it had never stopped; the weight is the caller's to
    /// save.
    #[must_use]
    pub fn state(&self) -> OptimizerState<A> {
        OptimizerState::new(&self.chain, self.shape, self.steps, self.values())
    }

    /// Takes the state of an optimizer of the same method and shape.
    ///
    /// # Errors
    ///
    /// A state of another layout version, scalar type, shape or method, or with missing, unknown
    /// or unsuitable values, each by name. Nothing has changed then.
    pub fn load(&mut self, state: &OptimizerState<A>) -> Result<()> {
        self.resume(state, Resume::Exact)
    }

    /// As [`load`](Self::load), of a state of the same method or of one that is close enough to it.
    ///
    /// # Errors
    ///
    /// As `load`; a method that is not close enough, by the first place where it is not.
    pub fn resume(&mut self, state: &OptimizerState<A>, resume: Resume) -> Result<()> {
        *self = self.loaded(state, resume)?;
        Ok(())
    }

    /// What it is after [`Optimizer::resume`].
    pub(crate) fn loaded(&self, state: &OptimizerState<A>, resume: Resume) -> Result<Self> {
        state.check_kind()?;
        let found = (state.chain(), state.shape());
        check_fits((&self.chain, self.shape), found, resume)?;
        let mut loaded = self.fresh()?;
        state.read(|from| loaded.load_values(state.steps(), from))?;
        Ok(loaded)
    }

    /// Another one, as it was built.
    pub(crate) fn fresh(&self) -> Result<Self> {
        let mut fresh = Optimizer::new(self.chain.clone(), self.shape, &self.pool)?;
        fresh.has_pool = self.has_pool;
        if self.prepared.is_some() {
            fresh.reserve_gradient();
        }
        Ok(fresh)
    }

    pub(crate) fn values(&self) -> StateWriter<'_, A> {
        let mut out = StateWriter::new();
        for (list, links) in [("gradient", &self.gradient), ("update", &self.update)] {
            for (index, link) in links.iter().enumerate() {
                out.within(&link.path(list, index), |out| link.machine.save(out));
            }
        }
        self.iterates.save("weight_averaging", &mut out);
        Persist::<A>::save(&self.damping, "damping", &mut out);
        out
    }

    /// On an error, `self` may be partly overwritten.
    pub(crate) fn load_values(&mut self, steps: u64, from: &mut StateReader<'_, A>) -> Result<()> {
        for (list, links) in [("gradient", &mut self.gradient), ("update", &mut self.update)] {
            for (index, link) in links.iter_mut().enumerate() {
                from.within(&link.path(list, index), |from| link.machine.load(from))?;
            }
        }
        self.iterates.load("weight_averaging", from)?;
        Persist::<A>::load(&mut self.damping, "damping", from)?;
        self.steps = steps;
        self.broken = None;
        self.tell_damping_factor();
        Ok(())
    }

    /// The optimizer that a state was taken of.
    ///
    /// # Errors
    ///
    /// As [`Chain::build`](crate::Chain::build) and [`Optimizer::load`].
    pub fn from_state(state: &OptimizerState<A>) -> Result<Self> {
        state.check_kind()?;
        let mut optimizer = state.chain().build(state.shape())?;
        optimizer.load(state)?;
        Ok(optimizer)
    }
}
