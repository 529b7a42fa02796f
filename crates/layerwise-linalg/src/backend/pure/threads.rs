//! How many threads a product may use.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::registers::cleared;

/// 0: as many as the pool has.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Sets it for the whole process.
pub(crate) fn set_threads(threads: usize) {
    THREADS.store(threads.max(1), Ordering::Relaxed);
}

/// Into how many pieces work of this size is cut: one where it is over before a thread wakes up.
pub(super) fn pieces(multiplications: usize) -> usize {
    /// Some 0.1 ms.
    const WORTH_A_THREAD: usize = 1 << 22;
    if multiplications < 2 * WORTH_A_THREAD {
        return 1;
    }
    match THREADS.load(Ordering::Relaxed) {
        1 => 1,
        0 => rayon::current_num_threads(),
        threads => threads,
    }
    .min(multiplications / WORTH_A_THREAD)
}

/// Runs both, side by side where there is more than one piece, with its share each.
pub(super) fn both(pieces: usize, a: impl FnOnce(usize) + Send, b: impl FnOnce(usize) + Send) {
    if pieces > 1 {
        // Either may run on a thread of the pool, which goes on with other work.
        rayon::join(|| cleared(|| a(pieces.div_ceil(2))), || cleared(|| b(pieces / 2)));
    } else {
        a(1);
        b(1);
    }
}
