//! Tables.

use crate::training::{Point, Run};
use crate::tuning::Trained;

/// The median; of an even number, the upper of the two in the middle.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median over runs of steps to a loss; infinite where more than half never reach it.
#[must_use]
pub fn steps_to(trained: &Trained, loss: f64) -> f64 {
    let steps = |run: &Run| run.reached(loss).map_or(f64::INFINITY, |point| point.step as f64);
    median(trained.runs.iter().map(steps))
}

/// Seconds a step, of the fastest run: other programs make runs slower, and never faster.
#[must_use]
pub fn seconds_a_step(trained: &Trained) -> f64 {
    let of_run = |run: &Run| at_end(run, f64::INFINITY, |end| end.seconds / end.step.max(1) as f64);
    trained.runs.iter().map(of_run).fold(f64::INFINITY, f64::min)
}

/// Numbers of runs: the median, the least and the largest.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

fn spread(trained: &Trained, number: impl Fn(&Run) -> f64) -> Spread {
    let values: Vec<f64> = trained.runs.iter().map(number).collect();
    Spread {
        median: median(values.iter().copied()),
        least: values.iter().copied().fold(f64::INFINITY, f64::min),
        most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// A number of some end; of a run that has none, this.
fn at_end(run: &Run, without: f64, number: impl Fn(&Point) -> f64) -> f64 {
    run.end().map_or(without, number)
}

/// Three digits, of small numbers in powers of ten.
fn loss(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "diverged".to_owned(),
        _ if value < 0.01 => format!("{value:.1e}"),
        _ => format!("{value:.3}"),
    }
}

fn or_dash(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() }
}

/// One line for each method under a heading.
#[must_use]
pub fn table(methods: &[Trained], target: f64) -> String {
    let mut text = format!(
        "{:<18} {:>9} {:>8} {:>8} {:>28} {:>9} {:>23} {:>8}\n",
        "method", "rate", "steps", "seconds", "training loss", "held out", "accuracy", "ms/step"
    );
    text += &format!(
        "{:<18} {:>9} {:>8} {:>8} {:>28} {:>9} {:>23} {:>8}\n",
        "",
        "",
        format!("to {target}"),
        format!("to {target}"),
        "(least to most)",
        "loss",
        "(least to most)",
        ""
    );
    for trained in methods {
        let losses = spread(trained, Run::final_loss);
        let accuracy = spread(trained, |run| at_end(run, 0.0, |end| 100.0 * end.accuracy));
        let held_out = spread(trained, |run| at_end(run, f64::INFINITY, |end| end.held_out));
        let seconds = seconds_a_step(trained);
        text += &format!(
            "{:<18} {:>9} {:>8} {:>8} {:>28} {:>9} {:>23} {:>8}\n",
            trained.candidate.name,
            format!("{:.1e}{}", trained.rate, if trained.at_edge { "*" } else { " " }),
            or_dash(steps_to(trained, target), 0),
            or_dash(seconds * steps_to(trained, target), 2),
            format!("{} ({} to {})", loss(losses.median), loss(losses.least), loss(losses.most)),
            loss(held_out.median),
            format!("{:.1}% ({:.1} to {:.1})", accuracy.median, accuracy.least, accuracy.most),
            or_dash(1e3 * seconds, 2),
        );
    }
    text
}
