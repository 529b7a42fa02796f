//! S1: the first gradient step on a single-index model is a spike.

use layerwise_data::Spectrum;
use layerwise_linalg::singular_values;
use layerwise_models::SingleIndexStudent;
use layerwise_theory::{LinkMoments, gradient_spike};

use crate::Result;
use crate::claim::Whose;
use crate::single_index::Teacher;
use crate::theorems::monte_carlo::{Mean, Point, part, threshold};
use crate::theorems::single_index_problem::{SingleIndexProblem, in_trials, means};
use crate::theorems::{Context, Outcome, Statement};

/// The statement; with [`HeadSize::One`] it is false.
#[derive(Debug, Clone, Copy)]
pub struct S1 {
    /// The scale of the student's head.
    pub head: HeadSize,
}

/// Size of the entries of the student's head a.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadSize {
    /// `a_j = ±1/√h`, as the statement says.
    InverseRoot,
    /// `a_j = ±1`.
    One,
}

const TEACHERS: [Teacher; 2] = [Teacher::Tanh, Teacher::CentredRelu];

impl Statement for S1 {
    fn id(&self) -> &'static str {
        "S1"
    }

    fn text(&self) -> &'static str {
        "The first step on a single-index model is a spike: −∇_G L̂ = (c₁/√h) a β̂ᵀ + rest, \
         β̂ = Ê[yx], c₁ = E[σ′(τZ)], a_j = ±1/√h; the rest's norm over the spike's falls like 1/√d \
         as n, d, h grow together."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        // (d, trials), each d twice or four times the one before it; the last two make a limit.
        let sizes: &[(usize, u64)] = context
            .scale
            .choose(&[(50, 60), (100, 60), (200, 40)], &[(100, 100), (200, 80), (400, 60)]);
        let least = sizes.iter().map(|&(_, trials)| trials).min().unwrap_or(0);
        let thresholds = threshold(2 * TEACHERS.len(), least as usize);
        let (mut coefficients, mut exponents) = (Vec::new(), Vec::new());
        for teacher in TEACHERS {
            let mut found: Vec<(usize, [Mean; 2])> = Vec::new();
            for &(dimension, trials) in sizes {
                let problem = SingleIndexProblem {
                    spectrum: Spectrum::TwoLevel { epsilon: 0.5 },
                    teacher,
                    dimension,
                    samples: 2 * dimension,
                };
                let purpose = format!("{}, d = {dimension}", teacher.name());
                let trials = in_trials(context, ("S1", &purpose), trials, |rng| {
                    self.measure(context, &problem, rng)
                })?;
                found.push((dimension, means(&trials)));
            }
            let [(small, first), .., (_, half), (large, last)] = found[..] else { continue };
            coefficients.push(Point {
                label: format!("{}, d → ∞ from {} and {large}", teacher.name(), large / 2),
                predicted: 1.0,
                measured: Mean::limit(last[1], half[1]),
                tolerance: thresholds * Mean::limit(last[1], half[1]).error,
            });
            let measured = Mean::exponent((small, first[0]), (large, last[0]));
            let span = (large as f64 / small as f64).ln();
            exponents.push(Point {
                label: format!(
                    "{}, d from {small} to {large}: {:.3} to {:.3}",
                    teacher.name(),
                    first[0].value,
                    last[0].value
                ),
                predicted: -0.5,
                measured,
                tolerance: thresholds * measured.error + (small as f64).sqrt().recip() / span,
            });
        }
        let cases = TEACHERS.len() as u64 * sizes.iter().map(|(_, trials)| trials).sum::<u64>();
        Ok(Outcome {
            parts: vec![
                part(
                    "coefficient of a β̂ᵀ/√h over c₁",
                    &coefficients,
                    "standard errors of 2 m_d − m_{d/2}, by Student's t (false alarm below 1e-7 in all of S1)",
                    cases,
                ),
                part(
                    "exponent of d in the rest's norm over the spike's",
                    &exponents,
                    "standard errors by Student's t (1e-7 in all of S1), plus a next order assumed to be smaller by 1/√d",
                    cases,
                ),
            ],
        })
    }
}

impl S1 {
    /// The rest's norm over the spike's, and the coefficient of the spike over c₁.
    fn measure(
        &self,
        context: &Context<'_>,
        problem: &SingleIndexProblem,
        rng: &mut dyn rand::RngCore,
    ) -> Result<[f64; 2]> {
        let mut drawn = problem.draw(rng)?;
        let h = drawn.student.head().len() as f64;
        if self.head == HeadSize::One {
            let head = drawn.student.head().mapv(|a| a * h.sqrt());
            let start = drawn.student.representation().to_owned();
            drawn.student = SingleIndexStudent::new(start, head, layerwise_data::Link::Tanh)?;
        }
        let gradient = context.steps.single_index_gradient(&drawn.student, &drawn.batch)?;
        let direction = drawn.mean_direction();
        let head = drawn.student.head();
        let activation = LinkMoments::tanh(1.0)?;
        let spike = gradient_spike(head, direction.view(), &activation)?;
        let size =
            activation.slope / h.sqrt() * head.dot(&head).sqrt() * direction.dot(&direction).sqrt();
        let rest = singular_values((&gradient + &spike).view())?[0];
        let along = -head.dot(&gradient.dot(&direction));
        let unit = head.dot(&spike.dot(&direction));
        Ok([rest / size, along / unit])
    }
}
