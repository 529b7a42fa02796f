//! The calls that methods cannot do without.

use layerwise_linalg::ndarray::Array2;
use layerwise_linalg::{Cholesky, Result, Scalar, SymmetricEigen, gemm, gram};

use crate::{normals, second_moment};

/// Calls in the manner of BLAS and LAPACK on n × n matrices, by way of `layerwise-linalg`, whose
/// checks of shapes, finiteness and symmetry are included.
pub struct Calls<A> {
    dense: Array2<A>,
    moment: Array2<A>,
    out: Array2<A>,
    cholesky: Cholesky<A>,
    eigen: SymmetricEigen<A>,
}

impl<A: Scalar> Calls<A> {
    /// # Errors
    /// None for n that fit into memory.
    pub fn new(n: usize) -> Result<Self> {
        let moment = second_moment(n, 6)?;
        Ok(Calls {
            dense: normals(n, n, 5),
            out: Array2::zeros((n, n)),
            cholesky: Cholesky::new(moment.view(), A::from_f64(1e-6))?,
            eigen: SymmetricEigen::with_dimension(n),
            moment,
        })
    }

    fn gemm(&mut self) -> Result<()> {
        let out = &mut self.out.view_mut();
        gemm(A::one(), self.dense.view(), self.moment.view(), A::zero(), out)
    }

    fn syrk(&mut self) -> Result<()> {
        gram(A::one(), self.dense.view(), A::zero(), &mut self.out.view_mut())
    }

    fn potrf(&mut self) -> Result<()> {
        self.cholesky.factor(self.moment.view(), A::from_f64(1e-6))
    }

    /// Two triangular solves with n right-hand sides.
    fn trsm_pair(&mut self) -> Result<()> {
        self.out.assign(&self.dense);
        self.cholesky.solve_right(&mut self.out.view_mut())
    }

    fn potri(&mut self) -> Result<()> {
        self.cholesky.inverse_into(&mut self.out.view_mut())
    }

    fn syevd(&mut self) -> Result<()> {
        self.eigen.decompose(self.moment.view())
    }

    fn times(&mut self, count: usize, call: fn(&mut Self) -> Result<()>) -> Result<()> {
        (0..count).try_for_each(|_| call(self))
    }
}

/// The calls of a step, by the method's name.
type Step<A> = (&'static str, fn(&mut Calls<A>) -> Result<()>);

/// Muon: per Newton-Schulz step XXᵀ, its square, and a product with X. KFAC: a factorization and
/// a pair of solves a side; with inverses, one a side, and a product for the pair. Shampoo: a Gram matrix and a product a side, and for the root an
/// eigendecomposition and a Gram matrix. SOAP: a Gram matrix a side; gradient and momentum
/// rotated into the basis, the direction out of it, two products each; an eigendecomposition a
/// side.
#[must_use]
pub fn unavoidable_calls<A: Scalar>() -> Vec<Step<A>> {
    vec![
        ("muon", |calls| {
            calls.times(10, Calls::syrk)?;
            calls.times(5, Calls::gemm)
        }),
        ("kfac_plain", |calls| calls.times(2, Calls::trsm_pair)),
        ("kfac_refreshing", |calls| {
            calls.times(2, Calls::potrf)?;
            calls.times(2, Calls::trsm_pair)
        }),
        ("kfac_inverses_plain", |calls| calls.times(2, Calls::gemm)),
        ("kfac_inverses_refreshing", |calls| {
            calls.times(2, Calls::potrf)?;
            calls.times(2, Calls::potri)?;
            calls.times(2, Calls::gemm)
        }),
        ("shampoo_plain", |calls| {
            calls.times(2, Calls::syrk)?;
            calls.times(2, Calls::gemm)
        }),
        ("shampoo_refreshing", |calls| {
            calls.times(2, Calls::syevd)?;
            calls.times(4, Calls::syrk)?;
            calls.times(2, Calls::gemm)
        }),
        ("soap_plain", |calls| {
            calls.times(2, Calls::syrk)?;
            calls.times(6, Calls::gemm)
        }),
        ("soap_refreshing", |calls| {
            calls.times(2, Calls::syevd)?;
            calls.times(2, Calls::syrk)?;
            calls.times(6, Calls::gemm)
        }),
        ("one_sided_kfac", |calls| {
            calls.potrf()?;
            calls.trsm_pair()
        }),
    ]
}
