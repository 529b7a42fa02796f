//! The problem of the training steps.

use layerwise_data::{
    Basis, Batch, Law, LinearTask, LinearTaskSpec, Moments, Spectrum, Task, haar,
};
use layerwise_experiments::linear::{LinearMethod, StepData, head_kfac, representation_kfac};
use layerwise_experiments::{ExperimentError, Result};
use layerwise_models::{LinearPass, TwoLayerLinear};
use layerwise_optim::{Factor, Method, Optimizer, Signal};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{generator, normals};

/// d_X, d_Y and k.
const INPUTS: usize = 100;
const OUTPUTS: usize = 15;
const RANK: usize = 8;
/// η of every method: small enough for all of them to stay bounded however long is measured.
const RATE: f64 = 1e-3;
/// λ of the natural gradients, and on both of KFAC's factors.
const DAMPING: f64 = 1e-4;

/// Linear representation learning at figure 1's size (d_X = 100, d_Y = 15, k = 8) and condition
/// numbers (κ(Σ) = 10⁴ in a Haar basis, κ(F⋆) = 10), with a network to be trained.
pub struct Problem {
    task: LinearTask,
    net: TwoLayerLinear,
    rng: Xoshiro256PlusPlus,
}

impl Problem {
    /// The problem on white inputs of this law.
    ///
    /// # Errors
    /// None for the parameters that it has.
    pub fn new(law: Law) -> Result<Self> {
        let spec = LinearTaskSpec {
            input_dimension: INPUTS,
            output_dimension: OUTPUTS,
            rank: RANK,
            spectrum: Spectrum::LogSpaced { condition: 1e4 },
            basis: Basis::Haar,
            law,
            head_condition: 10.0,
            noise: 0.1,
        };
        let mut rng = generator(1);
        let task = spec.draw(&mut rng)?;
        let head = normals(OUTPUTS, RANK, 2) * 0.5 / (RANK as f64).sqrt();
        let representation = haar(INPUTS, RANK, &mut rng)?.reversed_axes();
        let net = TwoLayerLinear::new(head, representation)?;
        Ok(Self { task, net, rng })
    }

    /// One training step after another: draws a batch of `samples`, and lets a method of the figures step.
    ///
    /// # Errors
    /// Where no figure has the method, and those of a step.
    pub fn training(mut self, method: &str, samples: usize) -> Result<impl FnMut() -> Result<()>> {
        let damped = method.starts_with("NGD") || method == "KFAC";
        let method = LinearMethod::of_figures(method, RATE, damped.then_some(DAMPING))?;
        let mut algorithm = method.algorithm(self.net.shape(), samples)?;
        let mut data = StepData::new(INPUTS, OUTPUTS, samples, algorithm.needs());
        Ok(move || {
            data.draw(&self.task, &mut self.rng)?;
            algorithm.step(&mut self.net, &data)
        })
    }

    /// The same for KFAC on real samples.
    ///
    /// # Errors
    /// As [`training`](Self::training).
    pub fn training_from_samples(mut self, samples: usize) -> Result<impl FnMut() -> Result<()>> {
        let mut kfac = KfacFromSamples::new(self.net.shape())?;
        Ok(move || kfac.step(&mut self.net, &self.task, samples, &mut self.rng))
    }

    /// One draw of moments after another.
    pub fn drawing_moments(mut self, samples: usize) -> impl FnMut() -> Result<()> {
        let mut moments = Moments::with_dimensions(INPUTS, OUTPUTS);
        move || Ok(self.task.draw_moments(samples, &mut self.rng, &mut moments)?)
    }

    /// One batch of real samples after another.
    pub fn drawing_samples(mut self, samples: usize) -> impl FnMut() -> Result<()> {
        let mut batch = Batch::with_dimensions(INPUTS, OUTPUTS);
        move || Ok(self.task.draw_batch(samples, &mut self.rng, &mut batch)?)
    }
}

/// Update (1) of arXiv 2502.01763 from samples that are drawn one by one, as a program without
/// exact moments has to do it: the public KFAC on each layer.
pub struct KfacFromSamples {
    batch: Batch,
    moments: Moments,
    pass: LinearPass,
    representation: Optimizer<f64>,
    head: Optimizer<f64>,
}

impl KfacFromSamples {
    /// For networks of shape `(d_Y, k, d_X)`.
    ///
    /// # Errors
    /// Where a hyperparameter is invalid.
    pub fn new(shape: (usize, usize, usize)) -> Result<Self> {
        let (outputs, k, inputs) = shape;
        Ok(Self {
            batch: Batch::with_dimensions(inputs, outputs),
            moments: Moments::with_dimensions(inputs, outputs),
            pass: LinearPass::with_shape(shape),
            representation: representation_kfac(RATE, DAMPING).build((k, inputs))?,
            head: head_kfac(RATE).build((outputs, k))?,
        })
    }

    /// Draws `samples` pairs and takes a step on them.
    ///
    /// # Errors
    /// Where shapes do not fit together, or a factor is singular.
    pub fn step(
        &mut self,
        net: &mut TwoLayerLinear,
        task: &LinearTask,
        samples: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> std::result::Result<(), ExperimentError> {
        task.draw_batch(samples, rng, &mut self.batch)?;
        self.moments.set_from_batch(&self.batch)?;
        self.pass.representation(net, &self.moments)?;
        let signal = Signal::new(self.pass.representation_gradient())
            .with_input(Factor::SecondMoment(self.moments.xx()))
            .with_output(Factor::SecondMoment(self.pass.head_gram()));
        self.representation.step(&mut net.representation_mut(), &signal)?;
        self.pass.head(net, &self.moments)?;
        let signal = Signal::new(self.pass.head_gradient())
            .with_input(Factor::SecondMoment(self.pass.features()));
        self.head.step(&mut net.head_mut(), &signal)?;
        Ok(())
    }
}
