//! Attention: what keeps its logits bounded.

use layerwise_linalg::Scalar;
use ndarray::{ArrayViewMut2, Axis};

use crate::error::Result;
use crate::layers::samples::refuse;
use crate::schedule::check_number;

/// MuonClip's QK-clip (Kimi Team 2025): after a step, the query and key projections of each head whose largest
/// logit `S` of the batch was above `τ` shrink so that it would have been `τ`.
///
/// ```text
/// γ = min(1, τ/S),  W_q ← γ^α W_q,  W_k ← γ^(1−α) W_k    on the head's rows
/// ```
///
/// It is a step after the step: neither momentum nor statistics change. It is for the weights that are stepped
/// themselves, not under averages that the gradient is taken at
/// ([`WeightAveraging::ScheduleFree`](crate::chain::WeightAveraging::ScheduleFree), `Primal`), which would undo it.
///
/// ```
/// use layerwise_optim::layers::QkClip;
/// use layerwise_optim::ndarray::Array2;
///
/// // Two heads of two dimensions on a width of three; the second one's largest logit is 400.
/// let (mut query, mut key) = (Array2::<f32>::ones((4, 3)), Array2::<f32>::ones((4, 3)));
/// QkClip::default().apply(&mut query.view_mut(), &mut key.view_mut(), &[80.0, 400.0])?;
/// assert_eq!((query[[1, 0]], query[[2, 0]], key[[3, 2]]), (1.0, 0.5, 0.5));
/// # Ok::<(), layerwise_optim::OptimError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkClip {
    /// `τ` > 0.
    pub threshold: f64,
    /// `α` in [0, 1], the queries' part.
    pub balance: f64,
}

impl Default for QkClip {
    /// The report's: τ = 100, both alike.
    fn default() -> Self {
        QkClip { threshold: 100.0, balance: 0.5 }
    }
}

impl QkClip {
    /// Shrinks the projections, whose rows are those of one head after another, where the largest logits (one
    /// of each query head) ask for it. Fewer key heads than query heads serve as many each, and shrink by what
    /// the largest of theirs asks for: the other logits that such a head has a part in end below `τ`.
    ///
    /// # Errors
    ///
    /// Numbers out of range, logits that are not finite, rows that do not divide into the heads, and key heads of
    /// another width than query heads, or that do not divide their number. Nothing has changed then.
    pub fn apply<A: Scalar>(
        &self,
        query: &mut ArrayViewMut2<'_, A>,
        key: &mut ArrayViewMut2<'_, A>,
        largest_logits: &[f64],
    ) -> Result<()> {
        check_number("threshold", self.threshold, "finite and > 0", |x| x > 0.0)?;
        check_number("balance", self.balance, "in [0, 1]", |x| (0.0..=1.0).contains(&x))?;
        for &logit in largest_logits {
            check_number("largest logit", logit, "finite", |_| true)?;
        }
        let heads = largest_logits.len();
        let width = query.nrows() / heads.max(1);
        let key_heads = key.nrows() / width.max(1);
        if width == 0 || width * heads != query.nrows() {
            return refuse("query projection", format!("{heads} heads × n"), query.shape());
        }
        let is_whole = key_heads > 0 && width * key_heads == key.nrows();
        if !is_whole || !heads.is_multiple_of(key_heads) {
            let expected = format!("a divisor of {heads} heads of {width} rows each");
            return refuse("key projection", expected, key.shape());
        }
        let factor = |logit: f64| if logit > self.threshold { self.threshold / logit } else { 1.0 };
        let shrink = |weight: &mut ArrayViewMut2<'_, A>, served: usize, power: f64| {
            for (mut rows, logits) in
                weight.axis_chunks_iter_mut(Axis(0), width).zip(largest_logits.chunks(served))
            {
                let least = logits.iter().map(|&logit| factor(logit)).fold(1.0, f64::min);
                if least < 1.0 {
                    let factor = A::from_f64(least.powf(power));
                    rows.mapv_inplace(|w| w * factor);
                }
            }
        };
        shrink(query, 1, self.balance);
        shrink(key, heads / key_heads, 1.0 - self.balance);
        Ok(())
    }
}
