//! Standard normal draws into storage.

use rand::Rng;
use rand_distr::{ChiSquared, Distribution, StandardNormal};

/// Fills with independent N(0, scale²) draws.
pub(crate) fn fill_normal<'a, R: Rng + ?Sized>(
    scale: f64,
    rng: &mut R,
    out: impl IntoIterator<Item = &'a mut f64>,
) {
    for value in out {
        let z: f64 = StandardNormal.sample(rng);
        *value = scale * z;
    }
}

/// One draw of χ² with this many degrees of freedom (0 for none).
pub(crate) fn chi_squared<R: Rng + ?Sized>(degrees: f64, rng: &mut R) -> f64 {
    // `new` refuses nothing but non-positive degrees.
    ChiSquared::new(degrees).map_or(0.0, |law| law.sample(rng))
}
