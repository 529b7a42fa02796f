//! The largest distance between theory and means, and its bootstrap.

use layerwise_data::Streams;
use rand::RngCore;

use crate::Result;
use crate::experiment::file::TheoryGapFile;
use crate::judge::interval::{Interval, Spread, Tolerance, sum};
use crate::judge::number::Trials;
use crate::judge::order::{ascending, percentile};

const RESAMPLES: usize = 2000;

/// A point where theory says something.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) measured: Vec<f64>,
    pub(super) predicted: f64,
}

/// All points of the settings that are named.
///
/// # Errors
/// Where a closed form is undefined.
pub(super) fn points(trials: Trials<'_>, gap: &TheoryGapFile) -> Result<Vec<Point>> {
    let experiment = trials.experiment;
    // What predictions are about comes first.
    let Some(measure) = experiment.model.measures().first() else { return Ok(Vec::new()) };
    let mut points = Vec::new();
    for name in &gap.settings {
        let mut groups = experiment.file.setting.iter();
        let group = groups.position(|s| s.name == *name || s.title.as_ref() == Some(name));
        for (number, setting) in experiment.settings.iter().enumerate() {
            if Some(setting.group) != group {
                continue;
            }
            for (run, method) in trials.all_runs(number) {
                if let Some(predicted) = setting.problem.predict(method)? {
                    let measured = 0..trials.shown(&run);
                    let measured = measured.map(|trial| trials.end(&run, trial, measure)).collect();
                    points.push(Point { measured, predicted });
                }
            }
        }
    }
    Ok(points)
}

/// The largest `|theory − mean| − errors · standard error` of points whose trials have weights; NaN where
/// one of the distances is.
fn largest(points: &[Point], weights: &[f64], errors: f64) -> f64 {
    let distances = points.iter().map(|Point { measured, predicted }| {
        let count = measured.len() as f64;
        let weighted = |f: &dyn Fn(f64) -> f64| {
            sum(measured.iter().zip(weights).map(|(&x, &w)| if w == 0.0 { 0.0 } else { w * f(x) }))
        };
        let mean = weighted(&|x| x) / count;
        let variance = weighted(&|x| (x - mean) * (x - mean)) / (count - 1.0);
        (predicted - mean).abs() - errors * (variance / count).sqrt()
    });
    distances.max_by(ascending).unwrap_or(f64::NEG_INFINITY)
}

/// The largest distance, and the percentiles 2.5 and 97.5 of 2000 resamples of whole trials: the points
/// share the draws of a trial.
pub(super) fn judged(points: &[Point], gap: &TheoryGapFile, seed: u64) -> Interval {
    let trials = points.iter().map(|point| point.measured.len()).min().unwrap_or(0);
    let sizes = points.iter().flat_map(|p| p.measured.iter().chain([&p.predicted]));
    let scale = sizes.fold(0.0_f64, |s, x| s.max(x.abs()));
    let tolerance = Tolerance::absolute(trials, scale * gap.standard_errors.abs().max(1.0));
    let value = largest(points, &vec![1.0; trials], gap.standard_errors);
    let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
    let spread = Spread::Resamples(Vec::new());
    let unbounded = Interval { value, low, high, tolerance, spread };
    if !value.is_finite() || trials == 0 {
        return unbounded;
    }
    let mut stream = Streams::new(seed).stream(&gap.stream[0], &gap.stream[1], 0);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut weights = vec![0.0; trials];
            for _ in 0..trials {
                if let Some(weight) = weights.get_mut(below(&mut stream, trials)) {
                    *weight += 1.0;
                }
            }
            largest(points, &weights, gap.standard_errors)
        })
        .collect();
    resampled.sort_by(ascending);
    let (low, high) = (percentile(&resampled, 2.5), percentile(&resampled, 97.5));
    Interval { low, high, spread: Spread::Resamples(resampled), ..unbounded }
}

/// The whole number below `bound` that follows in a stream: the high half of a draw of 32 bits times the
/// bound, one more where the low half and the high half of another such product overflow (Canon's method,
/// as rand 0.9 has it; spelled out here, so that another method there is noticed).
fn below(stream: &mut impl RngCore, bound: usize) -> usize {
    let range = u64::try_from(bound).unwrap_or(u64::MAX);
    let mut product = || {
        let product = u64::from(stream.next_u32()) * range;
        (product >> 32, product & 0xffff_ffff)
    };
    let (mut high, low) = product();
    if low > (1 << 32) - range {
        let (more, _) = product();
        high += u64::from(low + more > 0xffff_ffff);
    }
    usize::try_from(high).unwrap_or(usize::MAX)
}
