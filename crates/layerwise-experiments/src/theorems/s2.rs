//! S2: what SGD and KFAC learn in one step on a single-index model.

use layerwise_data::{Link, Spectrum, Streams};
use layerwise_linalg::{leading_right_singular_vector, singular_values};
use layerwise_metrics::alignment;
use layerwise_models::SingleIndexStudent;
use layerwise_theory::{LinkMoments, gradient_spike, linear_units_direction, ridge_direction};
use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng;

use crate::Result;
use crate::claim::Whose;
use crate::single_index::Teacher;
use crate::theorems::comparison::{Comparison, Tally};
use crate::theorems::monte_carlo::{Mean, Point, part, threshold};
use crate::theorems::problems::{distance, extreme_eigenvalues, norm};
use crate::theorems::rounding;
use crate::theorems::single_index_problem::{Drawn, SingleIndexProblem, in_trials, means};
use crate::theorems::{Context, Outcome, Statement, Steps};

/// The statement.
#[derive(Debug, Clone, Copy)]
pub struct S2;

/// λ_G of the trials with growing dimension.
const DAMPING: f64 = 0.01;

impl Statement for S2 {
    fn id(&self) -> &'static str {
        "S2"
    }

    fn text(&self) -> &'static str {
        "On a single-index model the top right singular vector of G₁ − G₀ tends, as n, d, h grow \
         together, to β_SGD = Ê[yx] for SGD and to β_KFAC = (Σ̂ + λ_G I)⁻¹ Ê[yx] for KFAC \
         (P_G = I). With linear units G₁ − G₀ = (1/√h) a (β̂ − Σ̂ G₀ᵀ a/√h)ᵀ exactly, for KFAC \
         times (Σ̂ + λ_G I)⁻¹."
    }

    fn whose(&self) -> Whose {
        Whose::Ours
    }

    fn check(&self, context: &Context<'_>) -> Result<Outcome> {
        let cases = context.scale.choose(60, 400);
        let found = in_trials(context, ("S2", "identities"), cases, |rng| {
            let case = SingleIndexCase::random(rng);
            Ok((case.identity(context.steps)?, case.linear_units(context.steps)?))
        })?;
        let (mut identities, mut linear) = <(Tally, Tally)>::default();
        for (equations, steps) in found {
            equations.into_iter().for_each(|comparison| identities.add(comparison));
            steps.into_iter().for_each(|comparison| linear.add(comparison));
        }
        let mut parts = vec![
            identities.part(
                "the steps solve G₀ − G₁ = ∇ and (G₀ − G₁)(Σ̂ + λI) = ∇",
                "exactly",
                "ε, dimension and sizes: backward error of a Cholesky solve",
            ),
            linear.part(
                "steps of SGD and KFAC on a student with linear units",
                "(1/√h) a (β̂ − Σ̂ G₀ᵀ a/√h)ᵀ, and times (Σ̂ + λI)⁻¹",
                "rounding: ε · (n + h + d) · sizes of the gradient's terms · tr Q/λ_min(Q), Q = Σ̂ + λI",
            ),
        ];
        parts.extend(growth(context)?);
        Ok(Outcome { parts })
    }
}

/// `1 − alignment` with β as the dimension grows.
fn growth(context: &Context<'_>) -> Result<Vec<crate::theorems::Part>> {
    // (d, trials), each d twice the one before it.
    let sizes: &[(usize, u64)] = context
        .scale
        .choose(&[(50, 60), (100, 60), (200, 40)], &[(100, 100), (200, 60), (400, 40), (800, 30)]);
    let least = sizes.iter().map(|&(_, trials)| trials).min().unwrap_or(0);
    let steps = context.steps;
    let mut found: Vec<(usize, [Mean; 2])> = Vec::new();
    for &(dimension, trials) in sizes {
        let problem = SingleIndexProblem {
            spectrum: Spectrum::TwoLevel { epsilon: 0.5 },
            teacher: Teacher::Tanh,
            dimension,
            samples: 2 * dimension,
        };
        let purpose = format!("d = {dimension}");
        let trials = in_trials(context, ("S2", &purpose), trials, |rng| {
            let drawn = problem.draw(rng)?;
            let steps = Taken::new(&drawn, steps, DAMPING)?;
            let [sgd, kfac] = steps.betas(DAMPING)?;
            let missed = |change: ArrayView2<f64>, beta: &Array1<f64>| -> Result<f64> {
                let learned = leading_right_singular_vector(change)?;
                Ok(1.0 - alignment(learned.view(), beta.view())?)
            };
            Ok([missed(steps.sgd.view(), &sgd)?, missed(steps.kfac.view(), &kfac)?])
        })?;
        found.push((dimension, means(&trials)));
    }
    let thresholds = threshold(4, least as usize);
    let (mut limits, mut exponents) = (Vec::new(), Vec::new());
    if let [(small, first), .., (_, half), (large, last)] = found[..] {
        let next_order = (small as f64).sqrt().recip();
        for (i, method) in ["SGD", "KFAC"].into_iter().enumerate() {
            let missed = Mean::limit(last[i], half[i]);
            limits.push(Point {
                label: format!(
                    "{method}, d → ∞; {:.4} at d = {small}, {:.4} at {large}",
                    1.0 - first[i].value,
                    1.0 - last[i].value
                ),
                predicted: 1.0,
                measured: Mean { value: 1.0 - missed.value, error: missed.error },
                tolerance: thresholds * missed.error + 2.0 * next_order * last[i].value,
            });
            let measured = Mean::exponent((small, first[i]), (large, last[i]));
            let span = (large as f64 / small as f64).ln();
            exponents.push(Point {
                label: format!("{method}, d from {small} to {large}"),
                predicted: -1.0,
                measured,
                tolerance: thresholds * measured.error + 2.0 * next_order / span,
            });
        }
    }
    let cases = sizes.iter().map(|(_, trials)| trials).sum();
    Ok(vec![
        part(
            "alignment of the step's top right singular vector with β",
            &limits,
            "standard errors of 2 m_d − m_{d/2}, by Student's t (false alarm below 1e-7 in all of \
             S2), plus a next order assumed to be smaller by 1/√d",
            cases,
        ),
        part(
            "exponent of d in 1 − alignment",
            &exponents,
            "standard errors by Student's t (1e-7 in all of S2), plus a next order assumed to be \
             smaller by 1/√d",
            cases,
        ),
    ])
}

/// A step of SGD and one of KFAC from the same gradient.
struct Taken<'a> {
    drawn: &'a Drawn,
    gradient: Array2<f64>,
    /// `Ê[xxᵀ]` of the batch itself, whatever the steps use.
    moment: Array2<f64>,
    /// `G₁ − G₀` of SGD.
    sgd: Array2<f64>,
    /// `G₁ − G₀` of KFAC.
    kfac: Array2<f64>,
}

impl<'a> Taken<'a> {
    fn new(drawn: &'a Drawn, steps: &dyn Steps, damping: f64) -> Result<Self> {
        let gradient = steps.single_index_gradient(&drawn.student, &drawn.batch)?;
        let factor = steps.single_index_factor(&drawn.task, &drawn.batch)?;
        let sgd = steps.single_index_sgd(&drawn.student, gradient.view())?;
        let kfac = drawn.kfac(steps, gradient.view(), factor.view(), damping)?;
        Ok(Self {
            drawn,
            moment: crate::single_index::input_factor(&drawn.batch)?,
            sgd: drawn.change(sgd),
            kfac: drawn.change(kfac),
            gradient,
        })
    }

    /// β_SGD and β_KFAC.
    fn betas(&self, damping: f64) -> Result<[Array1<f64>; 2]> {
        let sgd = self.drawn.mean_direction();
        let kfac = ridge_direction(self.moment.view(), sgd.view(), damping)?;
        Ok([sgd, kfac])
    }
}

/// A small random problem for what holds exactly, at any size.
#[derive(Debug, Clone)]
pub struct SingleIndexCase {
    /// The problem; d from 1.
    pub problem: SingleIndexProblem,
    /// λ_G, from 10⁻³ to 10.
    pub damping: f64,
    /// Of everything random.
    pub seed: u64,
}

impl SingleIndexCase {
    /// A random case: d from 1 to 24, n from 1 to 6 d, κ(Σ) to 10⁴.
    pub fn random<R: Rng + ?Sized>(rng: &mut R) -> Self {
        let dimension = rng.random_range(1..=24);
        Self {
            problem: SingleIndexProblem {
                spectrum: Spectrum::LogSpaced {
                    condition: 10_f64.powf(rng.random_range(0.0..=4.0)),
                },
                teacher: if rng.random() { Teacher::Tanh } else { Teacher::CentredRelu },
                dimension,
                samples: rng.random_range(1..=6 * dimension),
            },
            damping: 10_f64.powf(rng.random_range(-3.0..=1.0)),
            seed: rng.random(),
        }
    }

    fn draw(&self) -> Result<Drawn> {
        self.problem.draw(&mut Streams::new(self.seed).stream("case", "problem", 0))
    }

    /// Whether the steps solve their equations: `G₀ − G₁ = ∇`, `(G₀ − G₁)(Q + λI) = ∇`.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn identity(&self, steps: &dyn Steps) -> Result<[Comparison; 2]> {
        let drawn = self.draw()?;
        let taken = Taken::new(&drawn, steps, self.damping)?;
        let size = norm(taken.gradient.view());
        let start = norm(drawn.student.representation());
        let d = self.problem.dimension as f64;
        let factor = singular_values(taken.moment.view())?[0] + self.damping;
        // Both G₁ and G₁ − G₀ are rounded: 2ε(‖G₀‖ + ‖step‖), magnified by the factor's norm; the
        // solve has a backward error of at most 8 d ε relative to its matrix.
        let rounding =
            |change: f64, factor: f64| 2.0 * f64::EPSILON * (start + change) * factor / size;
        let kfac = norm(taken.kfac.view());
        let back = taken.kfac.dot(&taken.moment) + &taken.kfac * self.damping;
        Ok([
            Comparison {
                deviation: norm((&taken.sgd + &taken.gradient).view()) / size,
                tolerance: rounding(size, 1.0),
            },
            Comparison {
                deviation: norm((&back + &taken.gradient).view()) / size,
                tolerance: rounding(kfac, factor) + 8.0 * d * f64::EPSILON * factor * kfac / size,
            },
        ])
    }

    /// Steps of SGD and KFAC on a student with linear units against their closed form; relative to
    /// the steps.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn linear_units(&self, steps: &dyn Steps) -> Result<[Comparison; 2]> {
        let mut drawn = self.draw()?;
        drawn.student = SingleIndexStudent::new(
            drawn.student.representation().to_owned(),
            drawn.student.head().to_owned(),
            Link::Identity,
        )?;
        let taken = Taken::new(&drawn, steps, self.damping)?;
        let (head, start) = (drawn.student.head(), drawn.student.representation());
        let moment = taken.moment.view();
        let direction = drawn.mean_direction();
        let rest = linear_units_direction(head, start, moment, direction.view())?;
        let ridge = ridge_direction(moment, rest.view(), self.damping)?;
        // All of −∇ is a spike with c₁ = 1.
        let units = LinkMoments::identity(1.0)?;
        let sgd = gradient_spike(head, rest.view(), &units)?;
        let kfac = gradient_spike(head, ridge.view(), &units)?;

        let (h, d) = start.dim();
        let chain = rounding::chain(self.problem.samples + h + d);
        let trace = taken.moment.diag().sum();
        let (g, a) = (norm(start), head.dot(&head).sqrt() / (h as f64).sqrt());
        let targets = drawn.batch.y().iter().map(|y| y * y).sum::<f64>();
        let targets = (targets / self.problem.samples as f64).sqrt();
        // Terms of −∇ = a Ê[(y − f) x]ᵀ/√h, f = aᵀGx/√h: their means are at most those of squares.
        let terms = a * trace.sqrt() * (targets + g * a * trace.sqrt());
        let least = extreme_eigenvalues(moment)?.0.max(0.0) + self.damping;
        let solve = (trace + d as f64 * self.damping) / least;
        let compare = |change: &Array2<f64>, predicted: &Array2<f64>, rounding: f64| {
            let size = norm(predicted.view());
            // Both G₁ and G₁ − G₀ are rounded.
            let stored = 2.0 * f64::EPSILON * (g + size);
            Comparison {
                deviation: distance(change.view(), predicted.view()) / size,
                tolerance: (rounding + stored) / size,
            }
        };
        Ok([
            compare(&taken.sgd, &sgd, 2.0 * chain * terms),
            compare(&taken.kfac, &kfac, 2.0 * chain * (terms / least + solve * norm(kfac.view()))),
        ])
    }
}
