//! Without the assumptions that they name, the statements fail.

use layerwise_data::{Batch, Moments, Streams, haar};
use layerwise_experiments::ExperimentError;
use layerwise_experiments::linear::{
    Algorithm, LayerWise, Needs, StepData, head_kfac, representation_kfac,
};
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::ndarray::{Array2, s};
use layerwise_experiments::theorems::problems::{Problem, ProblemSpec, distance, norm, normals};
use layerwise_experiments::theorems::{Context, KfacRates, RealSteps, Scale, Steps, l1, l2, l9};
use layerwise_linalg::LinalgError;
use layerwise_models::TwoLayerLinear;
use layerwise_optim::OptimError;
use layerwise_theory::{kfac_head, kfac_wrong_part, least_squares_head, wrong_part};

/// A problem of moderate condition, on which every statement's tolerance is below 10⁻⁹.
fn spec() -> ProblemSpec {
    ProblemSpec {
        outputs: 5,
        rank: 3,
        inputs: 9,
        samples: 60,
        condition: 20.0,
        head_condition: 3.0,
        start_condition: 3.0,
        noise: 0.0,
        seed: 11,
    }
}

const ETA: f64 = 0.4;
/// What rounding could never do on this problem.
const CLEARLY: f64 = 1e-2;

/// ‖G₊P⊥ − (1 − η)GP⊥‖ / ‖G‖.
fn violation(problem: &Problem, net: &TwoLayerLinear) -> f64 {
    let reference = problem.task.representation();
    let start = problem.net.representation();
    let predicted = kfac_wrong_part(start, reference, ETA).unwrap();
    let measured = wrong_part(net.representation(), reference).unwrap();
    distance(measured.view(), predicted.view()) / norm(start)
}

fn after_kfac(problem: &Problem, damping: f64) -> layerwise_experiments::Result<TwoLayerLinear> {
    let mut net = problem.net.clone();
    let rates = KfacRates { representation: ETA, head: 0.5, damping };
    RealSteps.kfac(rates, net.shape())?.step(&mut net, &problem.data)?;
    Ok(net)
}

#[test]
fn contraction_holds_where_its_assumptions_do() {
    let problem = Problem::draw(&spec(), Needs::default(), &RealSteps).unwrap();
    assert!(violation(&problem, &after_kfac(&problem, 0.0).unwrap()) < 1e-9);
}

#[test]
fn contraction_needs_an_undamped_input_factor() {
    let problem = Problem::draw(&spec(), Needs::default(), &RealSteps).unwrap();
    let found = [0.01, 0.1, 1.0]
        .map(|damping| violation(&problem, &after_kfac(&problem, damping).unwrap()));
    // The more damping, the less of the wrong part is removed.
    assert!(found[0] < found[1] && found[1] < found[2], "{found:?}");
    assert!(found[1] > CLEARLY, "{found:?}");
}

#[test]
fn contraction_needs_as_many_samples_as_inputs() {
    let few = ProblemSpec { samples: 6, ..spec() };
    let problem = Problem::draw(&few, Needs::default(), &RealSteps).unwrap();
    // Σ̂ is singular, and is told from a regular one …
    let error = after_kfac(&problem, 0.0).unwrap_err();
    assert!(error.is_numerical(), "{error}");
    // … and however little damping makes it regular, the part outside the batch's span stays.
    for damping in [1e-3, 1e-6] {
        let found = violation(&problem, &after_kfac(&problem, damping).unwrap());
        assert!(found > CLEARLY, "{found}");
    }
}

#[test]
fn contraction_needs_a_head_of_full_column_rank() {
    let mut problem = Problem::draw(&spec(), Needs::default(), &RealSteps).unwrap();
    let mut head = problem.net.head().to_owned();
    head.column_mut(2).fill(0.0);
    problem.net = TwoLayerLinear::new(head, problem.net.representation().to_owned()).unwrap();
    let error = after_kfac(&problem, 0.0).unwrap_err();
    assert!(
        matches!(
            error,
            ExperimentError::Optim(OptimError::Factor {
                source: LinalgError::NotPositiveDefinite { .. },
                ..
            })
        ),
        "{error:?}"
    );
    // A ridge on both factors defines the step, but one feature has no gradient and stays.
    let shape = problem.net.shape();
    let kfac = representation_kfac(ETA, 1e-9);
    let mut net = problem.net.clone();
    LayerWise::sequential(&kfac, &head_kfac(0.5), shape)
        .unwrap()
        .step(&mut net, &problem.data)
        .unwrap();
    let stays = distance(
        net.representation().slice(s![2.., ..]),
        problem.net.representation().slice(s![2.., ..]),
    );
    assert_eq!(stays, 0.0);
    assert!(violation(&problem, &net) > CLEARLY);
}

#[test]
fn contraction_needs_noise_free_targets() {
    let noisy = ProblemSpec { noise: 1.0, ..spec() };
    let problem = Problem::draw(&noisy, Needs::default(), &RealSteps).unwrap();
    assert!(violation(&problem, &after_kfac(&problem, 0.0).unwrap()) > CLEARLY);
}

#[test]
fn one_step_recovery_needs_least_squares_nowhere_but_full_rate() {
    // η_G = 1 is what finds the row space; at any smaller rate a share of the wrong part is left.
    let comparison = l2::compare_recovery(&spec(), &RealSteps).unwrap();
    assert!(comparison.holds(), "{comparison:?}");
    let problem = Problem::draw(&spec(), Needs::default(), &RealSteps).unwrap();
    let net = after_kfac(&problem, 0.0).unwrap();
    let left = wrong_part(net.representation(), problem.task.representation()).unwrap();
    assert!(norm(left.view()) / norm(net.representation()) > CLEARLY);
}

#[test]
fn the_heads_step_needs_definite_features() {
    // A feature that is zero: E[zzᵀ] is singular, and the head of least squares is not the only one.
    let mut rng = Streams::new(5).stream("assumptions", "features", 0);
    let mut representation = normals(2, 6, &mut rng);
    representation.row_mut(1).fill(0.0);
    let x = normals(30, 6, &mut rng);
    let y = x.dot(&normals(6, 3, &mut rng));
    let batch = Batch::new(x.clone(), y.clone()).unwrap();
    let data = StepData::from_moments(Moments::from_batch(&batch).unwrap(), Needs::default());
    let mut net = TwoLayerLinear::new(normals(3, 2, &mut rng), representation.clone()).unwrap();
    // η_G = 0 leaves the representation as it is.
    let rates = KfacRates { representation: 0.0, head: 0.5, damping: 0.0 };
    let error =
        RealSteps.kfac(rates, net.shape()).unwrap().step(&mut net, &data.unwrap()).unwrap_err();
    assert!(error.is_numerical(), "{error}");
    let features = x.dot(&representation.t());
    let refused = least_squares_head(features.view(), y.view()).unwrap_err();
    assert!(refused.to_string().starts_with("smallest singular value is"), "{refused}");
}

#[test]
fn the_heads_identity_holds_beyond_the_lemmas_rates() {
    // Lemma 3.1 takes η_F in (0, 1]; the algebra does not need it.
    let noisy = ProblemSpec { noise: 0.3, ..spec() };
    for head in [-0.5, 1.7, 3.0] {
        let average = kfac_head(
            Array2::from_elem((1, 1), 2.0).view(),
            Array2::from_elem((1, 1), 5.0).view(),
            head,
        );
        assert_eq!(average.unwrap()[[0, 0]], (1.0 - head) * 2.0 + head * 5.0);
        let rates = KfacRates { representation: 0.5, head, damping: 0.0 };
        if head > 0.0 {
            let comparison = l1::compare(&noisy, rates, &RealSteps).unwrap();
            // Rounding grows with the rate.
            assert!(comparison.deviation <= 2.0 * head * comparison.tolerance, "{comparison:?}");
        }
    }
}

#[test]
fn adam_sees_even_a_change_that_is_no_rotation() {
    // That SGD and Shampoo see this, and what each of them does not see, is part of L9 itself.
    let streams = Streams::new(0);
    let context =
        Context { scale: Scale::Quick, streams: &streams, steps: &RealSteps, monitor: &Silent };
    let found = l9::difference("Adam", l9::Change::Other, &context).unwrap();
    assert!(found > CLEARLY, "{found}");
}

#[test]
fn damped_kfac_sees_a_change_of_inputs() {
    // With λ_G > 0 the invariance is to rotations alone.
    let problem = Problem::draw(&spec(), Needs::default(), &RealSteps).unwrap();
    let mut rng = Streams::new(5).stream("assumptions", "change", 0);
    let changes = [haar(9, 9, &mut rng).unwrap(), l9::change_of_inputs(9, 3.0, &mut rng).unwrap()];
    let differences = changes.map(|a| {
        let moments = problem.data.moments();
        let mut xx = a.dot(&moments.xx()).dot(&a.t());
        layerwise_linalg::symmetrize(&mut xx.view_mut());
        let changed = Moments::from_parts(
            moments.sample_size(),
            xx,
            moments.yx().dot(&a.t()),
            moments.yy_trace(),
            a.dot(&moments.x_mean()),
            moments.y_mean().to_owned(),
        )
        .unwrap();
        let moved = layerwise_theory::representation_on_changed_inputs(
            problem.net.representation(),
            a.view(),
        )
        .unwrap();
        let other = Problem {
            task: problem.task.clone(),
            net: TwoLayerLinear::new(problem.net.head().to_owned(), moved).unwrap(),
            data: StepData::from_moments(changed, Needs::default()).unwrap(),
        };
        let plain = after_kfac(&problem, 0.1).unwrap().predictor().unwrap();
        let on_x = after_kfac(&other, 0.1).unwrap().predictor().unwrap().dot(&a);
        distance(on_x.view(), plain.view()) / norm(plain.view())
    });
    assert!(differences[0] < 1e-10, "{differences:?}");
    assert!(differences[1] > CLEARLY, "{differences:?}");
}
