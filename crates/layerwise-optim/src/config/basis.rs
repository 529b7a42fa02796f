//! How eigenvectors of a factor are found, and which ones a step uses.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::{Schedule, When, check_number};

/// How the eigenvectors of a factor are found anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BasisMethod {
    /// An eigendecomposition.
    Eigendecomposition {
        /// `τ` in [0, 1): the basis held stays where the off-diagonal part of `VᵀSV` is at most `τ` of
        /// it in the Frobenius norm. 0: not asked; the only choice under
        /// [`BasisUse::Previous`](crate::parity::BasisUse::Previous).
        tolerance: f64,
    },
    /// Steps of orthogonal iteration from the basis held, each by a QR factorization: under
    /// [`BasisUse::Refreshed`](crate::parity::BasisUse::Refreshed) those of the QR algorithm on `VᵀSV`. Of a
    /// product that is rank-deficient, rounding chooses the columns that it does not determine.
    QrStep {
        /// Multiple of the identity added to the bias-corrected factor, ≥ 0.
        ridge: Schedule,
        /// The most steps of a refresh, ≥ 1; one under
        /// [`BasisUse::Previous`](crate::parity::BasisUse::Previous).
        steps: u32,
        /// `τ` as above, for each step.
        tolerance: f64,
        /// In which order the basis is kept, and so the next step begun; descending under
        /// [`BasisUse::Previous`](crate::parity::BasisUse::Previous).
        order: ColumnOrder,
    },
}

/// The order of a basis's columns by eigenvalue, or Rayleigh quotient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnOrder {
    /// The largest first, as the iteration itself tends to: for a factor that does not change the
    /// basis converges to its eigenvectors.
    #[default]
    Descending,
    /// The smallest first (Distributed Shampoo), which undoes what a step gained: from refresh to
    /// refresh the basis stays as far from the eigenvectors as the steps of one refresh leave it.
    Ascending,
}

/// Which basis a step uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BasisUse {
    /// The step's gradient enters the factors and, where a refresh is due, the basis; then
    /// it is projected on that. Every step moves the weight. When the basis changes, `v` stays as
    /// it is. (Distributed Shampoo.)
    Refreshed,
    /// The first step only collects statistics and takes the first basis, by an
    /// eigendecomposition. Later steps use the basis from before the step, then update factors
    /// and basis; step `t` refreshes where `every` divides `t − 1`. Columns are in descending
    /// order of eigenvalue (of Rayleigh quotient, before a QR step), and `v` is permuted with
    /// them. (The code of SOAP's authors.)
    ///
    /// Schedules follow the run's step, of which that first one is 0. The factors alone take it in:
    /// `v`, the other stages of the update and averaged weights start, and their bias corrections count,
    /// from the next.
    Previous,
    /// Steps use the basis from before the step, and the first, which no other comes before, the coordinates
    /// as they are; then they update factors and, where [`Refresh`](crate::Refresh) says so, the basis.
    /// (SPlus.)
    PreviousOrIdentity,
}

impl BasisUse {
    /// Whether a step uses the basis from before it.
    pub(crate) fn is_former(self) -> bool {
        self != BasisUse::Refreshed
    }
}

impl Default for BasisMethod {
    /// An eigendecomposition at each refresh.
    fn default() -> Self {
        BasisMethod::Eigendecomposition { tolerance: 0.0 }
    }
}

impl BasisMethod {
    /// One QR step at each refresh, in descending order.
    #[must_use]
    pub fn qr_step(ridge: impl Into<Schedule>) -> Self {
        let order = ColumnOrder::Descending;
        BasisMethod::QrStep { ridge: ridge.into(), steps: 1, tolerance: 0.0, order }
    }

    /// The order in which it keeps its basis.
    pub(crate) fn order(&self) -> ColumnOrder {
        match self {
            BasisMethod::Eigendecomposition { .. } => ColumnOrder::Ascending,
            BasisMethod::QrStep { order, .. } => *order,
        }
    }

    pub(crate) fn check(&self, when: When) -> Result<()> {
        let (steps, tolerance) = match self {
            BasisMethod::Eigendecomposition { tolerance } => (1, *tolerance),
            BasisMethod::QrStep { ridge, steps, tolerance, .. } => {
                ridge.check_non_negative(when, "basis.ridge")?;
                (*steps, *tolerance)
            }
        };
        check_number("basis.steps", f64::from(steps), "at least 1", |steps| steps >= 1.0)?;
        check_number("basis.tolerance", tolerance, "in [0, 1)", |x| (0.0..1.0).contains(&x))
    }

    /// Whether every refresh is one eigendecomposition, or one QR step in descending order.
    pub(crate) fn is_one_descending_step(&self) -> bool {
        match *self {
            BasisMethod::Eigendecomposition { tolerance } => tolerance == 0.0,
            BasisMethod::QrStep { steps, tolerance, order, .. } => {
                steps == 1 && tolerance == 0.0 && order == ColumnOrder::Descending
            }
        }
    }
}
