//! The eigenvectors of a factor, from those that are held of it.

use layerwise_linalg::{
    RowOrthonormalizer, Scalar, SymmetricEigen, check_symmetric, gemm, gram, symmetrize,
};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::config::basis::{BasisMethod, ColumnOrder};
use crate::numeric::finite::bytes;
use crate::stages::drift::off_diagonal_share;

/// Finds the eigenvectors of factors of one size, n × n.
#[derive(Debug)]
pub(crate) struct Eigenvectors<A> {
    eigen: SymmetricEigen<A>,
    order: ColumnOrder,
    /// None where eigendecompositions are all that is asked for.
    iteration: Option<Iteration<A>>,
}

/// How eigenvectors were found, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// By an eigendecomposition, which has them.
    Decomposed,
    /// From those held, in the place for the next ones.
    Iterated,
    /// Those held serve on.
    Kept,
}

/// Workspace of orthogonal iteration, and what it found.
#[derive(Debug)]
struct Iteration<A> {
    /// The most steps of a refresh; none where it is only asked whether one is needed.
    steps: u32,
    orthonormalizer: RowOrthonormalizer<A>,
    product: Array2<A>,
    work: Array2<A>,
    /// The basis between two steps of a refresh, where it takes several.
    between: Array2<A>,
    /// Rayleigh quotients, and the order of columns that they give.
    quotients: Vec<f64>,
    order: Vec<usize>,
    /// The quotients in that order.
    values: Array1<A>,
}

impl<A: Scalar> Eigenvectors<A> {
    pub(crate) fn new(n: usize, method: &BasisMethod, order: ColumnOrder) -> Self {
        let steps = match method {
            BasisMethod::Eigendecomposition { tolerance: 0.0 } => None,
            BasisMethod::Eigendecomposition { .. } => Some(0),
            BasisMethod::QrStep { steps, .. } => Some(*steps),
        };
        Eigenvectors {
            eigen: SymmetricEigen::with_dimension(n),
            order,
            iteration: steps.map(|steps| Iteration::new(n, steps)),
        }
    }

    /// Eigenvectors of `moment/correction`, from the columns of `current`. `next` is overwritten where
    /// they are iterated, and else may be.
    pub(crate) fn refresh(
        &mut self,
        method: &BasisMethod,
        time: u64,
        (moment, correction): (ArrayView2<'_, A>, f64),
        current: &Array2<A>,
        next: &mut Array2<A>,
    ) -> layerwise_linalg::Result<Found> {
        match (method, &mut self.iteration) {
            (BasisMethod::Eigendecomposition { tolerance }, Some(iteration)) => {
                if iteration.diagonalizes(moment, current, *tolerance)? {
                    return Ok(Found::Kept);
                }
            }
            (BasisMethod::QrStep { ridge, tolerance, .. }, Some(iteration)) => {
                // The scale does not matter: S + c r I, c the divisor of the bias correction.
                let added = ridge.value(time) * correction;
                let given = (moment, added);
                iteration.qr_steps(given, *tolerance, self.order, current, next)?;
                return Ok(Found::Iterated);
            }
            (_, None) => {}
        }
        self.decompose(moment)
    }

    /// As [`refresh`](Self::refresh), by one step from the columns of `current` in descending order of
    /// their Rayleigh quotients, to which they are put first.
    pub(crate) fn power_step(
        &mut self,
        moment: ArrayView2<'_, A>,
        added: f64,
        current: &Array2<A>,
        next: &mut Array2<A>,
    ) -> layerwise_linalg::Result<Found> {
        let Some(iteration) = &mut self.iteration else { return self.decompose(moment) };
        iteration.power_step(moment, added, current, next)?;
        Ok(Found::Iterated)
    }

    pub(crate) fn decompose(
        &mut self,
        moment: ArrayView2<'_, A>,
    ) -> layerwise_linalg::Result<Found> {
        self.eigen.decompose(moment)?;
        Ok(Found::Decomposed)
    }

    /// The condition number of what was decomposed, or a lower bound from Rayleigh quotients (of
    /// [`power_step`](Self::power_step), of the basis before it), which are of the factor with its
    /// ridge.
    pub(crate) fn condition(&self, found: Found) -> f64 {
        let extremes = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, 0.0_f64), |(least, most), x| (least.min(x), most.max(x)))
        };
        let (least, most) = match (found, &self.iteration) {
            (Found::Decomposed, _) | (_, None) => {
                extremes(&mut self.eigen.values().iter().map(|x| x.as_f64()))
            }
            (Found::Iterated | Found::Kept, Some(iteration)) => {
                extremes(&mut iteration.quotients.iter().copied())
            }
        };
        if least > 0.0 { most / least } else { f64::INFINITY }
    }

    /// The decomposition last made or [taken](Self::take).
    pub(crate) fn eigen(&mut self) -> &mut SymmetricEigen<A> {
        &mut self.eigen
    }

    /// Takes the vectors found last of `moment` for its eigendecomposition, with their Rayleigh quotients
    /// for eigenvalues. The vectors are in `next` afterwards.
    pub(crate) fn take(
        &mut self,
        found: Found,
        moment: ArrayView2<'_, A>,
        current: &Array2<A>,
        next: &mut Array2<A>,
    ) -> layerwise_linalg::Result<()> {
        match (found, &mut self.iteration) {
            (Found::Kept, Some(iteration)) => {
                permute_columns(next, current, &iteration.order);
                self.eigen.set(iteration.values.view(), next.view())
            }
            (Found::Iterated, Some(iteration)) => {
                iteration.measure(moment, next)?;
                self.eigen.set(iteration.values.view(), iteration.product.view())
            }
            (Found::Decomposed, _) | (_, None) => {
                self.decomposed_into(next);
                Ok(())
            }
        }
    }

    /// The eigenvectors of a decomposition in their order.
    pub(crate) fn decomposed_into(&self, next: &mut Array2<A>) {
        match self.order {
            ColumnOrder::Ascending => next.assign(&self.eigen.vectors()),
            ColumnOrder::Descending => next.assign(&self.eigen.vectors().slice(s![.., ..;-1])),
        }
    }

    /// The order of columns that [`power_step`](Self::power_step) took.
    pub(crate) fn order(&self) -> &[usize] {
        self.iteration.as_ref().map_or(&[], |iteration| &iteration.order)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.eigen.memory_bytes() + self.iteration.as_ref().map_or(0, Iteration::memory_bytes)
    }
}

impl<A: Scalar> Iteration<A> {
    fn new(n: usize, steps: u32) -> Self {
        let square =
            |needed: bool| if needed { Array2::zeros((n, n)) } else { Array2::zeros((0, 0)) };
        let rows = if steps > 0 { n } else { 0 };
        Iteration {
            steps,
            orthonormalizer: RowOrthonormalizer::with_shape(rows, rows),
            product: square(true),
            work: square(true),
            between: square(steps > 1),
            quotients: vec![0.0; n],
            order: (0..n).collect(),
            values: Array1::zeros(n),
        }
    }

    /// Whether `QᵀSQ` is diagonal to a tolerance.
    fn diagonalizes(
        &mut self,
        moment: ArrayView2<'_, A>,
        current: &Array2<A>,
        tolerance: f64,
    ) -> layerwise_linalg::Result<bool> {
        check_symmetric(moment)?;
        let (one, zero) = (A::one(), A::zero());
        gemm(one, moment, current.view(), zero, &mut self.work.view_mut())?;
        gemm(one, current.t(), self.work.view(), zero, &mut self.product.view_mut())?;
        let found = is_diagonal(&mut self.product, &mut self.quotients, tolerance);
        self.sort(ColumnOrder::Ascending);
        Ok(found)
    }

    /// The quotients of these columns by `S` itself, as values, and in the product the columns in their
    /// order. Those of `S + r I` do not tell eigenvalues that are small beside `r`.
    fn measure(
        &mut self,
        moment: ArrayView2<'_, A>,
        vectors: &Array2<A>,
    ) -> layerwise_linalg::Result<()> {
        gemm(A::one(), moment, vectors.view(), A::zero(), &mut self.work.view_mut())?;
        self.quotients_of_columns(vectors);
        self.sort(ColumnOrder::Ascending);
        permute_columns(&mut self.product, vectors, &self.order);
        Ok(())
    }

    /// The inner products of these columns with those of the work.
    fn quotients_of_columns(&mut self, vectors: &Array2<A>) {
        self.quotients.fill(0.0);
        for (row, q) in self.work.rows().into_iter().zip(vectors.rows()) {
            for ((quotient, a), b) in self.quotients.iter_mut().zip(row).zip(q) {
                *quotient += a.as_f64() * b.as_f64();
            }
        }
    }

    /// The QR algorithm on `B = Qᵀ(S + added I)Q`, columns in order of quotient afterwards.
    fn qr_steps(
        &mut self,
        (moment, added): (ArrayView2<'_, A>, f64),
        tolerance: f64,
        order: ColumnOrder,
        current: &Array2<A>,
        next: &mut Array2<A>,
    ) -> layerwise_linalg::Result<()> {
        check_symmetric(moment)?;
        let (one, zero) = (A::one(), A::zero());
        let (product, work) = (&mut self.product, &mut self.work);
        work.assign(current);
        gemm(one, moment, current.view(), A::from_f64(added), &mut work.view_mut())?;
        // B is symmetric, so that its rows are its columns; B = U R.
        gemm(one, current.t(), work.view(), zero, &mut product.view_mut())?;
        work.assign(current);
        for step in 0..self.steps {
            if tolerance > 0.0 && is_diagonal(product, &mut self.quotients, tolerance) {
                break;
            }
            // From here on `work` is B, and Q stands in `between`, after the first step.
            if step > 0 {
                self.between.assign(work);
            }
            work.assign(product);
            self.orthonormalizer.orthonormal_factor(&mut product.view_mut())?;
            // R U is UᵀBU; here `product` is Uᵀ and `next` becomes UᵀB.
            gemm(one, product.view(), work.view(), zero, &mut next.view_mut())?;
            for ((quotient, row), u) in
                self.quotients.iter_mut().zip(next.rows()).zip(product.rows())
            {
                *quotient = row.iter().zip(u).map(|(a, b)| a.as_f64() * b.as_f64()).sum();
            }
            let before = if step > 0 { self.between.view() } else { current.view() };
            gemm(one, before, product.t(), zero, &mut work.view_mut())?;
            if step + 1 < self.steps {
                self.between.assign(product);
                gemm(one, next.view(), self.between.t(), zero, &mut product.view_mut())?;
                symmetrize(&mut product.view_mut());
            }
        }
        self.sort(order);
        permute_columns(next, &self.work, &self.order);
        // Products of orthogonal matrices drift from orthogonality; Q ← Q (3 I − QᵀQ)/2 takes the
        // drift d to d².
        let (half, three_halves) = (A::from_f64(0.5), A::from_f64(1.5));
        gram(one, next.t(), zero, &mut self.product.view_mut())?;
        self.work.assign(next);
        let correction = self.product.view();
        gemm(-half, self.work.view(), correction, three_halves, &mut next.view_mut())
    }

    fn power_step(
        &mut self,
        moment: ArrayView2<'_, A>,
        added: f64,
        current: &Array2<A>,
        next: &mut Array2<A>,
    ) -> layerwise_linalg::Result<()> {
        check_symmetric(moment)?;
        self.work.assign(current);
        let added = A::from_f64(added);
        gemm(A::one(), moment, current.view(), added, &mut self.work.view_mut())?;
        self.quotients_of_columns(current);
        self.sort(ColumnOrder::Descending);
        assign_columns(&mut self.product, &self.work, self.order.iter().copied());
        self.orthonormalizer.orthonormal_factor(&mut self.product.view_mut())?;
        assign_columns(next, &self.product, 0..self.product.ncols());
        Ok(())
    }

    /// Orders columns by quotient, equal ones in their former order; without allocation.
    fn sort(&mut self, order: ColumnOrder) {
        for (index, slot) in self.order.iter_mut().enumerate() {
            *slot = index;
        }
        let quotients = &self.quotients;
        self.order.sort_unstable_by(|&a, &b| {
            let by_quotient = quotients[a].total_cmp(&quotients[b]);
            match order {
                ColumnOrder::Ascending => by_quotient,
                ColumnOrder::Descending => by_quotient.reverse(),
            }
            .then(a.cmp(&b))
        });
        for (value, &index) in self.values.iter_mut().zip(&self.order) {
            *value = A::from_f64(quotients[index]);
        }
    }

    fn memory_bytes(&self) -> usize {
        let n = self.order.len();
        (1 + usize::from(self.steps > 0)) * bytes::<A>((n, n))
            + bytes::<A>(self.between.dim())
            + self.orthonormalizer.memory_bytes()
    }
}

/// Column j of `to` becomes column `order[j]` of `from`.
fn permute_columns<A: Scalar>(to: &mut Array2<A>, from: &Array2<A>, order: &[usize]) {
    for (mut to, from) in to.rows_mut().into_iter().zip(from.rows()) {
        to.iter_mut().zip(order).for_each(|(to, &column)| *to = from[column]);
    }
}

/// The rows of `to` become these columns of `from`; in strips that the cache holds.
fn assign_columns<A: Scalar>(
    to: &mut Array2<A>,
    from: &Array2<A>,
    columns: impl Iterator<Item = usize> + Clone,
) {
    const STRIP: usize = 16;
    let strips = to.axis_chunks_iter_mut(Axis(1), STRIP);
    for (mut to, from) in strips.zip(from.axis_chunks_iter(Axis(0), STRIP)) {
        for (mut row, column) in to.rows_mut().into_iter().zip(columns.clone()) {
            row.assign(&from.column(column));
        }
    }
}

/// Whether a matrix is diagonal to a share of it. Its diagonal is in `quotients` afterwards.
fn is_diagonal<A: Scalar>(matrix: &mut Array2<A>, quotients: &mut [f64], tolerance: f64) -> bool {
    for (quotient, x) in quotients.iter_mut().zip(matrix.diag()) {
        *quotient = x.as_f64();
    }
    let share = off_diagonal_share(matrix);
    for (x, &quotient) in matrix.diag_mut().iter_mut().zip(&*quotients) {
        *x = A::from_f64(quotient);
    }
    share <= tolerance
}
