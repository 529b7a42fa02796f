use layerwise_linalg::ndarray::{Array2, Axis};
use layerwise_linalg::{LinalgError, Scalar, SymmetricEigen};

use crate::common::{
    LAYOUTS, Stored, cast, departure_from_orthonormal, generator, haar_rows, naive, normal,
    relative_error, symmetric,
};

/// Signed spectra: eigenvalues, orthonormality, reconstruction.
fn check<A: Scalar>(n: usize, seed: u64) {
    let rng = &mut generator(seed);
    let q = haar_rows(rng, n, n);
    let mut spectrum = normal(rng, n, 1).column(0).to_owned();
    let s: Array2<A> = cast(&symmetric(&q, &spectrum, |x| x));
    let largest = spectrum.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    spectrum.as_slice_mut().unwrap().sort_by(f64::total_cmp);

    // Rounding of S and the decomposition each move an eigenvalue by at most n ε ‖S‖ (Weyl).
    let tolerance = 2.0 * n as f64 * A::epsilon().as_f64();
    let mut eigen = SymmetricEigen::with_dimension(n);
    for layout in LAYOUTS {
        eigen.decompose(Stored::new(&s, layout).view()).unwrap();
        for (found, expected) in eigen.values().iter().zip(&spectrum) {
            assert!((found.as_f64() - expected).abs() <= tolerance * largest);
        }
        // n vectors, each orthonormal to about n ε: a Frobenius norm of at most n √n ε.
        let v = eigen.vectors();
        let departure = departure_from_orthonormal(v.t());
        assert!(departure <= tolerance * (n as f64).sqrt(), "{departure:e}");
        for (j, &value) in eigen.values().iter().enumerate() {
            let vector = v.column(j).insert_axis(Axis(1));
            let residual = naive(s.view(), vector) - vector.mapv(|x| (value * x).as_f64());
            let norm = residual.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(norm <= tolerance * largest, "column {j}: {norm:e}");
        }
        let mut out = Stored::new(&Array2::zeros((n, n)), layout);
        eigen.reconstruct_into(&mut out.view_mut()).unwrap();
        assert!(out.surroundings_intact());
        let error = relative_error(out.view(), &s.mapv(|x| x.as_f64()));
        assert!(error <= tolerance * (n as f64).sqrt(), "{error:e}");
    }
}

#[test]
fn decomposes_indefinite_dense_matrices() {
    for n in [1, 2, 7, 26, 70] {
        check::<f64>(n, n as u64);
        check::<f32>(n, n as u64);
    }
}

#[test]
fn an_error_keeps_the_former_decomposition() {
    let rng = &mut generator(9);
    let g = normal(rng, 6, 6);
    let s = &g + &g.t();
    let mut eigen = SymmetricEigen::new(s.view()).unwrap();
    let (values, vectors) = (eigen.values().to_owned(), eigen.vectors().to_owned());
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut broken = s.clone();
        broken[[3, 1]] = value;
        let error = eigen.decompose(broken.view()).unwrap_err();
        assert!(matches!(error, LinalgError::NonFinite { row: 3, col: 1, .. }), "{error:?}");
    }
    assert!(matches!(eigen.decompose(g.view()), Err(LinalgError::NotSymmetric { .. })));
    assert_eq!(eigen.values(), values);
    assert_eq!(eigen.vectors(), vectors);
}

#[test]
fn the_identity_is_held_at_first_and_dimension_zero_is_valid() {
    let mut eigen = SymmetricEigen::<f64>::with_dimension(3);
    let mut out = Array2::zeros((3, 3));
    eigen.reconstruct_into(&mut out.view_mut()).unwrap();
    assert_eq!(out, Array2::<f64>::eye(3));
    let empty = SymmetricEigen::new(Array2::<f64>::zeros((0, 0)).view()).unwrap();
    assert_eq!(empty.values().len(), 0);
}

#[test]
fn a_decomposition_can_be_put_back_in_every_bit() {
    let rng = &mut generator(31);
    let q = haar_rows(rng, 6, 6);
    let spectrum = normal(rng, 6, 1).column(0).to_owned();
    let s = symmetric(&q, &spectrum, |x| x);
    let eigen = SymmetricEigen::new(s.view()).unwrap();
    let mut other = SymmetricEigen::with_dimension(6);
    let vectors = eigen.vectors().as_standard_layout().to_owned();
    other.set(eigen.values(), vectors.view()).unwrap();
    assert_eq!(other.values(), eigen.values());
    assert_eq!(other.vectors(), eigen.vectors());

    let mut bad = vectors.clone();
    bad[[2, 3]] = f64::NAN;
    let error = other.set(eigen.values(), bad.view()).unwrap_err();
    assert!(matches!(error, LinalgError::NonFinite { row: 2, col: 3, .. }), "{error:?}");
    let five = SymmetricEigen::<f64>::with_dimension(5);
    let error = other.set(five.values(), vectors.view()).unwrap_err();
    assert!(matches!(error, LinalgError::Shape { .. }), "{error:?}");
    let error = other.set(eigen.values(), five.vectors()).unwrap_err();
    assert!(matches!(error, LinalgError::Shape { .. }), "{error:?}");
    assert_eq!(other.vectors(), eigen.vectors(), "errors leave the former decomposition");
}
