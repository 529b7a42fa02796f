//! What is state: values by name, staged beside what they replace, saved and loaded. It imports
//! configuration, which a saved state names, and what is below.

pub(crate) mod checkpoint;
pub(crate) mod persist;
pub(crate) mod saved;
pub(crate) mod staged;
pub(crate) mod values;
