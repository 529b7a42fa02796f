//! What trials on linear representation learning measure.

use crate::model::{DIVERGED_AT, Kind, Measure};

const fn series(name: &'static str, label: &'static str) -> Measure {
    Measure { name, label, kind: Kind::Series, logarithmic: true }
}

/// Excess training loss.
pub const EXCESS: Measure = series("excess_training_loss", "excess training loss");
/// `dist(G, G⋆)`.
pub const DISTANCE: Measure = series("subspace_distance", "subspace distance dist(G, G⋆)");
/// `dist(G D, G⋆)`, the distance of the layer that acts on raw inputs.
pub const EFFECTIVE_DISTANCE: Measure =
    series("effective_subspace_distance", "subspace distance dist(G, G⋆)");
/// Excess loss on the transfer task, of a head that is fitted to it. Batch-norm keeps the scale of the
/// training inputs.
pub const TRANSFER: Measure = series("excess_transfer_loss", "excess transfer loss");
/// The same, but that batch-norm takes its scale from the inputs of the transfer task.
pub const RENORMALIZED_TRANSFER: Measure =
    series("renormalized_transfer_loss", "excess transfer loss, batch-norm's scale anew");
/// The iteration from which on the distance stays at most the setting's target, until the run ends.
pub const STEPS: Measure = Measure {
    name: "steps_to_target",
    label: "steps to the target distance",
    kind: Kind::Iteration,
    logarithmic: true,
};
/// Excess training loss of the predictor that is zero.
pub const ZERO_LOSS: Measure = Measure {
    name: "zero_loss",
    label: "excess training loss of the zero predictor",
    kind: Kind::Trial,
    logarithmic: true,
};
/// `dist(G⋆D⁻¹, G⋆)`: where a representation behind batch-norm settles.
pub const BATCH_NORM_DISTANCE: Measure = Measure {
    name: "batch_norm_distance",
    label: "dist(G⋆D⁻¹, G⋆)",
    kind: Kind::Trial,
    logarithmic: true,
};

/// All of them.
pub const ALL: [Measure; 9] = [
    EXCESS,
    DISTANCE,
    EFFECTIVE_DISTANCE,
    TRANSFER,
    RENORMALIZED_TRANSFER,
    STEPS,
    DIVERGED_AT,
    ZERO_LOSS,
    BATCH_NORM_DISTANCE,
];
