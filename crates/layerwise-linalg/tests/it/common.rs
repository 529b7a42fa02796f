//! Random matrices with known spectra, and plain loops to compare with.

use layerwise_linalg::Scalar;
use layerwise_linalg::ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, s};
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

pub(crate) fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// Independent standard normal entries.
pub(crate) fn normal(rng: &mut impl Rng, rows: usize, cols: usize) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, cols), || rng.sample(StandardNormal))
}

/// A matrix whose k ≤ d rows are orthonormal and uniformly distributed (Haar): Gram-Schmidt, run
/// twice, on standard normal rows.
pub(crate) fn haar_rows(rng: &mut impl Rng, k: usize, d: usize) -> Array2<f64> {
    let mut q = normal(rng, k, d);
    for i in 0..k {
        for _ in 0..2 {
            for j in 0..i {
                let other = q.row(j).to_owned();
                let overlap = q.row(i).dot(&other);
                q.row_mut(i).scaled_add(-overlap, &other);
            }
        }
        let norm = q.row(i).dot(&q.row(i)).sqrt();
        q.row_mut(i).mapv_inplace(|x| x / norm);
    }
    q
}

/// n numbers from 1 down to 1/condition, equally spaced in the logarithm.
pub(crate) fn log_spaced(n: usize, condition: f64) -> Array1<f64> {
    Array1::from_shape_fn(n, |i| condition.powf(-(i as f64) / (n.max(2) - 1) as f64))
}

/// Qᵀ diag(f(spectrum)) Q, symmetric in every bit.
pub(crate) fn symmetric(
    q: &Array2<f64>,
    spectrum: &Array1<f64>,
    f: impl Fn(f64) -> f64,
) -> Array2<f64> {
    let mut scaled = q.clone();
    for (mut row, &value) in scaled.rows_mut().into_iter().zip(spectrum) {
        row.mapv_inplace(|x| x * f(value));
    }
    let mut product = naive(q.t(), scaled.view());
    for i in 0..product.nrows() {
        for j in 0..i {
            product[[j, i]] = product[[i, j]];
        }
    }
    product
}

/// U diag(s) Vᵀ with Haar factors.
pub(crate) fn with_singular_values(
    rng: &mut impl Rng,
    rows: usize,
    cols: usize,
    values: &[f64],
) -> Array2<f64> {
    let mut u = haar_rows(rng, values.len(), rows);
    let v = haar_rows(rng, values.len(), cols);
    for (mut row, &value) in u.rows_mut().into_iter().zip(values) {
        row.mapv_inplace(|x| x * value);
    }
    naive(u.t(), v.view())
}

/// A B by three loops, in double precision.
pub(crate) fn naive<A: Scalar>(a: ArrayView2<A>, b: ArrayView2<A>) -> Array2<f64> {
    Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
        (0..a.ncols()).map(|k| a[[i, k]].as_f64() * b[[k, j]].as_f64()).sum()
    })
}

pub(crate) fn cast<A: Scalar>(m: &Array2<f64>) -> Array2<A> {
    m.mapv(A::from_f64)
}

pub(crate) fn widen<A: Scalar>(m: ArrayView2<A>) -> Array2<f64> {
    m.mapv(|x| x.as_f64())
}

pub(crate) fn frobenius(m: &Array2<f64>) -> f64 {
    m.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖a − b‖_F / ‖b‖_F.
pub(crate) fn relative_error<A: Scalar>(a: ArrayView2<A>, b: &Array2<f64>) -> f64 {
    frobenius(&(widen(a) - b)) / frobenius(b)
}

/// ‖Q Qᵀ − I‖_F.
pub(crate) fn departure_from_orthonormal<A: Scalar>(q: ArrayView2<A>) -> f64 {
    frobenius(&(naive(q, q.t()) - Array2::<f64>::eye(q.nrows())))
}

/// The memory layouts that an operand can have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    RowMajor,
    ColumnMajor,
    RowMajorBlock,
    ColumnMajorBlock,
    Strided,
    Reversed,
    RowsReversed,
    ColumnsReversed,
}

pub(crate) const LAYOUTS: [Layout; 8] = [
    Layout::RowMajor,
    Layout::ColumnMajor,
    Layout::RowMajorBlock,
    Layout::ColumnMajorBlock,
    Layout::Strided,
    Layout::Reversed,
    Layout::RowsReversed,
    Layout::ColumnsReversed,
];

/// A larger array that holds a matrix in some layout; what lies around the matrix is 77.
pub(crate) struct Stored<A> {
    whole: Array2<A>,
    layout: Layout,
    dim: (usize, usize),
}

impl<A: Scalar> Stored<A> {
    pub(crate) fn new(m: &Array2<A>, layout: Layout) -> Self {
        let (r, c) = m.dim();
        let around = A::from_f64(77.0);
        let whole = match layout {
            Layout::RowMajor | Layout::Reversed | Layout::RowsReversed => {
                Array2::from_elem((r, c), around)
            }
            Layout::ColumnMajor | Layout::ColumnsReversed => {
                Array2::from_elem((c, r), around).reversed_axes()
            }
            Layout::RowMajorBlock => Array2::from_elem((r + 3, c + 2), around),
            Layout::ColumnMajorBlock => Array2::from_elem((c + 2, r + 3), around).reversed_axes(),
            Layout::Strided => Array2::from_elem((2 * r + 3, 3 * c + 2), around),
        };
        let mut stored = Self { whole, layout, dim: (r, c) };
        stored.view_mut().assign(m);
        stored
    }

    pub(crate) fn view(&self) -> ArrayView2<'_, A> {
        let (r, c) = self.dim;
        match self.layout {
            Layout::RowMajor | Layout::ColumnMajor => self.whole.view(),
            Layout::RowMajorBlock | Layout::ColumnMajorBlock => {
                self.whole.slice(s![1..r + 1, 2..c + 2])
            }
            Layout::Strided => self.whole.slice(s![1..2 * r + 1;2, 2..3 * c + 2;3]),
            Layout::Reversed => self.whole.slice(s![..;-1, ..;-1]),
            Layout::RowsReversed => self.whole.slice(s![..;-1, ..]),
            Layout::ColumnsReversed => self.whole.slice(s![.., ..;-1]),
        }
    }

    pub(crate) fn view_mut(&mut self) -> ArrayViewMut2<'_, A> {
        let (r, c) = self.dim;
        match self.layout {
            Layout::RowMajor | Layout::ColumnMajor => self.whole.view_mut(),
            Layout::RowMajorBlock | Layout::ColumnMajorBlock => {
                self.whole.slice_mut(s![1..r + 1, 2..c + 2])
            }
            Layout::Strided => self.whole.slice_mut(s![1..2 * r + 1;2, 2..3 * c + 2;3]),
            Layout::Reversed => self.whole.slice_mut(s![..;-1, ..;-1]),
            Layout::RowsReversed => self.whole.slice_mut(s![..;-1, ..]),
            Layout::ColumnsReversed => self.whole.slice_mut(s![.., ..;-1]),
        }
    }

    /// Whether nothing around the matrix was written to.
    pub(crate) fn surroundings_intact(&self) -> bool {
        let mut rest = Self { whole: self.whole.clone(), layout: self.layout, dim: self.dim };
        rest.view_mut().fill(A::from_f64(77.0));
        rest.whole.iter().all(|&x| x == A::from_f64(77.0))
    }
}
