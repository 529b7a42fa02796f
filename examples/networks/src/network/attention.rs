//! Causal attention of several heads, between the projections.

use layerwise_optim::Scalar;
use layerwise_optim::ndarray::{Array2, ArrayView2, Axis, s};

/// How rows are shared out: sequences of so many positions, one after the other, and heads of so many
/// columns.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Positions of a sequence.
    pub context: usize,
    /// Heads, which divide the width.
    pub count: usize,
}

/// What a backward pass needs.
#[derive(Clone, Debug)]
pub struct Attention<A> {
    heads: Heads,
    queries: Array2<A>,
    keys: Array2<A>,
    values: Array2<A>,
    /// Of each sequence and head, T × T: rows are positions, and what they attend to stands in
    /// columns.
    weights: Vec<Array2<A>>,
}

impl Heads {
    /// Rows and columns of each sequence and head, in one order.
    fn blocks<A>(self, of: &Array2<A>) -> impl Iterator<Item = (usize, usize)> + use<A> {
        let (sequences, count) = (of.nrows() / self.context, self.count);
        let (context, width) = (self.context, of.ncols() / self.count);
        (0..sequences).flat_map(move |i| (0..count).map(move |j| (i * context, j * width)))
    }

    fn block<A>(self, of: &Array2<A>, (row, column): (usize, usize)) -> ArrayView2<'_, A> {
        of.slice(s![row..row + self.context, column..column + of.ncols() / self.count])
    }

    fn assign<A: Scalar>(
        self,
        to: &mut Array2<A>,
        (row, column): (usize, usize),
        block: &Array2<A>,
    ) {
        to.slice_mut(s![row..row + block.nrows(), column..column + block.ncols()]).assign(block);
    }

    /// `1/√(width of a head)`.
    fn scale<A: Scalar>(self, of: &Array2<A>) -> A {
        A::from_f64((self.count as f64 / of.ncols() as f64).sqrt())
    }
}

impl<A: Scalar> Attention<A> {
    /// `softmax(Q Kᵀ/√d) V` of each head, over the positions up to the row's own; all (N·T) × width.
    #[must_use]
    pub fn forward(
        heads: Heads,
        queries: Array2<A>,
        keys: Array2<A>,
        values: Array2<A>,
    ) -> (Array2<A>, Self) {
        let mut outputs = Array2::zeros(values.dim());
        let scale = heads.scale(&queries);
        let mut weights = Vec::new();
        for at in heads.blocks(&queries) {
            let [q, k, v] = [&queries, &keys, &values].map(|of| heads.block(of, at));
            let mut attended = q.dot(&k.t());
            for (position, mut row) in attended.rows_mut().into_iter().enumerate() {
                let (mut seen, mut later) = row.view_mut().split_at(Axis(0), position + 1);
                let most = seen.fold(A::neg_infinity(), |most, &x| most.max(x));
                seen.mapv_inplace(|x| ((x - most) * scale).exp());
                let share = seen.sum().recip();
                seen.mapv_inplace(|x| x * share);
                later.fill(A::zero());
            }
            heads.assign(&mut outputs, at, &attended.dot(&v));
            weights.push(attended);
        }
        (outputs, Attention { heads, queries, keys, values, weights })
    }

    /// Derivatives by queries, keys and values, from those by the outputs.
    #[must_use]
    pub fn backward(&self, by_outputs: &Array2<A>) -> [Array2<A>; 3] {
        let mut derivatives = [(); 3].map(|()| Array2::zeros(by_outputs.dim()));
        let scale = self.heads.scale(by_outputs);
        for (at, weights) in self.heads.blocks(by_outputs).zip(&self.weights) {
            let block = |of| self.heads.block(of, at);
            let by_output = block(by_outputs);
            // Of softmax: dS = P ∘ (dP − rowsum(dP ∘ P)), which is zero where P is.
            let mut by_scores = by_output.dot(&block(&self.values).t());
            for (mut d, p) in by_scores.rows_mut().into_iter().zip(weights.rows()) {
                let mean = d.dot(&p);
                d.zip_mut_with(&p, |d, &p| *d = p * (*d - mean) * scale);
            }
            let of_block = [
                by_scores.dot(&block(&self.keys)),
                by_scores.t().dot(&block(&self.queries)),
                weights.t().dot(&by_output),
            ];
            for (whole, block) in derivatives.iter_mut().zip(&of_block) {
                self.heads.assign(whole, at, block);
            }
        }
        derivatives
    }
}
