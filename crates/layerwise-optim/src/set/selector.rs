//! Which parameters a group takes.

use serde::{Deserialize, Serialize};

/// Which parameters a group takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Selector {
    /// Every parameter.
    All,
    /// Those with more than one row and more than one column.
    Matrices,
    /// Those with a single row or a single column.
    Vectors,
    /// Those with one of these names.
    Named(Vec<String>),
    /// Those whose name starts so.
    Prefix(String),
    /// Those that the selector inside does not take.
    Not(Box<Selector>),
    /// Those that each of these takes.
    Each(Vec<Selector>),
}

impl Selector {
    /// The parameters with these names.
    #[must_use]
    pub fn named<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Selector::Named(names.into_iter().map(Into::into).collect())
    }

    /// The parameters whose name starts so.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Selector::Prefix(prefix.into())
    }

    /// What this takes and `other` does not.
    #[must_use]
    pub fn except(self, other: Selector) -> Self {
        Selector::Each(vec![self, Selector::Not(Box::new(other))])
    }

    pub(crate) fn selects(&self, name: &str, shape: (usize, usize)) -> bool {
        match self {
            Selector::All => true,
            Selector::Matrices => shape.0 > 1 && shape.1 > 1,
            Selector::Vectors => shape.0 <= 1 || shape.1 <= 1,
            Selector::Named(names) => names.iter().any(|x| x == name),
            Selector::Prefix(prefix) => name.starts_with(prefix),
            Selector::Not(inner) => !inner.selects(name, shape),
            Selector::Each(selectors) => selectors.iter().all(|x| x.selects(name, shape)),
        }
    }
}
