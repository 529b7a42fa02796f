use layerwise_linalg::ndarray::{Array1, Array2, array};
use layerwise_linalg::{
    LinalgError, Scalar, leading_right_singular_vector, singular_values, thin_svd,
};

use crate::common::{
    LAYOUTS, Stored, cast, departure_from_orthonormal, generator, haar_rows, naive, relative_error,
};

fn check<A: Scalar>(rows: usize, cols: usize, seed: u64) {
    let rng = &mut generator(seed);
    let r = rows.min(cols);
    let values: Vec<f64> = (0..r).map(|i| 3.0 / (1.0 + i as f64)).collect();
    let m: Array2<A> = cast(&crate::common::with_singular_values(rng, rows, cols, &values));
    // Weyl for singular values: rounding of M and of the decomposition, max(m, n) ε σ_max each.
    let tolerance = 2.0 * 3.0 * rows.max(cols) as f64 * A::epsilon().as_f64();
    for layout in LAYOUTS {
        let m = Stored::new(&m, layout);
        let s = singular_values(m.view()).unwrap();
        let (u, same, vt) = thin_svd(m.view()).unwrap();
        assert_eq!((u.dim(), same.len(), vt.dim()), ((rows, r), r, (r, cols)));
        for i in 0..r {
            assert!((s[i].as_f64() - values[i]).abs() <= tolerance);
            assert!((same[i].as_f64() - values[i]).abs() <= tolerance);
        }
        let root = (r as f64).sqrt();
        assert!(departure_from_orthonormal(u.t()) <= tolerance * root);
        assert!(departure_from_orthonormal(vt.view()) <= tolerance * root);
        let scaled = &u * &same;
        let error = relative_error(m.view(), &naive(scaled.view(), vt.view()));
        assert!(error <= tolerance * root, "{error:e}");
    }
}

#[test]
fn decomposes_every_shape_and_layout() {
    for (rows, cols) in [(1, 1), (1, 5), (5, 1), (6, 6), (4, 13), (40, 9)] {
        check::<f64>(rows, cols, 1);
        check::<f32>(rows, cols, 2);
    }
    let none = Array2::<f64>::zeros((3, 0));
    assert_eq!(singular_values(none.view()).unwrap().len(), 0);
    let (u, s, vt) = thin_svd(none.view()).unwrap();
    assert_eq!((u.dim(), s.len(), vt.dim()), ((3, 0), 0, (0, 0)));
}

/// v₁ is known; its error is at most the residual over the gap, 10⁻¹² σ₁²/(σ₁² − σ₂²), and the
/// rounding of M over the gap.
fn check_leading(rows: usize, cols: usize, values: &[f64], seed: u64) {
    let rng = &mut generator(seed);
    let mut u = haar_rows(rng, values.len(), rows);
    let v = haar_rows(rng, values.len(), cols);
    for (mut row, &value) in u.rows_mut().into_iter().zip(values) {
        row.mapv_inplace(|x| x * value);
    }
    let m = naive(u.t(), v.view());
    let found = leading_right_singular_vector(m.view()).unwrap();
    let ratio = values.get(1).map_or(0.0, |second| second / values[0]);
    let gap = 1.0 - ratio * ratio;
    let tolerance = (1e-12 + 8.0 * rows.max(cols) as f64 * f64::EPSILON) / gap;
    let overlap = found.dot(&v.row(0));
    let error = (&found - &(&v.row(0) * overlap.signum())).mapv(|x| x * x).sum().sqrt();
    assert!(error <= tolerance, "{rows} x {cols}, ratio {ratio}: {error:e} > {tolerance:e}");
    let peak = found.iter().fold(0.0_f64, |p, &x| if x.abs() > p.abs() { x } else { p });
    assert!(peak > 0.0);
    let again = leading_right_singular_vector(m.view()).unwrap();
    assert_eq!(found, again);
    let scaled = leading_right_singular_vector((&m * 1e-200).view()).unwrap();
    assert!((&scaled - &found).mapv(f64::abs).sum() <= 2.0 * tolerance * (cols as f64).sqrt());
}

#[test]
fn finds_the_leading_vector_by_each_path() {
    // Most of the energy in one value; a flat spectrum, to be proved by factorization; a gap too
    // small for the iteration.
    let spread = |top: f64, rest: f64, n: usize| -> Vec<f64> {
        std::iter::once(top).chain(std::iter::repeat_n(rest, n - 1)).collect()
    };
    for (rows, cols) in [(30, 30), (20, 45), (45, 20)] {
        check_leading(rows, cols, &spread(1.0, 0.05, 20), 1);
        check_leading(rows, cols, &spread(1.0, 0.9, 20), 2);
        check_leading(rows, cols, &spread(1.0, 0.9999, 20), 3);
        check_leading(rows, cols, &[2.0], 4);
    }
    check_leading(1, 1, &[3.0], 5);
}

#[test]
fn undefined_leading_vectors_are_errors() {
    let error = leading_right_singular_vector(Array2::zeros((2, 0)).view()).unwrap_err();
    assert_eq!(error, LinalgError::Empty { what: "matrix" });
    let error = leading_right_singular_vector(Array2::zeros((2, 3)).view()).unwrap_err();
    assert_eq!(error, LinalgError::RankDeficient { rank: 0, needed: 1 });
    let broken = array![[1.0, f64::INFINITY]];
    assert_eq!(
        leading_right_singular_vector(broken.view()).unwrap_err(),
        LinalgError::NonFinite { row: 0, col: 1, value: f64::INFINITY }
    );
    let lonely = leading_right_singular_vector(array![[0.0, -2.0]].view()).unwrap();
    assert_eq!(lonely, Array1::from(vec![0.0, 1.0]));
}
