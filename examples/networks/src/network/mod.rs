//! What a network says of itself, and what follows from it: scores, and passes for optimizers.

pub mod attention;
pub mod convolution;
pub mod dense;
pub mod norm;
pub mod transformer;

use layerwise_optim::Scalar;
use layerwise_optim::ndarray::{Array2, ArrayD, ArrayView1, ArrayView2, s};
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::error::Result;
use crate::parameter::{Parameter, Pass};

/// A network that predicts one of some classes for each row of its logits. It holds no weights:
/// all methods take them, in the order and of the shapes of its parameters.
pub trait Network<A: Scalar>: Sync {
    /// Inputs, with the classes that they belong to.
    type Batch;
    /// What a forward pass leaves for the backward pass.
    type Trace;

    /// Its parameters; the order is that of weights, of derivatives and of inputs.
    fn parameters(&self) -> Vec<Parameter<A>>;

    /// The classes, one for each row of logits.
    fn labels<'b>(&self, batch: &'b Self::Batch) -> &'b [usize];

    /// Logits (rows × classes).
    ///
    /// # Errors
    ///
    /// Inputs or weights of other shapes.
    fn forward(
        &self,
        weights: &[Array2<A>],
        batch: &Self::Batch,
    ) -> Result<(Array2<A>, Self::Trace)>;

    /// From the derivatives of a mean loss by the logits those by each layer's outputs, and by
    /// embeddings and gains themselves.
    ///
    /// # Errors
    ///
    /// Derivatives or weights of other shapes.
    fn backward(
        &self,
        weights: &[Array2<A>],
        trace: &Self::Trace,
        by_logits: Array2<A>,
    ) -> Result<Vec<ArrayD<A>>>;

    /// The inputs of each layer; `None` of embeddings and gains.
    ///
    /// # Errors
    ///
    /// A trace of another network.
    fn inputs(&self, trace: Self::Trace) -> Result<Vec<Option<ArrayD<A>>>>;
}

/// How well a network does.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of rows whose class is the likeliest.
    pub accuracy: f64,
}

/// Mean cross-entropy and accuracy on a batch.
///
/// # Errors
///
/// Inputs or weights of other shapes than the network's.
pub fn score<A: Scalar, N: Network<A>>(
    network: &N,
    weights: &[Array2<A>],
    batch: &N::Batch,
) -> Result<Score> {
    let (logits, _) = network.forward(weights, batch)?;
    let labels = network.labels(batch);
    let (mut loss, mut right) = (0.0, 0);
    for (row, &label) in logits.rows().into_iter().zip(labels) {
        let (best, most) = largest(row);
        let sum: f64 = row.iter().map(|&x| (x - most).exp().as_f64()).sum();
        loss += sum.ln() - (row[label] - most).as_f64();
        right += usize::from(best == label);
    }
    let count = labels.len() as f64;
    Ok(Score { loss: loss / count, accuracy: right as f64 / count })
}

/// What each parameter's layer reports of a batch; with a generator also for labels that the
/// network draws by itself.
///
/// # Errors
///
/// Inputs or weights of other shapes than the network's.
pub fn passes<A: Scalar, N: Network<A>>(
    network: &N,
    weights: &[Array2<A>],
    batch: &N::Batch,
    rng: Option<&mut Xoshiro256PlusPlus>,
) -> Result<Vec<Pass<A>>> {
    let (logits, trace) = network.forward(weights, batch)?;
    let probabilities = softmax(logits);
    let labels = network.labels(batch);
    let derivatives = network.backward(weights, &trace, by_logits(&probabilities, labels))?;
    let drawn: Vec<Option<ArrayD<A>>> = match rng {
        None => derivatives.iter().map(|_| None).collect(),
        Some(rng) => {
            let labels = draw(&probabilities, rng);
            let drawn = network.backward(weights, &trace, by_logits(&probabilities, &labels))?;
            drawn.into_iter().map(Some).collect()
        }
    };
    let inputs = network.inputs(trace)?;
    let all = inputs.into_iter().zip(derivatives).zip(drawn);
    Ok(all.map(|((inputs, derivatives), drawn)| Pass { inputs, derivatives, drawn }).collect())
}

/// Derivatives of the mean of −ln p(label) by the logits: p − 1 at the label and p elsewhere, over
/// the number of rows.
#[must_use]
pub fn by_logits<A: Scalar>(probabilities: &Array2<A>, labels: &[usize]) -> Array2<A> {
    let mut derivatives = probabilities.clone();
    for (mut row, &label) in derivatives.rows_mut().into_iter().zip(labels) {
        row[label] -= A::one();
    }
    derivatives.mapv_into(|x| x * A::from_f64(1.0 / labels.len() as f64))
}

/// Of each row of probabilities one class.
#[must_use]
pub fn draw<A: Scalar>(probabilities: &Array2<A>, rng: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let class = |row: ArrayView1<'_, A>| {
        let mut left: f64 = rng.random();
        let passed = row.iter().position(|p| {
            left -= p.as_f64();
            left < 0.0
        });
        // Probabilities may add up to a little less than one.
        passed.unwrap_or(row.len() - 1)
    };
    probabilities.rows().into_iter().map(class).collect()
}

/// Probabilities of logits, row by row.
#[must_use]
pub fn softmax<A: Scalar>(mut logits: Array2<A>) -> Array2<A> {
    for mut row in logits.rows_mut() {
        let (_, most) = largest(row.view());
        row.mapv_inplace(|x| (x - most).exp());
        let share = row.sum().recip();
        row.mapv_inplace(|x| x * share);
    }
    logits
}

fn largest<A: Scalar>(row: ArrayView1<'_, A>) -> (usize, A) {
    let first = (0, A::neg_infinity());
    row.iter().enumerate().fold(first, |best, (i, &x)| if x > best.1 { (i, x) } else { best })
}

/// `x Wᵀ + b`, a sample a row, with b the last column of the weight.
pub(crate) fn affine<A: Scalar>(inputs: ArrayView2<'_, A>, weight: &Array2<A>) -> Array2<A> {
    let last = weight.ncols() - 1;
    let mut outputs = inputs.dot(&weight.slice(s![.., ..last]).t());
    outputs += &weight.column(last);
    outputs
}

/// Derivatives by the inputs of [`affine`].
pub(crate) fn affine_back<A: Scalar>(outputs: &Array2<A>, weight: &Array2<A>) -> Array2<A> {
    outputs.dot(&weight.slice(s![.., ..weight.ncols() - 1]))
}

/// The hyperbolic tangent. Its error is of order ε of one, not of the result, and it takes a third
/// of the time of the standard library's.
pub(crate) fn tanh<A: Scalar>(x: A) -> A {
    let two = A::from_f64(2.0);
    A::one() - two / ((two * x).exp() + A::one())
}
