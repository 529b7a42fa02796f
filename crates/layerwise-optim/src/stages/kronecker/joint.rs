//! Exact damping of the product of both factors, in their joint eigenbasis.

use layerwise_linalg::{LinalgError, Scalar, SymmetricEigen};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result, Side};
use crate::numeric::pool::{Needs, Pool};
use crate::numeric::sides::multiply_sides;
use crate::schedule::Schedule;
use crate::state::persist::{Persist, check_orthonormal, join, persist};
use crate::state::staged::Staged;
use crate::statistics::factor::{FactorStatistic, Source};
use crate::values::{StateReader, StateWriter};

/// Eigendecompositions of both factors (none of the identity), for exact damping of the product.
#[derive(Debug)]
pub(crate) struct JointRoots<A> {
    damping: Schedule,
    left: Option<Staged<Eigenpairs<A>>>,
    right: Option<Staged<Eigenpairs<A>>>,
    numbers: Staged<JointNumbers>,
}

#[derive(Clone, Debug)]
struct Eigenpairs<A> {
    /// 1 × n, ascending.
    values: Array2<A>,
    /// The eigenvectors, one a row.
    rows: Array2<A>,
}

#[derive(Clone, Copy, Debug)]
struct JointNumbers {
    damping: f64,
    /// Divisor of the product of eigenvalues.
    correction: f64,
}

persist!(JointRoots<A> { left, right, numbers });
persist!(JointNumbers { damping, correction });

/// The vectors are saved as columns.
impl<A: Scalar> Persist<A> for Eigenpairs<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.values.save(&join(path, "values"), out);
        out.array(&join(path, "vectors"), self.rows.t());
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.values.load(&join(path, "values"), from)?;
        let vectors = join(path, "vectors");
        from.array(&vectors, self.rows.view_mut().reversed_axes())?;
        check_orthonormal(&vectors, self.rows.t())
    }
}

impl<A: Scalar> JointRoots<A> {
    pub(crate) fn new(
        damping: &Schedule,
        left: &FactorStatistic<A>,
        right: &FactorStatistic<A>,
    ) -> Self {
        let eigen = |statistic: &FactorStatistic<A>| {
            let n = statistic.dimension();
            let start = || Eigenpairs { values: Array2::ones((1, n)), rows: Array2::eye(n) };
            (statistic.kind != Statistic::None).then(|| Staged::twice(start()))
        };
        JointRoots {
            damping: damping.clone(),
            left: eigen(left),
            right: eigen(right),
            numbers: Staged::twice(JointNumbers { damping: 0.0, correction: 1.0 }),
        }
    }

    pub(crate) fn refresh(
        &mut self,
        source: (Source<'_, A>, Source<'_, A>),
        correction: (f64, f64),
        step: u64,
        damping_factor: f64,
        pool: &Pool<A>,
    ) -> Result<f64> {
        let left = decompose(&mut self.left, &source.0, Side::Left, pool)?;
        let right = decompose(&mut self.right, &source.1, Side::Right, pool)?;
        let numbers = JointNumbers {
            damping: self.damping.value(step) * damping_factor,
            correction: correction.0 * correction.1,
        };
        let value = left.least * right.least / numbers.correction + numbers.damping;
        // Eigenvalues below the rounding errors of the largest cannot be told from zero.
        let n = dimension(&self.left).max(dimension(&self.right)) as f64;
        let largest = left.largest * right.largest / numbers.correction;
        let rounding = 4.0 * n.sqrt() * A::epsilon().as_f64() * largest;
        let floor = if numbers.damping > 0.0 { 0.0 } else { rounding };
        if value <= floor {
            return Err(OptimError::Factor {
                side: if left.least <= right.least { Side::Left } else { Side::Right },
                source: LinalgError::EigenvalueNotPositive { value, floor },
            });
        }
        *self.numbers.split().1 = numbers;
        self.numbers.propose();
        Ok((largest + numbers.damping) / value)
    }

    pub(crate) fn apply(
        &self,
        direction: &mut ArrayViewMut2<'_, A>,
        pool: &Pool<A>,
    ) -> layerwise_linalg::Result<()> {
        let (one, zero) = (A::one(), A::zero());
        let numbers = self.numbers.latest();
        let damping = A::from_f64(numbers.damping);
        let correction = A::from_f64(numbers.correction);
        let left = self.left.as_ref().map(Staged::latest);
        let right = self.right.as_ref().map(Staged::latest);
        let into = left.map(|left| (one, left.rows.view()));
        multiply_sides(into, right.map(|right| (one, right.rows.t())), direction, pool)?;
        for ((row, col), x) in direction.indexed_iter_mut() {
            let p = left.map_or(one, |left| left.values[(0, row)].max(zero));
            let q = right.map_or(one, |right| right.values[(0, col)].max(zero));
            *x /= p * q / correction + damping;
        }
        let out_of = right.map(|right| (one, right.rows.view()));
        multiply_sides(left.map(|left| (one, left.rows.t())), out_of, direction, pool)
    }

    /// The eigenvectors of each side as they were last refreshed.
    pub(crate) fn bases(&self) -> (Option<ArrayView2<'_, A>>, Option<ArrayView2<'_, A>>) {
        (
            self.left.as_ref().map(|eigen| eigen.current().rows.t()),
            self.right.as_ref().map(|eigen| eigen.current().rows.t()),
        )
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let sides = [&self.left, &self.right].into_iter().flatten();
        let entries = sides.map(|side| side.current().values.len() + side.current().rows.len());
        2 * size_of::<A>() * entries.sum::<usize>()
    }

    pub(crate) fn needs(&self) -> Needs {
        let sides = [&self.left, &self.right].into_iter().flatten();
        sides.fold(Needs::default(), |needs, side| {
            needs.or(Needs::workspace::<SymmetricEigen<A>>(side.current().rows.dim()))
        })
    }
}

fn dimension<A: Scalar>(side: &Option<Staged<Eigenpairs<A>>>) -> usize {
    side.as_ref().map_or(1, |side| side.current().values.len())
}

/// The ends of a spectrum, not below zero.
struct Spectrum {
    least: f64,
    largest: f64,
}

fn decompose<A: Scalar>(
    pairs: &mut Option<Staged<Eigenpairs<A>>>,
    source: &Source<'_, A>,
    side: Side,
    pool: &Pool<A>,
) -> Result<Spectrum> {
    match (pairs, source) {
        (Some(pairs), Source::Moment(moment) | Source::Cholesky(moment)) => {
            let (_, next) = pairs.split();
            let decompose = |eigen: &mut SymmetricEigen<A>| {
                eigen.decompose(*moment)?;
                next.values.row_mut(0).assign(&eigen.values());
                next.rows.assign(&eigen.vectors().t());
                Ok(())
            };
            let done = pool.with(moment.dim(), decompose);
            done.map_err(|source| OptimError::Factor { side, source })?;
            let end = |x: Option<&A>| x.map_or(0.0, |x| x.as_f64().max(0.0));
            let values = &next.values;
            let spectrum = Spectrum { least: end(values.first()), largest: end(values.last()) };
            pairs.propose();
            Ok(spectrum)
        }
        _ => Ok(Spectrum { least: 1.0, largest: 1.0 }),
    }
}
