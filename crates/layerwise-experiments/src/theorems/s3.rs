//! S3: how far SGD's direction is from the teacher's on a single-index model.

use crate::Result;
use crate::claim::Whose;
use crate::single_index::Teacher;
use crate::theorems::monte_carlo::{Mean, Point, part, threshold};
use crate::theorems::single_index_problem::{SPECTRA, SingleIndexProblem, mean_of};
use crate::theorems::{Context, Outcome, Statement};

/// The statement.
#[derive(Debug, Clone, Copy)]
pub struct S3;

/// Where the tolerance of S3 and S4 comes from.
pub(crate) const TOLERANCE_FROM: &str = "standard errors of 2 m_d − m_{d/2}, by Student's t (false alarm below 1e-7 in all of the \
     statement), plus a next order assumed to be smaller by 1/√d";

/// A setting with d/n = φ at a dimension and at half of it.
pub(crate) fn pair(
    spectrum: usize,
    teacher: Teacher,
    ratio: f64,
    dimension: usize,
) -> [SingleIndexProblem; 2] {
    [dimension, dimension / 2].map(|dimension| SingleIndexProblem {
        spectrum: SPECTRA[spectrum].1.clone(),
        teacher,
        dimension,
        samples: (dimension as f64 / ratio).round() as usize,
    })
}

/// The limit of a mean as d grows, from its deviations from theory at two dimensions, and the
/// tolerance of a comparison with theory. The correction that is left is taken to be smaller than
/// the one that was removed by a factor of the order of `1/√d`.
pub(crate) fn limit_point(
    label: String,
    predicted: [f64; 2],
    found: [Mean; 2],
    threshold: f64,
    dimension: usize,
) -> Point {
    let [full, half] = [found[0].minus(predicted[0]), found[1].minus(predicted[1])];
    let limit = Mean::limit(full, half);
    let next_order = half.value.abs() / (0.5 * dimension as f64).sqrt();
    Point {
        label,
        predicted: predicted[0],
        measured: Mean { value: predicted[0] + limit.value, ..limit },
        tolerance: threshold * limit.error + next_order,
    }
}

impl Statement for S3 {
    fn id(&self) -> &'static str {
        "S3"
    }

    fn text(&self) -> &'static str {
        "Alignment of one step of SGD with β⋆ on a single-index model tends to \
         c m₁ / √(c² m₂ + φ m₁ (e₂ + σ_ε²)), c = E[σ⋆′(τZ)], e₂ = E[σ⋆(τZ)²], m_j = tr Σʲ/d, \
         φ = d/n."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let (dimension, trials) = context.scale.choose((100, 60), (200, 200));
        let ratios: &[f64] = context.scale.choose(&[0.1, 2.0], &[0.1, 0.5, 1.0, 2.0]);
        let teachers = [Teacher::Tanh, Teacher::CentredRelu];
        let comparisons = SPECTRA.len() * ratios.len() * teachers.len();
        let threshold = threshold(comparisons, trials as usize);
        let mut points = Vec::new();
        for (spectrum, (name, _)) in SPECTRA.iter().enumerate() {
            for teacher in teachers {
                for &ratio in ratios {
                    let label = format!("{name}, {}, d/n = {ratio}", teacher.name());
                    let mut predicted = [0.0; 2];
                    let mut found = [Mean { value: f64::NAN, error: f64::NAN }; 2];
                    for (i, problem) in pair(spectrum, teacher, ratio, dimension).iter().enumerate()
                    {
                        let purpose = format!("{label}, d = {}", problem.dimension);
                        let results =
                            problem.alignments(context, ("S3", &purpose), trials, (true, &[]))?;
                        predicted[i] = problem.predicted_sgd()?;
                        found[i] = mean_of(&results, 0);
                    }
                    points.push(limit_point(label, predicted, found, threshold, dimension));
                }
            }
        }
        let cases = 2 * trials * comparisons as u64;
        Ok(Outcome {
            parts: vec![part("alignment of SGD's step with β⋆", &points, TOLERANCE_FROM, cases)],
        })
    }
}
