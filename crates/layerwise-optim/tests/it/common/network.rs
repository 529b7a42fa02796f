//! A network of dense layers on data as people have them: anisotropic, with inputs that are always zero.
#![allow(dead_code, reason = "each test file uses a part")]
#![expect(clippy::expect_used, reason = "shapes that are made to fit")]

use layerwise_optim::ndarray::{Array2, ArrayView2, Axis, Zip};
use layerwise_optim::{
    Chain, Factor, Group, OptimError, OptimizerSet, Scalar, Selector, Signal, Signals, Update,
};
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Inputs (N × d) with their classes.
pub(crate) struct Classes<A> {
    pub(crate) inputs: Array2<A>,
    pub(crate) labels: Vec<usize>,
}

impl<A: Scalar> Classes<A> {
    /// `count` inputs of dimension `d`, times `scale`, of `classes` classes. Half of their variance lies in a
    /// few of their directions, as of pictures; a quarter of the entries are always zero. Which class an input
    /// belongs to, a network of one hidden layer says.
    pub(crate) fn draw(seed: u64, count: usize, d: usize, classes: usize, scale: f64) -> Self {
        const LATENT: usize = 24;
        let mut rng = generator(seed);
        let mut mixing = normal::<f64>(&mut rng, (LATENT, d));
        for (i, mut row) in mixing.rows_mut().into_iter().enumerate() {
            row *= 2.0 / (1.0 + i as f64).sqrt();
        }
        let (hidden, head) =
            (normal::<f64>(&mut rng, (LATENT, 32)), normal::<f64>(&mut rng, (32, classes)));
        let latent = normal::<f64>(&mut rng, (count, LATENT));
        let scores = latent.dot(&hidden).mapv(f64::tanh).dot(&head);
        let labels = scores.rows().into_iter().map(|row| largest(row.iter().copied())).collect();
        let noise = normal::<f64>(&mut rng, (count, d));
        let mut inputs = (latent.dot(&mixing) + 0.5 * noise).mapv(|x| (0.3 * x).max(0.0));
        inputs.axis_iter_mut(Axis(1)).step_by(4).for_each(|mut dead| dead.fill(0.0));
        Classes { inputs: inputs.mapv(|x| A::from_f64(scale * x)), labels }
    }

    /// Those of the first so many classes.
    pub(crate) fn of_first(&self, classes: usize) -> Self {
        let rows: Vec<usize> =
            (0..self.labels.len()).filter(|&row| self.labels[row] < classes).collect();
        self.batch(&rows)
    }

    fn batch(&self, rows: &[usize]) -> Classes<A> {
        Classes {
            inputs: self.inputs.select(Axis(0), rows),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
        }
    }
}

fn largest(values: impl Iterator<Item = f64>) -> usize {
    let best = values
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (i, x)| if x > best.1 { (i, x) } else { best });
    best.0
}

/// Dense layers with tanh between them, softmax and cross-entropy at the end.
pub(crate) struct Network<A> {
    pub(crate) weights: Vec<Array2<A>>,
}

/// What a backward pass gives of a layer.
pub(crate) struct LayerPass<A> {
    pub(crate) gradient: Array2<A>,
    pub(crate) inputs: Array2<A>,
    /// Of each sample's own loss, with a label that the network draws itself.
    pub(crate) derivatives: Array2<A>,
    /// `N g̃ ⊙ g̃` of the gradient of the mean loss for those labels (Sophia-G).
    pub(crate) curvature: Array2<A>,
}

impl<A: Scalar> LayerPass<A> {
    pub(crate) fn signal(&self) -> Signal<'_, A> {
        Signal::new(self.gradient.view())
            .with_input(Factor::Samples(self.inputs.view()))
            .with_output(Factor::Samples(self.derivatives.view()))
            .with_diagonal(self.curvature.view())
    }
}

impl<A: Scalar> Network<A> {
    /// Weights of variance 1/d, times `gain`.
    pub(crate) fn new(seed: u64, widths: &[usize], gain: f64) -> Self {
        let mut rng = generator(seed);
        let weight = |pair: &[usize]| {
            let scale = A::from_f64(gain / (pair[0] as f64).sqrt());
            normal::<A>(&mut rng, (pair[1], pair[0])).mapv(|x| x * scale)
        };
        Network { weights: widths.windows(2).map(weight).collect() }
    }

    /// The inputs of each layer, and the probabilities (N × classes).
    fn forward(&self, inputs: &Array2<A>) -> (Vec<Array2<A>>, Array2<A>) {
        let mut layers = vec![inputs.clone()];
        for (index, weight) in self.weights.iter().enumerate() {
            let outputs = product(&layers[index].view(), &weight.t());
            layers.push(match index + 1 == self.weights.len() {
                true => outputs,
                false => outputs.mapv(|x| A::from_f64(x.as_f64().tanh())),
            });
        }
        let mut scores = layers.pop().expect("there is a layer");
        for mut row in scores.rows_mut() {
            let most = row.iter().fold(A::neg_infinity(), |most, &x| most.max(x));
            row.mapv_inplace(|x| A::from_f64((x - most).as_f64().exp()));
            let sum = row.sum();
            row.mapv_inplace(|x| x / sum);
        }
        (layers, scores)
    }

    /// Mean cross-entropy.
    pub(crate) fn loss(&self, data: &Classes<A>) -> f64 {
        let (_, probabilities) = self.forward(&data.inputs);
        let least = A::min_positive_value();
        let losses = probabilities
            .rows()
            .into_iter()
            .zip(&data.labels)
            .map(|(row, &label)| -row[label].max(least).as_f64().ln());
        losses.sum::<f64>() / data.labels.len() as f64
    }

    /// Derivatives of each sample's loss by the outputs of each layer.
    fn backward(
        &self,
        layers: &[Array2<A>],
        probabilities: &Array2<A>,
        labels: &[usize],
    ) -> Vec<Array2<A>> {
        let mut last = probabilities.clone();
        for (mut row, &label) in last.rows_mut().into_iter().zip(labels) {
            row[label] -= A::one();
        }
        let mut all = vec![last];
        for index in (1..self.weights.len()).rev() {
            let mut next = product(&all[all.len() - 1].view(), &self.weights[index].view());
            Zip::from(&mut next).and(&layers[index]).for_each(|d, &h| *d *= A::one() - h * h);
            all.push(next);
        }
        all.reverse();
        all
    }

    /// What each layer reports of a batch: the gradient of the mean loss, and factors of the Fisher matrix.
    pub(crate) fn pass(
        &self,
        batch: &Classes<A>,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<LayerPass<A>> {
        let (layers, probabilities) = self.forward(&batch.inputs);
        let drawn: Vec<usize> = probabilities
            .rows()
            .into_iter()
            .map(|row| {
                let mut left: f64 = rng.random();
                let at = row.iter().position(|p| {
                    left -= p.as_f64();
                    left < 0.0
                });
                at.unwrap_or(row.len() - 1)
            })
            .collect();
        let own = self.backward(&layers, &probabilities, &drawn);
        let deltas = self.backward(&layers, &probabilities, &batch.labels);
        let share = A::from_f64(1.0 / batch.labels.len() as f64);
        layers
            .into_iter()
            .zip(deltas)
            .zip(own)
            .map(|((inputs, delta), derivatives)| LayerPass {
                gradient: product(&delta.t(), &inputs.view()).mapv(|x| x * share),
                curvature: product(&derivatives.t(), &inputs.view()).mapv(|x| x * x * share),
                inputs,
                derivatives,
            })
            .collect()
    }

    /// Trains each layer by its method on batches of some rows, for some steps.
    pub(crate) fn train(
        &mut self,
        chain_of_layer: impl Fn(usize) -> Chain,
        data: &Classes<A>,
        (batch, steps): (usize, usize),
        weight_of_loss: f64,
    ) -> Result<(), OptimError> {
        let group = |layer: usize| {
            Group::new(Selector::named([format!("layer{layer}")]), &chain_of_layer(layer))
        };
        let mut set = OptimizerSet::new((0..self.weights.len()).map(group).collect());
        let names: Vec<String> = (0..self.weights.len()).map(|i| format!("layer{i}")).collect();
        for (name, weight) in names.iter().zip(&self.weights) {
            set.register(name, weight.dim(), Signals::ALL)?;
        }
        let mut rng = generator(7);
        let weight_of_loss = A::from_f64(weight_of_loss);
        for _ in 0..steps {
            let rows: Vec<usize> =
                (0..batch).map(|_| rng.random_range(0..data.labels.len())).collect();
            let mut passes = self.pass(&data.batch(&rows), &mut rng);
            for pass in &mut passes {
                pass.gradient *= weight_of_loss;
                pass.curvature *= weight_of_loss;
            }
            let mut updates: Vec<_> = names
                .iter()
                .zip(&mut self.weights)
                .zip(&passes)
                .map(|((name, weight), pass)| Update::new(name, weight.view_mut(), pass.signal()))
                .collect();
            set.step(&mut updates)?;
        }
        Ok(())
    }
}

fn product<A: Scalar>(a: &ArrayView2<'_, A>, b: &ArrayView2<'_, A>) -> Array2<A> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    layerwise_linalg::gemm(A::one(), *a, *b, A::zero(), &mut out.view_mut())
        .expect("shapes that fit");
    out
}

fn normal<A: Scalar>(rng: &mut Xoshiro256PlusPlus, shape: (usize, usize)) -> Array2<A> {
    Array2::from_shape_simple_fn(shape, || A::from_f64(rng.sample(StandardNormal)))
}

fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}
