//! The two floating-point types.

use std::iter::Sum;

use bytemuck::Pod;
use ndarray::NdFloat;

use crate::backend::Kernel;

/// A real floating-point type that the backends compute with: `f32` or `f64`.
///
/// The trait is sealed: its supertrait holds the routines, and cannot be named, implemented or
/// used outside this crate.
pub trait Scalar: NdFloat + Pod + Sum + Send + Sync + Kernel {
    /// The type's name, `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// The nearest value of this type. Beyond the range of `f32` that is an infinity.
    fn from_f64(x: f64) -> Self;

    /// The same value in double precision, exactly.
    fn as_f64(self) -> f64;
}

impl Scalar for f32 {
    const NAME: &'static str = "f32";

    fn from_f64(x: f64) -> Self {
        x as f32
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";

    fn from_f64(x: f64) -> Self {
        x
    }

    fn as_f64(self) -> f64 {
        self
    }
}
