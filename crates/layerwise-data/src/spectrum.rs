//! Spectra of covariances.

use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result, at_least, require};

/// The eigenvalues of an input covariance Σ in d dimensions.
///
/// All but [`Spectrum::Explicit`] are scaled to tr Σ = d, so that a coordinate has variance one
/// on average whatever the anisotropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Spectrum {
    /// All eigenvalues one.
    Isotropic,
    /// Half the eigenvalues 1 + ε, half 1 − ε; for odd d the middle one is 1.
    TwoLevel {
        /// ε in [0, 1).
        epsilon: f64,
    },
    /// Evenly spaced on a logarithmic scale: λ_i ∝ κ^{−i/(d−1)}, i = 0 … d − 1.
    ///
    /// In one dimension the condition number has no effect.
    LogSpaced {
        /// The condition number κ = λ_max/λ_min ≥ 1.
        condition: f64,
    },
    /// λ_i ∝ i^{−α}, i = 1 … d.
    PowerLaw {
        /// α ≥ 0.
        exponent: f64,
    },
    /// A few large eigenvalues, 1 + s each, over a bulk of ones (a spiked covariance, Johnstone 2001).
    Spiked {
        /// How many, 0 to d.
        spikes: usize,
        /// s ≥ 0, by how much they exceed the bulk.
        excess: f64,
    },
    /// These eigenvalues, in any order, not rescaled.
    Explicit(Vec<f64>),
}

impl Spectrum {
    /// The d eigenvalues, in descending order.
    ///
    /// # Errors
    ///
    /// [`DataError::TooFew`] for d = 0; [`DataError::InvalidParameter`] for ε outside [0, 1),
    /// κ < 1, α < 0, an eigenvalue that is not positive (or underflows to zero), and for
    /// infinities and NaN, and for more spikes than d or a negative excess; [`DataError::Shape`] when
    /// an explicit spectrum has not d values.
    pub fn eigenvalues(&self, dimension: usize) -> Result<Array1<f64>> {
        at_least("dimension d", dimension, 1)?;
        let raw = match self {
            Self::Isotropic => vec![1.0; dimension],
            Self::TwoLevel { epsilon } => {
                require((0.0..1.0).contains(epsilon), "epsilon", *epsilon, "in [0, 1)")?;
                let half = dimension / 2;
                (0..dimension)
                    .map(|i| {
                        if i < half {
                            1.0 + epsilon
                        } else if i >= dimension - half {
                            1.0 - epsilon
                        } else {
                            1.0
                        }
                    })
                    .collect()
            }
            Self::LogSpaced { condition } => log_spaced(dimension, *condition)?,
            Self::PowerLaw { exponent } => {
                require(
                    exponent.is_finite() && *exponent >= 0.0,
                    "exponent alpha",
                    *exponent,
                    "finite and non-negative",
                )?;
                (1..=dimension).map(|i| (i as f64).powf(-exponent)).collect()
            }
            Self::Spiked { spikes, excess } => {
                require(
                    *spikes <= dimension,
                    "number of spikes",
                    *spikes as f64,
                    "at most the dimension d",
                )?;
                require(
                    excess.is_finite() && *excess >= 0.0,
                    "excess of the spikes",
                    *excess,
                    "finite and non-negative",
                )?;
                (0..dimension).map(|i| if i < *spikes { 1.0 + excess } else { 1.0 }).collect()
            }
            Self::Explicit(values) => {
                if values.len() != dimension {
                    return Err(DataError::Shape {
                        what: "explicit spectrum",
                        expected: (dimension, 1),
                        found: (values.len(), 1),
                    });
                }
                let mut values = values.clone();
                values.sort_by(|a, b| b.total_cmp(a));
                values
            }
        };
        for &value in &raw {
            require(value.is_finite() && value > 0.0, "eigenvalue", value, "finite and positive")?;
        }
        let eigenvalues = Array1::from(raw);
        if matches!(self, Self::Explicit(_)) {
            return Ok(eigenvalues);
        }
        let scale = dimension as f64 / eigenvalues.sum();
        Ok(eigenvalues * scale)
    }
}

/// `count` numbers from 1 down to 1/κ, evenly spaced on a logarithmic scale.
pub(crate) fn log_spaced(count: usize, condition: f64) -> Result<Vec<f64>> {
    require(
        condition.is_finite() && condition >= 1.0,
        "condition number kappa",
        condition,
        "finite and at least 1",
    )?;
    let steps = count.saturating_sub(1).max(1) as f64;
    Ok((0..count).map(|i| condition.powf(-(i as f64) / steps)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn condition(values: &Array1<f64>) -> f64 {
        values[0] / values[values.len() - 1]
    }

    proptest! {
        #[test]
        fn trace_is_the_dimension_and_order_descends(
            d in 1_usize..40, kappa in 1.0..1e8_f64, epsilon in 0.0..0.999_f64, alpha in 0.0..4.0_f64,
        ) {
            for spectrum in [
                Spectrum::Isotropic,
                Spectrum::TwoLevel { epsilon },
                Spectrum::LogSpaced { condition: kappa },
                Spectrum::PowerLaw { exponent: alpha },
                Spectrum::Spiked { spikes: d / 2, excess: kappa },
            ] {
                let values = spectrum.eigenvalues(d).unwrap();
                prop_assert_eq!(values.len(), d);
                // d terms, each rounded once, and their sum: relative error at most (d + 2) ε.
                prop_assert!((values.sum() - d as f64).abs() <= (d * (d + 2)) as f64 * f64::EPSILON);
                prop_assert!(values.windows(2).into_iter().all(|w| w[0] >= w[1]));
                prop_assert!(values.iter().all(|&v| v > 0.0));
            }
        }

        #[test]
        fn log_spaced_has_its_condition_number_and_constant_ratios(
            d in 2_usize..40, kappa in 1.0..1e8_f64,
        ) {
            let values = Spectrum::LogSpaced { condition: kappa }.eigenvalues(d).unwrap();
            // powf is accurate to an ulp or two of a relative error magnified by |ln κ| ≤ 19.
            let tolerance = 1e-13;
            prop_assert!((condition(&values) / kappa - 1.0).abs() < tolerance);
            let ratio = values[1] / values[0];
            for w in values.windows(2) {
                prop_assert!((w[1] / w[0] / ratio - 1.0).abs() < tolerance);
            }
        }
    }

    #[test]
    fn two_level_and_power_law_values() {
        let even = Spectrum::TwoLevel { epsilon: 0.25 }.eigenvalues(4).unwrap();
        assert_eq!(even.to_vec(), [1.25, 1.25, 0.75, 0.75]);
        let odd = Spectrum::TwoLevel { epsilon: 0.25 }.eigenvalues(3).unwrap();
        assert_eq!(odd.to_vec(), [1.25, 1.0, 0.75]);
        let power = Spectrum::PowerLaw { exponent: 2.0 }.eigenvalues(3).unwrap();
        assert!((power[0] / power[2] - 9.0).abs() < 1e-14);
        assert!((power[0] / power[1] - 4.0).abs() < 1e-14);
        assert_eq!(Spectrum::LogSpaced { condition: 50.0 }.eigenvalues(1).unwrap().to_vec(), [1.0]);
    }

    #[test]
    fn spikes_stand_over_a_bulk() {
        let values = Spectrum::Spiked { spikes: 1, excess: 3.0 }.eigenvalues(4).unwrap();
        // 4, 1, 1, 1 scaled by 4/7.
        for (value, expected) in values.iter().zip([16.0 / 7.0, 4.0 / 7.0, 4.0 / 7.0, 4.0 / 7.0]) {
            assert!((value - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn spectra_are_read_by_their_names() {
        let read = |text| serde_json::from_str::<Spectrum>(text);
        assert_eq!(
            read(r#"{"log_spaced": {"condition": 100}}"#).unwrap(),
            Spectrum::LogSpaced { condition: 100.0 }
        );
        assert_eq!(read(r#""isotropic""#).unwrap(), Spectrum::Isotropic);
        assert_eq!(read(r#"{"explicit": [1, 2]}"#).unwrap(), Spectrum::Explicit(vec![1.0, 2.0]));
        assert!(read(r#"{"log_spaced": {"kappa": 100}}"#).is_err());
    }

    #[test]
    fn explicit_values_are_sorted_and_kept() {
        let values = Spectrum::Explicit(vec![0.5, 8.0, 2.0]).eigenvalues(3).unwrap();
        assert_eq!(values.to_vec(), [8.0, 2.0, 0.5]);
    }

    #[test]
    fn what_is_not_a_spectrum_is_refused() {
        let invalid = [
            (Spectrum::TwoLevel { epsilon: 1.0 }, "epsilon = 1: must be in [0, 1)"),
            (Spectrum::TwoLevel { epsilon: -0.1 }, "epsilon = -0.1: must be in [0, 1)"),
            (Spectrum::TwoLevel { epsilon: f64::NAN }, "epsilon = NaN: must be in [0, 1)"),
            (
                Spectrum::LogSpaced { condition: 0.5 },
                "condition number kappa = 0.5: must be finite and at least 1",
            ),
            (
                Spectrum::LogSpaced { condition: f64::INFINITY },
                "condition number kappa = inf: must be finite and at least 1",
            ),
            (
                Spectrum::PowerLaw { exponent: -1.0 },
                "exponent alpha = -1: must be finite and non-negative",
            ),
            (
                Spectrum::Spiked { spikes: 3, excess: 1.0 },
                "number of spikes = 3: must be at most the dimension d",
            ),
            (
                Spectrum::Spiked { spikes: 1, excess: -1.0 },
                "excess of the spikes = -1: must be finite and non-negative",
            ),
            (Spectrum::PowerLaw { exponent: 1e5 }, "eigenvalue = 0: must be finite and positive"),
            (Spectrum::Explicit(vec![1.0, 0.0]), "eigenvalue = 0: must be finite and positive"),
            (
                Spectrum::Explicit(vec![f64::NAN, 1.0]),
                "eigenvalue = NaN: must be finite and positive",
            ),
        ];
        for (spectrum, text) in invalid {
            let error = spectrum.eigenvalues(2).unwrap_err();
            assert!(matches!(error, DataError::InvalidParameter { .. }), "{error:?}");
            assert_eq!(error.to_string(), text);
        }
        let error = Spectrum::Explicit(vec![1.0]).eigenvalues(2).unwrap_err();
        assert_eq!(error.to_string(), "explicit spectrum is 1 x 1, expected 2 x 1");
        let error = Spectrum::Isotropic.eigenvalues(0).unwrap_err();
        assert_eq!(error, DataError::TooFew { name: "dimension d", value: 0, least: 1 });
        assert_eq!(error.to_string(), "dimension d = 0: must be at least 1");
    }
}
