//! The table of statements, as Markdown, as JSON, and for a terminal.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::claim::Whose;
use crate::claims_page::number;
use crate::theorems::{Part, Row};

/// What made the results. Results of different runs do not mix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TheoremsRun {
    /// Fewer cases and smaller simulations.
    pub quick: bool,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Version of this program.
    pub version: String,
    /// The linear algebra library and its kernel, on which last digits depend.
    pub backend: String,
}

impl TheoremsRun {
    /// Describes a run of this program on this machine.
    #[must_use]
    pub fn new(quick: bool, seed: u64) -> Self {
        Self {
            quick,
            seed,
            version: env!("CARGO_PKG_VERSION").into(),
            backend: layerwise_linalg::backend().to_string(),
        }
    }
}

/// What `theorems.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TheoremsFile {
    /// What made it.
    pub run: TheoremsRun,
    /// One entry a statement.
    pub statements: Vec<StatementEntry>,
}

/// A statement in `theorems.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatementEntry {
    /// Its short name.
    pub id: String,
    /// What it says.
    pub text: String,
    /// Whose it is.
    pub whose: Whose,
    /// What theory says, in the part closest to failing.
    pub predicted: String,
    /// What the steps did there.
    pub measured: String,
    /// By how much they may differ there; null where that is not finite.
    pub tolerance: Option<f64>,
    /// Cases compared, over all parts.
    pub cases: u64,
    /// Cases that could not decide anything.
    pub discarded: u64,
    /// `holds` or `fails`.
    pub verdict: &'static str,
    /// The comparisons that it consists of.
    pub parts: Vec<PartEntry>,
}

/// A comparison in `theorems.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartEntry {
    /// What is compared.
    pub what: String,
    /// What theory says.
    pub predicted: String,
    /// What the steps did.
    pub measured: String,
    /// By how much they differ; null where that is not finite.
    pub deviation: Option<f64>,
    /// By how much they may; null where that is not finite.
    pub tolerance: Option<f64>,
    /// Where the tolerance comes from.
    pub tolerance_from: String,
    /// Cases compared.
    pub cases: u64,
    /// Cases that could not decide anything.
    pub discarded: u64,
    /// `holds` or `fails`.
    pub verdict: &'static str,
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "fails" }
}

fn whose(whose: Whose) -> &'static str {
    match whose {
        Whose::Paper => "paper",
        Whose::Ours => "ours",
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The part closest to failing: one that fails, else the one that uses most of its tolerance.
fn decisive(parts: &[Part]) -> Option<&Part> {
    let share = |part: &Part| {
        let share = if part.deviation <= 0.0 { 0.0 } else { part.deviation / part.tolerance };
        if part.holds() && !share.is_nan() { share } else { f64::INFINITY }
    };
    // The first of equals.
    parts.iter().rev().max_by(|a, b| share(a).total_cmp(&share(b)))
}

/// The content of `theorems.json`.
#[must_use]
pub fn entries(run: TheoremsRun, rows: &[Row]) -> TheoremsFile {
    let part = |part: &Part| PartEntry {
        what: part.what.clone(),
        predicted: part.predicted.clone(),
        measured: part.measured.clone(),
        deviation: finite(part.deviation),
        tolerance: finite(part.tolerance),
        tolerance_from: part.tolerance_from.into(),
        cases: part.cases,
        discarded: part.discarded,
        verdict: verdict(part.holds()),
    };
    let statements = rows.iter().map(|row| {
        let decisive = decisive(&row.outcome.parts);
        StatementEntry {
            id: row.id.into(),
            text: row.text.into(),
            whose: row.whose,
            predicted: decisive.map_or_else(String::new, |part| part.predicted.clone()),
            measured: decisive.map_or_else(String::new, |part| part.measured.clone()),
            tolerance: decisive.and_then(|part| finite(part.tolerance)),
            cases: row.outcome.cases(),
            discarded: row.outcome.discarded(),
            verdict: verdict(row.outcome.holds()),
            parts: row.outcome.parts.iter().map(part).collect(),
        }
    });
    TheoremsFile { run, statements: statements.collect() }
}

const PREAMBLE: &str = "\
Each statement is predicted by a closed form and measured on the steps that the experiments take.
It **holds** where every part's deviation is within its tolerance, and at most 20 % of the cases
were discarded because their tolerance was too wide to decide anything; else it **fails**.
Tolerances are derived, not chosen by the result: from rounding, dimensions and measured condition
numbers for what is exact, from standard errors where trials are averaged; what is an allowance or an
assumption is called so. The chance that a right prediction is reported to fail is below 10⁻⁶ over all
parts that rest on trials: 10⁻⁷ for each of S1 to S5, 10⁻⁸ for each such part of L4.

*Whose*: *paper* is stated by arXiv 2502.01763 (ICML 2025); *ours* is derived here from its model.

The table shows, of each statement's parts, the one closest to failing; all parts follow below it.
";

const PICTURES: &str = "
![Contraction factor and steps against the condition number](contraction.svg)

One step near G⋆, and steps from dist 0.5 to 10⁻⁶, against κ = κ(F⋆)² κ(Σ_c): points from real steps
on lines from theory. AMGD's line from afar is that of the slowest direction; a start has only a
part of its error there, and needs fewer steps.

![Alignment of one step with the true direction](phase.svg)

Alignment with β⋆ after one step on a single-index model, from the limits S3 and S4: tanh link,
σ_ε = 0.1, half of Σ's eigenvalues 1 + ε, half 1 − ε.
";

/// The page `theorems.md`.
#[must_use]
pub fn markdown(run: &TheoremsRun, rows: &[Row]) -> String {
    let mut page = String::from("# Statements\n\n");
    page.push_str(PREAMBLE);
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "\n{}. Seed {}, {}; {}.\n",
        count(rows),
        run.seed,
        if run.quick { "quick run" } else { "full size" },
        run.backend,
    );
    page.push_str(
        "| id | statement | whose | predicted | measured | deviation | tolerance | cases | \
         discarded | verdict |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let outcome = &row.outcome;
        let Some(part) = decisive(&outcome.parts) else { continue };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.id,
            cell(row.text),
            whose(row.whose),
            cell(&part.predicted),
            cell(&part.measured),
            number(part.deviation),
            number(part.tolerance),
            outcome.cases(),
            outcome.discarded(),
            marked(outcome.holds()),
        );
    }
    page.push_str(PICTURES);
    for row in rows {
        let _ =
            writeln!(page, "\n## {}: {}\n\n{}\n", row.id, marked(row.outcome.holds()), row.text);
        page.push_str(
            "| what | predicted | measured | deviation | tolerance | from | cases | discarded | \
             verdict |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for part in &row.outcome.parts {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell(&part.what),
                cell(&part.predicted),
                cell(&part.measured),
                number(part.deviation),
                number(part.tolerance),
                cell(part.tolerance_from),
                part.cases,
                part.discarded,
                marked(part.holds()),
            );
        }
    }
    page
}

/// The table for a terminal: a line for each statement, and one for each of its parts.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let outcome = &row.outcome;
        let discarded = match outcome.discarded() {
            0 => String::new(),
            count => format!(", {count} discarded"),
        };
        let _ = writeln!(
            text,
            "{}  {}  ({}; {} cases{discarded})  {}",
            row.id,
            verdict(outcome.holds()),
            whose(row.whose),
            outcome.cases(),
            row.text,
        );
        for part in &outcome.parts {
            let _ = writeln!(
                text,
                "    {}  {}: predicted {}; measured {}; off by {}, tolerance {}",
                verdict(part.holds()),
                part.what,
                part.predicted,
                part.measured,
                number(part.deviation),
                number(part.tolerance),
            );
        }
    }
    let _ = writeln!(text, "{}", count(rows));
    text
}

fn count(rows: &[Row]) -> String {
    let holding = rows.iter().filter(|row| row.outcome.holds()).count();
    format!("{} statements: {holding} hold, {} fail", rows.len(), rows.len() - holding)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn marked(holds: bool) -> String {
    if holds { "holds".into() } else { "**fails**".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theorems::Outcome;

    fn part(what: &str, deviation: f64, tolerance: f64) -> Part {
        Part {
            what: what.into(),
            predicted: format!("{what} predicted"),
            measured: "|x|".into(),
            deviation,
            tolerance,
            tolerance_from: "rounding",
            cases: 10,
            discarded: 1,
        }
    }

    fn rows(parts: Vec<Part>) -> Vec<Row> {
        let outcome = Outcome { parts };
        vec![Row { id: "L1", text: "says so", whose: Whose::Paper, outcome }]
    }

    #[test]
    fn the_part_closest_to_failing_speaks_for_its_statement() {
        let run = TheoremsRun::new(true, 1);
        let shown = |parts| entries(run.clone(), &rows(parts)).statements.remove(0);
        let holds = shown(vec![part("a", 0.1, 1.0), part("b", 0.5, 1.0), part("c", 0.0, 0.0)]);
        assert_eq!((holds.predicted.as_str(), holds.verdict), ("b predicted", "holds"));
        assert_eq!((holds.cases, holds.discarded, holds.tolerance), (30, 3, Some(1.0)));
        let fails = shown(vec![part("a", 0.9, 1.0), part("b", f64::NAN, 1.0)]);
        assert_eq!((fails.predicted.as_str(), fails.verdict), ("b predicted", "fails"));
        assert_eq!(fails.parts[1].deviation, None);
        let negative = shown(vec![part("a", -3.0, 0.0), part("b", 0.5, 1.0)]);
        assert_eq!(negative.predicted, "b predicted");
    }

    #[test]
    fn pages_show_every_part_and_escape_their_cells() {
        let rows = rows(vec![part("a", 0.1, 1.0), part("b", 2.0, 1.0)]);
        let page = markdown(&TheoremsRun::new(false, 7), &rows);
        assert!(page.contains("1 statements: 0 hold, 1 fail. Seed 7, full size"), "{page}");
        assert!(
            page.contains(
                "| L1 | says so | paper | b predicted | \\|x\\| | 2 | 1 | 20 | 2 | **fails** |"
            ),
            "{page}"
        );
        assert!(
            page.contains("| a | a predicted | \\|x\\| | 0.1 | 1 | rounding | 10 | 1 | holds |")
        );
        let text = text(&rows);
        assert_eq!(text.lines().count(), 4);
        assert!(text.starts_with("L1  fails  (paper; 20 cases, 2 discarded)  says so\n"), "{text}");
    }
}
