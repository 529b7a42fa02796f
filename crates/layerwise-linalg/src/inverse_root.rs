//! Inverse roots of symmetric positive (semi-)definite matrices.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::{LinalgError, Result, Scalar, SymmetricEigen, check};

/// What is added to the diagonal of S before an inverse root is taken. Each number is finite and
/// at least 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Ridge {
    /// Nothing.
    #[default]
    None,
    /// The number itself.
    Absolute(f64),
    /// ε λ_max: the number times the largest eigenvalue of S.
    RelativeToLargest(f64),
    /// ε tr(S)/n: the number times the mean eigenvalue of S.
    RelativeToTrace(f64),
}

/// How an inverse root treats small eigenvalues. The default: no ridge, and a singular or
/// indefinite matrix is an error.
///
/// Eigenvalues are computed with errors of the order of ρ = 4 √n ε max|λ|; nothing below ρ can be
/// told from zero. So, with r the ridge:
///
/// - without `pseudo_inverse`, an eigenvalue in [−ρ, 0) counts as 0 if r > 0; then λ + r must be
///   positive, and above ρ where r = 0 or λ < −ρ;
/// - with `pseudo_inverse`, eigenvalues λ + r at or below max(c · max(λ + r), a, ρ), c the relative
///   and a the absolute cut-off, are dropped (their inverse root is 0), unless they lie as far on the
///   negative side, which is an error.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RootOptions {
    /// What is added to the diagonal.
    pub ridge: Ridge,
    /// The cut-off of a pseudo-inverse; `None` for an ordinary inverse.
    pub pseudo_inverse: Option<Cutoff>,
}

/// Up to where eigenvalues count as zero: the larger of both. A number converts into a relative one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cutoff {
    /// c ∈ [0, 1), times the largest eigenvalue.
    pub relative: f64,
    /// a ≥ 0, finite.
    pub absolute: f64,
}

impl From<f64> for Cutoff {
    fn from(relative: f64) -> Self {
        Self { relative, absolute: 0.0 }
    }
}

/// (S + ridge·I)^(−exponent), for a symmetric positive (semi-)definite S and `exponent` > 0: 0.25
/// gives Shampoo's S^(−1/4).
///
/// From the eigendecomposition S = V Λ Vᵀ, as V (Λ + ridge·I)^(−exponent) Vᵀ; the result is
/// symmetric in every bit. Its relative error is of the order of ε κ √n, κ the condition number of
/// S + ridge·I.
///
/// Allocates; [`SymmetricEigen::inverse_root_into`] does not.
///
/// # Errors
///
/// As [`SymmetricEigen::decompose`] and [`SymmetricEigen::inverse_root_into`].
pub fn inverse_root<A: Scalar>(
    s: ArrayView2<A>,
    exponent: f64,
    options: &RootOptions,
) -> Result<Array2<A>> {
    let mut eigen = SymmetricEigen::new(s)?;
    let mut root = Array2::zeros(s.dim());
    eigen.inverse_root_into(exponent, options, &mut root.view_mut())?;
    Ok(root)
}

/// The map from eigenvalues λ to √((λ + ridge)^(−exponent)), checked for a whole spectrum.
pub(crate) struct HalfRoot {
    exponent: f64,
    ridge: f64,
    rounding: f64,
    /// Eigenvalues, ridge included, at or below it are dropped.
    cutoff: Option<f64>,
}

impl HalfRoot {
    /// Checks the parameters and every eigenvalue (ascending).
    pub(crate) fn new<A: Scalar>(
        exponent: f64,
        options: &RootOptions,
        values: ArrayView1<A>,
    ) -> Result<Self> {
        if !(exponent.is_finite() && exponent > 0.0) {
            return Err(LinalgError::InvalidParameter {
                name: "exponent",
                value: exponent,
                allowed: "finite and positive",
            });
        }
        let n = values.len() as f64;
        let at = |value: Option<&A>| value.map_or(0.0, |value| value.as_f64());
        let (smallest, largest) = (at(values.first()), at(values.last()));
        let ridge = match options.ridge {
            Ridge::None => 0.0,
            Ridge::Absolute(r) => r,
            Ridge::RelativeToLargest(r) => checked(r)? * largest.max(0.0),
            Ridge::RelativeToTrace(r) => {
                let trace: f64 = values.iter().map(|value| value.as_f64()).sum();
                checked(r)? * (trace / n.max(1.0)).max(0.0)
            }
        };
        let ridge = checked(ridge)?;
        let rounding = 4.0 * n.sqrt() * A::epsilon().as_f64() * largest.abs().max(smallest.abs());
        let cutoff = match options.pseudo_inverse {
            Some(Cutoff { relative, absolute }) if (0.0..1.0).contains(&relative) => {
                check::non_negative("pseudo_inverse.absolute", absolute)?;
                Some((relative * (largest + ridge)).max(absolute).max(rounding))
            }
            Some(Cutoff { relative: value, .. }) => {
                return Err(LinalgError::InvalidParameter {
                    name: "pseudo_inverse",
                    value,
                    allowed: "at least 0 and less than 1",
                });
            }
            None => None,
        };
        let root = Self { exponent, ridge, rounding, cutoff };
        for value in values {
            let scale = root.at(value.as_f64())?;
            if !A::from_f64(scale * scale).is_finite() {
                return Err(LinalgError::InvalidParameter {
                    name: "exponent",
                    value: exponent,
                    allowed: "small enough for the inverse root to be representable",
                });
            }
        }
        Ok(root)
    }

    /// √((λ + ridge)^(−exponent)), or 0 for a dropped eigenvalue.
    pub(crate) fn at(&self, eigenvalue: f64) -> Result<f64> {
        let (value, floor) = match self.cutoff {
            Some(cutoff) => {
                let value = eigenvalue + self.ridge;
                if value.abs() <= cutoff {
                    return Ok(0.0);
                }
                (value, cutoff)
            }
            None if self.ridge > 0.0 && eigenvalue >= -self.rounding => {
                (eigenvalue.max(0.0) + self.ridge, 0.0)
            }
            None => (eigenvalue + self.ridge, self.rounding),
        };
        if value > floor {
            Ok(value.powf(-0.5 * self.exponent))
        } else {
            Err(LinalgError::EigenvalueNotPositive { value, floor })
        }
    }
}

fn checked(ridge: f64) -> Result<f64> {
    check::non_negative("ridge", ridge)?;
    Ok(ridge)
}
