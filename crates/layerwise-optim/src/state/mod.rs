//! What is state: staged beside what it replaces, saved and loaded as values by name. It imports
//! configuration, which a saved state names, and what is below.

pub(crate) mod checkpoint;
pub(crate) mod held;
pub(crate) mod persist;
pub(crate) mod saved;
pub(crate) mod staged;
