//! A checked method on one weight.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayViewMut2, Zip};

use crate::composition::{Composition, Grafting, WeightDecay};
use crate::direction::{DirectionState, MomentumState};
use crate::eigenbasis::EigenbasisDiagonal;
use crate::error::{OptimError, Result};
use crate::finite::{check_finite, check_shape, distance, first_non_finite, frobenius_norm};
use crate::preconditioner::{Identity, Observation, Preconditioner, bytes};
use crate::signal::{Signal, Signals};

/// What is added to the norm that a grafted direction is divided by.
const GRAFTING_FLOOR: f64 = 1e-16;

/// An optimizer of one weight matrix, made by [`Composition::build`] or by a
/// [`Method`](crate::Method).
pub struct Optimizer<A> {
    composition: Composition,
    shape: (usize, usize),
    steps: u64,
    direction: DirectionState<A>,
    preconditioner: Box<dyn Preconditioner<A>>,
    graft: Option<Graft<A>>,
    velocity: Option<MomentumState<A>>,
    /// `g + λ W`, where that is asked for.
    decayed_gradient: Option<Array2<A>>,
    /// The direction, then the new weight.
    proposal: Array2<A>,
    scratch: Option<Array2<A>>,
}

struct Graft<A> {
    preconditioner: Box<dyn Preconditioner<A>>,
    direction: Array2<A>,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps taken, this one included.
    pub step: u64,
    /// `η` at this step.
    pub learning_rate: f64,
    /// Frobenius norm of the gradient as it was given.
    pub gradient_norm: f64,
    /// Frobenius norm of the change of the weight.
    pub update_norm: f64,
    /// The weight was left alone on purpose: the method only collected statistics.
    pub skipped: bool,
    /// Roots or bases were computed anew.
    pub refreshed: bool,
    /// Refreshes that failed and left the last good root in place, or that another routine served.
    pub fallbacks: usize,
    /// Condition number of the damped left factor where it was refreshed: from eigenvalues, or a
    /// lower bound from a Cholesky factor. Under
    /// [`JointDamping::Exact`](crate::JointDamping::Exact), both sides give that of the damped
    /// product.
    pub left_condition: Option<f64>,
    /// The same of the right factor.
    pub right_condition: Option<f64>,
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

impl<A: Scalar> Optimizer<A> {
    /// The composition must have been checked.
    pub(crate) fn new(composition: Composition, shape: (usize, usize)) -> Result<Self> {
        let preconditioner = composition.preconditioner.build(shape)?;
        let graft = match &composition.grafting {
            None => None,
            Some(grafting) => Some(Graft {
                preconditioner: match grafting {
                    Grafting::Direction => Box::new(Identity),
                    Grafting::Diagonal(config) => {
                        Box::new(crate::diagonal::Diagonal::new(config, shape)?)
                    }
                },
                direction: Array2::zeros(shape),
            }),
        };
        let velocity =
            composition.velocity.as_ref().map(|config| MomentumState::new(config, shape));
        let decays_gradient = matches!(composition.weight_decay, WeightDecay::L2(_));
        Ok(Optimizer {
            direction: DirectionState::new(&composition.direction, shape),
            preconditioner,
            graft,
            decayed_gradient: decays_gradient.then(|| Array2::zeros(shape)),
            proposal: Array2::zeros(shape),
            scratch: velocity.is_some().then(|| Array2::zeros(shape)),
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
        let report = self.propose(weight, signal)?;
        self.accept(weight, &report);
        Ok(report)
    }

    /// Computes a step beside weight and state; [`Optimizer::accept`] makes it happen.
    pub(crate) fn propose(
        &mut self,
        weight: &ArrayViewMut2<'_, A>,
        signal: &Signal<'_, A>,
    ) -> Result<StepReport> {
        let gradient = signal.gradient();
        check_shape("weight", &weight.view(), self.shape)?;
        check_shape("gradient", &gradient, self.shape)?;
        let gradient_norm = frobenius_norm(&gradient);
        if !gradient_norm.is_finite() {
            check_finite("gradient", &gradient)?;
        }
        let learning_rate = self.composition.learning_rate.value(self.steps);
        let gradient = match (&mut self.decayed_gradient, &self.composition.weight_decay) {
            (Some(decayed), WeightDecay::L2(rate)) => {
                let rate = A::from_f64(rate.value(self.steps));
                Zip::from(&mut *decayed).and(&gradient).and(weight).for_each(|d, &g, &w| {
                    *d = g + rate * w;
                });
                check_finite("gradient with weight decay", &decayed.view())?;
                decayed.view()
            }
            _ => gradient,
        };
        let signal = signal.with_gradient(gradient);
        let observation = self.preconditioner.observe(&signal)?;
        let mut report = StepReport {
            step: self.steps + 1,
            learning_rate,
            gradient_norm,
            update_norm: 0.0,
            skipped: observation.skip,
            refreshed: observation.refreshed,
            fallbacks: observation.fallbacks,
            left_condition: observation.left_condition,
            right_condition: observation.right_condition,
        };
        if observation.skip {
            check_finite("weight", &weight.view())?;
            return Ok(report);
        }
        self.direction.propose(&gradient, &mut self.proposal);
        if let Some(graft) = &mut self.graft {
            graft.preconditioner.observe(&signal)?;
            graft.direction.assign(&self.proposal);
            graft.preconditioner.apply(&mut graft.direction.view_mut())?;
        }
        self.precondition(&observation)?;
        if let (Some(velocity), Some(scratch)) = (&mut self.velocity, &mut self.scratch) {
            velocity.propose(&self.proposal.view(), scratch);
            std::mem::swap(&mut self.proposal, scratch);
        }
        report.update_norm = self.propose_weight(weight, learning_rate)?;
        Ok(report)
    }

    /// Makes the last proposal happen; the weight must be the one that it was made for.
    pub(crate) fn accept(&mut self, weight: &mut ArrayViewMut2<'_, A>, report: &StepReport) {
        self.steps = report.step;
        self.preconditioner.commit();
        if report.skipped {
            return;
        }
        self.direction.commit();
        if let Some(graft) = &mut self.graft {
            graft.preconditioner.commit();
        }
        if let Some(velocity) = &mut self.velocity {
            velocity.commit();
        }
        weight.assign(&self.proposal);
    }

    /// Preconditions the direction, and grafts it.
    fn precondition(&mut self, observation: &Observation) -> Result<()> {
        let Some(graft) = &self.graft else {
            return self.preconditioner.apply(&mut self.proposal.view_mut());
        };
        if observation.warming_up {
            self.proposal.assign(&graft.direction);
            return Ok(());
        }
        self.preconditioner.apply(&mut self.proposal.view_mut())?;
        let target = frobenius_norm(&graft.direction.view());
        let own = frobenius_norm(&self.proposal.view());
        let ratio = A::from_f64(target / (own + GRAFTING_FLOOR));
        self.proposal.mapv_inplace(|x| x * ratio);
        Ok(())
    }

    /// Replaces the direction by the new weight; returns the norm of the change.
    fn propose_weight(&mut self, weight: &ArrayViewMut2<'_, A>, learning_rate: f64) -> Result<f64> {
        let rate = A::from_f64(learning_rate);
        let (before, after) = match &self.composition.weight_decay {
            WeightDecay::None | WeightDecay::L2(_) => (1.0, 1.0),
            WeightDecay::Decoupled(decay) => (1.0 - learning_rate * decay.value(self.steps), 1.0),
            WeightDecay::DecoupledAfter(decay) => {
                (1.0, 1.0 - learning_rate * decay.value(self.steps))
            }
        };
        let (before, after) = (A::from_f64(before), A::from_f64(after));
        Zip::from(&mut self.proposal).and(weight).for_each(|d, &w| {
            *d = (before * w - rate * *d) * after;
        });
        let norm = distance(&self.proposal.view(), &weight.view());
        if !norm.is_finite() {
            check_finite("weight", &weight.view())?;
            if let Some((row, col, value)) = first_non_finite(&self.proposal.view()) {
                return Err(OptimError::Overflow { what: "the new weight", row, col, value });
            }
        }
        Ok(norm)
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

    /// What it was built from.
    #[must_use]
    pub fn composition(&self) -> &Composition {
        &self.composition
    }

    /// Which signals beyond the gradient [`Optimizer::step`] needs.
    #[must_use]
    pub fn required(&self) -> Signals {
        self.preconditioner.required()
    }

    /// Bytes of the arrays held: state, the places where the next state is prepared, and workspace.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let array = bytes::<A>(self.shape);
        let optional =
            usize::from(self.decayed_gradient.is_some()) + usize::from(self.scratch.is_some());
        array * (1 + optional)
            + self.direction.memory_bytes()
            + self.preconditioner.memory_bytes()
            + self.velocity.as_ref().map_or(0, MomentumState::memory_bytes)
            + self.graft.as_ref().map_or(0, |graft| array + graft.preconditioner.memory_bytes())
    }

    /// The preconditioner as a diagonal in eigenbases, where it is one: its bases can be read and
    /// replaced.
    pub fn eigenbasis_mut(&mut self) -> Option<&mut EigenbasisDiagonal<A>> {
        self.preconditioner.as_eigenbasis()
    }
}
