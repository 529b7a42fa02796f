//! The damping of a factor at a step.

use layerwise_linalg::{Ridge, Scalar, SymmetricEigen};
use ndarray::ArrayView2;

use crate::config::damping::Damping;
use crate::error::Result;
use crate::state::persist::{Persist, join};
use crate::values::{StateReader, StateWriter, refuse};

/// A damping at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ResolvedDamping {
    None,
    Absolute(f64),
    RelativeToLargest(f64),
    RelativeToTrace(f64),
    RelativeToRowSum { relative: f64, least: f64 },
}

impl ResolvedDamping {
    pub(crate) fn at(damping: &Damping, step: u64) -> Self {
        let resolved = match damping {
            Damping::None => ResolvedDamping::None,
            Damping::Absolute(x) => ResolvedDamping::Absolute(x.value(step)),
            Damping::RelativeToLargest(x) => ResolvedDamping::RelativeToLargest(x.value(step)),
            Damping::RelativeToTrace(x) => ResolvedDamping::RelativeToTrace(x.value(step)),
            Damping::RelativeToRowSum { relative, least } => ResolvedDamping::RelativeToRowSum {
                relative: relative.value(step),
                least: least.value(step),
            },
        };
        if resolved.on_identity() == 0.0 { ResolvedDamping::None } else { resolved }
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        match self {
            ResolvedDamping::None => ResolvedDamping::None,
            ResolvedDamping::Absolute(x) => ResolvedDamping::Absolute(x * factor),
            ResolvedDamping::RelativeToLargest(x) => ResolvedDamping::RelativeToLargest(x * factor),
            ResolvedDamping::RelativeToTrace(x) => ResolvedDamping::RelativeToTrace(x * factor),
            ResolvedDamping::RelativeToRowSum { relative, least } => {
                ResolvedDamping::RelativeToRowSum {
                    relative: relative * factor,
                    least: least * factor,
                }
            }
        }
    }

    pub(crate) fn is_relative(self) -> bool {
        match self {
            ResolvedDamping::RelativeToLargest(_) | ResolvedDamping::RelativeToTrace(_) => true,
            ResolvedDamping::RelativeToRowSum { least, .. } => least == 0.0,
            ResolvedDamping::None | ResolvedDamping::Absolute(_) => false,
        }
    }

    /// No less than what rounding leaves uncertain of a factor of n × n, where it is relative to that: some
    /// √n ε of the largest eigenvalue, which the trace bounds.
    pub(crate) fn within_precision<A: Scalar>(self, n: usize) -> Self {
        let n = n as f64;
        let least = n.sqrt() * A::epsilon().as_f64();
        match self {
            ResolvedDamping::RelativeToLargest(x) => {
                ResolvedDamping::RelativeToLargest(x.max(least))
            }
            ResolvedDamping::RelativeToTrace(x) => {
                ResolvedDamping::RelativeToTrace(x.max(least * n))
            }
            ResolvedDamping::RelativeToRowSum { relative, least: absolute } if relative > 0.0 => {
                ResolvedDamping::RelativeToRowSum { relative: relative.max(least), least: absolute }
            }
            other => other,
        }
    }

    /// Of the identity, largest eigenvalue, mean trace and row sums are one.
    pub(crate) fn on_identity(self) -> f64 {
        match self {
            ResolvedDamping::None => 0.0,
            ResolvedDamping::RelativeToRowSum { relative, least } => relative.max(least),
            ResolvedDamping::Absolute(x)
            | ResolvedDamping::RelativeToLargest(x)
            | ResolvedDamping::RelativeToTrace(x) => x,
        }
    }

    /// What is added to the moment before it is divided by the correction. The relation to the
    /// largest eigenvalue is refused at build where there are none.
    pub(crate) fn absolute<A: Scalar>(self, moment: &ArrayView2<A>, correction: f64) -> f64 {
        match self {
            ResolvedDamping::None | ResolvedDamping::RelativeToLargest(_) => 0.0,
            ResolvedDamping::Absolute(x) => x * correction,
            ResolvedDamping::RelativeToTrace(x) => x * mean_diagonal(moment),
            ResolvedDamping::RelativeToRowSum { relative, least } => {
                (relative * largest_row_sum(moment)).max(least * correction)
            }
        }
    }

    pub(crate) fn absolute_of_spectrum<A: Scalar>(
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

    pub(crate) fn ridge<A: Scalar>(self, moment: &ArrayView2<A>, correction: f64) -> Ridge {
        match self {
            ResolvedDamping::None => Ridge::None,
            ResolvedDamping::RelativeToLargest(x) => Ridge::RelativeToLargest(x),
            ResolvedDamping::RelativeToTrace(x) => Ridge::RelativeToTrace(x),
            ResolvedDamping::Absolute(_) | ResolvedDamping::RelativeToRowSum { .. } => {
                Ridge::Absolute(self.absolute(moment, correction))
            }
        }
    }
}

/// Its kind by a number, then its numbers.
impl<A: Scalar> Persist<A> for ResolvedDamping {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        let (kind, value, least) = match *self {
            ResolvedDamping::None => (0, 0.0, 0.0),
            ResolvedDamping::Absolute(x) => (1, x, 0.0),
            ResolvedDamping::RelativeToLargest(x) => (2, x, 0.0),
            ResolvedDamping::RelativeToTrace(x) => (3, x, 0.0),
            ResolvedDamping::RelativeToRowSum { relative, least } => (4, relative, least),
        };
        out.count(&join(path, "kind"), kind);
        out.number(&join(path, "value"), value);
        out.number(&join(path, "least"), least);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        let kind = from.count(&join(path, "kind"))?;
        let mut number = |name| {
            let name = join(path, name);
            let number = from.number(&name)?;
            if number < 0.0 { Err(refuse(&name, "is negative")) } else { Ok(number) }
        };
        let (value, least) = (number("value")?, number("least")?);
        *self = match kind {
            0 => ResolvedDamping::None,
            1 => ResolvedDamping::Absolute(value),
            2 => ResolvedDamping::RelativeToLargest(value),
            3 => ResolvedDamping::RelativeToTrace(value),
            4 => ResolvedDamping::RelativeToRowSum { relative: value, least },
            _ => return Err(refuse(&join(path, "kind"), "is no kind of damping")),
        };
        Ok(())
    }
}

/// `tr S/n`.
pub(crate) fn mean_diagonal<A: Scalar>(moment: &ArrayView2<A>) -> f64 {
    let trace: f64 = moment.diag().iter().map(|x| x.as_f64()).sum();
    trace / moment.nrows() as f64
}

/// Whether a moment is zero, or so small that its entries have lost digits, and a ridge relative to it
/// vanishes.
pub(crate) fn is_negligible<A: Scalar>(moment: &ArrayView2<A>) -> bool {
    mean_diagonal(moment) < A::min_positive_value().as_f64() / A::epsilon().as_f64()
}

/// `‖S‖_∞`.
pub(crate) fn largest_row_sum<A: Scalar>(moment: &ArrayView2<A>) -> f64 {
    let sum = |row: ndarray::ArrayView1<'_, A>| row.iter().map(|x| x.as_f64().abs()).sum::<f64>();
    moment.rows().into_iter().map(sum).fold(0.0, f64::max)
}
