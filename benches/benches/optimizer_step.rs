//! One step of each optimizer on one weight matrix, beside the products, solves and decompositions
//! that the method cannot do without.
//!
//! `optimizer_step/…` and `unavoidable_calls/…` have the same names below. What is `large` (1024²)
//! stands in groups of its own, so that a filter leaves it out: `cargo xtask bench
//! optimizer_step/`.
#![expect(clippy::unwrap_used, reason = "a benchmark whose step fails has nothing to measure")]

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use layerwise_benches::{Calls, Layer, criterion, methods, unavoidable_calls};
use layerwise_linalg::Scalar;
use layerwise_linalg::ndarray::Array2;
use layerwise_optim::Chain;

fn optimizers<A: Scalar>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    n: usize,
    methods: Vec<(&'static str, Chain)>,
) {
    let layer = Layer::<A>::new(n).unwrap();
    for (name, chain) in methods {
        let mut weight = Array2::<A>::zeros((n, n));
        let mut optimizer = chain.build::<A>((n, n)).unwrap();
        let mut step = 0;
        // The first step initializes, and is a refreshing one.
        let mut next = || {
            optimizer.step(&mut weight.view_mut(), &layer.signal(step)).unwrap();
            step += 1;
        };
        next();
        next();
        group.bench_function(name, |b| b.iter(&mut next));
    }
}

fn unavoidable<A: Scalar>(group: &mut BenchmarkGroup<'_, WallTime>, n: usize) {
    let mut operands = Calls::<A>::new(n).unwrap();
    for (name, calls) in unavoidable_calls() {
        group.bench_function(name, |b| b.iter(|| calls(&mut operands).unwrap()));
    }
}

fn size_256(c: &mut Criterion) {
    optimizers::<f32>(&mut c.benchmark_group("optimizer_step/f32/256"), 256, methods());
    optimizers::<f64>(&mut c.benchmark_group("optimizer_step/f64/256"), 256, methods());
    unavoidable::<f32>(&mut c.benchmark_group("unavoidable_calls/f32/256"), 256);
    unavoidable::<f64>(&mut c.benchmark_group("unavoidable_calls/f64/256"), 256);
}

fn size_1024(c: &mut Criterion) {
    let mut group = c.benchmark_group("optimizer_step_large/f32/1024");
    group.sample_size(10);
    optimizers::<f32>(&mut group, 1024, methods());
    group.finish();
    let mut group = c.benchmark_group("unavoidable_calls_large/f32/1024");
    group.sample_size(10);
    unavoidable::<f32>(&mut group, 1024);
}

fn main() {
    let mut criterion = criterion().configure_from_args();
    size_256(&mut criterion);
    size_1024(&mut criterion);
    criterion.final_summary();
}
