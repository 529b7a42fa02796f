//! Link functions.

use serde::{Deserialize, Serialize};

use crate::error::{Result, at_least, require};

/// A scalar function σ and its derivative: the link of a single-index model, the activation of a
/// network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Link {
    /// z.
    Identity,
    /// tanh z.
    Tanh,
    /// max(z, 0), with derivative 0 at z = 0.
    Relu,
    /// max(z, 0) − 1/√(2π): mean zero for z ~ N(0, 1). Derivative 0 at z = 0.
    CentredRelu,
    /// Σ_j c_j He_j(z)/√(j!), He_j the probabilists' Hermite polynomials, from j = 0.
    ///
    /// Normalised so that Σ_j c_j² is the second moment under z ~ N(0, 1).
    Hermite(Vec<f64>),
}

impl Link {
    /// Checks the coefficients of a Hermite expansion.
    ///
    /// # Errors
    ///
    /// [`crate::DataError::TooFew`] when there is none,
    /// [`crate::DataError::InvalidParameter`] when one is not finite.
    pub fn check(&self) -> Result<()> {
        if let Self::Hermite(coefficients) = self {
            at_least("number of Hermite coefficients", coefficients.len(), 1)?;
            for &c in coefficients {
                require(c.is_finite(), "Hermite coefficient", c, "finite")?;
            }
        }
        Ok(())
    }

    /// σ(z).
    pub fn value(&self, z: f64) -> f64 {
        match self {
            Self::Identity => z,
            Self::Tanh => z.tanh(),
            Self::Relu => relu(z),
            Self::CentredRelu => relu(z) - RELU_MEAN,
            Self::Hermite(coefficients) => hermite(coefficients, z).0,
        }
    }

    /// σ(z) and σ'(z), which share their cost.
    pub fn value_and_derivative(&self, z: f64) -> (f64, f64) {
        match self {
            Self::Tanh => {
                let t = z.tanh();
                (t, 1.0 - t * t)
            }
            Self::Hermite(coefficients) => hermite(coefficients, z),
            _ => (self.value(z), self.derivative(z)),
        }
    }

    /// σ'(z).
    pub fn derivative(&self, z: f64) -> f64 {
        match self {
            Self::Identity => 1.0,
            Self::Tanh => {
                let t = z.tanh();
                1.0 - t * t
            }
            Self::Relu | Self::CentredRelu => f64::from(u8::from(z > 0.0)),
            Self::Hermite(coefficients) => hermite(coefficients, z).1,
        }
    }
}

/// max(z, 0); NaN for NaN, where `f64::max` gives 0 and hides a weight that is not a number.
fn relu(z: f64) -> f64 {
    if z < 0.0 { 0.0 } else { z }
}

/// E[max(Z, 0)] for Z ~ N(0, 1): 1/√(2π).
const RELU_MEAN: f64 = 0.5 * std::f64::consts::FRAC_1_SQRT_2 * std::f64::consts::FRAC_2_SQRT_PI;

/// Value and derivative of Σ c_j h_j, h_j = He_j/√(j!), by
/// h_{j+1} = (z h_j − √j h_{j−1})/√(j+1) and h_j' = √j h_{j−1}.
fn hermite(coefficients: &[f64], z: f64) -> (f64, f64) {
    let (mut previous, mut current) = (0.0, 1.0);
    let (mut value, mut derivative) = (0.0, 0.0);
    for (j, c) in coefficients.iter().enumerate() {
        let root = (j as f64).sqrt();
        value += c * current;
        derivative += c * root * previous;
        let next = (z * current - root * previous) / ((j + 1) as f64).sqrt();
        (previous, current) = (current, next);
    }
    (value, derivative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataError;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn derivatives_match_central_differences(
            z in -3.0..3.0_f64, coefficients in prop::collection::vec(-1.0..1.0_f64, 1..7),
        ) {
            for link in [
                Link::Identity, Link::Tanh, Link::Relu, Link::CentredRelu, Link::Hermite(coefficients),
            ] {
                let h = 1e-5;
                prop_assume!(z.abs() > 2.0 * h);
                let difference = (link.value(z + h) - link.value(z - h)) / (2.0 * h);
                // Truncation h²/6·|σ'''| with |σ'''| < 500 on the range, rounding ε|σ|/h, |σ| < 100.
                prop_assert!((difference - link.derivative(z)).abs() < 1e-7, "{link:?} at {z}");
            }
        }

        #[test]
        fn hermite_is_the_explicit_polynomial(z in -3.0..3.0_f64) {
            // He_2 = z² − 1, He_3 = z³ − 3z, He_4 = z⁴ − 6z² + 3.
            let link = Link::Hermite(vec![0.5, -1.0, 2.0, 0.25, 3.0]);
            let expected = 0.5 - z + 2.0 * (z * z - 1.0) / 2_f64.sqrt()
                + 0.25 * (z.powi(3) - 3.0 * z) / 6_f64.sqrt()
                + 3.0 * (z.powi(4) - 6.0 * z * z + 3.0) / 24_f64.sqrt();
            // A few dozen roundings of terms below 200.
            prop_assert!((link.value(z) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn centred_relu_is_centred() {
        // ∫ max(z, 0) φ(z) dz = φ(0).
        let mean = (2.0 * std::f64::consts::PI).sqrt().recip();
        assert!((Link::CentredRelu.value(-1.0) + mean).abs() < 1e-15);
        assert!((Link::CentredRelu.value(2.0) - (2.0 - mean)).abs() < 1e-15);
        assert_eq!(Link::CentredRelu.derivative(0.0), 0.0);
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for link in [
            Link::Identity,
            Link::Tanh,
            Link::Relu,
            Link::CentredRelu,
            Link::Hermite(vec![0.0, 1.0]),
        ] {
            assert!(link.value(f64::NAN).is_nan(), "{link:?}");
        }
    }

    #[test]
    fn bad_coefficients_are_refused() {
        let error = Link::Hermite(vec![]).check().unwrap_err();
        assert!(matches!(error, DataError::TooFew { .. }));
        let error = Link::Hermite(vec![0.0, f64::NAN]).check().unwrap_err();
        assert_eq!(error.to_string(), "Hermite coefficient = NaN: must be finite");
        assert!(Link::Hermite(vec![1.0]).check().is_ok());
        assert!(Link::Tanh.check().is_ok());
    }
}
