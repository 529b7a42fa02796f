//! Scaling by powers of two, which changes no digit: it keeps squares from overflowing and underflowing.

use crate::{Scalar, check};

/// A power of two and its inverse, each as two factors, as one alone may overflow.
#[derive(Clone, Copy)]
pub(crate) struct Scaling<A> {
    factors: (A, A),
    inverses: (A, A),
}

impl<A: Scalar> Scaling<A> {
    /// Brings the largest modulus of finite entries into [1, 2), and says by which power.
    pub(crate) fn balance(entries: &mut [A]) -> Self {
        let scaling = Self::of(check::max_abs(entries));
        for entry in entries {
            *entry = scaling.scale(*entry);
        }
        scaling
    }

    /// The power that brings a finite `largest` ≥ 0 into [1, 2); 1 for 0.
    pub(crate) fn of(largest: A) -> Self {
        let exponent = exponent(largest.as_f64());
        // Of half an exponent, a power is a normal number of either type.
        let two_to = |power: i32| A::from_f64(f64::from_bits(((1023 + power) as u64) << 52));
        let power = |exponent: i32| (two_to(exponent / 2), two_to(exponent - exponent / 2));
        Self { factors: power(-exponent), inverses: power(exponent) }
    }

    /// x times the power.
    pub(crate) fn scale(&self, x: A) -> A {
        x * self.factors.0 * self.factors.1
    }

    /// x over the power.
    pub(crate) fn undo(&self, x: A) -> A {
        x * self.inverses.0 * self.inverses.1
    }
}

/// ⌊log₂ x⌋ of a finite x ≥ 0; 0 for 0.
fn exponent(x: f64) -> i32 {
    let (biased, mantissa) = ((x.to_bits() >> 52) as i32, x.to_bits() << 12);
    match (biased, mantissa) {
        (0, 0) => 0,
        (0, _) => -1023 - mantissa.leading_zeros() as i32,
        _ => biased - 1023,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brings_to_one_and_back<A: Scalar>(values: &[f64]) {
        for &value in values {
            let x = A::from_f64(value);
            let scaling = Scaling::of(x);
            let scaled = scaling.scale(x).as_f64();
            assert!((1.0..2.0).contains(&scaled), "{value:e} becomes {scaled}");
            assert_eq!(scaling.undo(scaling.scale(x)), x, "{value:e}");
        }
    }

    #[test]
    fn every_size_is_brought_to_one_and_back() {
        brings_to_one_and_back::<f32>(&[1.0, 1.5, 3.4e38, 1.2e-38, 1.5e-45, 1e17, 7e-31]);
        brings_to_one_and_back::<f64>(&[1.0, 1.5, 1.7e308, 2.3e-308, 5e-324, 1e200, 7e-301]);
        assert_eq!(Scaling::of(0.0_f64).scale(0.0), 0.0);
    }
}
