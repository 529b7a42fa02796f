//! The step in one loop against one stage after another, in place and beside the state.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayViewMut2, ShapeBuilder};
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

use crate::chain::{
    Clipping, CustomStage, DiagonalConfig, Filter, Grafting, HeavyBall, StageConfig,
    WeightAveraging,
};
use crate::error::Result;
use crate::factor::RootMethod;
use crate::numeric::finite::frobenius_norm;
use crate::parity::EpsilonPlacement;
use crate::stage::{Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::stages::build::Machine;
use crate::step::weight::WeightRule;
use crate::{
    Adagrad, Adam, AdamW, Averaging, Chain, Control, Ekfac, Factor, Kfac, KlShampoo, Lion, Method,
    Momentum, Muon, OptimError, Optimizer, RmsProp, Schedule, Sgd, Shampoo, Signal, Soap,
    WeightDecay,
};

/// Neither whole chunks nor whole lanes.
const SHAPE: (usize, usize) = (29, 37);

fn normals_of<A: Scalar>(seed: u64, shape: (usize, usize)) -> Array2<A> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    Array2::from_shape_simple_fn(shape, || A::from_f64(rng.sample(StandardNormal)))
}

fn normals<A: Scalar>(seed: u64) -> Array2<A> {
    normals_of(seed, SHAPE)
}

fn bits<A: Scalar>(array: &Array2<A>) -> Vec<u64> {
    array.iter().map(|x| x.as_f64().to_bits()).collect()
}

/// Every direction with every statistic that is taken in one loop, and each other option.
fn chains() -> Vec<Chain> {
    let momentum = |nesterov, from_zero| {
        let dampening = if nesterov { 0.0 } else { 0.3 };
        Momentum::HeavyBall(HeavyBall {
            dampening: dampening.into(),
            nesterov,
            from_zero,
            ..HeavyBall::new(0.9)
        })
    };
    let ema = |filter, bias_correction| Momentum::Ema {
        beta: Schedule::linear(0.5, 0.9, 10),
        bias_correction,
        filter,
    };
    let diagonal = |averaging, epsilon_placement| {
        StageConfig::Diagonal(DiagonalConfig {
            averaging,
            epsilon_placement,
            epsilon: 1e-3.into(),
            ..DiagonalConfig::default()
        })
    };
    let average = Averaging::Ema { beta: 0.99.into(), bias_correction: true };
    let mut all = Vec::new();
    for momentum in [
        None,
        Some(momentum(false, false)),
        Some(momentum(false, true)),
        Some(momentum(true, false)),
        Some(ema(Filter::Average, true)),
        Some(ema(Filter::Nesterov, true)),
        Some(ema(Filter::Separate(0.7.into()), false)),
    ] {
        for diagonal in [
            None,
            Some(diagonal(Averaging::None, EpsilonPlacement::AfterCorrection)),
            Some(diagonal(
                Averaging::Decay { beta: 0.9.into() },
                EpsilonPlacement::AfterCorrection,
            )),
            Some(diagonal(average.clone(), EpsilonPlacement::BeforeCorrection)),
        ] {
            all.push(Chain::new(0.01).then_maybe(momentum.clone()).then_maybe(diagonal));
        }
    }
    let decay = || Schedule::from(0.1);
    for weight_decay in [
        WeightDecay::L2(decay()),
        WeightDecay::Decoupled(decay()),
        WeightDecay::DecoupledAfter(decay()),
    ] {
        all.push(Adam { weight_decay, maximize: true, ..Adam::default() }.chain());
    }
    for gradient_clipping in [Clipping::Norm(3.0.into()), Clipping::Value(0.5.into())] {
        all.push(AdamW::default().chain().on_gradient(gradient_clipping));
    }
    all.push(Adagrad { initial: 0.1, ..Adagrad::default() }.chain());
    all.push(RmsProp::default().chain());
    all
}

/// A stage that does nothing, but of which nothing is known.
#[derive(Clone, Debug, Serialize)]
struct Unknown;

impl CustomStage for Unknown {
    const NAME: &'static str = "unknown";
    type Stage<A: Scalar> = Unknown;

    fn build<A: Scalar>(&self, _shape: (usize, usize)) -> Result<Unknown> {
        Ok(Unknown)
    }
}

impl<A: Scalar> Stage<A> for Unknown {
    fn apply(&mut self, _direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        Ok(())
    }
}

fn is_fused<A: Scalar>(optimizer: &mut Optimizer<A>, weight: &mut ArrayViewMut2<'_, A>) -> bool {
    let rule = WeightRule::identity();
    let gradient = Array2::zeros(SHAPE);
    // Of a copy, as it takes the step.
    let mut fresh = optimizer.fresh().unwrap();
    fresh.take_fused(&mut weight.to_owned().view_mut(), gradient.view(), rule).is_some()
        && weight.is_standard_layout()
}

fn agree<A: Scalar>() {
    for chain in chains() {
        // The same, but for a bound that is never met, and for which stages are taken apart; and for a
        // stage that does nothing, and for which all is proposed beside the state.
        let largest = A::max_value().as_f64();
        let apart = chain.clone().then(Clipping::Value(largest.into()));
        let proposed = chain.clone().then(StageConfig::custom(Unknown));
        let start = normals::<A>(0);
        let mut by_columns = Array2::zeros(SHAPE.f());
        by_columns.assign(&start);
        let mut runs = [
            (chain.build::<A>(SHAPE).unwrap(), start.clone()),
            (apart.build::<A>(SHAPE).unwrap(), start.clone()),
            (proposed.build::<A>(SHAPE).unwrap(), start.clone()),
            (chain.build::<A>(SHAPE).unwrap(), by_columns),
        ];
        let fused = runs.each_mut().map(|(optimizer, w)| is_fused(optimizer, &mut w.view_mut()));
        assert_eq!(fused, [true, false, false, false]);
        for step in 1..=10 {
            let gradient = normals::<A>(step);
            let signal = Signal::new(gradient.view());
            let factor = if step % 3 == 0 { 0.3 } else { 1.0 };
            let control =
                Control { gradient_factor: factor, rate_factor: 0.5, step: Some(step + 3) };
            let reports = runs.each_mut().map(|(optimizer, weight)| {
                optimizer.step_with(&control, &mut weight.view_mut(), &signal).unwrap()
            });
            let [(_, first), others @ ..] = &runs;
            for ((_, weight), report) in others.iter().zip(&reports[1..]) {
                assert_eq!(bits(first), bits(weight), "step {step} of {chain:?}");
                // Sums of the same numbers, by rows in lanes or by columns one after another: each rounds
                // at most as often as there are entries.
                let entries = (SHAPE.0 * SHAPE.1) as f64;
                let close = |a: f64, b: f64| (a - b).abs() <= entries * f64::EPSILON * a;
                assert!(close(reports[0].update_norm, report.update_norm), "{chain:?}");
                assert!(close(reports[0].gradient_norm, report.gradient_norm), "{chain:?}");
            }
        }
    }
}

#[test]
fn one_loop_gives_the_bits_of_one_stage_after_another() {
    agree::<f32>();
    agree::<f64>();
}

fn refuses(
    optimizer: &mut Optimizer<f64>,
    weight: &Array2<f64>,
    gradient: &Array2<f64>,
) -> OptimError {
    let (mut after, state) = (weight.clone(), optimizer.state());
    let signal = Signal::new(gradient.view());
    let error = optimizer.step(&mut after.view_mut(), &signal).unwrap_err();
    assert_eq!(bits(&after), bits(weight));
    assert_eq!(optimizer.state(), state);
    error
}

/// All other entries have been stepped when the last one turns out wrong.
#[test]
fn what_is_wrong_with_the_last_entry_is_named_and_changes_nothing() {
    let last = (SHAPE.0 - 1, SHAPE.1 - 1);
    let with_last = |array: &Array2<f64>, value: f64| {
        let mut array = array.clone();
        array[last] = value;
        array
    };
    for chain in chains() {
        let mut optimizer = chain.build::<f64>(SHAPE).unwrap();
        let mut undisturbed = chain.build::<f64>(SHAPE).unwrap();
        let (mut weight, mut expected) = (normals(0), normals(0));
        for step in 1..=3 {
            let gradient = normals(step);
            for value in [f64::NAN, f64::INFINITY] {
                let error = refuses(&mut optimizer, &weight, &with_last(&gradient, value));
                let OptimError::NonFinite { what, row, col, .. } = error else { panic!("{error}") };
                assert_eq!((what, row, col), ("gradient", last.0, last.1));
                let error = refuses(&mut optimizer, &with_last(&weight, value), &gradient);
                let OptimError::NonFinite { row, col, .. } = error else { panic!("{error}") };
                assert_eq!((row, col), last);
            }
            let is_clipped = matches!(chain.gradient.as_slice(), [StageConfig::Clip(_)]);
            let squares = matches!(chain.update.last(), Some(StageConfig::Diagonal(_)));
            if squares && !is_clipped {
                let error = refuses(&mut optimizer, &weight, &with_last(&gradient, 1e200));
                let OptimError::Overflow { what, row, col, .. } = error else { panic!("{error}") };
                assert_eq!(
                    (what, row, col),
                    (crate::statistics::second_moments::SECOND_MOMENT, last.0, last.1)
                );
            }
            let signal = Signal::new(gradient.view());
            optimizer.step(&mut weight.view_mut(), &signal).unwrap();
            undisturbed.step(&mut expected.view_mut(), &signal).unwrap();
            assert_eq!(bits(&weight), bits(&expected));
        }
    }
    let sgd = Sgd { learning_rate: 1.0.into(), ..Sgd::default() };
    let mut optimizer = sgd.build::<f64>(SHAPE).unwrap();
    let weight = with_last(&normals(0), f64::MAX);
    let error = refuses(&mut optimizer, &weight, &with_last(&normals(1), -f64::MAX));
    let OptimError::Overflow { what, row, col, .. } = error else { panic!("{error}") };
    assert_eq!((what, row, col), ("the new weight", last.0, last.1));
}

#[test]
fn the_norm_of_a_tiny_change_in_place_keeps_its_digits() {
    let sgd = Sgd { learning_rate: 1.0.into(), ..Sgd::default() };
    for scale in [f64::from_bits(1), 1e-320, 1e-310, 1e-200, 1e-147, 1e-145, 1.0, 1e140] {
        let mut weight = Array2::<f64>::zeros(SHAPE);
        let gradient = Array2::from_elem(SHAPE, scale);
        let mut optimizer = sgd.build(SHAPE).unwrap();
        let report = optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
        assert_eq!(weight, -gradient);
        // A sum of as many equal terms, each rounded, and a root.
        let entries = (SHAPE.0 * SHAPE.1) as f64;
        let expected = entries.sqrt();
        // The norm itself is rounded to a multiple of the least positive number.
        let tolerance = entries * f64::EPSILON * expected + f64::from_bits(1) / scale;
        assert!((report.update_norm / scale - expected).abs() <= tolerance, "{scale:e}");
    }
}

/// A stage that promises what it does not keep.
#[derive(Debug)]
struct Breaks;

impl<A: Scalar> Stage<A> for Breaks {
    fn apply(&mut self, _direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        Err(OptimError::Custom { message: "broken off".to_owned() })
    }
}

impl<A: Scalar> Bounded<A> for Breaks {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        Some(arrives)
    }
}

#[test]
fn a_step_that_breaks_off_is_told_until_a_state_is_loaded() {
    let mut optimizer = Adam::default().chain().build::<f64>(SHAPE).unwrap();
    let state = optimizer.state();
    let (mut weight, gradient) = (normals(0), normals(1));
    let signal = Signal::new(gradient.view());
    optimizer.update[1].machine = Machine::Other(Box::new(Breaks));
    let path = std::env::temp_dir().join(format!("broken-{}", std::process::id()));
    for _ in 0..2 {
        let error = optimizer.step(&mut weight.view_mut(), &signal).unwrap_err();
        assert!(matches!(error, OptimError::HalfTaken { .. }), "{error}");
        assert!(error.to_string().contains("broken off"), "{error}");
        assert_eq!(optimizer.save_file(&path), Err(error));
        assert!(!path.exists());
    }
    optimizer.load(&state).unwrap();
    optimizer.step(&mut normals(0).view_mut(), &signal).unwrap();
}

/// Chains whose steps are sure to succeed, of every kind of stage that can be.
fn sure_chains() -> Vec<Chain> {
    let momentum = Some(Momentum::HeavyBall(HeavyBall::new(0.9)));
    let grafting = Some(Grafting::Diagonal(DiagonalConfig::default()));
    let mut all = chains();
    all.extend([
        Adam { amsgrad: true, ..Adam::default() }.chain(),
        RmsProp { centered: true, ..RmsProp::default() }.chain(),
        Lion::default().chain(),
        Muon::default().chain(),
        Shampoo { momentum, grafting, ..Shampoo::stylised() }.chain(),
        KlShampoo::stylised().chain(),
        Kfac { root: RootMethod::Inverse, norm_constraint: Some(1e-3.into()), ..Kfac::stylised() }
            .chain(),
        Ekfac::stylised().chain(),
        Soap::default().chain(),
        Soap::as_published().chain(),
    ]);
    let sgd = Sgd { learning_rate: 1.0.into(), ..Sgd::default() };
    for chain in [Soap::default().chain(), sgd.chain()] {
        for averaging in [
            WeightAveraging::Ema { decay: 0.9.into(), bias_correction: false },
            WeightAveraging::ScheduleFree { train: 0.9.into(), power: 2.0 },
        ] {
            all.push(Chain { weight_averaging: Some(averaging), ..chain.clone() });
        }
    }
    all
}

fn bounds_hold<A: Scalar>() {
    for chain in sure_chains() {
        for scale in [1e-6, 1.0, 1e6] {
            let mut optimizer = chain.build::<A>(SHAPE).unwrap();
            let mut weight = normals::<A>(0);
            let outputs = normals_of::<A>(50, (80, SHAPE.0));
            let inputs = normals_of::<A>(51, (80, SHAPE.1));
            let mut taken = 0;
            for step in 1..=12 {
                let gradient = normals::<A>(step).mapv(|x| x * A::from_f64(scale));
                let signal = Signal::new(gradient.view())
                    .with_output(Factor::Samples(outputs.view()))
                    .with_input(Factor::Samples(inputs.view()));
                let control = Control::default();
                let report = {
                    let view = weight.view_mut();
                    let told = optimizer.step_of(&control, &view, &signal).unwrap();
                    let (report, measured) = optimizer.observe(&told, 1.0).unwrap();
                    if !report.skipped {
                        let bounds = optimizer.bounds(&measured).unwrap();
                        let made = optimizer.norms_made(&told).unwrap();
                        for (bound, made) in bounds.iter().zip(&made) {
                            assert!(made <= bound, "step {step} of {chain:?}: {made} over {bound}");
                        }
                        taken += 1;
                    }
                    report
                };
                let after = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
                assert_eq!(after.skipped, report.skipped);
            }
            assert!(taken >= 11, "{chain:?}");
        }
    }
}

#[test]
fn what_stages_make_is_within_their_bounds() {
    bounds_hold::<f32>();
    bounds_hold::<f64>();
}

impl<A: Scalar> Optimizer<A> {
    /// The bounds of the stages of the update, one after another.
    fn bounds(&mut self, measured: &Measured) -> Option<Vec<f64>> {
        let mut arrives = measured.gradient;
        let links = self.update.iter_mut();
        links
            .map(|link| {
                arrives = link.machine.bound(arrives, measured)?;
                Some(arrives)
            })
            .collect()
    }

    /// The norms of what they make, beside the state.
    fn norms_made(&mut self, step: &Step<'_, A>) -> Result<Vec<f64>> {
        let prepared = self.prepared.clone();
        let gradient = prepared.as_ref().map_or(step.gradient(), |g| g.view());
        let mut told = Step { signal: step.signal.with_gradient(gradient), ..*step };
        let mut direction = gradient.to_owned();
        let mut norms = Vec::new();
        for link in &mut self.update {
            link.machine.apply(&mut direction.view_mut(), &told)?;
            told.corrections *= link.scale;
            norms.push(frobenius_norm(&direction.view()));
        }
        Ok(norms)
    }
}

fn reports<'a>(
    gradient: &'a Array2<f32>,
    (outputs, inputs): &'a (Array2<f32>, Array2<f32>),
) -> Signal<'a, f32> {
    Signal::new(gradient.view())
        .with_output(Factor::Samples(outputs.view()))
        .with_input(Factor::Samples(inputs.view()))
}

/// Steps near the end of the range, which leave proposals behind where they are refused, between steps that
/// are taken in place.
#[test]
fn refused_proposals_leave_no_trace_in_later_steps_in_place() {
    let mut refused = 0;
    for chain in sure_chains() {
        let samples = (normals_of::<f32>(50, (80, SHAPE.0)), normals_of::<f32>(51, (80, SHAPE.1)));
        let mut disturbed = chain.build::<f32>(SHAPE).unwrap();
        let mut undisturbed = chain.build::<f32>(SHAPE).unwrap();
        let (mut a, mut b) = (normals::<f32>(0), normals::<f32>(0));
        for step in 1..=6 {
            let gradient = normals::<f32>(step);
            for largest in [1e15, f32::MAX] {
                let state = disturbed.state();
                let mut far = a.mapv(|w| w.signum() * f32::MAX);
                let given = far.clone();
                let huge = a.mapv(|w| -w.signum() * largest);
                match disturbed.step(&mut far.view_mut(), &reports(&huge, &samples)) {
                    Ok(_) => disturbed.load(&state).unwrap(),
                    Err(_) => {
                        refused += 1;
                        assert_eq!((far, disturbed.state()), (given, state), "{chain:?}");
                    }
                }
            }
            disturbed.step(&mut a.view_mut(), &reports(&gradient, &samples)).unwrap();
            undisturbed.step(&mut b.view_mut(), &reports(&gradient, &samples)).unwrap();
            assert_eq!(bits(&a), bits(&b), "step {step} of {chain:?}");
        }
    }
    assert!(refused > 100, "{refused}");
}
