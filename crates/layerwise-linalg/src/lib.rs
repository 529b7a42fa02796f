//! Dense linear algebra for layer-wise preconditioning: what a Kronecker-factored optimizer needs
//! of linear algebra, in `f32` and `f64`, with typed errors and without allocation on the paths that a
//! training step takes.
//!
//! | subject | items |
//! |---|---|
//! | products and triangular solves | [`gemm`], [`gram`], [`gemv`], [`mirror_lower`], [`symmetrize`], [`triangular_product`], [`solve_lower`], [`solve_lower_transposed`] |
//! | symmetric positive definite systems | [`Cholesky`], [`check_symmetric`] |
//! | symmetric eigenproblems, inverse roots | [`SymmetricEigen`], [`inverse_root`], [`RootOptions`], [`Ridge`], [`Cutoff`], [`CoupledNewton`] |
//! | orthonormal rows | [`RowOrthonormalizer`], [`orthonormal_rows`] |
//! | polar factors | [`NewtonSchulz`], [`minimax_polynomials`], [`PolarWorkspace`], [`ExactPolar`], [`polar_factor_exact`] |
//! | singular values | [`singular_values`], [`thin_svd`], [`leading_right_singular_vector`] |
//! | the backend itself | [`backend()`], [`Backend`], [`set_backend_threads`] |
//!
//! Matrices are [`ndarray`] arrays and views. Every function accepts row-major and column-major
//! storage, transposes and sub-blocks of either without a copy; OpenBLAS gets a copy of an operand
//! with other strides. The types named after a factorization hold their storage: after the first call on
//! each thread their methods do not allocate, unless a product is shared out to several threads. On an
//! error they keep the factorization that they had. Functions that write into a caller's array leave it as
//! it was when they return an error.
//!
//! # Choosing a backend
//!
//! | feature | linear algebra |
//! |---|---|
//! | `pure-rust` (default) | [faer](https://docs.rs/faer), with symmetric eigendecompositions and QR of our own: nothing to install, products with the best vectors of the processor (decompositions with AVX2 at most), results that do not depend on the number of threads |
//! | `openblas-system` | the OpenBLAS of the system |
//! | `openblas-static` | OpenBLAS, built from source: needs make, a C and a Fortran compiler |
//!
//! Features add up: where one of OpenBLAS's is on, OpenBLAS serves, whatever else is; of both, the
//! system's. Without any the crate refuses to compile. [`backend()`] tells what serves.
//!
//! # Example
//!
//! ```
//! use layerwise_linalg::{Cholesky, RootOptions, inverse_root, ndarray::array};
//!
//! let s = array![[4.0, 1.0], [1.0, 3.0]];
//! let mut x = array![[1.0], [2.0]];
//! Cholesky::new(s.view(), 0.0)?.solve_left(&mut x.view_mut())?;
//! assert!((x[[0, 0]] - 1.0 / 11.0_f64).abs() < 1e-15);
//!
//! let root = inverse_root(s.view(), 0.5, &RootOptions::default())?;
//! let identity = root.dot(&s).dot(&root);
//! assert!((identity[[0, 0]] - 1.0).abs() < 1e-14);
//! # Ok::<(), layerwise_linalg::LinalgError>(())
//! ```

#[cfg(not(any(feature = "pure-rust", feature = "openblas-system", feature = "openblas-static")))]
compile_error!(
    "layerwise-linalg needs a backend: enable the feature `pure-rust` (the default), \
     `openblas-system` (links the installed OpenBLAS) or `openblas-static` (builds OpenBLAS from \
     source)"
);

mod backend;
mod check;
mod cholesky;
mod coupled_newton;
mod eigen;
mod error;
mod inverse_root;
mod minimax;
mod orthonormal;
mod polar;
mod product;
mod runtime;
mod scalar;
mod scaling;
mod singular;

pub use ndarray;

pub use check::check_symmetric;
pub use cholesky::Cholesky;
pub use coupled_newton::{CoupledNewton, CoupledNewtonWorkspace};
pub use eigen::SymmetricEigen;
pub use error::{LinalgError, Result};
pub use inverse_root::{Cutoff, Ridge, RootOptions, inverse_root};
pub use minimax::{Margins, OddDegree, minimax_polynomials};
pub use orthonormal::{RowOrthonormalizer, orthonormal_rows};
pub use polar::{ExactPolar, NewtonSchulz, PolarWorkspace, polar_factor_exact};
pub use product::{
    gemm, gemv, gram, mirror_lower, solve_lower, solve_lower_transposed, symmetrize,
    triangular_product,
};
pub use runtime::{Backend, KERNEL_VARIABLE, Library, backend, set_backend_threads};
pub use scalar::Scalar;
pub use singular::{leading_right_singular_vector, singular_values, thin_svd};
