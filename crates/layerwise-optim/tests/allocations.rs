//! A step allocates nothing once it has seen each kind of signal, and an optimizer holds what it
//! says.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]
#![expect(unsafe_code, reason = "an allocator that counts has to implement an unsafe trait")]

#[path = "it/common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{Quadratic, cases};
use layerwise_optim::ndarray::{Array2, s};
use layerwise_optim::{
    Adam, Factor, Group, Kfac, Method, Muon, OptimizerSet, Scalar, Selector, Signal, Signals,
    Update,
};

struct CountingAllocator;

thread_local! {
    /// Allocations made, and bytes not yet freed, by this thread; the most of these so far.
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    if bytes > 0 {
        CALLS.set(CALLS.get() + 1);
    }
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: memory comes from and goes to the system's allocator; counting touches none of it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn allocations<A: Scalar>(shape: (usize, usize)) {
    for case in cases().iter().filter(|case| !case.has_staleness()) {
        let problem = case.problem::<A>(40, shape, 10.0);
        let mut weight = Array2::<A>::zeros(shape);
        let gradient = problem.gradient(&weight);
        let signal = problem.signal(&gradient);
        let mut optimizer = case.chain.build(shape).unwrap();
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        // A second step, for those whose first step only collects statistics.
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        let before = CALLS.get();
        for _ in 0..24 {
            optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        }
        assert_eq!(CALLS.get() - before, 0, "{}, {shape:?}, {}", case.name, A::NAME);
    }
}

#[test]
fn a_warmed_up_step_allocates_nothing() {
    for shape in [(8, 100), (24, 16), (1, 30), (30, 1)] {
        allocations::<f64>(shape);
        allocations::<f32>(shape);
    }
}

/// Samples come in batches of one size, and of another at the end of an epoch.
#[test]
fn batches_of_changing_size_allocate_nothing() {
    let shape = (6, 9);
    let problem = Quadratic::<f64>::new(42, shape, 10.0).sampled(true);
    let (outputs, inputs) = problem.samples.as_ref().unwrap();
    let gradient = problem.gradient(&Array2::zeros(shape));
    let full = problem.signal(&gradient);
    let last = Signal::new(gradient.view())
        .with_output(Factor::Samples(outputs.slice(s![..-1, ..])))
        .with_input(Factor::Samples(inputs.slice(s![..-1, ..])));
    for case in cases().iter().filter(|case| !case.has_staleness()) {
        let mut weight = Array2::<f64>::zeros(shape);
        let mut optimizer = case.chain.build(shape).unwrap();
        for _ in 0..2 {
            optimizer.step(&mut weight.view_mut(), &full).unwrap();
        }
        let before = CALLS.get();
        for signal in [last, full, full, last, last, full] {
            optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        }
        assert_eq!(CALLS.get() - before, 0, "{}", case.name);
    }
}

#[test]
fn a_warmed_up_step_of_a_set_allocates_nothing() {
    for case in cases().iter().filter(|case| !case.has_staleness()) {
        let problem = case.problem::<f64>(41, (6, 9), 10.0);
        let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &case.chain)]);
        set.register("first", (6, 9), Signals::ALL).unwrap();
        set.register("second", (6, 9), Signals::ALL).unwrap();
        let mut weights = (Array2::<f64>::zeros((6, 9)), Array2::<f64>::zeros((6, 9)));
        let gradient = problem.gradient(&weights.0);
        let mut before = 0;
        for step in 0..14 {
            if step == 2 {
                before = CALLS.get();
            }
            let signal = problem.signal(&gradient);
            set.step(&mut [
                Update::new("first", weights.0.view_mut(), signal),
                Update::new("second", weights.1.view_mut(), signal),
            ])
            .unwrap();
        }
        assert_eq!(CALLS.get() - before, 0, "{}", case.name);
    }
}

/// Weights large enough that threads are used: none of them allocates, inside of their pool.
#[test]
fn a_parallel_step_of_a_set_allocates_nothing() {
    layerwise_linalg::set_backend_threads(1);
    let shape = (96, 130);
    let gradient = Array2::<f64>::from_shape_fn(shape, |(i, j)| ((7 * i + 3 * j) as f64).sin());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &Muon::default())]);
    for name in ["a", "b", "c"] {
        set.register(name, shape, Signals::GRADIENT).unwrap();
    }
    let mut weights = [(); 3].map(|()| Array2::<f64>::zeros(shape));
    let mut run = |steps: usize| {
        pool.install(|| {
            for _ in 0..steps {
                let [a, b, c] = &mut weights;
                set.step(&mut [
                    Update::new("a", a.view_mut(), gradient.view()),
                    Update::new("b", b.view_mut(), gradient.view()),
                    Update::new("c", c.view_mut(), gradient.view()),
                ])
                .unwrap();
            }
        });
    };
    // Threads set themselves up as they first get work, which a busy machine may give to others.
    pool.broadcast(|_| {
        let mut optimizer = Muon::default().build::<f64>(shape).unwrap();
        let mut weight = Array2::zeros(shape);
        optimizer.step(&mut weight.view_mut(), &gradient.view().into()).unwrap();
    });
    run(30);
    let calls = || pool.broadcast(|_| CALLS.get()).iter().sum::<usize>();
    let before = calls();
    run(30);
    assert_eq!(calls() - before, 0);
}

#[test]
fn memory_is_what_is_stated() {
    for shape in [(24, 40), (64, 32)] {
        for case in cases() {
            let before = HELD.get();
            let optimizer = case.chain.build::<f64>(shape).unwrap();
            let held = (HELD.get() - before) as f64;
            let stated = optimizer.memory_bytes() as f64;
            // Beside the arrays there are the chain, and for each block its configuration,
            // the structs and the decompositions' vectors: less than 16 KB and a tenth. The statement must not
            // exceed what is held.
            let overhead = 16384.0 * optimizer.blocks() as f64;
            assert!(
                stated <= held && held <= 1.1 * stated + overhead,
                "{}, {shape:?}: {held} bytes held, {stated} stated",
                case.name
            );
        }
    }
}

/// The most bytes held at a time by what `run` allocates.
fn peak(run: impl FnOnce()) -> isize {
    let before = HELD.get();
    PEAK.set(before);
    run();
    PEAK.get() - before
}

#[test]
fn a_checkpoint_takes_no_copy_of_the_state() {
    // Entries of a chunk, and headers: 512 KB and some KB for each parameter.
    const CONSTANT: isize = 1 << 20;
    let path = std::env::temp_dir().join(format!("allocations-{}", std::process::id()));
    let shape = (768, 512);
    let array = (shape.0 * shape.1 * size_of::<f64>()) as isize;
    for method in [Adam::default().chain(), Kfac::stylised().chain()] {
        let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &method)]);
        for name in ["a", "b", "c"] {
            set.register(name, shape, Signals::ALL).unwrap();
        }
        let saving = peak(|| set.save_file(&path).unwrap());
        assert!(std::fs::metadata(&path).unwrap().len() as isize > 4 * array);
        assert!(saving < CONSTANT, "{saving} bytes to save");
        // One parameter's optimizer at a time, and the factor that a Cholesky decomposition is set to.
        let one = set.optimizer("a").unwrap().memory_bytes() as isize;
        let loading = peak(|| set.load_file(&path).unwrap());
        assert!(
            loading < one + one / 10 + array + CONSTANT,
            "{loading} bytes to load, {one} for one"
        );
    }
    std::fs::remove_file(path).unwrap();
}
