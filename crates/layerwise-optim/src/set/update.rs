//! One parameter's part of a step.

use layerwise_linalg::Scalar;
use ndarray::{ArrayView, ArrayView1, ArrayViewMut, ArrayViewMut1, ArrayViewMut2, Axis, Dimension};

use crate::error::{OptimError, Result};
use crate::signal::Signal;

/// One parameter's part of a step.
#[derive(Debug)]
#[non_exhaustive]
pub struct Update<'w, 's, A> {
    /// Its name.
    pub name: &'s str,
    /// Its weight; a vector is a 1 × n matrix (`view_mut().insert_axis(Axis(0))`).
    pub weight: ArrayViewMut2<'w, A>,
    /// What its layer reports.
    pub signal: Signal<'s, A>,
}

impl<'w, 's, A: Scalar> Update<'w, 's, A> {
    /// A matrix, and its gradient (a view of it will do) or all that its layer reports.
    pub fn new(
        name: &'s str,
        weight: ArrayViewMut2<'w, A>,
        signal: impl Into<Signal<'s, A>>,
    ) -> Self {
        Update { name, weight, signal: signal.into() }
    }

    /// A vector and its gradient; to the set it is a 1 × n matrix.
    pub fn vector(
        name: &'s str,
        weight: ArrayViewMut1<'w, A>,
        gradient: ArrayView1<'s, A>,
    ) -> Self {
        Update { name, weight: weight.insert_axis(Axis(0)), signal: gradient.into() }
    }

    /// A weight of any number of axes, seen as a matrix: the first `row_axes` axes are its rows, the others its
    /// columns. A kernel out × in × h × w with `row_axes` 1 is an out × (in·h·w) matrix; experts of
    /// e × out × in with `row_axes` 2 are (e·out) × in, of which
    /// [`Partition::row_blocks`](crate::chain::Partition::row_blocks) tells the factors apart. Without an
    /// axis on one side, that side is 1. No entry is copied.
    ///
    /// # Errors
    ///
    /// [`LayerShape`](OptimError::LayerShape) for arrays that are not stored row by row, of different axes,
    /// or with fewer axes than `row_axes`.
    pub fn tensor<D: Dimension>(
        name: &'s str,
        row_axes: usize,
        weight: ArrayViewMut<'w, A, D>,
        gradient: ArrayView<'s, A, D>,
    ) -> Result<Self> {
        let axes = gradient.shape().to_vec();
        let shape = matrix_shape(&axes, row_axes)?;
        let refuse = |what, expected: String, found: &[usize]| OptimError::LayerShape {
            what,
            expected,
            found: found.to_vec(),
        };
        if weight.shape() != axes {
            let expected = format!("of the axes of its gradient, {axes:?}");
            return Err(refuse("the weight", expected, weight.shape()));
        }
        let stored = || "stored row by row".to_owned();
        if !(weight.is_standard_layout() && gradient.is_standard_layout()) {
            return Err(refuse("a weight or its gradient", stored(), &axes));
        }
        let weight = weight.into_shape_with_order(shape);
        let gradient = gradient.into_shape_with_order(shape);
        match (weight, gradient) {
            (Ok(weight), Ok(gradient)) => Ok(Update::new(name, weight, gradient)),
            _ => Err(refuse("a weight or its gradient", stored(), &axes)),
        }
    }
}

/// The matrix that a weight of these axes is seen as, with the first `row_axes` of them for its rows: what
/// [`OptimizerSet::register`](crate::OptimizerSet::register) takes for [`Update::tensor`].
///
/// # Errors
///
/// Fewer axes than `row_axes`, and more entries than can be counted.
pub fn matrix_shape(axes: &[usize], row_axes: usize) -> Result<(usize, usize)> {
    let product = |axes: &[usize]| axes.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis));
    let sides = axes.split_at_checked(row_axes);
    sides.and_then(|(rows, columns)| product(rows).zip(product(columns))).ok_or_else(|| {
        OptimError::LayerShape {
            what: "a weight",
            expected: format!(
                "of at least {row_axes} axes, and of no more entries than can be counted"
            ),
            found: axes.to_vec(),
        }
    })
}
