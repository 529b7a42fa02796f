//! The values of a state by name: how they are written, and handed out again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{OptimError, Result};

/// One value of a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum StateValue<A> {
    Array { rows: usize, cols: usize, entries: Vec<A> },
    Number(f64),
    Count(u64),
    Flag(bool),
}

/// Collects the state of a [`Preconditioner`](crate::Preconditioner), value by value.
#[derive(Debug)]
pub struct StateWriter<A> {
    values: BTreeMap<String, StateValue<A>>,
}

impl<A> StateWriter<A> {
    pub(crate) fn new() -> Self {
        StateWriter { values: BTreeMap::new() }
    }

    pub(crate) fn into_values(self) -> BTreeMap<String, StateValue<A>> {
        self.values
    }

    pub(crate) fn put(&mut self, path: &str, value: StateValue<A>) {
        self.values.insert(path.to_owned(), value);
    }
}

/// Hands the values of a state out to a [`Preconditioner`](crate::Preconditioner).
#[derive(Debug)]
pub struct StateReader<'s, A> {
    values: &'s BTreeMap<String, StateValue<A>>,
    taken: BTreeSet<&'s str>,
}

impl<'s, A> StateReader<'s, A> {
    pub(crate) fn new(values: &'s BTreeMap<String, StateValue<A>>) -> Self {
        StateReader { values, taken: BTreeSet::new() }
    }

    pub(crate) fn take(&mut self, path: &str) -> Result<&'s StateValue<A>> {
        let Some((name, value)) = self.values.get_key_value(path) else {
            return Err(OptimError::StateEntry { name: path.to_owned(), problem: "is missing" });
        };
        self.taken.insert(name);
        Ok(value)
    }

    /// Refuses a state with values that nobody asked for.
    pub(crate) fn finish(self) -> Result<()> {
        match self.values.keys().find(|name| !self.taken.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => {
                Err(OptimError::StateEntry { name: name.clone(), problem: "is not known" })
            }
        }
    }
}

/// The largest count that is read: no run reaches it, and none that starts there overflows.
pub(crate) const LARGEST_COUNT: u64 = u64::MAX / 2;

pub(crate) fn refuse(path: &str, problem: &'static str) -> OptimError {
    OptimError::StateEntry { name: path.to_owned(), problem }
}
