//! Products of matrices with small integer entries are exact in floating point, whatever the
//! order of summation: results are compared with plain loops for equality.

use layerwise_linalg::ndarray::{Array1, Array2, Axis, s};
use layerwise_linalg::{
    Scalar, gemm, gemv, gram, solve_lower, solve_lower_transposed, triangular_product,
};
use proptest::prelude::*;
use rand::Rng;

use crate::common::{LAYOUTS, Stored, generator, naive, normal};

fn integers<A: Scalar>(rng: &mut impl Rng, rows: usize, cols: usize) -> Array2<A> {
    Array2::from_shape_simple_fn((rows, cols), || A::from_f64(f64::from(rng.random_range(-8..=8))))
}

/// Lower triangular with ones on the diagonal, and 99 above, where nothing may be read.
fn unit_lower<A: Scalar>(rng: &mut impl Rng, n: usize) -> Array2<A> {
    let mut l = integers(rng, n, n);
    for i in 0..n {
        l[[i, i]] = A::one();
        l.slice_mut(s![i, i + 1..]).fill(A::from_f64(99.0));
    }
    // Few entries below, so that inverses stay small.
    l.mapv_inplace(
        |x| if x.abs() > A::from_f64(1.0) && x < A::from_f64(99.0) { A::zero() } else { x },
    );
    l
}

fn lower_part<A: Scalar>(l: &Array2<A>) -> Array2<A> {
    Array2::from_shape_fn(l.dim(), |(i, j)| if j <= i { l[[i, j]] } else { A::zero() })
}

fn same<A: Scalar>(found: &Stored<A>, expected: &Array2<f64>) -> bool {
    found.surroundings_intact() && found.view().mapv(|x| x.as_f64()) == *expected
}

/// Every layout of every operand, for one triple of dimensions.
fn check_products<A: Scalar>(seed: u64, m: usize, k: usize, n: usize) {
    let rng = &mut generator(seed);
    let (a, b, c) = (integers::<A>(rng, m, k), integers::<A>(rng, k, n), integers::<A>(rng, m, n));
    let (alpha, beta) = (A::from_f64(2.0), A::from_f64(-3.0));
    let expected = naive(a.view(), b.view()) * 2.0 - c.mapv(|x| 3.0 * x.as_f64());
    let square = integers::<A>(rng, m, m);
    let symmetric = &square + &square.t();
    let expected_gram = naive(a.view(), a.t()) * 2.0 - symmetric.mapv(|x| 3.0 * x.as_f64());
    let nan = A::from_f64(f64::NAN);
    for layout_a in LAYOUTS {
        let stored_a = Stored::new(&a, layout_a);
        let transposed_a = Stored::new(&a.t().to_owned(), layout_a);
        for layout_c in LAYOUTS {
            let label = format!("{layout_a:?} {layout_c:?} {m} {k} {n} {}", A::NAME);
            for layout_b in LAYOUTS {
                let stored_b = Stored::new(&b, layout_b);
                let mut result = Stored::new(&c, layout_c);
                gemm(alpha, stored_a.view(), stored_b.view(), beta, &mut result.view_mut())
                    .unwrap();
                assert!(same(&result, &expected), "gemm {label} {layout_b:?}");
                let transposed_b = Stored::new(&b.t().to_owned(), layout_b);
                let mut result = Stored::new(&c, layout_c);
                let (a, b) = (transposed_a.view(), transposed_b.view());
                gemm(alpha, a.t(), b.t(), beta, &mut result.view_mut()).unwrap();
                assert!(same(&result, &expected), "gemm, transposed, {label} {layout_b:?}");
            }
            let mut result = Stored::new(&Array2::from_elem((m, n), nan), layout_c);
            gemm(A::one(), stored_a.view(), b.view(), A::zero(), &mut result.view_mut()).unwrap();
            assert!(same(&result, &naive(a.view(), b.view())), "gemm over NaN {label}");

            let mut result = Stored::new(&symmetric, layout_c);
            gram(alpha, stored_a.view(), beta, &mut result.view_mut()).unwrap();
            assert!(same(&result, &expected_gram), "gram {label}");
            let mut result = Stored::new(&Array2::from_elem((m, m), nan), layout_c);
            gram(A::one(), transposed_a.view().t(), A::zero(), &mut result.view_mut()).unwrap();
            assert!(same(&result, &naive(a.view(), a.t())), "gram over NaN {label}");
        }
    }
}

fn check_triangular<A: Scalar>(seed: u64, n: usize, m: usize) {
    let rng = &mut generator(seed);
    // Inverses of a unit triangle of order ≤ 9 with entries in {−1, 0, 1} are at most 2⁸, so every
    // intermediate result is an integer below 2²⁴.
    let l = unit_lower::<A>(rng, n);
    let b = integers::<A>(rng, n, m);
    let part = lower_part(&l);
    for layout_l in LAYOUTS {
        let stored_l = Stored::new(&l, layout_l);
        for layout_b in LAYOUTS {
            let label = format!("{layout_l:?} {layout_b:?} {n} {m} {}", A::NAME);
            let mut result = Stored::new(&b, layout_b);
            triangular_product(stored_l.view(), &mut result.view_mut()).unwrap();
            assert!(same(&result, &naive(part.view(), b.view())), "L B, {label}");
            solve_lower(stored_l.view(), &mut result.view_mut()).unwrap();
            assert!(same(&result, &b.mapv(|x| x.as_f64())), "L⁻¹ L B, {label}");
            let mut result = Stored::new(&naive(part.t(), b.view()).mapv(A::from_f64), layout_b);
            solve_lower_transposed(stored_l.view(), &mut result.view_mut()).unwrap();
            assert!(same(&result, &b.mapv(|x| x.as_f64())), "L⁻ᵀ Lᵀ B, {label}");
        }
    }
}

/// The same matrix with its last row first in memory.
fn backwards<A: Scalar>(m: &Array2<A>) -> Array2<A> {
    let mut copy = m.slice(s![..;-1, ..]).as_standard_layout().into_owned();
    copy.invert_axis(Axis(0));
    copy
}

fn check_gemv<A: Scalar>(seed: u64, m: usize, n: usize) {
    let rng = &mut generator(seed);
    let a = integers::<A>(rng, m, n);
    let (xs, ys) = (integers::<A>(rng, n, 2), integers::<A>(rng, m, 2));
    let expected =
        (naive(a.view(), xs.view()) * 2.0 - ys.mapv(|x| 3.0 * x.as_f64())).column(0).to_owned();
    let (alpha, beta) = (A::from_f64(2.0), A::from_f64(-3.0));
    for layout_a in LAYOUTS {
        let a = Stored::new(&a, layout_a);
        for reversed in [false, true] {
            // Columns of a row-major matrix: stride 2, or −2 where the rows are stored backwards.
            let stored = |m: &Array2<A>| if reversed { backwards(m) } else { m.clone() };
            let (x, mut y) = (stored(&xs), stored(&ys));
            gemv(alpha, a.view(), x.column(0), beta, &mut y.column_mut(0)).unwrap();
            assert_eq!(y.column(0).mapv(|v| v.as_f64()), expected, "{layout_a:?} {m} {n}");
            assert_eq!(y.column(1), ys.column(1));
            let mut y = Array1::from_elem(m, A::from_f64(f64::NAN));
            gemv(A::one(), a.view(), x.column(0), A::zero(), &mut y.view_mut()).unwrap();
            let product = naive(a.view(), xs.view()).column(0).to_owned();
            assert_eq!(y.mapv(|v| v.as_f64()), product, "over NaN, {layout_a:?} {m} {n}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn products_equal_plain_loops(seed: u64, m in 0usize..20, k in 0usize..20, n in 0usize..20) {
        check_products::<f64>(seed, m, k, n);
        check_products::<f32>(seed, m, k, n);
    }

    #[test]
    fn triangular_products_and_solves_are_exact(seed: u64, n in 0usize..10, m in 0usize..10) {
        check_triangular::<f64>(seed, n, m);
        check_triangular::<f32>(seed, n, m);
    }

    #[test]
    fn matrix_vector_products_equal_plain_loops(seed: u64, m in 0usize..20, n in 0usize..20) {
        check_gemv::<f64>(seed, m, n);
        check_gemv::<f32>(seed, m, n);
    }
}

#[test]
fn blocked_sizes_equal_plain_loops() {
    // Beyond OpenBLAS's kernels for small matrices, and no multiple of a block.
    check_products::<f64>(1, 131, 67, 83);
    check_products::<f32>(2, 83, 131, 67);
}

#[test]
fn gram_reads_the_lower_triangle_and_is_symmetric_in_every_bit() {
    let rng = &mut generator(3);
    let a = normal(rng, 61, 40);
    let mut c = Array2::zeros((61, 61));
    for i in 0..61 {
        c.slice_mut(s![i, i + 1..]).fill(f64::NAN);
    }
    gram(1.0, a.view(), 0.5, &mut c.view_mut()).unwrap();
    assert_eq!(c, c.t());
    // Each entry is a sum of 40 terms: error at most 40 ε Σ|a||a|.
    let modulus = a.mapv(f64::abs);
    let bound = naive(modulus.view(), modulus.t()) * 40.0 * f64::EPSILON;
    let error = (&c - &naive(a.view(), a.t())).mapv(f64::abs);
    assert!(error.iter().zip(&bound).all(|(e, b)| e <= b));
}
