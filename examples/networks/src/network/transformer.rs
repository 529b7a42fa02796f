//! A small causal transformer that predicts the next character.

use layerwise_optim::Scalar;
use layerwise_optim::ndarray::{Array2, ArrayD, Zip};

use crate::data::text::Sequences;
use crate::error::Result;
use crate::network::Network;
use crate::network::attention::{Attention, Heads};
use crate::network::norm::RmsNorm;
use crate::parameter::Parameter;

/// Deviation of embeddings at the start.
const EMBEDDING_DEVIATION: f64 = 0.5;

/// Parameters of a block, in their order.
const BLOCK: [&str; 8] = [
    "attention.gain",
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "mlp.gain",
    "mlp.up",
    "mlp.down",
];
/// Embeddings stand before the blocks.
const EMBEDDINGS: usize = 2;

/// Embeddings of characters and positions; blocks of attention and of an MLP with SiLU, each of which
/// takes the stream through an RMS norm and adds to it; a last norm, and a head. No biases.
#[derive(Clone, Copy, Debug)]
pub struct Transformer {
    /// Characters of the alphabet.
    pub alphabet: usize,
    /// Positions of a sequence.
    pub context: usize,
    /// Width of the stream.
    pub width: usize,
    /// Heads of attention, which divide the width.
    pub heads: usize,
    /// Width of the MLPs.
    pub hidden: usize,
    /// Blocks.
    pub blocks: usize,
}

/// What a forward pass leaves; matrices have a row for each position of each sequence.
#[derive(Clone, Debug)]
pub struct Trace<A> {
    characters: Vec<usize>,
    blocks: Vec<Block<A>>,
    norm: RmsNorm<A>,
    /// What the head takes.
    features: Array2<A>,
}

#[derive(Clone, Debug)]
struct Block<A> {
    attention_norm: RmsNorm<A>,
    /// What queries, keys and values are made of.
    attention_inputs: Array2<A>,
    attention: Attention<A>,
    /// What the heads give.
    attended: Array2<A>,
    mlp_norm: RmsNorm<A>,
    mlp_inputs: Array2<A>,
    /// σ(u) of what the MLP's first matrix gives.
    gates: Array2<A>,
    /// u σ(u).
    hidden: Array2<A>,
}

impl Transformer {
    /// A block's weights, in the order of their names.
    fn of_block<'w, A>(&self, weights: &'w [Array2<A>], block: usize) -> &'w [Array2<A>] {
        &weights[EMBEDDINGS + block * BLOCK.len()..][..BLOCK.len()]
    }

    /// The last gain and the head.
    fn last<'w, A>(&self, weights: &'w [Array2<A>]) -> (&'w Array2<A>, &'w Array2<A>) {
        let at = EMBEDDINGS + self.blocks * BLOCK.len();
        (&weights[at], &weights[at + 1])
    }

    /// Adds a block to the stream.
    fn forward_block<A: Scalar>(&self, weights: &[Array2<A>], stream: &mut Array2<A>) -> Block<A> {
        let (attention_inputs, attention_norm) = RmsNorm::forward(stream, &weights[0]);
        let project = |weight: &Array2<A>| attention_inputs.dot(&weight.t());
        let [queries, keys, values] = [&weights[1], &weights[2], &weights[3]].map(project);
        let heads = Heads { context: self.context, count: self.heads };
        let (attended, attention) = Attention::forward(heads, queries, keys, values);
        *stream += &attended.dot(&weights[4].t());
        let (mlp_inputs, mlp_norm) = RmsNorm::forward(stream, &weights[5]);
        let mut hidden = mlp_inputs.dot(&weights[6].t());
        let gates = hidden.mapv(|u| (A::one() + (-u).exp()).recip());
        hidden *= &gates;
        *stream += &hidden.dot(&weights[7].t());
        Block {
            attention_norm,
            attention_inputs,
            attention,
            attended,
            mlp_norm,
            mlp_inputs,
            gates,
            hidden,
        }
    }

    /// Takes derivatives by the stream after a block to those before it; returns those by the
    /// block's outputs and gains, in the order of the names.
    fn backward_block<A: Scalar>(
        &self,
        weights: &[Array2<A>],
        block: &Block<A>,
        by_stream: &mut Array2<A>,
    ) -> [Array2<A>; 8] {
        let by_down = by_stream.clone();
        let mut by_up = by_down.dot(&weights[7]);
        // Of h = u σ(u): σ + h (1 − σ).
        Zip::from(&mut by_up).and(&block.gates).and(&block.hidden).for_each(|d, &gate, &h| {
            *d *= gate + h * (A::one() - gate);
        });
        let (back, by_mlp_gain) = block.mlp_norm.backward(&weights[5], &by_up.dot(&weights[6]));
        *by_stream += &back;
        let by_output = by_stream.clone();
        let [by_query, by_key, by_value] = block.attention.backward(&by_output.dot(&weights[4]));
        let mut by_inputs = by_query.dot(&weights[1]);
        by_inputs += &by_key.dot(&weights[2]);
        by_inputs += &by_value.dot(&weights[3]);
        let (back, by_gain) = block.attention_norm.backward(&weights[0], &by_inputs);
        *by_stream += &back;
        [by_gain, by_query, by_key, by_value, by_output, by_mlp_gain, by_up, by_down]
    }

    /// N·T rows as N × T × width: the layers see sequences.
    fn sequences<A: Scalar>(&self, rows: Array2<A>) -> Result<ArrayD<A>> {
        let (positions, width) = rows.dim();
        let shape = (positions / self.context, self.context, width);
        Ok(rows.into_shape_with_order(shape)?.into_dyn())
    }
}

impl<A: Scalar> Network<A> for Transformer {
    type Batch = Sequences;
    type Trace = Trace<A>;

    fn parameters(&self) -> Vec<Parameter<A>> {
        let Transformer { alphabet, context, width, hidden, .. } = *self;
        let mut parameters = vec![
            Parameter::embedding("embedding.character", (alphabet, width), EMBEDDING_DEVIATION),
            Parameter::embedding("embedding.position", (context, width), EMBEDDING_DEVIATION),
        ];
        for block in 0..self.blocks {
            parameters.extend(BLOCK.iter().map(|part| {
                let name = format!("block.{block}.{part}");
                match *part {
                    "attention.gain" | "mlp.gain" => Parameter::gain(name, width),
                    "mlp.up" => Parameter::positions(name, hidden, width),
                    "mlp.down" => Parameter::positions(name, width, hidden),
                    _ => Parameter::positions(name, width, width),
                }
            }));
        }
        parameters.push(Parameter::gain("gain", width));
        parameters.push(Parameter::positions("head", alphabet, width));
        parameters
    }

    fn labels<'b>(&self, batch: &'b Sequences) -> &'b [usize] {
        &batch.next
    }

    fn forward(&self, weights: &[Array2<A>], batch: &Sequences) -> Result<(Array2<A>, Trace<A>)> {
        let (characters, positions) = (&weights[0], &weights[1]);
        let mut stream = Array2::zeros((batch.characters.len(), self.width));
        let rows = stream.rows_mut().into_iter().zip(&batch.characters);
        for (row, (mut sum, &character)) in rows.enumerate() {
            sum += &characters.row(character);
            sum += &positions.row(row % self.context);
        }
        let blocks = (0..self.blocks)
            .map(|block| self.forward_block(self.of_block(weights, block), &mut stream))
            .collect();
        let (gain, head) = self.last(weights);
        let (features, norm) = RmsNorm::forward(&stream, gain);
        let logits = features.dot(&head.t());
        let characters = batch.characters.clone();
        Ok((logits, Trace { characters, blocks, norm, features }))
    }

    fn backward(
        &self,
        weights: &[Array2<A>],
        trace: &Trace<A>,
        by_logits: Array2<A>,
    ) -> Result<Vec<ArrayD<A>>> {
        let (gain, head) = self.last(weights);
        let (mut by_stream, by_gain) = trace.norm.backward(gain, &by_logits.dot(head));
        let mut by_blocks: Vec<_> = (0..self.blocks)
            .rev()
            .map(|block| {
                let weights = self.of_block(weights, block);
                self.backward_block(weights, &trace.blocks[block], &mut by_stream)
            })
            .collect();
        by_blocks.reverse();

        let mut by_characters = Array2::zeros(weights[0].dim());
        let mut by_positions = Array2::zeros(weights[1].dim());
        let rows = by_stream.rows().into_iter().zip(&trace.characters);
        for (row, (derivatives, &character)) in rows.enumerate() {
            let mut of_character = by_characters.row_mut(character);
            of_character += &derivatives;
            let mut of_position = by_positions.row_mut(row % self.context);
            of_position += &derivatives;
        }
        let mut derivatives = vec![by_characters.into_dyn(), by_positions.into_dyn()];
        for by_block in by_blocks {
            for (part, derivative) in BLOCK.iter().zip(by_block) {
                derivatives.push(match part.ends_with("gain") {
                    true => derivative.into_dyn(),
                    false => self.sequences(derivative)?,
                });
            }
        }
        derivatives.extend([by_gain.into_dyn(), self.sequences(by_logits)?]);
        Ok(derivatives)
    }

    fn inputs(&self, trace: Trace<A>) -> Result<Vec<Option<ArrayD<A>>>> {
        let mut inputs = vec![None; EMBEDDINGS];
        for block in trace.blocks {
            let Block { attention_inputs, attended, mlp_inputs, hidden, .. } = block;
            let attention_inputs = self.sequences(attention_inputs)?;
            inputs.extend([
                None,
                Some(attention_inputs.clone()),
                Some(attention_inputs.clone()),
                Some(attention_inputs),
                Some(self.sequences(attended)?),
                None,
                Some(self.sequences(mlp_inputs)?),
                Some(self.sequences(hidden)?),
            ]);
        }
        inputs.extend([None, Some(self.sequences(trace.features)?)]);
        Ok(inputs)
    }
}
