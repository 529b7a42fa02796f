//! Common layers, and what each reports to an optimizer: a signal made of what a backward pass has.
//!
//! | layer | inputs | derivatives by outputs | weight |
//! |---|---|---|---|
//! | [`Linear`] | N × n | N × m | m × n |
//! | [`Linear`] at every position of sequences, such as attention's projections | N × … × n | N × … × m | m × n |
//! | [`Conv2d`] | N × C × H × W | N × O × H′ × W′ | O × (C·h·w), the kernel O × C × h × w row by row |
//! | [`Embedding`] | N × … tokens | N × … × d | d × V, the table's transpose |
//!
//! With a bias the weight has one more column, the last, for an input that is always 1.
//!
//! Derivatives are those of each sample's own loss, or those of a mean loss, as autograd gives them;
//! [`Derivatives`] says which. Those of a mean over N samples are N times smaller, and a factor made of them as
//! they are would be N² times smaller.
//!
//! ```
//! use layerwise_optim::layers::{Derivatives, Linear};
//! use layerwise_optim::ndarray::{Array2, Axis, array, concatenate};
//! use layerwise_optim::{Kfac, Method, OptimError};
//!
//! // Least squares, the mean of ½(w x + b − y)², whose derivatives by the outputs are (w x + b − y)/N.
//! let inputs = array![[1.0_f64, 0.5], [-1.0, 2.0], [0.0, 1.0], [2.0, -0.5]];
//! let targets = array![[2.0], [-2.5], [0.0], [4.5]]; // 1.5 x₁ − x₂ + 1
//! let mut layer = Linear::new(1, 2).with_bias();
//! let mut weight = Array2::<f64>::zeros(layer.weight_shape());
//! let kfac = Kfac { learning_rate: 1.0.into(), damping: 1e-3.into(), ..Kfac::stylised() };
//! let mut optimizer = kfac.build(weight.dim())?;
//! let with_one = concatenate![Axis(1), inputs, Array2::ones((4, 1))];
//! for _ in 0..20 {
//!     let derivatives = (with_one.dot(&weight.t()) - &targets) / 4.0;
//!     // The curvature of ½(o − y)² by the output o is 1.
//!     let curvature = Array2::ones((4, 1));
//!     let signal = layer.report_with(
//!         inputs.view(),
//!         Derivatives::OfMeanLoss(derivatives.view()),
//!         Derivatives::OfEachLoss(curvature.view()),
//!     )?;
//!     optimizer.step(&mut weight.view_mut(), &signal)?;
//! }
//! assert!((weight - array![[1.5, -1.0, 1.0]]).iter().all(|x| x.abs() < 1e-6));
//! # Ok::<(), OptimError>(())
//! ```

mod attention;
mod conv2d;
mod embedding;
mod linear;
mod samples;

pub use attention::QkClip;
pub use conv2d::Conv2d;
pub use embedding::Embedding;
pub use linear::Linear;

use ndarray::{ArrayView, Dimension};

/// Derivatives of losses by a layer's outputs; the first axis is the samples.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Derivatives<'a, A, D: Dimension> {
    /// Of each sample's own loss.
    OfEachLoss(ArrayView<'a, A, D>),
    /// Of the mean of the samples' losses.
    OfMeanLoss(ArrayView<'a, A, D>),
    /// Of the mean over all positions of all samples of losses that each position has for itself, as of a
    /// language model's tokens: every position is a sample, whatever the rule for sharing.
    OfMeanOverPositions(ArrayView<'a, A, D>),
}

impl<'a, A, D: Dimension> Derivatives<'a, A, D> {
    fn view(&self) -> &ArrayView<'a, A, D> {
        match self {
            Derivatives::OfEachLoss(view)
            | Derivatives::OfMeanLoss(view)
            | Derivatives::OfMeanOverPositions(view) => view,
        }
    }

    /// What they are multiplied by to be those of each loss.
    fn to_each(&self, samples: usize, places: usize) -> f64 {
        match self {
            Derivatives::OfEachLoss(_) => 1.0,
            Derivatives::OfMeanLoss(_) => samples as f64,
            Derivatives::OfMeanOverPositions(_) => (samples * places) as f64,
        }
    }

    /// How many samples there are, each with how many places.
    fn count(&self, samples: usize, places: usize) -> (usize, usize) {
        match self {
            Derivatives::OfMeanOverPositions(_) => (samples * places, 1),
            Derivatives::OfEachLoss(_) | Derivatives::OfMeanLoss(_) => (samples, places),
        }
    }
}

/// How a weight that a sample uses at `T` places, the positions of a sequence or the places of a kernel, enters
/// its factors (Eschenhagen et al. 2023). They agree where `T` = 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightSharing {
    /// Every place counts as a sample: `Ê[xxᵀ]` over samples and places, and the sum over places of
    /// `Ê[δδᵀ]`. Exact for linear layers whose places have losses of their own.
    #[default]
    Expand,
    /// A sample counts once: with the mean of its inputs, and the sum of its derivatives. Exact for
    /// linear layers whose outputs are averaged before the loss.
    Reduce,
}
