//! Order statistics in which NaN is larger than everything.

use std::cmp::Ordering;

/// Ascending, whatever the sign of a NaN.
pub(super) fn ascending(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(ascending);
    let half = sorted.len() / 2;
    match (sorted.get(half), half.checked_sub(1).and_then(|below| sorted.get(below))) {
        (None, _) => f64::NAN,
        (Some(&above), Some(&below)) if sorted.len().is_multiple_of(2) && above != below => {
            0.5 * below + 0.5 * above
        }
        (Some(&middle), _) => middle,
    }
}

/// The value below which a share of finite ones lies, linear between its neighbours.
pub(super) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = percent / 100.0 * last as f64;
    let below = (position as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    low + (high - low) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_put_what_is_no_number_last() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median([-f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median([f64::INFINITY, f64::INFINITY]), f64::INFINITY);
        assert!(median([1.0, f64::NAN]).is_nan() && median([]).is_nan());
    }

    #[test]
    fn percentiles_interpolate() {
        assert_eq!(percentile(&[0.0, 10.0], 25.0), 2.5);
        assert_eq!(percentile(&[7.0], 97.5), 7.0);
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 100.0), 3.0);
    }
}
