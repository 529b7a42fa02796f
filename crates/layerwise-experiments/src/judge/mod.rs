//! Verdicts, computed a second time.
//!
//! Whoever doubts a verdict doubts the code that made it. This module goes from the records of a store to
//! verdicts by code of its own: it reads a claim's numbers itself, chooses hyperparameters itself, has its
//! own means, quantiles, intervals and bootstrap, and its own rule for a verdict. It shares the data with
//! the report (the file, the records, what theory predicts) and nothing of [`crate::report`] or
//! [`crate::statistics`], so that a mistake has to be made twice to stay unseen.

mod cli;
mod compare;
mod gap;
mod interval;
mod number;
mod order;
mod student;
mod words;

pub use cli::{JudgeArguments, run};
pub use compare::compare;
pub use interval::{Interval, Tolerance};
pub(crate) use words::same_but_for_numbers;

use crate::Result;
use crate::claim::{Side, Verdict, Whose};
use crate::experiment::Experiment;
use crate::experiment::file::{ClaimFile, NumberFile};
use crate::judge::number::{Number, Trials};
use crate::runner::Results;

/// A claim of an experiment as it is judged here.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Its name.
    pub id: String,
    /// What is claimed.
    pub text: String,
    /// Whose statement it is.
    pub whose: Whose,
    /// The claim's side of the threshold.
    pub side: Side,
    /// The threshold.
    pub threshold: f64,
    /// The number and its interval.
    pub interval: Interval,
    /// What follows.
    pub verdict: Verdict,
}

/// Judges all claims of an experiment, in the order of its file.
///
/// # Errors
/// Where a closed form that a claim compares with is undefined.
pub fn judge(experiment: &Experiment, results: &Results) -> Result<Vec<Judged>> {
    let trials = Trials { experiment, results };
    let mut judged = Vec::new();
    for claim in &experiment.file.claim {
        if claim.methods.is_empty() {
            judged.push(of_claim(trials, claim, None)?);
        }
        for method in &claim.methods {
            judged.push(of_claim(trials, claim, Some(method))?);
        }
    }
    Ok(judged)
}

/// A number of each trial that has all of `numbers`.
fn by_trial(numbers: &[Number<'_>], of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let in_trial = |trial| {
        let values: Option<Vec<f64>> = numbers.iter().map(|n| n.in_trial(trial, false)).collect();
        values.map(|values| of(&values))
    };
    (0..).map_while(in_trial).collect()
}

fn of_claim<'a>(
    trials: Trials<'a>,
    claim: &'a ClaimFile,
    method: Option<&'a str>,
) -> Result<Judged> {
    let numbers = |files: &'a [NumberFile]| -> Vec<Number<'a>> {
        files.iter().map(|file| Number::new(trials, file, method)).collect()
    };
    let mut points = 0;
    let mut operands = Vec::new();
    let interval = if let Some(gap) = &claim.theory_gap {
        let compared = gap::points(trials, gap)?;
        points = compared.len();
        gap::judged(&compared, gap, trials.experiment.plan.seed)
    } else if let Some(value) = &claim.value {
        interval::of_mean(&by_trial(&numbers(std::slice::from_ref(value)), |v| v[0]))
    } else if let Some(pair) = &claim.ratio {
        operands = numbers(pair);
        interval::of_geometric_mean(&by_trial(&operands, |v| v[0] / v[1]))
    } else if let Some(pair) = &claim.difference {
        operands = numbers(pair);
        interval::of_mean(&by_trial(&operands, |v| v[0] - v[1]))
    } else if let Some(pair) = &claim.deviation {
        operands = numbers(pair);
        interval::of_mean(&by_trial(&operands, |v| (v[0] / v[1] - 1.0).abs()))
    } else {
        interval::of_mean(&[])
    };
    let (side, threshold) = match (claim.at_most, claim.at_least) {
        (Some(most), _) => (Side::AtMost, most),
        (None, least) => (Side::AtLeast, least.unwrap_or(f64::NAN)),
    };
    let named = |text: &str| text.replace("{method}", method.unwrap_or_default());
    let mut text = named(&claim.text)
        .replace("{threshold}", &threshold.to_string())
        .replace("{points}", &points.to_string());
    for (name, operand) in ["left", "right"].iter().zip(&operands) {
        let all = || (0..).map_while(|trial| operand.in_trial(trial, true)).collect();
        text = words::with_median(&text, name, all);
    }
    Ok(Judged {
        id: named(&claim.id),
        text,
        whose: claim.whose.of(method),
        side,
        threshold,
        verdict: verdict(side, threshold, interval.low, interval.high),
        interval,
    })
}

/// What an interval says of a threshold: all of it within the claim, all of it outside, or neither.
fn verdict(side: Side, threshold: f64, low: f64, high: f64) -> Verdict {
    let within = |end: f64| match side {
        Side::AtMost => end <= threshold,
        Side::AtLeast => end >= threshold,
    };
    match (within(low), within(high)) {
        _ if low.is_nan() || high.is_nan() || threshold.is_nan() => Verdict::Undecided,
        (true, true) => Verdict::Holds,
        (false, false) => Verdict::NotReproduced,
        _ => Verdict::Undecided,
    }
}

impl Judged {
    /// Whether a verdict follows from an interval that another correct computation may have.
    #[must_use]
    pub fn allows(&self, reported: Verdict) -> bool {
        let Interval { low, high, tolerance, .. } = self.interval;
        let near = |end: f64| [-1.0, 0.0, 1.0].map(|sign| end + sign * tolerance.around(end));
        near(low).iter().any(|&low| {
            near(high).iter().any(|&high| verdict(self.side, self.threshold, low, high) == reported)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let infinite = f64::INFINITY;
        for (side, low, high, expected) in [
            (Side::AtMost, 0.0, 1.0, Verdict::Holds),
            (Side::AtMost, 1.1, 2.0, Verdict::NotReproduced),
            (Side::AtMost, 1.0, 2.0, Verdict::Undecided),
            (Side::AtLeast, 1.0, 2.0, Verdict::Holds),
            (Side::AtLeast, 0.0, 0.9, Verdict::NotReproduced),
            (Side::AtLeast, 0.0, infinite, Verdict::Undecided),
            (Side::AtMost, infinite, infinite, Verdict::NotReproduced),
            (Side::AtMost, -infinite, infinite, Verdict::Undecided),
            (Side::AtMost, f64::NAN, 0.0, Verdict::Undecided),
        ] {
            assert_eq!(verdict(side, 1.0, low, high), expected, "{side:?} {low} {high}");
        }
    }
}
