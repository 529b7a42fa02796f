//! Two-layer linear network and single-index student: losses, gradients, layer signals.
