//! How a weight is laid out for a stage, as data.

use serde::{Deserialize, Serialize};

use crate::config::factor::FactorConfig;
use crate::config::growth::NonExhaustive;
use crate::config::statistic::Statistic;
use crate::error::Result;
use crate::schedule::check_number;

/// How a weight is laid out for a stage, which bounds the size of its factors.
///
/// The default takes every weight as the matrix that it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Partition {
    /// How many matrices stand above one another in the weight, each with factors of its own: experts, or the
    /// heads of a projection into them; ≥ 1, and a divisor of the rows.
    pub row_blocks: usize,
    /// How many stand side by side, as heads in a projection out of them; ≥ 1, and a divisor of the columns.
    pub column_blocks: usize,
    /// The largest dimension of a factor, ≥ 1; `None` for any.
    pub max_dimension: Option<usize>,
    /// What happens to larger dimensions.
    pub large: LargeDimension,
    /// Which weights are taken as one vector, row by row, with a single factor.
    pub merging: Merging,
    /// Weights with a single row or column are left to the diagonal method that a step takes its length from,
    /// or to the entry-wise second moment of an eigenbasis, without a rotation; and so are weights of which
    /// both dimensions are too large and left alone. Where a step takes its length from no diagonal method,
    /// they are stepped by the direction that arrives.
    pub diagonal_vectors: bool,
    /// The exponent of that factor's root, ≥ 0; with 0 the vector is left alone. (A diagonal in an
    /// eigenbasis keeps its own.)
    pub vector_exponent: f64,
    #[doc(hidden)]
    #[serde(skip)]
    pub non_exhaustive: NonExhaustive,
}

impl Default for Partition {
    /// No limit, no merging; vectors, where they are asked for, with exponent ½.
    fn default() -> Self {
        Partition {
            row_blocks: 1,
            column_blocks: 1,
            max_dimension: None,
            large: LargeDimension::Blocks,
            merging: Merging::None,
            diagonal_vectors: false,
            vector_exponent: 0.5,
            non_exhaustive: NonExhaustive::default(),
        }
    }
}

/// What happens to a dimension above the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LargeDimension {
    /// It is cut at each multiple of the limit. Every block has statistics, roots and a grafted
    /// step length of its own (Distributed Shampoo).
    #[default]
    Blocks,
    /// Its side is left alone: the factor is the identity (SOAP's authors).
    LeftAlone,
}

/// Which weights are taken as one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Merging {
    /// None: a single row or column is a matrix too, with two factors.
    #[default]
    None,
    /// Those with a single row or column.
    Vectors,
    /// Those, and matrices with no more entries than the largest dimension of a factor: every matrix,
    /// with a single factor of mn × mn, where that is not limited.
    Small,
}

impl Partition {
    /// Vectors are left to the diagonal method, and dimensions above 4096 left alone (our choice: the
    /// decomposition of such a factor takes some ten seconds on a core).
    #[must_use]
    pub fn for_networks() -> Self {
        Partition { diagonal_vectors: true, ..Partition::leaving_large_sides() }
    }

    /// As [`for_networks`](Self::for_networks), but that vectors are matrices.
    pub(crate) fn leaving_large_sides() -> Self {
        Partition {
            max_dimension: Some(4096),
            large: LargeDimension::LeftAlone,
            ..Partition::default()
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (name, value) in [
            ("partition.max_dimension", self.max_dimension.unwrap_or(1)),
            ("partition.row_blocks", self.row_blocks),
            ("partition.column_blocks", self.column_blocks),
        ] {
            check_number(name, value as f64, "at least 1", |x| x >= 1.0)?;
        }
        check_number("partition.vector_exponent", self.vector_exponent, "finite and ≥ 0", |x| {
            x >= 0.0
        })
    }

    /// The factor of a vector: that of the side which has one, with the exponent for vectors.
    pub(crate) fn vector_factor(&self, left: &FactorConfig, right: &FactorConfig) -> FactorConfig {
        if self.vector_exponent == 0.0 {
            return FactorConfig::left_alone();
        }
        let factor = if right.statistic == Statistic::None { left } else { right };
        factor.clone().with_exponent(self.vector_exponent)
    }
}
