//! Room for fields to come.

/// Stands in a struct that users write, so that no literal of theirs names all of its fields: with
/// `..Default::default()`, or `..` and a constructor, a new field breaks none of them.
///
/// ```compile_fail
/// use layerwise_optim::factor::RankTolerance;
/// let tolerance = RankTolerance { relative: 0.1, absolute: 0.0 };
/// ```
///
/// ```
/// use layerwise_optim::factor::RankTolerance;
/// let tolerance = RankTolerance { relative: 0.1, absolute: 0.0, ..RankTolerance::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NonExhaustive(());
