//! States: a resumed run is the uninterrupted one, and what does not fit is refused by name.

use crate::common::{Case, Quadratic, cases};
use layerwise_optim::checkpoint::{OptimizerSetState, OptimizerState, STATE_VERSION};
use layerwise_optim::ndarray::Array2;
use layerwise_optim::{
    Adam, AdamW, Group, Kfac, Method, OptimError, Optimizer, OptimizerSet, Scalar, Schedule,
    Selector, Sgd, Shampoo, Signals, Soap, Update,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn bits<A: Scalar>(array: &Array2<A>) -> Vec<u64> {
    array.iter().map(|x| x.as_f64().to_bits()).collect()
}

fn step<A: Scalar>(
    optimizer: &mut Optimizer<A>,
    problem: &Quadratic<A>,
    weight: &mut Array2<A>,
) -> layerwise_optim::StepReport {
    let gradient = problem.gradient(weight);
    optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap()
}

fn resumes<A: Scalar + Serialize + DeserializeOwned>(case: &Case, shape: (usize, usize)) {
    // Enough that methods with rare refreshes are interrupted between two of them.
    const STEPS: usize = 14;
    let problem = case.problem::<A>(50, shape, 30.0);
    let mut expected = Array2::<A>::zeros(shape);
    let mut optimizer = case.chain.build::<A>(shape).unwrap();
    let mut saved = vec![(optimizer.state(), expected.clone())];
    let mut reports = Vec::new();
    for _ in 0..STEPS {
        reports.push(step(&mut optimizer, &problem, &mut expected));
        saved.push((optimizer.state(), expected.clone()));
    }
    for (taken, (state, mut weight)) in saved.into_iter().enumerate() {
        let text = state.to_json().unwrap();
        let read = OptimizerState::<A>::from_json(&text).unwrap();
        assert_eq!(read, state, "{}", case.name);
        assert_eq!(read.steps(), taken as u64);
        // Into an optimizer that has a past of its own.
        let mut resumed = case.chain.build::<A>(shape).unwrap();
        step(&mut resumed, &problem, &mut weight.clone());
        resumed.load(&read).unwrap();
        assert_eq!(resumed.state(), state, "{}", case.name);
        for expected in &reports[taken..] {
            let report = step(&mut resumed, &problem, &mut weight);
            assert_eq!(&report, expected, "{}, {} steps before", case.name, taken);
        }
        assert_eq!(bits(&weight), bits(&expected), "{}, {}, step {taken}", case.name, A::NAME);
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    for case in cases() {
        for shape in [(5, 4), (3, 6), (1, 4)] {
            resumes::<f64>(&case, shape);
            resumes::<f32>(&case, shape);
        }
    }
}

#[test]
fn an_optimizer_can_be_made_of_its_state() {
    for case in cases() {
        let problem = case.problem::<f64>(51, (4, 5), 30.0);
        let mut weight = Array2::zeros((4, 5));
        let mut optimizer = case.chain.build((4, 5)).unwrap();
        step(&mut optimizer, &problem, &mut weight);
        let mut same = Optimizer::from_state(&optimizer.state()).unwrap();
        assert_eq!(same.chain(), optimizer.chain());
        let mut other = weight.clone();
        step(&mut optimizer, &problem, &mut weight);
        step(&mut same, &problem, &mut other);
        assert_eq!(bits(&weight), bits(&other), "{}", case.name);
    }
}

/// The name of a function is saved, and the function is the resumed program's own.
#[test]
fn a_named_schedule_is_resumed_by_its_name() {
    let method = |name: &str| Sgd {
        learning_rate: Schedule::named(name, |step| 0.1 / (step + 1) as f64),
        momentum: Schedule::linear(0.5, 0.9, 4),
        ..Sgd::default()
    };
    let problem = Quadratic::<f64>::new(53, (3, 4), 10.0);
    let mut weight = Array2::zeros((3, 4));
    let mut optimizer = method("mine").build((3, 4)).unwrap();
    for _ in 0..3 {
        step(&mut optimizer, &problem, &mut weight);
    }
    let state = OptimizerState::from_json(&optimizer.state().to_json().unwrap()).unwrap();
    let mut resumed = method("mine").build((3, 4)).unwrap();
    resumed.load(&state).unwrap();
    let mut same = weight.clone();
    for _ in 0..3 {
        let report = step(&mut resumed, &problem, &mut same);
        assert_eq!(report.learning_rate, 0.1 / report.step as f64);
        step(&mut optimizer, &problem, &mut weight);
    }
    assert_eq!(bits(&weight), bits(&same));

    let error = method("theirs").build((3, 4)).unwrap().load(&state).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state is of another method: chain.learning_rate.Named is \"mine\", expected \
         \"theirs\""
    );
    // Nothing can be made of the name alone.
    let error = Optimizer::from_state(&state).unwrap_err();
    assert!(error.to_string().contains("mine"), "{error}");
}

/// A state of every method that has been used, edited as JSON and loaded.
fn edited(case: &Case, edit: impl Fn(&mut Value)) -> Result<(), OptimError> {
    let problem = case.problem::<f64>(52, (3, 4), 30.0);
    let mut weight = Array2::zeros((3, 4));
    let mut optimizer = case.chain.build((3, 4)).unwrap();
    for _ in 0..3 {
        step(&mut optimizer, &problem, &mut weight);
    }
    let mut value: Value = serde_json::from_str(&optimizer.state().to_json().unwrap()).unwrap();
    step(&mut optimizer, &problem, &mut weight);
    let before = optimizer.state();
    edit(&mut value);
    let result = OptimizerState::from_json(&value.to_string())
        .and_then(|state: OptimizerState<f64>| optimizer.load(&state));
    if result.is_err() {
        assert_eq!(optimizer.state(), before, "{}: a refused state has changed it", case.name);
    }
    result
}

type Spoil = fn(&mut Vec<Value>);

#[test]
fn each_value_of_a_state_is_needed_and_checked() {
    let mut spoiled = 0;
    for case in cases() {
        edited(&case, |_| ()).unwrap();
        let names = {
            let problem = case.problem::<f64>(52, (3, 4), 30.0);
            let mut optimizer = case.chain.build((3, 4)).unwrap();
            step(&mut optimizer, &problem, &mut Array2::zeros((3, 4)));
            let text = optimizer.state().to_json().unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            value["values"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        for name in names {
            let error = edited(&case, |state| {
                state["values"].as_object_mut().unwrap().remove(&name);
            })
            .unwrap_err();
            assert_eq!(error.to_string(), format!("value {name:?} of the state is missing"));
            let error = edited(&case, |state| {
                let value = &mut state["values"][&name];
                *value = if value.get("Flag").is_some() {
                    serde_json::json!({ "Number": 0.5 })
                } else {
                    serde_json::json!({ "Flag": true })
                };
            })
            .unwrap_err();
            assert!(error.to_string().contains(" is not a"), "{error}");
            let is_count = std::cell::Cell::new(false);
            let result = edited(&case, |state| {
                if let Some(count) = state["values"][&name].get_mut("Count") {
                    *count = u64::MAX.into();
                    is_count.set(true);
                }
            });
            assert_eq!(result.is_err(), is_count.get(), "{name}");
            if let Err(error) = result {
                let expected = format!("value {name:?} of the state is too large a count");
                assert_eq!(error.to_string(), expected);
            }
            // What no run leaves, though it is of the right kind and shape.
            let spoils: [(&[&str], Spoil, &str); 3] = [
                (&[".moments", ".largest"], |x| x[1] = (-1e-3).into(), "has a negative entry"),
                (&[".average", ".root"], |x| x[1] = 1e9.into(), "is not symmetric"),
                (
                    &[".basis", ".vectors"],
                    |x| x.fill(0.25.into()),
                    "has columns that are not orthonormal",
                ),
            ];
            for (endings, spoil, problem) in spoils {
                if endings.iter().any(|ending| name.ends_with(ending)) {
                    let result = edited(&case, |state| {
                        let entries = &mut state["values"][&name]["Array"]["entries"];
                        spoil(entries.as_array_mut().unwrap());
                    });
                    let expected = format!("value {name:?} of the state {problem}");
                    assert_eq!(result.unwrap_err().to_string(), expected, "{}", case.name);
                    spoiled += 1;
                }
            }
            if name.ends_with(".decay") {
                let error = edited(&case, |state| {
                    state["values"][&name]["Number"] = (-3.5).into();
                });
                let expected = format!("value {name:?} of the state is not in [0, 1]");
                assert_eq!(error.unwrap_err().to_string(), expected);
                spoiled += 1;
            }
            let is_array = std::cell::Cell::new(false);
            let result = edited(&case, |state| {
                if let Some(entry) = state["values"][&name].get_mut("Array") {
                    entry["rows"] = 17.into();
                    is_array.set(true);
                }
            });
            assert_eq!(result.is_err(), is_array.get(), "{name}");
            if let Err(error) = result {
                let expected = format!("value {name:?} of the state is of another shape");
                assert_eq!(error.to_string(), expected);
            }
        }
        let error = edited(&case, |state| state["steps"] = u64::MAX.into()).unwrap_err();
        assert_eq!(error.to_string(), "value \"steps\" of the state is too large a count");
        let error = edited(&case, |state| {
            state["values"]["state.surprise"] = serde_json::json!({ "Count": 1 });
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "value \"state.surprise\" of the state is not known");
    }
    assert!(spoiled > 100, "{spoiled}");
}

#[test]
fn a_state_of_something_else_is_refused_by_name() {
    let adam = |rate: f64| Adam { learning_rate: rate.into(), ..Adam::default() };
    let state = adam(0.25).build::<f64>((3, 4)).unwrap().state();

    let mut other = adam(0.25).build::<f64>((4, 3)).unwrap();
    let error = other.load(&state).unwrap_err();
    assert_eq!(error, OptimError::StateShape { expected: (4, 3), found: (3, 4) });
    assert_eq!(error.to_string(), "the state is of a weight of 3 × 4, expected 4 × 3");

    let mut other = adam(0.5).build::<f64>((3, 4)).unwrap();
    let error = other.load(&state).unwrap_err();
    assert_eq!(
        error,
        OptimError::StateMethod {
            path: "chain.learning_rate.Constant".to_owned(),
            expected: "0.5".to_owned(),
            found: "0.25".to_owned(),
        }
    );
    for mut other in [
        Sgd::default().build::<f64>((3, 4)).unwrap(),
        Shampoo::stylised().build((3, 4)).unwrap(),
        Soap::default().build((3, 4)).unwrap(),
        Kfac::stylised().build((3, 4)).unwrap(),
    ] {
        let error = other.load(&state).unwrap_err();
        assert!(matches!(error, OptimError::StateMethod { .. }), "{error:?}");
        assert!(error.to_string().starts_with("the state is of another method: chain."));
    }

    // The type is named in the text, whichever it is read as.
    let text = state.to_json().unwrap();
    let read = OptimizerState::<f32>::from_json(&text).unwrap();
    let error = adam(0.25).build::<f32>((3, 4)).unwrap().load(&read).unwrap_err();
    assert_eq!(error.to_string(), "the state is of type f64, expected f32");
    assert!(matches!(
        Optimizer::from_state(&read).unwrap_err(),
        OptimError::StateScalar { expected: "f32", .. }
    ));

    let newer = format!("{{\"version\":{},\"anything\":[1]}}", STATE_VERSION + 1);
    let error = OptimizerState::<f64>::from_json(&newer).unwrap_err();
    let found = STATE_VERSION + 1;
    assert_eq!(error, OptimError::StateVersion { expected: STATE_VERSION, found });
    assert_eq!(
        error.to_string(),
        format!("the state has layout version {found}, expected {STATE_VERSION}")
    );
    // Read by serde alone, the version is checked when the state is loaded.
    let text = text.replacen("\"version\":2", "\"version\":9", 1);
    let read: OptimizerState<f64> = serde_json::from_str(&text).unwrap();
    let error = adam(0.25).build((3, 4)).unwrap().load(&read).unwrap_err();
    assert!(matches!(error, OptimError::StateVersion { found: 9, .. }));

    for text in ["", "{}", "[1, 2]", &text[..text.len() / 2]] {
        let error = OptimizerState::<f64>::from_json(text).unwrap_err();
        assert!(error.to_string().starts_with("not a state: "), "{error}");
    }
    assert!(OptimizerSetState::<f64>::from_json("{}").is_err());
}

/// Values that decimal digits of a usual length would not keep.
#[test]
fn numbers_survive_json_in_every_bit() {
    let extremes = [f64::MIN_POSITIVE, 5e-324, 1.0 / 3.0, -0.0, 0.1 + 0.2, 1e300 / 3.0, 2.0 / 3e-9];
    let problem = |x: f64| Array2::from_elem((2, 3), x);
    for x in extremes {
        let method = Sgd { learning_rate: 0.0.into(), momentum: 0.9.into(), ..Sgd::default() };
        let mut optimizer = method.build::<f64>((2, 3)).unwrap();
        let gradient = problem(x);
        let signal = layerwise_optim::Signal::new(gradient.view());
        optimizer.step(&mut problem(1.0).view_mut(), &signal).unwrap();
        let text = optimizer.state().to_json().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let entry = &value["values"]["update.0.momentum.buffer"]["Array"]["entries"][5];
        assert_eq!(entry.as_f64().unwrap().to_bits(), x.to_bits());
        let read = OptimizerState::<f64>::from_json(&text).unwrap();
        assert_eq!(read.to_json().unwrap(), text);
    }
}

fn set() -> OptimizerSet<f64> {
    let mut set = OptimizerSet::new(vec![
        Group::new(Selector::Matrices, &Soap::default()),
        Group::new(Selector::All, &AdamW::default()),
    ]);
    set.register("weight", (4, 3), Signals::GRADIENT).unwrap();
    set.register("bias", (1, 4), Signals::GRADIENT).unwrap();
    set
}

fn step_set(set: &mut OptimizerSet<f64>, weight: &mut Array2<f64>, bias: &mut Array2<f64>) {
    let (a, b) = (weight.mapv(|x| x - 0.3), bias.mapv(|x| x + 0.2));
    set.step(&mut [
        Update::new("weight", weight.view_mut(), layerwise_optim::Signal::new(a.view())),
        Update::new("bias", bias.view_mut(), layerwise_optim::Signal::new(b.view())),
    ])
    .unwrap();
}

#[test]
fn a_set_resumes_as_a_whole() {
    let mut weight = Array2::from_shape_fn((4, 3), |(i, j)| (i * i + 2 * j) as f64 * 0.1);
    let mut bias = Array2::from_shape_fn((1, 4), |(_, j)| j as f64);
    let mut first = set();
    for _ in 0..3 {
        step_set(&mut first, &mut weight, &mut bias);
    }
    let text = first.state().to_json().unwrap();
    let state = OptimizerSetState::from_json(&text).unwrap();
    assert_eq!(state, first.state());
    assert_eq!(state.names().collect::<Vec<_>>(), ["bias", "weight"]);
    assert_eq!(state.parameter("weight").unwrap().steps(), 3);
    let mut second = set();
    second.load(&state).unwrap();
    let (mut weight_2, mut bias_2) = (weight.clone(), bias.clone());
    for _ in 0..12 {
        step_set(&mut first, &mut weight, &mut bias);
        step_set(&mut second, &mut weight_2, &mut bias_2);
    }
    assert_eq!((bits(&weight), bits(&bias)), (bits(&weight_2), bits(&bias_2)));

    // A set that has more, less, or another parameter.
    let before = second.state();
    let mut more = set();
    more.register("gain", (1, 4), Signals::GRADIENT).unwrap();
    let error = more.load(&state).unwrap_err();
    assert_eq!(error.to_string(), "the state has no parameter \"gain\"");
    let error = second.load(&more.state()).unwrap_err();
    assert_eq!(error, OptimError::UnknownParameter { name: "gain".to_owned() });
    let mut other = OptimizerSet::new(vec![Group::new(Selector::All, &AdamW::default())]);
    other.register("bias", (1, 4), Signals::GRADIENT).unwrap();
    other.register("weight", (4, 3), Signals::GRADIENT).unwrap();
    let error = second.load(&other.state()).unwrap_err();
    assert!(error.to_string().starts_with("parameter \"weight\": the state is of another method"));
    assert_eq!(second.state(), before);
}

/// Numbers that are finite, and that no run leaves.
#[test]
fn numbers_out_of_their_range_are_refused() {
    let damped =
        Kfac { damping_adaptation: Some(Default::default()), ..Default::default() }.chain();
    let averaged = |power| layerwise_optim::Chain {
        weight_averaging: Some(layerwise_optim::chain::WeightAveraging::ScheduleFree {
            train: 0.9.into(),
            power,
        }),
        ..Sgd::default().chain()
    };
    for (chain, name, value, problem) in [
        (damped, "damping.factor", -1.0, "is not > 0"),
        (averaged(0.0), "weight_averaging.numbers.train", 0.0, "is not in (0, 1]"),
        (averaged(2.0), "weight_averaging.numbers.rates", -0.5, "is negative"),
    ] {
        let text = chain.build::<f64>((2, 3)).unwrap().state().to_json().unwrap();
        let mut state: Value = serde_json::from_str(&text).unwrap();
        assert!(state["values"][name]["Number"].is_number(), "{name}");
        state["values"][name]["Number"] = value.into();
        let read = OptimizerState::<f64>::from_json(&state.to_string()).unwrap();
        let error = chain.build::<f64>((2, 3)).unwrap().load(&read).unwrap_err().to_string();
        assert_eq!(error, format!("value {name:?} of the state {problem}"));
    }
}
