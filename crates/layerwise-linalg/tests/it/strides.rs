//! Products of every layout beyond the sizes at which they are cut into tiles, broadcast operands, and
//! what is not finite.

use layerwise_linalg::ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use layerwise_linalg::{
    LinalgError, Result, Scalar, check_symmetric, gemm, gemv, gram, solve_lower,
    solve_lower_transposed, triangular_product,
};
use rand::Rng;

use crate::common::{LAYOUTS, Stored, cast, generator, naive, widen};

/// A triangular product or solve.
type Step<A> = fn(ArrayView2<'_, A>, &mut ArrayViewMut2<'_, A>) -> Result<()>;

/// Integers up to 8, whose products and sums of 70 are exact in f32.
fn integers<A: Scalar>(seed: u64, rows: usize, cols: usize) -> Array2<A> {
    let rng = &mut generator(seed);
    Array2::from_shape_simple_fn((rows, cols), || A::from_f64(f64::from(rng.random_range(-8..=8))))
}

/// 2 I, with one entry of −1 in each column below the diagonal: products and the solves of what they
/// make are exact.
fn sparse_lower<A: Scalar>(n: usize) -> Array2<A> {
    Array2::from_shape_fn((n, n), |(i, j)| {
        A::from_f64(match i {
            _ if i == j => 2.0,
            _ if i < j => f64::NAN,
            _ if i == j + 1 + j % 7 => -1.0,
            _ => 0.0,
        })
    })
}

fn lower_part<A: Scalar>(l: &Array2<A>) -> Array2<A> {
    Array2::from_shape_fn(l.dim(), |(i, j)| if j <= i { l[[i, j]] } else { A::zero() })
}

fn same<A: Scalar>(found: &Stored<A>, expected: &Array2<A>) -> bool {
    found.surroundings_intact() && found.view() == expected
}

/// Both sides of C beyond a tile of 384 × 512, and enough work for several threads; so are the triangle,
/// beyond 256, and its right-hand sides.
fn check_large<A: Scalar>() {
    let (m, k, n) = (600, 70, 530);
    let (a, b) = (integers::<A>(1, m, k), integers::<A>(2, k, n));
    let product: Array2<A> = cast(&naive(a.view(), b.view()));
    let squared: Array2<A> = cast(&naive(a.view(), a.t()));
    let l = sparse_lower::<A>(300);
    let right = integers::<A>(3, 300, n);
    let part = lower_part(&l);
    let multiplied: Array2<A> = cast(&naive(part.view(), right.view()));
    let transposed: Array2<A> = cast(&naive(part.t(), right.view()));
    let nan = A::from_f64(f64::NAN);
    for (i, first) in LAYOUTS.into_iter().enumerate() {
        let (stored_a, stored_l) = (Stored::new(&a, first), Stored::new(&l, first));
        for (j, second) in LAYOUTS.into_iter().enumerate() {
            let third = LAYOUTS[(i + j) % LAYOUTS.len()];
            let label = format!("{first:?} {second:?} {third:?} {}", A::NAME);
            let stored_b = Stored::new(&b, second);
            let mut c = Stored::new(&Array2::from_elem((m, n), nan), third);
            gemm(A::one(), stored_a.view(), stored_b.view(), A::zero(), &mut c.view_mut()).unwrap();
            assert!(same(&c, &product), "gemm {label}");

            let mut c = Stored::new(&Array2::from_elem((m, m), nan), second);
            gram(A::one(), stored_a.view(), A::zero(), &mut c.view_mut()).unwrap();
            assert!(same(&c, &squared), "gram {label}");

            let mut c = Stored::new(&right, second);
            triangular_product(stored_l.view(), &mut c.view_mut()).unwrap();
            assert!(same(&c, &multiplied), "L B, {label}");
            solve_lower(stored_l.view(), &mut c.view_mut()).unwrap();
            assert!(same(&c, &right), "L⁻¹ L B, {label}");
            let mut c = Stored::new(&transposed, second);
            solve_lower_transposed(stored_l.view(), &mut c.view_mut()).unwrap();
            assert!(same(&c, &right), "L⁻ᵀ Lᵀ B, {label}");
        }
    }
}

#[test]
fn products_beyond_a_tile_are_exact_in_every_layout() {
    check_large::<f32>();
    check_large::<f64>();
}

#[test]
fn symmetry_is_that_of_the_view() {
    for n in [3, 20] {
        let g = integers::<f64>(9, n, n);
        let symmetric = &g + &g.t();
        for layout in LAYOUTS {
            check_symmetric(Stored::new(&symmetric, layout).view()).unwrap();
        }
        // Symmetric in memory, but not as it is given.
        for view in [symmetric.slice(s![..;-1, ..]), symmetric.slice(s![.., ..;-1])] {
            let error = check_symmetric(view).unwrap_err();
            assert!(matches!(error, LinalgError::NotSymmetric { .. }), "{n}: {error:?}");
        }
    }
}

fn check_broadcast<A: Scalar>(m: usize, k: usize, n: usize) {
    let row = integers::<A>(4, 1, k);
    let column = integers::<A>(5, m, 1);
    let one = Array2::from_elem((1, 1), A::from_f64(3.0));
    let dense = integers::<A>(6, m, k);
    let views = |(r, c): (usize, usize)| -> Vec<ArrayView2<'_, A>> {
        [&row, &column, &one, &dense].iter().filter_map(|x| x.broadcast((r, c))).collect()
    };
    let (as_, mut bs) = (views((m, k)), views((m, k)));
    bs.truncate(3);
    assert_eq!((as_.len(), bs.len()), (4, 3), "every operand but one has a stride of 0");
    for a in as_ {
        for b in &bs {
            let b = b.t();
            let b = b.slice(s![.., ..n]);
            let mut c = integers::<A>(7, m, n);
            let expected = naive(a, b) + widen(c.view());
            gemm(A::one(), a, b, A::one(), &mut c.view_mut()).unwrap();
            assert_eq!(widen(c.view()), expected);
        }
        let mut c = Array2::zeros((m, m));
        gram(A::one(), a, A::zero(), &mut c.view_mut()).unwrap();
        assert_eq!(widen(c.view()), naive(a, a.t()));
        let x = one.broadcast((k, 1)).unwrap();
        let mut y = Array2::zeros((m, 1));
        gemv(A::one(), a, x.column(0), A::zero(), &mut y.column_mut(0)).unwrap();
        assert_eq!(widen(y.view()), naive(a, x));
    }
    // A triangle of ones: cumulative sums, and differences.
    let ones = Array2::from_elem((1, 1), A::one());
    let l = ones.broadcast((m, m)).unwrap();
    let right = integers::<A>(8, m, n);
    let mut b = right.clone();
    triangular_product(l, &mut b.view_mut()).unwrap();
    let mut sums = right.clone();
    for i in 1..m {
        let above = sums.row(i - 1).to_owned();
        let mut row = sums.row_mut(i);
        row += &above;
    }
    assert_eq!(b, sums);
    solve_lower(l, &mut b.view_mut()).unwrap();
    assert_eq!(b, right);
}

#[test]
fn operands_may_be_broadcast() {
    for (m, k, n) in [(5, 4, 3), (600, 40, 550)] {
        check_broadcast::<f32>(m, k, n);
        check_broadcast::<f64>(m, k, n);
    }
}

/// Entries are positive, so that an infinity meets neither a zero nor its negative.
fn check_not_finite<A: Scalar>(m: usize) {
    let (k, at) = (m / 2, m / 3);
    let entry = |(i, j): (usize, usize)| A::from_f64(((3 * i + 5 * j) % 7 + 1) as f64);
    let (clean, b) = (Array2::from_shape_fn((m, k), entry), Array2::from_shape_fn((k, m), entry));
    let (one, zero) = (A::one(), A::zero());
    let product = naive(clean.view(), b.view());
    let squared = naive(clean.view(), clean.t());
    for value in [f64::NAN, f64::INFINITY] {
        let value = A::from_f64(value);
        let is = |x: A| x == value || (x.is_nan() && value.is_nan());
        let mut a = clean.clone();
        a[[at, k - 1]] = value;
        for by_columns in [false, true] {
            let fresh = || {
                let c = Array2::<A>::from_elem((m, m), A::from_f64(f64::NAN));
                if by_columns { c.reversed_axes() } else { c }
            };
            let mut c = fresh();
            gemm(one, a.view(), b.view(), zero, &mut c.view_mut()).unwrap();
            for ((i, j), &x) in c.indexed_iter() {
                assert!(if i == at { is(x) } else { x.as_f64() == product[[i, j]] });
            }
            // A zero does not hide it.
            gemm(one, a.view(), Array2::zeros((k, m)).view(), zero, &mut c.view_mut()).unwrap();
            assert!(c.row(at).iter().all(|x| x.is_nan()), "{m}: 0 times {value}");
            gram(one, a.view(), zero, &mut c.view_mut()).unwrap();
            for ((i, j), &x) in c.indexed_iter() {
                let touched = i == at || j == at;
                assert!(if touched { is(x) } else { x.as_f64() == squared[[i, j]] });
            }
            // In C, where β is not zero, it stays in its entry.
            for beta in [1.0, 0.5] {
                let mut c = fresh();
                c.fill(zero);
                c[[at, 1]] = value;
                let beta = A::from_f64(beta);
                gemm(one, clean.view(), b.view(), beta, &mut c.view_mut()).unwrap();
                for ((i, j), &x) in c.indexed_iter() {
                    let touched = (i, j) == (at, 1);
                    assert!(if touched { is(x) } else { x.as_f64() == product[[i, j]] });
                }
            }
            // In a right-hand side it stays in its column, and reaches what comes after it.
            let l =
                Array2::from_shape_fn((m, m), |(i, j)| if i == j { one } else { entry((i, j)) });
            let steps: [(Step<A>, _); 3] = [
                (triangular_product, at..m),
                (solve_lower, at..m),
                (solve_lower_transposed, 0..at + 1),
            ];
            for (step, reached) in steps {
                // Zeros elsewhere, so that a solve of order m does not overflow.
                let mut right = fresh();
                right.fill(zero);
                right[[at, 1]] = value;
                step(l.view(), &mut right.view_mut()).unwrap();
                for ((i, j), &x) in right.indexed_iter() {
                    if j == 1 {
                        assert!(!reached.contains(&i) || !x.is_finite(), "{m}: row {i}");
                    } else {
                        assert!(x == zero);
                    }
                }
            }
        }
    }
}

#[test]
fn nan_and_infinity_propagate() {
    for m in [9, 30, 600] {
        check_not_finite::<f32>(m);
        check_not_finite::<f64>(m);
    }
}
