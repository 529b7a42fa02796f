//! A number that theory predicts against one that a step produced, and many of them together.

use rand::RngCore;

use crate::Result;
use crate::theorems::{Context, Part};

/// How far a measurement is from a prediction, and how far rounding could bring it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The difference, relative to the size of what is compared.
    pub deviation: f64,
    /// The largest difference that rounding explains: from ε, dimensions and measured condition
    /// numbers.
    pub tolerance: f64,
}

/// A case with a tolerance beyond this decides nothing.
pub const WIDEST_TOLERANCE: f64 = 1e-3;

impl Comparison {
    /// True where the tolerance is narrow enough for the case to decide something.
    #[must_use]
    pub fn is_conclusive(&self) -> bool {
        self.tolerance <= WIDEST_TOLERANCE
    }

    /// True where the deviation is within the tolerance; a NaN is within nothing.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.deviation <= self.tolerance
    }

    /// The deviation as a share of the tolerance; infinite where it is not a number.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.holds() && self.deviation == 0.0 {
            return 0.0;
        }
        let share = self.deviation / self.tolerance;
        if share.is_nan() { f64::INFINITY } else { share }
    }

    /// Of two comparisons, the one with the larger share of its tolerance.
    #[must_use]
    pub fn closer(self, other: Self) -> Self {
        if other.share() > self.share() { other } else { self }
    }
}

/// The larger of two numbers, NaN if either is: `f64::max` would lose it.
#[must_use]
pub fn larger(a: f64, b: f64) -> f64 {
    if b.is_nan() || b > a { b } else { a }
}

/// Many comparisons of the same kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    worst: Option<Comparison>,
    cases: u64,
    discarded: u64,
}

impl Tally {
    /// Counts a comparison; a case that decides nothing is discarded.
    pub fn add(&mut self, comparison: Comparison) {
        if !comparison.is_conclusive() {
            self.discarded += 1;
            return;
        }
        self.cases += 1;
        if self.worst.is_none_or(|worst| comparison.share() > worst.share()) {
            self.worst = Some(comparison);
        }
    }

    /// Cases compared.
    #[must_use]
    pub fn cases(&self) -> u64 {
        self.cases
    }

    /// Cases discarded.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// The part of an outcome that an exact statement makes: the case closest to its tolerance
    /// speaks for all.
    #[must_use]
    pub fn part(
        self,
        what: impl Into<String>,
        predicted: impl Into<String>,
        tolerance_from: &'static str,
    ) -> Part {
        let nothing = Comparison { deviation: f64::NAN, tolerance: 0.0 };
        let Comparison { deviation, tolerance } = self.worst.unwrap_or(nothing);
        Part {
            what: what.into(),
            predicted: predicted.into(),
            measured: format!("relative difference {deviation:.1e} in the worst case"),
            deviation,
            tolerance,
            tolerance_from,
            cases: self.cases,
            discarded: self.discarded,
        }
    }
}

/// Compares on `cases` random cases, each with a generator of its own: case i of `name` is the
/// same whatever the scale.
///
/// # Errors
/// [`crate::ExperimentError::Interrupted`] and faults of a case.
pub fn over_cases(
    context: &Context<'_>,
    name: &str,
    cases: u64,
    mut compare: impl FnMut(&mut dyn RngCore) -> Result<Comparison>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    for case in 0..cases {
        context.monitor.check()?;
        tally.add(compare(&mut context.streams.stream(name, "case", case))?);
    }
    Ok(tally)
}
