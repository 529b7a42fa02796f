//! The BLAS that is linked: its threads, version and kernel.

use crate::backend;

/// Sets how many threads the BLAS uses from now on, in the whole process; 0 counts as 1.
///
/// OpenBLAS's results differ in the last bits between thread counts: set one thread where results
/// must not depend on the machine's number of cores, or where threads run side by side already.
pub fn set_blas_threads(n: usize) {
    backend::set_threads(n);
}

/// Version and kernel of the BLAS in use, as in `OpenBLAS 0.3.21, kernel SkylakeX`.
///
/// OpenBLAS picks its kernel by the processor; results agree in every bit only where both agree.
pub fn blas_description() -> String {
    let (config, kernel) = backend::configuration();
    let version: Vec<&str> = config.split_whitespace().take(2).collect();
    format!("{}, kernel {kernel}", version.join(" "))
}
