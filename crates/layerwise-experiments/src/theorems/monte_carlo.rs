//! Means over trials against limits of large dimension, with a stated chance of a false alarm.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::statistics::mean_and_error;
use crate::theorems::Part;

/// The chance that a statement with a right prediction is reported to fail, for each statement
/// that rests on trials.
pub const FALSE_ALARM: f64 = 1e-7;

/// How many standard errors a mean of `trials` trials may be off, so that the chance is
/// [`FALSE_ALARM`] that any of `comparisons` is further off: Student's t, both sides, Bonferroni.
#[must_use]
pub fn threshold(comparisons: usize, trials: usize) -> f64 {
    let each = FALSE_ALARM / comparisons.max(1) as f64;
    // The lower tail: 1 − each/2 would lose the digits of `each`.
    StudentsT::new(0.0, 1.0, trials.saturating_sub(1).max(1) as f64)
        .map_or(f64::NAN, |t| -t.inverse_cdf(0.5 * each))
}

/// A mean over trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean, or a combination of means.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

impl Mean {
    /// The mean of independent trials.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let (value, error) = mean_and_error(values);
        Self { value, error }
    }

    /// The same for `value − shift`.
    #[must_use]
    pub fn minus(self, shift: f64) -> Self {
        Self { value: self.value - shift, ..self }
    }

    /// `Σ wᵢ mᵢ` of independent means.
    #[must_use]
    pub fn combine(terms: &[(f64, Self)]) -> Self {
        let value = terms.iter().map(|(w, m)| w * m.value).sum();
        let square: f64 = terms.iter().map(|(w, m)| (w * m.error).powi(2)).sum();
        Self { value, error: square.sqrt() }
    }

    /// `2 m_d − m_{d/2}`: the limit of a quantity whose leading correction is c/d.
    #[must_use]
    pub fn limit(at_dimension: Self, at_half: Self) -> Self {
        Self::combine(&[(2.0, at_dimension), (-1.0, at_half)])
    }

    /// The exponent p of `m ∝ dᵖ` from means at two dimensions.
    #[must_use]
    pub fn exponent(small: (usize, Self), large: (usize, Self)) -> Self {
        let span = (large.0 as f64 / small.0 as f64).ln();
        let relative = |m: Self| m.error / m.value;
        Self {
            value: (large.1.value / small.1.value).ln() / span,
            error: relative(small.1).hypot(relative(large.1)) / span,
        }
    }
}

/// One predicted number beside its measured one.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Where, for the reader.
    pub label: String,
    /// What theory says.
    pub predicted: f64,
    /// What the trials say.
    pub measured: Mean,
    /// What the deviation may be.
    pub tolerance: f64,
}

impl Point {
    fn share(&self) -> f64 {
        let share = (self.measured.value - self.predicted).abs() / self.tolerance;
        if share.is_nan() { f64::INFINITY } else { share }
    }
}

/// The part that points make together: the one closest to its tolerance speaks for all.
#[must_use]
pub fn part(what: &str, points: &[Point], tolerance_from: &'static str, cases: u64) -> Part {
    let worst = points.iter().max_by(|a, b| a.share().total_cmp(&b.share()));
    let Some(worst) = worst else {
        return Part {
            what: what.into(),
            predicted: String::new(),
            measured: "nothing".into(),
            deviation: f64::NAN,
            tolerance: 0.0,
            tolerance_from,
            cases: 0,
            discarded: 0,
        };
    };
    let Mean { value, error } = worst.measured;
    let among = match points.len() {
        1 => String::new(),
        count => format!(", of {count} points the closest to its tolerance"),
    };
    Part {
        what: format!("{what} ({}{among})", worst.label),
        predicted: format!("{:.4}", worst.predicted),
        measured: format!("{value:.4} ± {error:.4}"),
        deviation: (value - worst.predicted).abs(),
        tolerance: worst.tolerance,
        tolerance_from,
        cases,
        discarded: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_have_their_tail() {
        for (comparisons, trials) in [(1, 20), (300, 60), (10, 1000)] {
            let threshold = threshold(comparisons, trials);
            let t = StudentsT::new(0.0, 1.0, (trials - 1) as f64).unwrap();
            let tail = 2.0 * t.cdf(-threshold) * comparisons as f64;
            assert!((tail / FALSE_ALARM - 1.0).abs() < 1e-3, "{comparisons} {trials}: {tail:e}");
        }
        // The normal quantile of 5e-8 is 5.327; t approaches it from above.
        let many = threshold(1, 1_000_000);
        assert!((many - 5.327).abs() < 1e-3, "{many}");
        assert!(threshold(1, 20) > 8.0);
    }

    #[test]
    fn a_correction_of_one_over_d_disappears_in_the_limit() {
        let at = |d: f64| Mean { value: 0.7 + 3.0 / d, error: 0.01 };
        let limit = Mean::limit(at(200.0), at(100.0));
        assert!((limit.value - 0.7).abs() < 1e-14);
        assert!((limit.error - 0.05_f64.sqrt() * 0.1).abs() < 1e-14);
    }

    #[test]
    fn exponents_are_recovered() {
        let at = |d: usize| (d, Mean { value: (d as f64).powf(-0.5), error: 0.0 });
        let exponent = Mean::exponent(at(100), at(800));
        assert!((exponent.value + 0.5).abs() < 1e-14);
    }

    #[test]
    fn the_worst_point_speaks_and_a_nan_is_the_worst() {
        let point = |measured, tolerance| Point {
            label: format!("{measured}"),
            predicted: 1.0,
            measured: Mean { value: measured, error: 0.0 },
            tolerance,
        };
        let points = [point(1.1, 0.2), point(1.05, 0.01), point(2.0, 4.0)];
        let worst = part("x", &points, "t", 7);
        assert!((worst.deviation - 0.05).abs() < 1e-15 && !worst.holds());
        assert_eq!(worst.what, "x (1.05, of 3 points the closest to its tolerance)");
        let nan = part("x", &[point(1.0, 1.0), point(f64::NAN, 1.0)], "t", 2);
        assert!(nan.deviation.is_nan() && !nan.holds());
        assert!(!part("x", &[], "t", 0).holds());
    }
}
