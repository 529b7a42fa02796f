//! Pure Rust: faer's products and factorizations, cut into tiles.
//!
//! faer is called for one thread throughout. What gains by several is cut into tiles whose bounds
//! depend on the shape alone, and the tiles are shared out (`product`, `triangular`): bits do not
//! depend on the number of threads. A decomposition runs on one thread.

mod cholesky;
mod eigen;
mod product;
mod qr;
mod simd;
mod svd;
mod threads;
mod triangular;

use std::{cell::Cell, fmt};

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};

use self::simd::Real;
pub(crate) use self::{
    cholesky::CholeskyWork, eigen::EigenWork, qr::QrWork, svd::SvdWork, threads::set_threads,
};
use super::{Kernel, Routines};
use crate::Backend;

/// What faer computes with here, with a buffer for each thread.
pub(crate) trait Element: Real {
    /// Hands `run` the first `length` entries of this thread's buffer, which grows where it must and
    /// holds what was last left in it. `run` must not call this function: it would get another buffer.
    fn with_buffer<T>(length: usize, run: impl FnOnce(&mut [Self]) -> T) -> T;
}

macro_rules! element {
    ($type:ty) => {
        impl Element for $type {
            fn with_buffer<T>(length: usize, run: impl FnOnce(&mut [Self]) -> T) -> T {
                thread_local! {
                    static BUFFER: Cell<Vec<$type>> = const { Cell::new(Vec::new()) };
                }
                BUFFER.with(|cell| {
                    let mut buffer = cell.take();
                    if buffer.len() < length {
                        buffer.resize(length, 0.0);
                    }
                    let result = run(&mut buffer[..length]);
                    cell.set(buffer);
                    result
                })
            }
        }

        impl Kernel for $type {
            const ROUTINES: &'static Routines<Self> = {
                static TABLE: Routines<$type> = Routines {
                    gemm: product::gemm,
                    syrk: product::syrk,
                    gemv: product::gemv,
                    triangular: triangular::triangular,
                    cholesky_work: CholeskyWork::new::<$type>,
                    cholesky: cholesky::factor,
                    eigen_work: EigenWork::new,
                    eigen: eigen::decompose,
                    qr_work: QrWork::new,
                    orthonormalize: qr::orthonormalize,
                    svd_work: SvdWork::new,
                    svd: svd::destructive,
                    thin_svd: svd::thin,
                    singular_values: svd::values,
                };
                &TABLE
            };
        }
    };
}

element!(f32);
element!(f64);

/// The workspace of one of faer's routines.
struct Workspace {
    buffer: MemBuffer,
    size: StackReq,
}

impl Workspace {
    fn new(size: StackReq) -> Self {
        Self { buffer: MemBuffer::new(size), size }
    }

    fn memory_bytes(&self) -> usize {
        self.size.size_bytes()
    }

    fn stack(&mut self) -> &mut MemStack {
        MemStack::new(&mut self.buffer)
    }
}

impl Clone for Workspace {
    fn clone(&self) -> Self {
        Self::new(self.size)
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Workspace").field(&self.size).finish()
    }
}

/// The library, and the vector instructions that it finds on this processor.
pub(crate) fn description() -> Backend {
    Backend {
        name: "faer 0.24".to_owned(),
        kernel: vectors().to_owned(),
        better_kernel: None,
        refused_kernel: None,
    }
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if std::arch::is_x86_feature_detected!("avx512f") {
        "AVX-512"
    } else if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
    {
        "AVX2"
    } else {
        "SSE2"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    std::env::consts::ARCH
}
