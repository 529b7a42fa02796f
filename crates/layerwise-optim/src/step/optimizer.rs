//! A checked method on one weight.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::chain::Chain;
use crate::config::stage::StageConfig;
use crate::error::{OptimError, Result};
use crate::numeric::entrywise::{update1, update2};
use crate::numeric::finite::{
    bytes, check_finite, check_shape, check_weight, distance, first_non_finite, frobenius_norm,
    inner_product,
};
use crate::schedule::When;
use crate::signal::{Signal, Signals};
use crate::stage::{Observation, Step};
use crate::stages::build::Machine;
use crate::stages::eigenbasis::EigenbasisDiagonal;
use crate::state::persist::Persist;
use crate::step::control::Control;
use crate::step::damping_factor::DampingFactor;
use crate::step::fused::Fused;
use crate::step::link::{Link, apply_all, prepare};
use crate::step::report::{QuadraticModel, StepReport};
use crate::step::weight::WeightRule;
use crate::step::weight_averaging::IterateState;

/// An optimizer of one weight matrix, made by [`Chain::build`] or by a
/// [`Method`](crate::Method).
pub struct Optimizer<A> {
    pub(super) chain: Chain,
    pub(super) shape: (usize, usize),
    pub(super) steps: u64,
    pub(super) gradient: Vec<Link<A>>,
    pub(super) update: Vec<Link<A>>,
    /// Which stage of the update asked to skip the step that was proposed.
    skipping: Option<usize>,
    pub(super) iterates: Option<IterateState<A>>,
    pub(super) damping: Option<DampingFactor>,
    /// The gradient as the method takes it, where that is not as it is given.
    pub(super) prepared: Option<Array2<A>>,
    /// The weight in standard layout, where stages see it in another shape.
    laid_out: Option<Array2<A>>,
    /// The direction, then the new weight.
    proposal: Array2<A>,
    /// The change of the weight, then its product with the curvature, where the step is predicted.
    change: Option<Array2<A>>,
}

impl Chain {
    /// The optimizer of a weight of this shape (m × n; 1 × n for a vector).
    ///
    /// A layer that does not give the signals of [`Chain::required`] fails at its first
    /// step; [`Chain::build_for`] refuses it here.
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
    /// As [`Chain::build`], and [`OptimError::MissingSignal`] where the method needs more.
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
            .field("chain", &self.chain)
            .field("shape", &self.shape)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl<A: Scalar> Optimizer<A> {
    /// The chain must have been checked.
    pub(super) fn new(chain: Chain, shape: (usize, usize)) -> Result<Self> {
        let predicts = chain.predicts();
        let links = |stages: &[StageConfig]| {
            stages.iter().map(|stage| Link::new(stage, shape, predicts)).collect::<Result<Vec<_>>>()
        };
        let (gradient, update) = (links(&chain.gradient)?, links(&chain.update)?);
        let reshapes = gradient.iter().chain(&update).any(|link| link.machine.reshapes());
        let iterates = chain.weight_averaging.as_ref();
        Ok(Optimizer {
            iterates: iterates.map(|config| IterateState::new(config, shape)),
            damping: chain.damping_adaptation.map(DampingFactor::new),
            prepared: (reshapes || !gradient.is_empty()).then(|| Array2::zeros(shape)),
            laid_out: reshapes.then(|| Array2::zeros(shape)),
            proposal: Array2::zeros(shape),
            change: predicts.then(|| Array2::zeros(shape)),
            gradient,
            update,
            skipping: None,
            chain,
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
        let step = self.step_of(control, weight, signal)?;
        if let Some(report) = self.propose_fused(&step, control.gradient_factor) {
            return Ok(report);
        }
        let report = self.propose_direction(&step, control.gradient_factor)?;
        self.propose_weight(&step, 1.0, report)
    }

    /// What the stages are told of a step.
    pub(crate) fn step_of<'s>(
        &self,
        control: &Control,
        weight: &'s ArrayViewMut2<'_, A>,
        signal: &'s Signal<'_, A>,
    ) -> Result<Step<'s, A>> {
        control.check()?;
        check_shape("weight", &weight.view(), self.shape)?;
        check_shape("gradient", &signal.gradient(), self.shape)?;
        let time = control.step.unwrap_or(self.steps);
        Ok(Step {
            signal: signal.reborrow(),
            weight: weight.view(),
            time,
            learning_rate: self.chain.learning_rate.value(time) * control.rate_factor,
            corrections: 1.0,
        })
    }

    /// Computes the direction of a step of the gradient times a factor; its weight is still to be [made
    /// of it](Self::propose_weight).
    pub(crate) fn propose_direction(
        &mut self,
        step: &Step<'_, A>,
        factor: f64,
    ) -> Result<StepReport> {
        let gradient = step.gradient();
        let gradient_norm = frobenius_norm(&gradient);
        if !gradient_norm.is_finite() {
            check_finite("gradient", &gradient)?;
        }
        self.chain.check(When::Step(step.time))?;
        if factor != 1.0 {
            self.reserve_gradient();
        }
        if let Some(prepared) = &mut self.prepared {
            prepare(&mut self.gradient, prepared, step, factor)?;
        }
        if let Some(laid_out) = &mut self.laid_out {
            laid_out.assign(&step.weight);
        }
        let prepared = self.prepared.as_ref().map_or(gradient, |prepared| prepared.view());
        let told = Step {
            signal: step.signal.with_gradient(prepared),
            weight: self.laid_out.as_ref().map_or(step.weight, |laid_out| laid_out.view()),
            ..*step
        };
        let mut observation = Observation::default();
        self.skipping = None;
        for (index, link) in self.update.iter_mut().enumerate() {
            let one = link.observe(&told)?;
            observation = observation.and(one);
            if one.skip {
                self.skipping = Some(index);
                break;
            }
        }
        if !observation.skip {
            self.proposal.assign(&told.gradient());
            apply_all(&mut self.update, &mut self.proposal, told)?;
        }
        Ok(StepReport {
            gradient_norm,
            skipped: observation.skip,
            refreshed: observation.refreshed,
            fallbacks: observation.fallbacks,
            left_condition: observation.left_condition,
            right_condition: observation.right_condition,
            ..StepReport::of_step(self.steps + 1, step.learning_rate)
        })
    }

    /// `η² ⟨g, D⟩` of the direction proposed last, with `g` the gradient that it was made of; negative where
    /// it points up.
    pub(crate) fn length_along_gradient(&self, signal: &Signal<'_, A>, report: &StepReport) -> f64 {
        if report.skipped {
            return 0.0;
        }
        let gradient = self.prepared.as_ref().map_or(signal.gradient(), |g| g.view());
        let along = inner_product(&gradient, &self.proposal.view());
        report.learning_rate * (report.learning_rate * along)
    }

    /// Replaces the direction, times a factor, by the new weight; completes the report.
    pub(crate) fn propose_weight(
        &mut self,
        step: &Step<'_, A>,
        factor: f64,
        report: StepReport,
    ) -> Result<StepReport> {
        let weight = &step.weight;
        if report.skipped {
            check_finite("weight", weight)?;
            return Ok(report);
        }
        let rule = WeightRule::new(&self.chain.weight_decay, step);
        let factor = A::from_f64(factor);
        update1(&mut self.proposal, weight, move |d, w| *d = rule.entry(w, factor * *d));
        if let Some(iterates) = &mut self.iterates {
            iterates.propose(step, &mut self.proposal);
        }
        let update_norm = distance(&self.proposal.view(), weight);
        if !update_norm.is_finite() {
            check_finite("weight", weight)?;
            if let Some((row, col, value)) = first_non_finite(&self.proposal.view()) {
                return Err(OptimError::Overflow { what: "the new weight", row, col, value });
            }
        }
        Ok(StepReport { update_norm, model: self.model(step)?, ..report })
    }

    /// Makes room for a gradient that is not taken as it is given.
    pub(crate) fn reserve_gradient(&mut self) {
        let shape = self.shape;
        self.prepared.get_or_insert_with(|| Array2::zeros(shape));
    }

    /// The same in one loop over entries, to the same bits. `None` where chain or layout do not allow
    /// that, and where anything is wrong: one stage after another then names it.
    pub(crate) fn propose_fused(&mut self, step: &Step<'_, A>, factor: f64) -> Option<StepReport> {
        if self.iterates.is_some() {
            return None;
        }
        let (momentum, diagonal) = match self.update.as_mut_slice() {
            [] => (None, None),
            [Link { machine: Machine::Momentum(momentum), .. }] => (Some(momentum), None),
            [Link { machine: Machine::Diagonal(diagonal), .. }] if diagonal.is_one_loop() => {
                (None, Some(diagonal))
            }
            [
                Link { machine: Machine::Momentum(momentum), .. },
                Link { machine: Machine::Diagonal(diagonal), .. },
            ] if diagonal.is_one_loop() => (Some(momentum), Some(diagonal)),
            _ => return None,
        };
        let gradient = step.gradient();
        let (given, weight) = (gradient.as_slice()?, step.weight.as_slice()?);
        self.chain.check(When::Step(step.time)).ok()?;
        if factor != 1.0 && self.prepared.is_none() {
            return None;
        }
        if let Some(prepared) = &mut self.prepared {
            prepare(&mut self.gradient, prepared, step, factor).ok()?;
        }
        let momentum = match momentum {
            Some(momentum) => Some(momentum.begin_fused(step.time)?),
            None => None,
        };
        let second_moment = match diagonal {
            Some(diagonal) => Some(diagonal.begin_fused(step.time)?),
            None => None,
        };
        let fused = Fused {
            given,
            gradient: self.prepared.as_ref().map_or(Some(given), |g| g.as_slice())?,
            weight,
            proposal: self.proposal.as_slice_mut()?,
            momentum,
            second_moment,
            weight_rule: WeightRule::new(&self.chain.weight_decay, step),
        };
        let norms = fused.run()?;
        Some(StepReport {
            gradient_norm: norms.gradient,
            update_norm: norms.update,
            ..StepReport::of_step(self.steps + 1, step.learning_rate)
        })
    }

    /// What the quadratic model predicts of the proposed weight.
    fn model(&mut self, step: &Step<'_, A>) -> Result<Option<QuadraticModel>> {
        let Some(change) = &mut self.change else { return Ok(None) };
        update2(change, &self.proposal, &step.weight, move |change, new, old| *change = new - old);
        let slope = inner_product(&step.gradient(), &change.view());
        let mut has_curvature = false;
        for link in &mut self.update {
            has_curvature = link.machine.apply_curvature(&mut change.view_mut(), step)?;
            if has_curvature {
                break;
            }
        }
        if !has_curvature {
            return Ok(None);
        }
        let curvature = self
            .proposal
            .iter()
            .zip(&step.weight)
            .zip(&*change)
            .map(|((&new, &old), c)| (new - old).as_f64() * c.as_f64())
            .sum();
        let slope = if self.chain.maximizes() { -slope } else { slope };
        Ok(Some(QuadraticModel { slope, curvature }))
    }

    /// Makes the last proposal happen; the weight must be the one that it was made for.
    pub(crate) fn accept(&mut self, weight: &mut ArrayViewMut2<'_, A>, report: &StepReport) {
        self.steps = report.step;
        self.gradient.iter_mut().for_each(|link| link.machine.commit());
        if report.skipped {
            if let Some(link) = self.skipping.and_then(|index| self.update.get_mut(index)) {
                link.machine.commit();
            }
            return;
        }
        self.update.iter_mut().for_each(|link| link.machine.commit());
        if let Some(iterates) = &mut self.iterates {
            iterates.commit();
        }
        weight.assign(&self.proposal);
    }

    /// Adapts the damping to how much of the predicted reduction of the loss came true: the actual
    /// reduction over one or several steps, divided by that of the quadratic model
    /// ([`StepReport::model`]). Returns the factor that dampings are multiplied by from the next step on.
    ///
    /// # Errors
    ///
    /// A chain without [`LevenbergMarquardt`](crate::LevenbergMarquardt), and a ratio that is
    /// NaN. Nothing has changed then.
    pub fn report_reduction(&mut self, ratio: f64) -> Result<f64> {
        let Some(damping) = &mut self.damping else {
            return Err(OptimError::Incompatible {
                first: "a report of the loss's reduction",
                second: "damping that is not adapted",
                why: "the chain has no damping_adaptation",
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
        let factor = damping.factor();
        self.tell_damping_factor();
        Ok(factor)
    }

    pub(super) fn tell_damping_factor(&mut self) {
        if let Some(damping) = &self.damping {
            let factor = damping.factor();
            self.update.iter_mut().for_each(|link| link.machine.set_damping_factor(factor));
        }
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

    /// The number of blocks, each with stages of its own, that the chain's
    /// [`Partition`](crate::Partition) lays the weight out in.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.update.iter().map(|link| link.machine.parts()).max().unwrap_or(1)
    }

    /// What it was built from.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Which signals beyond the gradient [`Optimizer::step`] needs.
    #[must_use]
    pub fn required(&self) -> Signals {
        self.chain.required()
    }

    /// Bytes of the arrays held: state, the places where the next state is prepared, and workspace.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let optional = [&self.prepared, &self.laid_out, &self.change];
        let links = self.gradient.iter().chain(&self.update);
        bytes::<A>(self.shape) * (1 + optional.into_iter().flatten().count())
            + links.map(|link| link.machine.memory_bytes()).sum::<usize>()
            + self.iterates.as_ref().map_or(0, IterateState::memory_bytes)
    }

    /// The first stage that is a diagonal in eigenbases, where there is one: its bases can be read and
    /// replaced. Of a weight in blocks, that of the first.
    pub fn eigenbasis_mut(&mut self) -> Option<&mut EigenbasisDiagonal<A>> {
        self.eigenbases_mut().next()
    }

    /// The same of all blocks, row by row.
    pub fn eigenbases_mut(&mut self) -> impl Iterator<Item = &mut EigenbasisDiagonal<A>> {
        self.update.iter_mut().flat_map(|link| link.machine.eigenbases_mut())
    }

    /// The average of iterates that is to be evaluated in place of the weight (m × n), under
    /// [`WeightAveraging`](crate::WeightAveraging); a copy of the weight without.
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
