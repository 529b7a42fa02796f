//! Scaling by powers of two, which changes no digit: it keeps squares from overflowing and underflowing.

use crate::Scalar;

/// A power of two and its inverse, each as two factors, as one alone may overflow.
#[derive(Clone, Copy)]
pub(crate) struct Scaling<A> {
    factors: (A, A),
    inverses: (A, A),
}

impl<A: Scalar> Scaling<A> {
    /// The power that brings a finite `largest` ≥ 0 into [1, 2), up to rounding; 1 for 0.
    pub(crate) fn of(largest: A) -> Self {
        let exponent = match largest.as_f64() {
            largest if largest > 0.0 => largest.log2().floor(),
            _ => 0.0,
        };
        let power = |exponent: f64| {
            let half = (exponent / 2.0).trunc();
            (A::from_f64(half.exp2()), A::from_f64((exponent - half).exp2()))
        };
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
