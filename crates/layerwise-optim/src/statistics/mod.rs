//! What is collected of gradients and of layers' signals. It imports state, configuration, and what
//! is below.

pub(crate) mod clock;
pub(crate) mod factor;
pub(crate) mod second_moments;
