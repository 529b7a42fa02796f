//! Entry-wise preconditioning in the eigenbases of Kronecker factors: SOAP.

mod job;
mod side;

use layerwise_linalg::{Scalar, gemm};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Zip, s};

use crate::config::basis::BasisUse;
use crate::config::eigenbasis::{DiagonalEstimate, EigenbasisConfig, TurnedMoments};
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::{
    check_finite, check_shape, divide_by_root_of_size, frobenius_norm, within_limit,
};
use crate::numeric::pool::{Lent, Needs, Pool};
use crate::numeric::sides::multiply_sides;
use crate::signal::{Factor, Signal};
use crate::stage::{Observation, Stage, Step};
use crate::stages::background::{Background, Plan};
use crate::stages::bounded::{Bounded, Measured};
use crate::stages::drift::drift;
use crate::stages::eigenbasis::job::{BasisJob, background};
use crate::stages::eigenbasis::side::{BasisSide, Rotation};
use crate::stages::refresh::{Progress, Refreshed};
use crate::state::persist::{Persist, departure_from_orthonormal, persist};
use crate::state::staged::Staged;
use crate::statistics::factor::{FactorStatistic, Reading, Source};
use crate::statistics::second_moments::SecondMoments;
use crate::values::{StateReader, StateWriter};

/// Entry-wise preconditioning in eigenbases.
#[derive(Debug)]
pub struct EigenbasisDiagonal<A> {
    config: EigenbasisConfig,
    shape: (usize, usize),
    left: BasisSide<A>,
    right: BasisSide<A>,
    moments: SecondMoments<A>,
    /// Where bases are used with a staleness.
    background: Option<Background<A, BasisJob<A>, ()>>,
    progress: Staged<Progress>,
    /// A bound of the norm of the samples' mean square, and of the squares of each side, of the latest
    /// observation.
    squares: f64,
    largest_square: f64,
    pool: Pool<A>,
}

persist!(EigenbasisDiagonal<A> { left, right, moments, background, progress });

impl<A: Scalar> EigenbasisDiagonal<A> {
    /// Configuration and shape must have been checked.
    pub(crate) fn new(
        config: &EigenbasisConfig,
        shape: (usize, usize),
        pool: &Pool<A>,
    ) -> Result<Self> {
        let statistic =
            |side, kind| FactorStatistic::<A>::new(side, kind, &config.averaging, shape);
        let (left, right) =
            (statistic(Side::Left, config.left)?, statistic(Side::Right, config.right)?);
        let (left, right) = (BasisSide::new(config, left), BasisSide::new(config, right));
        Ok(EigenbasisDiagonal {
            background: background(config, &left, &right),
            left,
            right,
            moments: SecondMoments::new(&config.diagonal, shape),
            progress: Staged::twice(Progress::default()),
            squares: 0.0,
            largest_square: 0.0,
            config: config.clone(),
            shape,
            pool: pool.clone(),
        })
    }

    /// The basis of a side, its columns the vectors; `None` for a side left alone.
    #[must_use]
    pub fn basis(&self, side: Side) -> Option<ArrayView2<'_, A>> {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
        .basis
        .as_ref()
        .map(|basis| basis.current().view())
    }

    /// Replaces the basis of a side, for instance by one recorded elsewhere. A refresh that is under way, with
    /// a [staleness](crate::Refresh::staleness), is computed again from that, and installed when it would
    /// have been.
    ///
    /// # Errors
    ///
    /// A side that is left alone, another shape, entries that are not finite, or columns that are
    /// not orthonormal to `32 n` units of rounding.
    pub fn set_basis(&mut self, side: Side, vectors: ArrayView2<'_, A>) -> Result<()> {
        let target = match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        };
        let n = target.statistic.dimension();
        let Some(basis) = &mut target.basis else {
            return Err(OptimError::Shape {
                what: "a basis for a side that is left alone",
                expected: (0, 0),
                found: vectors.dim(),
            });
        };
        check_shape("basis", &vectors, (n, n))?;
        check_finite("basis", &vectors)?;
        let departure = departure_from_orthonormal(vectors)?;
        if departure > 32.0 * n as f64 * A::epsilon().as_f64() {
            return Err(OptimError::InvalidHyperparameter {
                name: "departure of a basis from orthonormality",
                value: departure,
                allowed: "at most 32 n units of rounding",
            });
        }
        basis.split().1.assign(&vectors);
        basis.propose();
        basis.commit();
        if let Some(background) = &mut self.background {
            background.restart();
        }
        Ok(())
    }

    /// What each side's statistic is of, where that is the gradient whitened by the other: in the other's basis,
    /// by the root of the mean square that its factor has along each vector. Before there are bases it is
    /// the root mean square of the gradient's entries, where factors are normalized.
    fn whiten(&self, side: Side, step: &Step<'_, A>) -> Result<Option<Lent<A>>> {
        let (own, other) = match side {
            Side::Left => (&self.left, &self.right),
            Side::Right => (&self.right, &self.left),
        };
        let Statistic::Whitened { normalized } = own.statistic.kind else { return Ok(None) };
        let mut whitened = self.pool.array(self.shape);
        whitened.assign(&step.gradient());
        if other.statistic.kind == Statistic::None {
            return Ok(Some(whitened));
        }
        if !self.progress.current().ready {
            if normalized {
                divide_by_root_of_size(&mut whitened)?;
            }
            return Ok(Some(whitened));
        }
        other.whiten(&mut whitened, &self.pool)?;
        Ok(Some(whitened))
    }

    /// Takes in the squares of the direction in the bases that the step uses, or those of the gradient or of
    /// the samples there.
    fn take_in(&mut self, rotated: &ArrayView2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        let estimate = self.config.estimate;
        if estimate == DiagonalEstimate::Direction {
            return self.observe_squares(rotated, false, step);
        }
        let mut projected = self.pool.array(self.shape);
        if estimate == DiagonalEstimate::Samples {
            self.project_samples(&step.signal, &mut projected)?;
        } else {
            projected.assign(&step.gradient());
            self.rotate(&mut projected.view_mut(), Rotation::Into)?;
        }
        self.observe_squares(&projected.view(), estimate == DiagonalEstimate::Samples, step)
    }

    fn observe_squares(
        &mut self,
        projected: &ArrayView2<'_, A>,
        are_squares: bool,
        step: &Step<'_, A>,
    ) -> Result<()> {
        let turns = self.transports();
        let (left, right, pool) = (&self.left, &self.right, &self.pool);
        let turn = |moments: &mut Array2<A>| {
            if !turns {
                return Ok(());
            }
            for side in [left, right] {
                side.turn_squares(&mut moments.view_mut(), pool)?;
            }
            Ok(())
        };
        self.moments
            .observe_turned(projected, are_squares, step.in_place, turn)
            .map_err(in_eigenbases)
    }

    /// Whether this step's refresh has turned the bases, and `v` goes along.
    fn transports(&self) -> bool {
        self.config.turned_moments == TurnedMoments::Transported && self.is_turned()
    }

    fn is_turned(&self) -> bool {
        self.left.is_turned() || self.right.is_turned()
    }

    /// The samples of outputs and inputs.
    fn samples<'s>(&self, signal: &'s Signal<'_, A>) -> Result<[ArrayView2<'s, A>; 2]> {
        let samples = |side| match signal.factor(side)? {
            Factor::Samples(array) => Ok(array.reborrow()),
            _ => Err(OptimError::MissingSamples { side }),
        };
        Ok([samples(Side::Left)?, samples(Side::Right)?])
    }

    /// Refuses samples that cannot be taken in; bounds those that can.
    fn check_samples(&mut self, signal: &Signal<'_, A>) -> Result<()> {
        let [outputs, inputs] = self.samples(signal)?;
        let count = inputs.nrows();
        check_shape("output samples", &outputs, (count.max(1), self.shape.0))?;
        check_shape("input samples", &inputs, (count.max(1), self.shape.1))?;
        check_finite("output samples", &outputs)?;
        check_finite("input samples", &inputs)?;
        // Σ ‖δ‖² ‖x‖² ≤ Σ ‖δ‖² Σ ‖x‖².
        let norms = [frobenius_norm(&outputs), frobenius_norm(&inputs)];
        self.squares = (norms[0] * norms[1]).powi(2) / count as f64;
        // Squares of one side alone are formed too.
        self.largest_square = norms[0].max(norms[1]).powi(2);
        Ok(())
    }

    /// The mean of the samples' squares in the bases that the step uses.
    fn project_samples(&self, signal: &Signal<'_, A>, projected: &mut Array2<A>) -> Result<()> {
        let used = self.config.basis_use;
        let [outputs, inputs] = self.samples(signal)?;
        let scale = A::from_f64(1.0 / inputs.nrows() as f64);
        let (mut of_outputs, mut of_inputs) =
            (self.pool.array(outputs.dim()), self.pool.array(inputs.dim()));
        self.left.squares(used, outputs, &mut of_outputs)?;
        self.right.squares(used, inputs, &mut of_inputs)?;
        gemm(scale, of_outputs.t(), of_inputs.view(), A::zero(), &mut projected.view_mut())?;
        Ok(())
    }

    /// Whether a factor has turned away from the basis held.
    fn has_drifted(&self, signal: &Signal<'_, A>) -> Result<bool> {
        let Some(threshold) = self.config.refresh.drift else { return Ok(false) };
        if !self.progress.current().ready {
            return Ok(false);
        }
        for side in [&self.left, &self.right] {
            if let (Some(basis), Source::Moment(moment)) =
                (&side.basis, side.statistic.source(signal, Reading::Moment))
                && drift(basis.current().view(), moment, &self.pool)? > threshold
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Turns a matrix into the bases that the step uses, or out of them.
    fn rotate(&self, matrix: &mut ArrayViewMut2<'_, A>, rotation: Rotation) -> Result<()> {
        let used = self.config.basis_use;
        let (left, right) =
            (self.left.rotation(used, rotation), self.right.rotation(used, rotation));
        Ok(multiply_sides(left, right, matrix, &self.pool)?)
    }

    /// Proposes new bases. A side where that fails keeps the basis that it had, if that is tolerated.
    fn refresh(
        &mut self,
        step: &Step<'_, A>,
        next: &mut Progress,
        observation: &mut Observation,
    ) -> Result<()> {
        let ready = self.progress.current().ready;
        let config = &self.config;
        let pool = &self.pool;
        let refresh = |side: &mut BasisSide<A>| side.refresh(config, step, !ready, pool);
        let results = [(refresh(&mut self.left), ready), (refresh(&mut self.right), ready)];
        let settled = next.settle(&config.refresh, results)?;
        for (side, result) in [&mut self.left, &mut self.right].into_iter().zip(&settled) {
            if result.is_none() {
                side.discard_basis();
            }
        }
        observation.take_refresh(settled.map(|result| result.unwrap_or(Refreshed::FAILED)));
        next.ready = true;
        Ok(())
    }

    /// Has what is under way computed.
    fn start(&mut self) {
        if let Some(background) = &mut self.background {
            background.start(|job| job.prepare(&self.left, &self.right));
        }
    }

    /// Proposes to begin a refresh of the factors of this step, counted from 1 by `at`.
    fn begin(&mut self, step: &Step<'_, A>, at: u64) -> Result<()> {
        let Some(background) = &mut self.background else { return Ok(()) };
        let given = background.given_mut();
        given.time = step.time;
        for (name, side) in [(Side::Left, &self.left), (Side::Right, &self.right)] {
            let source = side.statistic.source(&step.signal, Reading::Moment);
            given.copy(name, &source, side.statistic.correction)?;
        }
        background.propose_begun(at);
        Ok(())
    }

    /// Proposes the bases that were under way, as [`refresh`](Self::refresh) those that it finds.
    fn install(&mut self, next: &mut Progress, observation: &mut Observation) -> Result<()> {
        let Some(background) = &mut self.background else { return Ok(()) };
        let [left, right] = background.finish()?.found();
        let results = [(self.left.adopt(left), true), (self.right.adopt(right), true)];
        let settled = next.settle(&self.config.refresh, results)?;
        background.propose_installed();
        observation.take_refresh(settled.map(|result| result.unwrap_or(Refreshed::FAILED)));
        Ok(())
    }

    /// Proposes factors and, where a refresh is due, bases.
    fn propose(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        Persist::discard(self);
        let signal = &step.signal;
        let gradient = signal.gradient();
        check_shape("gradient", &gradient, self.shape)?;
        let progress = *self.progress.current();
        let mut next = Progress { steps: progress.steps + 1, ..progress };
        let mut observation = Observation::default();
        let refresh = &self.config.refresh;
        let due = match self.config.basis_use {
            BasisUse::Refreshed | BasisUse::PreviousOrIdentity => progress.is_due(refresh),
            BasisUse::Previous => progress.is_due_before(refresh),
        };
        let plan = Plan::new(self.background.as_ref(), &progress, due);
        let is_read = plan.is_at_once || plan.begins || refresh.drift.is_some();
        self.start();
        let reading = if is_read { Reading::Moment } else { Reading::Nothing };
        for side in [Side::Left, Side::Right] {
            let whitened = self.whiten(side, step)?;
            let whitened = whitened.as_ref().map(|whitened| whitened.view());
            let statistic = match side {
                Side::Left => &mut self.left.statistic,
                Side::Right => &mut self.right.statistic,
            };
            statistic.observe(signal, whitened, reading, step.time, &self.pool)?;
        }
        if plan.is_at_once || self.has_drifted(signal)? {
            self.refresh(step, &mut next, &mut observation)?;
        } else if plan.installs {
            self.install(&mut next, &mut observation)?;
        }
        if plan.begins {
            self.begin(step, next.steps)?;
        }
        match self.config.basis_use {
            BasisUse::Refreshed => observation.warming_up = !next.ready,
            BasisUse::Previous => observation.skip = progress.steps == 0,
            BasisUse::PreviousOrIdentity => {}
        }
        if !observation.skip {
            match self.config.turned_moments {
                TurnedMoments::Restarted if self.is_turned() => self.moments.begin_anew(step.time),
                _ => self.moments.begin(step.time),
            }
            if self.config.estimate == DiagonalEstimate::Samples {
                self.check_samples(signal)?;
            }
        }
        observation.scale = Some(self.moments.scale());
        *self.progress.split().1 = next;
        self.progress.propose();
        Ok(observation)
    }
}

/// Replaces an order, of what stood where before, by the exchanges that lead to it: of each place, in turn,
/// with itself or a later one.
fn into_exchanges(order: &mut [usize]) {
    for place in 0..order.len() {
        let mut from = order[place];
        while from < place {
            from = order[from];
        }
        order[place] = from;
    }
}

/// Exchanges rows (axis 0) or columns, without storage.
fn exchange<A>(matrix: &mut Array2<A>, axis: Axis, exchanges: &[usize]) {
    let exchanges = exchanges.iter().enumerate().filter(|&(place, &with)| place != with);
    if axis == Axis(0) {
        for (place, &with) in exchanges {
            let rows = matrix.multi_slice_mut((s![place, ..], s![with, ..]));
            Zip::from(rows.0).and(rows.1).for_each(std::mem::swap);
        }
    } else {
        for mut row in matrix.rows_mut() {
            exchanges.clone().for_each(|(place, &with)| row.swap(place, with));
        }
    }
}

/// Entries are those of the projection here, not of the weight.
fn in_eigenbases(error: OptimError) -> OptimError {
    match error {
        OptimError::Overflow { row, col, value, .. } => {
            let what = "the second moment of the gradient in the eigenbases";
            OptimError::Overflow { what, row, col, value }
        }
        other => other,
    }
}

impl<A: Scalar> Stage<A> for EigenbasisDiagonal<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        let proposed = self.propose(step);
        self.left.statistic.release();
        self.right.statistic.release();
        proposed
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        self.rotate(direction, Rotation::Into)?;
        self.take_in(&direction.view(), step)?;
        self.moments.apply_rotated(self.config.relative_damping.value(step.time), direction);
        self.rotate(direction, Rotation::OutOf)
    }

    fn apply_curvature(
        &mut self,
        change: &mut ArrayViewMut2<'_, A>,
        _step: &Step<'_, A>,
    ) -> Result<bool> {
        if !self.config.models_curvature() {
            return Ok(false);
        }
        check_shape("change", &change.view(), self.shape)?;
        self.rotate(change, Rotation::Into)?;
        self.moments.multiply(change);
        self.rotate(change, Rotation::OutOf)?;
        Ok(true)
    }

    fn commit(&mut self) {
        // v follows the columns' new order; the step itself used the former.
        for (side, axis) in [(&mut self.left, Axis(0)), (&mut self.right, Axis(1))] {
            if let Some(order) = side.new_order() {
                into_exchanges(order);
                for moments in self.moments.arrays_mut() {
                    exchange(moments.latest_mut(), axis, order);
                }
            }
        }
        Persist::commit(self);
        self.start();
    }

    /// `ε` and the relative damping are those of `v`.
    fn set_damping_factor(&mut self, factor: f64) {
        self.moments.set_epsilon_factor(factor);
    }

    fn memory_bytes(&self) -> usize {
        self.left.memory_bytes()
            + self.right.memory_bytes()
            + self.moments.memory_bytes()
            + self.background.as_ref().map_or(0, Background::memory_bytes)
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        Persist::save(self, "", out);
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        Persist::load(self, "", from)?;
        let steps = self.progress.current().steps;
        self.background.as_mut().map_or(Ok(()), |background| background.check_loaded(steps))
    }
}

impl<A: Scalar> Bounded<A> for EigenbasisDiagonal<A> {
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        let stretch = self.left.stretch() * self.right.stretch();
        let squares = match self.config.estimate {
            DiagonalEstimate::Samples => {
                within_limit::<A>(self.largest_square * (stretch * stretch))?;
                self.squares * (stretch * stretch)
            }
            DiagonalEstimate::Direction => (arrives * stretch) * (arrives * stretch),
            DiagonalEstimate::Gradient => {
                (measured.gradient * stretch) * (measured.gradient * stretch)
            }
        };
        // Entries of |U₊ᵀU|² are at most so large, and its rows and columns sum to no more.
        let turn = if self.transports() { stretch.powi(4) } else { 1.0 };
        let is_sign =
            self.config.estimate == DiagonalEstimate::Direction && self.moments.leaves_signs();
        let divided = if is_sign {
            self.moments.bound_moments(squares, turn)?;
            (measured.entries as f64).sqrt()
        } else {
            self.moments.bound(arrives * stretch, squares, turn)?
        };
        within_limit::<A>(divided * stretch)
    }

    fn reserve(&mut self) {
        self.moments.reserve();
    }

    fn needs(&self) -> Needs {
        // The projection of the gradient, and the product between both rotations.
        let mut apply = Needs::arrays(2, self.shape);
        if self.config.turned_moments == TurnedMoments::Transported {
            apply = apply.and(self.left.turn_needs().or(self.right.turn_needs()));
        }
        let mut formed = self.left.statistic.needs().and(self.right.statistic.needs());
        if self.config.whitens() {
            let whitened = self.left.whiten_needs().or(self.right.whiten_needs());
            formed = formed.or(Needs::arrays(2, self.shape).and(whitened));
        }
        let refresh = self.left.needs(&self.config).or(self.right.needs(&self.config));
        formed.and(refresh).or(apply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_lead_to_every_order() {
        // All orders of up to five places, by the digits of their number.
        for n in 0..6_usize {
            for number in 0..n.pow(n as u32) {
                let order: Vec<_> = (0..n as u32).map(|at| number / n.pow(at) % n).collect();
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if sorted.iter().enumerate().any(|(place, &x)| place != x) {
                    continue;
                }
                let before = Array2::from_shape_fn((n, n), |(i, j)| n * i + j);
                let (mut rows, mut columns) = (before.clone(), before.clone());
                let mut exchanges = order.clone();
                into_exchanges(&mut exchanges);
                exchange(&mut rows, Axis(0), &exchanges);
                exchange(&mut columns, Axis(1), &exchanges);
                assert_eq!(rows, before.select(Axis(0), &order), "{order:?}");
                assert_eq!(columns, before.select(Axis(1), &order), "{order:?}");
            }
        }
    }
}
