//! The kernels of `layerwise-linalg`: at figure 1's sizes (100 inputs, rank 8), and at 256².
#![expect(clippy::unwrap_used, reason = "a benchmark whose kernel fails has nothing to measure")]

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use layerwise_benches::{criterion, normals, second_moment};
use layerwise_linalg::ndarray::{Array1, Array2};
use layerwise_linalg::{
    Cholesky, NewtonSchulz, PolarWorkspace, Ridge, RootOptions, RowOrthonormalizer, Scalar,
    SymmetricEigen, gemm, gemv, gram, solve_lower, triangular_product,
};

/// Products, factorizations and roots of n × n matrices, and what acts on `rows` × n.
fn kernels<A: Scalar>(group: &mut BenchmarkGroup<'_, WallTime>, n: usize, rows: usize) {
    let (one, zero) = (A::one(), A::zero());
    let dense = normals::<A>(n, n, 1);
    let wide = normals::<A>(rows, n, 2);
    let moment = second_moment::<A>(n, 3).unwrap();
    let mut square = Array2::<A>::zeros((n, n));
    let mut few = wide.clone();

    group.bench_function("gemm", |b| {
        b.iter(|| gemm(one, dense.view(), moment.view(), zero, &mut square.view_mut()).unwrap());
    });
    group.bench_function("gemm_wide", |b| {
        b.iter(|| gemm(one, wide.view(), moment.view(), zero, &mut few.view_mut()).unwrap());
    });
    group.bench_function("gram", |b| {
        b.iter(|| gram(one, dense.view(), zero, &mut square.view_mut()).unwrap());
    });
    let (x, mut y) = (Array1::<A>::ones(n), Array1::<A>::zeros(n));
    group.bench_function("gemv", |b| {
        b.iter(|| gemv(one, dense.view(), x.view(), zero, &mut y.view_mut()).unwrap());
    });

    let mut cholesky = Cholesky::<A>::with_dimension(n);
    group.bench_function("cholesky", |b| {
        b.iter(|| cholesky.factor(moment.view(), zero).unwrap());
    });
    let lower = cholesky.lower().to_owned();
    // Triangular products and solves start from the same matrix each time, as their own result
    // would soon overflow; the copy is included.
    group.bench_function("triangular_product", |b| {
        b.iter(|| {
            square.assign(&dense);
            triangular_product(lower.view(), &mut square.view_mut()).unwrap();
        });
    });
    group.bench_function("solve_lower", |b| {
        b.iter(|| {
            square.assign(&dense);
            solve_lower(lower.view(), &mut square.view_mut()).unwrap();
        });
    });
    group.bench_function("cholesky_solve_right_wide", |b| {
        b.iter(|| {
            few.assign(&wide);
            cholesky.solve_right(&mut few.view_mut()).unwrap();
        });
    });

    let mut eigen = SymmetricEigen::<A>::with_dimension(n);
    group.bench_function("symmetric_eigen", |b| {
        b.iter(|| eigen.decompose(moment.view()).unwrap());
    });
    let options = RootOptions { ridge: Ridge::RelativeToLargest(1e-6), pseudo_inverse: None };
    group.bench_function("inverse_root_from_eigen", |b| {
        let out = &mut square.view_mut();
        b.iter(|| eigen.inverse_root_into(0.25, &options, out).unwrap());
    });

    let mut orthonormalizer = RowOrthonormalizer::<A>::with_shape(rows, n);
    group.bench_function("orthonormal_rows_wide", |b| {
        b.iter(|| {
            few.assign(&wide);
            orthonormalizer.orthonormalize(&mut few.view_mut()).unwrap();
        });
    });
    let mut workspace = PolarWorkspace::<A>::with_shape(rows, n);
    group.bench_function("newton_schulz_wide", |b| {
        b.iter(|| {
            few.assign(&wide);
            NewtonSchulz::default().apply(&mut few.view_mut(), &mut workspace).unwrap();
        });
    });
    let mut workspace = PolarWorkspace::<A>::with_shape(n, n);
    group.bench_function("newton_schulz", |b| {
        b.iter(|| {
            square.assign(&dense);
            NewtonSchulz::default().apply(&mut square.view_mut(), &mut workspace).unwrap();
        });
    });
}

fn sizes(c: &mut Criterion) {
    kernels::<f64>(&mut c.benchmark_group("linear_algebra/f64/100"), 100, 8);
    kernels::<f32>(&mut c.benchmark_group("linear_algebra/f32/256"), 256, 64);
    kernels::<f64>(&mut c.benchmark_group("linear_algebra/f64/256"), 256, 64);
}

fn main() {
    let mut criterion = criterion().configure_from_args();
    sizes(&mut criterion);
    criterion.final_summary();
}
