//! Tables.

use crate::training::{Point, Trained};

/// The loss up to which steps are counted, in nats.
pub const TARGET: f64 = 0.05;

/// The median; of an even number, the upper of the two in the middle.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median over runs of some number at their ends.
fn at_end(trained: &Trained, number: impl Fn(&Point) -> f64) -> f64 {
    median(trained.runs.iter().filter_map(|run| run.last().map(&number)))
}

/// The median over runs of the steps to a loss; infinite where more than half never reach it.
#[must_use]
pub fn steps_to(trained: &Trained, loss: f64) -> f64 {
    median(trained.runs.iter().map(|run| run.steps_to(loss).map_or(f64::INFINITY, |s| s as f64)))
}

/// One line for each method.
#[must_use]
pub fn table(methods: &[Trained]) -> String {
    let mut text = format!(
        "{:<8} {:<22} {:>16} {:>12} {:>14} {:>9}\n",
        "method", "setting", "steps to 0.05", "train loss", "test accuracy", "ms/step"
    );
    for trained in methods {
        let steps = steps_to(trained, TARGET);
        let steps =
            if steps.is_finite() { format!("{steps:.0}") } else { "not reached".to_owned() };
        let milliseconds = at_end(trained, |p| 1e3 * p.seconds / p.step.max(1) as f64);
        text += &format!(
            "{:<8} {:<22} {:>16} {:>12.2e} {:>13.1}% {:>9.2}\n",
            trained.name,
            trained.setting.label,
            steps,
            at_end(trained, |p| p.loss),
            100.0 * at_end(trained, |p| p.accuracy),
            milliseconds,
        );
    }
    text
}
