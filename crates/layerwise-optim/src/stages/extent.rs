//! The parts that a weight is laid out in: a matrix, a vector, or blocks.

use std::ops::Range;

use layerwise_linalg::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2, s};

use crate::config::partition::{LargeDimension, Merging, Partition};
use crate::error::{OptimError, Result};

/// A part of a weight with a stage of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    rows: Range<usize>,
    cols: Range<usize>,
    /// It is seen as a row vector.
    vector: bool,
    /// It has no factors, but is left to a diagonal method.
    pub(crate) is_diagonal: bool,
    /// The left and the right factor are the identity.
    pub(crate) alone: (bool, bool),
}

impl Partition {
    /// The parts of a weight of this shape, which cover it once.
    ///
    /// # Errors
    ///
    /// Numbers of blocks that do not divide the rows or columns.
    pub(crate) fn extents(&self, (rows, cols): (usize, usize)) -> Result<Vec<Extent>> {
        for (name, blocks, side) in [
            ("partition.row_blocks", self.row_blocks, rows),
            ("partition.column_blocks", self.column_blocks, cols),
        ] {
            if side % blocks != 0 {
                return Err(OptimError::InvalidHyperparameter {
                    name,
                    value: blocks as f64,
                    allowed: "a divisor of the weight's rows, or columns",
                });
            }
        }
        let block = (rows / self.row_blocks, cols / self.column_blocks);
        let mut all = Vec::new();
        for row in 0..self.row_blocks {
            for column in 0..self.column_blocks {
                let corner = (row * block.0, column * block.1);
                all.extend(self.extents_of_block(block).into_iter().map(|e| e.moved_by(corner)));
            }
        }
        Ok(all)
    }

    fn extents_of_block(&self, (rows, cols): (usize, usize)) -> Vec<Extent> {
        let limit = self.max_dimension.unwrap_or(usize::MAX);
        let vector = match self.merging {
            Merging::None => false,
            Merging::Vectors => rows == 1 || cols == 1,
            Merging::Small => rows == 1 || cols == 1 || rows * cols <= limit,
        };
        let is_diagonal = self.diagonal_vectors && (rows == 1 || cols == 1);
        match self.large {
            LargeDimension::LeftAlone => {
                let alone =
                    if vector { (true, rows * cols > limit) } else { (rows > limit, cols > limit) };
                let is_diagonal = is_diagonal || self.diagonal_vectors && alone == (true, true);
                vec![Extent { rows: 0..rows, cols: 0..cols, vector, is_diagonal, alone }]
            }
            // A merged matrix is within the limit.
            LargeDimension::Blocks if vector && rows > 1 && cols > 1 => {
                vec![Extent {
                    rows: 0..rows,
                    cols: 0..cols,
                    vector,
                    is_diagonal: false,
                    alone: (true, false),
                }]
            }
            LargeDimension::Blocks => {
                let cut = |n: usize| {
                    (0..n).step_by(limit).map(move |at| at..at.saturating_add(limit).min(n))
                };
                let alone = (vector, false);
                cut(rows)
                    .flat_map(|rows| {
                        cut(cols).map(move |cols| Extent {
                            rows: rows.clone(),
                            cols,
                            vector,
                            is_diagonal,
                            alone,
                        })
                    })
                    .collect()
            }
        }
    }
}

impl Extent {
    fn moved_by(self, (row, col): (usize, usize)) -> Self {
        let moved = |range: Range<usize>, by: usize| range.start + by..range.end + by;
        Extent { rows: moved(self.rows, row), cols: moved(self.cols, col), ..self }
    }

    /// The shape in which the stage sees it.
    pub(crate) fn shape(&self) -> (usize, usize) {
        let (rows, cols) = (self.rows.len(), self.cols.len());
        if self.vector { (1, rows * cols) } else { (rows, cols) }
    }

    /// Whether an array has to be in standard layout to be seen in that shape.
    pub(crate) fn reshapes(&self) -> bool {
        self.vector && self.rows.len() > 1
    }

    pub(crate) fn is_vector(&self) -> bool {
        self.vector
    }

    /// The part of an array of the weight's shape.
    pub(crate) fn of<'a, A: Scalar>(&self, array: ArrayView2<'a, A>) -> Result<ArrayView2<'a, A>> {
        let part = array.slice_move(s![self.rows.clone(), self.cols.clone()]);
        if !self.reshapes() {
            return Ok(part);
        }
        let found = part.dim();
        part.into_shape_with_order(self.shape()).map_err(|_| self.refuse(found))
    }

    /// As [`Extent::of`].
    pub(crate) fn of_mut<'a, A: Scalar>(
        &self,
        array: ArrayViewMut2<'a, A>,
    ) -> Result<ArrayViewMut2<'a, A>> {
        let part = array.slice_move(s![self.rows.clone(), self.cols.clone()]);
        if !self.reshapes() {
            return Ok(part);
        }
        let found = part.dim();
        part.into_shape_with_order(self.shape()).map_err(|_| self.refuse(found))
    }

    /// The place in the weight of an entry of the part, as the stage sees it.
    pub(crate) fn locate(&self, (row, col): (usize, usize)) -> (usize, usize) {
        let index = row * self.shape().1 + col;
        let cols = self.cols.len();
        (self.rows.start + index / cols, self.cols.start + index % cols)
    }

    fn refuse(&self, found: (usize, usize)) -> OptimError {
        OptimError::Shape { what: "an array seen as a vector", expected: self.shape(), found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(partition: &Partition, shape: (usize, usize)) -> Vec<(usize, usize)> {
        partition.extents(shape).unwrap().iter().map(Extent::shape).collect()
    }

    #[test]
    fn blocks_cover_a_weight_once() {
        let partition = Partition { max_dimension: Some(3), ..Partition::default() };
        let mut counts = ndarray::Array2::<f64>::zeros((7, 5));
        for extent in partition.extents((7, 5)).unwrap() {
            counts.slice_mut(s![extent.rows, extent.cols]).mapv_inplace(|x| x + 1.0);
        }
        assert_eq!(counts, ndarray::Array2::<f64>::ones((7, 5)));
        let expected = [(3, 3), (3, 2), (3, 3), (3, 2), (1, 3), (1, 2)];
        assert_eq!(shapes(&partition, (7, 5)), expected);
    }

    #[test]
    fn stacked_matrices_are_told_apart() {
        let partition = Partition { row_blocks: 2, max_dimension: Some(3), ..Partition::default() };
        let expected = [(3, 3), (3, 1), (1, 3), (1, 1), (3, 3), (3, 1), (1, 3), (1, 1)];
        assert_eq!(shapes(&partition, (8, 4)), expected);
        let heads = Partition { row_blocks: 2, column_blocks: 3, ..Partition::default() };
        let extents = heads.extents((4, 9)).unwrap();
        assert_eq!(
            (extents.len(), extents[4].rows.clone(), extents[4].cols.clone()),
            (6, 2..4, 3..6)
        );
        for shape in [(5, 9), (4, 8)] {
            assert!(matches!(heads.extents(shape), Err(OptimError::InvalidHyperparameter { .. })));
        }
    }

    #[test]
    fn small_weights_become_vectors() {
        let partition =
            Partition { max_dimension: Some(15), merging: Merging::Small, ..Partition::default() };
        assert_eq!(shapes(&partition, (5, 3)), [(1, 15)]);
        assert_eq!(shapes(&partition, (4, 4)), [(4, 4)]);
        assert_eq!(shapes(&partition, (1, 20)), [(1, 15), (1, 5)]);
        assert_eq!(shapes(&partition, (20, 1)), [(1, 15), (1, 5)]);
        let vectors = Partition { merging: Merging::Vectors, ..partition.clone() };
        assert_eq!(shapes(&vectors, (5, 3)), [(5, 3)]);
        let column = &vectors.extents((4, 1)).unwrap()[0];
        assert_eq!((column.shape(), column.alone), ((1, 4), (true, false)));
    }

    #[test]
    fn large_sides_are_left_alone() {
        let partition = Partition {
            max_dimension: Some(4),
            large: LargeDimension::LeftAlone,
            ..Partition::default()
        };
        let alone = |shape| partition.extents(shape).unwrap()[0].alone;
        assert_eq!(alone((4, 4)), (false, false));
        assert_eq!(alone((5, 4)), (true, false));
        assert_eq!(alone((4, 5)), (false, true));
        assert_eq!(alone((5, 5)), (true, true));
    }
}
