//! The upper halves of vector registers, which faer's products leave in use.

use std::hint::black_box;

use pulp::{Arch, Simd, WithSimd};

/// Runs what calls faer's products, and clears the registers: until then a processor runs all that was
/// compiled without AVX several times slower (`tanh` of the C library: nine times, on Zen 3).
pub(super) fn cleared<T>(run: impl FnOnce() -> T) -> T {
    let result = run();
    Arch::new().dispatch(Clear);
    result
}

/// A function that uses a whole register: the compiler has it clear them all as it returns.
struct Clear;

impl WithSimd for Clear {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        black_box(simd.splat_f64s(1.0));
    }
}
