//! The damped inverse root of one side.

use layerwise_linalg::{
    Cholesky, CoupledNewton, CoupledNewtonWorkspace, Cutoff, LinalgError, RootOptions, Scalar,
    SymmetricEigen,
};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::basis::BasisMethod;
use crate::config::factor::FactorConfig;
use crate::config::root::RootMethod;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::{bytes, frobenius_norm};
use crate::numeric::pool::{Needs, Pool};
use crate::numeric::sides::{Multiplier, multiply_sides};
use crate::stages::eigenvectors::Eigenvectors;
use crate::stages::kronecker::damping::{ResolvedDamping, is_negligible, mean_diagonal};
use crate::stages::refresh::Refreshed;
use crate::state::persist::{Persist, check_loaded_symmetric, check_orthonormal, join, persist};
use crate::state::staged::Staged;
use crate::statistics::factor::{FactorStatistic, Reading, Source};
use crate::values::{StateReader, StateWriter};

/// The damped inverse root of one side.
#[derive(Debug)]
pub(crate) struct FactorRoot<A> {
    side: Side,
    dimension: usize,
    exponent: f64,
    pseudo_inverse: Option<Cutoff>,
    basis_method: BasisMethod,
    trace_scaling: f64,
    kind: RootKind<A>,
    /// What the root below has still to be multiplied by.
    scale: Staged<A>,
    /// It is a root of a factor, not the identity of the start.
    made: Staged<bool>,
    /// A bound of its norm, where it has been asked for since the latest refresh.
    norm: Option<f64>,
}

#[derive(Debug)]
enum RootKind<A> {
    /// Of the identity: a number, which is the scale.
    Scalar,
    Cholesky {
        cholesky: Staged<Cholesky<A>>,
    },
    Inverse {
        root: Staged<Array2<A>>,
    },
    /// Formed, by an eigendecomposition, or by an iteration where there is one.
    Formed {
        finder: Box<Eigenvectors<A>>,
        newton: Option<CoupledNewton>,
        root: Staged<Array2<A>>,
        /// The eigenvectors that the root was made of, where later ones are found from them, or their
        /// drift is watched.
        basis: Option<Staged<Array2<A>>>,
    },
}

persist!(enum RootKind<A> {
    Scalar,
    Cholesky { cholesky },
    Inverse { root },
    Formed { root, basis },
} checked by check_loaded);

impl<A: Scalar> RootKind<A> {
    fn check_loaded(&self, path: &str) -> Result<()> {
        if let RootKind::Inverse { root, .. } | RootKind::Formed { root, .. } = self {
            check_loaded_symmetric(&join(path, "root"), root.current().view())?;
        }
        match self {
            RootKind::Formed { basis: Some(basis), .. } => {
                check_orthonormal(&join(path, "basis"), basis.current().view())
            }
            _ => Ok(()),
        }
    }
}

impl<A: Scalar> Persist<A> for FactorRoot<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.kind.save(path, out);
        out.number(&join(path, "scale"), self.scale.current().as_f64());
        self.made.save(&join(path, "made"), out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.kind.load(path, from)?;
        let scale = from.number(&join(path, "scale"))?;
        self.scale = Staged::twice(A::from_f64(scale));
        self.norm = None;
        self.made.load(&join(path, "made"), from)
    }

    fn discard(&mut self) {
        if self.scale.is_proposed() {
            self.norm = None;
        }
        self.kind.discard();
        self.scale.discard();
        self.made.discard();
    }

    fn commit(&mut self) {
        self.kind.commit();
        self.scale.commit();
        self.made.commit();
    }
}

impl<A: Scalar> FactorRoot<A> {
    pub(crate) fn new(
        config: &FactorConfig,
        statistic: &FactorStatistic<A>,
        watches_drift: bool,
    ) -> Self {
        let n = statistic.dimension();
        let (pseudo_inverse, basis_method) = match &config.root {
            RootMethod::Eigen { pseudo_inverse, basis } => (*pseudo_inverse, basis.clone()),
            _ => (None, BasisMethod::default()),
        };
        let kind = match (statistic.kind, &config.root) {
            (Statistic::None, _) => RootKind::Scalar,
            (_, RootMethod::Cholesky) => RootKind::Cholesky {
                cholesky: Staged::new(Cholesky::with_dimension(n), Cholesky::with_dimension(n)),
            },
            (_, RootMethod::Inverse) => RootKind::Inverse { root: Staged::twice(Array2::eye(n)) },
            (_, root) => RootKind::Formed {
                finder: Box::new(Eigenvectors::new(n, &basis_method, basis_method.order())),
                newton: coupled(root, config.exponent),
                root: Staged::twice(Array2::eye(n)),
                basis: (watches_drift || basis_method != BasisMethod::default())
                    .then(|| Staged::twice(Array2::eye(n))),
            },
        };
        FactorRoot {
            side: statistic.side,
            dimension: n,
            exponent: config.exponent,
            pseudo_inverse: pseudo_inverse.map(Into::into),
            basis_method,
            trace_scaling: config.trace_scaling,
            made: Staged::twice(matches!(kind, RootKind::Scalar)),
            kind,
            scale: Staged::twice(A::one()),
            norm: None,
        }
    }

    /// Whether it is more than the identity of the start: it was made of a factor, or there is none.
    pub(crate) fn is_made(&self) -> bool {
        *self.made.current()
    }

    /// What a refresh reads: a Cholesky factor can be taken as it is where nothing is added to it.
    pub(crate) fn reading(&self, damping: ResolvedDamping) -> Reading {
        let takes_cholesky =
            matches!(self.kind, RootKind::Cholesky { .. } | RootKind::Inverse { .. })
                && damping == ResolvedDamping::None
                && self.trace_scaling == 0.0;
        if takes_cholesky { Reading::Either } else { Reading::Moment }
    }

    /// Proposes the root of `source/correction + damping`. A damping relative to a factor that does not make it
    /// positive definite is raised tenfold, up to [`MOST_RAISES`] times.
    pub(crate) fn refresh(
        &mut self,
        source: &Source<'_, A>,
        correction: f64,
        damping: ResolvedDamping,
        step: u64,
        pool: &Pool<A>,
    ) -> std::result::Result<Refreshed, LinalgError> {
        let damping = damping.within_precision::<A>(self.dimension);
        let mut refreshed = self.propose(source, correction, damping, step, pool);
        let mut raised = damping;
        for _ in 0..MOST_RAISES {
            if !(damping.is_relative() && refreshed.as_ref().is_err_and(is_indefinite)) {
                break;
            }
            raised = raised.times(10.0);
            refreshed = self.propose(source, correction, raised, step, pool);
        }
        let fell_back = raised != damping;
        refreshed
            .map(|refreshed| Refreshed { fell_back: refreshed.fell_back || fell_back, ..refreshed })
    }

    fn propose(
        &mut self,
        source: &Source<'_, A>,
        correction: f64,
        damping: ResolvedDamping,
        step: u64,
        pool: &Pool<A>,
    ) -> std::result::Result<Refreshed, LinalgError> {
        if let Source::Moment(moment) = source
            && damping.is_relative()
            && is_negligible(moment)
        {
            return Ok(Refreshed { made: Some(false), ..Refreshed::default() });
        }
        // tr(S/c)^{-a} S/c = S/c' with c' = c tr(S/c)^a.
        let correction = match source {
            Source::Moment(moment) if self.trace_scaling > 0.0 => {
                let trace = mean_diagonal(moment) * moment.nrows() as f64 / correction;
                let scaled = correction * trace.powf(self.trace_scaling);
                if scaled.is_finite() && scaled > 0.0 { scaled } else { correction }
            }
            _ => correction,
        };
        let exponent = self.exponent;
        // (S/c + r I)^{-p} = c^p (S + c r I)^{-p}; a relative ridge does not see c.
        let (scale, refreshed) = match (&mut self.kind, source) {
            (RootKind::Scalar, _) | (_, Source::Identity) => {
                let damped = 1.0 + damping.on_identity();
                (damped.powf(-exponent), Refreshed::default())
            }
            (RootKind::Cholesky { cholesky }, source) => {
                let condition = refactor(cholesky.split().1, source, damping, correction)?;
                cholesky.propose();
                (correction, Refreshed::made(Some(condition), false))
            }
            (RootKind::Inverse { root }, source) => {
                let (_, next) = root.split();
                let shape = next.dim();
                let condition = pool.with(shape, |cholesky: &mut Cholesky<A>| {
                    let condition = refactor(cholesky, source, damping, correction)?;
                    cholesky.inverse_into(&mut next.view_mut()).map(|()| condition)
                })?;
                root.propose();
                (correction, Refreshed::made(Some(condition), false))
            }
            (
                RootKind::Formed { finder, newton, root, basis },
                Source::Moment(moment) | Source::Cholesky(moment),
            ) => {
                let scale = correction.powf(exponent);
                if let Some(newton) = newton {
                    let ridge = damping.absolute(moment, correction);
                    let (_, next) = root.split();
                    let take_root = |work: &mut CoupledNewtonWorkspace<A>| {
                        newton.inverse_root_into(*moment, ridge, work, &mut next.view_mut())
                    };
                    match pool.with(moment.dim(), take_root) {
                        Ok(_) => {
                            let condition = least_condition(moment, ridge, next, exponent);
                            root.propose();
                            self.propose_scale(scale);
                            return Ok(Refreshed::made(Some(condition), false));
                        }
                        Err(LinalgError::NoConvergence { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                let fell_back = newton.is_some();
                let pseudo_inverse = self
                    .pseudo_inverse
                    .map(|cutoff| Cutoff { absolute: cutoff.absolute * correction, ..cutoff });
                let ridge = damping.ridge(moment, correction);
                let options = RootOptions { ridge, pseudo_inverse };
                let method = &self.basis_method;
                let condition = pool.with(moment.dim(), |eigen: &mut SymmetricEigen<A>| {
                    match basis {
                        None => eigen.decompose(*moment)?,
                        Some(basis) => {
                            let given = (*moment, correction);
                            finder.find(method, step, given, basis.split(), eigen, pool)?;
                            basis.propose();
                        }
                    }
                    let (_, next) = root.split();
                    eigen.inverse_root_into(exponent, &options, &mut next.view_mut())?;
                    let added = damping.absolute_of_spectrum(eigen, moment, correction);
                    layerwise_linalg::Result::Ok(condition_number(eigen, added))
                })?;
                root.propose();
                (scale, Refreshed::made(Some(condition), fell_back))
            }
        };
        self.propose_scale(scale);
        Ok(refreshed)
    }

    /// Takes over the eigenvectors that another one holds, of the same configuration but for drift.
    pub(crate) fn take_basis(&mut self, other: &Self) {
        let RootKind::Formed { basis: Some(basis), .. } = &mut self.kind else { return };
        if let Some(vectors) = other.basis() {
            basis.split().1.assign(&vectors);
            basis.propose();
            basis.commit();
        }
    }

    /// Proposes what is proposed of another one, of the same configuration but for drift.
    pub(crate) fn adopt(&mut self, other: &Self) -> std::result::Result<(), LinalgError> {
        let assign = |own: &mut Staged<Array2<A>>, other: &Staged<Array2<A>>| {
            if other.is_proposed() {
                own.split().1.assign(other.latest());
                own.propose();
            }
        };
        match (&mut self.kind, &other.kind) {
            (RootKind::Cholesky { cholesky }, RootKind::Cholesky { cholesky: other })
                if other.is_proposed() =>
            {
                cholesky.split().1.set_lower(other.latest().lower())?;
                cholesky.propose();
            }
            (RootKind::Inverse { root }, RootKind::Inverse { root: other }) => assign(root, other),
            (
                RootKind::Formed { root, basis, .. },
                RootKind::Formed { root: other, basis: of_other, .. },
            ) => {
                assign(root, other);
                if let (Some(basis), Some(other)) = (basis, of_other) {
                    assign(basis, other);
                }
            }
            _ => {}
        }
        if other.scale.is_proposed() {
            self.propose_scale(other.scale.latest().as_f64());
        }
        Ok(())
    }

    fn propose_scale(&mut self, scale: f64) {
        self.norm = None;
        *self.scale.split().1 = A::from_f64(scale);
        self.scale.propose();
        *self.made.split().1 = true;
        self.made.propose();
    }

    /// The eigenvectors held, where there are any.
    pub(crate) fn basis(&self) -> Option<ArrayView2<'_, A>> {
        match &self.kind {
            RootKind::Formed { basis, .. } => basis.as_ref().map(|basis| basis.current().view()),
            RootKind::Scalar | RootKind::Cholesky { .. } | RootKind::Inverse { .. } => None,
        }
    }

    /// A bound of the norm that a direction is multiplied by; `None` for solves, of which none is known.
    pub(crate) fn norm(&mut self) -> Option<f64> {
        let root = match &self.kind {
            RootKind::Scalar => None,
            RootKind::Cholesky { .. } => return None,
            RootKind::Formed { root, .. } | RootKind::Inverse { root, .. } => Some(root.latest()),
        };
        let scale = self.scale.latest().as_f64().abs();
        let norm = || scale * root.map_or(1.0, |root| frobenius_norm(&root.view()));
        Some(*self.norm.get_or_insert_with(norm))
    }

    /// The root where it is formed, and its scale.
    pub(crate) fn formed(&self) -> Multiplier<'_, A> {
        match &self.kind {
            RootKind::Scalar | RootKind::Cholesky { .. } => None,
            RootKind::Formed { root, .. } | RootKind::Inverse { root, .. } => {
                Some((*self.scale.latest(), root.latest().view()))
            }
        }
    }

    /// `D ← P^{-p} D` or `D ← D Q^{-q}`.
    pub(crate) fn apply(&self, direction: &mut ArrayViewMut2<'_, A>, pool: &Pool<A>) -> Result<()> {
        let side = self.side;
        let wrap = |source| OptimError::Factor { side, source };
        match &self.kind {
            RootKind::Scalar => {}
            RootKind::Cholesky { cholesky } => match side {
                Side::Left => cholesky.latest().solve_left(direction).map_err(wrap)?,
                Side::Right => cholesky.latest().solve_right(direction).map_err(wrap)?,
            },
            RootKind::Formed { .. } | RootKind::Inverse { .. } => {
                let (left, right) = match side {
                    Side::Left => (self.formed(), None),
                    Side::Right => (None, self.formed()),
                };
                return multiply_sides(left, right, direction, pool).map_err(wrap);
            }
        }
        let scale = *self.scale.latest();
        if scale != A::one() {
            direction.mapv_inplace(|x| x * scale);
        }
        Ok(())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.kind {
            RootKind::Scalar => 0,
            RootKind::Cholesky { cholesky } => {
                let n = cholesky.current().dimension();
                4 * bytes::<A>((n, n))
            }
            RootKind::Inverse { root } => 2 * bytes::<A>(root.current().dim()),
            RootKind::Formed { root, basis, .. } => {
                let basis = if basis.is_some() { 2 } else { 0 };
                (2 + basis) * bytes::<A>(root.current().dim())
            }
        }
    }

    pub(crate) fn needs(&self) -> Needs {
        match &self.kind {
            RootKind::Scalar | RootKind::Cholesky { .. } => Needs::default(),
            RootKind::Inverse { root } => Needs::workspace::<Cholesky<A>>(root.current().dim()),
            RootKind::Formed { finder, newton, root, .. } => match newton {
                None => finder.needs(true),
                Some(_) => {
                    let shape = root.current().dim();
                    finder.needs(true).or(Needs::workspace::<CoupledNewtonWorkspace<A>>(shape))
                }
            },
        }
    }
}

/// From the least damping that single precision carries, some 10⁻⁶, to a hundred times the factor; of double
/// precision to a ten-millionth, beyond which no rounding makes a factor indefinite.
const MOST_RAISES: usize = 8;

fn is_indefinite(error: &LinalgError) -> bool {
    matches!(
        error,
        LinalgError::NotPositiveDefinite { .. } | LinalgError::EigenvalueNotPositive { .. }
    )
}

/// Factors `source + c damping`; returns its condition number from below.
fn refactor<A: Scalar>(
    cholesky: &mut Cholesky<A>,
    source: &Source<'_, A>,
    damping: ResolvedDamping,
    correction: f64,
) -> std::result::Result<f64, LinalgError> {
    match source {
        Source::Cholesky(lower) => cholesky.set_lower(*lower)?,
        Source::Moment(moment) => {
            let ridge = damping.absolute(moment, correction);
            cholesky.factor(*moment, A::from_f64(ridge))?;
        }
        Source::Identity => {}
    }
    Ok(1.0 / cholesky.reciprocal_condition().as_f64())
}

/// A bound from below of the condition number of `S + r I`, of which a root is at hand: no diagonal
/// entry of a symmetric matrix exceeds its largest eigenvalue.
fn least_condition<A: Scalar>(
    moment: &ArrayView2<A>,
    ridge: f64,
    root: &Array2<A>,
    exponent: f64,
) -> f64 {
    let largest = |diagonal: ndarray::ArrayView1<'_, A>| {
        diagonal.iter().map(|x| x.as_f64()).fold(0.0, f64::max)
    };
    ((largest(moment.diag()) + ridge) * largest(root.diag()).powf(1.0 / exponent)).max(1.0)
}

fn condition_number<A: Scalar>(eigen: &SymmetricEigen<A>, ridge: f64) -> f64 {
    let values = eigen.values();
    let at = |x: Option<&A>| x.map_or(0.0, |x| x.as_f64()) + ridge;
    let (least, largest) = (at(values.first()), at(values.last()));
    if least > 0.0 { largest / least } else { f64::INFINITY }
}

/// The iteration for this exponent, where it is the method and the exponent such a fraction.
fn coupled(method: &RootMethod, exponent: f64) -> Option<CoupledNewton> {
    let RootMethod::CoupledNewton { order, from_trace, max_steps, tolerance, residual } = *method
    else {
        return None;
    };
    let (root, power) = (1..=16u32).find_map(|power| {
        let root = f64::from(power) / exponent;
        let whole = root.round();
        // A quotient of two numbers that are each rounded once.
        let is_whole = (root - whole).abs() <= 2.0 * f64::EPSILON * whole;
        (is_whole && (1.0..=1024.0).contains(&whole)).then_some((whole as u32, power))
    })?;
    Some(CoupledNewton { root, power, order, from_trace, max_steps, tolerance, residual })
}
