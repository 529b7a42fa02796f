//! What was reported of claims, beside what is computed here.

use crate::claim::{Claim, Side};
use crate::judge::{Interval, Judged};

/// Everything in which reported claims differ from the judged ones, a line each: a verdict that does not
/// follow, a number or an end of an interval beyond its [`Tolerance`](crate::judge::Tolerance), and another
/// claim than the experiment makes.
#[must_use]
pub fn compare(judged: &[Judged], reported: &[Claim]) -> Vec<String> {
    let mut lines = Vec::new();
    if judged.len() != reported.len() {
        lines.push(format!("claims: reported {}, computed {}", reported.len(), judged.len()));
    }
    for (judged, reported) in judged.iter().zip(reported) {
        let mut differ = |what: &str,
                          reported: &dyn std::fmt::Display,
                          computed: &dyn std::fmt::Display| {
            let line = format!("{}: {what}: reported {reported}, computed {computed}", judged.id);
            // A text may be anything.
            lines.push(line.replace(['\n', '\r'], " "));
        };
        if judged.id != reported.id {
            differ("id", &reported.id, &judged.id);
        }
        if judged.text != reported.text {
            differ("text", &reported.text, &judged.text);
        }
        if judged.whose != reported.whose {
            let word = |paper: bool| if paper { "paper" } else { "ours" };
            let paper = |whose| word(whose == crate::claim::Whose::Paper);
            differ("whose", &paper(reported.whose), &paper(judged.whose));
        }
        if judged.side != reported.side {
            differ("side", &side(reported.side), &side(judged.side));
        }
        if judged.threshold != reported.threshold {
            differ("threshold", &reported.threshold, &judged.threshold);
        }
        let Interval { value, low, high, tolerance, .. } = judged.interval;
        let [reported_low, reported_high] = reported.interval;
        for (what, reported, computed) in [
            ("measured", reported.measured, value),
            ("lower end of the interval", reported_low, low),
            ("upper end of the interval", reported_high, high),
        ] {
            let apart = (reported - computed).abs();
            let equal = match (reported.is_finite(), computed.is_finite()) {
                (true, true) => apart <= tolerance.around(computed),
                // A file tells neither which infinity it was nor what was no number.
                (reported, computed) => reported == computed,
            };
            if !equal {
                differ(what, &reported, &computed);
            }
        }
        let [least, most] = judged.interval.p_value(judged.threshold);
        if !(least..=most).contains(&reported.p) {
            differ("p-value", &reported.p, &(0.5 * (least + most)));
        }
        if !judged.allows(reported.verdict) {
            differ("verdict", &reported.verdict, &judged.verdict);
        }
    }
    lines
}

/// In words.
fn side(side: Side) -> &'static str {
    match side {
        Side::AtMost => "at most",
        Side::AtLeast => "at least",
    }
}
