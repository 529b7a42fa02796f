//! What a step did, and what it should do to the loss.

use serde::{Deserialize, Serialize};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepReport {
    /// Steps taken, this one included.
    pub step: u64,
    /// `η` at this step.
    pub learning_rate: f64,
    /// Frobenius norm of the gradient as it was given.
    pub gradient_norm: f64,
    /// Frobenius norm of the change of the weight; 0 for a gradient that is not: see
    /// [`vanished`](Self::vanished).
    pub update_norm: f64,
    /// The weight was left alone on purpose: the method only collected statistics.
    pub skipped: bool,
    /// Roots or bases were computed anew.
    pub refreshed: bool,
    /// Refreshes that failed and left the last good root in place, or that another routine served.
    pub fallbacks: usize,
    /// Condition number of the damped left factor where it was refreshed: from eigenvalues, or a
    /// lower bound where these are not computed; infinite of a singular factor. Under
    /// [`JointDamping::Exact`](crate::factor::JointDamping::Exact), both sides give that of the damped
    /// product; eigenbases have no damping but the ridge of a QR step.
    pub left_condition: Option<f64>,
    /// The same of the right factor.
    pub right_condition: Option<f64>,
    /// What the quadratic model of the loss predicts of this step: where dampings are
    /// [adapted](crate::chain::LevenbergMarquardt) and the factors are the layer's (KFAC, EKFAC from samples).
    /// It costs a product more with each factor, or two with each basis.
    pub model: Option<QuadraticModel>,
}

impl StepReport {
    /// What is reported before anything is known.
    pub(crate) fn of_step(step: u64, learning_rate: f64) -> Self {
        StepReport {
            step,
            learning_rate,
            gradient_norm: 0.0,
            update_norm: 0.0,
            skipped: false,
            refreshed: false,
            fallbacks: 0,
            left_condition: None,
            right_condition: None,
            model: None,
        }
    }

    /// True where a gradient that is not zero, at a rate that is not zero, left the weight in every bit
    /// as it was: the step is lost in the weight's rounding, or vanished on its way. A run whose reports
    /// keep saying so stands still.
    #[must_use]
    pub fn vanished(&self) -> bool {
        !self.skipped
            && self.gradient_norm > 0.0
            && self.learning_rate != 0.0
            && self.update_norm == 0.0
    }
}

/// How a step changes the loss in the quadratic model of a layer with factors `P` and `Q`:
/// `⟨g, ΔW⟩ + ½ ⟨ΔW, P ΔW Q⟩`, with `g` the gradient as it was given and `ΔW` all of the weight's
/// change. The factors are those of the step, bias-corrected and without damping. Of EKFAC the
/// curvature is the diagonal `v̂` in its bases: `Σ v̂_ij (UᵀΔWV)_ij²`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuadraticModel {
    /// `⟨g, ΔW⟩`; of the negated objective where that is maximized.
    pub slope: f64,
    /// `⟨ΔW, P ΔW Q⟩` ≥ 0, or that of the diagonal.
    pub curvature: f64,
}

impl QuadraticModel {
    /// By how much the loss should fall: `−slope − ½ curvature`.
    #[must_use]
    pub fn reduction(&self) -> f64 {
        -self.slope - 0.5 * self.curvature
    }
}
