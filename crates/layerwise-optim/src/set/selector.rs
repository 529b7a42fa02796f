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
    /// Those whose name ends so.
    Suffix(String),
    /// Those whose name has this in it.
    Contains(String),
    /// Those whose whole name fits the pattern, in which `*` stands for any characters or none, `?` for
    /// one, and each other character for itself.
    Glob(String),
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

    /// The parameters whose name ends so.
    #[must_use]
    pub fn suffix(suffix: impl Into<String>) -> Self {
        Selector::Suffix(suffix.into())
    }

    /// The parameters whose name has this in it.
    #[must_use]
    pub fn contains(part: impl Into<String>) -> Self {
        Selector::Contains(part.into())
    }

    /// The parameters whose whole name fits the pattern, with `*` for any characters and `?` for one.
    #[must_use]
    pub fn glob(pattern: impl Into<String>) -> Self {
        Selector::Glob(pattern.into())
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
            Selector::Suffix(suffix) => name.ends_with(suffix),
            Selector::Contains(part) => name.contains(part),
            Selector::Glob(pattern) => fits(pattern, name),
            Selector::Not(inner) => !inner.selects(name, shape),
            Selector::Each(selectors) => selectors.iter().all(|x| x.selects(name, shape)),
        }
    }
}

/// Whether a name fits a pattern. Only the last `*` is ever tried again, as what those before it took has
/// fitted: pattern times name, at most.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Behind the last `*`, and where its part of the name ends so far.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                retry = Some((p, n));
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match &mut retry {
                Some((behind, end)) => {
                    *end += 1;
                    (p, n) = (*behind, *end);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_a_whole_name() {
        for (pattern, fitting, others) in [
            ("", &[""][..], &["a"][..]),
            ("*", &["", "a", "layers.0.weight"], &[]),
            (
                "layers.*.weight",
                &["layers.0.weight", "layers..weight", "layers.1.weight.weight"],
                &["layers.0.weights", "layers.weight", "my.layers.0.weight"],
            ),
            ("layers.?.weight", &["layers.0.weight", "layers.é.weight"], &["layers.10.weight"]),
            ("*.bias", &["a.bias", ".bias", "a.bias.bias"], &["bias", "a.bias2"]),
            ("a*b*c", &["abc", "aXbYc", "abbcc", "abcbc"], &["ab", "acb", "abcd"]),
            ("**?", &["a", "ab"], &[""]),
            ("[a]", &["[a]"], &["a"]),
        ] {
            assert!(fitting.iter().all(|name| fits(pattern, name)), "{pattern}");
            assert!(!others.iter().any(|name| fits(pattern, name)), "{pattern}");
        }
        // Would take forever if each `*` were tried again.
        assert!(!fits(&"*a".repeat(30), &"a".repeat(29)));
        assert!(!fits(&format!("{}b", "*a".repeat(100)), &"a".repeat(5000)));
    }
}
