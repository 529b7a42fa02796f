//! The statements on single-index models: the real steps obey them, wrong ones are found out, and
//! without its assumption S1 is false.

use layerwise_data::{Batch, SingleIndexTask, Spectrum, Streams, Task};
use layerwise_experiments::Result;
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::ndarray::{Array1, Array2, ArrayView2, s};
use layerwise_experiments::single_index::{Teacher, input_factor};
use layerwise_experiments::theorems::s1::{HeadSize, S1};
use layerwise_experiments::theorems::s2::{S2, SingleIndexCase};
use layerwise_experiments::theorems::s3::S3;
use layerwise_experiments::theorems::s4::S4;
use layerwise_experiments::theorems::s5::S5;
use layerwise_experiments::theorems::single_index_problem::SingleIndexProblem;
use layerwise_experiments::theorems::{Context, Outcome, Part, RealSteps, Scale, Statement, Steps};
use layerwise_linalg::{RootOptions, inverse_root, set_backend_threads};
use layerwise_models::SingleIndexStudent;
use layerwise_theory::{infinite_sample_kfac_alignment, infinite_sample_sgd_alignment};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn check(statement: &dyn Statement, steps: &dyn Steps) -> Outcome {
    set_backend_threads(1);
    let streams = Streams::new(1);
    let context = Context { scale: Scale::Quick, streams: &streams, steps, monitor: &Silent };
    statement.check(&context).unwrap()
}

fn assert_fails(statement: &dyn Statement, steps: &dyn Steps) {
    let outcome = check(statement, steps);
    assert!(!outcome.holds(), "{} did not see it: {outcome:#?}", statement.id());
}

const S1_STATED: S1 = S1 { head: HeadSize::InverseRoot };

#[test]
fn the_real_steps_obey_every_statement() {
    for statement in [&S1_STATED as &dyn Statement, &S2, &S3, &S4, &S5] {
        let outcome = check(statement, &RealSteps);
        assert!(outcome.holds(), "{}: {outcome:#?}", statement.id());
    }
}

#[test]
fn without_the_scale_of_the_head_the_step_is_no_spike() {
    let outcome = check(&S1 { head: HeadSize::One }, &RealSteps);
    let exponent = &outcome.parts[1];
    assert!(!exponent.holds(), "{exponent:?}");
}

/// The input factor on the output side.
struct Swapped;

impl Steps for Swapped {
    fn single_index_kfac(
        &self,
        student: &SingleIndexStudent,
        gradient: ArrayView2<f64>,
        factor: ArrayView2<f64>,
        damping: f64,
    ) -> Result<Array2<f64>> {
        // With G ↦ Gᵀ the same call preconditions from the left.
        let transposed = SingleIndexStudent::new(
            student.representation().t().to_owned(),
            Array1::ones(student.representation().ncols()),
            layerwise_data::Link::Tanh,
        )?;
        let stepped = RealSteps.single_index_kfac(&transposed, gradient.t(), factor, damping)?;
        Ok(stepped.reversed_axes())
    }
}

/// The inverse root in place of the inverse.
struct WrongRoot;

impl Steps for WrongRoot {
    fn single_index_kfac(
        &self,
        student: &SingleIndexStudent,
        gradient: ArrayView2<f64>,
        factor: ArrayView2<f64>,
        damping: f64,
    ) -> Result<Array2<f64>> {
        let damped = &factor + &(Array2::<f64>::eye(factor.nrows()) * damping);
        let root = inverse_root(damped.view(), 0.5, &RootOptions::default())?;
        Ok(&student.representation() - &gradient.dot(&root))
    }
}

/// λ_G added twice.
struct DampedTwice;

impl Steps for DampedTwice {
    fn single_index_kfac(
        &self,
        student: &SingleIndexStudent,
        gradient: ArrayView2<f64>,
        factor: ArrayView2<f64>,
        damping: f64,
    ) -> Result<Array2<f64>> {
        RealSteps.single_index_kfac(student, gradient, factor, 2.0 * damping)
    }
}

/// The input factor of another batch.
struct OtherBatch;

impl Steps for OtherBatch {
    fn single_index_factor(&self, task: &SingleIndexTask, batch: &Batch) -> Result<Array2<f64>> {
        let mut other = Batch::with_dimensions(batch.input_dimension(), 1);
        let mut rng = Streams::new(99).stream("other batch", "", batch.sample_size() as u64);
        task.draw_batch(batch.sample_size(), &mut rng, &mut other)?;
        input_factor(&other)
    }
}

/// The gradient of a student with linear units.
struct LinearUnits;

impl Steps for LinearUnits {
    fn single_index_gradient(
        &self,
        student: &SingleIndexStudent,
        batch: &Batch,
    ) -> Result<Array2<f64>> {
        let linear = SingleIndexStudent::new(
            student.representation().to_owned(),
            student.head().to_owned(),
            layerwise_data::Link::Identity,
        )?;
        RealSteps.single_index_gradient(&linear, batch)
    }
}

#[test]
fn swapped_factors_are_seen() {
    for statement in [&S2 as &dyn Statement, &S4, &S5] {
        assert_fails(statement, &Swapped);
    }
}

#[test]
fn a_wrong_root_is_seen() {
    for statement in [&S2 as &dyn Statement, &S4, &S5] {
        assert_fails(statement, &WrongRoot);
    }
}

#[test]
fn damping_added_twice_is_seen() {
    for statement in [&S2 as &dyn Statement, &S4] {
        assert_fails(statement, &DampedTwice);
    }
}

#[test]
fn the_factor_of_another_batch_is_seen() {
    for statement in [&S2 as &dyn Statement, &S4] {
        assert_fails(statement, &OtherBatch);
    }
}

/// The spike's coefficient carries the mean slope of the activation.
#[test]
fn a_gradient_without_the_activations_slope_is_seen() {
    assert_fails(&S1_STATED, &LinearUnits);
}

/// The gradient of the first quarter of the batch.
struct FewerSamples;

impl Steps for FewerSamples {
    fn single_index_gradient(
        &self,
        student: &SingleIndexStudent,
        batch: &Batch,
    ) -> Result<Array2<f64>> {
        let quarter = s![..batch.sample_size() / 4, ..];
        let first = |m: ArrayView2<'_, f64>| m.slice(quarter).to_owned();
        RealSteps.single_index_gradient(student, &Batch::new(first(batch.x()), first(batch.y()))?)
    }
}

#[test]
fn a_gradient_of_fewer_samples_is_seen() {
    for statement in [&S3 as &dyn Statement, &S4] {
        assert_fails(statement, &FewerSamples);
    }
}

/// A step along the signs of the gradient: what it learns hardly depends on Σ.
struct Signs;

impl Steps for Signs {
    fn single_index_sgd(
        &self,
        student: &SingleIndexStudent,
        gradient: ArrayView2<f64>,
    ) -> Result<Array2<f64>> {
        Ok(&student.representation() - &gradient.mapv(f64::signum))
    }
}

#[test]
fn signs_in_place_of_the_gradient_are_seen() {
    for statement in [&S2 as &dyn Statement, &S3] {
        assert_fails(statement, &Signs);
    }
    // Both what SGD's alignment tends to and that it falls; KFAC's part is not concerned.
    let outcome = check(&S5, &Signs);
    let holds = outcome.parts.iter().map(Part::holds).collect::<Vec<_>>();
    assert_eq!(holds, [false, true, false], "{outcome:#?}");
}

fn cases() -> impl Strategy<Value = SingleIndexCase> {
    (1_usize..=24, 0.0..4.0_f64, -3.0..1.0_f64, any::<bool>(), any::<u64>()).prop_flat_map(
        |(dimension, condition, damping, tanh, seed)| {
            (1..=6 * dimension).prop_map(move |samples| SingleIndexCase {
                problem: SingleIndexProblem {
                    spectrum: Spectrum::LogSpaced { condition: 10_f64.powf(condition) },
                    teacher: if tanh { Teacher::Tanh } else { Teacher::CentredRelu },
                    dimension,
                    samples,
                },
                damping: 10_f64.powf(damping),
                seed,
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn steps_solve_their_equations(case in cases()) {
        for comparison in case.identity(&RealSteps).unwrap() {
            prop_assert!(comparison.is_conclusive() && comparison.holds(), "{comparison:?}");
        }
    }

    #[test]
    fn steps_of_linear_units_have_their_closed_form(case in cases()) {
        for comparison in case.linear_units(&RealSteps).unwrap() {
            prop_assert!(comparison.is_conclusive() && comparison.holds(), "{comparison:?}");
        }
    }

    #[test]
    fn with_unlimited_samples_only_isotropy_leaves_sgd_unbiased(
        values in prop::collection::vec(0.01..10.0_f64, 1..30), damping in 1e-9..1e-7_f64,
    ) {
        let spectrum = Array1::from(values.clone());
        let sgd = infinite_sample_sgd_alignment(spectrum.view()).unwrap();
        // 1 − m₁²/m₂ is the relative variance of the eigenvalues; rounding of sums of ≤ 30 terms.
        let m1 = spectrum.mean().unwrap();
        let variance = spectrum.mapv(|s| (s - m1).powi(2)).mean().unwrap();
        let m2 = variance + m1 * m1;
        prop_assert!((1.0 - sgd * sgd - variance / m2).abs() < 100.0 * f64::EPSILON);
        // Every s/(s+λ) is in [1 − δ, 1], δ = λ/s_min: their relative variance is below δ².
        let kfac = infinite_sample_kfac_alignment(spectrum.view(), damping).unwrap();
        let delta = damping / values.iter().copied().fold(f64::INFINITY, f64::min);
        prop_assert!((1.0 - kfac).abs() < delta * delta + 100.0 * f64::EPSILON, "{kfac}");
    }
}
