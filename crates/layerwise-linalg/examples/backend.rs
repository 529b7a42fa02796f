//! Prints the linear algebra that serves and, where OpenBLAS runs on a kernel older than the processor's
//! vectors, what to start it with.

use layerwise_linalg::{KERNEL_VARIABLE, backend};

fn main() {
    let backend = backend();
    println!("{backend}");
    if let Some(kernel) = backend.better_kernel {
        println!("{KERNEL_VARIABLE}={kernel}");
    }
}
