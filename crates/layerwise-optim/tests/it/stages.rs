//! What the chain asks of a stage: kept by each of this crate's, and missed where one does not keep it.

use crate::common::{Case, cases};
use layerwise_optim::chain::{CustomStage, DiagonalConfig, StageConfig};
use layerwise_optim::ndarray::{Array2, ArrayViewMut2};
use layerwise_optim::stage::{Observation, Stage, StateReader, StateWriter, Step};
use layerwise_optim::{Chain, OptimError, Optimizer, Result, Scalar, Signal, suite};
use serde::Serialize;

#[test]
fn every_stage_keeps_what_it_promises() {
    let mut seen = 0;
    for case in cases() {
        for stage in case.chain.gradient.iter().chain(&case.chain.update) {
            for shape in [(5, 4), (1, 7), (6, 1)] {
                let outcome = suite::check::<f64>(stage, shape);
                assert_eq!(outcome, Ok(()), "{}, f64, {shape:?}: {stage:?}", case.name);
                let outcome = suite::check::<f32>(stage, shape);
                assert_eq!(outcome, Ok(()), "{}, f32, {shape:?}: {stage:?}", case.name);
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

/// A stage of which nothing is known lets a step take place beside the state; without it, most of these
/// steps take place in it.
#[test]
fn steps_in_place_give_the_bits_of_steps_beside_the_state() {
    fn run<A: Scalar + Serialize>(case: &Case, shape: (usize, usize)) {
        let chains = [case.chain.clone(), case.chain.clone().then(StageConfig::custom(Nothing))];
        let [mut given, mut beside] = chains.map(|chain| chain.build::<A>(shape).unwrap());
        let problem = case.problem::<A>(7, shape, 20.0);
        let (mut a, mut b) = (Array2::zeros(shape), Array2::zeros(shape));
        for step in 0..12 {
            let gradient = problem.gradient(&a);
            let signal = problem.signal(&gradient);
            let one = given.step(&mut a.view_mut(), &signal).unwrap();
            let other = beside.step(&mut b.view_mut(), &signal).unwrap();
            assert!(a == b, "{}, {}, step {step}", case.name, A::NAME);
            // Sums of the same squares in the same lanes, or magnified.
            let difference = (one.update_norm - other.update_norm).abs();
            assert!(difference <= 1e-14 * one.update_norm, "{}, step {step}", case.name);
        }
        // The states differ by the stage itself, which has none.
        let values = |optimizer: &Optimizer<A>| {
            let json = serde_json::to_value(optimizer.state()).unwrap();
            json["values"].to_string()
        };
        assert_eq!(values(&given), values(&beside), "{}", case.name);
    }
    for case in cases() {
        run::<f64>(&case, (6, 9));
        run::<f32>(&case, (9, 6));
    }
}

/// What a stage can get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
enum Fault {
    None,
    /// The state changes before the step has succeeded.
    Early,
    /// The state is not saved.
    Unsaved,
    /// A direction that is not finite.
    NotFinite,
    /// Nothing is built.
    NotBuilt,
}

/// A running sum of directions, with a fault.
#[derive(Clone, Debug, Serialize)]
struct Sum {
    fault: Fault,
}

#[derive(Debug)]
struct SumStage<A> {
    fault: Fault,
    sum: Array2<A>,
    next: Array2<A>,
    proposed: bool,
}

impl CustomStage for Sum {
    const NAME: &'static str = "sum";
    type Stage<A: Scalar> = SumStage<A>;

    fn build<A: Scalar>(&self, shape: (usize, usize)) -> Result<SumStage<A>> {
        if self.fault == Fault::NotBuilt {
            return Err(OptimError::EmptyShape { rows: shape.0, cols: shape.1 });
        }
        let (sum, next) = (Array2::zeros(shape), Array2::zeros(shape));
        Ok(SumStage { fault: self.fault, sum, next, proposed: false })
    }
}

impl<A: Scalar> Stage<A> for SumStage<A> {
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        self.next.assign(&self.sum);
        self.next.zip_mut_with(direction, |next, &d| *next += d);
        self.proposed = true;
        direction.assign(&self.next);
        match self.fault {
            Fault::Early => self.sum.assign(&self.next),
            Fault::NotFinite => direction[(0, 0)] = A::infinity(),
            _ => {}
        }
        Ok(())
    }

    fn observe(&mut self, _step: &Step<'_, A>) -> Result<Observation> {
        self.proposed = false;
        Ok(Observation::default())
    }

    fn commit(&mut self) {
        if self.proposed {
            self.sum.assign(&self.next);
        }
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        if self.fault != Fault::Unsaved {
            out.array("sum", self.sum.view());
        }
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        if self.fault == Fault::Unsaved { Ok(()) } else { from.array("sum", self.sum.view_mut()) }
    }
}

fn chain(fault: Fault) -> Chain {
    Chain::new(0.1).then(DiagonalConfig::default()).then(StageConfig::custom(Sum { fault }))
}

#[test]
fn a_stage_from_outside_keeps_its_promises_or_is_found_out() {
    let outcome = |fault| suite::check::<f64>(&StageConfig::custom(Sum { fault }), (3, 4));
    assert_eq!(outcome(Fault::None), Ok(()));
    let what = |fault| outcome(fault).unwrap_err().what;
    assert_eq!(what(Fault::Early), "a step that was refused has changed the state");
    assert_eq!(what(Fault::Unsaved), "a run that was saved and loaded goes another way");
    assert_eq!(
        what(Fault::NotFinite),
        "stage \"sum\": the direction that it made is not finite: entry (0, 0) is inf"
    );
    assert_eq!(what(Fault::NotBuilt), "stage \"sum\": a weight of 3 × 4 has no entries");
}

/// After a stage of ours, a sum of directions is momentum of updates with decay 1.
#[test]
fn a_stage_from_outside_is_a_stage_like_any() {
    let momentum = layerwise_optim::chain::HeavyBall::new(1.0);
    let ours = Chain::new(0.1)
        .then(DiagonalConfig::default())
        .then(layerwise_optim::Momentum::HeavyBall(momentum));
    let mut expected = Array2::<f32>::from_elem((3, 4), 0.5);
    let mut weight = expected.clone();
    let mut optimizer = chain(Fault::None).build::<f32>((3, 4)).unwrap();
    let mut by_ours = ours.build::<f32>((3, 4)).unwrap();
    for step in 0..8 {
        let gradient = Array2::from_shape_fn((3, 4), |(i, j)| ((step + 3 * i + j) as f32).sin());
        let signal = Signal::new(gradient.view());
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        by_ours.step(&mut expected.view_mut(), &signal).unwrap();
        assert_eq!(weight, expected);
    }
}

#[test]
fn a_state_keeps_the_name_and_the_hyperparameters_of_a_stage_from_outside() {
    let state = chain(Fault::None).build::<f64>((2, 3)).unwrap().state();
    let text = state.to_json().unwrap();
    let read = layerwise_optim::checkpoint::OptimizerState::<f64>::from_json(&text).unwrap();
    let error = Optimizer::from_state(&read).unwrap_err();
    assert_eq!(error, OptimError::StageWithoutRecipe { name: "sum".to_owned() });
    let mut same = chain(Fault::None).build::<f64>((2, 3)).unwrap();
    same.load(&read).unwrap();
    let mut other = chain(Fault::Early).build::<f64>((2, 3)).unwrap();
    let error = other.load(&read).unwrap_err();
    assert!(matches!(error, OptimError::StateMethod { .. }), "{error}");
    // Fewer stages are another method too.
    let mut shorter = Chain::new(0.1).then(DiagonalConfig::default()).build::<f64>((2, 3)).unwrap();
    let error = shorter.load(&read).unwrap_err();
    assert!(matches!(error, OptimError::StateMethod { .. }), "{error}");
}

/// A stage that asks to skip: it alone keeps what it observed.
#[test]
fn a_skipped_step_is_kept_by_the_stage_that_asks_for_it_alone() {
    let soap = layerwise_optim::Method::chain(&layerwise_optim::Soap::as_published());
    let mut optimizer = soap.build::<f64>((2, 3)).unwrap();
    let before = optimizer.state();
    let gradient = Array2::from_elem((2, 3), 1.0);
    let mut weight = Array2::zeros((2, 3));
    let report = optimizer.step(&mut weight.view_mut(), &gradient.view().into()).unwrap();
    assert!(report.skipped);
    let (before, after) = (before.to_json().unwrap(), optimizer.state().to_json().unwrap());
    let values = |text: &str| -> serde_json::Map<String, serde_json::Value> {
        let state: serde_json::Value = serde_json::from_str(text).unwrap();
        state["values"].as_object().unwrap().clone()
    };
    let (before, after) = (values(&before), values(&after));
    let changed: Vec<_> = before.iter().filter(|(name, value)| after[*name] != **value).collect();
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|(name, _)| name.starts_with("update.1.")), "{changed:?}");
}

/// Without hyperparameters: equal to itself all the same.
#[derive(Clone, Debug, Serialize)]
struct Nothing;

impl CustomStage for Nothing {
    const NAME: &'static str = "nothing";
    type Stage<A: Scalar> = Nothing;

    fn build<A: Scalar>(&self, _shape: (usize, usize)) -> Result<Nothing> {
        Ok(Nothing)
    }
}

impl<A: Scalar> Stage<A> for Nothing {
    fn apply(&mut self, _direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_stage_without_hyperparameters_resumes() {
    assert_eq!(suite::check::<f64>(&StageConfig::custom(Nothing), (2, 3)), Ok(()));
}

#[test]
fn optimizers_are_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Optimizer<f32>>();
    is_shared::<layerwise_optim::OptimizerSet<f64>>();
}

#[test]
fn what_has_no_place_among_the_stages_of_the_gradient_is_refused() {
    let partition =
        layerwise_optim::chain::Partition { max_dimension: Some(2), ..Default::default() };
    let sign = StageConfig::Sign(layerwise_optim::parity::SignScale::One);
    let blocks = sign.clone().in_parts(&partition);
    for chain in [
        Chain::new(0.1).on_gradient(blocks.clone()),
        Chain::new(0.1).then(blocks.clone().in_parts(&partition)),
        Chain::new(0.1).on_gradient(sign.grafted(Some(layerwise_optim::chain::Grafting::Sgd))),
    ] {
        let error = chain.build::<f64>((4, 4)).unwrap_err();
        assert!(matches!(error, OptimError::Incompatible { .. }), "{error}");
    }
    let grafted = blocks.grafted(Some(layerwise_optim::chain::Grafting::Sgd));
    let optimizer = Chain::new(0.1).then(grafted).build::<f64>((4, 4)).unwrap();
    assert_eq!(optimizer.blocks(), 4);
}

/// Notes what it is shown, and can ask to skip the step.
#[derive(Clone, Debug, Serialize)]
struct Witness {
    skips: bool,
    #[serde(skip)]
    saw_nan: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl CustomStage for Witness {
    const NAME: &'static str = "witness";
    type Stage<A: Scalar> = Witness;

    fn build<A: Scalar>(&self, _shape: (usize, usize)) -> Result<Witness> {
        Ok(self.clone())
    }
}

impl<A: Scalar> Stage<A> for Witness {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        if !step.gradient().iter().all(|x| x.is_finite()) {
            self.saw_nan.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        let mut observation = Observation::default();
        observation.skip = self.skips;
        Ok(observation)
    }

    fn apply(&mut self, _direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        Ok(())
    }
}

/// Whether the step goes in one loop or not.
#[test]
fn no_stage_is_shown_a_gradient_that_is_refused() {
    for chain in [Chain::new(0.1), Chain::new(0.1).then(StageConfig::NormalizeRms)] {
        let witness = Witness { skips: false, saw_nan: Default::default() };
        let chain = chain.on_gradient(StageConfig::custom(witness.clone()));
        let mut optimizer = chain.build::<f64>((1, 2)).unwrap();
        let gradient = Array2::from_elem((1, 2), f64::NAN);
        let mut weight = Array2::zeros((1, 2));
        let error = optimizer.step(&mut weight.view_mut(), &gradient.view().into()).unwrap_err();
        assert!(matches!(error, OptimError::NonFinite { what: "gradient", .. }), "{error}");
        assert!(!witness.saw_nan.load(std::sync::atomic::Ordering::Relaxed));
    }
}

#[test]
fn a_stage_of_the_gradient_cannot_skip_a_step() {
    let witness = Witness { skips: true, saw_nan: Default::default() };
    let chain = Chain::new(0.1).on_gradient(StageConfig::custom(witness));
    let mut optimizer = chain.build::<f64>((1, 2)).unwrap();
    let gradient = Array2::from_elem((1, 2), 1.0);
    let mut weight = Array2::zeros((1, 2));
    let error = optimizer.step(&mut weight.view_mut(), &gradient.view().into()).unwrap_err();
    assert!(
        error.to_string().starts_with("a stage that skips steps cannot be combined"),
        "{error}"
    );
}

/// JSON has no keys but texts.
#[derive(Serialize)]
struct Nameless {
    values: std::collections::BTreeMap<(u8, u8), f64>,
}

impl CustomStage for Nameless {
    const NAME: &'static str = "nameless";
    type Stage<A: Scalar> = Nothing;

    fn build<A: Scalar>(&self, _shape: (usize, usize)) -> Result<Nothing> {
        Ok(Nothing)
    }
}

#[test]
fn hyperparameters_that_a_state_could_not_name_are_refused() {
    let values = [((0, 1), 2.0)].into();
    let chain = Chain::new(0.1).then(StageConfig::custom(Nameless { values }));
    let error = chain.build::<f64>((1, 2)).unwrap_err().to_string();
    assert!(error.starts_with("stage \"nameless\": ") && error.contains("JSON"), "{error}");
}
