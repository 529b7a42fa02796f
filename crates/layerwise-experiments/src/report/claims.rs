//! Claims of an experiment, judged on its results.

use layerwise_data::Streams;
use rand::Rng;

use crate::Result;
use crate::claim::{Claim, LOG_T_INTERVAL, Side, T_INTERVAL};
use crate::experiment::file::{ClaimFile, NumberFile, TheoryGapFile};
use crate::report::number::Numbers;
use crate::report::view::View;
use crate::statistics::{Estimate, mean_and_error, median, quantile};

/// All claims, in order.
///
/// # Errors
/// Where a closed form is undefined.
pub(crate) fn claims(view: View<'_>) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for claim in &view.experiment.file.claim {
        if claim.methods.is_empty() {
            claims.push(judged(view, claim, None)?);
        }
        for method in &claim.methods {
            claims.push(judged(view, claim, Some(method))?);
        }
    }
    Ok(claims)
}

fn judged(view: View<'_>, claim: &ClaimFile, method: Option<&str>) -> Result<Claim> {
    let numbers = Numbers { view, method, raw: false };
    let pair = |[left, right]: &[NumberFile; 2]| (numbers.of(left), numbers.of(right));
    let zipped = |of: &[NumberFile; 2], f: fn(f64, f64) -> f64| -> Vec<f64> {
        let (left, right) = pair(of);
        left.into_iter().zip(right).map(|(l, r)| f(l, r)).collect()
    };
    let (side, threshold) = match (claim.at_most, claim.at_least) {
        (Some(threshold), _) => (Side::AtMost, threshold),
        (None, threshold) => (Side::AtLeast, threshold.unwrap_or(f64::NAN)),
    };
    let mut points = 0;
    let mut resampled_p = None;
    let (estimate, interval) = if let Some(of) = &claim.ratio {
        let (above, below) = pair(of);
        (Estimate::paired_ratio(&above, &below), LOG_T_INTERVAL)
    } else if let Some(of) = &claim.difference {
        (Estimate::mean(&zipped(of, |l, r| l - r)), T_INTERVAL)
    } else if let Some(of) = &claim.deviation {
        (Estimate::mean(&zipped(of, |l, r| (l / r - 1.0).abs())), T_INTERVAL)
    } else if let Some(gap) = &claim.theory_gap {
        let compared = compared(view, gap)?;
        points = compared.len();
        let seed = view.experiment.plan.seed;
        let (estimate, resampled) = gap_estimate(&compared, gap, seed);
        resampled_p = Some(resampled_p_value(&resampled, threshold));
        (estimate, "bootstrap percentiles over trials, 2000 resamples")
    } else {
        let value = claim.value.as_ref().map(|number| numbers.of(number)).unwrap_or_default();
        (Estimate::mean(&value), T_INTERVAL)
    };
    let named = |text: &str| text.replace("{method}", method.unwrap_or_default());
    let mut text = named(&claim.text)
        .replace("{threshold}", &threshold.to_string())
        .replace("{points}", &points.to_string());
    let operands = [&claim.ratio, &claim.difference, &claim.deviation].into_iter().flatten().next();
    if let Some(of) = operands {
        let raw = Numbers { raw: true, ..numbers };
        for (name, number) in ["left", "right"].iter().zip(of) {
            text = with_medians(text, name, || median(&raw.of(number)));
        }
    }
    let whose = claim.whose.of(method);
    let judged = Claim::judge(named(&claim.id), whose, text, estimate, interval, side, threshold);
    let set = claim.threshold_set.as_ref().or(view.experiment.file.thresholds_set.as_ref());
    Ok(Claim { p: resampled_p.unwrap_or(judged.p), threshold_set: set.cloned(), ..judged })
}

/// Two-sided p-value of a threshold by resamples: twice the share on the smaller side of it, where one
/// more lies on either side.
fn resampled_p_value(values: &[f64], threshold: f64) -> f64 {
    let below = values.iter().filter(|value| **value <= threshold).count();
    let above = values.iter().filter(|value| **value >= threshold).count();
    (2.0 * (below.min(above) + 1) as f64 / (values.len() + 1) as f64).min(1.0)
}

/// Puts a number in the place of "{name:.1}", or "{name:.1%}" for a share, with as many decimals.
fn with_medians(mut text: String, name: &str, number: impl Fn() -> f64) -> String {
    let opening = format!("{{{name}:.");
    while let Some(start) = text.find(&opening) {
        let Some(length) = text[start..].find('}') else { break };
        let format = &text[start + opening.len()..start + length];
        let (digits, share) = match format.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (format, false),
        };
        let decimals = digits.parse::<usize>().unwrap_or(0).min(17);
        let shown = if share {
            format!("{:.decimals$} %", 100.0 * number())
        } else {
            format!("{:.decimals$}", number())
        };
        text.replace_range(start..=start + length, &shown);
    }
    text
}

/// A point that theory predicts: what the trials measured there, and the prediction.
struct Point {
    simulated: Vec<f64>,
    predicted: f64,
}

fn compared(view: View<'_>, gap: &TheoryGapFile) -> Result<Vec<Point>> {
    let Some(measure) = view.experiment.model.measures().first() else { return Ok(Vec::new()) };
    let mut points = Vec::new();
    for name in &gap.settings {
        for setting in view.experiment.group(Some(name)) {
            let of = &view.experiment.settings[setting];
            for (method, cells) in &of.methods {
                for (at, cell) in view.cells(setting, *method, &[]).into_iter().zip(cells) {
                    if let Some(predicted) = of.problem.predict(cell)? {
                        points.push(Point { simulated: view.ends(at, measure), predicted });
                    }
                }
            }
        }
    }
    Ok(points)
}

/// Largest `|theory − mean| − s` over points, s some standard errors.
fn excess_deviation<'a>(errors: f64, points: impl Iterator<Item = (&'a [f64], f64)>) -> f64 {
    points
        .map(|(simulated, predicted)| {
            let (mean, error) = mean_and_error(simulated);
            (predicted - mean).abs() - errors * error
        })
        // Not f64::max, which would drop a NaN.
        .fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
}

/// The estimate, and the numbers of the resamples behind its interval.
fn gap_estimate(points: &[Point], gap: &TheoryGapFile, seed: u64) -> (Estimate, Vec<f64>) {
    const RESAMPLES: usize = 2000;
    let errors = gap.standard_errors;
    let value =
        excess_deviation(errors, points.iter().map(|p| (p.simulated.as_slice(), p.predicted)));
    let [task, purpose] = &gap.stream;
    let mut rng = Streams::new(seed).stream(task, purpose, 0);
    let trials = points.iter().map(|point| point.simulated.len()).min().unwrap_or(0);
    if !value.is_finite() || trials == 0 {
        return (Estimate::mean(&[value]), Vec::new());
    }
    let mut resampled: Vec<Vec<f64>> = points.iter().map(|p| p.simulated.clone()).collect();
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        // A trial is resampled as a whole: many of the points share its draws.
        let chosen: Vec<usize> = (0..trials).map(|_| rng.random_range(0..trials)).collect();
        for (target, point) in resampled.iter_mut().zip(points) {
            for (x, &trial) in target.iter_mut().zip(&chosen) {
                *x = point.simulated[trial];
            }
        }
        let predicted = points.iter().map(|p| p.predicted);
        let pairs = resampled.iter().map(Vec::as_slice).zip(predicted);
        values.push(excess_deviation(errors, pairs));
    }
    let (low, high) = (quantile(&values, 0.025), quantile(&values, 0.975));
    (Estimate { value, low, high, trials, logarithmic: false }, values)
}

#[cfg(test)]
mod tests {
    use super::with_medians;

    #[test]
    fn medians_stand_in_texts_with_their_decimals() {
        let text = "{left:.0} against {right:.2}, {left:.1%}".to_string();
        let left = with_medians(text, "left", || 0.256);
        assert_eq!(with_medians(left, "right", || 2.0), "0 against 2.00, 25.6 %");
    }
}
