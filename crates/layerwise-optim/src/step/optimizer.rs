//! A checked method on one weight.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::chain::Chain;
use crate::config::stage::StageConfig;
use crate::error::{OptimError, Result};
use crate::numeric::entrywise::{update1, update2};
use crate::numeric::finite::{
    bytes, check_finite, check_shape, check_weight, distance, first_non_finite, frobenius_norm,
    inner_product, within_limit,
};
use crate::numeric::pool::{Needs, Pool};
use crate::schedule::When;
use crate::signal::{Signal, Signals};
use crate::stage::{Observation, Step};
use crate::stages::bounded::Measured;
use crate::stages::build::Machine;
use crate::stages::diagonal::Diagonal;
use crate::stages::eigenbasis::EigenbasisDiagonal;
use crate::stages::momentum::MomentumState;
use crate::state::persist::Persist;
use crate::step::control::Control;
use crate::step::damping_factor::DampingFactor;
use crate::step::fused::Fused;
use crate::step::link::{Link, apply_all, prepare};
use crate::step::report::{QuadraticModel, StepReport};
use crate::step::weight::WeightRule;
use crate::step::weight_averaging::IterateState;

/// A step that will succeed, and how it will be taken.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) report: StepReport,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// State and weight are changed where they are.
    InPlace,
    /// The next ones stand beside them.
    Proposed,
}

/// What is taken in one loop: a momentum and a second moment, each where there is one.
type LoopParts<'a, A> = (Option<&'a mut MomentumState<A>>, Option<&'a mut Diagonal<A>>);

/// What the stages of the update are told.
fn told<'s, A: Scalar>(
    step: &'s Step<'_, A>,
    prepared: &'s Option<Array2<A>>,
    laid_out: &'s Option<Array2<A>>,
) -> Step<'s, A> {
    let gradient = prepared.as_ref().map_or(step.signal.gradient(), |prepared| prepared.view());
    let weight = laid_out.as_ref().map_or(step.weight.reborrow(), |laid_out| laid_out.view());
    Step { signal: step.signal.with_gradient(gradient), weight, ..*step }
}

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
    /// The direction, then the new weight, of a step beside the state; made when it is first needed.
    proposal: Option<Array2<A>>,
    /// What the step does to the loss is predicted.
    predicts: bool,
    /// What is not needed between steps, the direction of a step in place too.
    pub(super) pool: Pool<A>,
    /// Nobody else is lent from the pool.
    pub(super) has_pool: bool,
    pub(crate) needs: Needs,
    /// Why a step that was sure to succeed did not, until a state is loaded.
    pub(super) broken: Option<OptimError>,
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
        let pool = Pool::new();
        let optimizer = self.build_in(shape, &pool)?;
        pool.reserve(&[&optimizer.needs], 1);
        Ok(Optimizer { has_pool: true, ..optimizer })
    }

    /// One of several optimizers that are lent from a pool.
    pub(crate) fn build_in<A: Scalar>(
        &self,
        shape: (usize, usize),
        pool: &Pool<A>,
    ) -> Result<Optimizer<A>> {
        self.check(When::Build)?;
        check_weight::<A>(shape)?;
        Optimizer::new(self.clone(), shape, pool)
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
    pub(super) fn new(chain: Chain, shape: (usize, usize), pool: &Pool<A>) -> Result<Self> {
        let predicts = chain.predicts();
        let links = |stages: &[StageConfig]| {
            let link = |stage| Link::new(stage, shape, predicts, pool);
            stages.iter().map(link).collect::<Result<Vec<_>>>()
        };
        let (gradient, update) = (links(&chain.gradient)?, links(&chain.update)?);
        let reshapes = gradient.iter().chain(&update).any(|link| link.machine.reshapes());
        let iterates = chain.weight_averaging.as_ref();
        let mut optimizer = Optimizer {
            iterates: iterates.map(|config| IterateState::new(config, shape)),
            damping: chain.damping_adaptation.map(DampingFactor::new),
            prepared: (reshapes || !gradient.is_empty()).then(|| Array2::zeros(shape)),
            laid_out: reshapes.then(|| Array2::zeros(shape)),
            proposal: None,
            predicts,
            pool: pool.clone(),
            has_pool: false,
            needs: Needs::default(),
            gradient,
            update,
            skipping: None,
            chain,
            shape,
            steps: 0,
            broken: None,
        };
        optimizer.reserve();
        Ok(optimizer)
    }

    /// Makes what is known beforehand to be needed of a chain that is not taken in one loop: the places of
    /// directions and proposed states where even a step of nothing is not sure to succeed. Says what is
    /// lent.
    fn reserve(&mut self) {
        let of_all = |links: &[Link<A>]| {
            links.iter().fold(Needs::default(), |needs, link| needs.or(link.machine.needs()))
        };
        self.needs = of_all(&self.gradient);
        if self.loop_parts().is_some() {
            return;
        }
        let shape = self.shape;
        let nothing = Measured { gradient: 0.0, weight: 0.0, time: 0, entries: shape.0 * shape.1 };
        let is_sure = self.is_sure(&nothing, 0.0, WeightRule::identity());
        if !is_sure {
            self.proposal.get_or_insert_with(|| Array2::zeros(shape));
            self.update.iter_mut().for_each(|link| link.machine.reserve());
            self.iterates.iter_mut().for_each(IterateState::reserve);
        }
        // The direction, or the change that is predicted of.
        let beside = Needs::arrays(usize::from(is_sure || self.predicts), shape);
        self.needs = std::mem::take(&mut self.needs).or(of_all(&self.update).and(beside));
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
        let prepared = self.prepare(control, weight, signal)?;
        self.take(control, weight, signal, prepared)
    }

    /// All of a step that can fail, beside weight and state; [`Optimizer::take`] makes it happen.
    pub(crate) fn prepare(
        &mut self,
        control: &Control,
        weight: &ArrayViewMut2<'_, A>,
        signal: &Signal<'_, A>,
    ) -> Result<Prepared> {
        let step = self.step_of(control, weight, signal)?;
        let (report, measured) = self.observe(&step, control.gradient_factor)?;
        let rule = WeightRule::new(&self.chain.weight_decay, &step);
        if !report.skipped && self.is_sure(&measured, measured.gradient, rule) {
            return Ok(Prepared { report, way: Way::InPlace });
        }
        let report = self.propose_direction(&step, report)?;
        self.propose_weight(&step, 1.0, report)
    }

    /// Refuses what a step has left that broke off.
    pub(crate) fn check_whole(&self) -> Result<()> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// What the stages are told of a step.
    pub(crate) fn step_of<'s>(
        &self,
        control: &Control,
        weight: &'s ArrayViewMut2<'_, A>,
        signal: &'s Signal<'_, A>,
    ) -> Result<Step<'s, A>> {
        control.check()?;
        self.check_whole()?;
        check_shape("weight", &weight.view(), self.shape)?;
        check_shape("gradient", &signal.gradient(), self.shape)?;
        let time = control.step.unwrap_or(self.steps);
        Ok(Step {
            signal: signal.reborrow(),
            weight: weight.view(),
            time,
            learning_rate: self.chain.learning_rate.value(time) * control.rate_factor,
            corrections: 1.0,
            in_place: false,
        })
    }

    /// Lets the stages observe the gradient times a factor; what they see is measured.
    pub(crate) fn observe(
        &mut self,
        step: &Step<'_, A>,
        factor: f64,
    ) -> Result<(StepReport, Measured)> {
        let gradient = step.gradient();
        let gradient_norm = frobenius_norm(&gradient);
        if !gradient_norm.is_finite() {
            check_finite("gradient", &gradient)?;
        }
        let weight_norm = frobenius_norm(&step.weight);
        if !weight_norm.is_finite() {
            check_finite("weight", &step.weight)?;
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
        let told = told(step, &self.prepared, &self.laid_out);
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
        let gradient = self.prepared.as_ref().map_or(gradient_norm, |g| frobenius_norm(&g.view()));
        let entries = self.shape.0 * self.shape.1;
        let measured = Measured { gradient, weight: weight_norm, time: step.time, entries };
        let report = StepReport {
            gradient_norm,
            skipped: observation.skip,
            refreshed: observation.refreshed,
            fallbacks: observation.fallbacks,
            left_condition: observation.left_condition,
            right_condition: observation.right_condition,
            ..StepReport::of_step(self.steps + 1, step.learning_rate)
        };
        Ok((report, measured))
    }

    /// Whether nothing of the step that was observed can fail or leave the scalar's range.
    fn is_sure(&mut self, measured: &Measured, gradient: f64, rule: WeightRule<A>) -> bool {
        let mut bound = within_limit::<A>(gradient);
        for link in &mut self.update {
            bound = bound.and_then(|arrives| link.machine.bound(arrives, measured));
        }
        let mut new = bound.and_then(|bound| within_limit::<A>(rule.bound(measured.weight, bound)));
        if let Some(iterates) = &mut self.iterates {
            new = new.and_then(|new| iterates.bound(measured.weight, new));
        }
        new.is_some() && !self.predicts
    }

    /// Computes the direction of a step that was observed, beside the state; its weight is still to be
    /// [made of it](Self::propose_weight).
    pub(crate) fn propose_direction(
        &mut self,
        step: &Step<'_, A>,
        report: StepReport,
    ) -> Result<StepReport> {
        if !report.skipped {
            let mut direction = self.proposal.take().unwrap_or_else(|| Array2::zeros(self.shape));
            let applied = self.apply(step, &mut direction);
            self.proposal = Some(direction);
            applied?;
        }
        Ok(report)
    }

    /// Makes the direction.
    fn apply(&mut self, step: &Step<'_, A>, direction: &mut Array2<A>) -> Result<()> {
        let told = told(step, &self.prepared, &self.laid_out);
        direction.assign(&told.gradient());
        apply_all(&mut self.update, direction, told)
    }

    /// `η² ⟨g, D⟩` of the direction proposed last, with `g` the gradient that it was made of; negative where
    /// it points up.
    pub(crate) fn length_along_gradient(&self, signal: &Signal<'_, A>, report: &StepReport) -> f64 {
        if report.skipped {
            return 0.0;
        }
        let gradient = self.prepared.as_ref().map_or(signal.gradient(), |g| g.view());
        let along = self.proposal.as_ref().map_or(0.0, |d| inner_product(&gradient, &d.view()));
        report.learning_rate * (report.learning_rate * along)
    }

    /// Replaces the direction, times a factor, by the new weight; completes the report.
    pub(crate) fn propose_weight(
        &mut self,
        step: &Step<'_, A>,
        factor: f64,
        report: StepReport,
    ) -> Result<Prepared> {
        if report.skipped {
            return Ok(Prepared { report, way: Way::Proposed });
        }
        let mut update_norm = 0.0;
        if let Some(mut proposal) = self.proposal.take() {
            update_norm = self.weigh(step, factor, &mut proposal);
            self.proposal = Some(proposal);
        }
        if !update_norm.is_finite()
            && let Some(proposal) = &self.proposal
            && let Some((row, col, value)) = first_non_finite(&proposal.view())
        {
            return Err(OptimError::Overflow { what: "the new weight", row, col, value });
        }
        let report = StepReport { update_norm, model: self.model(step)?, ..report };
        Ok(Prepared { report, way: Way::Proposed })
    }

    /// Replaces the direction, times a factor, by the new weight; returns the norm of its change.
    fn weigh(&mut self, step: &Step<'_, A>, factor: f64, direction: &mut Array2<A>) -> f64 {
        let rule = WeightRule::new(&self.chain.weight_decay, step);
        let factor = A::from_f64(factor);
        update1(direction, &step.weight, move |d, w| *d = rule.entry(w, factor * *d));
        if let Some(iterates) = &mut self.iterates {
            iterates.propose(step, direction);
        }
        distance(&direction.view(), &step.weight)
    }

    /// Makes room for a gradient that is not taken as it is given.
    pub(crate) fn reserve_gradient(&mut self) {
        let shape = self.shape;
        self.prepared.get_or_insert_with(|| Array2::zeros(shape));
    }

    /// The stages of a chain that is taken in one loop over entries; `None` where it is not.
    fn loop_parts(&mut self) -> Option<LoopParts<'_, A>> {
        if self.iterates.is_some() || self.predicts {
            return None;
        }
        let mut parts: LoopParts<'_, A> = (None, None);
        for link in &mut self.update {
            match (&mut link.machine, &parts) {
                (Machine::Momentum(momentum), (None, None)) => parts.0 = Some(momentum),
                (Machine::Diagonal(diagonal), (_, None)) if diagonal.is_one_loop() => {
                    parts.1 = Some(diagonal);
                }
                _ => return None,
            }
        }
        Some(parts)
    }

    /// Takes a step that is sure to succeed in one loop over entries, to the bits of one stage after
    /// another, and returns the norm of the weight's change. `None`, and nothing done, where chain or layout do
    /// not allow that.
    pub(super) fn take_fused(
        &mut self,
        weight: &mut ArrayViewMut2<'_, A>,
        gradient: ArrayView2<'_, A>,
        weight_rule: WeightRule<A>,
    ) -> Option<f64> {
        let prepared = self.prepared.take();
        let gradient = prepared.as_ref().map_or(gradient.reborrow(), |g| g.view());
        let norm = self.loop_parts().and_then(|(momentum, diagonal)| {
            let (gradient, weight) = (gradient.as_slice()?, weight.as_slice_mut()?);
            let momentum = match momentum {
                Some(momentum) => Some(momentum.in_place()?),
                None => None,
            };
            let second_moment = match diagonal {
                Some(diagonal) => Some(diagonal.in_place()?),
                None => None,
            };
            Some(Fused { gradient, weight, momentum, second_moment, weight_rule }.run())
        });
        self.prepared = prepared;
        norm
    }

    /// What the quadratic model predicts of the proposed weight.
    fn model(&mut self, step: &Step<'_, A>) -> Result<Option<QuadraticModel>> {
        let Some(proposal) = self.proposal.as_ref().filter(|_| self.predicts) else {
            return Ok(None);
        };
        // Then its product with the curvature.
        let mut change = self.pool.array(self.shape);
        update2(&mut change, proposal, &step.weight, move |change, new, old| *change = new - old);
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
        let curvature = proposal
            .iter()
            .zip(&step.weight)
            .zip(change.iter())
            .map(|((&new, &old), c)| (new - old).as_f64() * c.as_f64())
            .sum();
        let slope = if self.chain.maximizes() { -slope } else { slope };
        Ok(Some(QuadraticModel { slope, curvature }))
    }

    /// Makes the step happen that was prepared last, with what it was prepared for.
    ///
    /// # Errors
    ///
    /// None that is known, as all that can fail has been tried. Where there is one all the same,
    /// weight and state are not to be trusted, and the optimizer refuses steps until it is loaded.
    pub(crate) fn take(
        &mut self,
        control: &Control,
        weight: &mut ArrayViewMut2<'_, A>,
        signal: &Signal<'_, A>,
        Prepared { report, way }: Prepared,
    ) -> Result<StepReport> {
        let update_norm = match way {
            Way::Proposed => report.update_norm,
            Way::InPlace => self.take_in_place(control, weight, signal).map_err(|error| {
                let error = OptimError::HalfTaken { source: Box::new(error) };
                self.broken = Some(error.clone());
                error
            })?,
        };
        self.steps = report.step;
        self.gradient.iter_mut().for_each(|link| link.machine.commit());
        if report.skipped {
            if let Some(link) = self.skipping.and_then(|index| self.update.get_mut(index)) {
                link.machine.commit();
            }
            return Ok(report);
        }
        self.update.iter_mut().for_each(|link| link.machine.commit());
        if let Some(iterates) = &mut self.iterates {
            iterates.commit();
        }
        if let (Way::Proposed, Some(proposal)) = (way, &self.proposal) {
            weight.assign(proposal);
        }
        Ok(StepReport { update_norm, ..report })
    }

    /// Changes weight and state by a step that is sure to succeed; returns the norm of the weight's change.
    fn take_in_place(
        &mut self,
        control: &Control,
        weight: &mut ArrayViewMut2<'_, A>,
        signal: &Signal<'_, A>,
    ) -> Result<f64> {
        let rule =
            WeightRule::new(&self.chain.weight_decay, &self.step_of(control, weight, signal)?);
        if let Some(norm) = self.take_fused(weight, signal.gradient(), rule) {
            return Ok(norm);
        }
        let step = Step { in_place: true, ..self.step_of(control, weight, signal)? };
        let mut direction = self.pool.array(self.shape);
        self.apply(&step, &mut direction)?;
        let norm = self.weigh(&step, 1.0, &mut direction);
        weight.assign(&*direction);
        Ok(norm)
    }

    /// Adapts the damping to how much of the predicted reduction of the loss came true: the actual
    /// reduction over one or several steps, divided by that of the quadratic model
    /// ([`StepReport::model`]). Returns the factor that dampings are multiplied by from the next step on.
    ///
    /// # Errors
    ///
    /// A chain without [`LevenbergMarquardt`](crate::chain::LevenbergMarquardt), and a ratio that is
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
    /// [`Partition`](crate::chain::Partition) lays the weight out in.
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

    /// Bytes of the arrays held: state, the places where the next state is prepared, and workspace; this
    /// not of an optimizer in a set, which [counts](crate::OptimizerSet::memory_bytes) it once.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let optional = [&self.prepared, &self.laid_out, &self.proposal];
        let links = self.gradient.iter().chain(&self.update);
        bytes::<A>(self.shape) * optional.into_iter().flatten().count()
            + links.map(|link| link.machine.memory_bytes()).sum::<usize>()
            + self.iterates.as_ref().map_or(0, IterateState::memory_bytes)
            + if self.has_pool { self.pool.memory_bytes() } else { 0 }
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
    /// [`WeightAveraging`](crate::chain::WeightAveraging); a copy of the weight without.
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
