//! A warmed-up draw does not allocate.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
#![expect(clippy::unwrap_used, reason = "a call that fails is a test that fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use layerwise_data::ndarray::Array1;
use layerwise_data::{
    Basis, Batch, Law, LinearTaskSpec, Link, Moments, SingleIndexTask, Spectrum, Streams, Task,
};

/// Counts each thread's allocations.
struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards every call, arguments and all, to the system's allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// How often drawing allocates after two draws.
fn allocations<T: Task>(task: &T, n: usize) -> usize {
    let mut rng = Streams::new(1).stream("allocations", "draws", 0);
    let (d_x, d_y) = (task.input_dimension(), task.output_dimension());
    let mut moments = Moments::with_dimensions(d_x, d_y);
    let mut of_batch = Moments::with_dimensions(d_x, d_y);
    let mut batch = Batch::with_dimensions(d_x, d_y);
    let scale = Array1::from_elem(d_x, 2.0);
    let mut before = 0;
    for round in 0..12 {
        if round == 2 {
            before = ALLOCATIONS.get();
        }
        task.draw_moments(n, &mut rng, &mut moments).unwrap();
        task.draw_batch(n, &mut rng, &mut batch).unwrap();
        of_batch.set_from_batch(&batch).unwrap();
        moments.scale_inputs_into(scale.view(), &mut of_batch).unwrap();
    }
    ALLOCATIONS.get() - before
}

#[test]
fn warmed_up_draws_do_not_allocate() {
    let mut rng = Streams::new(1).stream("allocations", "tasks", 0);
    for (d_x, d_y, k) in [(100, 15, 8), (3, 2, 1)] {
        for law in [Law::Gaussian, Law::Signs, Law::Interval] {
            for basis in [Basis::Haar, Basis::Axis] {
                let spec = LinearTaskSpec {
                    input_dimension: d_x,
                    output_dimension: d_y,
                    rank: k,
                    spectrum: Spectrum::LogSpaced { condition: 1e4 },
                    basis,
                    law,
                    head_condition: 10.0,
                    noise: 0.1,
                };
                let task = spec.draw(&mut rng).unwrap();
                for n in [1024, 250, 2] {
                    assert_eq!(allocations(&task, n), 0, "{law:?} {basis:?} {d_x} {n}");
                }
                let covariates = task.covariates().clone();
                let single = SingleIndexTask::draw(Link::Tanh, covariates, 0.1, &mut rng).unwrap();
                assert_eq!(allocations(&single, 100), 0, "{law:?} {basis:?} {d_x}");
            }
        }
    }
    // The counter does count.
    assert_ne!(ALLOCATIONS.get(), 0);
}
