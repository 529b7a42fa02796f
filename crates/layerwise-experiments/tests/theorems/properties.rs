//! Every exact statement about linear representation learning as a property of the real steps,
//! over random dimensions, covariances, heads and bases.
//!
//! Each property is the comparison that the statement's own check makes, on cases that proptest
//! draws and shrinks. Tolerances come from ε, dimensions and measured condition numbers; a case
//! with a tolerance beyond 10⁻³ is discarded, and more than one in five discarded is a failure.

use std::cell::RefCell;

use layerwise_data::{Streams, haar};
use layerwise_experiments::Result;
use layerwise_experiments::theorems::comparison::{Comparison, Tally};
use layerwise_experiments::theorems::problems::{ProblemSpec, decades};
use layerwise_experiments::theorems::statement::MAX_DISCARDED;
use layerwise_experiments::theorems::{KfacRates, RealSteps, l1, l2, l3, l5, l6, l7, l8, l9};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed, TestRunner};

const CASES: u32 = 200;

/// Checks a property, keeps what fails as a regression, and counts what is discarded.
fn check<S: Strategy>(
    name: &'static str,
    cases: u32,
    strategy: &S,
    compare: impl Fn(S::Value) -> Result<Comparison>,
) {
    let config = ProptestConfig {
        cases,
        test_name: Some(name),
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    };
    // OpenBLAS's last digits depend on the number of its threads.
    layerwise_linalg::set_backend_threads(1);
    let tally = RefCell::new(Tally::default());
    let outcome = TestRunner::new(config).run(strategy, |case| {
        let comparison = compare(case).map_err(|error| TestCaseError::fail(error.to_string()))?;
        tally.borrow_mut().add(comparison);
        prop_assert!(!comparison.is_conclusive() || comparison.holds(), "{comparison:?}");
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{name}: {failure}");
    }
    let tally = tally.into_inner();
    let (compared, discarded) = (tally.cases(), tally.discarded());
    let drawn = compared + discarded;
    assert!(
        discarded as f64 <= MAX_DISCARDED * drawn as f64,
        "{name}: {discarded} of {drawn} cases discarded"
    );
}

#[test]
fn cases_are_the_same_in_every_run() {
    // Cargo takes the seed from .cargo/config.toml.
    assert_ne!(ProptestConfig::default().rng_seed, RngSeed::Random);
}

fn power_of_ten(decades: f64) -> impl Strategy<Value = f64> {
    (0.0..=decades).prop_map(|exponent| 10_f64.powf(exponent))
}

/// Noise-free problems with n > d_X ≥ k + 1; κ(Σ) up to 10⁶ where n ≥ 4 d_X, to 10³ elsewhere.
fn problems() -> impl Strategy<Value = ProblemSpec> {
    let inputs = prop_oneof![1 => Just(1_usize), 3 => 2_usize..13];
    let samples = prop_oneof![1 => Just(1.0), 1 => 1.0..4.0, 2 => 4.0..12.0];
    (
        (1_usize..6, inputs, 0_usize..6, samples, 0.0..=1.0),
        (power_of_ten(1.5), power_of_ten(1.0), any::<u64>()),
    )
        .prop_map(|((rank, extra, outputs, ratio, share), (head, start, seed))| {
            let inputs = rank + extra;
            let samples = ((ratio * inputs as f64) as usize).max(inputs + 1);
            ProblemSpec {
                outputs: rank + outputs,
                rank,
                inputs,
                samples,
                condition: 10_f64.powf(share * decades(samples, inputs)),
                head_condition: head,
                start_condition: start,
                noise: 0.0,
                seed,
            }
        })
}

fn rate() -> impl Strategy<Value = f64> {
    0.01..=1.0
}

#[test]
fn the_heads_step_averages_with_least_squares() {
    let strategy = (problems(), rate(), rate());
    check("L1", CASES, &strategy, |(spec, representation, head)| {
        let rates = KfacRates { representation, head, damping: 0.0 };
        l1::compare(&ProblemSpec { noise: 0.3, ..spec }, rates, &RealSteps)
    });
}

#[test]
fn the_heads_step_needs_no_more_samples_than_features() {
    let strategy = (problems(), rate(), rate(), 0.0..1.0);
    check("L1, n < d_X", CASES, &strategy, |(spec, representation, head, share)| {
        let between = share * (spec.inputs - spec.rank) as f64;
        let samples = spec.rank + between as usize;
        let condition = spec.condition.min(1e3);
        let rates = KfacRates { representation, head, damping: 0.1 };
        let spec = ProblemSpec { noise: 0.3, samples, condition, ..spec };
        l1::compare(&spec, rates, &RealSteps)
    });
}

#[test]
fn kfac_contracts_the_wrong_part_free_of_condition_numbers() {
    check("L2, wrong part", CASES, &(problems(), rate()), |(spec, eta)| {
        l2::compare_wrong_part(&spec, eta, &RealSteps)
    });
}

#[test]
fn one_step_from_least_squares_finds_the_row_space() {
    check("L2, one step", CASES, &problems(), |spec| l2::compare_recovery(&spec, &RealSteps));
}

#[test]
fn the_damped_step_has_its_closed_form() {
    let strategy = (problems(), rate(), -3.0..=1.0);
    check("L2, damped", CASES, &strategy, |(spec, eta, exponent)| {
        l2::compare_damped(&spec, eta, 10_f64.powf(exponent), &RealSteps)
    });
}

/// Shape, decades of κ = κ(F⋆)² κ(Σ_c) up to 6, F⋆'s share of them, and a seed.
fn conditioned() -> impl Strategy<Value = ((usize, usize, usize), f64, f64, u64)> {
    (1_usize..4, 1_usize..6, 0_usize..3, 0.0..=6.0, 0.0..=1.0, any::<u64>()).prop_map(
        |(rank, extra, outputs, decades, share, seed)| {
            ((rank + outputs, rank, rank + extra), decades, share, seed)
        },
    )
}

#[test]
fn the_jacobian_of_amgd_has_its_closed_form_in_any_basis() {
    check("L3, Jacobian", CASES / 2, &conditioned(), |(shape, decades, share, seed)| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let task = l3::task_with_condition(shape, decades, share, &mut rng)?;
        let basis = haar(shape.1, shape.1, &mut rng)?;
        l3::compare_jacobian(&task, basis.view(), &RealSteps)
    });
}

#[test]
fn no_rate_of_amgd_is_better_than_the_best() {
    check("L3, contraction", CASES / 4, &conditioned(), |(shape, decades, share, seed)| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let task = l3::task_with_condition(shape, decades, share, &mut rng)?;
        l3::compare_contraction(&task, &RealSteps)
    });
}

#[test]
fn kfac_contracts_alike_where_amgd_does_not() {
    let strategy = (conditioned(), 0.01..0.95);
    check("L3, KFAC", CASES, &strategy, |((shape, decades, share, seed), eta)| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let task = l3::task_with_condition(shape, decades, share, &mut rng)?;
        l3::compare_kfac(&task, eta, &mut rng, &RealSteps)
    });
}

/// Shape (d_Y < k among them), κ(Σ_t), distance from `G⋆`, and a seed.
fn transfers() -> impl Strategy<Value = ((usize, usize, usize), f64, f64, u64)> {
    let shape = (1_usize..9, 1_usize..6, 1_usize..11).prop_map(|(o, k, extra)| (o, k, k + extra));
    let away = (-4.0..=1.0).prop_map(|exponent| 10_f64.powf(exponent));
    (shape, power_of_ten(6.0), away, any::<u64>())
}

#[test]
fn transfer_loss_has_its_closed_form() {
    check("L5", CASES, &transfers(), |(shape, condition, away, seed)| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let (task, g) = l5::transfer_problem(shape, condition, away, &mut rng)?;
        l5::compare_exact(&task, g.view(), &RealSteps)
    });
}

#[test]
fn transfer_loss_lies_between_its_bounds() {
    check("L5, bounds", CASES, &transfers(), |(shape, condition, away, seed)| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let (task, g) = l5::transfer_problem(shape, condition, away, &mut rng)?;
        l5::compare_bounds(&task, g.view(), &RealSteps)
    });
}

#[test]
fn transfer_loss_is_both_of_its_bounds_for_one_feature_and_isotropic_inputs() {
    check("L5, equality", CASES, &transfers(), |((outputs, _, inputs), _, away, seed)| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let (task, g) = l5::transfer_problem((outputs, 1, inputs), 1.0, away, &mut rng)?;
        l5::compare_equality(&task, g.view(), &RealSteps)
    });
}

#[test]
fn batch_norm_settles_in_other_coordinates() {
    check("L6", CASES / 4, &any::<u64>(), |seed| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let limit = l6::settle(&l6::random_problem(&mut rng), &RealSteps)?;
        Ok(limit.bias().closer(limit.effective()).closer(limit.loss()))
    });
}

#[test]
fn several_tasks_contract_as_one() {
    check("L7", CASES / 2, &(problems(), 2_usize..5, rate()), |(spec, count, eta)| {
        l7::compare_wrong_part(&l7::ManyTasks::draw(&spec, count, &RealSteps)?, eta, &RealSteps)
    });
}

#[test]
fn several_tasks_on_equal_inputs_are_one_with_stacked_heads() {
    check("L7, stacked", CASES / 2, &(problems(), 2_usize..5, rate()), |(spec, count, eta)| {
        l7::compare_stacked(&l7::ManyTasks::draw(&spec, count, &RealSteps)?, eta, &RealSteps)
    });
}

/// Noisy problems with few parameters, square layers (k = d_X = d_Y) among them; κ(Σ) as in
/// [`problems`].
fn small_problems() -> impl Strategy<Value = ProblemSpec> {
    let numbers = (0.0..=1.0, power_of_ten(1.0), power_of_ten(1.0), any::<u64>());
    ((1_usize..5, 0_usize..4, 0_usize..3, 1_usize..30), numbers).prop_map(
        |((rank, inputs, outputs, samples), (share, head_condition, start_condition, seed))| {
            let inputs = rank + inputs;
            let samples = inputs + samples;
            ProblemSpec {
                outputs: rank + outputs,
                rank,
                inputs,
                samples,
                condition: 10_f64.powf(share * decades(samples, inputs)),
                head_condition,
                start_condition,
                noise: 0.3,
                seed,
            }
        },
    )
}

#[test]
fn gauss_newton_blocks_are_kronecker_products() {
    check("L8, blocks", CASES, &small_problems(), |spec| l8::compare_blocks(&spec, &RealSteps));
}

#[test]
fn kfac_without_damping_is_block_diagonal_gauss_newton() {
    check("L8, step", CASES, &(small_problems(), rate()), |(spec, eta)| {
        l8::compare_step(&spec, eta, &RealSteps)
    });
}

/// The step takes G from 1.3 to 0.0056, with the rounding of 1.3: the head of least squares at G₊
/// feels it relative to 0.0056.
#[test]
fn rounding_is_relative_to_the_representation_before_a_step_that_shrinks_it() {
    let spec = ProblemSpec {
        outputs: 1,
        rank: 1,
        inputs: 1,
        samples: 4,
        condition: 1.0,
        head_condition: 1.0,
        start_condition: 1.0,
        noise: 0.3,
        seed: 2_940_669_788_513_618_581,
    };
    let eta = 0.578_974_472_677_859_2;
    let comparison = l8::compare_step(&spec, eta, &RealSteps).expect("a defined step");
    assert!(comparison.is_conclusive() && comparison.holds(), "{comparison:?}");
}

#[test]
fn kfac_does_not_see_a_change_of_inputs() {
    let strategy = (problems(), 0.0..=1.0, 0.1..=0.9, any::<u64>());
    check("L9", CASES, &strategy, |(spec, share, eta, seed)| {
        let mut rng = Streams::new(seed).stream("property", "case", 0);
        let (spec, condition) = l9::with_change(spec, share);
        let change = l9::change_of_inputs(spec.inputs, condition, &mut rng)?;
        l9::compare(&spec, change.view(), eta, &RealSteps)
    });
}
