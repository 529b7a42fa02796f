//! What a caller decides about a run: its step, and bounds over all parameters.

use layerwise_optim::chain::{LevenbergMarquardt, StageConfig, WeightAveraging};
use layerwise_optim::checkpoint::Resume;
use layerwise_optim::factor::{BasisMethod, RootMethod};
use layerwise_optim::ndarray::{Array2, Axis};
use layerwise_optim::parity::ColumnOrder;
use layerwise_optim::{
    AdamW, Averaging, Chain, Control, Damping, Factor, Group, Kfac, Method, OptimError,
    OptimizerSet, Refresh, Schedule, Selector, Sgd, Shampoo, Side, Signal, Signals, Soap, Update,
};

fn numbers(seed: usize, shape: (usize, usize)) -> Array2<f64> {
    Array2::from_shape_fn(shape, |(i, j)| ((7 * seed + 3 * i + 5 * j) as f64).sin() + 0.1)
}

fn norm(array: &Array2<f64>) -> f64 {
    array.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn set(method: &impl Method, names: &[&str], shape: (usize, usize)) -> OptimizerSet<f64> {
    let mut set = OptimizerSet::new(vec![Group::new(Selector::All, method)]);
    for name in names {
        set.register(*name, shape, Signals::GRADIENT).unwrap();
    }
    set
}

/// An expert that is updated at every second call is at the end of its cosine when the run is, and its
/// bias correction counts its own updates: the first step of Adam is of length η in each entry.
#[test]
fn schedules_follow_the_run_and_bias_corrections_the_parameter() {
    let adam = AdamW {
        learning_rate: Schedule::cosine(0.1, 0.0, 10),
        weight_decay: 0.0.into(),
        epsilon: 0.0.into(),
        ..AdamW::default()
    };
    let mut set = set(&adam, &["trunk", "expert"], (2, 3));
    let (mut trunk, mut expert) = (numbers(1, (2, 3)), numbers(2, (2, 3)));
    for step in 0..10 {
        let (before, gradients) = (expert.clone(), (numbers(3, (2, 3)), numbers(4, (2, 3))));
        let mut updates = vec![Update::new("trunk", trunk.view_mut(), gradients.0.view())];
        if step % 2 == 1 {
            updates.push(Update::new("expert", expert.view_mut(), gradients.1.view()));
        }
        set.step(&mut updates).unwrap();
        if step % 2 == 1 {
            let report = set.report("expert").unwrap();
            assert_eq!(report.step, step / 2 + 1);
            assert_eq!(report.learning_rate, set.report("trunk").unwrap().learning_rate);
        }
        if step == 1 {
            let rate = set.report("expert").unwrap().learning_rate;
            for ((new, old), g) in expert.iter().zip(&before).zip(&gradients.1) {
                // g/√g², to a few units of rounding of the weight.
                assert!((old - new - rate * g.signum()).abs() < 4.0 * f64::EPSILON);
            }
        }
    }
    assert_eq!(set.steps(), 10);
}

#[test]
fn a_loop_over_layers_gives_the_run_s_step() {
    let sgd = Sgd { learning_rate: Schedule::linear(1.0, 0.0, 10), ..Sgd::default() };
    let mut set = set(&sgd, &["a", "b"], (1, 2));
    let gradient = numbers(0, (1, 2));
    for step in 0..4 {
        for name in ["a", "b"] {
            let mut weight = numbers(1, (1, 2));
            let mut updates = [Update::new(name, weight.view_mut(), gradient.view())];
            set.step_with(&Control::default().at(step), &mut updates).unwrap();
            let expected = 1.0 - step as f64 / 10.0;
            assert!((set.report(name).unwrap().learning_rate - expected).abs() < 1e-15);
        }
    }
    assert_eq!(set.steps(), 4);
    // It goes on from there, and so does a run that was saved.
    let mut resumed = self::set(&sgd, &["a", "b"], (1, 2));
    resumed.load(&set.state()).unwrap();
    assert_eq!(resumed.steps(), 4);
    let mut weight = numbers(1, (1, 2));
    resumed.step(&mut [Update::new("a", weight.view_mut(), gradient.view())]).unwrap();
    assert!((resumed.report("a").unwrap().learning_rate - 0.6).abs() < 1e-15);
}

/// A refused call is no step of the run.
#[test]
fn a_refused_call_does_not_count() {
    let mut set = set(&Sgd::default(), &["a"], (1, 2));
    let bad = Array2::from_elem((1, 2), f64::NAN);
    let mut weight = numbers(1, (1, 2));
    assert!(set.step(&mut [Update::new("a", weight.view_mut(), bad.view())]).is_err());
    assert_eq!(set.steps(), 0);
}

/// Steps of gradients that were clipped by hand.
#[test]
fn the_global_norm_is_clipped_over_all_parameters() {
    let adam = AdamW::default();
    for shape in [(2, 3), (130, 70)] {
        let names = ["a", "b", "c"];
        let mut clipped = set(&adam, &names, shape);
        let mut expected = set(&adam, &names, shape);
        let mut serial = set(&adam, &names, shape);
        serial.set_parallel(false);
        for set in [&mut clipped, &mut serial] {
            set.clip_global_norm(Some(0.5.into())).unwrap();
        }
        let start: Vec<_> = (0..3).map(|k| numbers(k, shape)).collect();
        let mut weights = [start.clone(), start.clone(), start];
        for step in 0..4 {
            // Bound at first, and free at the end.
            let scale = 0.1_f64.powi(2 * step);
            let gradients: Vec<_> = (0..3).map(|k| numbers(10 + k, shape) * scale).collect();
            let all = gradients.iter().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
            let factor = (0.5 / all).min(1.0);
            let by_hand: Vec<_> = gradients.iter().map(|g| g * factor).collect();
            let given = [&gradients, &by_hand, &gradients];
            let sets = [&mut clipped, &mut expected, &mut serial];
            for ((set, weights), gradients) in sets.into_iter().zip(&mut weights).zip(given) {
                let mut updates: Vec<_> = names
                    .iter()
                    .zip(weights.iter_mut().zip(gradients))
                    .map(|(name, (w, g))| Update::new(name, w.view_mut(), g.view()))
                    .collect();
                set.step(&mut updates).unwrap();
            }
            // The norm is a sum of mn squares, in another order than here.
            let rounding = (3 * shape.0 * shape.1) as f64 * f64::EPSILON;
            assert!((clipped.gradient_norm().unwrap() / all - 1.0).abs() < rounding);
            let [clipped, expected, serial] = &weights;
            for ((a, b), c) in clipped.iter().zip(expected).zip(serial) {
                // A direction of Adam is as exact as the gradient: relatively to the norm's rounding.
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 8.0 * rounding));
                assert_eq!(a, c);
            }
        }
    }
}

#[test]
fn bounds_over_all_parameters_are_checked() {
    let mut set = set(&Sgd::default(), &["a", "b"], (1, 2));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let name = |error| match error {
            OptimError::InvalidHyperparameter { name, .. } => name,
            other => unreachable!("{other}"),
        };
        let error = set.clip_global_norm(Some(bad.into())).unwrap_err();
        assert_eq!(name(error), "clip_global_norm");
        let error = set.constrain_norm(Selector::All, Some(bad.into())).unwrap_err();
        assert_eq!(name(error), "constrain_norm");
    }
    let falling = Schedule::named("falling", |step| 1.0 - step as f64);
    set.clip_global_norm(Some(falling)).unwrap();
    let gradient = numbers(1, (1, 2));
    let (mut a, mut b) = (numbers(2, (1, 2)), numbers(3, (1, 2)));
    let mut step = |set: &mut OptimizerSet<f64>, first: f64| {
        let mut other = gradient.clone();
        other[(0, 0)] = first;
        set.step(&mut [
            Update::new("a", a.view_mut(), gradient.view()),
            Update::new("b", b.view_mut(), other.view()),
        ])
    };
    // What is not finite is named by its parameter, and a norm that overflows by itself.
    let error = step(&mut set, f64::INFINITY).unwrap_err();
    assert!(error.to_string().starts_with("parameter \"b\": gradient is not finite"), "{error}");
    step(&mut set, 1.0).unwrap();
    let error = step(&mut set, 1.0).unwrap_err();
    assert!(error.to_string().contains("clip_global_norm = 0"), "{error}");
}

/// Of gradient descent `D = g`, and the step is `η g min(1, √(κ/(η² Σ‖g‖²)))`.
#[test]
fn the_norm_constraint_is_over_all_parameters() {
    let rate = 0.3;
    let sgd = Sgd { learning_rate: rate.into(), ..Sgd::default() };
    for (bound, binds) in [(1e-3, true), (1e3, false)] {
        let mut set = set(&sgd, &["a", "b"], (2, 3));
        set.constrain_norm(Selector::All, Some(bound.into())).unwrap();
        let gradients = [numbers(1, (2, 3)), numbers(2, (2, 3))];
        let squares = gradients.iter().map(|g| norm(g).powi(2)).sum::<f64>();
        let factor = (bound / (rate * rate * squares)).sqrt().min(1.0);
        assert_eq!(factor < 1.0, binds);
        let start = [numbers(3, (2, 3)), numbers(4, (2, 3))];
        let mut weights = start.clone();
        let [a, b] = &mut weights;
        set.step(&mut [
            Update::new("a", a.view_mut(), gradients[0].view()),
            Update::new("b", b.view_mut(), gradients[1].view()),
        ])
        .unwrap();
        for ((new, old), g) in weights.iter().zip(&start).zip(&gradients) {
            let expected = old - &(g * (rate * factor));
            assert!((new - &expected).iter().all(|x| x.abs() < 1e-15));
        }
    }
}

/// The stage of a method is the constraint over a set of one.
#[test]
fn the_norm_constraint_of_a_weight_is_that_of_a_set_of_one() {
    let plain = Kfac { damping: 0.1.into(), ..Kfac::stylised() };
    let staged = Kfac { norm_constraint: Some(1e-4.into()), ..plain.clone() };
    assert!(Method::chain(&staged).update.contains(&StageConfig::NormConstraint(1e-4.into())));
    let mut set = OptimizerSet::new(vec![Group::new(Selector::All, &plain)]);
    set.register("w", (3, 4), Signals::ALL).unwrap();
    set.constrain_norm(Selector::All, Some(1e-4.into())).unwrap();
    let mut alone = staged.build::<f64>((3, 4)).unwrap();
    let (mut a, mut b) = (numbers(1, (3, 4)), numbers(1, (3, 4)));
    for step in 0..3 {
        let gradient = numbers(5 + step, (3, 4));
        let (outputs, inputs) = (numbers(20 + step, (9, 3)), numbers(30 + step, (9, 4)));
        let signal = Signal::new(gradient.view())
            .with_output(Factor::Samples(outputs.view()))
            .with_input(Factor::Samples(inputs.view()));
        set.step(&mut [Update::new("w", a.view_mut(), signal)]).unwrap();
        alone.step(&mut b.view_mut(), &signal).unwrap();
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14));
    }
}

/// What is left alone by a set is left alone by its clipping: only the gradients of the call count.
#[test]
fn parameters_without_an_update_do_not_count() {
    let mut set = set(&Chain::new(1.0), &["a", "b"], (1, 2));
    set.clip_global_norm(Some(1.0.into())).unwrap();
    let gradient = Array2::from_elem((1, 2), 3.0);
    let mut weight = Array2::zeros((1, 2));
    set.step(&mut [Update::new("b", weight.view_mut(), gradient.view())]).unwrap();
    let length = weight.index_axis(Axis(0), 0).iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((length - 1.0).abs() < 1e-15);
}

/// With new hyperparameters a run goes on from the state: as one that has had them all along would from
/// there, where nothing of the past depends on them.
#[test]
fn a_run_resumes_with_new_hyperparameters_where_that_is_asked_for() {
    let old = AdamW { learning_rate: 0.1.into(), ..AdamW::default() };
    let new = AdamW { learning_rate: 0.01.into(), weight_decay: 0.3.into(), ..AdamW::default() };
    let mut saved = old.build::<f64>((2, 3)).unwrap();
    let mut weight = numbers(1, (2, 3));
    for step in 0..5 {
        saved.step(&mut weight.view_mut(), &numbers(10 + step, (2, 3)).view().into()).unwrap();
    }
    let mut resumed = new.build::<f64>((2, 3)).unwrap();
    let error = resumed.load(&saved.state()).unwrap_err();
    assert!(error.to_string().contains("chain.learning_rate"), "{error}");
    resumed.resume(&saved.state(), Resume::NewHyperparameters).unwrap();
    assert_eq!(resumed.steps(), 5);
    // AdamW's step, with the averages of the old run, at the new rate.
    let factor = Control::default().with_rate_factor(0.1);
    let gradient = numbers(20, (2, 3));
    let (mut a, mut b) = (weight.clone(), weight.clone());
    resumed.step(&mut a.view_mut(), &gradient.view().into()).unwrap();
    saved.step_with(&factor, &mut b.view_mut(), &gradient.view().into()).unwrap();
    let shrinking = &weight * (0.01 * (0.3 - 0.01));
    assert!((&b - &a - shrinking).iter().all(|x| x.abs() < 1e-15));
}

#[test]
fn what_shapes_the_state_may_not_change() {
    let state = |chain: &Chain| chain.build::<f64>((4, 6)).unwrap().state();
    let soap = Soap::default();
    let ascending = BasisMethod::QrStep {
        ridge: 1e-6.into(),
        steps: 2,
        tolerance: 0.0,
        order: ColumnOrder::Ascending,
    };
    let free = [
        Soap { beta2: 0.9.into(), refresh: Refresh::every(3), ..soap.clone() },
        Soap { epsilon: 1e-3.into(), exponent: 0.4, bias_correction: false, ..soap.clone() },
        Soap { basis: ascending, ..soap.clone() },
    ];
    for other in free {
        let mut optimizer = other.build::<f64>((4, 6)).unwrap();
        optimizer.resume(&state(&Method::chain(&soap)), Resume::NewHyperparameters).unwrap();
    }
    let shampoo = Shampoo::stylised();
    let schedule_free = |power| Chain {
        weight_averaging: Some(WeightAveraging::ScheduleFree { train: 0.9.into(), power }),
        ..Chain::new(0.1)
    };
    let shaped = [
        // The second moment's columns are in the basis's order.
        (
            Method::chain(&soap),
            Method::chain(&Soap { basis: BasisMethod::qr_step(1e-6), ..soap.clone() }),
        ),
        (schedule_free(0.0), schedule_free(2.0)),
        (
            Method::chain(&soap),
            Method::chain(&Soap { one_sided: Some(Side::Left), ..soap.clone() }),
        ),
        (Method::chain(&soap), Method::chain(&soap).then(StageConfig::NormalizeRms)),
        (
            Method::chain(&shampoo),
            Method::chain(&Shampoo { exponent: 0.5.into(), ..shampoo.clone() }),
        ),
        (
            Method::chain(&shampoo),
            Method::chain(&Shampoo { averaging: Averaging::Sum, ..shampoo.clone() }),
        ),
        (
            Method::chain(&shampoo),
            Method::chain(&Shampoo {
                root: RootMethod::coupled_newton(),
                damping: Damping::None,
                ..shampoo.clone()
            }),
        ),
        (
            Method::chain(&AdamW::default()),
            Method::chain(&AdamW { amsgrad: true, ..AdamW::default() }),
        ),
        (Method::chain(&AdamW::default()), Method::chain(&Sgd::default())),
    ];
    for (old, new) in shaped {
        let mut optimizer = new.build::<f64>((4, 6)).unwrap();
        let before = optimizer.state();
        let error = optimizer.resume(&state(&old), Resume::NewHyperparameters).unwrap_err();
        assert!(matches!(error, OptimError::StateMethod { .. }), "{error}");
        assert_eq!(optimizer.state(), before);
    }
}

/// A set that was loaded clips as before, and with the same bits.
#[test]
fn clipping_goes_on_after_a_load() {
    let adam = AdamW::default();
    let mut set = set(&adam, &["a"], (2, 3));
    set.clip_global_norm(Some(0.1.into())).unwrap();
    let mut weight = numbers(1, (2, 3));
    let gradient = numbers(2, (2, 3));
    set.step(&mut [Update::new("a", weight.view_mut(), gradient.view())]).unwrap();
    let mut loaded = self::set(&adam, &["a"], (2, 3));
    loaded.clip_global_norm(Some(0.1.into())).unwrap();
    loaded.load(&set.state()).unwrap();
    let mut other = weight.clone();
    // Ten times the bound in one, a tenth in the other: a step that is not clipped differs.
    for scale in [10.0, 0.01] {
        let gradient = numbers(3, (2, 3)) * scale;
        set.step(&mut [Update::new("a", weight.view_mut(), gradient.view())]).unwrap();
        loaded.step(&mut [Update::new("a", other.view_mut(), gradient.view())]).unwrap();
        assert_eq!(weight, other);
    }
    assert_eq!(set.state(), loaded.state());
}

/// The constraint counts, and scales, those parameters alone that it is for.
#[test]
fn the_norm_constraint_leaves_others_alone() {
    let sgd = Sgd { learning_rate: 1.0.into(), ..Sgd::default() };
    let mut set = set(&sgd, &["a", "b"], (1, 2));
    set.constrain_norm(Selector::named(["a"]), Some(0.25.into())).unwrap();
    let gradient = Array2::from_elem((1, 2), 3.0);
    let (mut a, mut b) = (Array2::zeros((1, 2)), Array2::zeros((1, 2)));
    set.step(&mut [
        Update::new("a", a.view_mut(), gradient.view()),
        Update::new("b", b.view_mut(), gradient.view()),
    ])
    .unwrap();
    assert!((norm(&a) - 0.5).abs() < 1e-15);
    assert_eq!(b, -gradient);
}

#[test]
fn a_refused_state_is_named_down_to_the_hyperparameter() {
    let state = AdamW::default().build::<f64>((2, 3)).unwrap().state();
    let other = AdamW { beta2: 0.5.into(), ..AdamW::default() };
    let error = other.build::<f64>((2, 3)).unwrap().load(&state).unwrap_err().to_string();
    assert!(
        error.contains("chain.update.1.diagonal.averaging.Ema.beta.Constant is 0.999"),
        "{error}"
    );
}

/// What overflows is named, and nothing has changed.
#[test]
fn bounds_that_overflow_are_errors() {
    let mut set = set(&Sgd::default(), &["a"], (1, 2));
    let before = set.state();
    let step = |set: &mut OptimizerSet<f64>, size: f64| {
        let gradient = Array2::from_elem((1, 2), size);
        let mut weight = Array2::zeros((1, 2));
        set.step(&mut [Update::new("a", weight.view_mut(), gradient.view())]).unwrap_err()
    };
    set.clip_global_norm(Some(1.0.into())).unwrap();
    let error = step(&mut set, 1.5e308).to_string();
    assert!(error.contains("the norm of all gradients would be inf"), "{error}");
    set.clip_global_norm(None).unwrap();
    set.constrain_norm(Selector::All, Some(1.0.into())).unwrap();
    let error = step(&mut set, 1e200).to_string();
    assert!(error.contains("the inner product of gradient and direction would be inf"), "{error}");
    assert_eq!(set.state(), before);
}

#[test]
fn a_step_that_no_run_reaches_is_refused() {
    let mut sgd = Sgd::default().build::<f64>((1, 2)).unwrap();
    let (mut weight, gradient) = (numbers(1, (1, 2)), numbers(2, (1, 2)));
    let control = Control::default().at(u64::MAX);
    let error = sgd.step_with(&control, &mut weight.view_mut(), &gradient.view().into());
    let error = error.unwrap_err();
    assert!(matches!(error, OptimError::InvalidHyperparameter { name: "step", .. }), "{error}");
    assert_eq!(weight, numbers(1, (1, 2)));
}

/// Bounds on the adapted damping that are narrower than those of the run that is resumed hold at once.
#[test]
fn adapted_damping_stays_within_new_bounds() {
    let adapted = |smallest| Kfac {
        damping_adaptation: Some(LevenbergMarquardt {
            smallest,
            decrease: 0.5,
            ..LevenbergMarquardt::default()
        }),
        ..Kfac::stylised()
    };
    let mut old = adapted(1e-8).build::<f64>((2, 3)).unwrap();
    for _ in 0..5 {
        old.report_reduction(1.0).unwrap();
    }
    let mut new = adapted(0.25).build::<f64>((2, 3)).unwrap();
    new.resume(&old.state(), Resume::NewHyperparameters).unwrap();
    assert_eq!(new.report_reduction(0.5), Ok(0.25));
    assert_eq!(old.report_reduction(0.5), Ok(0.03125));
}
