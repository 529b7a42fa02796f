//! What a statement is, and what its check finds.

use layerwise_data::Streams;

use crate::Result;
use crate::claim::Whose;
use crate::monitor::Monitor;
use crate::theorems::Steps;

/// How much work a check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// A few cases and a short simulation: for every run of the tests.
    Quick,
    /// All cases.
    Full,
}

impl Scale {
    /// The number for this scale.
    #[must_use]
    pub fn choose<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What a check works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// How much work to do.
    pub scale: Scale,
    /// Where all randomness comes from; a statement names its streams by its id.
    pub streams: &'a Streams,
    /// The steps that are checked.
    pub steps: &'a dyn Steps,
    /// Asked between cases whether to go on.
    pub monitor: &'a dyn Monitor,
}

/// A statement that can be checked.
pub trait Statement: Sync {
    /// Its short name, such as `L1`.
    fn id(&self) -> &'static str;

    /// What it says, in one or two sentences.
    fn text(&self) -> &'static str;

    /// Whose statement it is.
    fn whose(&self) -> Whose;

    /// Predicts, measures, compares.
    ///
    /// # Errors
    /// [`crate::ExperimentError::Interrupted`], and faults of the check or of the steps.
    fn check(&self, context: &Context<'_>) -> Result<Outcome>;
}

/// What a check found; the statement holds if all parts do.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One comparison each.
    pub parts: Vec<Part>,
}

impl Outcome {
    /// True where there are parts and all of them hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(Part::holds)
    }

    /// Cases compared, over all parts.
    #[must_use]
    pub fn cases(&self) -> u64 {
        self.parts.iter().map(|part| part.cases).sum()
    }

    /// Cases discarded, over all parts.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.parts.iter().map(|part| part.discarded).sum()
    }
}

/// One comparison of a prediction with a measurement, over some number of cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What is compared.
    pub what: String,
    /// What theory says.
    pub predicted: String,
    /// What the steps did.
    pub measured: String,
    /// By how much they differ: that of the case closest to its tolerance.
    pub deviation: f64,
    /// The largest deviation allowed in that case.
    pub tolerance: f64,
    /// Where the tolerance comes from, in a few words.
    pub tolerance_from: &'static str,
    /// Cases that were compared.
    pub cases: u64,
    /// Cases that were drawn but could not decide anything: their tolerance was too wide.
    pub discarded: u64,
}

/// The largest share of cases that may be discarded.
pub const MAX_DISCARDED: f64 = 0.2;

impl Part {
    /// True where the deviation is within the tolerance and few cases were discarded. A NaN is
    /// within nothing.
    #[must_use]
    pub fn holds(&self) -> bool {
        let drawn = (self.cases + self.discarded) as f64;
        self.deviation <= self.tolerance
            && self.cases > 0
            && self.discarded as f64 <= MAX_DISCARDED * drawn
    }
}

/// A statement with what its check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The statement's short name.
    pub id: &'static str,
    /// What it says.
    pub text: &'static str,
    /// Whose it is.
    pub whose: Whose,
    /// What its check found.
    pub outcome: Outcome,
}

/// Checks one statement.
///
/// A step that fails numerically (a singular factor, a number that is not finite) is a failed
/// part: the statement says that the step is defined.
///
/// # Errors
/// As [`Statement::check`].
pub fn evaluate(statement: &dyn Statement, context: &Context<'_>) -> Result<Row> {
    let outcome = match statement.check(context) {
        Err(error) if error.is_numerical() => Outcome {
            parts: vec![Part {
                what: "the step is defined".into(),
                predicted: "yes".into(),
                measured: error.to_string(),
                deviation: f64::INFINITY,
                tolerance: 0.0,
                tolerance_from: "no step may fail",
                cases: 1,
                discarded: 0,
            }],
        },
        outcome => outcome?,
    };
    Ok(Row { id: statement.id(), text: statement.text(), whose: statement.whose(), outcome })
}
