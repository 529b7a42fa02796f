//! A checked method on one weight.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::clipping::Clipping;
use crate::config::composition::{Composition, Normalization, WeightDecay};
use crate::error::{OptimError, Result};
use crate::numeric::entrywise::{update1, update2};
use crate::numeric::finite::{
    bytes, check_finite, check_shape, check_weight, distance, first_non_finite, frobenius_norm,
    inner_product,
};
use crate::schedule::When;
use crate::signal::{Signal, Signals};
use crate::stages::blocks::Blocks;
use crate::stages::eigenbasis::EigenbasisDiagonal;
use crate::stages::momentum::{DirectionState, MomentumState};
use crate::stages::normalize::normalize;
use crate::state::persist::{Persist, persist};
use crate::state::saved::{OptimizerState, check_fits};
use crate::state::values::{StateReader, StateWriter};
use crate::step::control::Control;
use crate::step::damping_factor::DampingFactor;
use crate::step::fused::Fused;
use crate::step::report::{QuadraticModel, StepReport};
use crate::step::weight::WeightRule;
use crate::step::weight_averaging::IterateState;

/// An optimizer of one weight matrix, made by [`Composition::build`] or by a
/// [`Method`](crate::Method).
pub struct Optimizer<A> {
    composition: Composition,
    shape: (usize, usize),
    steps: u64,
    direction: DirectionState<A>,
    blocks: Blocks<A>,
    velocity: Option<MomentumState<A>>,
    iterates: Option<IterateState<A>>,
    damping: Option<DampingFactor>,
    /// The gradient as the method takes it, where that is not as it is given.
    prepared: Option<Array2<A>>,
    /// The direction, then the new weight.
    proposal: Array2<A>,
    scratch: Option<Array2<A>>,
    /// The change of the weight, then its product with the curvature, where the step is predicted.
    change: Option<Array2<A>>,
}

impl Composition {
    /// The optimizer of a weight of this shape (m × n; 1 × n for a vector).
    ///
    /// A layer that does not give the signals of [`Composition::required`] fails at its first
    /// step; [`Composition::build_for`] refuses it here.
    ///
    /// # Errors
    ///
    /// Any hyperparameter out of range, combinations that make no sense, empty shapes, and those
    /// of which the weight or a factor would have more entries than can be addressed.
    pub fn build<A: Scalar>(&self, shape: (usize, usize)) -> Result<Optimizer<A>> {
        self.check(When::Build)?;
        check_weight::<A>(shape)?;
        Optimizer::new(self.clone(), shape)
    }

    /// The optimizer of a weight whose layer gives these signals beyond the gradient.
    ///
    /// # Errors
    ///
    /// As [`Composition::build`], and [`OptimError::MissingSignal`] where the method needs more.
    pub fn build_for<A: Scalar>(
        &self,
        shape: (usize, usize),
        available: Signals,
    ) -> Result<Optimizer<A>> {
        self.required().check_available(available)?;
        self.build(shape)
    }
}

impl<A> std::fmt::Debug for Optimizer<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer")
            .field("composition", &self.composition)
            .field("shape", &self.shape)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

persist!(Optimizer<A> { direction, blocks, velocity, iterates, damping });

impl<A: Scalar> Optimizer<A> {
    /// The composition must have been checked.
    fn new(composition: Composition, shape: (usize, usize)) -> Result<Self> {
        let blocks = Blocks::new(&composition, shape)?;
        let velocity =
            composition.velocity.as_ref().map(|config| MomentumState::new(config, shape));
        let iterates = composition.iterate_averaging.as_ref();
        let prepares = composition.maximize
            || composition.gradient_clipping != Clipping::None
            || matches!(composition.weight_decay, WeightDecay::L2(_))
            || blocks.reshapes();
        Ok(Optimizer {
            direction: DirectionState::new(&composition.direction, shape),
            blocks,
            iterates: iterates.map(|config| IterateState::new(config, shape)),
            damping: composition.damping_adaptation.map(DampingFactor::new),
            prepared: prepares.then(|| Array2::zeros(shape)),
            proposal: Array2::zeros(shape),
            scratch: velocity.is_some().then(|| Array2::zeros(shape)),
            change: composition.predicts().then(|| Array2::zeros(shape)),
            velocity,
            composition,
            shape,
            steps: 0,
        })
    }

    /// Takes a step: changes the weight (m × n) by what the layer reports.
    ///
    /// # Errors
    ///
    /// Wrong shapes, entries that are not finite, missing signals, factors that cannot be
    /// inverted, and steps that overflow. Neither the weight nor the state has changed then.
    pub fn step(
        &mut self,
        weight: &mut ArrayViewMut2<'_, A>,
        signal: &Signal<'_, A>,
    ) -> Result<StepReport> {
        self.step_with(&Control::default(), weight, signal)
    }

    /// As [`step`](Self::step), with what the caller decides about it.
    ///
    /// # Errors
    ///
    /// Those of `step`, and a control that is out of range.
    pub fn step_with(
        &mut self,
        control: &Control,
        weight: &mut ArrayViewMut2<'_, A>,
        signal: &Signal<'_, A>,
    ) -> Result<StepReport> {
        let report = self.propose(control, weight, signal)?;
        self.accept(weight, &report);
        Ok(report)
    }

    /// Computes a step beside weight and state; [`Optimizer::accept`] makes it happen.
    pub(crate) fn propose(
        &mut self,
        control: &Control,
        weight: &ArrayViewMut2<'_, A>,
        signal: &Signal<'_, A>,
    ) -> Result<StepReport> {
        control.check()?;
        let given = signal;
        let gradient = given.gradient();
        check_shape("weight", &weight.view(), self.shape)?;
        check_shape("gradient", &gradient, self.shape)?;
        if let Some(report) = self.propose_fused(control, &weight.view(), &gradient) {
            return Ok(report);
        }
        let gradient_norm = frobenius_norm(&gradient);
        if !gradient_norm.is_finite() {
            check_finite("gradient", &gradient)?;
        }
        self.composition.check(When::Step(self.steps))?;
        let learning_rate = self.learning_rate(control);
        self.prepare(&gradient, &weight.view())?;
        let gradient = self.prepared.as_ref().map_or(gradient, |prepared| prepared.view());
        let signal = signal.with_gradient(gradient);
        let observation = self.blocks.observe(&signal)?;
        let mut report = StepReport {
            gradient_norm,
            skipped: observation.skip,
            refreshed: observation.refreshed,
            fallbacks: observation.fallbacks,
            left_condition: observation.left_condition,
            right_condition: observation.right_condition,
            ..self.report(learning_rate)
        };
        if observation.skip {
            check_finite("weight", &weight.view())?;
            return Ok(report);
        }
        let correction = self.direction.propose(&gradient, &mut self.proposal);
        self.blocks.apply(&mut self.proposal)?;
        if self.composition.normalization == Normalization::RootMeanSquare {
            let corrections = observation.scale.unwrap_or(1.0) / correction;
            normalize(&mut self.proposal, corrections);
        }
        if let WeightDecay::Direction(rate) = &self.composition.weight_decay {
            let rate = A::from_f64(rate.value(self.steps));
            self.proposal.zip_mut_with(weight, |d, &w| *d += rate * w);
        }
        if let (Some(velocity), Some(scratch)) = (&mut self.velocity, &mut self.scratch) {
            velocity.propose(&self.proposal.view(), scratch);
            std::mem::swap(&mut self.proposal, scratch);
        }
        self.composition.update_clipping.apply(&mut self.proposal, self.steps);
        report.update_norm = self.propose_weight(weight, learning_rate)?;
        report.model = self.model(&weight.view(), given)?;
        Ok(report)
    }

    /// The same in one loop over entries, to the same bits. `None` where composition or layout do
    /// not allow that, and where anything is wrong: one stage after another then names it.
    pub(crate) fn propose_fused(
        &mut self,
        control: &Control,
        weight: &ArrayView2<'_, A>,
        gradient: &ArrayView2<'_, A>,
    ) -> Option<StepReport> {
        if !self.composition.is_entrywise() {
            return None;
        }
        let (given, weight_entries) = (gradient.as_slice()?, weight.as_slice()?);
        self.composition.check(When::Step(self.steps)).ok()?;
        self.prepare(gradient, weight).ok()?;
        let learning_rate = self.learning_rate(control);
        let weight_rule =
            WeightRule::new(&self.composition.weight_decay, learning_rate, self.steps);
        let direction = match self.direction.begin() {
            Some((rule, state, next)) => Some((rule, state.as_slice()?, next.as_slice_mut()?)),
            None => None,
        };
        let second_moment = match self.blocks.as_diagonal() {
            Some(diagonal) => Some(diagonal.moments_mut().begin_fused()?),
            None => None,
        };
        let fused = Fused {
            given,
            gradient: self.prepared.as_ref().map_or(Some(given), |g| g.as_slice())?,
            weight: weight_entries,
            proposal: self.proposal.as_slice_mut()?,
            direction,
            second_moment,
            weight_rule,
        };
        let norms = fused.run()?;
        Some(StepReport {
            gradient_norm: norms.gradient,
            update_norm: norms.update,
            ..self.report(learning_rate)
        })
    }

    fn learning_rate(&self, control: &Control) -> f64 {
        self.composition.learning_rate.value(self.steps) * control.rate_factor
    }

    /// What is reported of the next step before anything is known of it.
    fn report(&self, learning_rate: f64) -> StepReport {
        StepReport {
            step: self.steps + 1,
            learning_rate,
            gradient_norm: 0.0,
            update_norm: 0.0,
            skipped: false,
            refreshed: false,
            fallbacks: 0,
            left_condition: None,
            right_condition: None,
            model: None,
        }
    }

    /// What the quadratic model predicts of the proposed weight.
    fn model(
        &mut self,
        weight: &ArrayView2<'_, A>,
        signal: &Signal<'_, A>,
    ) -> Result<Option<QuadraticModel>> {
        let Some(change) = &mut self.change else { return Ok(None) };
        update2(change, &self.proposal, weight, move |change, new, old| *change = new - old);
        let slope = inner_product(&signal.gradient(), &change.view());
        if !self.blocks.apply_curvature(signal, change)? {
            return Ok(None);
        }
        let curvature = self
            .proposal
            .iter()
            .zip(weight)
            .zip(&*change)
            .map(|((&new, &old), c)| (new - old).as_f64() * c.as_f64())
            .sum();
        let slope = if self.composition.maximize { -slope } else { slope };
        Ok(Some(QuadraticModel { slope, curvature }))
    }

    /// Makes the last proposal happen; the weight must be the one that it was made for.
    pub(crate) fn accept(&mut self, weight: &mut ArrayViewMut2<'_, A>, report: &StepReport) {
        self.steps = report.step;
        self.blocks.commit(report.skipped);
        if report.skipped {
            return;
        }
        self.direction.commit();
        if let Some(velocity) = &mut self.velocity {
            velocity.commit();
        }
        if let Some(iterates) = &mut self.iterates {
            iterates.commit();
        }
        weight.assign(&self.proposal);
    }

    /// Clips the gradient, turns its sign, and adds the decay, where that is asked for.
    fn prepare(&mut self, gradient: &ArrayView2<'_, A>, weight: &ArrayView2<'_, A>) -> Result<()> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        prepared.assign(gradient);
        self.composition.gradient_clipping.apply(prepared, self.steps);
        if self.composition.maximize {
            prepared.mapv_inplace(|x| -x);
        }
        if let WeightDecay::L2(rate) = &self.composition.weight_decay {
            let rate = A::from_f64(rate.value(self.steps));
            prepared.zip_mut_with(weight, |g, &w| *g += rate * w);
            check_finite("gradient with weight decay", &prepared.view())?;
        }
        Ok(())
    }

    /// Replaces the direction by the new weight; returns the norm of the change.
    fn propose_weight(&mut self, weight: &ArrayViewMut2<'_, A>, learning_rate: f64) -> Result<f64> {
        let rule = WeightRule::new(&self.composition.weight_decay, learning_rate, self.steps);
        update1(&mut self.proposal, weight, move |d, w| *d = rule.entry(w, *d));
        if let Some(iterates) = &mut self.iterates {
            iterates.propose(&weight.view(), &mut self.proposal, learning_rate);
        }
        let norm = distance(&self.proposal.view(), &weight.view());
        if !norm.is_finite() {
            check_finite("weight", &weight.view())?;
            if let Some((row, col, value)) = first_non_finite(&self.proposal.view()) {
                return Err(OptimError::Overflow { what: "the new weight", row, col, value });
            }
        }
        Ok(norm)
    }

    /// All that it needs to go on later as if it had never stopped; the weight is the caller's to
    /// save.
    #[must_use]
    pub fn state(&self) -> OptimizerState<A> {
        OptimizerState::new(&self.composition, self.shape, self.steps, self.values())
    }

    /// Takes the state of an optimizer of the same method and shape.
    ///
    /// # Errors
    ///
    /// A state of another layout version, scalar type, shape or method, or with missing, unknown
    /// or unsuitable values, each by name. Nothing has changed then.
    pub fn load(&mut self, state: &OptimizerState<A>) -> Result<()> {
        *self = self.loaded(state)?;
        Ok(())
    }

    /// What it is after [`Optimizer::load`].
    pub(crate) fn loaded(&self, state: &OptimizerState<A>) -> Result<Self> {
        state.check_kind()?;
        check_fits((&self.composition, self.shape), (state.composition(), state.shape()))?;
        let mut loaded = self.fresh()?;
        state.read(|from| loaded.load_values(state.steps(), from))?;
        Ok(loaded)
    }

    /// Another one, as it was built.
    pub(crate) fn fresh(&self) -> Result<Self> {
        Optimizer::new(self.composition.clone(), self.shape)
    }

    pub(crate) fn values(&self) -> StateWriter<'_, A> {
        let mut out = StateWriter::new();
        self.save("state", &mut out);
        out
    }

    /// On an error, `self` may be partly overwritten.
    pub(crate) fn load_values(&mut self, steps: u64, from: &mut StateReader<'_, A>) -> Result<()> {
        Persist::load(self, "state", from)?;
        self.steps = steps;
        if let Some(damping) = &self.damping {
            self.blocks.set_damping_factor(damping.factor());
        }
        Ok(())
    }

    /// The optimizer that a state was taken of.
    ///
    /// # Errors
    ///
    /// As [`Composition::build`] and [`Optimizer::load`].
    pub fn from_state(state: &OptimizerState<A>) -> Result<Self> {
        state.check_kind()?;
        let mut optimizer = state.composition().build(state.shape())?;
        optimizer.load(state)?;
        Ok(optimizer)
    }

    /// Adapts the damping to how much of the predicted reduction of the loss came true: the actual
    /// reduction over one or several steps, divided by that of the quadratic model
    /// ([`StepReport::model`]). Returns the factor that dampings are multiplied by from the next step on.
    ///
    /// # Errors
    ///
    /// A composition without [`LevenbergMarquardt`](crate::LevenbergMarquardt), and a ratio that is
    /// NaN. Nothing has changed then.
    pub fn report_reduction(&mut self, ratio: f64) -> Result<f64> {
        let Some(damping) = &mut self.damping else {
            return Err(OptimError::Incompatible {
                first: "a report of the loss's reduction",
                second: "damping that is not adapted",
                why: "the composition has no damping_adaptation",
            });
        };
        if ratio.is_nan() {
            return Err(OptimError::InvalidHyperparameter {
                name: "ratio",
                value: ratio,
                allowed: "a number",
            });
        }
        damping.report(ratio);
        self.blocks.set_damping_factor(damping.factor());
        Ok(damping.factor())
    }

    /// The shape of the weight.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The number of blocks, each with its own preconditioner, that the composition's
    /// [`Partition`](crate::Partition) lays the weight out in.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.count()
    }

    /// What it was built from.
    #[must_use]
    pub fn composition(&self) -> &Composition {
        &self.composition
    }

    /// Which signals beyond the gradient [`Optimizer::step`] needs.
    #[must_use]
    pub fn required(&self) -> Signals {
        self.blocks.required()
    }

    /// Bytes of the arrays held: state, the places where the next state is prepared, and workspace.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let array = bytes::<A>(self.shape);
        let optional = [&self.prepared, &self.scratch, &self.change];
        array * (1 + optional.into_iter().flatten().count())
            + self.direction.memory_bytes()
            + self.blocks.memory_bytes()
            + self.velocity.as_ref().map_or(0, MomentumState::memory_bytes)
            + self.iterates.as_ref().map_or(0, IterateState::memory_bytes)
    }

    /// The preconditioner as a diagonal in eigenbases, where it is one: its bases can be read and
    /// replaced. Of a weight in blocks, that of the first.
    pub fn eigenbasis_mut(&mut self) -> Option<&mut EigenbasisDiagonal<A>> {
        self.eigenbases_mut().next()
    }

    /// The same of all blocks, row by row.
    pub fn eigenbases_mut(&mut self) -> impl Iterator<Item = &mut EigenbasisDiagonal<A>> {
        self.blocks.eigenbases_mut()
    }

    /// The average of iterates that is to be evaluated in place of the weight (m × n), under
    /// [`IterateAveraging`](crate::IterateAveraging); a copy of the weight without.
    ///
    /// # Errors
    ///
    /// A weight of another shape.
    pub fn evaluation_weight(&self, weight: &ArrayView2<'_, A>) -> Result<Array2<A>> {
        check_shape("weight", weight, self.shape)?;
        Ok(match &self.iterates {
            Some(iterates) => iterates.evaluation_weight(weight),
            None => weight.to_owned(),
        })
    }
}
