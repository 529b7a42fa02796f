//! Bases that are computed in the background.

use layerwise_linalg::Scalar;
use ndarray::Array2;

use crate::config::basis::BasisMethod;
use crate::config::eigenbasis::EigenbasisConfig;
use crate::error::Side;
use crate::numeric::finite::bytes;
use crate::numeric::pool::{Needs, Pool};
use crate::stages::background::{Background, Given, Job};
use crate::stages::eigenbasis::side::{BasisSide, Finding};
use crate::stages::eigenvectors::Eigenvectors;
use crate::statistics::factor::Source;

/// Bases of both sides, with all that finding them needs.
#[derive(Debug)]
pub(crate) struct BasisJob<A> {
    method: BasisMethod,
    left: Option<Finding<A>>,
    right: Option<Finding<A>>,
    pool: Pool<A>,
}

/// Where the configuration asks for a staleness.
pub(crate) fn background<A: Scalar>(
    config: &EigenbasisConfig,
    left: &BasisSide<A>,
    right: &BasisSide<A>,
) -> Option<Background<A, BasisJob<A>, ()>> {
    if config.refresh.staleness == 0 {
        return None;
    }
    let sizes = [left, right].map(|side| side.statistic.factor_size());
    let [left, right] = sizes.map(|size| {
        size.map(|n| Finding {
            finder: Eigenvectors::new(n, &config.basis, config.basis.order()),
            former: Array2::eye(n),
            basis: Array2::eye(n),
            result: Ok((None, 1.0)),
        })
    });
    let is_decomposed = !matches!(config.basis, BasisMethod::QrStep { .. });
    let needs = [&left, &right]
        .into_iter()
        .flatten()
        .fold(Needs::default(), |needs, side| needs.or(side.finder.needs(is_decomposed)));
    let pool = Pool::new();
    pool.reserve(&[&needs], 1);
    let job = BasisJob { method: config.basis.clone(), left, right, pool };
    Some(Background::new(config.refresh.staleness, job, Given::new((), sizes, false)))
}

impl<A: Scalar> BasisJob<A> {
    /// Goes on from the bases held.
    pub(crate) fn prepare(&mut self, left: &BasisSide<A>, right: &BasisSide<A>) {
        for (own, side) in [(&mut self.left, left), (&mut self.right, right)] {
            if let (Some(own), Some(basis)) = (own, &side.basis) {
                own.former.assign(basis.current());
            }
        }
    }

    pub(crate) fn found(&self) -> [Option<&Finding<A>>; 2] {
        [self.left.as_ref(), self.right.as_ref()]
    }
}

impl<A: Scalar> Job<A, ()> for BasisJob<A> {
    fn run(&mut self, given: &Given<A, ()>) {
        let (method, pool) = (&self.method, &self.pool);
        for (name, side) in [(Side::Left, &mut self.left), (Side::Right, &mut self.right)] {
            if let (Some(side), (Source::Moment(moment), correction)) = (side, given.source(name)) {
                let Finding { finder, former, basis, result } = side;
                *result = finder
                    .iterate(method, given.time, (moment, correction), (former, basis), pool)
                    .and_then(|found| {
                        let condition = finder.complete(found, moment, basis, pool)?;
                        Ok((found, condition))
                    });
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        let sides = [&self.left, &self.right].into_iter().flatten();
        sides.map(|side| 2 * bytes::<A>(side.basis.dim())).sum::<usize>() + self.pool.memory_bytes()
    }
}
