//! Storage of the decompositions that are our own.

use super::simd::Real;

/// A multiple of every register length, in entries; the columns of the workspaces start at it.
pub(crate) const ALIGN: usize = 16;

/// The distance of the columns of an `n`-row workspace: a multiple of [`ALIGN`], and an odd one
/// for large `n`, because columns a power of two apart compete for the same cache sets.
pub(crate) fn column_stride(n: usize) -> usize {
    let units = n.div_ceil(ALIGN);
    ALIGN * if units >= 8 && units.is_multiple_of(2) { units + 1 } else { units }
}

/// A buffer for `len` entries that start on a cache line.
#[derive(Debug, Clone)]
pub(crate) struct Buffer<T>(Vec<T>, usize);

impl<T> Buffer<T> {
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }
}

impl<T: Real> Buffer<T> {
    pub(crate) fn new(len: usize) -> Self {
        let spare = 64 / size_of::<T>();
        Self(vec![T::zero(); len + spare], len)
    }

    pub(crate) fn get(&mut self) -> &mut [T] {
        let start = self.0.as_ptr().align_offset(64).min(self.0.len() - self.1);
        &mut self.0[start..start + self.1]
    }
}
