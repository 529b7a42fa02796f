//! The seam behind which every method stands.

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::error::Result;
use crate::signal::{Signal, Signals};
use crate::state::values::{StateReader, StateWriter};

/// What observing a signal led to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// This step only collects statistics: no direction is taken, the weight stays.
    pub skip: bool,
    /// Roots or bases do not exist yet; the identity stands in for them.
    pub warming_up: bool,
    /// Roots or bases were computed anew.
    pub refreshed: bool,
    /// What the bias correction of an entry-wise statistic multiplies directions by, where there
    /// is one.
    pub scale: Option<f64>,
    /// How many refreshes failed, so that the last good root was kept, or a slower routine served.
    pub fallbacks: usize,
    /// Condition number of the damped left factor, where one was refreshed; see
    /// [`StepReport::left_condition`](crate::StepReport::left_condition).
    pub left_condition: Option<f64>,
    /// The same of the right factor.
    pub right_condition: Option<f64>,
}

/// Statistics of a layer, and the linear (or polar) map that they define on directions.
///
/// The trait is sealed: a [`Composition`](crate::Composition) builds this crate's preconditioners
/// alone, and only they can write and read states. It is public so that they can be used by
/// themselves.
///
/// The protocol of a step is [`observe`](Self::observe), [`apply`](Self::apply),
/// [`commit`](Self::commit). What `observe` computes stands beside the state until `commit`; a
/// step that fails anywhere is abandoned by not committing it, and the next `observe` starts from
/// the state as it was.
pub trait Preconditioner<A: Scalar>: Send + sealed::Sealed {
    /// Which signals beyond the gradient [`observe`](Self::observe) needs.
    fn required(&self) -> Signals {
        Signals::GRADIENT
    }

    /// Takes the statistics of a step in, and refreshes roots where that is due.
    ///
    /// # Errors
    ///
    /// Missing signals, wrong shapes, entries that are not finite, and factors without the root
    /// that the method needs. Nothing has changed then.
    fn observe(&mut self, signal: &Signal<'_, A>) -> Result<Observation>;

    /// Preconditions a direction (m × n) in place: `D ← P^{-p} D Q^{-q}`, with the statistics
    /// observed last.
    ///
    /// # Errors
    ///
    /// A direction of another shape. It may be left partly overwritten by other failures of the
    /// linear algebra, which shapes and factors that were accepted do not lead to.
    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>) -> Result<()>;

    /// Turns a change `Δ` of the weight (m × n) into `P Δ Q`, with the factors observed last, without
    /// damping. `false`, and nothing done, where there are no factors that model the loss's
    /// curvature, or where the composition does not ask for it.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    fn apply_curvature(
        &mut self,
        _signal: &Signal<'_, A>,
        _change: &mut ArrayViewMut2<'_, A>,
    ) -> Result<bool> {
        Ok(false)
    }

    /// Keeps what was observed last.
    fn commit(&mut self);

    /// Multiplies every damping by a factor from the next observation on, in place of an earlier
    /// factor. Not part of the state; a preconditioner without damping ignores it.
    fn set_damping_factor(&mut self, _factor: f64) {}

    /// Bytes of the arrays held, workspace included.
    fn memory_bytes(&self) -> usize;

    /// Writes what a later run needs, under names that begin with `path`; called between steps.
    fn save_state<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>);

    /// Reads what [`save_state`](Self::save_state) of an equal one wrote.
    ///
    /// # Errors
    ///
    /// Values that are missing, of another kind or shape, or not finite. What was read before
    /// the error has replaced the state.
    fn load_state(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Identity {}

/// No preconditioning: SGD and its relatives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl<A: Scalar> Preconditioner<A> for Identity {
    fn observe(&mut self, _signal: &Signal<'_, A>) -> Result<Observation> {
        Ok(Observation::default())
    }

    fn apply(&mut self, _direction: &mut ArrayViewMut2<'_, A>) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self) {}

    fn memory_bytes(&self) -> usize {
        0
    }

    fn save_state<'s>(&'s self, _path: &str, _out: &mut StateWriter<'s, A>) {}

    fn load_state(&mut self, _path: &str, _from: &mut StateReader<'_, A>) -> Result<()> {
        Ok(())
    }
}
