//! What one batch offers to every algorithm that steps on it.

use std::cell::{RefCell, RefMut};

use layerwise_data::{Batch, LinearTask, Moments, Task};
use layerwise_linalg::gram;
use layerwise_models::{FisherWorkspace, InputNorm, ModelError, SpectralMoment};
use ndarray::{Array2, ArrayView2};
use rand::Rng;

use crate::{ExperimentError, Result};

/// What an algorithm needs of a batch beyond its moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// The eigendecomposition of Σ̂.
    pub spectrum: bool,
    /// The moments of batch-normalized inputs.
    pub normalized: bool,
    /// The samples themselves.
    pub samples: bool,
}

impl Needs {
    /// What either needs.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            spectrum: self.spectrum || other.spectrum,
            normalized: self.normalized || other.normalized,
            samples: self.samples || other.samples,
        }
    }
}

/// One batch, drawn once for all methods and rates, with what several of them share.
#[derive(Debug, Clone)]
pub struct StepData {
    samples: usize,
    moments: Moments,
    spectrum: Option<SpectralMoment>,
    /// With whether every input varies in the batch.
    normalized: Option<(InputNorm, Moments, bool)>,
    batch: Option<SampledBatch>,
}

/// The samples of a batch, and what solves on them share.
#[derive(Debug, Clone)]
pub struct SampledBatch {
    samples: Batch,
    input_gram: Array2<f64>,
    /// Scratch of whoever steps; cells step one after another.
    workspace: RefCell<FisherWorkspace>,
}

impl SampledBatch {
    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &Batch {
        &self.samples
    }

    /// `X Xᵀ`, n × n.
    #[must_use]
    pub fn input_gram(&self) -> ArrayView2<'_, f64> {
        self.input_gram.view()
    }

    /// Storage for one solve at a time.
    #[must_use]
    pub fn workspace(&self) -> RefMut<'_, FisherWorkspace> {
        self.workspace.borrow_mut()
    }
}

impl StepData {
    /// Storage for batches of `samples` pairs with `inputs` and `outputs` coordinates.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, samples: usize, needs: Needs) -> Self {
        let moments = || Moments::with_dimensions(inputs, outputs);
        Self {
            samples,
            moments: moments(),
            spectrum: needs.spectrum.then(|| SpectralMoment::with_dimension(inputs)),
            normalized: needs
                .normalized
                .then(|| (InputNorm::with_dimension(inputs), moments(), false)),
            batch: needs.samples.then(|| SampledBatch {
                samples: Batch::with_dimensions(inputs, outputs),
                input_gram: Array2::zeros((samples, samples)),
                workspace: RefCell::new(FisherWorkspace::with_samples(samples)),
            }),
        }
    }

    /// Draws the next batch. Where nobody needs samples, only its moments are drawn.
    ///
    /// # Errors
    /// Where the task's dimensions are not the storage's.
    pub fn draw<R: Rng>(&mut self, task: &LinearTask, rng: &mut R) -> Result<()> {
        if let Some(SampledBatch { samples, input_gram, .. }) = &mut self.batch {
            task.draw_batch(self.samples, rng, samples)?;
            self.moments.set_from_batch(samples)?;
            gram(1.0, samples.x(), 0.0, &mut input_gram.view_mut())?;
        } else {
            task.draw_moments(self.samples, rng, &mut self.moments)?;
        }
        self.derive()
    }

    /// A batch of which the moments are given, such as a population's. It offers no samples,
    /// whatever `needs` says.
    ///
    /// # Errors
    /// Where the moments hold numbers that are not finite, and `needs` asks for their spectrum.
    pub fn from_moments(moments: Moments, needs: Needs) -> Result<Self> {
        let (inputs, outputs) = (moments.input_dimension(), moments.output_dimension());
        let needs = Needs { samples: false, ..needs };
        let mut data = Self::new(inputs, outputs, moments.sample_size(), needs);
        data.moments = moments;
        data.derive()?;
        Ok(data)
    }

    /// Computes what follows from the moments.
    fn derive(&mut self) -> Result<()> {
        if let Some(spectrum) = &mut self.spectrum {
            spectrum.decompose(self.moments.xx())?;
        }
        if let Some((norm, normalized, varies)) = &mut self.normalized {
            let outcome = norm.normalize(&self.moments, normalized);
            *varies = outcome.is_ok();
            // It is a fault of the methods that ask for it alone.
            outcome.or_else(|error| match error {
                ModelError::InvalidParameter { .. } => Ok(()),
                other => Err(other),
            })?;
        }
        Ok(())
    }

    /// Number of samples n in the batch.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The batch's moments.
    #[must_use]
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The moments of its batch-normalized inputs.
    ///
    /// # Errors
    /// [`ExperimentError::MissingData`] where they were not asked for;
    /// [`ExperimentError::ConstantInput`] where an input does not vary in the batch.
    pub fn normalized(&self) -> Result<&Moments> {
        match &self.normalized {
            None => Err(ExperimentError::MissingData {
                what: "normalized moments",
                method: "AMGD with batch-norm",
            }),
            Some((_, _, false)) => Err(ExperimentError::ConstantInput),
            Some((_, moments, true)) => Ok(moments),
        }
    }

    /// The eigendecomposition of Σ̂, if it was asked for.
    #[must_use]
    pub fn spectrum(&self) -> Option<&SpectralMoment> {
        self.spectrum.as_ref()
    }

    /// The samples, if they were asked for.
    #[must_use]
    pub fn batch(&self) -> Option<&SampledBatch> {
        self.batch.as_ref()
    }
}
