//! The student of single-index learning: a two-layer network with a fixed head.

use layerwise_data::{Batch, Link};
use layerwise_linalg::gemm;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::error::check_shape;
use crate::{ModelError, Result};

/// The student `f(x) = (1/√h) aᵀ σ(G x)` with trained `G` (h × d) and fixed `a`, `a_j = ±1/√h`.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleIndexStudent {
    representation: Array2<f64>,
    head: Array1<f64>,
    link: Link,
}

impl SingleIndexStudent {
    /// A student with weights `representation` (h × d), head `a` (h), and activation σ.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the head does not have h entries or a dimension is zero;
    /// [`ModelError::InvalidParameter`] for a weight that is not finite; [`ModelError::Data`] for
    /// what [`Link::check`] refuses.
    pub fn new(representation: Array2<f64>, head: Array1<f64>, link: Link) -> Result<Self> {
        let (h, d) = representation.dim();
        check_shape("representation", (h.max(1), d.max(1)), (h, d))?;
        check_shape("head", (h, 1), (head.len(), 1))?;
        link.check()?;
        if let Some(&value) = representation.iter().chain(&head).find(|w| !w.is_finite()) {
            return Err(ModelError::InvalidParameter { name: "weight", value, allowed: "finite" });
        }
        let representation = representation.as_standard_layout().into_owned();
        Ok(Self { representation, head, link })
    }

    /// The trained weights G, h × d.
    #[must_use]
    pub fn representation(&self) -> ArrayView2<'_, f64> {
        self.representation.view()
    }

    /// The trained weights G, to be changed in place.
    pub fn representation_mut(&mut self) -> ndarray::ArrayViewMut2<'_, f64> {
        self.representation.view_mut()
    }

    /// The fixed head a, h entries.
    #[must_use]
    pub fn head(&self) -> ArrayView1<'_, f64> {
        self.head.view()
    }
}

/// Forward and backward pass of the student on a batch, with the storage that it needs.
#[derive(Debug, Clone)]
pub struct StudentPass {
    /// `G x` by sample, n × h; after the pass the derivative `∂L̂/∂(G x)`.
    hidden: Array2<f64>,
    gradient: Array2<f64>,
    loss: f64,
}

impl StudentPass {
    /// Storage for batches of `samples` and a student with `hidden` units on `inputs` coordinates.
    #[must_use]
    pub fn with_shape(samples: usize, hidden: usize, inputs: usize) -> Self {
        Self {
            hidden: Array2::zeros((samples, hidden)),
            gradient: Array2::zeros((hidden, inputs)),
            loss: 0.0,
        }
    }

    /// Computes the loss and `∇_G L̂ = Ê[(f(x) − y) (a ∘ σ′(Gx)) xᵀ]/√h` on a batch with one
    /// target a sample.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where batch, student and storage differ in shape.
    pub fn evaluate(&mut self, student: &SingleIndexStudent, batch: &Batch) -> Result<()> {
        let (h, d) = student.representation.dim();
        let n = self.hidden.nrows();
        check_shape("storage of the pass", self.hidden.dim(), (n, h))?;
        check_shape("inputs", (n, d), batch.x().dim())?;
        check_shape("targets", (n, 1), batch.y().dim())?;
        let hidden = &mut self.hidden.view_mut();
        gemm(1.0, batch.x(), student.representation.t(), 0.0, hidden)?;
        let root = (h as f64).sqrt();
        let mut squares = 0.0;
        for (mut row, &y) in self.hidden.rows_mut().into_iter().zip(batch.y()) {
            let mut output = 0.0;
            for (z, a) in row.iter_mut().zip(&student.head) {
                let (value, derivative) = student.link.value_and_derivative(*z);
                output += a * value;
                *z = a * derivative;
            }
            let residual = output / root - y;
            squares += residual * residual;
            row *= residual / (root * n as f64);
        }
        self.loss = 0.5 * squares / n as f64;
        gemm(1.0, self.hidden.t(), batch.x(), 0.0, &mut self.gradient.view_mut())?;
        Ok(())
    }

    /// `∇_G L̂` of the last evaluation, h × d.
    #[must_use]
    pub fn gradient(&self) -> ArrayView2<'_, f64> {
        self.gradient.view()
    }

    /// The loss `½ Ê(y − f(x))²` of the last evaluation.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss
    }
}
