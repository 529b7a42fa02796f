//! Decompositions of families of matrices that stress deflation, scaling and orthogonality.

use layerwise_linalg::ndarray::{Array2, Axis, s};
use layerwise_linalg::{LinalgError, RowOrthonormalizer, Scalar, SymmetricEigen};
use rand::Rng;

use crate::common::{cast, frobenius, generator, haar_rows, normal, widen};

/// What a decomposition may lose. Each of n reflections, and of the joins' rotations, perturbs what it acts
/// on by an ε or two (Higham, *Accuracy and Stability of Numerical Algorithms*, lemma 19.3, with √ for the
/// length of a sum). They err independently: √n ε for a column, n ε in the Frobenius norm of n
/// orthonormal ones, twice that for the reduction and the way back.
fn bound<A: Scalar>(n: usize) -> f64 {
    4.0 * n as f64 * A::epsilon().as_f64()
}

/// Qᵀ diag(values) Q, symmetric in every bit.
fn with_values(q: &Array2<f64>, values: impl Fn(usize) -> f64) -> Array2<f64> {
    let mut scaled = q.clone();
    for (i, mut row) in scaled.rows_mut().into_iter().enumerate() {
        row *= values(i);
    }
    let product = q.t().dot(&scaled);
    (&product + &product.t()) * 0.5
}

fn symmetric_families(rng: &mut impl Rng, n: usize) -> Vec<(&'static str, Array2<f64>)> {
    let square = |f: &dyn Fn(usize, usize) -> f64| Array2::from_shape_fn((n, n), |(i, j)| f(i, j));
    let dense = normal(rng, n, n);
    let thin = normal(rng, n, n.div_ceil(3));
    let q = haar_rows(rng, n, n);
    let near = normal(rng, n, 1) * 1e-9;
    let lower = |i: usize, j: usize| dense[[i.max(j), i.min(j)]];
    let spread = |i: usize| i as f64 / (n.max(2) - 1) as f64;
    vec![
        ("dense", square(&lower)),
        ("covariance", dense.dot(&dense.t())),
        ("rank-deficient", thin.dot(&thin.t())),
        ("graded", with_values(&q, |i| 10_f64.powf(-12.0 * spread(i)))),
        ("clustered", with_values(&q, |i| [1.0, 1.0, 1.0, 2.0, -1.0][i % 5])),
        ("near-equal", with_values(&q, |i| 1.0 + near[[i, 0]] + (i % 2) as f64)),
        ("diagonal", square(&|i, j| if i == j { 1.0 + (i * 7 % 5) as f64 } else { 0.0 })),
        ("identity", Array2::eye(n)),
        ("zero", Array2::zeros((n, n))),
        ("ones", Array2::ones((n, n))),
        ("graded rows", square(&|i, j| lower(i, j) * 10_f64.powf(-6.0 * (spread(i) + spread(j))))),
        (
            "reverse graded rows",
            square(&|i, j| lower(i, j) * 10_f64.powf(6.0 * (spread(i) + spread(j)) - 12.0)),
        ),
        ("second difference", square(&|i, j| [2.0, -1.0, 0.0][i.abs_diff(j).min(2)])),
        (
            "Wilkinson",
            square(&|i, j| match i.abs_diff(j) {
                0 => (i as f64 - n as f64 / 2.0).abs(),
                1 => 1.0,
                _ => 0.0,
            }),
        ),
    ]
}

fn same_bits<A: Scalar>(a: &Array2<A>, b: &Array2<A>) -> bool {
    a.iter().zip(b).all(|(x, y)| x.as_f64().to_bits() == y.as_f64().to_bits())
}

/// Residual, orthonormality, order and bits of one decomposition.
fn check_eigen<A: Scalar>(name: &str, s: &Array2<A>, eigen: &mut SymmetricEigen<A>) {
    let n = s.nrows();
    eigen.decompose(s.view()).unwrap();
    let values = eigen.values().to_owned();
    let vectors = eigen.vectors().to_owned();
    eigen.decompose(s.view()).unwrap();
    let again = eigen.values().iter().zip(&values).all(|(x, y)| x.as_f64() == y.as_f64());
    assert!(again && same_bits(&vectors, &eigen.vectors().to_owned()), "{name} {n}: bits");
    assert!(values.as_slice().unwrap().is_sorted(), "{name} {n}: order");

    // To moderate size by a power of two, in two factors, as one alone may overflow: exact.
    let largest = s.iter().fold(0.0_f64, |m, x| m.max(x.as_f64().abs()));
    let half = if largest > 0.0 { (-largest.log2() / 2.0).floor().exp2() } else { 1.0 };
    let moderate = |x: A| x.as_f64() * half * half;
    let (s, v) = (s.mapv(moderate), widen(vectors.view()));
    let residual = frobenius(&(s.dot(&v) - &v * &values.mapv(moderate)));
    // A value below the least normal number is a multiple of the least subnormal one.
    let quantum = A::min_positive_value().as_f64() * A::epsilon().as_f64() * half * half;
    let allowed = bound::<A>(n) * frobenius(&s) + 0.5 * (n as f64).sqrt() * quantum;
    assert!(residual <= allowed, "{name} {n}: residual {residual:e} > {allowed:e}");
    let departure = frobenius(&(v.t().dot(&v) - Array2::<f64>::eye(n)));
    assert!(departure <= bound::<A>(n), "{name} {n}: {departure:e} from orthonormal");
}

fn all_families<A: Scalar>(sizes: impl IntoIterator<Item = usize>, scale: f64) {
    let rng = &mut generator(1);
    for n in sizes {
        let mut eigen = SymmetricEigen::<A>::with_dimension(n);
        for (name, s) in symmetric_families(rng, n) {
            check_eigen(name, &cast(&(s * scale)), &mut eigen);
        }
    }
}

#[test]
fn every_family_of_symmetric_matrices_is_decomposed() {
    all_families::<f32>((1..=40).chain([48, 65, 128, 300]), 1.0);
    all_families::<f64>((1..=40).chain([48, 65, 128, 300, 513]), 1.0);
}

#[test]
fn every_family_is_decomposed_at_every_scale() {
    let sizes = [1, 2, 3, 17, 40, 100];
    for scale in [1e34, 1e-30, 1e-42] {
        all_families::<f32>(sizes, scale);
    }
    for scale in [1e300, 1e-290, 1e-316] {
        all_families::<f64>(sizes, scale);
    }
}

/// Tridiagonal matrices with tiny and vanishing couplings, which stress deflation.
#[test]
fn tridiagonal_matrices_with_tiny_couplings_are_decomposed() {
    let rng = &mut generator(4);
    for n in [33, 40, 57, 90] {
        let mut single = SymmetricEigen::<f32>::with_dimension(n);
        let mut double = SymmetricEigen::<f64>::with_dimension(n);
        for round in 0..40 {
            let reach = f64::from(round % 20);
            let mut s = Array2::zeros((n, n));
            for i in 0..n {
                let power = 10_f64.powf(-reach * rng.random_range(0.0_f64..2.0).min(1.0));
                s[[i, i]] = f64::from(rng.random_range(-3..=3)) * power;
                if i > 0 && rng.random_bool(0.9) {
                    s[[i, i - 1]] = 10_f64.powf(-2.0 * reach * rng.random::<f64>());
                    s[[i - 1, i]] = s[[i, i - 1]];
                }
            }
            check_eigen("couplings", &cast(&s), &mut single);
            check_eigen("couplings", &s, &mut double);
        }
    }
}

/// Matrices to orthonormalize, and their ranks.
fn row_families<A: Scalar>(
    rng: &mut impl Rng,
    k: usize,
    d: usize,
) -> Vec<(&'static str, Array2<f64>, usize)> {
    let dense = normal(rng, k, d);
    let m = k.div_ceil(3);
    let thin = normal(rng, k, m).dot(&normal(rng, m, d));
    let from = |f: &dyn Fn(usize, usize) -> f64| Array2::from_shape_fn((k, d), |(i, j)| f(i, j));
    let unit = |i: usize, j: usize| if i == j { 1.0 } else { 0.0 };
    let zero_row = |i: usize, j: usize| if i == k / 2 { 0.0 } else { dense[[i, j]] };
    let mut families = vec![
        ("dense", dense.clone(), k),
        ("rank-deficient", thin, m),
        ("zero", Array2::zeros((k, d)), 0),
        ("ones", Array2::ones((k, d)), 1),
        ("identity", from(&unit), k),
        ("near identity", from(&|i, j| 1e-9 * dense[[i, j]] + unit(i, j)), k),
        ("zero row", from(&zero_row), k - 1),
        ("equal rows", from(&|i, j| dense[[i / 2, j]]), k.div_ceil(2)),
        ("graded rows", from(&|i, j| dense[[i, j]] * 10_f64.powf(-8.0 * i as f64 / k as f64)), k),
    ];
    if k > 1 {
        // The last row's distance from the span of the others: well above and below the criterion.
        let q = haar_rows(rng, k, d);
        let sum = q.slice(s![..k - 1, ..]).sum_axis(Axis(0));
        let rounding = d as f64 * A::epsilon().as_f64();
        for (name, distance, rank) in
            [("nearly dependent", 1e3 * rounding, k), ("dependent up to rounding", rounding, k - 1)]
        {
            let mut g = q.clone();
            g.row_mut(k - 1).assign(&(&sum / ((k - 1) as f64).sqrt() + &q.row(k - 1) * distance));
            families.push((name, g, rank));
        }
    }
    families
}

fn check_rows<A: Scalar>(shapes: impl IntoIterator<Item = (usize, usize)>) {
    let rng = &mut generator(2);
    for (k, d) in shapes {
        let mut holder = RowOrthonormalizer::<A>::with_shape(k, d);
        for (name, g, rank) in row_families::<A>(rng, k, d) {
            let given: Array2<A> = cast(&g);
            let (mut q, mut again) = (given.clone(), given.clone());
            let result = holder.orthonormalize(&mut q.view_mut());
            assert_eq!(holder.orthonormalize(&mut again.view_mut()), result, "{name} {k} {d}");
            assert!(same_bits(&q, &again), "{name} {k} {d}: bits");
            if rank < k {
                // How many rows, where the independent ones are ill-conditioned, rounding decides.
                let refused = |rank| Err(LinalgError::RankDeficient { rank, needed: k });
                let text = format!("{name} {k} {d} {}: {result:?}", A::NAME);
                assert!((rank..k).any(|rank| result == refused(rank)), "{text}");
                assert_eq!(q, given, "{text}: left alone");
                continue;
            }
            assert_eq!(result, Ok(()), "{name} {k} {d} {}", A::NAME);
            let (g, q) = (widen(given.view()), widen(q.view()));
            let departure = frobenius(&(q.dot(&q.t()) - Array2::<f64>::eye(k)));
            assert!(departure <= bound::<A>(d), "{name} {k} {d}: {departure:e} from orthonormal");
            let mut l = g.dot(&q.t());
            for i in 0..k {
                l.slice_mut(s![i, i + 1..]).fill(0.0);
                assert!(l[[i, i]] > 0.0, "{name} {k} {d}: diagonal {i}");
            }
            let residual = frobenius(&(&g - &l.dot(&q)));
            assert!(residual <= bound::<A>(d) * frobenius(&g), "{name} {k} {d}: {residual:e}");
        }
    }
}

#[test]
fn every_family_of_rows_is_orthonormalized_or_refused() {
    let wide = [
        (1, 7),
        (3, 17),
        (16, 31),
        (17, 100),
        (32, 33),
        (33, 34),
        (33, 200),
        (50, 300),
        (130, 200),
    ];
    let shapes =
        || (1..=40).chain([48, 64, 65, 100, 129, 300]).map(|n| (n, n)).chain(wide.iter().copied());
    check_rows::<f32>(shapes());
    check_rows::<f64>(shapes());
}
