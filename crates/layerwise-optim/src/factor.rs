//! One side's factor: its statistic, damping and root.

use layerwise_linalg::{
    Cholesky, LinalgError, Ridge, RootOptions, Scalar, SymmetricEigen, gemm, gram,
};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip};
use serde::{Deserialize, Serialize};

use crate::averaging::{AverageClock, AverageWeights, Averaging};
use crate::error::{OptimError, Result, Side};
use crate::finite::{check_finite, check_shape, first_non_finite};
use crate::preconditioner::bytes;
use crate::schedule::{Schedule, check_number};
use crate::signal::{Factor, Signal};
use crate::staged::Staged;

/// What a side's second moment is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Statistic {
    /// Of nothing: the factor is the identity, and its side is left alone but for damping.
    Identity,
    /// Of the gradient: `G Gᵀ` on the left, `GᵀG` on the right (Shampoo, SOAP).
    Gradient,
    /// Of the layer: the signal's output factor on the left, its input factor on the right (KFAC).
    Signal,
}

/// A multiple of the identity added to a (bias-corrected) factor before its root is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Damping {
    /// Nothing.
    None,
    /// `λ I`, `λ` ≥ 0.
    Absolute(Schedule),
    /// `ε λ_max I`, `ε` ≥ 0; needs eigenvalues. Where the factor is zero, as before the first
    /// gradient that is not, its side keeps the root that it had (the identity at first).
    RelativeToLargest(Schedule),
    /// `ε (tr S/n) I`, `ε` ≥ 0; zero factors as above.
    RelativeToTrace(Schedule),
}

/// How `S^{-p}` is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InverseRoot {
    /// `p = 1`, by solves with a Cholesky factor; no inverse is formed. A factor that is not
    /// positive definite is an error.
    Cholesky,
    /// Any `p > 0`, by an eigendecomposition.
    Eigen {
        /// `p`.
        exponent: f64,
        /// `Some(c)`: eigenvalues up to `c` times the largest count as zero, and so do their
        /// roots (the Moore-Penrose root). `None`: a factor that is not positive definite is an
        /// error.
        pseudo_inverse: Option<f64>,
    },
}

impl InverseRoot {
    /// The root by eigendecomposition, of positive definite factors.
    #[must_use]
    pub fn eigen(exponent: f64) -> Self {
        InverseRoot::Eigen { exponent, pseudo_inverse: None }
    }

    pub(crate) fn exponent(&self) -> f64 {
        match self {
            InverseRoot::Cholesky => 1.0,
            InverseRoot::Eigen { exponent, .. } => *exponent,
        }
    }
}

/// One side of a Kronecker-factored preconditioner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactorConfig {
    /// Of what.
    pub statistic: Statistic,
    /// How it remembers.
    pub averaging: Averaging,
    /// What is added to it.
    pub damping: Damping,
    /// Which root is applied.
    pub root: InverseRoot,
}

impl FactorConfig {
    /// A side that is left alone.
    #[must_use]
    pub fn identity() -> Self {
        FactorConfig {
            statistic: Statistic::Identity,
            averaging: Averaging::None,
            damping: Damping::None,
            root: InverseRoot::Cholesky,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.averaging.check("factor.averaging.beta")?;
        match &self.damping {
            Damping::None => {}
            Damping::Absolute(damping)
            | Damping::RelativeToLargest(damping)
            | Damping::RelativeToTrace(damping) => damping.check_non_negative("factor.damping")?,
        }
        match &self.root {
            InverseRoot::Cholesky => {
                if matches!(self.damping, Damping::RelativeToLargest(_)) {
                    return Err(OptimError::Incompatible {
                        first: "damping relative to the largest eigenvalue",
                        second: "a root by Cholesky factor",
                        why: "a Cholesky factor does not know the largest eigenvalue",
                    });
                }
                Ok(())
            }
            InverseRoot::Eigen { exponent, pseudo_inverse } => {
                check_number("factor.root.exponent", *exponent, "finite and > 0", |x| x > 0.0)?;
                match pseudo_inverse {
                    None => Ok(()),
                    Some(cutoff) => {
                        check_number("factor.root.pseudo_inverse", *cutoff, "in [0, 1)", |x| {
                            (0.0..1.0).contains(&x)
                        })
                    }
                }
            }
        }
    }
}

/// A side's second moment as it accumulates.
#[derive(Debug)]
pub(crate) struct FactorStatistic<A> {
    pub(crate) side: Side,
    pub(crate) kind: Statistic,
    dimension: usize,
    averaging: Averaging,
    /// The average; absent without averaging.
    average: Option<Staged<Array2<A>>>,
    /// The latest second moment where it has to be formed without averaging, and a Cholesky
    /// factor without what stands above its diagonal; sized when first needed.
    formed: Array2<A>,
    lower: Array2<A>,
    clock: Staged<AverageClock>,
    /// The divisor of the bias correction at the latest observation.
    pub(crate) correction: f64,
}

/// Where a side's second moment stands after an observation.
pub(crate) enum Source<'s, A> {
    Identity,
    Moment(ArrayView2<'s, A>),
    Cholesky(ArrayView2<'s, A>),
}

impl<A: Scalar> FactorStatistic<A> {
    pub(crate) fn new(
        side: Side,
        kind: Statistic,
        averaging: &Averaging,
        shape: (usize, usize),
    ) -> Self {
        let dimension = match side {
            Side::Left => shape.0,
            Side::Right => shape.1,
        };
        let square = || Array2::zeros((dimension, dimension));
        let is_averaged = kind != Statistic::Identity && *averaging != Averaging::None;
        let is_formed = kind == Statistic::Gradient && !is_averaged;
        FactorStatistic {
            side,
            kind,
            dimension,
            averaging: averaging.clone(),
            average: is_averaged.then(|| Staged::twice(square())),
            formed: if is_formed { square() } else { Array2::zeros((0, 0)) },
            lower: Array2::zeros((0, 0)),
            clock: Staged::twice(AverageClock::start()),
            correction: 1.0,
        }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Takes a signal in. With `keep_cholesky`, a Cholesky factor that is not averaged is left
    /// as it is; else its second moment is formed.
    pub(crate) fn observe(&mut self, signal: &Signal<'_, A>, keep_cholesky: bool) -> Result<()> {
        if self.kind == Statistic::Identity {
            return Ok(());
        }
        let (clock, weights) = self.clock.current().tick(&self.averaging);
        self.correction = weights.correction;
        if self.kind == Statistic::Gradient {
            let gradient = signal.gradient();
            let rows = match self.side {
                Side::Left => gradient,
                Side::Right => gradient.reversed_axes(),
            };
            self.take_gram(rows, A::one(), weights)?;
        } else {
            self.take_factor(signal, weights, keep_cholesky)?;
        }
        if let Some(average) = &mut self.average {
            let next = &average.split().1.view();
            if let Some((row, col, value)) = first_non_finite(next) {
                let what = "a factor's statistic";
                return Err(OptimError::Overflow { what, row, col, value });
            }
            average.propose();
        }
        *self.clock.split().1 = clock;
        self.clock.propose();
        Ok(())
    }

    fn take_factor(
        &mut self,
        signal: &Signal<'_, A>,
        weights: AverageWeights,
        keep_cholesky: bool,
    ) -> Result<()> {
        let factor = signal.factor(self.side)?;
        let what = match self.side {
            Side::Left => "output factor",
            Side::Right => "input factor",
        };
        let array = factor.array();
        let n = self.dimension;
        let samples = array.nrows();
        let expected = match factor {
            Factor::Samples(_) => (samples.max(1), n),
            _ => (n, n),
        };
        check_shape(what, &array, expected)?;
        match factor {
            Factor::Samples(_) => {
                check_finite(what, &array)?;
                self.take_gram(array.reversed_axes(), A::from_f64(1.0 / samples as f64), weights)
            }
            Factor::SecondMoment(_) => {
                check_finite(what, &array)?;
                if let Some(average) = &mut self.average {
                    let (old, new) = (A::from_f64(weights.old), A::from_f64(weights.new));
                    let (current, next) = average.split();
                    Zip::from(next).and(current).and(&array).for_each(|next, &s, &x| {
                        *next = old * s + new * x;
                    });
                }
                Ok(())
            }
            Factor::Cholesky(_) => {
                if keep_cholesky && self.average.is_none() {
                    return Ok(());
                }
                let mut lower = std::mem::replace(&mut self.lower, Array2::zeros((0, 0)));
                if lower.dim() != (n, n) {
                    lower = Array2::zeros((n, n));
                }
                Zip::indexed(&mut lower).and(&array).for_each(|(row, col), lower, &x| {
                    *lower = if col <= row { x } else { A::zero() };
                });
                let result = check_finite(what, &lower.view())
                    .and_then(|()| self.take_gram(lower.view(), A::one(), weights));
                self.lower = lower;
                result
            }
        }
    }

    /// Takes `scale · rows rowsᵀ` in.
    fn take_gram(
        &mut self,
        rows: ArrayView2<'_, A>,
        scale: A,
        weights: AverageWeights,
    ) -> Result<()> {
        let side = self.side;
        let wrap = |source| OptimError::Factor { side, source };
        match &mut self.average {
            Some(average) => {
                let (current, next) = average.split();
                next.assign(current);
                gram(
                    scale * A::from_f64(weights.new),
                    rows,
                    A::from_f64(weights.old),
                    &mut next.view_mut(),
                )
                .map_err(wrap)
            }
            None => {
                if self.formed.dim() != (self.dimension, self.dimension) {
                    self.formed = Array2::zeros((self.dimension, self.dimension));
                }
                gram(scale, rows, A::zero(), &mut self.formed.view_mut()).map_err(wrap)
            }
        }
    }

    /// The second moment after the latest observation, which was of this signal. It has still to
    /// be divided by the bias correction.
    pub(crate) fn source<'s>(
        &'s self,
        signal: &'s Signal<'_, A>,
        keep_cholesky: bool,
    ) -> Source<'s, A> {
        if self.kind == Statistic::Identity {
            return Source::Identity;
        }
        if let Some(average) = &self.average {
            return Source::Moment(average.latest().view());
        }
        if self.kind == Statistic::Signal {
            match signal.factor(self.side) {
                Ok(Factor::SecondMoment(moment)) => return Source::Moment(moment.reborrow()),
                Ok(Factor::Cholesky(lower)) if keep_cholesky => {
                    return Source::Cholesky(lower.reborrow());
                }
                _ => {}
            }
        }
        Source::Moment(self.formed.view())
    }

    pub(crate) fn discard(&mut self) {
        if let Some(average) = &mut self.average {
            average.discard();
        }
        self.clock.discard();
    }

    pub(crate) fn commit(&mut self) {
        if let Some(average) = &mut self.average {
            average.commit();
        }
        self.clock.commit();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let average = if self.average.is_some() { 2 } else { 0 };
        average * bytes::<A>((self.dimension, self.dimension))
            + bytes::<A>(self.formed.dim())
            + bytes::<A>(self.lower.dim())
    }
}

/// The damped inverse root of one side.
#[derive(Debug)]
pub(crate) struct FactorRoot<A> {
    side: Side,
    config: InverseRoot,
    kind: RootKind<A>,
    /// What the root below has still to be multiplied by.
    scale: Staged<A>,
}

#[derive(Debug)]
enum RootKind<A> {
    /// Of the identity: a number, which is the scale.
    Scalar,
    Cholesky(Staged<Cholesky<A>>),
    Eigen {
        eigen: SymmetricEigen<A>,
        root: Staged<Array2<A>>,
    },
}

impl<A: Scalar> FactorRoot<A> {
    pub(crate) fn new(config: &FactorConfig, statistic: &FactorStatistic<A>) -> Self {
        let n = statistic.dimension();
        let kind = match (statistic.kind, &config.root) {
            (Statistic::Identity, _) => RootKind::Scalar,
            (_, InverseRoot::Cholesky) => RootKind::Cholesky(Staged::new(
                Cholesky::with_dimension(n),
                Cholesky::with_dimension(n),
            )),
            (_, InverseRoot::Eigen { .. }) => RootKind::Eigen {
                eigen: SymmetricEigen::with_dimension(n),
                root: Staged::twice(Array2::eye(n)),
            },
        };
        FactorRoot {
            side: statistic.side,
            config: config.root.clone(),
            kind,
            scale: Staged::twice(A::one()),
        }
    }

    /// Whether a Cholesky factor can be taken as it is.
    pub(crate) fn keeps_cholesky(&self, damping: ResolvedDamping) -> bool {
        matches!(self.kind, RootKind::Cholesky(_)) && damping == ResolvedDamping::None
    }

    /// Proposes the root of `source/correction + damping`; returns its condition number.
    pub(crate) fn refresh(
        &mut self,
        source: &Source<'_, A>,
        correction: f64,
        damping: ResolvedDamping,
    ) -> std::result::Result<Option<f64>, LinalgError> {
        if let Source::Moment(moment) = source
            && damping.is_relative()
            && mean_diagonal(moment) == 0.0
        {
            return Ok(None);
        }
        let exponent = self.config.exponent();
        // (S/c + r I)^{-p} = c^p (S + c r I)^{-p}; a relative ridge does not see c.
        let (scale, condition) = match (&mut self.kind, source) {
            (RootKind::Scalar, _) | (_, Source::Identity) => {
                let damped = 1.0 + damping.on_identity();
                (damped.powf(-exponent), None)
            }
            (RootKind::Cholesky(factor), source) => {
                let (_, next) = factor.split();
                match source {
                    Source::Cholesky(lower) => next.set_lower(*lower)?,
                    Source::Moment(moment) => {
                        let ridge = damping.absolute(moment, correction);
                        next.factor(*moment, A::from_f64(ridge))?;
                    }
                    Source::Identity => {}
                }
                let condition = 1.0 / next.reciprocal_condition().as_f64();
                factor.propose();
                (correction, Some(condition))
            }
            (
                RootKind::Eigen { eigen, root },
                Source::Moment(moment) | Source::Cholesky(moment),
            ) => {
                eigen.decompose(*moment)?;
                let ridge = damping.ridge(correction);
                let pseudo_inverse = match &self.config {
                    InverseRoot::Eigen { pseudo_inverse, .. } => *pseudo_inverse,
                    InverseRoot::Cholesky => None,
                };
                let (_, next) = root.split();
                let options = RootOptions { ridge, pseudo_inverse };
                eigen.inverse_root_into(exponent, &options, &mut next.view_mut())?;
                root.propose();
                let added = damping.absolute_of_spectrum(eigen, moment, correction);
                (correction.powf(exponent), Some(condition_number(eigen, added)))
            }
        };
        *self.scale.split().1 = A::from_f64(scale);
        self.scale.propose();
        Ok(condition)
    }

    /// `D ← P^{-p} D` or `D ← D Q^{-q}`; `scratch` is as large as `D`.
    pub(crate) fn apply(
        &self,
        direction: &mut ArrayViewMut2<'_, A>,
        scratch: &mut Array2<A>,
    ) -> Result<()> {
        let side = self.side;
        let wrap = |source| OptimError::Factor { side, source };
        let scale = *self.scale.latest();
        match &self.kind {
            RootKind::Scalar => {}
            RootKind::Cholesky(factor) => match self.side {
                Side::Left => factor.latest().solve_left(direction).map_err(wrap)?,
                Side::Right => factor.latest().solve_right(direction).map_err(wrap)?,
            },
            RootKind::Eigen { root, .. } => {
                scratch.assign(direction);
                let root = root.latest().view();
                let (a, b) = match self.side {
                    Side::Left => (root, scratch.view()),
                    Side::Right => (scratch.view(), root),
                };
                return gemm(scale, a, b, A::zero(), direction).map_err(wrap);
            }
        }
        if scale != A::one() {
            direction.mapv_inplace(|x| x * scale);
        }
        Ok(())
    }

    pub(crate) fn discard(&mut self) {
        match &mut self.kind {
            RootKind::Scalar => {}
            RootKind::Cholesky(factor) => factor.discard(),
            RootKind::Eigen { root, .. } => root.discard(),
        }
        self.scale.discard();
    }

    pub(crate) fn commit(&mut self) {
        match &mut self.kind {
            RootKind::Scalar => {}
            RootKind::Cholesky(factor) => factor.commit(),
            RootKind::Eigen { root, .. } => root.commit(),
        }
        self.scale.commit();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.kind {
            RootKind::Scalar => 0,
            RootKind::Cholesky(factor) => {
                let n = factor.current().dimension();
                4 * bytes::<A>((n, n))
            }
            RootKind::Eigen { root, .. } => 6 * bytes::<A>(root.current().dim()),
        }
    }
}

/// A damping at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ResolvedDamping {
    None,
    Absolute(f64),
    RelativeToLargest(f64),
    RelativeToTrace(f64),
}

impl ResolvedDamping {
    pub(crate) fn at(damping: &Damping, step: u64) -> Self {
        let resolved = match damping {
            Damping::None => ResolvedDamping::None,
            Damping::Absolute(x) => ResolvedDamping::Absolute(x.value(step)),
            Damping::RelativeToLargest(x) => ResolvedDamping::RelativeToLargest(x.value(step)),
            Damping::RelativeToTrace(x) => ResolvedDamping::RelativeToTrace(x.value(step)),
        };
        match resolved {
            ResolvedDamping::Absolute(x)
            | ResolvedDamping::RelativeToLargest(x)
            | ResolvedDamping::RelativeToTrace(x)
                if x == 0.0 =>
            {
                ResolvedDamping::None
            }
            other => other,
        }
    }

    fn is_relative(self) -> bool {
        matches!(self, ResolvedDamping::RelativeToLargest(_) | ResolvedDamping::RelativeToTrace(_))
    }

    /// On the identity, largest eigenvalue and mean trace are one.
    fn on_identity(self) -> f64 {
        match self {
            ResolvedDamping::None => 0.0,
            ResolvedDamping::Absolute(x)
            | ResolvedDamping::RelativeToLargest(x)
            | ResolvedDamping::RelativeToTrace(x) => x,
        }
    }

    /// What is added to the moment before it is divided by the correction. The relation to the
    /// largest eigenvalue is refused at build where there are none.
    fn absolute<A: Scalar>(self, moment: &ArrayView2<A>, correction: f64) -> f64 {
        match self {
            ResolvedDamping::None | ResolvedDamping::RelativeToLargest(_) => 0.0,
            ResolvedDamping::Absolute(x) => x * correction,
            ResolvedDamping::RelativeToTrace(x) => x * mean_diagonal(moment),
        }
    }

    fn absolute_of_spectrum<A: Scalar>(
        self,
        eigen: &SymmetricEigen<A>,
        moment: &ArrayView2<A>,
        correction: f64,
    ) -> f64 {
        match self {
            ResolvedDamping::RelativeToLargest(x) => {
                x * eigen.values().last().map_or(0.0, |x| x.as_f64())
            }
            other => other.absolute(moment, correction),
        }
    }

    fn ridge(self, correction: f64) -> Ridge {
        match self {
            ResolvedDamping::None => Ridge::None,
            ResolvedDamping::Absolute(x) => Ridge::Absolute(x * correction),
            ResolvedDamping::RelativeToLargest(x) => Ridge::RelativeToLargest(x),
            ResolvedDamping::RelativeToTrace(x) => Ridge::RelativeToTrace(x),
        }
    }
}

/// `tr S/n`.
pub(crate) fn mean_diagonal<A: Scalar>(moment: &ArrayView2<A>) -> f64 {
    let trace: f64 = moment.diag().iter().map(|x| x.as_f64()).sum();
    trace / moment.nrows() as f64
}

fn condition_number<A: Scalar>(eigen: &SymmetricEigen<A>, ridge: f64) -> f64 {
    let values = eigen.values();
    let at = |x: Option<&A>| x.map_or(0.0, |x| x.as_f64()) + ridge;
    let (least, largest) = (at(values.first()), at(values.last()));
    if least > 0.0 { largest / least } else { f64::INFINITY }
}
