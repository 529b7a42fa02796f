use layerwise_linalg::ndarray::{Array2, s};
use layerwise_linalg::{LinalgError, RowOrthonormalizer, Scalar, orthonormal_rows};
use proptest::prelude::*;

use crate::common::{
    LAYOUTS, Stored, cast, departure_from_orthonormal, frobenius, generator, haar_rows, naive,
    normal, relative_error, with_singular_values,
};

/// Q orthonormal, G = L Q with L lower triangular and positive on the diagonal.
fn check<A: Scalar>(g: &Array2<f64>, label: &str) {
    let (k, d) = g.dim();
    let g: Array2<A> = cast(g);
    let q = orthonormal_rows(g.view()).unwrap();
    // Householder: each column of G off by at most about √k d ε times its norm.
    let tolerance = 4.0 * d as f64 * A::epsilon().as_f64() * (k as f64).sqrt();
    assert!(departure_from_orthonormal(q.view()) <= tolerance, "{label}");
    let l = naive(g.view(), q.t());
    for i in 0..k {
        let norm = g.row(i).iter().map(|x| x.as_f64().powi(2)).sum::<f64>().sqrt();
        assert!(l[[i, i]] > 0.0, "{label}: diagonal {i}");
        assert!(l.slice(s![i, i + 1..]).iter().all(|x| x.abs() <= tolerance * norm), "{label}");
    }
    let error = relative_error(
        cast::<f64>(&naive(l.view(), q.mapv(|x| x.as_f64()).view())).view(),
        &g.mapv(|x| x.as_f64()),
    );
    assert!(error <= tolerance, "{label}: {error:e}");
    let mut holder = RowOrthonormalizer::with_shape(k, d);
    for layout in LAYOUTS {
        let mut stored = Stored::new(&g, layout);
        holder.orthonormalize(&mut stored.view_mut()).unwrap();
        assert_eq!(stored.view(), q, "{label} {layout:?}");
        assert!(stored.surroundings_intact());
    }
}

#[test]
fn rows_become_orthonormal_and_span_the_same_space() {
    let rng = &mut generator(1);
    for (k, d) in [(1, 1), (1, 9), (3, 3), (8, 100), (40, 40), (33, 71)] {
        check::<f64>(&normal(rng, k, d), "normal");
        check::<f32>(&normal(rng, k, d), "normal, f32");
    }
    let values: Vec<f64> = (0..8).map(|i| 10_f64.powi(-i)).collect();
    check::<f64>(&with_singular_values(rng, 8, 30, &values), "κ = 10⁷");
    let mut scaled = normal(rng, 4, 12);
    for (i, mut row) in scaled.rows_mut().into_iter().enumerate() {
        row.mapv_inplace(|x| x * [1e150, 1e-150, 1.0, 1e-300][i]);
    }
    check::<f64>(&scaled, "rows of very different scale");
}

#[test]
fn orthonormal_rows_stay_and_the_map_is_continuous() {
    let rng = &mut generator(2);
    let q = haar_rows(rng, 6, 25);
    let again = orthonormal_rows(q.view()).unwrap();
    assert!(frobenius(&(&again - &q)) <= 6.0 * 25.0 * f64::EPSILON);
    // Without a fixed sign, rows would jump by 2.
    for _ in 0..50 {
        let near = orthonormal_rows((&q + &(normal(rng, 6, 25) * 1e-6)).view()).unwrap();
        assert!(frobenius(&(&near - &q)) < 1e-4);
    }
}

proptest! {
    /// Powers of two change no digit.
    #[test]
    fn scaling_rows_changes_nothing(
        seed: u64, k in 1usize..7, extra in 0usize..7, scales in prop::array::uniform6(-800i32..800)
    ) {
        let g = normal(&mut generator(seed), k, k + extra);
        let mut scaled = g.clone();
        for (i, mut row) in scaled.rows_mut().into_iter().enumerate() {
            row.mapv_inplace(|x| x * 2_f64.powi(scales[i]));
        }
        prop_assert_eq!(
            orthonormal_rows(scaled.view()).unwrap(),
            orthonormal_rows(g.view()).unwrap()
        );
    }
}

#[test]
fn dependent_rows_are_refused_and_left_alone() {
    let rng = &mut generator(3);
    let mut g = normal(rng, 5, 8);
    let combination = &g.row(0) * 2.0 - &g.row(1) * 3.0;
    g.row_mut(3).assign(&combination);
    let before = g.clone();
    let mut holder = RowOrthonormalizer::with_shape(5, 8);
    let error = holder.orthonormalize(&mut g.view_mut()).unwrap_err();
    assert_eq!(error, LinalgError::RankDeficient { rank: 4, needed: 5 });
    assert_eq!(g, before);
    g.row_mut(3).fill(0.0);
    let error = holder.orthonormalize(&mut g.view_mut()).unwrap_err();
    assert_eq!(error, LinalgError::RankDeficient { rank: 4, needed: 5 });
    let tall = normal(rng, 4, 3);
    let error = orthonormal_rows(tall.view()).unwrap_err();
    assert_eq!(error, LinalgError::RankDeficient { rank: 3, needed: 4 });
    g[[2, 7]] = f64::NAN;
    let error = holder.orthonormalize(&mut g.view_mut()).unwrap_err();
    assert!(matches!(error, LinalgError::NonFinite { row: 2, col: 7, .. }));
}

#[test]
fn no_rows_are_orthonormal() {
    assert_eq!(orthonormal_rows(Array2::<f64>::zeros((0, 4)).view()).unwrap().dim(), (0, 4));
}
