//! What trials on single-index models measure.

use crate::model::{DIVERGED_AT, Kind, Measure};

/// Alignment with β⋆ of the top right singular vector of `G_t − G₀`.
pub const ALIGNMENT: Measure = Measure {
    name: "alignment",
    label: "alignment with β⋆",
    kind: Kind::Series,
    logarithmic: false,
};
/// The loss `½ Ê(y − f(x))²` on the batch, before the step.
pub const TRAINING_LOSS: Measure = Measure {
    name: "training_loss",
    label: "training loss",
    kind: Kind::Series,
    logarithmic: true,
};
/// The same on samples that are never trained on.
pub const TEST_LOSS: Measure =
    Measure { name: "test_loss", label: "test loss", kind: Kind::Series, logarithmic: true };

/// All of them.
pub const ALL: [Measure; 4] = [ALIGNMENT, TRAINING_LOSS, TEST_LOSS, DIVERGED_AT];
