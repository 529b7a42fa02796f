//! Loops over entries, norms and checks of arrays, and workspace. It imports errors alone, and knows no
//! optimizer.

pub(crate) mod entrywise;
pub(crate) mod finite;
pub(crate) mod pool;
pub(crate) mod sides;
