//! What a layer reports at a step.

use layerwise_linalg::Scalar;
use ndarray::{ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::error::{OptimError, Result, Side};

/// What a layer with weight `W` (m × n, outputs × inputs) reports at a step: its gradient and,
/// where known, the second moments of its input and of its output, and the diagonal of its loss's second
/// derivative.
///
/// A vector (a bias, a norm's gain) is a 1 × n matrix.
#[derive(Clone, Copy, Debug)]
pub struct Signal<'a, A> {
    gradient: ArrayView2<'a, A>,
    input: Option<Factor<'a, A>>,
    output: Option<Factor<'a, A>>,
    diagonal: Option<ArrayView2<'a, A>>,
}

impl<'a, A: Scalar> Signal<'a, A> {
    /// A signal of a gradient (m × n) alone.
    #[must_use]
    pub fn new(gradient: ArrayView2<'a, A>) -> Self {
        Signal { gradient, input: None, output: None, diagonal: None }
    }

    /// Adds the input factor (n × n): the second moment `Ê[xxᵀ]` of what the layer multiplies.
    #[must_use]
    pub fn with_input(self, input: Factor<'a, A>) -> Self {
        Signal { input: Some(input), ..self }
    }

    /// Adds the output factor (m × m): the Gauss-Newton or Fisher second moment of derivatives
    /// with respect to the layer's output (`FᵀF` for the first layer of `F G x` under the squared
    /// loss).
    #[must_use]
    pub fn with_output(self, output: Factor<'a, A>) -> Self {
        Signal { output: Some(output), ..self }
    }

    /// Adds an estimate of the diagonal of the loss's second derivative (m × n), at steps where there is one:
    /// for Sophia-G `N g̃ ⊙ g̃`, with `g̃` the gradient of the mean loss of N samples for labels that the model
    /// draws; or Hutchinson's `u ⊙ H u` with random signs `u`.
    #[must_use]
    pub fn with_diagonal(self, diagonal: ArrayView2<'a, A>) -> Self {
        Signal { diagonal: Some(diagonal), ..self }
    }

    /// The gradient (m × n).
    #[must_use]
    pub fn gradient(&self) -> ArrayView2<'a, A> {
        self.gradient
    }

    /// The input factor, if given.
    #[must_use]
    pub fn input(&self) -> Option<&Factor<'a, A>> {
        self.input.as_ref()
    }

    /// The output factor, if given.
    #[must_use]
    pub fn output(&self) -> Option<&Factor<'a, A>> {
        self.output.as_ref()
    }

    /// The diagonal of the loss's second derivative, if given.
    #[must_use]
    pub fn diagonal(&self) -> Option<ArrayView2<'a, A>> {
        self.diagonal
    }

    /// The same signal for a shorter time. (Views of ndarray do not shorten by themselves.)
    #[must_use]
    pub fn reborrow<'b>(&self) -> Signal<'b, A>
    where
        'a: 'b,
    {
        self.with_gradient(self.gradient.reborrow())
    }

    /// The same factors with another gradient.
    pub(crate) fn with_gradient<'b>(&self, gradient: ArrayView2<'b, A>) -> Signal<'b, A>
    where
        'a: 'b,
    {
        Signal {
            gradient,
            input: self.input.map(Factor::reborrow),
            output: self.output.map(Factor::reborrow),
            diagonal: self.diagonal.map(ArrayView2::reborrow),
        }
    }

    pub(crate) fn factor(&self, side: Side) -> Result<&Factor<'a, A>> {
        match side {
            Side::Left => self.output.as_ref(),
            Side::Right => self.input.as_ref(),
        }
        .ok_or(OptimError::MissingSignal { side })
    }
}

impl<'a, A: Scalar> From<ArrayView2<'a, A>> for Signal<'a, A> {
    /// The gradient of a matrix.
    fn from(gradient: ArrayView2<'a, A>) -> Self {
        Signal::new(gradient)
    }
}

impl<'a, A: Scalar> From<ArrayView1<'a, A>> for Signal<'a, A> {
    /// The gradient of a vector, which is a 1 × n matrix.
    fn from(gradient: ArrayView1<'a, A>) -> Self {
        Signal::new(gradient.insert_axis(Axis(0)))
    }
}

/// A second moment of a layer's input or output, in the form in which it is at hand.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Factor<'a, A> {
    /// Samples as rows, N × n: the second moment is `SᵀS/N`.
    Samples(ArrayView2<'a, A>),
    /// The second moment `S`, n × n, symmetric up to `8 ε n max|S|`.
    SecondMoment(ArrayView2<'a, A>),
    /// Its lower Cholesky factor `L`, n × n, `LLᵀ` the second moment; what stands above the
    /// diagonal is not read. Without damping and averaging nothing has to be factored.
    Cholesky(ArrayView2<'a, A>),
    /// The diagonal of a second moment that is no more than that, as that of unit vectors, for methods with a
    /// [diagonal factor](crate::chain::DiagonalFactorConfig): n entries, ≥ 0.
    Diagonal(ArrayView1<'a, A>),
}

impl<'a, A: Scalar> Factor<'a, A> {
    /// The same factor for a shorter time.
    #[must_use]
    pub fn reborrow<'b>(self) -> Factor<'b, A>
    where
        'a: 'b,
    {
        match self {
            Factor::Samples(array) => Factor::Samples(array.reborrow()),
            Factor::SecondMoment(array) => Factor::SecondMoment(array.reborrow()),
            Factor::Cholesky(array) => Factor::Cholesky(array.reborrow()),
            Factor::Diagonal(array) => Factor::Diagonal(array.reborrow()),
        }
    }

    /// The array, in whichever form; of a diagonal 1 × n.
    #[must_use]
    pub fn array(&self) -> ArrayView2<'a, A> {
        match self {
            Factor::Samples(array) | Factor::SecondMoment(array) | Factor::Cholesky(array) => {
                *array
            }
            Factor::Diagonal(array) => array.insert_axis(Axis(0)),
        }
    }
}

/// Signals beyond the gradient: those that a method requires, or those that a layer can give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Signals {
    /// The second moment of the layer's input.
    pub input: bool,
    /// The second moment of derivatives with respect to the layer's output.
    pub output: bool,
    /// The diagonal of the loss's second derivative, at some steps.
    pub diagonal: bool,
}

impl Signals {
    /// The gradient alone.
    pub const GRADIENT: Signals = Signals { input: false, output: false, diagonal: false };
    /// The gradient and the input factor.
    pub const INPUT: Signals = Signals { input: true, ..Signals::GRADIENT };
    /// The gradient and the output factor.
    pub const OUTPUT: Signals = Signals { output: true, ..Signals::GRADIENT };
    /// The gradient, the input factor and the output factor.
    pub const FACTORS: Signals = Signals { input: true, output: true, diagonal: false };
    /// The gradient, and now and then the diagonal of the loss's second derivative.
    pub const DIAGONAL: Signals = Signals { diagonal: true, ..Signals::GRADIENT };
    /// All of them.
    pub const ALL: Signals = Signals { input: true, output: true, diagonal: true };

    /// What either needs.
    #[must_use]
    pub fn and(self, other: Signals) -> Signals {
        Signals {
            input: self.input | other.input,
            output: self.output | other.output,
            diagonal: self.diagonal | other.diagonal,
        }
    }

    /// Refuses a layer that does not give all of these.
    ///
    /// # Errors
    ///
    /// [`OptimError::MissingSignal`] with the side that is missing, [`OptimError::MissingDiagonal`].
    pub fn check_available(self, available: Signals) -> Result<()> {
        if self.output && !available.output {
            return Err(OptimError::MissingSignal { side: Side::Left });
        }
        if self.input && !available.input {
            return Err(OptimError::MissingSignal { side: Side::Right });
        }
        if self.diagonal && !available.diagonal {
            return Err(OptimError::MissingDiagonal);
        }
        Ok(())
    }
}
