//! The seam behind which every part of a method stands: what a stage promises, and what it is told.

use std::fmt::Debug;

use layerwise_linalg::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::error::Result;
use crate::signal::Signal;
pub use crate::values::{StateReader, StateWriter};

/// A stage of a [`Chain`](crate::Chain): it observes what a layer reports, and turns one direction
/// into another.
///
/// A step asks every stage to [`observe`](Self::observe), then each in turn to
/// [`apply`](Self::apply), and if all that succeeded and the new weight is finite, every stage to
/// [`commit`](Self::commit). What a stage computes before stands *beside* its state until then; a step
/// that fails anywhere is abandoned by not committing it, and the next `observe` starts from the state
/// as it was. So the chain promises, and a stage has to keep, that
///
/// - a step that fails changes no bit of the state: `observe` and `apply` write proposals alone, and
///   only `commit` makes them the state;
/// - a warmed-up step does not allocate;
/// - a run that is saved and loaded goes on in every bit as one that never stopped: all that later steps
///   depend on is [saved](Self::save);
/// - nothing panics, whatever the input: shapes and entries that do not fit are errors.
///
/// [`suite`](crate::suite) tests these of any stage.
pub trait Stage<A: Scalar>: Debug + Send + Sync {
    /// Begins a step: forgets what an earlier one proposed, and takes in what the layer reports.
    ///
    /// # Errors
    ///
    /// Missing signals, wrong shapes, entries that are not finite, and whatever the stage cannot go
    /// on from. The state has not changed then.
    fn observe(&mut self, _step: &Step<'_, A>) -> Result<Observation> {
        Ok(Observation::default())
    }

    /// Turns a direction (m × n) into another, in place, with what was observed last. What it takes in
    /// of the direction that arrives is a proposal too.
    ///
    /// # Errors
    ///
    /// A direction of another shape, and failures of the linear algebra; the direction may be partly
    /// overwritten then. An entry that is not finite is refused by the chain.
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()>;

    /// Keeps what was proposed since [`observe`](Self::observe). It cannot fail. It can come without an
    /// [`apply`](Self::apply): of a step that is skipped.
    fn commit(&mut self) {}

    /// Writes what a later run needs, by name; called between steps.
    fn save<'s>(&'s self, _out: &mut StateWriter<'s, A>) {}

    /// Reads what [`save`](Self::save) of an equal one wrote.
    ///
    /// # Errors
    ///
    /// Values that are missing, of another kind or shape, or not finite. What was read before
    /// the error has replaced the state: the chain throws that away.
    fn load(&mut self, _from: &mut StateReader<'_, A>) -> Result<()> {
        Ok(())
    }

    /// Bytes of the arrays held: state, proposals, and workspace that it does not share.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Turns a change `Δ` of the weight (m × n) into `P Δ Q`, with the factors observed last, without
    /// damping. `false`, and nothing done, where there are no factors that model the loss's
    /// curvature, or where the chain does not ask for it.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    fn apply_curvature(
        &mut self,
        _change: &mut ArrayViewMut2<'_, A>,
        _step: &Step<'_, A>,
    ) -> Result<bool> {
        Ok(false)
    }

    /// Multiplies every damping by a factor from the next observation on, in place of an earlier
    /// factor. The chain keeps it; a stage without damping ignores it.
    fn set_damping_factor(&mut self, _factor: f64) {}
}

/// What a stage is told of a step.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Step<'a, A> {
    /// What the layer reports; its gradient (m × n) as the chain's [gradient
    /// stages](crate::Chain::gradient) made it, and to these as it is given.
    pub signal: Signal<'a, A>,
    /// The weight before the step (m × n).
    pub weight: ArrayView2<'a, A>,
    /// The step, counted from 0, at which schedules are evaluated.
    pub time: u64,
    /// `η` at this step.
    pub learning_rate: f64,
    /// What the bias corrections of the stages of its list before this one multiply the direction by; 1
    /// where stages observe.
    pub corrections: f64,
    /// The step is sure to succeed, and changes state in place.
    pub(crate) in_place: bool,
}

impl<'a, A: Scalar> Step<'a, A> {
    /// The gradient (m × n), as [`signal`](Self::signal) has it.
    #[must_use]
    pub fn gradient(&self) -> ArrayView2<'a, A> {
        self.signal.gradient()
    }

    /// A step of a weight that reports this, at rate 0: to try a stage alone.
    #[must_use]
    pub fn alone(signal: Signal<'a, A>, weight: ArrayView2<'a, A>, time: u64) -> Self {
        Step { signal, weight, time, learning_rate: 0.0, corrections: 1.0, in_place: false }
    }
}

/// What observing a signal led to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// This step only collects statistics: no direction is taken, the weight stays, and of the update's
    /// stages this one alone keeps what it observed. Stages of the gradient cannot ask for it.
    pub skip: bool,
    /// Roots or bases do not exist yet; the identity stands in for them.
    pub warming_up: bool,
    /// Roots or bases were computed anew.
    pub refreshed: bool,
    /// What the bias correction of this stage multiplies directions by, where there is one.
    pub scale: Option<f64>,
    /// How many refreshes failed, so that the last good root was kept, or a slower routine served.
    pub fallbacks: usize,
    /// Condition number of the damped left factor, where one was refreshed; see
    /// [`StepReport::left_condition`](crate::StepReport::left_condition).
    pub left_condition: Option<f64>,
    /// The same of the right factor.
    pub right_condition: Option<f64>,
}

impl Observation {
    /// Of two stages, or of two parts of a weight.
    pub(crate) fn and(self, other: Observation) -> Observation {
        let worse = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Observation {
            skip: self.skip | other.skip,
            warming_up: self.warming_up | other.warming_up,
            refreshed: self.refreshed | other.refreshed,
            scale: other.scale.or(self.scale),
            fallbacks: self.fallbacks + other.fallbacks,
            left_condition: worse(self.left_condition, other.left_condition),
            right_condition: worse(self.right_condition, other.right_condition),
        }
    }
}
