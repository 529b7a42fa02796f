//! One step of each optimizer on one weight matrix, beside the BLAS and LAPACK calls that the
//! method cannot do without.
//!
//! `optimizer_step/…` and `unavoidable_calls/…` have the same names below. What is `large` (1024²)
//! stands in groups of its own, so that a filter leaves it out: `cargo xtask bench
//! optimizer_step/`.
#![expect(clippy::unwrap_used, reason = "a benchmark whose step fails has nothing to measure")]

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use layerwise_benches::{Layer, criterion, methods, normals, second_moment};
use layerwise_linalg::ndarray::Array2;
use layerwise_linalg::{Cholesky, Scalar, SymmetricEigen, gemm, gram, solve_lower};
use layerwise_optim::Composition;

fn optimizers<A: Scalar>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    n: usize,
    methods: Vec<(&'static str, Composition)>,
) {
    let layer = Layer::<A>::new(n).unwrap();
    for (name, composition) in methods {
        let mut weight = Array2::<A>::zeros((n, n));
        let mut optimizer = composition.build::<A>((n, n)).unwrap();
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

/// The calls to BLAS and LAPACK that methods are made of, on n × n matrices, by way of
/// `layerwise-linalg`, whose checks of shapes, finiteness and symmetry are included.
struct Calls<A> {
    dense: Array2<A>,
    moment: Array2<A>,
    out: Array2<A>,
    cholesky: Cholesky<A>,
    eigen: SymmetricEigen<A>,
}

impl<A: Scalar> Calls<A> {
    fn new(n: usize) -> Self {
        Calls {
            dense: normals(n, n, 5),
            moment: second_moment(n, 6).unwrap(),
            out: Array2::zeros((n, n)),
            cholesky: Cholesky::with_dimension(n),
            eigen: SymmetricEigen::with_dimension(n),
        }
    }

    fn gemm(&mut self) {
        let out = &mut self.out.view_mut();
        gemm(A::one(), self.dense.view(), self.moment.view(), A::zero(), out).unwrap();
    }

    fn syrk(&mut self) {
        gram(A::one(), self.dense.view(), A::zero(), &mut self.out.view_mut()).unwrap();
    }

    fn potrf(&mut self) {
        self.cholesky.factor(self.moment.view(), A::from_f64(1e-6)).unwrap();
    }

    /// Two triangular solves with n right-hand sides.
    fn trsm_pair(&mut self) {
        self.out.assign(&self.dense);
        self.cholesky.solve_right(&mut self.out.view_mut()).unwrap();
    }

    fn trsm(&mut self) {
        self.out.assign(&self.dense);
        solve_lower(self.cholesky.lower(), &mut self.out.view_mut()).unwrap();
    }

    fn syevd(&mut self) {
        self.eigen.decompose(self.moment.view()).unwrap();
    }
}

/// Muon: per Newton-Schulz step XXᵀ, its square, and a product with X. KFAC: a factorization and
/// a pair of solves a side; with inverses, of the identity one solve and a Gram matrix, and a product
/// for the pair. Shampoo: a Gram matrix and a product a side, and for the root an
/// eigendecomposition and a Gram matrix. SOAP: a Gram matrix a side; gradient and momentum
/// rotated into the basis, the direction out of it, two products each; an eigendecomposition a
/// side.
fn unavoidable<A: Scalar>(group: &mut BenchmarkGroup<'_, WallTime>, n: usize) {
    let mut calls = Calls::<A>::new(n);
    let mut entry = |name: &str, run: &mut dyn FnMut(&mut Calls<A>)| {
        group.bench_function(name, |b| b.iter(|| run(&mut calls)));
    };
    let twice = |calls: &mut Calls<A>, run: fn(&mut Calls<A>)| {
        run(calls);
        run(calls);
    };
    entry("muon", &mut |calls| {
        for _ in 0..5 {
            twice(calls, Calls::syrk);
            calls.gemm();
        }
    });
    entry("kfac_plain", &mut |calls| twice(calls, Calls::trsm_pair));
    entry("kfac_refreshing", &mut |calls| {
        twice(calls, Calls::potrf);
        twice(calls, Calls::trsm_pair);
    });
    entry("kfac_inverses_plain", &mut |calls| twice(calls, Calls::gemm));
    entry("kfac_inverses_refreshing", &mut |calls| {
        twice(calls, Calls::potrf);
        twice(calls, Calls::trsm);
        twice(calls, Calls::syrk);
        twice(calls, Calls::gemm);
    });
    entry("shampoo_plain", &mut |calls| {
        twice(calls, Calls::syrk);
        twice(calls, Calls::gemm);
    });
    entry("shampoo_refreshing", &mut |calls| {
        twice(calls, Calls::syrk);
        twice(calls, Calls::syevd);
        twice(calls, Calls::syrk);
        twice(calls, Calls::gemm);
    });
    entry("soap_plain", &mut |calls| {
        twice(calls, Calls::syrk);
        for _ in 0..3 {
            twice(calls, Calls::gemm);
        }
    });
    entry("soap_refreshing", &mut |calls| {
        twice(calls, Calls::syrk);
        twice(calls, Calls::syevd);
        for _ in 0..3 {
            twice(calls, Calls::gemm);
        }
    });
    entry("one_sided_kfac", &mut |calls| {
        calls.potrf();
        calls.trsm_pair();
    });
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

criterion_group! {
    name = benches;
    config = criterion();
    targets = size_256, size_1024
}
criterion_main!(benches);
