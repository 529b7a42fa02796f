//! Refreshes in the background: each is used from the step that was stated, whatever the threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use crate::common::{generator, normal, qr_steps};
use layerwise_optim::chain::{
    DiagonalEstimate, Grafting, LevenbergMarquardt, StageConfig, TurnedMoments,
};
use layerwise_optim::checkpoint::{OptimizerState, Resume};
use layerwise_optim::factor::{BasisMethod, RootMethod};
use layerwise_optim::linalg::LinalgError;
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::Array2;
use layerwise_optim::{
    Averaging, Chain, Damping, Ekfac, Factor, Group, Kfac, Method, OptimError, Optimizer,
    OptimizerSet, Refresh, SPlus, Schedule, Selector, Shampoo, Side, Signal, Signals, Soap,
    StepReport, Update, suite,
};
use serde_json::Value;

/// What a layer reports at a step, whatever the weight: dense, not symmetric, and ill-conditioned.
struct Layer {
    gradient: Array2<f64>,
    outputs: Array2<f64>,
    inputs: Array2<f64>,
}

fn layers(count: usize, (rows, cols): (usize, usize)) -> Vec<Layer> {
    let mut rng = generator(90);
    let mut scaled = |shape: (usize, usize)| {
        let mut array = normal::<f64>(&mut rng, shape);
        let last = shape.1.max(2) as f64 - 1.0;
        for (j, mut column) in array.columns_mut().into_iter().enumerate() {
            column.mapv_inplace(|x| x * 1e-2_f64.powf(j as f64 / last));
        }
        array
    };
    let layer = |_| Layer {
        gradient: scaled((rows, cols)),
        outputs: scaled((3 * rows, rows)),
        inputs: scaled((3 * cols, cols)),
    };
    (0..count).map(layer).collect()
}

impl Layer {
    fn signal(&self) -> Signal<'_, f64> {
        self.signal_of(self)
    }

    /// Its gradient, with the factors of another one.
    fn signal_of<'s>(&'s self, other: &'s Layer) -> Signal<'s, f64> {
        Signal::new(self.gradient.view())
            .with_output(Factor::Samples(other.outputs.view()))
            .with_input(Factor::Samples(other.inputs.view()))
    }

    fn spoiled(&self) -> Layer {
        let mut gradient = self.gradient.clone();
        gradient[[1, 0]] = f64::NAN;
        Layer { gradient, outputs: self.outputs.clone(), inputs: self.inputs.clone() }
    }
}

fn with_refresh(mut chain: Chain, refresh: Refresh) -> Chain {
    for stage in chain.stages_mut() {
        match stage {
            StageConfig::Kronecker(config) => config.refresh = refresh.clone(),
            StageConfig::Eigenbasis(config) => config.refresh = refresh.clone(),
            _ => {}
        }
    }
    chain
}

fn stale(every: u64, staleness: u64) -> Refresh {
    Refresh { staleness, ..Refresh::every(every) }
}

struct Run {
    optimizer: Optimizer<f64>,
    weight: Array2<f64>,
}

impl Run {
    fn new(chain: &Chain, shape: (usize, usize)) -> Self {
        Run { optimizer: chain.build(shape).unwrap(), weight: Array2::ones(shape) }
    }

    fn try_step(&mut self, signal: &Signal<'_, f64>) -> Result<StepReport, OptimError> {
        self.optimizer.step(&mut self.weight.view_mut(), signal)
    }

    fn step(&mut self, signal: &Signal<'_, f64>) -> StepReport {
        self.try_step(signal).unwrap()
    }

    /// Goes on from its own state, by way of a text.
    fn reload(&mut self) {
        let state = OptimizerState::from_json(&self.optimizer.state().to_json().unwrap()).unwrap();
        assert_eq!(state, self.optimizer.state());
        self.optimizer = Optimizer::from_state(&state).unwrap();
        assert_eq!(state, self.optimizer.state());
    }
}

fn bits(array: &Array2<f64>) -> Vec<u64> {
    array.iter().map(|x| x.to_bits()).collect()
}

/// The values of a state that are roots or bases.
fn roots(optimizer: &Optimizer<f64>) -> BTreeMap<String, Value> {
    let state: Value = serde_json::from_str(&optimizer.state().to_json().unwrap()).unwrap();
    let values = state["values"].as_object().unwrap().clone().into_iter();
    values.filter(|(name, _)| name.contains("roots.") || name.ends_with(".basis")).collect()
}

/// Gives an optimizer the roots or bases of another.
fn plant(optimizer: &mut Optimizer<f64>, planted: &BTreeMap<String, Value>) {
    let mut state: Value = serde_json::from_str(&optimizer.state().to_json().unwrap()).unwrap();
    for (name, value) in planted {
        assert!(state["values"].get(name).is_some(), "{name}");
        state["values"][name] = value.clone();
    }
    optimizer.load(&OptimizerState::from_json(&state.to_string()).unwrap()).unwrap();
}

/// Averages do not see the roots: a run with all refreshes at once has the roots, and one with the first
/// alone is given them, each so many steps later.
#[test]
fn roots_and_bases_are_those_of_the_stated_steps_before() {
    const STEPS: u64 = 14;
    let averaging = Averaging::Ema { beta: 0.9.into(), bias_correction: true };
    let shampoo = || Shampoo {
        averaging: averaging.clone(),
        damping: Damping::RelativeToTrace(1e-6.into()),
        ..Shampoo::stylised()
    };
    let kfac = || Kfac { averaging: averaging.clone(), ..Kfac::stylised() };
    let kept = BasisMethod::Eigendecomposition { tolerance: 0.1 };
    let soap = Soap::default;
    let chains = [
        shampoo().chain(),
        Shampoo { averaging: Averaging::Sum, root: RootMethod::coupled_newton(), ..shampoo() }
            .chain(),
        Shampoo {
            root: RootMethod::Eigen { pseudo_inverse: None, basis: kept.clone() },
            grafting: Some(Grafting::Diagonal(Default::default())),
            ..shampoo()
        }
        .chain(),
        kfac().chain(),
        Kfac { root: RootMethod::Inverse, ..kfac() }.chain(),
        Kfac { damping: KfacDamping::FactoredTikhonov(1e-3.into()), ..kfac() }.chain(),
        soap().chain(),
        Soap { basis: qr_steps(2, 0.0), ..soap() }.chain(),
        Soap { basis: kept, ..soap() }.chain(),
    ];
    let layers = layers(STEPS as usize, (6, 5));
    for (index, chain) in chains.into_iter().enumerate() {
        for (every, staleness) in [(2, 1), (5, 1), (5, 4), (4, 2)] {
            let at_once = with_refresh(chain.clone(), Refresh::every(every));
            let once = with_refresh(chain.clone(), Refresh::every(u64::MAX));
            let delayed = with_refresh(chain.clone(), stale(every, staleness));
            let [mut at_once, mut once, mut delayed] =
                [at_once, once, delayed].map(|chain| Run::new(&chain, (6, 5)));
            let mut made = BTreeMap::new();
            let mut differs = false;
            for (step, layer) in (1..).zip(&layers) {
                let former = at_once.step(&layer.signal());
                if step > 1 && step % every == 0 {
                    assert!(former.refreshed);
                    made.insert(step + staleness, (former, roots(&at_once.optimizer)));
                }
                let due = made.remove(&step);
                if let Some((_, roots)) = &due {
                    plant(&mut once.optimizer, roots);
                }
                let report = delayed.step(&layer.signal());
                let expected = once.step(&layer.signal());
                let what = format!("chain {index}, every {every}, {staleness}, step {step}");
                assert_eq!(bits(&delayed.weight), bits(&once.weight), "{what}");
                assert_eq!(roots(&delayed.optimizer), roots(&once.optimizer), "{what}");
                assert_eq!(report.update_norm, expected.update_norm, "{what}");
                assert_eq!(report.refreshed, step == 1 || due.is_some(), "{what}");
                if let Some((former, _)) = due {
                    assert_eq!(report.left_condition, former.left_condition, "{what}");
                    assert_eq!(report.right_condition, former.right_condition, "{what}");
                    assert_eq!(report.fallbacks, former.fallbacks, "{what}");
                }
                differs |= bits(&delayed.weight) != bits(&at_once.weight);
            }
            assert!(differs, "chain {index}: staleness does nothing");
        }
    }
}

/// A run whose refreshes come at once, at the steps that install, with the factors of the steps before:
/// what turns with the bases turns when they are installed.
#[test]
fn factors_that_are_not_averaged_are_those_of_the_stated_step() {
    let refresh = Refresh { start: 4, ..stale(5, 2) };
    let at_once = Refresh { start: 4, offset: 3, ..Refresh::every(5) };
    let ekfac = |turned_moments| Ekfac {
        averaging: Averaging::None,
        estimate: DiagonalEstimate::Gradient,
        turned_moments,
        ..Ekfac::stylised()
    };
    let chains = [
        Kfac::stylised().chain(),
        Kfac { root: RootMethod::Inverse, ..Kfac::stylised() }.chain(),
        ekfac(TurnedMoments::Kept).chain(),
        ekfac(TurnedMoments::Transported).chain(),
        ekfac(TurnedMoments::Restarted).chain(),
    ];
    let layers = layers(19, (5, 4));
    for (index, chain) in chains.into_iter().enumerate() {
        let mut delayed = Run::new(&with_refresh(chain.clone(), refresh.clone()), (5, 4));
        let mut direct = Run::new(&with_refresh(chain, at_once.clone()), (5, 4));
        let mut refreshes = 0;
        for (step, layer) in (1..).zip(&layers) {
            let report = delayed.step(&layer.signal());
            let installs = step > 5 && step % 5 == 2;
            let of = if installs { &layers[step - 3] } else { layer };
            let expected = direct.step(&layer.signal_of(of));
            assert_eq!(report, expected, "chain {index}, step {step}");
            assert_eq!(report.refreshed, step == 4 || installs, "chain {index}, step {step}");
            assert_eq!(bits(&delayed.weight), bits(&direct.weight), "chain {index}, step {step}");
            refreshes += usize::from(report.refreshed);
        }
        assert_eq!(refreshes, 4);
    }
}

/// A Cholesky factor that the layer gives is taken as it is.
#[test]
fn a_cholesky_factor_is_copied_as_it_is() {
    let lower = |n: usize, t: usize| {
        Array2::from_shape_fn((n, n), |(i, j)| match (i, j) {
            // What is above the diagonal is not read.
            _ if j > i => f64::NAN,
            _ if i == j => 1.0 + (i + t) as f64 / 7.0,
            _ => 0.3 - 0.1 * (j * t) as f64,
        })
    };
    let gradients = layers(8, (4, 3));
    let chain =
        |refresh| with_refresh(Kfac { damping: 0.0.into(), ..Kfac::stylised() }.chain(), refresh);
    let mut delayed = Run::new(&chain(Refresh { start: 2, ..stale(3, 1) }), (4, 3));
    let mut direct = Run::new(&chain(Refresh { start: 2, offset: 2, ..Refresh::every(3) }), (4, 3));
    for step in 1..=8 {
        let of = if step > 3 && step % 3 == 1 { step - 1 } else { step };
        let take = |run: &mut Run, of: usize| {
            let (output, input) = (lower(4, of), lower(3, of));
            let signal = Signal::new(gradients[step - 1].gradient.view())
                .with_output(Factor::Cholesky(output.view()))
                .with_input(Factor::Cholesky(input.view()));
            run.step(&signal)
        };
        assert_eq!(take(&mut delayed, step), take(&mut direct, of), "step {step}");
        assert_eq!(bits(&delayed.weight), bits(&direct.weight), "step {step}");
        delayed.reload();
    }
    // One with a number that no state holds is refused when it comes, not when it is used.
    let mut bad = lower(4, 1);
    bad[[2, 1]] = f64::INFINITY;
    let input = lower(3, 1);
    let signal = Signal::new(gradients[0].gradient.view())
        .with_output(Factor::Cholesky(bad.view()))
        .with_input(Factor::Cholesky(input.view()));
    let before = delayed.optimizer.state();
    let error = delayed.try_step(&signal).unwrap_err();
    assert!(
        matches!(error, OptimError::NonFinite { what: "output factor", row: 2, col: 1, .. }),
        "{error:?}"
    );
    assert_eq!(delayed.optimizer.state(), before);
}

fn set_of(chain: &Chain, shapes: &[(usize, usize)], staggered: bool) -> OptimizerSet<f64> {
    let group = Group::new(Selector::All, chain);
    let mut set = OptimizerSet::new(vec![if staggered { group.staggered() } else { group }]);
    for (index, &shape) in shapes.iter().enumerate() {
        set.register(index.to_string(), shape, Signals::ALL).unwrap();
    }
    set
}

fn step_set(set: &mut OptimizerSet<f64>, weights: &mut [Array2<f64>], layers: &[&Layer]) {
    let names: Vec<_> = (0..weights.len()).map(|index| index.to_string()).collect();
    let mut updates: Vec<_> = weights
        .iter_mut()
        .zip(&names)
        .zip(layers)
        .map(|((weight, name), layer)| Update::new(name, weight.view_mut(), layer.signal()))
        .collect();
    set.step(&mut updates).unwrap();
}

/// Layers of which the products are shared out to threads, more of them than threads. A refresh that needed
/// a thread of the pool that waits for it would not end.
#[test]
fn threads_change_no_bit_and_wait_for_nothing_that_waits() {
    const SHAPES: [(usize, usize); 3] = [(400, 16), (16, 400), (400, 24)];
    let data = SHAPES.map(|shape| layers(8, shape));
    for chain in [
        Soap { basis: qr_steps(1, 0.0), refresh: stale(3, 2), ..Soap::default() }.chain(),
        Kfac { refresh: stale(2, 1), damping: 1e-3.into(), ..Kfac::stylised() }.chain(),
    ] {
        let run = |parallel: bool| {
            let mut set = set_of(&chain, &SHAPES, false);
            set.set_parallel(parallel);
            let mut weights = SHAPES.map(Array2::<f64>::zeros);
            for step in 0..8 {
                let layers: Vec<_> = data.iter().map(|layers| &layers[step]).collect();
                step_set(&mut set, &mut weights, &layers);
            }
            (weights.map(|weight| bits(&weight)), set.state())
        };
        // In the pool of the process, then in pools of these sizes.
        let expected = run(true);
        assert!(expected == run(false));
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| run(true)) == expected, "{threads} threads");
        }
    }
}

fn samples() -> [Chain; 3] {
    let averaging = Averaging::Ema { beta: 0.9.into(), bias_correction: true };
    [
        Kfac { averaging, refresh: stale(3, 2), ..Kfac::stylised() }.chain(),
        Shampoo {
            damping: Damping::RelativeToRowSum { relative: 1e-4.into(), least: 1e-9.into() },
            refresh: stale(4, 3),
            ..Shampoo::stylised()
        }
        .chain(),
        Soap {
            basis: qr_steps(1, 0.0),
            refresh: stale(3, 1),
            turned_moments: TurnedMoments::Transported,
            ..Soap::default()
        }
        .chain(),
    ]
}

#[test]
fn a_refused_step_changes_nothing_and_a_saved_run_goes_on() {
    let layers = layers(13, (5, 4));
    for chain in samples() {
        let mut undisturbed = Run::new(&chain, (5, 4));
        let mut refused = Run::new(&chain, (5, 4));
        let mut resumed = Run::new(&chain, (5, 4));
        for layer in &layers {
            let report = undisturbed.step(&layer.signal());
            let before = (refused.optimizer.state(), bits(&refused.weight));
            for _ in 0..2 {
                assert!(refused.try_step(&layer.spoiled().signal()).is_err());
                assert_eq!((refused.optimizer.state(), bits(&refused.weight)), before);
            }
            assert_eq!(refused.step(&layer.signal()), report);
            assert_eq!(refused.optimizer.state(), undisturbed.optimizer.state());
            resumed.reload();
            assert_eq!(resumed.step(&layer.signal()), report);
            assert_eq!(resumed.optimizer.state(), undisturbed.optimizer.state());
            assert_eq!(bits(&resumed.weight), bits(&undisturbed.weight));
        }
        // Refused by what comes after the stage too, when all that it proposes stands beside its state.
        for stage in chain.update.iter().chain(&chain.gradient) {
            assert_eq!(suite::check::<f64>(stage, (5, 4)), Ok(()));
            assert_eq!(suite::check::<f32>(stage, (3, 6)), Ok(()));
        }
    }
}

/// A checkpoint is loaded in place, while refreshes of the state before are under way.
#[test]
fn a_checkpoint_holds_what_is_under_way() {
    let path = std::env::temp_dir().join(format!("staleness-{}", std::process::id()));
    let shape = (5, 4);
    let layers = layers(12, shape);
    for chain in samples() {
        let mut set = set_of(&chain, &[shape, shape], false);
        let mut other = set_of(&chain, &[shape, shape], false);
        let mut weights = [(); 2].map(|()| Array2::zeros(shape));
        let mut others = weights.clone();
        for step in 0..11 {
            // It has gone elsewhere since.
            step_set(&mut other, &mut others, &[&layers[step + 1], &layers[0]]);
            set.save_file(&path).unwrap();
            other.load_file(&path).unwrap();
            assert_eq!(other.state(), set.state());
            others.clone_from(&weights);
            let given = [&layers[step], &layers[step + 1]];
            step_set(&mut set, &mut weights, &given);
            step_set(&mut other, &mut others, &given);
            assert_eq!(weights, others);
        }
    }
    std::fs::remove_file(path).unwrap();
}

/// At a step with a refresh under way, with its state edited as JSON.
fn edited(chain: &Chain, edit: impl Fn(&mut Value)) -> Result<(), OptimError> {
    let mut run = Run::new(chain, (5, 4));
    for layer in layers(3, (5, 4)) {
        run.step(&layer.signal());
    }
    let mut state: Value = serde_json::from_str(&run.optimizer.state().to_json().unwrap()).unwrap();
    edit(&mut state["values"]);
    let before = run.optimizer.state();
    let result =
        OptimizerState::from_json(&state.to_string()).and_then(|state| run.optimizer.load(&state));
    assert!(result.is_ok() || run.optimizer.state() == before);
    result
}

#[test]
fn what_is_under_way_is_checked_when_it_is_loaded() {
    let [kfac, _, soap] = samples();
    let at = |chain: &Chain, name: &str| {
        let found = std::cell::RefCell::new(String::new());
        let ending = format!("background.{name}");
        let copied = edited(chain, |values| {
            let names = values.as_object().unwrap().keys();
            found.replace(names.filter(|name| name.ends_with(&ending)).cloned().collect());
        });
        assert_eq!(copied, Ok(()));
        assert!(found.borrow().ends_with(&ending), "{ending}");
        found.into_inner()
    };
    let number = |x: f64| serde_json::json!({ "Number": x });
    let count = |x: u64| serde_json::json!({ "Count": x });
    for chain in [&kfac, &soap] {
        assert_eq!(edited(chain, |_| ()), Ok(()));
        let refused = |name: &str, value: Value, problem: &str| {
            let name = at(chain, name);
            let error = edited(chain, |values| {
                assert!(values.get(&name).is_some(), "{name}");
                values[&name] = value.clone();
            });
            let expected = format!("value {name:?} of the state {problem}");
            assert_eq!(error.unwrap_err().to_string(), expected);
        };
        refused("install", count(3), "is not after the steps taken");
        refused("install", number(1.0), "is not a count");
        refused("left.correction", number(0.0), "is not > 0");
        for name in ["install", "time", "left.factor", "right.correction"] {
            let name = at(chain, name);
            let error = edited(chain, |values| {
                values.as_object_mut().unwrap().remove(&name).unwrap();
            });
            let expected = format!("value {name:?} of the state is missing");
            assert_eq!(error.unwrap_err().to_string(), expected);
        }
        let name = at(chain, "left.factor");
        let error =
            edited(chain, |values| values[&name]["Array"]["entries"][1] = 1e9.into()).unwrap_err();
        assert_eq!(error.to_string(), format!("value {name:?} of the state is not symmetric"));
        // Without what is under way, the values of it are not known.
        let name = at(chain, "install");
        let error = edited(chain, |values| values[&name] = count(0)).unwrap_err();
        assert!(error.to_string().ends_with("of the state is not known"), "{error}");
    }
    for (name, value, problem) in [
        ("left.damping.kind", count(9), "is no kind of damping"),
        ("right.damping.value", number(-1.0), "is negative"),
        ("left.is_cholesky", number(1.0), "is not a flag"),
    ] {
        let name = at(&kfac, name);
        let error = edited(&kfac, |values| {
            assert!(values.get(&name).is_some(), "{name}");
            values[&name] = value.clone();
        });
        let expected = format!("value {name:?} of the state {problem}");
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

#[test]
fn another_staleness_takes_what_is_under_way() {
    let chain = |refresh| with_refresh(samples()[0].clone(), refresh);
    let layers = layers(12, (5, 4));
    let mut run = Run::new(&chain(stale(6, 4)), (5, 4));
    for layer in &layers[..6] {
        run.step(&layer.signal());
    }
    let state = run.optimizer.state();
    let steps_with = |refresh| {
        let mut optimizer = chain(refresh).build::<f64>((5, 4)).unwrap();
        assert!(optimizer.load(&state).is_err());
        optimizer.resume(&state, Resume::NewHyperparameters).unwrap();
        let mut resumed = Run { optimizer, weight: run.weight.clone() };
        let reports = layers[6..].iter().map(|layer| resumed.step(&layer.signal()));
        reports.filter(|report| report.refreshed).map(|report| report.step).collect::<Vec<_>>()
    };
    // Begun at step 6, to be installed at 10.
    assert_eq!(steps_with(stale(7, 4)), [10]);
    // Of a smaller staleness, at the latest that it allows; the next is due at 12.
    assert_eq!(steps_with(stale(6, 1)), [7]);
    // One that is due while this is under way is left out: here at 10.
    assert_eq!(steps_with(stale(5, 4)), [10]);
    let mut at_once = chain(Refresh::every(6)).build::<f64>((5, 4)).unwrap();
    let error = at_once.resume(&state, Resume::NewHyperparameters).unwrap_err();
    let OptimError::StateMethod { path, .. } = error else { panic!("{error:?}") };
    assert_eq!(path, "chain.update.0.kronecker.refresh.staleness");
}

#[test]
fn a_staleness_that_makes_no_sense_is_refused() {
    let refusal = |chain: &Chain| chain.build::<f64>((4, 3)).unwrap_err();
    for (every, staleness) in [(1, 1), (3, 3), (3, 7), (3, u64::MAX)] {
        for chain in [
            Shampoo { refresh: stale(every, staleness), ..Shampoo::stylised() }.chain(),
            Soap { refresh: stale(every, staleness), ..Soap::default() }.chain(),
        ] {
            let expected = OptimError::InvalidHyperparameter {
                name: "refresh.staleness",
                value: staleness as f64,
                allowed: "smaller than refresh.every",
            };
            assert_eq!(refusal(&chain), expected);
        }
    }
    let drifting = Refresh { drift: Some(0.1), ..stale(5, 2) };
    let kfac = || Kfac { refresh: stale(5, 2), damping: 0.0.into(), ..Kfac::stylised() };
    for (chain, second) in [
        (
            Soap { refresh: drifting, ..Soap::default() }.chain(),
            "refreshes where the basis has drifted",
        ),
        (
            Kfac { damping: KfacDamping::Exact(0.1.into()), ..kfac() }.chain(),
            "exact damping of the product",
        ),
        (
            Kfac { damping_adaptation: Some(LevenbergMarquardt::default()), ..kfac() }.chain(),
            "adapted damping",
        ),
        (
            Soap { refresh: stale(5, 2), ..Soap::as_published() }.chain(),
            "the basis from before the step",
        ),
        (
            SPlus { refresh: stale(5, 2), ..SPlus::default() }.chain(),
            "the basis from before the step",
        ),
    ] {
        let error = refusal(&chain);
        let text = error.to_string();
        let expected = format!("refreshes with a staleness cannot be combined with {second}: ");
        assert!(text.starts_with(&expected) && !text.contains('\n'), "{text}");
    }
    // Damping in eigenbases is of the second moment, and asks for no refresh.
    let ekfac = Ekfac {
        refresh: stale(5, 2),
        damping_adaptation: Some(LevenbergMarquardt::default()),
        ..Ekfac::stylised()
    };
    assert!(ekfac.build::<f64>((4, 3)).is_ok());
}

#[test]
fn what_cannot_be_factored_is_met_when_it_is_installed() {
    let layers = layers(8, (3, 4));
    let mut indefinite = Array2::<f64>::eye(4);
    indefinite[[2, 2]] = -1.0;
    let method = |tolerated_failures| Kfac {
        refresh: Refresh { tolerated_failures, ..stale(3, 2) },
        ..Kfac::stylised()
    };
    let bad =
        |layer: usize| layers[layer].signal().with_input(Factor::SecondMoment(indefinite.view()));
    let mut run = Run::new(&method(0).chain(), (3, 4));
    for (step, layer) in (1..=4).zip(&layers) {
        // Step 3 takes the copy, and the former root.
        let report = run.step(&if step == 3 { bad(2) } else { layer.signal() });
        assert_eq!((report.refreshed, report.fallbacks), (step == 1, 0));
    }
    let before = (run.optimizer.state(), bits(&run.weight));
    for _ in 0..2 {
        assert_eq!(
            run.try_step(&layers[4].signal()).unwrap_err(),
            OptimError::Factor {
                side: Side::Right,
                source: LinalgError::NotPositiveDefinite { minor: 3 }
            }
        );
        assert_eq!((run.optimizer.state(), bits(&run.weight)), before);
        run.reload();
    }

    let mut run = Run::new(&method(1).chain(), (3, 4));
    let mut kept = None;
    for step in 1..=8 {
        let report = run.step(&if step == 3 { bad(2) } else { layers[step - 1].signal() });
        let right: Vec<_> = roots(&run.optimizer)
            .into_iter()
            .filter(|(name, _)| name.contains("roots.right."))
            .collect();
        match step {
            1 => kept = Some(right),
            // The left root is new, and the right one serves on.
            5 => {
                assert!(report.refreshed && report.fallbacks == 1);
                assert!(report.left_condition.is_some() && report.right_condition.is_none());
                assert_eq!(Some(right), kept);
            }
            8 => {
                assert!(report.refreshed && report.fallbacks == 0);
                assert_ne!(Some(right), kept);
            }
            _ => assert!(!report.refreshed && report.fallbacks == 0),
        }
    }

    // What is wrong with the signal itself is refused where it is given.
    indefinite[[0, 1]] = 0.5;
    let asymmetric = layers[2].signal().with_input(Factor::SecondMoment(indefinite.view()));
    let mut run = Run::new(&method(1).chain(), (3, 4));
    run.step(&layers[0].signal());
    run.step(&layers[1].signal());
    let error = run.try_step(&asymmetric).unwrap_err();
    assert!(
        matches!(
            error,
            OptimError::Factor { side: Side::Right, source: LinalgError::NotSymmetric { .. } }
        ),
        "{error:?}"
    );
    assert!(!run.step(&layers[2].signal()).refreshed);
}

/// A basis method with a ridge that tells where it is asked, or fails there.
fn watched(ask: impl Fn(ThreadId) + Send + Sync + 'static) -> Chain {
    let ridge = Schedule::named("watched", move |_| {
        ask(thread::current().id());
        1e-8
    });
    Soap { basis: BasisMethod::qr_step(ridge), refresh: stale(2, 1), ..Soap::default() }.chain()
}

#[test]
fn only_the_first_refresh_is_of_the_thread_that_steps() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let ids = Arc::clone(&asked);
    let mut run = Run::new(&watched(move |id| ids.lock().unwrap().push(id)), (4, 3));
    let here = thread::current().id();
    let elsewhere = || asked.lock().unwrap().iter().filter(|&&id| id != here).count();
    for (step, layer) in (1..).zip(&layers(7, (4, 3))) {
        run.step(&layer.signal());
        if step == 1 {
            assert_eq!(elsewhere(), 0);
        } else if step % 2 == 1 {
            // Both sides ask, at each of the refreshes that have been installed.
            assert_eq!(elsewhere(), step - 1, "step {step}");
        }
    }
}

#[test]
fn a_panic_in_the_background_is_an_error() {
    let here = thread::current().id();
    let chain = watched(move |id| assert!(id == here, "planted"));
    let layers = layers(3, (4, 3));
    let mut run = Run::new(&chain, (4, 3));
    run.step(&layers[0].signal());
    run.step(&layers[1].signal());
    let before = (run.optimizer.state(), bits(&run.weight));
    for _ in 0..2 {
        let error = run.try_step(&layers[2].signal()).unwrap_err();
        assert_eq!(error, OptimError::Background { message: "planted".to_owned() });
        assert_eq!(
            error.to_string(),
            "a refresh in the background panicked (planted); load a state"
        );
        assert_eq!((run.optimizer.state(), bits(&run.weight)), before);
    }
}

#[test]
fn an_optimizer_that_is_dropped_waits_for_nothing() {
    let layers = layers(2, (4, 3));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let here = thread::current().id();
    let chain = watched(move |id| {
        if id != here {
            // Until the test lets it go on.
            assert!(held.lock().is_ok_and(|held| held.recv().is_ok()));
        }
    });
    let mut run = Run::new(&chain, (4, 3));
    run.step(&layers[0].signal());
    run.step(&layers[1].signal());
    // The refresh is under way, and can be saved.
    assert!(run.optimizer.state().to_json().unwrap().contains("background.left.factor"));
    drop(run);
    // Both sides still ask, of a thread that no optimizer waits for.
    assert_eq!((release.send(()), release.send(())), (Ok(()), Ok(())));
}

/// What is under way is found from the basis that is held, also where that is replaced.
#[test]
fn a_basis_that_is_replaced_is_what_is_gone_on_from() {
    let layers = layers(5, (4, 3));
    let chain = Soap { basis: qr_steps(1, 0.0), refresh: stale(3, 2), ..Soap::default() }.chain();
    let mut runs = [(); 3].map(|()| Run::new(&chain, (4, 3)));
    for (index, run) in runs.iter_mut().enumerate() {
        for layer in &layers[..3] {
            run.step(&layer.signal());
        }
        if index < 2 {
            let basis = run.optimizer.eigenbasis_mut().unwrap();
            basis.set_basis(Side::Left, Array2::eye(4).view()).unwrap();
        }
        if index == 1 {
            run.reload();
        }
        for layer in &layers[3..] {
            run.step(&layer.signal());
        }
    }
    let [replaced, reloaded, kept] = runs.map(|run| roots(&run.optimizer));
    assert_eq!(replaced, reloaded);
    assert_ne!(replaced, kept);
}

/// Of layers that are staggered, one installs a step.
#[test]
fn staggered_layers_install_one_after_another() {
    let shape = (4, 3);
    let layers = layers(14, shape);
    for staleness in [1, 2, 3] {
        let chain = Shampoo { refresh: stale(4, staleness), ..Shampoo::stylised() }.chain();
        let mut set = set_of(&chain, &[shape; 4], true);
        let mut weights = [(); 4].map(|()| Array2::zeros(shape));
        for (step, layer) in (1..).zip(&layers) {
            step_set(&mut set, &mut weights, &[layer; 4]);
            let refreshed: Vec<_> = set.reports().map(|(_, report)| report.refreshed).collect();
            let expected: Vec<_> = (0..4)
                .map(|index| {
                    // Due at steps 2, 3, ... that 4 divides with the layer's offset.
                    let due = step - staleness as i64;
                    step == 1 || (due > 1 && (due + index) % 4 == 0)
                })
                .collect();
            assert_eq!(refreshed, expected, "step {step}, staleness {staleness}");
        }
    }
}
