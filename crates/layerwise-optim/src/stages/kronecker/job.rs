//! Roots that are computed in the background.

use layerwise_linalg::{LinalgError, Scalar};

use crate::config::kronecker::KroneckerConfig;
use crate::error::{OptimError, Result, Side};
use crate::numeric::pool::Pool;
use crate::stages::background::{Background, Given, Job};
use crate::stages::kronecker::damping::ResolvedDamping;
use crate::stages::kronecker::root::FactorRoot;
use crate::stages::refresh::Refreshed;
use crate::state::persist::{Persist, join};
use crate::statistics::factor::FactorStatistic;
use crate::values::{StateReader, StateWriter};

/// Roots of both sides, with all that making them needs.
#[derive(Debug)]
pub(crate) struct RootJob<A> {
    left: Made<A>,
    right: Made<A>,
    pool: Pool<A>,
}

/// The root of a side, and what making it led to.
#[derive(Debug)]
pub(crate) struct Made<A> {
    pub(crate) root: FactorRoot<A>,
    pub(crate) result: std::result::Result<Refreshed, LinalgError>,
}

/// The damping of each side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dampings {
    pub(crate) left: ResolvedDamping,
    pub(crate) right: ResolvedDamping,
}

impl Dampings {
    /// Refuses what no state may hold.
    pub(crate) fn checked((left, right): (ResolvedDamping, ResolvedDamping)) -> Result<Self> {
        for value in [left, right].map(ResolvedDamping::on_identity) {
            if !value.is_finite() {
                let what = "the damping of a factor";
                return Err(OptimError::Overflow { what, row: 0, col: 0, value });
            }
        }
        Ok(Dampings { left, right })
    }
}

impl<A: Scalar> Persist<A> for Dampings {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.left.save(&join(path, "left.damping"), out);
        self.right.save(&join(path, "right.damping"), out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.left.load(&join(path, "left.damping"), from)?;
        self.right.load(&join(path, "right.damping"), from)
    }
}

/// Where the configuration asks for a staleness.
pub(crate) fn background<A: Scalar>(
    config: &KroneckerConfig,
    left: &FactorStatistic<A>,
    right: &FactorStatistic<A>,
) -> Option<Background<A, RootJob<A>, Dampings>> {
    if config.refresh.staleness == 0 {
        return None;
    }
    let made = |root| Made { root, result: Ok(Refreshed::default()) };
    let left_root = FactorRoot::new(&config.left, left, false);
    let right_root = FactorRoot::new(&config.right, right, false);
    let pool = Pool::new();
    pool.reserve(&[&left_root.needs().or(right_root.needs())], 1);
    let told = Dampings { left: ResolvedDamping::None, right: ResolvedDamping::None };
    let sizes = [left.factor_size(), right.factor_size()];
    let job = RootJob { left: made(left_root), right: made(right_root), pool };
    Some(Background::new(config.refresh.staleness, job, Given::new(told, sizes, true)))
}

impl<A: Scalar> RootJob<A> {
    /// Goes on from the roots held.
    pub(crate) fn prepare(&mut self, left: &FactorRoot<A>, right: &FactorRoot<A>) {
        self.left.root.take_basis(left);
        self.right.root.take_basis(right);
    }

    pub(crate) fn made(&self) -> [&Made<A>; 2] {
        [&self.left, &self.right]
    }
}

impl<A: Scalar> Job<A, Dampings> for RootJob<A> {
    fn run(&mut self, given: &Given<A, Dampings>) {
        let sides = [
            (Side::Left, &mut self.left, given.told.left),
            (Side::Right, &mut self.right, given.told.right),
        ];
        for (side, made, damping) in sides {
            let (source, correction) = given.source(side);
            made.root.discard();
            made.result = made.root.refresh(&source, correction, damping, given.time, &self.pool);
        }
    }

    fn memory_bytes(&self) -> usize {
        self.left.root.memory_bytes() + self.right.root.memory_bytes() + self.pool.memory_bytes()
    }
}
