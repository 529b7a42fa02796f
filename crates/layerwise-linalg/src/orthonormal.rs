//! Orthonormal bases of row spaces.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::{LinalgError, Result, Scalar, backend::QrWork, check, scaling::Scaling};

/// Replaces the rows of k × d matrices by an orthonormal basis of the space that they span.
///
/// G = L Q with L lower triangular and Q's rows orthonormal; L's diagonal is made positive, which
/// makes Q unique and the map G ↦ Q continuous. Q is G itself, up to rounding, where G's rows are
/// orthonormal already. Holds all storage: nothing is allocated after construction.
///
/// Source: Householder QR of Gᵀ, as LAPACK's `geqrf` and `orgqr`.
#[derive(Debug, Clone)]
pub struct RowOrthonormalizer<A> {
    buffer: Array2<A>,
    /// The rows' norms, and L's diagonal.
    norms: Vec<A>,
    diagonal: Vec<A>,
    work: QrWork<A>,
}

impl<A: Scalar> RowOrthonormalizer<A> {
    /// Storage for k × d matrices. For k > d no matrix has rank k, and every one is refused.
    pub fn with_shape(k: usize, d: usize) -> Self {
        Self {
            buffer: Array2::zeros((k, d)),
            norms: vec![A::zero(); k],
            diagonal: vec![A::zero(); k.min(d)],
            work: (A::ROUTINES.qr_work)(k.min(d), d),
        }
    }

    /// The bytes of its arrays, the backend's workspace included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<A>() * (self.buffer.len() + self.norms.len() + self.diagonal.len())
            + self.work.memory_bytes()
    }

    /// G ← Q, without allocating.
    ///
    /// A row counts as dependent on those before it where its distance from their span is at most
    /// 8 d ε times its norm: a criterion that does not change when rows are scaled, and above the d ε that
    /// rounding may leave of a dependent row, so that no processor's last bits decide.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`], [`LinalgError::NonFinite`], and [`LinalgError::RankDeficient`] where
    /// a row depends on those before it. G stays as it was.
    pub fn orthonormalize(&mut self, g: &mut ArrayViewMut2<A>) -> Result<()> {
        let (k, d) = self.buffer.dim();
        check::shape("matrix to orthonormalize", g.dim(), (k, d))?;
        if k > d {
            return Err(LinalgError::RankDeficient { rank: d, needed: k });
        }
        check::finite(g.view())?;
        if k == 0 {
            return Ok(());
        }
        self.factorize(g)?;
        let tolerance = 8.0 * d as f64 * A::epsilon().as_f64();
        let independent = self.diagonal.iter().zip(&self.norms);
        let rank = independent
            .filter(|(diagonal, norm)| diagonal.abs().as_f64() > tolerance * norm.as_f64())
            .count();
        if rank < k {
            return Err(LinalgError::RankDeficient { rank, needed: k });
        }
        self.take(g);
        Ok(())
    }

    /// As [`orthonormalize`](Self::orthonormalize), for rows of any rank: where one depends on those before
    /// it, rounding chooses a unit vector orthogonal to the others.
    ///
    /// # Errors
    ///
    /// [`LinalgError::Shape`], also for k > d, and [`LinalgError::NonFinite`]. G stays as it was.
    pub fn orthonormal_factor(&mut self, g: &mut ArrayViewMut2<A>) -> Result<()> {
        let (k, d) = self.buffer.dim();
        check::shape("matrix to orthonormalize", g.dim(), (k.min(d), d))?;
        check::finite(g.view())?;
        if k > 0 {
            self.factorize(g)?;
            self.take(g);
        }
        Ok(())
    }

    /// The buffer ← rows of Q up to their signs, which are those of the diagonal.
    fn factorize(&mut self, g: &ArrayViewMut2<A>) -> Result<()> {
        let (rows, cols) = self.buffer.dim();
        self.buffer.assign(g);
        self.balance_rows();
        match self.buffer.as_slice_mut() {
            Some(entries) => {
                (A::ROUTINES.orthonormalize)(entries, &mut self.diagonal, &mut self.work)
            }
            None => Err(LinalgError::TooLarge { rows, cols }),
        }
    }

    fn take(&self, g: &mut ArrayViewMut2<A>) {
        for ((mut target, source), diagonal) in
            g.rows_mut().into_iter().zip(self.buffer.rows()).zip(&self.diagonal)
        {
            let sign = diagonal.signum();
            target.zip_mut_with(&source, |t, &q| *t = sign * q);
        }
    }

    /// Scales each row to a largest entry in [1, 2), which does not change Q, and takes its norm.
    fn balance_rows(&mut self) {
        for (mut row, norm) in self.buffer.rows_mut().into_iter().zip(&mut self.norms) {
            let largest = row.iter().fold(A::zero(), |m, &x| m.max(x.abs()));
            let scaling = Scaling::of(largest);
            row.mapv_inplace(|x| scaling.scale(x));
            *norm = row.iter().fold(A::zero(), |sum, &x| sum + x * x).sqrt();
        }
    }
}

/// An orthonormal basis of the row space of a k × d matrix of rank k, as the rows of a k × d
/// matrix; see [`RowOrthonormalizer`], which does not allocate.
///
/// # Errors
///
/// [`LinalgError::NonFinite`], [`LinalgError::RankDeficient`].
pub fn orthonormal_rows<A: Scalar>(g: ArrayView2<A>) -> Result<Array2<A>> {
    let (k, d) = g.dim();
    let mut q = Array2::zeros((k, d));
    q.assign(&g);
    RowOrthonormalizer::with_shape(k, d).orthonormalize(&mut q.view_mut())?;
    Ok(q)
}
