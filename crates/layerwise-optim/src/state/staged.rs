//! State that is written beside what it replaces, and kept only if the whole step succeeds.

use crate::error::Result;
use crate::state::persist::Persist;
use crate::values::{StateReader, StateWriter};

/// A value and its proposed successor.
#[derive(Debug)]
pub(crate) struct Staged<T> {
    current: T,
    next: T,
    proposed: bool,
}

impl<T> Staged<T> {
    /// Both halves must be of the same shape.
    pub(crate) fn new(current: T, next: T) -> Self {
        Staged { current, next, proposed: false }
    }

    pub(crate) fn current(&self) -> &T {
        &self.current
    }

    /// The proposed value where there is one, else the current.
    pub(crate) fn latest(&self) -> &T {
        if self.proposed { &self.next } else { &self.current }
    }

    /// Forgets a former proposal and hands out (current, place for the next). The place becomes a
    /// proposal with [`Staged::propose`].
    pub(crate) fn split(&mut self) -> (&T, &mut T) {
        self.proposed = false;
        (&self.current, &mut self.next)
    }

    /// As [`Staged::split`], for a place that is a proposal whatever is written there.
    pub(crate) fn split_proposed(&mut self) -> (&T, &mut T) {
        self.proposed = true;
        (&self.current, &mut self.next)
    }

    pub(crate) fn propose(&mut self) {
        self.proposed = true;
    }

    pub(crate) fn is_proposed(&self) -> bool {
        self.proposed
    }

    pub(crate) fn discard(&mut self) {
        self.proposed = false;
    }

    /// Makes the proposal, if there is one, the current value.
    pub(crate) fn commit(&mut self) {
        if self.proposed {
            std::mem::swap(&mut self.current, &mut self.next);
            self.proposed = false;
        }
    }
}

/// A state is taken between steps, when there is no proposal.
impl<A, T: Persist<A>> Persist<A> for Staged<T> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.current.save(path, out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.proposed = false;
        self.current.load(path, from)
    }

    fn discard(&mut self) {
        Staged::discard(self);
    }

    fn commit(&mut self) {
        Staged::commit(self);
    }
}

impl<T: Clone> Staged<T> {
    pub(crate) fn twice(value: T) -> Self {
        Staged::new(value.clone(), value)
    }
}
