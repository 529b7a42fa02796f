//! In pure Rust no bit depends on the number of threads. A binary of its own: the number of threads is
//! that of the process.
#![cfg(not(any(feature = "openblas-system", feature = "openblas-static")))]
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};

use layerwise_linalg::ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};
use layerwise_linalg::{
    Cholesky, Result, Scalar, gemm, gram, set_backend_threads, solve_lower, solve_lower_transposed,
    triangular_product,
};
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A triangular product or solve.
type Step<A> = fn(ArrayView2<'_, A>, &mut ArrayViewMut2<'_, A>) -> Result<()>;

/// One test at a time sets the number of threads.
static TURN: Mutex<()> = Mutex::new(());

fn normal<A: Scalar>(seed: u64, rows: usize, cols: usize) -> Array2<A> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, cols), || A::from_f64(rng.sample(StandardNormal)))
}

fn widen<A: Scalar>(m: ArrayView2<'_, A>) -> Array2<f64> {
    m.as_standard_layout().mapv(|x| x.as_f64())
}

/// The same matrix, stored by columns.
fn by_columns<A: Scalar>(m: &Array2<A>) -> Array2<A> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

/// A B by three loops, the innermost along rows.
fn naive(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let mut c = Array2::zeros((a.nrows(), b.ncols()));
    for (mut row, factors) in c.rows_mut().into_iter().zip(a.rows()) {
        for (&factor, other) in factors.iter().zip(b.rows()) {
            row.zip_mut_with(&other, |c, &b| *c += factor * b);
        }
    }
    c
}

/// Whether each entry of `found` is within `terms` ε (Σ|a||b| + |c|) of `expected` = A B + C. A row's and a
/// column's norms bound Σ|a||b| (Cauchy-Schwarz). A sum of k terms is off by at most k ε of that, whatever
/// its order, and so is what it is compared with, in double precision: 2 k, and 4 for scaling and adding C.
fn close<A: Scalar>(
    found: ArrayView2<'_, A>,
    expected: &Array2<f64>,
    (a, b, c): (&Array2<f64>, &Array2<f64>, &Array2<f64>),
) -> bool {
    let norm = |v: ArrayView1<'_, f64>| v.dot(&v).sqrt();
    let rows: Vec<f64> = a.rows().into_iter().map(norm).collect();
    let cols: Vec<f64> = b.columns().into_iter().map(norm).collect();
    let unit = (2 * a.ncols() + 4) as f64 * A::epsilon().as_f64();
    found.indexed_iter().all(|((i, j), x)| {
        let size = rows[i] * cols[j] + c[[i, j]].abs();
        (x.as_f64() - expected[[i, j]]).abs() <= unit * size
    })
}

/// What `run` makes, which is the same in every bit for every number of threads, in the pool of the
/// process, and called from within pools of one and of four threads.
fn in_all_ways<A: Scalar>(label: &str, run: impl Fn() -> Array2<A> + Sync) -> Array2<A> {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let pools = [pool(1), pool(4)];
    set_backend_threads(1);
    let first = run();
    let bits = |m: &Array2<A>| m.iter().map(|x| x.as_f64().to_bits()).collect::<Vec<_>>();
    let expected = bits(&first);
    for threads in [2, 3, 4, 7] {
        set_backend_threads(threads);
        assert!(bits(&run()) == expected, "{label}: {threads} threads");
        assert!(bits(&pools[1].install(&run)) == expected, "{label}: {threads} in a pool of 4");
    }
    assert!(bits(&pools[0].install(&run)) == expected, "{label}: 7 in a pool of 1");
    first
}

/// Every orientation and order of C; β differs between them.
fn check_gemm<A: Scalar>(m: usize, k: usize, n: usize) {
    let (a, b, c) = (normal::<A>(1, m, k), normal::<A>(2, k, n), normal::<A>(3, m, n));
    let (at, bt) = (by_columns(&a), by_columns(&b));
    let (wide_a, wide_b, wide_c) = (widen(a.view()), widen(b.view()), widen(c.view()));
    let product = naive(&wide_a, &wide_b);
    let mut betas = [0.0, 1.0, 0.5].into_iter().cycle();
    for (a, b, name) in [(&a, &b, "nn"), (&a, &bt, "nt"), (&at, &b, "tn"), (&at, &bt, "tt")] {
        for (c, order) in [(c.clone(), "rows"), (by_columns(&c), "columns")] {
            let beta = betas.next().unwrap();
            let label = format!("gemm {name} {order}, β = {beta}, {m} {k} {n} {}", A::NAME);
            let found = in_all_ways(&label, || {
                let mut c = c.clone();
                gemm(A::one(), a.view(), b.view(), A::from_f64(beta), &mut c.view_mut()).unwrap();
                c
            });
            let added = &wide_c * beta;
            let expected = &product + &added;
            assert!(close(found.view(), &expected, (&wide_a, &wide_b, &added)), "{label}");
        }
    }
}

#[test]
fn products_do_not_depend_on_threads() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Several threads share what takes more than 2²³ multiplications, and a C of more than 384 rows or
    // 512 columns: the first two are for one, the others are cut by rows, columns, or both.
    for (m, k, n) in [(1, 1, 1), (100, 8, 15), (2000, 30, 700), (383, 512, 1025)] {
        check_gemm::<f32>(m, k, n);
        check_gemm::<f64>(m, k, n);
    }
    // Of more than one depth of 1024, too.
    for (m, k, n) in [(1024, 1024, 700), (513, 2050, 600)] {
        check_gemm::<f32>(m, k, n);
    }
}

fn check_gram<A: Scalar>(n: usize, k: usize) {
    let a = normal::<A>(4, n, k);
    let transposed = a.t().as_standard_layout().into_owned();
    let wide = widen(a.view());
    let expected = naive(&wide, &widen(a.t()));
    let zero = Array2::zeros((n, n));
    for (a, name) in [(a.view(), "A"), (transposed.t(), "Aᵀ")] {
        for by_rows in [true, false] {
            let label = format!("gram of {name}, by rows: {by_rows}, {n} {k} {}", A::NAME);
            let found = in_all_ways(&label, || {
                let c = Array2::from_elem((n, n), A::from_f64(f64::NAN));
                let mut c = if by_rows { c } else { c.reversed_axes() };
                gram(A::one(), a, A::zero(), &mut c.view_mut()).unwrap();
                c
            });
            assert_eq!(found, found.t(), "{label}: symmetric in every bit");
            let other = wide.t().to_owned();
            assert!(close(found.view(), &expected, (&wide, &other, &zero)), "{label}");
        }
    }
}

#[test]
fn gram_matrices_do_not_depend_on_threads() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Cut beyond n = 256; with n² k / 2 > 2²³ from 257 on.
    for n in [24, 25, 256, 257, 600, 1030] {
        check_gram::<f32>(n, 300);
        check_gram::<f64>(n, 300);
    }
    // Of more than one depth of 1024, where the order of a sum could depend on how it is cut.
    check_gram::<f32>(600, 1100);
}

/// Lower triangular and well conditioned, NaN above the diagonal, where nothing may be read.
fn lower<A: Scalar>(n: usize) -> Array2<A> {
    let mut l = normal::<A>(5, n, n);
    for ((i, j), x) in l.indexed_iter_mut() {
        *x = match i.cmp(&j) {
            Ordering::Less => A::from_f64(f64::NAN),
            Ordering::Equal => A::from_f64(2.0),
            Ordering::Greater => *x / A::from_f64((n as f64).sqrt()),
        };
    }
    l
}

fn check_triangular<A: Scalar>(n: usize, m: usize) {
    let l = lower::<A>(n);
    let mut wide = widen(l.view());
    wide.indexed_iter_mut().for_each(|((i, j), x)| *x = if j <= i { *x } else { 0.0 });
    let transposed = widen(wide.t());
    let b = normal::<A>(6, n, m);
    let cholesky = Cholesky::from_lower(l.view()).unwrap();
    let wide_b = widen(b.view());
    let zero = Array2::zeros((n, m));
    for (l, b, order) in
        [(l.clone(), b.clone(), "rows"), (by_columns(&l), by_columns(&b), "columns")]
    {
        let label = |what| format!("{what} {order}, {n} {m} {}", A::NAME);
        let all = |what, step: Step<A>| {
            in_all_ways(&label(what), || {
                let mut b = b.clone();
                step(l.view(), &mut b.view_mut()).unwrap();
                b
            })
        };
        let found = all("L B", triangular_product);
        let expected = naive(&wide, &wide_b);
        assert!(close(found.view(), &expected, (&wide, &wide_b, &zero)), "{}", label("L B"));
        // A computed solution solves (L + ΔL) X = B exactly, |ΔL| ≤ n ε |L| (Higham, theorem 8.5): L X is as
        // near to B as a computed product would be.
        let steps: [(_, Step<A>, _); 2] =
            [("L⁻¹ B", solve_lower, &wide), ("L⁻ᵀ B", solve_lower_transposed, &transposed)];
        for (what, step, factor) in steps {
            let found = widen(all(what, step).view());
            let product: Array2<A> = naive(factor, &found).mapv(A::from_f64);
            assert!(close(product.view(), &wide_b, (factor, &found, &zero)), "{}", label(what));
        }
        // From the right, and two solves: (L + Δ₁)(L + Δ₂)ᵀ Xᵀ = Bᵀ, with 2 n ε |L||Lᵀ| between them.
        let found = in_all_ways(&label("B S⁻¹"), || {
            let mut b = b.t().to_owned();
            cholesky.solve_right(&mut b.view_mut()).unwrap();
            b
        });
        let found = widen(found.t());
        let product: Array2<A> = naive(&wide, &naive(&transposed, &found)).mapv(A::from_f64);
        let (moduli, other) = (wide.mapv(f64::abs), transposed.mapv(f64::abs));
        let reach = naive(&other, &found.mapv(f64::abs));
        assert!(close(product.view(), &wide_b, (&moduli, &reach, &zero)), "{}", label("B S⁻¹"));
    }
}

#[test]
fn triangular_products_and_solves_do_not_depend_on_threads() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Cut beyond 256 right-hand sides, and shared out where n² m / 2 > 2²³: n = 129 with the most, and
    // n = 700. The triangle itself is cut beyond 64 and 128.
    for n in [64, 129, 700] {
        for m in [1, 255, 257, 1200] {
            check_triangular::<f32>(n, m);
        }
    }
    check_triangular::<f64>(129, 1200);
    check_triangular::<f64>(700, 900);
}
