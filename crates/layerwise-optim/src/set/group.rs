//! Parameters that share a method.

use serde::{Deserialize, Serialize};

use crate::config::chain::Chain;
use crate::config::stage::StageConfig;
use crate::set::selector::Selector;
use crate::step::method::Method;

/// Parameters that share a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// Which parameters.
    pub selector: Selector,
    /// Their method.
    pub chain: Chain,
    /// Refreshes are staggered; see [`Group::staggered`].
    #[serde(default)]
    pub staggered: bool,
}

impl Group {
    /// Parameters by a method: a named one, or a chain.
    #[must_use]
    pub fn new(selector: Selector, method: &impl Method) -> Self {
        Group { selector, chain: method.chain(), staggered: false }
    }

    /// The same with refreshes one step later for each parameter than for the one registered before it
    /// ([`Refresh::offset`](crate::Refresh::offset)), so that a step never computes many decompositions.
    /// The first refreshes are not moved. A saved state fits a set that registers its parameters in the
    /// same order.
    #[must_use]
    pub fn staggered(self) -> Self {
        Group { staggered: true, ..self }
    }

    /// The method of the group's parameter of this index, from 0.
    pub(super) fn chain_of(&self, index: usize) -> Chain {
        let mut chain = self.chain.clone();
        if self.staggered {
            for stage in chain.stages_mut() {
                match stage {
                    StageConfig::Kronecker(config) => config.refresh.offset = index as u64,
                    StageConfig::Eigenbasis(config) => config.refresh.offset = index as u64,
                    _ => {}
                }
            }
        }
        chain
    }
}
