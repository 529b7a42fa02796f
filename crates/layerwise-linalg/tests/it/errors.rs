//! Refusals: the error's type, its numbers and its text; the caller's arrays stay.

use layerwise_linalg::ndarray::{Array1, Array2, array};
use layerwise_linalg::{
    Cholesky, Cutoff, Library, LinalgError, NewtonSchulz, PolarWorkspace, Ridge, RootOptions,
    RowOrthonormalizer, SymmetricEigen, backend, gemm, gemv, gram, inverse_root,
    polar_factor_exact, set_backend_threads, singular_values, solve_lower, solve_lower_transposed,
    triangular_product,
};

fn refused<T: std::fmt::Debug>(result: Result<T, LinalgError>, error: LinalgError, text: &str) {
    let found = result.unwrap_err();
    assert_eq!(found, error);
    assert_eq!(found.to_string(), text);
}

#[test]
fn shapes() {
    let a = Array2::<f64>::ones((2, 3));
    let mut c = Array2::<f64>::ones((2, 2));
    refused(
        gemm(1.0, a.view(), a.view(), 0.0, &mut c.view_mut()),
        LinalgError::Shape { what: "B in A B", expected: (3, 3), found: (2, 3) },
        "B in A B must be 3 x 3, found 2 x 3",
    );
    refused(
        gemm(1.0, a.t(), a.view(), 0.0, &mut c.view_mut()),
        LinalgError::Shape { what: "C in C = A B", expected: (3, 3), found: (2, 2) },
        "C in C = A B must be 3 x 3, found 2 x 2",
    );
    refused(
        gram(1.0, a.t(), 0.0, &mut c.view_mut()),
        LinalgError::Shape { what: "C in C = A Aᵀ", expected: (3, 3), found: (2, 2) },
        "C in C = A Aᵀ must be 3 x 3, found 2 x 2",
    );
    let mut y = Array1::<f64>::ones(2);
    refused(
        gemv(1.0, a.view(), Array1::ones(2).view(), 0.0, &mut y.view_mut()),
        LinalgError::Shape { what: "x in A x", expected: (3, 1), found: (2, 1) },
        "x in A x must be 3 x 1, found 2 x 1",
    );
    refused(
        gemv(1.0, a.t(), Array1::ones(2).view(), 0.0, &mut y.view_mut()),
        LinalgError::Shape { what: "y in y = A x", expected: (3, 1), found: (2, 1) },
        "y in y = A x must be 3 x 1, found 2 x 1",
    );
    refused(
        triangular_product(a.view(), &mut c.view_mut()),
        LinalgError::NotSquare { rows: 2, cols: 3 },
        "a square matrix is needed, found 2 x 3",
    );
    let cholesky = Cholesky::<f64>::with_dimension(3);
    let text = "right-hand side must be 3 x 2, found 2 x 2";
    let error = LinalgError::Shape { what: "right-hand side", expected: (3, 2), found: (2, 2) };
    refused(cholesky.solve_left(&mut c.view_mut()), error, text);
    let text = "right-hand side must be 2 x 3, found 2 x 2";
    let error = LinalgError::Shape { what: "right-hand side", expected: (2, 3), found: (2, 2) };
    refused(cholesky.solve_right(&mut c.view_mut()), error, text);
    assert_eq!(c, Array2::<f64>::ones((2, 2)));
    assert_eq!(y, Array1::<f64>::ones(2));

    let square = Array2::<f64>::eye(2);
    refused(
        Cholesky::with_dimension(3).factor(square.view(), 0.0),
        LinalgError::Shape { what: "matrix to factor", expected: (3, 3), found: (2, 2) },
        "matrix to factor must be 3 x 3, found 2 x 2",
    );
    refused(
        Cholesky::with_dimension(3).set_lower(square.view()),
        LinalgError::Shape { what: "lower factor", expected: (3, 3), found: (2, 2) },
        "lower factor must be 3 x 3, found 2 x 2",
    );
    let mut eigen = SymmetricEigen::with_dimension(3);
    refused(
        eigen.decompose(square.view()),
        LinalgError::Shape { what: "matrix to decompose", expected: (3, 3), found: (2, 2) },
        "matrix to decompose must be 3 x 3, found 2 x 2",
    );
    refused(
        eigen.inverse_root_into(0.5, &RootOptions::default(), &mut c.view_mut()),
        LinalgError::Shape { what: "inverse root", expected: (3, 3), found: (2, 2) },
        "inverse root must be 3 x 3, found 2 x 2",
    );
    refused(
        eigen.reconstruct_into(&mut c.view_mut()),
        LinalgError::Shape { what: "reconstruction", expected: (3, 3), found: (2, 2) },
        "reconstruction must be 3 x 3, found 2 x 2",
    );
    refused(
        RowOrthonormalizer::with_shape(1, 2).orthonormalize(&mut c.view_mut()),
        LinalgError::Shape { what: "matrix to orthonormalize", expected: (1, 2), found: (2, 2) },
        "matrix to orthonormalize must be 1 x 2, found 2 x 2",
    );
    refused(
        NewtonSchulz::default().apply(&mut c.view_mut(), &mut PolarWorkspace::with_shape(2, 3)),
        LinalgError::Shape {
            what: "matrix for the polar workspace",
            expected: (2, 3),
            found: (2, 2),
        },
        "matrix for the polar workspace must be 2 x 3, found 2 x 2",
    );
    for result in [
        Cholesky::new(a.view(), 0.0).map(|_| ()),
        Cholesky::from_lower(a.view()).map(|_| ()),
        SymmetricEigen::new(a.view()).map(|_| ()),
        inverse_root(a.view(), 0.5, &RootOptions::default()).map(|_| ()),
    ] {
        assert_eq!(result, Err(LinalgError::NotSquare { rows: 2, cols: 3 }));
    }
}

#[test]
fn entries() {
    let broken = array![[1.0, 2.0], [f64::NEG_INFINITY, f64::NAN]];
    let error = LinalgError::NonFinite { row: 1, col: 0, value: f64::NEG_INFINITY };
    let text = "entry (1, 0) is -inf, not a finite number";
    refused(Cholesky::new(broken.view(), 0.0), error.clone(), text);
    refused(SymmetricEigen::new(broken.view()), error.clone(), text);
    refused(singular_values(broken.view()), error.clone(), text);
    refused(polar_factor_exact(broken.view()), error.clone(), text);
    let mut m = broken.clone();
    let mut work = PolarWorkspace::with_shape(2, 2);
    refused(NewtonSchulz::default().apply(&mut m.view_mut(), &mut work), error, text);

    refused(
        SymmetricEigen::new(array![[1.0, 2.0], [2.5, 1.0]].view()),
        LinalgError::NotSymmetric { row: 1, col: 0, difference: 0.5 },
        "a symmetric matrix is needed, but entries (1, 0) and (0, 1) differ by 5e-1",
    );
    refused(
        Cholesky::new(array![[1.0, 2.0], [2.0, 1.0]].view(), 0.0),
        LinalgError::NotPositiveDefinite { minor: 2 },
        "not positive definite: the leading minor of order 2 is not positive",
    );
    let zero = array![[1.0, 0.0], [2.0, 0.0]];
    let mut b = array![[1.0], [2.0]];
    let error = LinalgError::SingularTriangle { index: 1 };
    let text = "the triangular matrix is singular: diagonal entry 1 is zero";
    refused(solve_lower(zero.view(), &mut b.view_mut()), error.clone(), text);
    refused(solve_lower_transposed(zero.view(), &mut b.view_mut()), error, text);
    assert_eq!(b, array![[1.0], [2.0]]);
    let text = LinalgError::EigenvalueNotPositive { value: -1.0, floor: 1e-15 }.to_string();
    assert_eq!(
        text,
        "the inverse root needs eigenvalues above 1e-15 (rounding or cut-off, after the ridge), \
         found -1e0"
    );
    assert_eq!(
        LinalgError::RankDeficient { rank: 2, needed: 3 }.to_string(),
        "rank 2 where 3 is needed"
    );
    assert_eq!(
        LinalgError::NoConvergence { routine: "eigendecomposition", info: 4 }.to_string(),
        "eigendecomposition did not converge (info 4)"
    );
    assert_eq!(LinalgError::Empty { what: "matrix" }.to_string(), "matrix has no entries");
}

#[test]
fn parameters() {
    let s = Array2::<f64>::eye(2);
    let ridge = |value| LinalgError::InvalidParameter {
        name: "ridge",
        value,
        allowed: "finite and at least 0",
    };
    let text = "ridge = -1 is not allowed: it must be finite and at least 0";
    refused(Cholesky::new(s.view(), -1.0), ridge(-1.0), text);
    for option in
        [Ridge::Absolute(-1.0), Ridge::RelativeToLargest(-1.0), Ridge::RelativeToTrace(-1.0)]
    {
        let options = RootOptions { ridge: option, pseudo_inverse: None };
        refused(inverse_root(s.view(), 0.5, &options), ridge(-1.0), text);
    }
    assert!(Cholesky::new(s.view(), f64::NAN).is_err());
    assert_eq!(Cholesky::new(s.view(), f64::INFINITY).unwrap_err(), ridge(f64::INFINITY));
    for exponent in [0.0, -0.5, f64::INFINITY] {
        refused(
            inverse_root(s.view(), exponent, &RootOptions::default()),
            LinalgError::InvalidParameter {
                name: "exponent",
                value: exponent,
                allowed: "finite and positive",
            },
            &format!("exponent = {exponent} is not allowed: it must be finite and positive"),
        );
    }
    for cutoff in [1.0, -1e-3] {
        let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(cutoff.into()) };
        refused(
            inverse_root(s.view(), 0.5, &options),
            LinalgError::InvalidParameter {
                name: "pseudo_inverse",
                value: cutoff,
                allowed: "at least 0 and less than 1",
            },
            &format!(
                "pseudo_inverse = {cutoff} is not allowed: it must be at least 0 and less than 1"
            ),
        );
    }
    let cutoff = Cutoff { relative: 0.0, absolute: f64::INFINITY };
    let options = RootOptions { ridge: Ridge::None, pseudo_inverse: Some(cutoff) };
    refused(
        inverse_root(s.view(), 0.5, &options),
        LinalgError::InvalidParameter {
            name: "pseudo_inverse.absolute",
            value: f64::INFINITY,
            allowed: "finite and at least 0",
        },
        "pseudo_inverse.absolute = inf is not allowed: it must be finite and at least 0",
    );
    let mut m = s.clone();
    let mut work = PolarWorkspace::with_shape(2, 2);
    let method = NewtonSchulz { epsilon: -1.0, ..NewtonSchulz::default() };
    refused(
        method.apply(&mut m.view_mut(), &mut work),
        LinalgError::InvalidParameter {
            name: "epsilon",
            value: -1.0,
            allowed: "finite and at least 0",
        },
        "epsilon = -1 is not allowed: it must be finite and at least 0",
    );
    let method =
        NewtonSchulz { polynomials: vec![[1.0, f64::INFINITY, 0.0]], ..NewtonSchulz::default() };
    refused(
        method.apply(&mut m.view_mut(), &mut work),
        LinalgError::InvalidParameter {
            name: "coefficients",
            value: f64::INFINITY,
            allowed: "finite",
        },
        "coefficients = inf is not allowed: it must be finite",
    );
    assert_eq!(m, s);
}

#[test]
fn the_backend_is_described() {
    set_backend_threads(1);
    let backend = backend();
    let openblas = cfg!(any(feature = "openblas-system", feature = "openblas-static"));
    let (library, name) =
        if openblas { (Library::OpenBlas, "OpenBLAS ") } else { (Library::Faer, "faer ") };
    assert_eq!(backend.library, library);
    assert!(!backend.beyond_processor, "{backend:?}");
    let version = backend.name.strip_prefix(name).unwrap();
    assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{backend:?}");
    assert!(!backend.kernel.is_empty(), "{backend:?}");
    assert_eq!(backend.to_string(), format!("{}, kernel {}", backend.name, backend.kernel));
    if !openblas {
        assert_eq!((backend.better_kernel, backend.refused_kernel), (None, None));
    }
}
