//! Progress on a terminal, and the wish to stop from a signal.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use crate::monitor::Monitor;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static HANDLER: OnceLock<()> = OnceLock::new();

/// A bar with rate and time left on a terminal; nothing elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Shows `work` units to do, and takes over the interrupt signal: the first asks for an end, the second
    /// is one.
    pub(crate) fn start(work: u64) -> Self {
        HANDLER.get_or_init(|| {
            // Without a handler an interrupt ends the program at once, which is no harm either.
            let _ = ctrlc::set_handler(|| {
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(crate::status::INTERRUPTED));
                }
            });
        });
        let bar = ProgressBar::new(work);
        if let Ok(style) = ProgressStyle::with_template(
            "{elapsed_precise} {wide_bar} {percent}% {per_sec} left {eta_precise}",
        ) {
            bar.set_style(style);
        }
        Self { bar }
    }
}

impl Monitor for Progress {
    fn advance(&self, work: u64) {
        self.bar.inc(work);
    }

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
