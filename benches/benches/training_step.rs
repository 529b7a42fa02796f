//! One training step of each method at figure 1's size, with a fresh batch at each step.
#![expect(clippy::unwrap_used, reason = "a benchmark whose step fails has nothing to measure")]

use criterion::Criterion;
use layerwise_benches::{Problem, criterion};
use layerwise_data::Law;

const SAMPLES: usize = 1024;

/// The methods of the figures, by their names in benchmarks and there.
const METHODS: [(&str, &str); 11] = [
    ("sgd", "SGD"),
    ("momentum", "momentum"),
    ("adam", "Adam"),
    ("amgd", "AMGD"),
    ("amgd_batch_norm", "AMGD+BN"),
    ("ngd_gauss_newton", "NGD (Gauss-Newton)"),
    ("ngd_empirical_fisher", "NGD (empirical Fisher)"),
    ("shampoo", "Shampoo"),
    ("soap", "SOAP"),
    ("muon", "Muon"),
    ("kfac", "KFAC"),
];

/// Every method, on moments where it can: the empirical Fisher matrix needs samples in any case.
fn methods(c: &mut Criterion) {
    for (source, law) in [("exact_moments", Law::Gaussian), ("sampled_inputs", Law::Signs)] {
        let mut group = c.benchmark_group(format!("training_step/{source}"));
        for (name, method) in METHODS {
            let mut step = Problem::new(law).unwrap().training(method, SAMPLES).unwrap();
            group.bench_function(name, |b| b.iter(|| step().unwrap()));
        }
    }
}

/// KFAC when every input and target is drawn, which costs more than the step.
fn from_samples(c: &mut Criterion) {
    let mut group = c.benchmark_group("training_step/real_samples");
    for (name, law) in [("kfac_gaussian", Law::Gaussian), ("kfac_signs", Law::Signs)] {
        let mut step = Problem::new(law).unwrap().training_from_samples(SAMPLES).unwrap();
        group.bench_function(name, |b| b.iter(|| step().unwrap()));
    }
}

/// The part of the above that is drawing.
fn drawing(c: &mut Criterion) {
    let mut group = c.benchmark_group("drawing");
    for (name, law) in [("exact_moments", Law::Gaussian), ("sampled_inputs", Law::Signs)] {
        let mut draw = Problem::new(law).unwrap().drawing_moments(SAMPLES);
        group.bench_function(name, |b| b.iter(|| draw().unwrap()));
    }
    for (name, law) in [("samples_gaussian", Law::Gaussian), ("samples_signs", Law::Signs)] {
        let mut draw = Problem::new(law).unwrap().drawing_samples(SAMPLES);
        group.bench_function(name, |b| b.iter(|| draw().unwrap()));
    }
}

/// A KFAC step from exact moments costs the same whatever the batch size.
fn batch_sizes(c: &mut Criterion) {
    let mut group = c.benchmark_group("kfac_step_against_batch_size");
    for samples in [256, 1024, 4096, 65536] {
        let problem = Problem::new(Law::Gaussian).unwrap();
        let mut step = problem.training("KFAC", samples).unwrap();
        group.bench_function(samples.to_string(), |b| b.iter(|| step().unwrap()));
    }
}

fn main() {
    let mut criterion = criterion().configure_from_args();
    methods(&mut criterion);
    from_samples(&mut criterion);
    drawing(&mut criterion);
    batch_sizes(&mut criterion);
    criterion.final_summary();
}
