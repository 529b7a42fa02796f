//! Pure Rust: faer's products and factorizations, cut into tiles.
//!
//! faer is called for one thread throughout. What gains by several is cut into tiles whose bounds
//! depend on the shape alone, and the tiles are shared out (`product`, `triangular`): bits do not
//! depend on the number of threads. A decomposition runs on one thread.

mod buffer;
mod cholesky;
mod eigen;
mod product;
mod qr;
mod registers;
mod simd;
mod svd;
mod threads;
mod triangular;

use std::{cell::Cell, fmt};

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};

pub(crate) use self::{
    cholesky::CholeskyWork, eigen::EigenWork, qr::QrWork, svd::SvdWork, threads::set_threads,
};
use self::{registers::cleared, simd::Real};
use super::{Kernel, Routines};
use crate::{Backend, Library};

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
                    gemm: |alpha, a, b, beta, c| cleared(|| product::gemm(alpha, a, b, beta, c)),
                    syrk: |alpha, a, beta, c| cleared(|| product::syrk(alpha, a, beta, c)),
                    gemv: |alpha, a, x, beta, y| cleared(|| product::gemv(alpha, a, x, beta, y)),
                    triangular: |action, side, l, b| {
                        cleared(|| triangular::triangular(action, side, l, b))
                    },
                    cholesky_work: CholeskyWork::new::<$type>,
                    cholesky: |n, matrix, work| cleared(|| cholesky::factor(n, matrix, work)),
                    eigen_work: EigenWork::new,
                    eigen: |matrix, values, work| {
                        cleared(|| eigen::decompose(matrix, values, work))
                    },
                    qr_work: QrWork::new,
                    orthonormalize: |matrix, diagonal, work| {
                        cleared(|| qr::orthonormalize(matrix, diagonal, work))
                    },
                    svd_work: SvdWork::new,
                    svd: |matrix, values, u, vt, work| {
                        cleared(|| svd::destructive(matrix, values, u, vt, work))
                    },
                    thin_svd: |m| cleared(|| svd::thin(m)),
                    singular_values: |m| cleared(|| svd::values(m)),
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
        library: Library::Faer,
        name: "faer 0.24".to_owned(),
        kernel: vectors().to_owned(),
        better_kernel: None,
        refused_kernel: None,
        beyond_processor: false,
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

/// Entries without structure in (−1, 1).
#[cfg(test)]
fn dense(rows: usize, cols: usize) -> Vec<f64> {
    let entry = |k: usize| (12.9898 * k as f64).sin() * 43_758.545;
    (1..=rows * cols).map(|k| 2.0 * (entry(k) - entry(k).floor()) - 1.0).collect()
}
