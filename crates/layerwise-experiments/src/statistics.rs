//! Summaries over trials: quartiles, and intervals for means.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A number measured over trials, with a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Lower end of the interval; −∞ where the trials do not bound it.
    pub low: f64,
    /// Upper end of the interval; +∞ where the trials do not bound it.
    pub high: f64,
    /// Trials behind it.
    pub trials: usize,
    /// Whether the interval is one of logarithms.
    pub logarithmic: bool,
}

/// Confidence of every interval.
const CONFIDENCE: f64 = 0.95;

impl Estimate {
    /// Mean over trials with Student's t interval.
    ///
    /// One trial bounds nothing. Where some trials are infinite (a diverged loss) and others are
    /// not, neither do they; where all are infinite alike, so is the estimate.
    #[must_use]
    pub fn mean(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let unbounded = Self {
            value: mean,
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            trials: values.len(),
            logarithmic: false,
        };
        if values.len() < 2 {
            return unbounded;
        }
        if values.iter().all(|v| v.is_infinite() && *v == values[0]) {
            return Self { low: mean, high: mean, ..unbounded };
        }
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let Ok(t) = StudentsT::new(0.0, 1.0, n - 1.0) else { return unbounded };
        let half = t.inverse_cdf(0.5 * (1.0 + CONFIDENCE)) * (variance / n).sqrt();
        if half.is_finite() {
            Self { low: mean - half, high: mean + half, ..unbounded }
        } else {
            unbounded
        }
    }

    /// Geometric mean over trials of positive numbers: the t interval of their logarithms.
    #[must_use]
    pub fn geometric_mean(values: &[f64]) -> Self {
        let logarithms: Vec<f64> = values.iter().map(|v| v.ln()).collect();
        let of = Self::mean(&logarithms);
        let (value, low, high) = (of.value.exp(), of.low.exp(), of.high.exp());
        Self { value, low, high, logarithmic: true, ..of }
    }

    /// Two-sided p-value of the hypothesis that the mean is `threshold`, by the test whose interval this
    /// is: below 0.05 where the interval leaves the threshold out. Where all trials are alike, so that
    /// there is no error to measure by, it is the sign test's, 2^(1−n). 1 where nothing is bounded.
    #[must_use]
    pub fn p_value(&self, threshold: f64) -> f64 {
        let scale = |x: f64| if self.logarithmic { x.ln() } else { x };
        let [value, low, high, threshold] = [self.value, self.low, self.high, threshold].map(scale);
        if value == threshold || value.is_nan() || threshold.is_nan() {
            return 1.0;
        }
        if low == high {
            return 0.5_f64.powf(self.trials as f64 - 1.0);
        }
        let Ok(t) = StudentsT::new(0.0, 1.0, self.trials as f64 - 1.0) else { return 1.0 };
        let error = 0.5 * (high - low) / t.inverse_cdf(0.5 * (1.0 + CONFIDENCE));
        if error.is_finite() { 2.0 * t.sf((value - threshold).abs() / error) } else { 1.0 }
    }

    /// Geometric mean of the trial-by-trial ratios `above / below`.
    #[must_use]
    pub fn paired_ratio(above: &[f64], below: &[f64]) -> Self {
        let ratios: Vec<f64> = above.iter().zip(below).map(|(a, b)| a / b).collect();
        Self::geometric_mean(&ratios)
    }
}

/// Mean and standard error of the mean; the error is NaN for fewer than two trials.
#[must_use]
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// The `fraction` quantile, by linear interpolation between order statistics; infinities are
/// ordinary large numbers, NaN sorts last. NaN for no values.
#[must_use]
pub fn quantile(values: &[f64], fraction: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    // A NaN that arithmetic makes may have a sign, by which the order would put it first.
    let unsigned = |v: &f64| if v.is_nan() { f64::NAN } else { *v };
    let mut sorted: Vec<f64> = values.iter().map(unsigned).collect();
    sorted.sort_by(f64::total_cmp);
    let position = fraction * (sorted.len() - 1) as f64;
    let (low, part) = (position.floor() as usize, position.fract());
    // No arithmetic with an infinite neighbour that has no weight: 0 · ∞ is NaN.
    if part == 0.0 || sorted[low] == sorted[low + 1] {
        return sorted[low];
    }
    sorted[low] * (1.0 - part) + sorted[low + 1] * part
}

/// The median.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_interval_matches_a_table() {
        // t(0.975, 4) = 2.776445; mean 3, standard deviation √2.5.
        let estimate = Estimate::mean(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let half = 2.776_445_105 * (2.5_f64 / 5.0).sqrt();
        assert!((estimate.value - 3.0).abs() < 1e-15);
        assert!((estimate.low - (3.0 - half)).abs() < 1e-8, "{estimate:?}");
        assert!((estimate.high - (3.0 + half)).abs() < 1e-8);
    }

    #[test]
    fn p_values_end_with_their_intervals() {
        for values in [&[1.0, 2.0, 3.0, 4.0, 5.0][..], &[0.1, 0.7]] {
            for estimate in [Estimate::mean(values), Estimate::geometric_mean(values)] {
                for end in [estimate.low, estimate.high] {
                    let p = estimate.p_value(end);
                    assert!((p - 0.05).abs() < 1e-9, "{estimate:?} {p}");
                }
                assert_eq!(estimate.p_value(estimate.value), 1.0);
            }
        }
        // P(|T| > 4.604095) = 0.01 at four degrees of freedom.
        let estimate = Estimate::mean(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let p = estimate.p_value(3.0 + 4.604_095 * 0.5_f64.sqrt());
        assert!((p - 0.01).abs() < 1e-8, "{p}");
        assert_eq!(Estimate::mean(&[2.0; 5]).p_value(1.0), 0.0625);
        assert_eq!(Estimate::mean(&[2.0; 5]).p_value(2.0), 1.0);
        assert_eq!(Estimate::mean(&[2.0]).p_value(1.0), 1.0);
        assert_eq!(Estimate::mean(&[f64::INFINITY; 4]).p_value(1.0), 0.125);
        assert_eq!(Estimate::mean(&[f64::INFINITY, 1.0]).p_value(1.0), 1.0);
    }

    #[test]
    fn one_trial_or_a_mixture_with_infinity_bounds_nothing() {
        for values in [&[2.0][..], &[2.0, f64::INFINITY], &[2.0, f64::NAN]] {
            let estimate = Estimate::mean(values);
            assert_eq!((estimate.low, estimate.high), (f64::NEG_INFINITY, f64::INFINITY));
        }
        let estimate = Estimate::geometric_mean(&[f64::INFINITY; 3]);
        assert_eq!((estimate.low, estimate.value), (f64::INFINITY, f64::INFINITY));
    }

    #[test]
    fn quantiles_interpolate_and_survive_infinity() {
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.25), 1.75);
        assert_eq!(median(&[f64::INFINITY, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.75), f64::INFINITY);
        assert_eq!(median(&[-f64::NAN, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_paired() {
        let estimate = Estimate::paired_ratio(&[2.0, 20.0, 200.0], &[1.0, 10.0, 100.0]);
        assert!((estimate.value - 2.0).abs() < 1e-14);
        assert!(estimate.high - estimate.low < 1e-13);
    }
}
