//! What a training step calls does not allocate once its storage exists.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use layerwise_linalg::ndarray::{Array1, Array2, s};
use layerwise_linalg::{
    Cholesky, CoupledNewton, CoupledNewtonWorkspace, ExactPolar, NewtonSchulz, PolarWorkspace,
    Ridge, RootOptions, RowOrthonormalizer, Scalar, SymmetricEigen, gemm, gemv, gram,
    set_backend_threads, solve_lower, solve_lower_transposed, triangular_product,
};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
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

/// Dense, well conditioned, no two rows alike.
fn dense<A: Scalar>(rows: usize, cols: usize) -> Array2<A> {
    Array2::from_shape_fn((rows, cols), |(i, j)| {
        A::from_f64(((7 * i + 3 * j * j + 1) as f64).sin() + if i == j { 2.0 } else { 0.0 })
    })
}

/// Runs everything twice and returns how often it allocated in the second run: in the first one each
/// thread's buffers grow.
fn allocations<A: Scalar>(n: usize) -> usize {
    let (one, zero) = (A::one(), A::zero());
    let g = dense::<A>(n, n);
    let wide = dense::<A>(n / 2, n);
    let mut spd = Array2::zeros((n, n));
    gram(one, g.view(), zero, &mut spd.view_mut()).unwrap();
    let mut cholesky = Cholesky::with_dimension(n);
    let mut eigen = SymmetricEigen::with_dimension(n);
    let mut orthonormalizer = RowOrthonormalizer::with_shape(n / 2, n);
    let mut polar = PolarWorkspace::with_shape(n, n / 2);
    let mut exact = ExactPolar::with_shape(n, n / 2);
    let mut newton = CoupledNewtonWorkspace::with_dimension(n);
    let newton_schulz = NewtonSchulz::default();
    let coupled = CoupledNewton { order: 3, power: 2, root: 3, ..CoupledNewton::default() };
    let (mut c, mut b, mut q) = (g.clone(), g.clone(), wide.clone());
    let mut tall = wide.t().to_owned();
    let (x, mut y) = (Array1::ones(n), Array1::zeros(n));
    let options = RootOptions { ridge: Ridge::RelativeToLargest(1e-4), pseudo_inverse: None };

    let mut before = 0;
    for _ in 0..2 {
        before = COUNT.get();
        gemm(one, g.t(), g.view(), one, &mut c.view_mut()).unwrap();
        let half = n / 2;
        let (left, right) = (g.slice(s![..half, 1..]), g.slice(s![1.., ..half]));
        gemm(one, left, right, zero, &mut c.slice_mut(s![..half, half..2 * half])).unwrap();
        gram(one, g.t(), zero, &mut c.view_mut()).unwrap();
        gemv(one, g.t(), x.view(), zero, &mut y.view_mut()).unwrap();
        gemv(one, g.view(), g.column(1), zero, &mut y.view_mut()).unwrap();
        cholesky.factor(spd.view(), one).unwrap();
        triangular_product(cholesky.lower(), &mut b.view_mut()).unwrap();
        solve_lower(cholesky.lower(), &mut b.view_mut()).unwrap();
        solve_lower_transposed(cholesky.lower(), &mut b.view_mut().reversed_axes()).unwrap();
        cholesky.solve_left(&mut b.view_mut()).unwrap();
        cholesky.solve_right(&mut b.view_mut().reversed_axes()).unwrap();
        cholesky.inverse_into(&mut c.view_mut()).unwrap();
        cholesky.set_lower(spd.view()).unwrap();
        eigen.decompose(spd.view()).unwrap();
        eigen.inverse_root_into(0.25, &options, &mut c.view_mut()).unwrap();
        eigen.reconstruct_into(&mut c.view_mut()).unwrap();
        orthonormalizer.orthonormalize(&mut q.view_mut()).unwrap();
        newton_schulz.apply(&mut tall.view_mut(), &mut polar).unwrap();
        exact.apply(&mut tall.view_mut()).unwrap();
        // Whether it arrives or not.
        let _ = coupled.inverse_root_into(spd.view(), 1.0, &mut newton, &mut c.view_mut());
    }
    COUNT.get() - before
}

#[test]
fn nothing_allocates_after_construction() {
    // What is shared out to several threads may make their queues grow.
    set_backend_threads(1);
    // The largest is beyond every bound from which on products and decompositions are cut to pieces.
    for n in [4, 9, 64, 130, 600] {
        assert_eq!(allocations::<f64>(n), 0, "f64, n = {n}");
        assert_eq!(allocations::<f32>(n), 0, "f32, n = {n}");
    }
    // The counter does count.
    let before = COUNT.get();
    drop(Cholesky::<f64>::with_dimension(3));
    assert!(COUNT.get() - before >= 2);
}
