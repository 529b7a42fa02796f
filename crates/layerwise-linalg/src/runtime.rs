//! The backend that serves: its threads, version and kernel.

use std::fmt;

use crate::backend::{description, set_threads};

/// The environment variable from which OpenBLAS takes its kernel when it is loaded.
pub const KERNEL_VARIABLE: &str = "OPENBLAS_CORETYPE";

/// The linear algebra that serves in this program: displayed as in `faer 0.24, kernel AVX2` or
/// `OpenBLAS 0.3.21, kernel SkylakeX`. Results agree in every bit only where this text agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backend {
    /// Who serves.
    pub library: Library,
    /// Library and version.
    pub name: String,
    /// The vector instructions of faer's products, or OpenBLAS's kernel, which it chooses by the
    /// processor.
    pub kernel: String,
    /// Where OpenBLAS runs on a kernel older than the processor's vectors, which is slower: a kernel to
    /// try, by starting the program with it in [`KERNEL_VARIABLE`]. `None` where the user asked for the
    /// kernel that runs.
    pub better_kernel: Option<&'static str>,
    /// What [`KERNEL_VARIABLE`] asks for, where OpenBLAS took another kernel, because it does not know
    /// or does not have this one.
    pub refused_kernel: Option<String>,
    /// Whether OpenBLAS was told to take a kernel that uses vectors which this processor does not have:
    /// its first product would end the program.
    pub beyond_processor: bool,
}

/// A library of linear algebra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Library {
    /// faer, in pure Rust.
    Faer,
    /// OpenBLAS, of the system or built from source.
    OpenBlas,
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, kernel {}", self.name, self.kernel)
    }
}

/// What serves in this program.
pub fn backend() -> Backend {
    description()
}

/// Sets how many threads a product or triangular solve uses from now on, in the whole process; 0 counts
/// as 1. Without this call it is the size of rayon's pool, or OpenBLAS's own choice: the number of cores,
/// if their variables (`RAYON_NUM_THREADS`, `OPENBLAS_NUM_THREADS`) do not say otherwise.
///
/// In pure Rust decompositions use one thread, the results do not depend on the number, and threads that
/// run side by side already are shared. OpenBLAS's decompositions use several too, and its results differ in the last bits between numbers of threads: set one where they must not
/// depend on the machine's cores, or where threads run side by side already.
pub fn set_backend_threads(n: usize) {
    set_threads(n);
}
