//! The scalar types, and the vector operations of the decompositions that are our own.

use faer::traits::RealField;
use pulp::Simd;

/// `f32` or `f64`.
pub(crate) trait Real: RealField + Copy + Send + Sync + 'static {
    /// The unit in the last place of 1.
    const EPS: Self;
    /// The smallest normal number.
    const TINY: Self;
    /// A vector register of the instruction set `S`.
    type V<S: Simd>: Copy;
    /// The number of entries of a register.
    fn lanes<S: Simd>() -> usize;
    /// The exact value of a small constant.
    fn of(x: f32) -> Self;
    /// The magnitude.
    fn magnitude(self) -> Self;
    /// The square root.
    fn root(self) -> Self;
    /// `self` with the sign of `sign`.
    fn with_sign(self, sign: Self) -> Self;
    /// A power of two `s` and `1 / s`, both normal, such that `s * self` is in `[1, 2)` wherever
    /// such an `s` exists.
    fn normalizer(self) -> (Self, Self);
    /// The whole registers of a slice, and the rest.
    fn split<S: Simd>(x: &[Self]) -> (&[Self::V<S>], &[Self]);
    /// The whole registers of a slice, and the rest.
    fn split_mut<S: Simd>(x: &mut [Self]) -> (&mut [Self::V<S>], &mut [Self]);
    /// A register with `x` in every lane.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::V<S>;
    /// `a + b`.
    fn vadd<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a - b`.
    fn vsub<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a * b`.
    fn vmul<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a / b`.
    fn vdiv<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a * b + c`, fused where the instruction set has it.
    fn vfma<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// `c - a * b`, fused where the instruction set has it.
    fn vfnma<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// The sum of the lanes.
    fn sum<S: Simd>(simd: S, a: Self::V<S>) -> Self;
}

macro_rules! real {
    ($t:ident, $mantissa:literal, $bias:literal, $v:ident, $lanes:ident, $split:ident,
     $split_mut:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident,
     $fnma:ident, $sum:ident) => {
        impl Real for $t {
            const EPS: Self = $t::EPSILON;
            const TINY: Self = $t::MIN_POSITIVE;
            type V<S: Simd> = S::$v;
            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }
            #[inline(always)]
            fn of(x: f32) -> Self {
                x.into()
            }
            #[inline(always)]
            fn magnitude(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn root(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn with_sign(self, sign: Self) -> Self {
                $t::copysign(self, sign)
            }
            fn normalizer(self) -> (Self, Self) {
                let biased = ($t::abs(self).to_bits() >> $mantissa).clamp(1, 2 * $bias - 1);
                (
                    $t::from_bits((2 * $bias - biased) << $mantissa),
                    $t::from_bits(biased << $mantissa),
                )
            }
            #[inline(always)]
            fn split<S: Simd>(x: &[Self]) -> (&[Self::V<S>], &[Self]) {
                S::$split(x)
            }
            #[inline(always)]
            fn split_mut<S: Simd>(x: &mut [Self]) -> (&mut [Self::V<S>], &mut [Self]) {
                S::$split_mut(x)
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: Self) -> Self::V<S> {
                simd.$splat(x)
            }
            #[inline(always)]
            fn vadd<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn vsub<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
                simd.$sub(a, b)
            }
            #[inline(always)]
            fn vmul<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn vdiv<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
                simd.$div(a, b)
            }
            #[inline(always)]
            fn vfma<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S> {
                simd.$fma(a, b, c)
            }
            #[inline(always)]
            fn vfnma<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S> {
                simd.$fnma(a, b, c)
            }
            #[inline(always)]
            fn sum<S: Simd>(simd: S, a: Self::V<S>) -> Self {
                simd.$sum(a)
            }
        }
    };
}

real!(
    f32,
    23,
    127,
    f32s,
    F32_LANES,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    div_f32s,
    mul_add_e_f32s,
    negate_mul_add_e_f32s,
    reduce_sum_f32s
);
real!(
    f64,
    52,
    1023,
    f64s,
    F64_LANES,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    div_f64s,
    mul_add_e_f64s,
    negate_mul_add_e_f64s,
    reduce_sum_f64s
);

/// The dot product of two vectors of whole registers.
#[inline(always)]
pub(crate) fn dot<T: Real, S: Simd>(simd: S, x: &[T], y: &[T]) -> T {
    let (x, y) = (T::split::<S>(x).0, T::split::<S>(y).0);
    let zero = T::splat(simd, T::zero());
    let mut acc = [zero; 4];
    let (x4, xr) = x.as_chunks::<4>();
    let (y4, yr) = y.as_chunks::<4>();
    for (a, b) in x4.iter().zip(y4) {
        for i in 0..4 {
            acc[i] = T::vfma(simd, a[i], b[i], acc[i]);
        }
    }
    for (&a, &b) in xr.iter().zip(yr) {
        acc[0] = T::vfma(simd, a, b, acc[0]);
    }
    let (a, b) = (T::vadd(simd, acc[0], acc[1]), T::vadd(simd, acc[2], acc[3]));
    T::sum(simd, T::vadd(simd, a, b))
}
