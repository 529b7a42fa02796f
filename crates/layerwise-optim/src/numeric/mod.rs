//! Loops over entries, norms and checks of arrays. It imports errors alone, and knows no optimizer.

pub(crate) mod entrywise;
pub(crate) mod finite;
pub(crate) mod sides;
