//! A training step allocates nothing once it has warmed up.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Counter;

use layerwise_data::{Basis, Features, Law, Spectrum, Streams, haar};
use layerwise_experiments::linear::{LinearMethod, LinearSetting, StepData};
use layerwise_experiments::ndarray::Array2;
use layerwise_models::TwoLayerLinear;

/// The figures' dimensions.
const INPUTS: usize = 100;
const OUTPUTS: usize = 15;
const RANK: usize = 8;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Counter<usize> = const { Counter::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const METHODS: [&str; 11] = [
    "SGD",
    "momentum",
    "Adam",
    "AMGD",
    "AMGD+BN",
    "NGD (Gauss-Newton)",
    "NGD (empirical Fisher)",
    "Shampoo",
    "SOAP",
    "Muon",
    "KFAC",
];

fn damping(method: &str) -> Option<f64> {
    (method.starts_with("NGD") || method == "KFAC").then_some(1e-3)
}

/// How often drawing a batch and stepping on it allocates, in `steps` steps after two.
fn allocations(method: &str, law: Law, basis: Basis, samples: usize, steps: usize) -> usize {
    let setting = LinearSetting {
        inputs: INPUTS,
        outputs: OUTPUTS,
        rank: RANK,
        spectrum: Spectrum::LogSpaced { condition: 100.0 },
        basis,
        law,
        features: Features::Haar,
        head_condition: 4.0,
        noise: 0.1,
        samples,
        iterations: steps,
        transfer: None,
        target_distance: None,
        recorded: 100,
    };
    let mut rng = Streams::new(1).stream("allocations", "steps", 0);
    let task = setting.task_spec().draw(&mut rng).unwrap();
    let representation = haar(INPUTS, RANK, &mut rng).unwrap().reversed_axes();
    let head = Array2::from_shape_fn((OUTPUTS, RANK), |(i, j)| ((3 * i + 7 * j) as f64).sin());
    let mut net = TwoLayerLinear::new(head, representation).unwrap();
    let method = LinearMethod::of_figures(method, 1e-3, damping(method)).unwrap();
    let mut algorithm = method.algorithm(setting.shape(), samples).unwrap();
    let mut data = StepData::new(INPUTS, OUTPUTS, samples, algorithm.needs());
    let mut before = 0;
    for step in 0..2 + steps {
        if step == 2 {
            before = COUNT.get();
        }
        data.draw(&task, &mut rng).unwrap();
        algorithm.step(&mut net, &data).unwrap();
    }
    COUNT.get() - before
}

#[test]
fn a_warmed_up_training_step_allocates_nothing() {
    for method in METHODS {
        for (law, basis) in [
            (Law::Gaussian, Basis::Haar),
            (Law::Gaussian, Basis::Axis),
            (Law::Signs, Basis::Haar),
            (Law::Signs, Basis::Axis),
        ] {
            // More than ten steps: SOAP's bases are computed anew at every tenth.
            let count = allocations(method, law, basis, 256, 12);
            assert_eq!(count, 0, "{method}, {law:?}, {basis:?}");
        }
    }
    // The counter does count.
    let before = COUNT.get();
    drop(StepData::new(3, 2, 4, layerwise_experiments::linear::Needs::default()));
    assert!(COUNT.get() > before);
}
