//! Subspace distance, principal angles, alignment, excess losses.
