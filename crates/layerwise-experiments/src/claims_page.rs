//! `claims.md`: all verdicts in a folder, and what they rest on.

use std::fmt::Write;

use serde_json::Value;

use crate::claim::{Claim, Side, ThresholdSet, Verdict, Whose, corrected};
use crate::record::{ExperimentRecord, RunInfo};
use crate::report::Chosen;

const PREAMBLE: &str = "\
Each claim is one number with a threshold. It **holds** where the whole 95 % interval over the trials
lies on the claim's side of the threshold, is **not reproduced** where the whole interval lies on the
other side, and is **undecided** otherwise; a dash is a number that is not finite, or an end that the
trials do not bound. A claim that does not hold stays here with its number. When a threshold was set, and
what was known of the results then, stands below its table.

Of many claims some would seem decided by chance. *Together* is what is left of a verdict under Holm's
correction for the number of distinct claims on this page, by which the probability that any of them is
wrong is at most 5 %. A claim that repeats another's number counts once.

*Whose*: a claim marked *paper* is made in words by arXiv 2502.01763 (ICML 2025); the number that
makes it testable is ours. One marked *ours* is derived or chosen here.

What is known of the paper: its abstract, the captions of figures 1 to 5, the definition of the
subspace distance, the update rule, one lemma, and how the data are drawn. The settings of its
experiments are not known to us: every dimension, spectrum, rate grid, number of trials and
threshold here is our own choice, and so is the whole of figure 6, whose caption we do not know.
";

/// The page for the figures in a folder.
#[must_use]
pub(crate) fn write(run: &RunInfo, figures: &[ExperimentRecord]) -> String {
    let mut page = String::from("# Claims\n\n");
    page.push_str(PREAMBLE);
    let mut distinct: Vec<&Claim> = Vec::new();
    for claim in figures.iter().flat_map(|figure| &figure.claims) {
        if !distinct.iter().any(|other| other.repeats(claim)) {
            distinct.push(claim);
        }
    }
    let corrected = corrected(&distinct);
    let together = |claim: &Claim| {
        let place = distinct.iter().position(|other| other.repeats(claim));
        place.map_or(Verdict::Undecided, |place| corrected[place])
    };
    let plain: Vec<Verdict> = distinct.iter().map(|claim| claim.verdict).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "\n{} distinct claims: {}; together: {}. Seed {}, {}; {}.",
        distinct.len(),
        counted(&plain),
        counted(&corrected),
        run.plan.seed,
        if run.plan.quick { "quick run" } else { "full size" },
        run.backend,
    );
    for figure in figures {
        let number = figure.figure.map_or(String::new(), |number| format!("Figure {number}: "));
        let _ = writeln!(page, "\n## {number}{}\n", figure.title);
        let _ = writeln!(page, "{}\n", figure.caption);
        if figure.claims.is_empty() {
            page.push_str("No claims.\n");
            continue;
        }
        page.push_str(
            "| id | claim | whose | measured | threshold | 95 % interval | verdict | together |\n",
        );
        page.push_str("|---|---|---|---|---|---|---|---|\n");
        for claim in &figure.claims {
            row(&mut page, claim, together(claim));
        }
        let methods: std::collections::BTreeSet<&str> =
            figure.claims.iter().map(|claim| claim.interval_method.as_str()).collect();
        let methods: Vec<&str> = methods.into_iter().collect();
        let _ = writeln!(page, "\nIntervals: {}.", methods.join("; "));
        thresholds(&mut page, &figure.claims);
        rates(&mut page, figure);
    }
    page
}

fn counted(verdicts: &[Verdict]) -> String {
    let count = |verdict| verdicts.iter().filter(|other| **other == verdict).count();
    format!(
        "{} hold, {} not reproduced, {} undecided",
        count(Verdict::Holds),
        count(Verdict::NotReproduced),
        count(Verdict::Undecided)
    )
}

/// When the thresholds were set, and what was known: a line for each day.
fn thresholds(page: &mut String, claims: &[Claim]) {
    let mut sets: Vec<(&ThresholdSet, Vec<&str>)> = Vec::new();
    for claim in claims {
        let Some(set) = &claim.threshold_set else { continue };
        match sets.iter_mut().find(|(other, _)| *other == set) {
            Some((_, ids)) => ids.push(&claim.id),
            None => sets.push((set, vec![&claim.id])),
        }
    }
    for (set, ids) in &sets {
        let of = if sets.len() == 1 { String::new() } else { format!(" of {}", ids.join(", ")) };
        let _ = writeln!(page, "\nThresholds{of}: set on {}; known then: {}.", set.on, set.known);
    }
}

fn row(page: &mut String, claim: &Claim, together: Verdict) {
    let whose = match claim.whose {
        Whose::Paper => "paper",
        Whose::Ours => "ours",
    };
    let side = match claim.side {
        Side::AtMost => "≤",
        Side::AtLeast => "≥",
    };
    let [low, high] = claim.interval;
    let shown = |verdict| match verdict {
        Verdict::Holds => "holds".to_string(),
        other => format!("**{other}**"),
    };
    let _ = writeln!(
        page,
        "| {} | {} | {whose} | {} | {side} {} | [{}, {}] | {} | {} |",
        claim.id.replace('|', "\\|"),
        claim.text.replace('|', "\\|"),
        number(claim.measured),
        number(claim.threshold),
        number(low),
        number(high),
        shown(claim.verdict),
        shown(together),
    );
}

/// One line for each setting, where there are several.
fn rates(page: &mut String, figure: &ExperimentRecord) {
    if figure.chosen_rates.is_empty() {
        return;
    }
    page.push_str("\nRates chosen on the tuning trials:");
    for of_setting in figure.chosen_rates.chunk_by(|a, b| a.setting == b.setting) {
        let listed = of_setting.iter().map(rate).collect::<Vec<_>>().join("; ");
        let _ = match &of_setting[0].setting {
            Some(setting) => write!(page, "\n- {setting}: {listed}."),
            None => write!(page, " {listed}."),
        };
    }
    page.push('\n');
}

fn rate(choice: &Chosen) -> String {
    let edge = |on_edge| if on_edge { " (edge of the grid)" } else { "" };
    let mut text = choice.method.clone();
    if let Some(rate) = choice.rate {
        text += &format!(" η = {}{}", number(rate), edge(choice.rate_on_grid_edge));
    }
    if let Some(damping) = choice.damping {
        text += &format!(", λ = {}{}", number(damping), edge(choice.damping_on_grid_edge));
    }
    for (name, value) in &choice.others {
        text += &format!(", {name} = {}", in_words(value));
    }
    text
}

/// What is varied: a number to three digits, or what it is called.
pub(crate) fn in_words(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), number)
}

/// Three significant digits, in plain or scientific notation, whichever is shorter to read.
pub(crate) fn number(value: f64) -> String {
    // JSON keeps no infinities, so that a page made from it cannot tell them apart either.
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e4).contains(&size) {
        return format!("{value:.2e}");
    }
    let magnitude = if size == 0.0 { 0 } else { size.log10().floor() as i32 };
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.01, "0.01"),
            (0.123456, "0.123"),
            (-12.345, "-12.3"),
            (1234.5, "1234"),
            (1e-7, "1.00e-7"),
            (f64::NEG_INFINITY, "–"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
