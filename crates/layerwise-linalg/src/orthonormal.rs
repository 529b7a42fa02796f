//! Orthonormal bases of row spaces.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use crate::{
    LinalgError, Result, Scalar,
    backend::QrWork,
    check,
};

/// Replaces the rows of k × d matrices by an orthonormal basis of the space that they span.
///
/// G = L Q with L lower triangular and Q's rows orthonormal; L's diagonal is made positive, which
/// makes Q unique and the map G ↦ Q continuous. Q is G itself, up to rounding, where G's rows are
/// orthonormal already. Holds all storage: nothing is allocated after construction.
///
/// Source: Householder QR of Gᵀ, LAPACK's `geqrf` and `orgqr`.
#[derive(Debug, Clone)]
pub struct RowOrthonormalizer<A> {
    buffer: Array2<A>,
    signs: Vec<A>,
    work: QrWork<A>,
}

impl<A: Scalar> RowOrthonormalizer<A> {
    /// Storage for k × d matrices. For k > d no matrix has rank k, and every one is refused.
    pub fn with_shape(k: usize, d: usize) -> Self {
        Self {
            buffer: Array2::zeros((k, d)),
            signs: vec![A::one(); k],
            work: (A::ROUTINES.qr_work)(k.min(d), d),
        }
    }

    /// G ← Q, without allocating.
    ///
    /// A row counts as dependent on those before it where its distance from their span is at most
    /// d ε times its norm: a criterion that does not change when rows are scaled.
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
        let failed = LinalgError::TooLarge { rows: k, cols: d };
        self.buffer.assign(g);
        self.balance_rows();
        let Some(entries) = self.buffer.as_slice_mut() else { return Err(failed) };
        (A::ROUTINES.lq)(entries, &mut self.work)?;
        let tolerance = d as f64 * A::epsilon().as_f64();
        let mut rank = 0;
        for (i, sign) in self.signs.iter_mut().enumerate() {
            let diagonal = self.buffer[[i, i]];
            let column = self.buffer.slice(s![i, ..=i]);
            let norm = column.iter().map(|x| x.as_f64().powi(2)).sum::<f64>().sqrt();
            if diagonal.abs().as_f64() > tolerance * norm {
                rank += 1;
            }
            *sign = diagonal.signum();
        }
        if rank < k {
            return Err(LinalgError::RankDeficient { rank, needed: k });
        }
        let Some(entries) = self.buffer.as_slice_mut() else { return Err(failed) };
        (A::ROUTINES.basis)(entries, &mut self.work)?;
        for ((mut target, source), &sign) in
            g.rows_mut().into_iter().zip(self.buffer.rows()).zip(&self.signs)
        {
            target.zip_mut_with(&source, |t, &q| *t = sign * q);
        }
        Ok(())
    }

    /// Scales each row by a power of two to a largest entry in [1, 2). This changes no digit and
    /// not Q, and keeps squares from overflowing and underflowing.
    fn balance_rows(&mut self) {
        for mut row in self.buffer.rows_mut() {
            let largest = row.iter().fold(A::zero(), |m, &x| m.max(x.abs())).as_f64();
            if largest > 0.0 {
                let exponent = -largest.log2().floor();
                // In two halves: one power alone may overflow.
                let half = (exponent / 2.0).trunc();
                let (first, second) =
                    (A::from_f64(half.exp2()), A::from_f64((exponent - half).exp2()));
                row.mapv_inplace(|x| x * first * second);
            }
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
