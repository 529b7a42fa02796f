//! What second moments are taken of.

use serde::{Deserialize, Serialize};

/// What a side's second moment is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Statistic {
    /// Of nothing: the factor is the identity, and its side is left alone but for damping.
    None,
    /// Of the gradient: `G Gᵀ` on the left, `GᵀG` on the right (Shampoo, SOAP).
    Gradient,
    /// Of the gradient whitened by the other side's root as it was last refreshed:
    /// `G Q^{-2q} Gᵀ` on the left, `GᵀP^{-2p}G` on the right (KL-Shampoo, arXiv 2509.03378). In eigenbases
    /// (KL-SOAP) by what the other side's factor from before the step has along each vector of its basis.
    Whitened {
        /// Divide by the other side's dimension, as the paper does; and before the other factor has
        /// its first root take it for `r I`, with `r` the root mean square of the gradient's
        /// entries, so that factors scale as gradients do. (A side that is left alone is the
        /// identity from the start.) Where it is false, there is no divisor, and the first root is
        /// the identity (Distributed Shampoo).
        normalized: bool,
    },
    /// Of the layer: the signal's output factor on the left, its input factor on the right (KFAC).
    Signal,
}
