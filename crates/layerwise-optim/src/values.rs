//! The values of a state by name: how they are written, and handed out again.

use std::collections::{BTreeMap, BTreeSet};

use layerwise_linalg::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::error::{OptimError, Result};
use crate::numeric::finite::first_non_finite;

/// One value of a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum StateValue<A> {
    Array { rows: usize, cols: usize, entries: Vec<A> },
    Number(f64),
    Count(u64),
    Flag(bool),
}

/// The same where it stands: nothing of an array is copied until it is known where to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StateRef<'s, A> {
    Array(ArrayView2<'s, A>),
    Number(f64),
    Count(u64),
    Flag(bool),
}

impl<A: Scalar> StateRef<'_, A> {
    fn to_owned(self) -> StateValue<A> {
        match self {
            StateRef::Array(array) => {
                let (rows, cols) = array.dim();
                StateValue::Array { rows, cols, entries: array.iter().copied().collect() }
            }
            StateRef::Number(number) => StateValue::Number(number),
            StateRef::Count(count) => StateValue::Count(count),
            StateRef::Flag(flag) => StateValue::Flag(flag),
        }
    }
}

/// Collects the state of a [`Stage`](crate::stage::Stage) by name: arrays as views,
/// which are copied when the state is.
///
/// A name that is given again replaces what it stood for.
#[derive(Debug)]
pub struct StateWriter<'s, A> {
    prefix: String,
    values: BTreeMap<String, StateRef<'s, A>>,
}

impl<'s, A: Scalar> StateWriter<'s, A> {
    pub(crate) fn new() -> Self {
        StateWriter { prefix: String::new(), values: BTreeMap::new() }
    }

    pub(crate) fn into_refs(self) -> BTreeMap<String, StateRef<'s, A>> {
        self.values
    }

    pub(crate) fn into_values(self) -> BTreeMap<String, StateValue<A>> {
        self.values.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
    }

    /// An array, in any layout.
    pub fn array(&mut self, name: &str, value: ArrayView2<'s, A>) {
        self.put(name, StateRef::Array(value));
    }

    /// A number, which must be finite to be read again.
    pub fn number(&mut self, name: &str, value: f64) {
        self.put(name, StateRef::Number(value));
    }

    /// A count, which must be at most `u64::MAX / 2` to be read again.
    pub fn count(&mut self, name: &str, value: u64) {
        self.put(name, StateRef::Count(value));
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.put(name, StateRef::Flag(value));
    }

    /// Puts `name.` before the names of what is saved inside.
    pub fn within(&mut self, name: &str, save: impl FnOnce(&mut Self)) {
        let outer = enter(&mut self.prefix, name);
        save(self);
        self.prefix.truncate(outer);
    }

    fn put(&mut self, name: &str, value: StateRef<'s, A>) {
        self.values.insert(full(&self.prefix, name), value);
    }
}

/// Where a state is read from.
pub(crate) trait StateSource<A> {
    /// What stands under a name, but the entries of an array.
    fn find(&self, name: &str) -> Option<Found>;

    /// The entries of an array that was [found](Self::find) with the shape of `into`.
    fn read(&mut self, name: &str, into: ArrayViewMut2<'_, A>) -> Result<()>;

    /// All names.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

/// What a source has under a name.
pub(crate) enum Found {
    Array { rows: usize, cols: usize },
    Number(f64),
    Count(u64),
    Flag(bool),
}

impl<A: Scalar> StateSource<A> for &BTreeMap<String, StateValue<A>> {
    fn find(&self, name: &str) -> Option<Found> {
        Some(match self.get(name)? {
            StateValue::Array { rows, cols, .. } => Found::Array { rows: *rows, cols: *cols },
            StateValue::Number(number) => Found::Number(*number),
            StateValue::Count(count) => Found::Count(*count),
            StateValue::Flag(flag) => Found::Flag(*flag),
        })
    }

    fn read(&mut self, name: &str, mut into: ArrayViewMut2<'_, A>) -> Result<()> {
        match self.get(name) {
            Some(StateValue::Array { entries, .. }) if entries.len() == into.len() => {
                into.iter_mut().zip(entries).for_each(|(to, &from)| *to = from);
                Ok(())
            }
            _ => Err(refuse(name, "is of another shape")),
        }
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.keys().map(String::as_str))
    }
}

/// Hands the values of a state out to a [`Stage`](crate::stage::Stage), by the names
/// under which a [`StateWriter`] took them.
pub struct StateReader<'s, A> {
    source: &'s mut dyn StateSource<A>,
    prefix: String,
    taken: BTreeSet<String>,
}

impl<A> std::fmt::Debug for StateReader<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateReader")
            .field("prefix", &self.prefix)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl<'s, A: Scalar> StateReader<'s, A> {
    pub(crate) fn new(source: &'s mut dyn StateSource<A>) -> Self {
        StateReader { source, prefix: String::new(), taken: BTreeSet::new() }
    }

    /// Reads an array into one of its shape.
    ///
    /// # Errors
    ///
    /// What is missing, no array, of another shape, or has an entry that is not finite. The array
    /// may be partly overwritten then.
    pub fn array(&mut self, name: &str, mut into: ArrayViewMut2<'_, A>) -> Result<()> {
        let name = full(&self.prefix, name);
        let Found::Array { rows, cols } = self.take(&name)? else {
            return Err(refuse(&name, "is not an array"));
        };
        if (rows, cols) != into.dim() {
            return Err(refuse(&name, "is of another shape"));
        }
        self.source.read(&name, into.view_mut())?;
        if first_non_finite(&into.view()).is_some() {
            return Err(refuse(&name, "has an entry that is not finite"));
        }
        Ok(())
    }

    /// Reads a number.
    ///
    /// # Errors
    ///
    /// What is missing, no number, or not finite.
    pub fn number(&mut self, name: &str) -> Result<f64> {
        let name = full(&self.prefix, name);
        match self.take(&name)? {
            Found::Number(number) if number.is_finite() => Ok(number),
            Found::Number(_) => Err(refuse(&name, "is not finite")),
            _ => Err(refuse(&name, "is not a number")),
        }
    }

    /// Reads a count.
    ///
    /// # Errors
    ///
    /// What is missing, no count, or greater than `u64::MAX / 2`.
    pub fn count(&mut self, name: &str) -> Result<u64> {
        let name = full(&self.prefix, name);
        match self.take(&name)? {
            Found::Count(count) if count <= LARGEST_COUNT => Ok(count),
            Found::Count(_) => Err(refuse(&name, "is too large a count")),
            _ => Err(refuse(&name, "is not a count")),
        }
    }

    /// Reads a flag.
    ///
    /// # Errors
    ///
    /// What is missing, or no flag.
    pub fn flag(&mut self, name: &str) -> Result<bool> {
        let name = full(&self.prefix, name);
        match self.take(&name)? {
            Found::Flag(flag) => Ok(flag),
            _ => Err(refuse(&name, "is not a flag")),
        }
    }

    /// Puts `name.` before the names of what is read inside.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub fn within(&mut self, name: &str, load: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let outer = enter(&mut self.prefix, name);
        let result = load(self).map_err(|error| match error {
            OptimError::StateEntry { name, problem } if !name.starts_with(&self.prefix) => {
                OptimError::StateEntry { name: full(&self.prefix, &name), problem }
            }
            other => other,
        });
        self.prefix.truncate(outer);
        result
    }

    fn take(&mut self, name: &str) -> Result<Found> {
        let found = self.source.find(name).ok_or_else(|| refuse(name, "is missing"))?;
        self.taken.insert(name.to_owned());
        Ok(found)
    }

    /// Refuses a state with values that nobody asked for.
    pub(crate) fn finish(self) -> Result<()> {
        match self.source.names().find(|&name| !self.taken.contains(name)) {
            None => Ok(()),
            Some(name) => Err(refuse(name, "is not known")),
        }
    }
}

fn full(prefix: &str, name: &str) -> String {
    [prefix, name].concat()
}

/// Lengthens the prefix, and returns what it is to be cut to again.
fn enter(prefix: &mut String, name: &str) -> usize {
    let outer = prefix.len();
    prefix.push_str(name);
    prefix.push('.');
    outer
}

/// The largest count that is read: no run reaches it, and none that starts there overflows.
pub(crate) const LARGEST_COUNT: u64 = u64::MAX / 2;

pub(crate) fn refuse(path: &str, problem: &'static str) -> OptimError {
    OptimError::StateEntry { name: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn what_is_within_bears_the_outer_names() {
        let (inner, outer) = (array![[1.0_f64, 2.0]], array![[3.0], [4.0]]);
        let mut out = StateWriter::new();
        out.within("a", |out| {
            out.within("b", |out| out.array("c", inner.view()));
            out.count("d", 7);
        });
        out.array("e", outer.view());
        let values = out.into_values();
        assert_eq!(values.keys().collect::<Vec<_>>(), ["a.b.c", "a.d", "e"]);

        let mut source = &values;
        let mut reader = StateReader::new(&mut source);
        let mut read = (Array2::zeros((1, 2)), Array2::zeros((2, 1)), 0);
        let result = reader.within("a", |from| {
            from.within("b", |from| from.array("c", read.0.view_mut()))?;
            read.2 = from.count("d")?;
            from.flag("d").map(|_| ())
        });
        assert_eq!(result, Err(refuse("a.d", "is not a flag")));
        // A failure inside leaves the prefix as it was.
        assert_eq!(reader.array("e", read.1.view_mut()), Ok(()));
        assert_eq!(reader.number("f"), Err(refuse("f", "is missing")));
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(read, (inner, outer, 7));
    }
}
