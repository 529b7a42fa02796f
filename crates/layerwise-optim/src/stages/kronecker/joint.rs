//! Exact damping of the product of both factors, in their joint eigenbasis.

use layerwise_linalg::{LinalgError, Scalar, SymmetricEigen};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result, Side};
use crate::numeric::sides::multiply_sides;
use crate::schedule::Schedule;
use crate::state::persist::persist;
use crate::state::staged::Staged;
use crate::statistics::factor::{FactorStatistic, Source};

/// Eigendecompositions of both factors (none of the identity), for exact damping of the product.
#[derive(Debug)]
pub(crate) struct JointRoots<A> {
    damping: Schedule,
    left: Option<Staged<SymmetricEigen<A>>>,
    right: Option<Staged<SymmetricEigen<A>>>,
    numbers: Staged<JointNumbers>,
}

#[derive(Clone, Copy, Debug)]
struct JointNumbers {
    damping: f64,
    /// Divisor of the product of eigenvalues.
    correction: f64,
}

persist!(JointRoots<A> { left, right, numbers });
persist!(JointNumbers { damping, correction });

impl<A: Scalar> JointRoots<A> {
    pub(crate) fn new(
        damping: &Schedule,
        left: &FactorStatistic<A>,
        right: &FactorStatistic<A>,
    ) -> Self {
        let eigen = |statistic: &FactorStatistic<A>| {
            let n = statistic.dimension();
            (statistic.kind != Statistic::None)
                .then(|| Staged::twice(SymmetricEigen::with_dimension(n)))
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
    ) -> Result<f64> {
        let left = decompose(&mut self.left, &source.0, Side::Left)?;
        let right = decompose(&mut self.right, &source.1, Side::Right)?;
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
        scratch: &mut Array2<A>,
    ) -> layerwise_linalg::Result<()> {
        let (one, zero) = (A::one(), A::zero());
        let numbers = self.numbers.latest();
        let damping = A::from_f64(numbers.damping);
        let correction = A::from_f64(numbers.correction);
        let left = self.left.as_ref().map(Staged::latest);
        let right = self.right.as_ref().map(Staged::latest);
        let into = left.map(|left| (one, left.vectors().reversed_axes()));
        multiply_sides(into, right.map(|right| (one, right.vectors())), direction, scratch)?;
        for ((row, col), x) in direction.indexed_iter_mut() {
            let p = left.map_or(one, |left| left.values()[row].max(zero));
            let q = right.map_or(one, |right| right.values()[col].max(zero));
            *x /= p * q / correction + damping;
        }
        let out_of = right.map(|right| (one, right.vectors().reversed_axes()));
        multiply_sides(left.map(|left| (one, left.vectors())), out_of, direction, scratch)
    }

    /// The eigenvectors of each side as they were last refreshed.
    pub(crate) fn bases(&self) -> (Option<ArrayView2<'_, A>>, Option<ArrayView2<'_, A>>) {
        (
            self.left.as_ref().map(|eigen| eigen.current().vectors()),
            self.right.as_ref().map(|eigen| eigen.current().vectors()),
        )
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        [&self.left, &self.right]
            .into_iter()
            .flatten()
            .map(|eigen| 2 * eigen.current().memory_bytes())
            .sum()
    }
}

fn dimension<A: Scalar>(eigen: &Option<Staged<SymmetricEigen<A>>>) -> usize {
    eigen.as_ref().map_or(1, |eigen| eigen.current().dimension())
}

/// The ends of a spectrum, not below zero.
struct Spectrum {
    least: f64,
    largest: f64,
}

fn decompose<A: Scalar>(
    eigen: &mut Option<Staged<SymmetricEigen<A>>>,
    source: &Source<'_, A>,
    side: Side,
) -> Result<Spectrum> {
    match (eigen, source) {
        (Some(eigen), Source::Moment(moment) | Source::Cholesky(moment)) => {
            let (_, next) = eigen.split();
            next.decompose(*moment).map_err(|source| OptimError::Factor { side, source })?;
            let values = next.values();
            let end = |x: Option<&A>| x.map_or(0.0, |x| x.as_f64().max(0.0));
            let spectrum = Spectrum { least: end(values.first()), largest: end(values.last()) };
            eigen.propose();
            Ok(spectrum)
        }
        _ => Ok(Spectrum { least: 1.0, largest: 1.0 }),
    }
}
