//! Products with roots of a left and a right factor: KFAC, Shampoo, and one-sided relatives.

mod damping;
mod job;
mod joint;
mod root;

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::damping::JointDamping;
use crate::config::factor::FactorConfig;
use crate::config::kronecker::KroneckerConfig;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::{check_shape, divide_by_root_of_size, within_limit};
use crate::numeric::pool::{Needs, Pool};
use crate::numeric::sides::multiply_sides;
use crate::signal::Signal;
use crate::stage::{Observation, Stage, Step};
use crate::stages::background::{Background, Plan};
use crate::stages::bounded::{Bounded, Measured};
use crate::stages::drift::{self, drift};
use crate::stages::kronecker::damping::{ResolvedDamping, mean_diagonal};
use crate::stages::kronecker::job::{Dampings, RootJob, background};
use crate::stages::kronecker::joint::JointRoots;
use crate::stages::kronecker::root::FactorRoot;
use crate::stages::refresh::{Progress, Refreshed};
use crate::state::persist::{Persist, persist};
use crate::state::staged::Staged;
use crate::statistics::factor::{FactorStatistic, Reading, Source};
use crate::values::{StateReader, StateWriter};

/// `P^{-p} D Q^{-q}`, with the factors' statistics and roots.
#[derive(Debug)]
pub(crate) struct Kronecker<A> {
    config: KroneckerConfig,
    shape: (usize, usize),
    left: FactorStatistic<A>,
    right: FactorStatistic<A>,
    roots: Roots<A>,
    /// Where roots are used with a staleness.
    background: Option<Background<A, RootJob<A>, Dampings>>,
    /// What dampings are multiplied by, and what they were when roots were last made, or tried to be.
    damping_factor: f64,
    tried_factor: Staged<f64>,
    /// The curvature is asked for at each step.
    gives_curvature: bool,
    progress: Staged<Progress>,
    pool: Pool<A>,
}

#[derive(Debug)]
enum Roots<A> {
    Separate { left: Box<FactorRoot<A>>, right: Box<FactorRoot<A>> },
    Joint(Box<JointRoots<A>>),
}

persist!(Kronecker<A> { left, right, roots, background, progress, tried_factor });
persist!(enum Roots<A> { Separate { left, right }, Joint(joint) });

impl<A: Scalar> Kronecker<A> {
    /// For weights of this shape. Where the step `predicts`, factors are at hand at each step, not their
    /// Cholesky factors alone.
    ///
    /// # Errors
    ///
    /// Factors that are too large.
    pub(crate) fn new(
        config: &KroneckerConfig,
        shape: (usize, usize),
        predicts: bool,
        pool: &Pool<A>,
    ) -> Result<Self> {
        let statistic = |side, factor: &FactorConfig| {
            FactorStatistic::new(side, factor.statistic, &factor.averaging, shape)
        };
        let left = statistic(Side::Left, &config.left)?;
        let right = statistic(Side::Right, &config.right)?;
        let watches_drift = config.refresh.drift.is_some();
        let root = |config: &FactorConfig, statistic: &FactorStatistic<A>| {
            Box::new(FactorRoot::new(config, statistic, watches_drift))
        };
        let roots = match &config.damping {
            JointDamping::Exact(damping) => {
                Roots::Joint(Box::new(JointRoots::new(damping, &left, &right)))
            }
            JointDamping::None | JointDamping::FactoredTikhonov(_) => Roots::Separate {
                left: root(&config.left, &left),
                right: root(&config.right, &right),
            },
        };
        Ok(Kronecker {
            config: config.clone(),
            shape,
            background: background(config, &left, &right),
            left,
            right,
            roots,
            damping_factor: 1.0,
            tried_factor: Staged::twice(1.0),
            gives_curvature: predicts && config.models_curvature(),
            progress: Staged::twice(Progress::default()),
            pool: pool.clone(),
        })
    }

    /// Takes a signal in on one side. The other's root is still that from before the step.
    fn observe_side(&mut self, side: Side, step: &Step<'_, A>, reading: Reading) -> Result<()> {
        let signal = &step.signal;
        let (own, other) = match (&mut self.roots, side) {
            (Roots::Separate { right, .. }, Side::Left) => (&mut self.left, Some(right)),
            (Roots::Separate { left, .. }, Side::Right) => (&mut self.right, Some(left)),
            (Roots::Joint(_), Side::Left) => (&mut self.left, None),
            (Roots::Joint(_), Side::Right) => (&mut self.right, None),
        };
        if let (Some(root), Statistic::Whitened { .. }) = (other, own.kind)
            && !own.forgets(reading)
        {
            let mut whitened = self.pool.array(self.shape);
            whitened.assign(&signal.gradient());
            root.apply(&mut whitened.view_mut(), &self.pool)?;
            if own.kind == (Statistic::Whitened { normalized: true }) && !root.is_made() {
                divide_by_root_of_size(&mut whitened)?;
            }
            return own.observe(signal, Some(whitened.view()), reading, step.time, &self.pool);
        }
        own.observe(signal, None, reading, step.time, &self.pool)
    }

    /// Whether a factor has turned away from the eigenvectors that its root was made of.
    fn has_drifted(&self, signal: &Signal<'_, A>) -> Result<bool> {
        let Some(threshold) = self.config.refresh.drift else { return Ok(false) };
        if !self.progress.current().ready {
            return Ok(false);
        }
        let bases = match &self.roots {
            Roots::Separate { left, right } => (left.basis(), right.basis()),
            Roots::Joint(joint) => joint.bases(),
        };
        for (statistic, basis) in [(&self.left, bases.0), (&self.right, bases.1)] {
            if let (Some(basis), Source::Moment(moment)) =
                (basis, statistic.source(signal, Reading::Moment))
                && drift(basis, moment, &self.pool)? > threshold
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The damping of each side. π needs the statistics of this step.
    fn damping(&self, signal: &Signal<'_, A>, time: u64) -> (ResolvedDamping, ResolvedDamping) {
        match &self.config.damping {
            JointDamping::FactoredTikhonov(damping) => {
                let root = (damping.value(time) * self.damping_factor).sqrt();
                if root == 0.0 {
                    return (ResolvedDamping::None, ResolvedDamping::None);
                }
                let mean = |statistic: &FactorStatistic<A>| match statistic
                    .source(signal, Reading::Moment)
                {
                    Source::Moment(moment) => mean_diagonal(&moment) / statistic.correction,
                    _ => 1.0,
                };
                let pi = (mean(&self.right) / mean(&self.left)).sqrt();
                let pi = if pi.is_finite() && pi > 0.0 { pi } else { 1.0 };
                (ResolvedDamping::Absolute(root / pi), ResolvedDamping::Absolute(root * pi))
            }
            JointDamping::None | JointDamping::Exact(_) => (
                ResolvedDamping::at(&self.config.left.damping, time).times(self.damping_factor),
                ResolvedDamping::at(&self.config.right.damping, time).times(self.damping_factor),
            ),
        }
    }

    /// What of this step's observation is read on each side, where a refresh is due or not.
    fn readings(&self, time: u64, due: bool) -> (Reading, Reading) {
        if self.config.refresh.drift.is_some() || self.gives_curvature {
            return (Reading::Moment, Reading::Moment);
        }
        if !due {
            return (Reading::Nothing, Reading::Nothing);
        }
        let Roots::Separate { left, right } = &self.roots else {
            return (Reading::Moment, Reading::Moment);
        };
        match &self.config.damping {
            JointDamping::FactoredTikhonov(damping) if damping.value(time) > 0.0 => {
                (Reading::Moment, Reading::Moment)
            }
            _ => (
                left.reading(ResolvedDamping::at(&self.config.left.damping, time)),
                right.reading(ResolvedDamping::at(&self.config.right.damping, time)),
            ),
        }
    }

    /// Proposes new roots, left and right. A side where that fails keeps the root that it had, if that
    /// is tolerated.
    fn refresh(
        &mut self,
        step: &Step<'_, A>,
        readings: (Reading, Reading),
        next: &mut Progress,
    ) -> Result<[Refreshed; 2]> {
        let (signal, time) = (&step.signal, step.time);
        let damping = self.damping(signal, time);
        let source = (self.left.source(signal, readings.0), self.right.source(signal, readings.1));
        let correction = (self.left.correction, self.right.correction);
        let wrap = |side| move |source| OptimError::Factor { side, source };
        let (config, pool) = (&self.config.refresh, &self.pool);
        match &mut self.roots {
            Roots::Separate { left, right } => {
                let made = [left.is_made(), right.is_made()];
                let results = [
                    left.refresh(&source.0, correction.0, damping.0, time, pool)
                        .map_err(wrap(Side::Left)),
                    right
                        .refresh(&source.1, correction.1, damping.1, time, pool)
                        .map_err(wrap(Side::Right)),
                ];
                let [first, second] = results;
                let results = [(first, made[0]), (second, made[1])];
                let settled = next.settle(config, results)?;
                for (root, result) in [left, right].into_iter().zip(&settled) {
                    if result.is_none() {
                        root.discard();
                    }
                }
                Ok(settled.map(|result| result.unwrap_or(Refreshed::FAILED)))
            }
            Roots::Joint(joint) => {
                let factor = self.damping_factor;
                let result = joint.refresh(source, correction, time, factor, pool);
                let [condition] = next.settle(config, [(result, next.ready)])?;
                let refreshed = match condition {
                    Some(condition) => Refreshed::made(Some(condition), false),
                    None => {
                        joint.discard();
                        Refreshed::FAILED
                    }
                };
                Ok([refreshed; 2])
            }
        }
    }

    /// Has what is under way computed.
    fn start(&mut self) {
        if let (Some(background), Roots::Separate { left, right }) =
            (&mut self.background, &self.roots)
        {
            background.start(|job| job.prepare(left, right));
        }
    }

    /// Proposes to begin a refresh of the factors of this step, counted from 1 by `at`.
    fn begin(&mut self, step: &Step<'_, A>, readings: (Reading, Reading), at: u64) -> Result<()> {
        let signal = &step.signal;
        let dampings = Dampings::checked(self.damping(signal, step.time))?;
        let Some(background) = &mut self.background else { return Ok(()) };
        let given = background.given_mut();
        given.time = step.time;
        given.told = dampings;
        for (side, statistic, reading) in
            [(Side::Left, &self.left, readings.0), (Side::Right, &self.right, readings.1)]
        {
            given.copy(side, &statistic.source(signal, reading), statistic.correction)?;
        }
        background.propose_begun(at);
        Ok(())
    }

    /// Proposes the roots that were under way, as [`refresh`](Self::refresh) those that it makes.
    fn install(&mut self, next: &mut Progress) -> Result<[Refreshed; 2]> {
        let (Some(background), Roots::Separate { left, right }) =
            (&mut self.background, &mut self.roots)
        else {
            return Ok([Refreshed::default(); 2]);
        };
        let made = background.finish()?.made();
        let results = [(Side::Left, &mut **left, made[0]), (Side::Right, &mut **right, made[1])]
            .map(|(side, root, made)| {
                let has_former = root.is_made();
                let result = made.result.clone().and_then(|refreshed| {
                    root.adopt(&made.root)?;
                    Ok(refreshed)
                });
                (result.map_err(|source| OptimError::Factor { side, source }), has_former)
            });
        let settled = next.settle(&self.config.refresh, results)?;
        background.propose_installed();
        Ok(settled.map(|result| result.unwrap_or(Refreshed::FAILED)))
    }

    /// Proposes statistics and, where a refresh is due, roots.
    fn propose(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        Persist::discard(self);
        let signal = &step.signal;
        check_shape("gradient", &signal.gradient(), self.shape)?;
        let progress = *self.progress.current();
        let is_adapted = progress.ready && *self.tried_factor.current() != self.damping_factor;
        let due = is_adapted || progress.is_due(&self.config.refresh);
        let plan = Plan::new(self.background.as_ref(), &progress, due);
        self.start();
        let readings = self.readings(step.time, plan.is_at_once || plan.begins);
        self.observe_side(Side::Left, step, readings.0)?;
        self.observe_side(Side::Right, step, readings.1)?;
        let mut observation = Observation::default();
        let mut next = Progress { steps: progress.steps + 1, ..progress };
        let refreshed = if plan.is_at_once || self.has_drifted(signal)? {
            Some(self.refresh(step, readings, &mut next)?)
        } else if plan.installs {
            Some(self.install(&mut next)?)
        } else {
            None
        };
        if plan.begins {
            self.begin(step, readings, next.steps)?;
        }
        if let Some(refreshed) = refreshed {
            observation.take_refresh(refreshed);
            next.ready |= observation.refreshed;
            *self.tried_factor.split().1 = self.damping_factor;
            self.tried_factor.propose();
        }
        observation.warming_up = !next.ready;
        *self.progress.split().1 = next;
        self.progress.propose();
        Ok(observation)
    }
}

impl<A: Scalar> Stage<A> for Kronecker<A> {
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        let proposed = self.propose(step);
        if !self.gives_curvature {
            self.left.release();
            self.right.release();
        }
        proposed
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        check_shape("direction", &direction.view(), self.shape)?;
        if !self.progress.latest().ready {
            return Ok(());
        }
        match &self.roots {
            Roots::Separate { left, right } => {
                let formed = (left.formed(), right.formed());
                if formed.0.is_some() && formed.1.is_some() {
                    return Ok(multiply_sides(formed.0, formed.1, direction, &self.pool)?);
                }
                left.apply(direction, &self.pool)?;
                right.apply(direction, &self.pool)
            }
            Roots::Joint(joint) => Ok(joint.apply(direction, &self.pool)?),
        }
    }

    fn apply_curvature(
        &mut self,
        change: &mut ArrayViewMut2<'_, A>,
        step: &Step<'_, A>,
    ) -> Result<bool> {
        if !self.gives_curvature {
            return Ok(false);
        }
        check_shape("change", &change.view(), self.shape)?;
        let (left, right) = (
            self.left.source(&step.signal, Reading::Moment),
            self.right.source(&step.signal, Reading::Moment),
        );
        let scaled = |source, correction: f64| match source {
            Source::Moment(moment) => Some((A::from_f64(1.0 / correction), moment)),
            Source::Identity | Source::Cholesky(_) => None,
        };
        let left = scaled(left, self.left.correction);
        let right = scaled(right, self.right.correction);
        multiply_sides(left, right, change, &self.pool)?;
        Ok(true)
    }

    fn commit(&mut self) {
        Persist::commit(self);
        self.start();
    }

    fn set_damping_factor(&mut self, factor: f64) {
        self.damping_factor = factor;
    }

    fn memory_bytes(&self) -> usize {
        self.left.memory_bytes()
            + self.right.memory_bytes()
            + match &self.roots {
                Roots::Separate { left, right } => left.memory_bytes() + right.memory_bytes(),
                Roots::Joint(joint) => joint.memory_bytes(),
            }
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

impl<A: Scalar> Bounded<A> for Kronecker<A> {
    fn bound(&mut self, arrives: f64, _measured: &Measured) -> Option<f64> {
        let Roots::Separate { left, right } = &mut self.roots else { return None };
        let (left, right) = (left.norm()?, right.norm()?);
        if !self.progress.latest().ready {
            return Some(arrives);
        }
        within_limit::<A>(within_limit::<A>(arrives * left)? * right)
    }

    fn needs(&self) -> Needs {
        let (roots, forms) = match &self.roots {
            Roots::Separate { left, right } => {
                (left.needs().or(right.needs()), left.formed().or(right.formed()).is_some())
            }
            Roots::Joint(joint) => (joint.needs(), true),
        };
        let turned = |statistic: &FactorStatistic<A>| match self.config.refresh.drift {
            Some(_) if statistic.kind != Statistic::None => drift::needs(statistic.dimension()),
            _ => Needs::default(),
        };
        // The whitened gradient, and the product between both sides.
        let arrays =
            usize::from(self.config.whitens()) + usize::from(forms || self.gives_curvature);
        let formed = self.left.needs().and(self.right.needs());
        let refresh = roots.or(turned(&self.left)).or(turned(&self.right));
        formed.and(refresh.or(Needs::arrays(arrays, self.shape)))
    }
}
