//! The eigenvectors of a factor, from those that are held of it.

use layerwise_linalg::{
    Result, RowOrthonormalizer, Scalar, SymmetricEigen, check_symmetric, gemm, gram, symmetrize,
};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::config::basis::{BasisMethod, ColumnOrder};
use crate::numeric::pool::{Lent, Needs, Pool};
use crate::stages::drift::off_diagonal_share;

/// Finds the eigenvectors of factors of one size, n × n.
#[derive(Debug)]
pub(crate) struct Eigenvectors<A> {
    n: usize,
    order: ColumnOrder,
    /// None where eigendecompositions are all that is asked for.
    iteration: Option<Iteration<A>>,
}

/// How eigenvectors were found from those held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// In the place for the next ones.
    Iterated,
    /// Those held serve on.
    Kept,
}

/// Orthogonal iteration, and the numbers that it found.
#[derive(Debug)]
struct Iteration<A> {
    n: usize,
    /// The most steps of a refresh; none where it is only asked whether one is needed.
    steps: u32,
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
        Eigenvectors { n, order, iteration: steps.map(|steps| Iteration::new(n, steps)) }
    }

    /// Finds eigenvectors of `moment/correction` from the columns of `current`; `None` where a
    /// decomposition has to find them. `next` is overwritten where they are iterated.
    pub(crate) fn iterate(
        &mut self,
        method: &BasisMethod,
        time: u64,
        (moment, correction): (ArrayView2<'_, A>, f64),
        (current, next): (&Array2<A>, &mut Array2<A>),
        pool: &Pool<A>,
    ) -> Result<Option<Found>> {
        match (method, &mut self.iteration) {
            (BasisMethod::Eigendecomposition { tolerance }, Some(iteration)) => {
                let kept = iteration.diagonalizes(moment, current, *tolerance, pool)?;
                Ok(kept.then_some(Found::Kept))
            }
            (BasisMethod::QrStep { ridge, tolerance, .. }, Some(iteration)) => {
                // The scale does not matter: S + c r I, c the divisor of the bias correction.
                let given = (moment, ridge.value(time) * correction);
                iteration.qr_steps(given, *tolerance, self.order, (current, next), pool)?;
                Ok(Some(Found::Iterated))
            }
            (_, None) => Ok(None),
        }
    }

    /// As [`iterate`](Self::iterate), by one step from the columns of `current` in descending order of
    /// their Rayleigh quotients, to which they are put first.
    pub(crate) fn power_step(
        &mut self,
        given: (ArrayView2<'_, A>, f64),
        (current, next): (&Array2<A>, &mut Array2<A>),
        pool: &Pool<A>,
    ) -> Result<Option<Found>> {
        let Some(iteration) = &mut self.iteration else { return Ok(None) };
        iteration.power_step(given, current, next, pool)?;
        Ok(Some(Found::Iterated))
    }

    /// Decomposes a factor, whose eigenvectors are in `next` afterwards; returns its condition number.
    fn decompose(
        &self,
        moment: ArrayView2<'_, A>,
        next: &mut Array2<A>,
        pool: &Pool<A>,
    ) -> Result<f64> {
        pool.with((self.n, self.n), |eigen: &mut SymmetricEigen<A>| {
            eigen.decompose(moment)?;
            self.decomposed_into(eigen, next);
            Ok(condition(eigen.values().iter().map(|x| x.as_f64())))
        })
    }

    /// Decomposes a factor of which nothing was found; the condition number either way.
    pub(crate) fn complete(
        &self,
        found: Option<Found>,
        moment: ArrayView2<'_, A>,
        next: &mut Array2<A>,
        pool: &Pool<A>,
    ) -> Result<f64> {
        match found {
            None => self.decompose(moment, next, pool),
            Some(_) => Ok(self.condition()),
        }
    }

    /// A lower bound of the condition number from Rayleigh quotients, where vectors were found from those
    /// held. They are of the factor with its ridge, and those of [`power_step`](Self::power_step) of the
    /// basis before it.
    fn condition(&self) -> f64 {
        condition(self.iteration.iter().flat_map(|iteration| iteration.quotients.iter().copied()))
    }

    /// As [`iterate`](Self::iterate), or by a decomposition. The vectors, with Rayleigh quotients of
    /// `moment` for eigenvalues, are a decomposition afterwards, and in `next`.
    pub(crate) fn find(
        &mut self,
        method: &BasisMethod,
        time: u64,
        (moment, correction): (ArrayView2<'_, A>, f64),
        (current, next): (&Array2<A>, &mut Array2<A>),
        eigen: &mut SymmetricEigen<A>,
        pool: &Pool<A>,
    ) -> Result<()> {
        let found = self.iterate(method, time, (moment, correction), (current, next), pool)?;
        match (found, &mut self.iteration) {
            (Some(Found::Kept), Some(iteration)) => {
                permute_columns(next, current, &iteration.order);
                eigen.set(iteration.values.view(), next.view())
            }
            (Some(Found::Iterated), Some(iteration)) => {
                let vectors = iteration.measure(moment, next, pool)?;
                eigen.set(iteration.values.view(), vectors.view())
            }
            (None, _) | (_, None) => {
                eigen.decompose(moment)?;
                self.decomposed_into(eigen, next);
                Ok(())
            }
        }
    }

    /// The eigenvectors of a decomposition in their order.
    fn decomposed_into(&self, eigen: &SymmetricEigen<A>, next: &mut Array2<A>) {
        match self.order {
            ColumnOrder::Ascending => next.assign(&eigen.vectors()),
            ColumnOrder::Descending => next.assign(&eigen.vectors().slice(s![.., ..;-1])),
        }
    }

    /// The order of columns that [`power_step`](Self::power_step) took, to be used up.
    pub(crate) fn order_mut(&mut self) -> &mut [usize] {
        self.iteration.as_mut().map_or(&mut [], |iteration| &mut iteration.order)
    }

    /// What iterating is lent, and where there are decompositions, what these are.
    pub(crate) fn needs(&self, is_decomposed: bool) -> Needs {
        let shape = (self.n, self.n);
        let iteration = match &self.iteration {
            None => Needs::default(),
            Some(Iteration { steps: 0, .. }) => Needs::arrays(2, shape),
            Some(Iteration { steps, .. }) => Needs::arrays(2 + usize::from(*steps > 1), shape)
                .and(Needs::workspace::<RowOrthonormalizer<A>>(shape)),
        };
        if !is_decomposed {
            return iteration;
        }
        iteration.and(Needs::workspace::<SymmetricEigen<A>>(shape))
    }
}

/// The largest of these by the least.
fn condition(values: impl Iterator<Item = f64>) -> f64 {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), x| (least.min(x), most.max(x)));
    if least > 0.0 { most / least } else { f64::INFINITY }
}

impl<A: Scalar> Iteration<A> {
    fn new(n: usize, steps: u32) -> Self {
        Iteration {
            n,
            steps,
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
        pool: &Pool<A>,
    ) -> Result<bool> {
        check_symmetric(moment)?;
        let (one, zero) = (A::one(), A::zero());
        let [mut product, mut work] = self.squares(pool);
        gemm(one, moment, current.view(), zero, &mut work.view_mut())?;
        gemm(one, current.t(), work.view(), zero, &mut product.view_mut())?;
        let found = is_diagonal(&mut product, &mut self.quotients, tolerance);
        self.sort(ColumnOrder::Ascending);
        Ok(found)
    }

    /// The quotients of these columns by `S` itself, as values; returns the columns in their order. Those
    /// of `S + r I` do not tell eigenvalues that are small beside `r`.
    fn measure(
        &mut self,
        moment: ArrayView2<'_, A>,
        vectors: &Array2<A>,
        pool: &Pool<A>,
    ) -> Result<Lent<A>> {
        let [mut ordered, mut work] = self.squares(pool);
        gemm(A::one(), moment, vectors.view(), A::zero(), &mut work.view_mut())?;
        self.quotients_of_columns(vectors, &work);
        self.sort(ColumnOrder::Ascending);
        permute_columns(&mut ordered, vectors, &self.order);
        Ok(ordered)
    }

    /// The inner products of these columns with those of their images.
    fn quotients_of_columns(&mut self, vectors: &Array2<A>, images: &Array2<A>) {
        self.quotients.fill(0.0);
        for (row, q) in images.rows().into_iter().zip(vectors.rows()) {
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
        (current, next): (&Array2<A>, &mut Array2<A>),
        pool: &Pool<A>,
    ) -> Result<()> {
        check_symmetric(moment)?;
        let (one, zero) = (A::one(), A::zero());
        let [mut product, mut work] = self.squares(pool);
        // The basis between two steps, where there are several.
        let mut between = pool.array(if self.steps > 1 { product.dim() } else { (0, 0) });
        work.assign(current);
        gemm(one, moment, current.view(), A::from_f64(added), &mut work.view_mut())?;
        // B is symmetric, so that its rows are its columns; B = U R.
        gemm(one, current.t(), work.view(), zero, &mut product.view_mut())?;
        work.assign(current);
        for step in 0..self.steps {
            if tolerance > 0.0 && is_diagonal(&mut product, &mut self.quotients, tolerance) {
                break;
            }
            // From here on `work` is B, and Q stands in `between`, after the first step.
            if step > 0 {
                between.assign(&*work);
            }
            work.assign(&*product);
            self.orthonormalize(&mut product, pool)?;
            // R U is UᵀBU; here `product` is Uᵀ and `next` becomes UᵀB.
            gemm(one, product.view(), work.view(), zero, &mut next.view_mut())?;
            for ((quotient, row), u) in
                self.quotients.iter_mut().zip(next.rows()).zip(product.rows())
            {
                *quotient = row.iter().zip(u).map(|(a, b)| a.as_f64() * b.as_f64()).sum();
            }
            let before = if step > 0 { between.view() } else { current.view() };
            gemm(one, before, product.t(), zero, &mut work.view_mut())?;
            if step + 1 < self.steps {
                between.assign(&*product);
                gemm(one, next.view(), between.t(), zero, &mut product.view_mut())?;
                symmetrize(&mut product.view_mut());
            }
        }
        self.sort(order);
        permute_columns(next, &work, &self.order);
        // Products of orthogonal matrices drift from orthogonality; Q ← Q (3 I − QᵀQ)/2 takes the
        // drift d to d².
        let (half, three_halves) = (A::from_f64(0.5), A::from_f64(1.5));
        gram(one, next.t(), zero, &mut product.view_mut())?;
        work.assign(next);
        gemm(-half, work.view(), product.view(), three_halves, &mut next.view_mut())
    }

    fn power_step(
        &mut self,
        (moment, added): (ArrayView2<'_, A>, f64),
        current: &Array2<A>,
        next: &mut Array2<A>,
        pool: &Pool<A>,
    ) -> Result<()> {
        check_symmetric(moment)?;
        let [mut product, mut work] = self.squares(pool);
        work.assign(current);
        let added = A::from_f64(added);
        gemm(A::one(), moment, current.view(), added, &mut work.view_mut())?;
        self.quotients_of_columns(current, &work);
        self.sort(ColumnOrder::Descending);
        assign_columns(&mut product, &work, self.order.iter().copied());
        self.orthonormalize(&mut product, pool)?;
        assign_columns(next, &product, 0..self.n);
        Ok(())
    }

    fn squares(&self, pool: &Pool<A>) -> [Lent<A>; 2] {
        [(); 2].map(|()| pool.array((self.n, self.n)))
    }

    /// Replaces the rows by orthonormal ones.
    fn orthonormalize(&self, matrix: &mut Array2<A>, pool: &Pool<A>) -> Result<()> {
        pool.with(matrix.dim(), |orthonormalizer: &mut RowOrthonormalizer<A>| {
            orthonormalizer.orthonormal_factor(&mut matrix.view_mut())
        })
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
