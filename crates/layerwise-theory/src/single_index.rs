//! Alignment of one gradient step with the teacher's direction, in the proportional limit.
//!
//! The model: `y = σ⋆(⟨β⋆, x⟩) + ε`, `β⋆ ~ N(0, I/d)`, `x ~ N(0, Σ)`, n and d growing with
//! `φ = d/n`. One step of SGD learns the direction `Ê[y x]`, one step of KFAC the ridge direction
//! `(Σ̂ + λI)⁻¹ Ê[y x]`.

use ndarray::ArrayView1;

use crate::error::require;
use crate::{LinkMoments, Result};

/// Moments `m_j = tr Σʲ / d` of a population spectrum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpectralMoments {
    /// m₁ = tr Σ / d.
    pub first: f64,
    /// m₂ = tr Σ² / d.
    pub second: f64,
}

impl SpectralMoments {
    /// Moments of the given eigenvalues of Σ, all positive and finite.
    ///
    /// # Errors
    /// Where there are none, or one is not positive and finite.
    pub fn new(eigenvalues: ArrayView1<f64>) -> Result<Self> {
        check_spectrum(eigenvalues)?;
        Ok(Self { first: mean(eigenvalues, |s| s), second: mean(eigenvalues, |s| s * s) })
    }
}

/// Limit of the alignment of SGD's direction `Ê[y x]` with β⋆:
/// `c m₁ / √(c² m₂ + φ m₁ (e₂ + σ_ε²))`.
///
/// `ratio` is φ = d/n ≥ 0, `noise` is σ_ε ≥ 0, `link` holds c and e₂ at τ² = m₁.
///
/// # Errors
/// Where a parameter is outside its range.
pub fn sgd_alignment(
    spectrum: ArrayView1<f64>,
    link: &LinkMoments,
    ratio: f64,
    noise: f64,
) -> Result<f64> {
    let moments = SpectralMoments::new(spectrum)?;
    check(&moments, link, ratio, noise)?;
    let signal = link.slope * moments.first;
    let spread = link.slope.powi(2) * moments.second;
    let sampling = ratio * moments.first * (link.second + noise * noise);
    Ok(signal.abs() / (spread + sampling).sqrt())
}

/// SGD's alignment with infinitely many samples, `m₁/√m₂`: less than one unless Σ ∝ I, the bias
/// that more data do not remove.
///
/// # Errors
/// As [`SpectralMoments::new`].
pub fn infinite_sample_sgd_alignment(spectrum: ArrayView1<f64>) -> Result<f64> {
    let moments = SpectralMoments::new(spectrum)?;
    Ok(moments.first / moments.second.sqrt())
}

/// KFAC's alignment with infinitely many samples, `mean[s/(s+λ)]/√mean[(s/(s+λ))²]` over the
/// eigenvalues s of Σ: it tends to one as λ → 0, whatever the spectrum.
///
/// # Errors
/// As [`SpectralMoments::new`], and for a damping λ that is negative or not finite.
pub fn infinite_sample_kfac_alignment(spectrum: ArrayView1<f64>, damping: f64) -> Result<f64> {
    check_spectrum(spectrum)?;
    require("damping", damping, damping >= 0.0 && damping.is_finite(), "zero or positive, finite")?;
    let first = mean(spectrum, |s| s / (s + damping));
    let square = mean(spectrum, |s| (s / (s + damping)).powi(2));
    Ok(first / square.sqrt())
}

/// Limit of the alignment of KFAC's direction `(Σ̂ + λI)⁻¹ Ê[y x]` with β⋆: `A/√B`.
///
/// `κ ∈ [λ, λ + φ m₁]` solves `λ = κ (1 − φ·mean[s/(s+κ)])`,
/// `κ′ = 1/(1 − φ·mean[s²/(s+κ)²])`, `v = e₂ − c²τ² + σ_ε²`, and
///
/// - `A = c·mean[s/(s+κ)]`,
/// - `B = c²(mean[s/(s+κ)] − λκ′·mean[s/(s+κ)²]) + φ v κ′·mean[s/(s+κ)²]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KfacAlignment {
    /// The effective ridge κ that finite samples make of λ.
    pub effective_ridge: f64,
    /// κ′ = dκ/dλ.
    pub ridge_slope: f64,
    /// The alignment A/√B.
    pub alignment: f64,
}

impl KfacAlignment {
    /// Evaluates the limit at `ratio` φ = d/n ≥ 0, damping λ > 0 (λ = 0 is allowed for φ < 1) and
    /// noise σ_ε ≥ 0; `link` holds c and e₂ at τ² = m₁.
    ///
    /// # Errors
    /// Where a parameter is outside its range.
    pub fn new(
        spectrum: ArrayView1<f64>,
        link: &LinkMoments,
        ratio: f64,
        damping: f64,
        noise: f64,
    ) -> Result<Self> {
        let moments = SpectralMoments::new(spectrum)?;
        check(&moments, link, ratio, noise)?;
        require(
            "damping",
            damping,
            damping.is_finite() && (damping > 0.0 || (damping == 0.0 && ratio < 1.0)),
            "positive and finite, or zero where d < n",
        )?;
        let kappa = effective_ridge(spectrum, moments.first, ratio, damping);
        let first = mean(spectrum, |s| s / (s + kappa));
        let square = mean(spectrum, |s| (s / (s + kappa)).powi(2));
        let mixed = mean(spectrum, |s| s / (s + kappa).powi(2));
        let slope = 1.0 / (1.0 - ratio * square);
        let c2 = link.slope.powi(2);
        let rest = link.second - c2 * link.tau.powi(2) + noise * noise;
        let numerator = link.slope.abs() * first;
        let denominator = c2 * (first - damping * slope * mixed) + ratio * rest * slope * mixed;
        Ok(Self {
            effective_ridge: kappa,
            ridge_slope: slope,
            alignment: numerator / denominator.sqrt(),
        })
    }
}

/// Bisection: `κ ↦ κ(1 − φ·mean[s/(s+κ)]) − λ` changes sign once on `[λ, λ + φ m₁]`.
fn effective_ridge(spectrum: ArrayView1<f64>, first: f64, ratio: f64, damping: f64) -> f64 {
    let excess = |kappa: f64| kappa * (1.0 - ratio * mean(spectrum, |s| s / (s + kappa))) - damping;
    if damping == 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (damping, damping + ratio * first);
    // Halving the logarithm reaches two neighbouring floats in < 64 + 11 steps.
    while low.next_up() < high {
        let middle = (low.sqrt() * high.sqrt()).clamp(low.next_up(), high.next_down());
        if excess(middle) < 0.0 { low = middle } else { high = middle }
    }
    high
}

/// `⟨β⋆, x⟩` has variance m₁ = τ²: the link's moments must be those at the spectrum's τ. Both are
/// rounded, the mean by d ε at most and the square by a few: 1e-9 is beyond that for d < 10⁶.
fn check(moments: &SpectralMoments, link: &LinkMoments, ratio: f64, noise: f64) -> Result<()> {
    let variance = link.tau * link.tau / moments.first;
    require(
        "link's input variance τ² over tr Σ/d",
        variance,
        (variance - 1.0).abs() <= 1e-9,
        "1 (the moments of the link at τ = √(tr Σ/d))",
    )?;
    let finite = [link.tau, link.slope, link.second].into_iter().all(f64::is_finite);
    require("link's mean slope c", link.slope, finite && link.slope != 0.0, "finite, not zero")?;
    require("ratio d/n", ratio, ratio >= 0.0 && ratio.is_finite(), "zero or positive, finite")?;
    require("noise level", noise, noise >= 0.0 && noise.is_finite(), "zero or positive, finite")?;
    Ok(())
}

fn check_spectrum(eigenvalues: ArrayView1<f64>) -> Result<()> {
    require("number of eigenvalues", 0.0, !eigenvalues.is_empty(), "positive")?;
    for &s in eigenvalues {
        require("eigenvalue", s, s > 0.0 && s.is_finite(), "positive and finite")?;
    }
    Ok(())
}

fn mean(eigenvalues: ArrayView1<f64>, f: impl Fn(f64) -> f64) -> f64 {
    eigenvalues.iter().map(|&s| f(s)).sum::<f64>() / eigenvalues.len() as f64
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;

    fn two_level(epsilon: f64) -> Array1<f64> {
        Array1::from_iter((0..400).map(|i| if i < 200 { 1.0 + epsilon } else { 1.0 - epsilon }))
    }

    #[test]
    fn isotropic_equation_is_solved_in_closed_form() {
        // Σ = I: λ = κ(1 − φ/(1+κ)) is the quadratic κ² + κ(1 − φ − λ) − λ = 0.
        let link = LinkMoments::tanh(1.0).unwrap();
        let spectrum = Array1::ones(7);
        for (ratio, damping) in [(0.1, 1e-3), (1.0, 1e-6), (2.0, 0.3), (0.5, 10.0)] {
            let value = KfacAlignment::new(spectrum.view(), &link, ratio, damping, 0.1).unwrap();
            let b: f64 = 1.0 - ratio - damping;
            let exact = 0.5 * (-b + (b * b + 4.0 * damping).sqrt());
            // The root's condition number is κ′ λ/κ ≤ 1 times the cancellation in −b + √·.
            assert!((value.effective_ridge / exact - 1.0).abs() < 1e-9, "{ratio} {damping}");
            let step = 1e-4 * damping;
            let ahead =
                KfacAlignment::new(spectrum.view(), &link, ratio, damping + step, 0.1).unwrap();
            let slope = (ahead.effective_ridge - value.effective_ridge) / step;
            assert!((slope / value.ridge_slope - 1.0).abs() < 1e-3, "{slope} {value:?}");
        }
    }

    #[test]
    fn infinite_data_leave_sgd_its_bias_and_take_kfacs() {
        let link = LinkMoments::centred_relu(1.0).unwrap();
        let mut previous = 1.1;
        for epsilon in [0.0, 0.3, 0.6, 0.9] {
            let spectrum = two_level(epsilon);
            let limit = infinite_sample_sgd_alignment(spectrum.view()).unwrap();
            assert!((limit - 1.0 / (1.0 + epsilon * epsilon).sqrt()).abs() < 1e-14);
            assert!(limit < previous);
            previous = limit;
            let sgd = sgd_alignment(spectrum.view(), &link, 1e-12, 0.1).unwrap();
            assert!((sgd - limit).abs() < 1e-10);
            let kfac = KfacAlignment::new(spectrum.view(), &link, 1e-12, 1e-10, 0.1).unwrap();
            assert!((kfac.alignment - 1.0).abs() < 1e-8);
            for damping in [1e-10, 0.1, 3.0] {
                let limit = infinite_sample_kfac_alignment(spectrum.view(), damping).unwrap();
                let kfac = KfacAlignment::new(spectrum.view(), &link, 1e-12, damping, 0.1).unwrap();
                assert!((kfac.alignment - limit).abs() < 1e-10, "{damping}: {kfac:?} {limit}");
            }
        }
    }

    #[test]
    fn heavy_damping_turns_kfac_into_sgd() {
        // (Σ̂ + λI)⁻¹ → I/λ: the two alignments differ by O(1/λ).
        let link = LinkMoments::tanh(1.0).unwrap();
        let spectrum = two_level(0.5);
        let sgd = sgd_alignment(spectrum.view(), &link, 0.4, 0.2).unwrap();
        for damping in [1e3, 1e5] {
            let kfac = KfacAlignment::new(spectrum.view(), &link, 0.4, damping, 0.2).unwrap();
            assert!((kfac.alignment - sgd).abs() < 5.0 / damping, "{damping}: {kfac:?} {sgd}");
        }
    }

    #[test]
    fn parameters_outside_their_range_are_named() {
        let link = LinkMoments::tanh(1.0).unwrap();
        let spectrum = two_level(0.5);
        let error = |ratio, damping, noise| {
            KfacAlignment::new(spectrum.view(), &link, ratio, damping, noise)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(1.5, 0.0, 0.1),
            "damping is 0, but must be positive and finite, or zero where d < n"
        );
        assert!(error(f64::NAN, 1.0, 0.1).starts_with("ratio d/n is NaN"));
        assert!(error(1.0, 1.0, -0.1).starts_with("noise level is -0.1"));
        let other = LinkMoments::tanh(1.1).unwrap();
        let error = sgd_alignment(spectrum.view(), &other, 1.0, 0.1).unwrap_err().to_string();
        assert!(error.starts_with("link's input variance τ² over tr Σ/d is 1.21"), "{error}");
        assert!(KfacAlignment::new(spectrum.view(), &other, 1.0, 1.0, 0.1).is_err());
        let negative = Array1::from(vec![1.0, -2.0]);
        let error = sgd_alignment(negative.view(), &link, 1.0, 0.1).unwrap_err().to_string();
        assert_eq!(error, "eigenvalue is -2, but must be positive and finite");
    }
}
