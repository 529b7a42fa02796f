//! An array of state that is held once, and changed in place by a step that is sure to succeed.

use layerwise_linalg::Scalar;
use ndarray::Array2;

use crate::error::Result;
use crate::numeric::finite::{bytes, frobenius_norm};
use crate::state::persist::Persist;
use crate::values::{StateReader, StateWriter};

/// An array, and where a step may still fail, its proposed successor.
#[derive(Debug)]
pub(crate) struct Held<A> {
    current: Array2<A>,
    /// Made when it is first needed.
    next: Option<Array2<A>>,
    proposed: bool,
    /// A bound of the Frobenius norm, where one is known, and the one after the step under way.
    bound: Option<f64>,
    next_bound: Option<f64>,
}

impl<A: Scalar> Held<A> {
    pub(crate) fn new(current: Array2<A>) -> Self {
        Held { current, next: None, proposed: false, bound: None, next_bound: None }
    }

    pub(crate) fn current(&self) -> &Array2<A> {
        &self.current
    }

    /// The proposed value where there is one, else the current.
    pub(crate) fn latest(&self) -> &Array2<A> {
        match &self.next {
            Some(next) if self.proposed => next,
            _ => &self.current,
        }
    }

    pub(crate) fn latest_mut(&mut self) -> &mut Array2<A> {
        match &mut self.next {
            Some(next) if self.proposed => next,
            _ => &mut self.current,
        }
    }

    /// What a step changes: the value itself where the step takes place `in_place`, else a copy, which
    /// is proposed. It does the same to both.
    pub(crate) fn place(&mut self, in_place: bool) -> &mut Array2<A> {
        if in_place {
            // What an earlier step proposed and did not keep is forgotten.
            self.proposed = false;
            self.bound = self.next_bound.take();
            return &mut self.current;
        }
        self.proposed = true;
        let current = &self.current;
        let next = self.next.get_or_insert_with(|| Array2::zeros(current.raw_dim()));
        next.assign(current);
        next
    }

    /// Makes the place of proposals.
    pub(crate) fn reserve(&mut self) {
        self.next.get_or_insert_with(|| Array2::zeros(self.current.raw_dim()));
    }

    /// A bound of the Frobenius norm of what is held.
    pub(crate) fn norm(&mut self) -> f64 {
        *self.bound.get_or_insert_with(|| frobenius_norm(&self.current.view()))
    }

    /// What bounds the norm after a step that takes place.
    pub(crate) fn will_be_within(&mut self, bound: f64) {
        self.next_bound = Some(bound);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        (1 + usize::from(self.next.is_some())) * bytes::<A>(self.current.dim())
    }
}

/// A state is taken between steps, when there is no proposal.
impl<A: Scalar> Persist<A> for Held<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.current.save(path, out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        (self.proposed, self.bound) = (false, None);
        self.current.load(path, from)
    }

    fn discard(&mut self) {
        (self.proposed, self.next_bound) = (false, None);
    }

    fn commit(&mut self) {
        if self.proposed
            && let Some(next) = &mut self.next
        {
            std::mem::swap(&mut self.current, next);
            (self.proposed, self.bound) = (false, None);
        }
    }
}
