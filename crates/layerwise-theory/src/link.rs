//! Gaussian moments of link functions.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use crate::Result;
use crate::error::require;

/// The two moments of a link function σ that the single-index formulas need, at `Z ~ N(0, 1)` and
/// input standard deviation `τ`.
///
/// They are exact to rounding: closed forms for links with a kink, where Gauss-Hermite quadrature
/// is not exact, and the trapezoidal rule for analytic links, where it converges geometrically.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkMoments {
    /// Input standard deviation τ = √(tr Σ / d).
    pub tau: f64,
    /// `c = E[σ′(τ Z)]`.
    pub slope: f64,
    /// `e₂ = E[σ(τ Z)²]`.
    pub second: f64,
}

impl LinkMoments {
    /// Moments of σ(z) = z: `c = 1`, `e₂ = τ²`.
    ///
    /// # Errors
    /// Where `tau` is not positive and finite.
    pub fn identity(tau: f64) -> Result<Self> {
        let tau = positive(tau)?;
        Ok(Self { tau, slope: 1.0, second: tau * tau })
    }

    /// Moments of σ = tanh.
    ///
    /// # Errors
    /// Where `tau` is not positive and finite.
    pub fn tanh(tau: f64) -> Result<Self> {
        // tanh(τ z) has its nearest poles at ± iπ/(2τ).
        Self::analytic(f64::tanh, |z| z.cosh().powi(-2), tau, PI / (2.0 * tau))
    }

    /// Moments of σ(z) = max(z, 0): `c = ½`, `e₂ = τ²/2`.
    ///
    /// # Errors
    /// Where `tau` is not positive and finite.
    pub fn relu(tau: f64) -> Result<Self> {
        let tau = positive(tau)?;
        Ok(Self { tau, slope: 0.5, second: 0.5 * tau * tau })
    }

    /// Moments of σ(z) = max(z, 0) − 1/√(2π), whose mean is zero at τ = 1:
    /// `c = ½`, `e₂ = τ²/2 − τ/π + 1/(2π)`.
    ///
    /// # Errors
    /// Where `tau` is not positive and finite.
    pub fn centred_relu(tau: f64) -> Result<Self> {
        let tau = positive(tau)?;
        Ok(Self { tau, slope: 0.5, second: 0.5 * tau * tau - tau / PI + 0.5 / PI })
    }

    /// Moments of a link that is analytic in the strip `|Im z| < half_width` (in units of `Z`; any
    /// large number for entire functions such as polynomials) and grows less than `exp(z²/8)`.
    ///
    /// `value` and `derivative` are σ and σ′ as functions of their own argument `τ Z`.
    ///
    /// # Errors
    /// Where `tau` or `half_width` is not positive and finite.
    pub fn analytic(
        value: impl Fn(f64) -> f64,
        derivative: impl Fn(f64) -> f64,
        tau: f64,
        half_width: f64,
    ) -> Result<Self> {
        let tau = positive(tau)?;
        require(
            "strip half-width",
            half_width,
            half_width > 0.0 && half_width.is_finite(),
            "positive and finite",
        )?;
        // The rule's error is about exp(−2π a/h) for a strip of half-width a, and the Gaussian
        // itself adds exp(a²/2): a = 2 at the most, h = a/7 makes both terms < 1e-17.
        let step = half_width.min(2.0) / 7.0;
        // At |z| = 13 the density is 1e-37; squares of the link may grow like exp(z²/4).
        let count = (13.0 / step).ceil() as i64;
        let (mut slope, mut second) = (0.0, 0.0);
        for i in -count..=count {
            let z = i as f64 * step;
            let weight = step * (-0.5 * z * z).exp() * FRAC_1_SQRT_2 / PI.sqrt();
            slope += weight * derivative(tau * z);
            second += weight * value(tau * z).powi(2);
        }
        Ok(Self { tau, slope, second })
    }
}

fn positive(tau: f64) -> Result<f64> {
    require("input standard deviation", tau, tau > 0.0 && tau.is_finite(), "positive and finite")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomial_moments_are_those_of_their_hermite_coefficients() {
        // σ = 2 h₁ − 3 h₂ + h₄ in normalised polynomials: c = 2, e₂ = 4 + 9 + 1.
        let (two, four) = (2.0_f64.sqrt(), 24.0_f64.sqrt());
        let value =
            |z: f64| 2.0 * z - 3.0 * (z * z - 1.0) / two + (z.powi(4) - 6.0 * z * z + 3.0) / four;
        let derivative = |z: f64| 2.0 - 6.0 * z / two + (4.0 * z.powi(3) - 12.0 * z) / four;
        let moments = LinkMoments::analytic(value, derivative, 1.0, 10.0).unwrap();
        // A sum of about 100 terms of size ≤ 10: rounding of a few hundred ε.
        assert!((moments.slope - 2.0).abs() < 1e-13, "{}", moments.slope);
        assert!((moments.second - 14.0).abs() < 1e-12, "{}", moments.second);
    }

    #[test]
    fn tanh_obeys_steins_identity_at_every_scale() {
        // E[σ′(τZ)] τ = E[Z σ(τZ)], and tanh² = 1 − tanh′, so e₂ = 1 − c.
        for tau in [0.05, 0.7, 1.0, 3.0, 20.0] {
            let moments = LinkMoments::tanh(tau).unwrap();
            assert!((moments.second - (1.0 - moments.slope)).abs() < 1e-13, "τ = {tau}");
            let step = 0.002 / tau.max(1.0);
            let count = (13.0 / step) as i64;
            let stein: f64 = (-count..=count)
                .map(|i| {
                    let z = i as f64 * step;
                    step * (-0.5 * z * z).exp() / (2.0 * PI).sqrt() * z * (tau * z).tanh()
                })
                .sum();
            assert!((moments.slope * tau - stein).abs() < 1e-12, "τ = {tau}");
        }
    }

    #[test]
    fn centred_relu_matches_the_half_normal() {
        let moments = LinkMoments::centred_relu(1.0).unwrap();
        assert!((moments.second - (0.5 - 0.5 / PI)).abs() < 1e-15);
        assert_eq!(moments.slope, 0.5);
        // At another τ: variance of the half-rectified normal plus the squared mean left over.
        let tau = 1.7_f64;
        let mean = tau / (2.0 * PI).sqrt() - 1.0 / (2.0 * PI).sqrt();
        let variance = tau * tau * (0.5 - 0.5 / PI);
        let moments = LinkMoments::centred_relu(tau).unwrap();
        assert!((moments.second - (variance + mean * mean)).abs() < 1e-15);
    }

    #[test]
    fn a_scale_that_is_not_positive_is_refused() {
        for tau in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = LinkMoments::tanh(tau).unwrap_err();
            assert!(error.to_string().starts_with("input standard deviation is"), "{error}");
        }
    }
}
