//! Quantiles of Student's t from its distribution in closed form.

use std::f64::consts::FRAC_2_PI;

/// The t with `P(|T| ≤ t) = within` at a whole number of degrees of freedom, by bisection.
pub(super) fn two_sided(within: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while probability(high, freedom) < within {
        high *= 2.0;
    }
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if probability(middle, freedom) < within {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// `P(|T| ≤ t)`, a sum of powers of cos θ with tan θ = t/√ν (Abramowitz and Stegun, 26.7.3 and 26.7.4).
pub(super) fn probability(t: f64, freedom: usize) -> f64 {
    let nu = freedom as f64;
    let (cosine2, sine) = (nu / (nu + t * t), t / (nu + t * t).sqrt());
    let odd = freedom % 2 == 1;
    let mut term = if odd { cosine2.sqrt() } else { 1.0 };
    let mut sum = 0.0;
    // The exponent of the power that `term` holds.
    let mut power = if odd { 1.0 } else { 0.0 };
    while power <= nu - 2.0 && term > f64::EPSILON * 1e-3 * sum {
        sum += term;
        term *= cosine2 * (power + 1.0) / (power + 2.0);
        power += 2.0;
    }
    if odd { FRAC_2_PI * ((t / nu.sqrt()).atan() + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six decimals of a printed table of t(0.975, ν).
    #[test]
    fn quantiles_are_those_of_a_table() {
        for (freedom, expected) in [
            (1, 12.706_205),
            (2, 4.302_653),
            (3, 3.182_446),
            (4, 2.776_445),
            (5, 2.570_582),
            (9, 2.262_157),
            (10, 2.228_139),
            (29, 2.045_230),
            (30, 2.042_272),
            (60, 2.000_298),
            (120, 1.979_930),
            (1_000_000, 1.959_966),
        ] {
            let t = two_sided(0.95, freedom);
            assert!((t - expected).abs() < 6e-7, "{freedom}: {t}");
        }
        // Another level: t(0.995, 4).
        assert!((two_sided(0.99, 4) - 4.604_095).abs() < 6e-7);
    }

    /// ν = 1 and ν = 2 have quantiles in closed form.
    #[test]
    fn quantiles_have_all_their_digits() {
        let within: f64 = 0.95;
        // The tangent magnifies the angle's rounding by (1 + t²)/t, 13 and less, in a few steps.
        let one = (0.5 * std::f64::consts::PI * within).tan();
        assert!((two_sided(within, 1) / one - 1.0).abs() < 1e-13);
        let two = within * (2.0 / (1.0 - within * within)).sqrt();
        assert!((two_sided(within, 2) / two - 1.0).abs() < 1e-13);
    }
}
