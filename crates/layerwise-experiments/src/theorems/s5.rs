//! S5: with unlimited samples SGD stays biased and KFAC does not, on a single-index model.

use layerwise_data::Spectrum;
use layerwise_theory::{infinite_sample_kfac_alignment, infinite_sample_sgd_alignment};

use crate::Result;
use crate::claim::Whose;
use crate::single_index::Teacher;
use crate::theorems::monte_carlo::{Mean, Point, part, threshold};
use crate::theorems::single_index_problem::{SingleIndexProblem, mean_of};
use crate::theorems::{Context, Outcome, Part, Statement};

/// The statement.
#[derive(Debug, Clone, Copy)]
pub struct S5;

/// λ_G: small beside every eigenvalue of Σ.
const DAMPING: f64 = 1e-3;
const TOLERANCE_FROM: &str = "standard errors of 3 m(d, n/d) − m(d/2, n/d) − m(d, n/2d), by \
                              Student's t (false alarm below 1e-7 in all of S5), plus a next order \
                              assumed to be smaller by 1/√d";

impl Statement for S5 {
    fn id(&self) -> &'static str {
        "S5"
    }

    fn text(&self) -> &'static str {
        "With Σ ≻ 0, c ≠ 0 and first n → ∞, SGD's alignment with β⋆ tends to m₁/√m₂, which is \
         below 1 unless Σ ∝ I and falls as anisotropy grows; KFAC's tends to 1 as then λ_G → 0: \
         SGD is biased, KFAC is not."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let (dimension, samples_per, trials) = context.scale.choose((64, 32, 60), (100, 64, 120));
        let epsilons: &[f64] = context.scale.choose(&[0.0, 0.5, 0.9], &[0.0, 0.3, 0.6, 0.9]);
        let thresholds = threshold(3 * epsilons.len(), trials as usize);
        let (mut sgd, mut kfac, mut by_trial) = (Vec::new(), Vec::new(), Vec::new());
        for &epsilon in epsilons {
            let spectrum = Spectrum::TwoLevel { epsilon };
            let at = |dimension: usize, samples_per: usize| -> Result<Vec<Vec<f64>>> {
                let problem = SingleIndexProblem {
                    spectrum: spectrum.clone(),
                    teacher: Teacher::Tanh,
                    dimension,
                    samples: samples_per * dimension,
                };
                // All anisotropies share their draws.
                let purpose = format!("d = {dimension}, n/d = {samples_per}");
                let wanted = (true, &[DAMPING][..]);
                problem.alignments(context, ("S5", &purpose), trials, wanted)
            };
            let most = at(dimension, samples_per)?;
            let half_dimension = at(dimension / 2, samples_per)?;
            let half_samples = at(dimension, samples_per / 2)?;
            let eigenvalues = spectrum.eigenvalues(dimension)?;
            let predicted = [
                infinite_sample_sgd_alignment(eigenvalues.view())?,
                infinite_sample_kfac_alignment(eigenvalues.view(), DAMPING)?,
            ];
            for (i, points) in [&mut sgd, &mut kfac].into_iter().enumerate() {
                let [most, half_dimension, half_samples] =
                    [&most, &half_dimension, &half_samples].map(|found| mean_of(found, i));
                let measured =
                    Mean::combine(&[(3.0, most), (-1.0, half_dimension), (-1.0, half_samples)]);
                let removed = (most.value - half_dimension.value).abs()
                    + (most.value - half_samples.value).abs();
                let next_order = removed / (0.5 * dimension as f64).sqrt();
                points.push(Point {
                    label: format!("ε = {epsilon}"),
                    predicted: predicted[i],
                    measured,
                    tolerance: thresholds * measured.error + next_order,
                });
            }
            by_trial.push(most.iter().map(|trial| trial[0]).collect());
        }
        let cases = 3 * trials * epsilons.len() as u64;
        Ok(Outcome {
            parts: vec![
                part("alignment of SGD's step with β⋆ as n → ∞", &sgd, TOLERANCE_FROM, cases),
                part("alignment of KFAC's step with β⋆ as n → ∞", &kfac, TOLERANCE_FROM, cases),
                falls(&sgd, &by_trial, thresholds, cases),
            ],
        })
    }
}

/// Whether alignment falls from each anisotropy to the next, on the same draws, by more than
/// chance.
fn falls(points: &[Point], by_trial: &[Vec<f64>], threshold: f64, cases: u64) -> Part {
    let falls: Vec<Mean> = by_trial
        .windows(2)
        .map(|pair| {
            let paired = pair[0].iter().zip(&pair[1]).map(|(less, more)| less - more);
            Mean::of(&paired.collect::<Vec<_>>())
        })
        .collect();
    // Not f64::max, which would drop a NaN.
    let worst = falls
        .iter()
        .map(|fall| threshold * fall.error - fall.value)
        .fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a });
    let list = |values: &mut dyn Iterator<Item = f64>| {
        values.map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(", ")
    };
    let predicted = points.windows(2).map(|pair| pair[0].predicted - pair[1].predicted);
    Part {
        what: "SGD's alignment falls from each anisotropy to the next (standard errors less fall)"
            .into(),
        predicted: list(&mut predicted.into_iter()),
        measured: list(&mut falls.iter().map(|fall| fall.value)),
        deviation: worst,
        tolerance: 0.0,
        tolerance_from: "a fall beyond its standard errors, by Student's t (false alarm below 1e-7 in all of S5)",
        cases,
        discarded: 0,
    }
}
