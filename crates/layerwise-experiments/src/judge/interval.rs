//! Means over trials, their intervals, and how far another program's may lie from them.

use crate::judge::student;

/// A number of the trials with its 95 % interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// The point estimate.
    pub value: f64,
    /// Its lower end; −∞ where the trials do not bound it.
    pub low: f64,
    /// Its upper end; +∞ where the trials do not bound it.
    pub high: f64,
    /// How far another correct computation of the same numbers may lie from each.
    pub tolerance: Tolerance,
    pub(super) spread: Spread,
}

/// By what a threshold is tested.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spread {
    /// A mean and its standard error, of logarithms where the number is their exponential.
    Trials { mean: f64, error: f64, count: usize, logarithms: bool },
    /// The numbers of the resamples.
    Resamples(Vec<f64>),
}

impl Interval {
    /// Between which numbers the two-sided p-value of a threshold lies, as far as rounding leaves it open:
    /// a t is wrong by ten times the numbers' [`Tolerance`] relative to its numerator at most, a probability
    /// that is 1 less another by 10⁻¹³; of resamples two may change sides.
    pub(super) fn p_value(&self, threshold: f64) -> [f64; 2] {
        match &self.spread {
            Spread::Resamples(values) if values.is_empty() => [1.0; 2],
            Spread::Resamples(values) => {
                let at_most = values.iter().filter(|value| **value <= threshold).count();
                let at_least = values.iter().filter(|value| **value >= threshold).count();
                let fewer = at_most.min(at_least) as f64;
                [fewer - 1.0, fewer + 3.0]
                    .map(|n| (2.0 * n / (values.len() as f64 + 1.0)).clamp(0.0, 1.0))
            }
            &Spread::Trials { mean, error, count, logarithms } => {
                let distance = (mean - if logarithms { threshold.ln() } else { threshold }).abs();
                if distance == 0.0 || distance.is_nan() {
                    return [1.0; 2];
                }
                if error == 0.0 {
                    return [0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX) - 1); 2];
                }
                if !error.is_finite() {
                    return [1.0; 2];
                }
                let open = match self.tolerance {
                    Tolerance::Absolute(part) | Tolerance::Relative(part) => 10.0 * part,
                };
                [1.0, -1.0].map(|sign| {
                    let t = ((distance + sign * open) / error).max(0.0);
                    1.0 - student::probability(t, count - 1) - sign * 1e-13
                })
            }
        }
    }
}

/// What two computations of the same numbers may differ by: 10⁻⁹ √n s, for n numbers of at most s in absolute
/// value, or with an interval of that half width.
///
/// With u = 1.1·10⁻¹⁶, a mean that is added up in any order is wrong by at most n u s, a standard deviation
/// from it by 2 n u s, and a half width by t/√n times that, where t/√n is 9 for two trials and at most 2.5
/// for more. The number and its ends are therefore wrong by at most 20 n u s, which is below 10⁻¹⁰ √n s for
/// n < 10⁹, and there are at most 10⁷ trials. The rest is for quantiles of Student's t that another program
/// finds by iteration, to 10⁻⁹ of their value: they move an end by 10⁻⁹ of the half width.
///
/// Of a geometric mean all this is about logarithms, and what is absolute there is relative in the number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// The same for the number and both ends.
    Absolute(f64),
    /// In proportion to the number or end.
    Relative(f64),
}

/// See [`Tolerance`].
const UNIT: f64 = 1e-9;

impl Tolerance {
    /// Of numbers of `trials` trials that are at most `scale` in absolute value.
    pub(super) fn absolute(trials: usize, scale: f64) -> Self {
        Self::Absolute(UNIT * (trials.max(1) as f64).sqrt() * scale)
    }

    /// How far a number may lie from `value`.
    #[must_use]
    pub fn around(self, value: f64) -> f64 {
        match self {
            // An infinity is not rounded.
            _ if !value.is_finite() => 0.0,
            Self::Absolute(distance) => distance,
            Self::Relative(part) => part * value.abs(),
        }
    }
}

/// The mean of trials, and Student's interval: one trial, or numbers that are not all finite, bound
/// nothing, but where all are the same infinity.
pub(super) fn of_mean(values: &[f64]) -> Interval {
    let count = values.len();
    let value = sum(values.iter().copied()) / count as f64;
    let largest = values.iter().fold(0.0, |s: f64, v| s.max(v.abs()));
    let alike = |v: &f64| v.is_infinite() && *v == value;
    let error = if count < 2 {
        f64::INFINITY
    } else if values.iter().all(alike) {
        0.0
    } else {
        let squares = sum(values.iter().map(|v| (v - value) * (v - value)));
        (squares / (count as f64 * (count - 1) as f64)).sqrt()
    };
    let bounds = error.is_finite().then(|| student::two_sided(0.95, count - 1) * error);
    let (low, high) = match bounds {
        None => (f64::NEG_INFINITY, f64::INFINITY),
        Some(half) => (value - half, value + half),
    };
    let scale = Some(largest.max(bounds.unwrap_or(0.0))).filter(|s| s.is_finite()).unwrap_or(0.0);
    let spread = Spread::Trials { mean: value, error, count, logarithms: false };
    Interval { value, low, high, tolerance: Tolerance::absolute(count, scale), spread }
}

/// The geometric mean of trials: the exponential of the mean of logarithms, and of its interval.
pub(super) fn of_geometric_mean(values: &[f64]) -> Interval {
    let logarithms: Vec<f64> = values.iter().map(|v| v.ln()).collect();
    let of = of_mean(&logarithms);
    let part = match of.tolerance {
        Tolerance::Absolute(distance) | Tolerance::Relative(distance) => distance,
    };
    // The exponential and the ratios have roundings of their own.
    let tolerance = Tolerance::Relative(part.max(UNIT));
    let spread = match of.spread {
        Spread::Trials { mean, error, count, .. } => {
            Spread::Trials { mean, error, count, logarithms: true }
        }
        resamples => resamples,
    };
    let (value, low, high) = (of.value.exp(), of.low.exp(), of.high.exp());
    Interval { value, low, high, tolerance, spread }
}

/// A sum whose rounding does not grow with the number of terms (Neumaier's).
pub(super) fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for term in terms {
        let next = total + term;
        lost +=
            if total.abs() >= term.abs() { (total - next) + term } else { (term - next) + total };
        total = next;
    }
    // What is lost beside an infinity is no number.
    if total.is_finite() { total + lost } else { total }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_means() {
        let of = of_mean(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        // Mean 3, standard deviation √2.5, t(0.975, 4) = 2.776445105.
        let half = 2.776_445_105 * 0.5_f64.sqrt();
        assert!((of.value - 3.0).abs() < 1e-15 && (of.low - 3.0 + half).abs() < 1e-8, "{of:?}");
        assert!((of.high - 3.0 - half).abs() < 1e-8);
        for values in [&[2.0][..], &[2.0, f64::INFINITY], &[2.0, f64::NAN], &[]] {
            let of = of_mean(values);
            assert_eq!((of.low, of.high), (f64::NEG_INFINITY, f64::INFINITY));
        }
        let of = of_mean(&[f64::INFINITY; 3]);
        assert_eq!((of.value, of.low), (f64::INFINITY, f64::INFINITY));
        // The mean is rounded, and so are the deviations from it.
        assert!((of_mean(&[0.1; 3]).high - 0.1).abs() < 1e-15);
    }

    #[test]
    fn intervals_of_geometric_means() {
        let of = of_geometric_mean(&[1.0, 4.0]);
        // ln 4 · (½ ± t/2), t(0.975, 1) = 12.7062047362.
        let half = 0.5 * 4.0_f64.ln() * 12.706_204_736_2;
        assert!(
            (of.value - 2.0).abs() < 1e-15 && (of.high.ln() - 2.0_f64.ln() - half).abs() < 1e-9
        );
        assert_eq!(of_geometric_mean(&[0.0; 2]).high, 0.0);
        assert_eq!(of_geometric_mean(&[-1.0, 1.0]).low, 0.0);
    }

    #[test]
    fn sums_lose_nothing() {
        assert_eq!(sum([1e16, 1.0, -1e16].into_iter()), 1.0);
        assert_eq!(sum([f64::MAX, f64::MAX].into_iter()), f64::INFINITY);
    }
}
