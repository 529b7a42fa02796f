//! S4: how far KFAC's direction is from the teacher's on a single-index model.

use crate::Result;
use crate::claim::Whose;
use crate::single_index::Teacher;
use crate::theorems::monte_carlo::{Mean, part, threshold};
use crate::theorems::s3::{TOLERANCE_FROM, limit_point, pair};
use crate::theorems::single_index_problem::{SPECTRA, mean_of};
use crate::theorems::{Context, Outcome, Statement};

/// The statement.
#[derive(Debug, Clone, Copy)]
pub struct S4;

impl Statement for S4 {
    fn id(&self) -> &'static str {
        "S4"
    }

    fn text(&self) -> &'static str {
        "Alignment of one step of KFAC with β⋆ on a single-index model tends to A/√B: κ solves \
         λ = κ(1 − φ mean[s/(s+κ)]), κ′ = dκ/dλ, v = e₂ − c²τ² + σ_ε², A = c mean[s/(s+κ)], \
         B = c²(mean[s/(s+κ)] − λκ′ mean[s/(s+κ)²]) + φvκ′ mean[s/(s+κ)²]."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let (dimension, trials) = context.scale.choose((100, 160), (200, 600));
        let ratios: &[f64] = context.scale.choose(&[0.1, 1.0, 2.0], &[0.1, 0.5, 1.0, 2.0]);
        let dampings: &[f64] = context
            .scale
            .choose(&[1e-3, 0.1, 1.0, 10.0], &[1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0]);
        let teachers: &[Teacher] =
            context.scale.choose(&[Teacher::Tanh], &[Teacher::Tanh, Teacher::CentredRelu]);
        let each = ratios.len() * teachers.len();
        let threshold = threshold(SPECTRA.len() * each * dampings.len(), trials as usize);
        let mut parts = Vec::new();
        for (spectrum, (name, _)) in SPECTRA.iter().enumerate() {
            let mut points = Vec::new();
            for &teacher in teachers {
                for &ratio in ratios {
                    let label = format!("{}, d/n = {ratio}", teacher.name());
                    let problems = pair(spectrum, teacher, ratio, dimension);
                    let mut found = Vec::new();
                    for problem in &problems {
                        let purpose = format!("{name}, {label}, d = {}", problem.dimension);
                        let wanted = (false, dampings);
                        found.push(problem.alignments(
                            context,
                            ("S4", &purpose),
                            trials,
                            wanted,
                        )?);
                    }
                    for (i, &damping) in dampings.iter().enumerate() {
                        let means: [Mean; 2] = std::array::from_fn(|j| mean_of(&found[j], i));
                        let predicted = [
                            problems[0].predicted_kfac(damping)?,
                            problems[1].predicted_kfac(damping)?,
                        ];
                        let label = format!("{label}, λ = {damping}");
                        points.push(limit_point(label, predicted, means, threshold, dimension));
                    }
                }
            }
            let what = format!("alignment of KFAC's step with β⋆, spectrum {name}");
            parts.push(part(&what, &points, TOLERANCE_FROM, 2 * trials * each as u64));
        }
        Ok(Outcome { parts })
    }
}
