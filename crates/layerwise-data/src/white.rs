//! Samples of inputs: white ones, and their colouring by a covariance.

use layerwise_linalg::{gemm, triangular_product};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use rand::Rng;

use crate::covariance::Covariance;
use crate::error::{DataError, Result};
use crate::law::Law;
use crate::normal::fill_normal;

/// Fills the rows of `out` (n × d, any layout) with independent white samples.
pub(crate) fn fill_white<R: Rng + ?Sized>(law: Law, rng: &mut R, out: &mut ArrayViewMut2<'_, f64>) {
    match law {
        Law::Gaussian => fill_normal(1.0, rng, out),
        Law::Signs => {
            for mut row in out.outer_iter_mut() {
                for mut chunk in row.axis_chunks_iter_mut(Axis(0), 64) {
                    let bits: u64 = rng.random();
                    for (k, value) in chunk.iter_mut().enumerate() {
                        *value = sign(bits, k);
                    }
                }
            }
        }
        Law::Interval => {
            let half_width = 3.0_f64.sqrt();
            for value in out {
                *value = half_width * (2.0 * rng.random::<f64>() - 1.0);
            }
        }
    }
}

/// +1 where bit k is clear, −1 where it is set.
pub(crate) fn sign(bits: u64, k: usize) -> f64 {
    1.0 - 2.0 * ((bits >> k) & 1) as f64
}

/// Turns white rows u into rows x of covariance Σ, in place: x = L u for normals (the law of
/// Σ^{1/2}u, at half the cost), x = Σ^{1/2}u for the others.
pub(crate) fn colour(
    law: Law,
    covariance: &Covariance,
    rows: &mut ArrayViewMut2<'_, f64>,
) -> Result<()> {
    if covariance.is_diagonal() {
        *rows *= &covariance.square_root().diag();
    } else if law == Law::Gaussian {
        triangular_product(covariance.lower(), &mut rows.view_mut().reversed_axes())?;
    } else {
        // 64 KiB: room for 81 rows at d = 100.
        let mut on_stack = [0.0; 8192];
        let d = covariance.dimension();
        if d <= on_stack.len() {
            multiply_rows(covariance.square_root(), rows, &mut on_stack)?;
        } else {
            multiply_rows(covariance.square_root(), rows, &mut vec![0.0; d])?;
        }
    }
    Ok(())
}

/// Rows x ← S x, S symmetric (d × d), in blocks of as many rows as fit into `buffer`, whose
/// length is d or more.
fn multiply_rows(
    matrix: ArrayView2<'_, f64>,
    rows: &mut ArrayViewMut2<'_, f64>,
    buffer: &mut [f64],
) -> Result<()> {
    let d = matrix.nrows();
    let misfit = (buffer.len(), 1);
    let capacity = buffer.len() / d;
    let mut copy = ArrayViewMut2::from_shape((capacity, d), &mut buffer[..capacity * d])
        .map_err(|_| DataError::Shape { what: "buffer", expected: (capacity, d), found: misfit })?;
    for mut block in rows.axis_chunks_iter_mut(Axis(0), capacity) {
        let mut copy = copy.slice_mut(s![..block.nrows(), ..]);
        copy.assign(&block);
        gemm(1.0, copy.view(), matrix, 0.0, &mut block)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Basis, Spectrum, Streams};
    use ndarray::{Array2, ShapeBuilder};

    fn dense_covariance(d: usize) -> Covariance {
        let mut rng = Streams::new(5).stream("white", "covariance", 0);
        let spectrum = Spectrum::LogSpaced { condition: 1e4 };
        Covariance::draw(&spectrum, Basis::Haar, d, &mut rng).unwrap()
    }

    #[test]
    fn white_coordinates_have_the_moments_of_their_law() {
        // (law, E u⁴, E u⁸)
        let laws = [(Law::Gaussian, 3.0, 105.0), (Law::Signs, 1.0, 1.0), (Law::Interval, 1.8, 9.0)];
        let mut rng = Streams::new(5).stream("white", "moments", 0);
        for (law, fourth, eighth) in laws {
            let mut u = Array2::zeros((3000, 70));
            fill_white(law, &mut rng, &mut u.view_mut());
            let count = u.len() as f64;
            // Six standard errors: false alarm 2e-9 each.
            let within = |sum: f64, expected: f64, variance: f64| {
                (sum / count - expected).abs() <= 6.0 * (variance / count).sqrt() + 1e-12
            };
            assert!(within(u.sum(), 0.0, 1.0), "{law:?}");
            assert!(within(u.mapv(|v| v.powi(2)).sum(), 1.0, fourth - 1.0), "{law:?}");
            assert!(within(u.mapv(|v| v.powi(3)).sum(), 0.0, 15.0), "{law:?}");
            let variance = eighth - fourth * fourth;
            assert!(within(u.mapv(|v| v.powi(4)).sum(), fourth, variance), "{law:?}");
            // Neighbouring coordinates and neighbouring samples are uncorrelated.
            for (rows, columns) in [(0, 1), (1, 0), (0, 64), (64, 0)] {
                let (n, d) = u.dim();
                let shifted = u.slice(s![rows.., columns..]);
                let product = &u.slice(s![..n - rows, ..d - columns]) * &shifted;
                let error = (product.len() as f64).sqrt().recip();
                assert!((product.mean().unwrap()).abs() < 6.0 * error, "{law:?}");
            }
        }
    }

    #[test]
    fn signs_and_intervals_stay_in_their_sets() {
        let mut rng = Streams::new(5).stream("white", "sets", 0);
        let mut u = Array2::zeros((100, 67));
        fill_white(Law::Signs, &mut rng, &mut u.view_mut());
        assert!(u.iter().all(|&v| v == 1.0 || v == -1.0));
        fill_white(Law::Interval, &mut rng, &mut u.view_mut());
        assert!(u.iter().all(|v| v.abs() <= 3.0_f64.sqrt()));
        assert!(u.iter().any(|v| v.abs() > 1.7));
    }

    #[test]
    fn colouring_multiplies_each_row_by_the_root() {
        let d = 100;
        let covariance = dense_covariance(d);
        let mut rng = Streams::new(5).stream("white", "colour", 0);
        let mut white = Array2::zeros((200, d));
        fill_white(Law::Interval, &mut rng, &mut white.view_mut());
        for (law, root) in [
            (Law::Gaussian, covariance.lower()),
            (Law::Signs, covariance.square_root()),
            (Law::Interval, covariance.square_root()),
        ] {
            let expected = white.dot(&root.t());
            let mut row_major = white.clone();
            colour(law, &covariance, &mut row_major.view_mut()).unwrap();
            let mut column_major = Array2::zeros(white.dim().f());
            column_major.assign(&white);
            colour(law, &covariance, &mut column_major.view_mut()).unwrap();
            // d products of factors below 1.8 and √λ_max < 7, each rounded a few times.
            let tolerance = d as f64 * 4.0 * f64::EPSILON * 1.8 * 7.0;
            for coloured in [row_major, column_major] {
                assert!((&coloured - &expected).iter().all(|e| e.abs() < tolerance), "{law:?}");
            }
        }
    }

    #[test]
    fn the_buffer_may_hold_a_single_row() {
        let d = 7;
        let covariance = dense_covariance(d);
        let white = Array2::from_shape_fn((5, d), |(i, j)| (1 + i * d + j) as f64);
        let mut rows = white.clone();
        let buffer = &mut vec![0.0; d];
        multiply_rows(covariance.square_root(), &mut rows.view_mut(), buffer).unwrap();
        let expected = white.dot(&covariance.square_root());
        // 7 products of factors below 40 and 3.
        assert!((&rows - &expected).iter().all(|e| e.abs() < 7.0 * 120.0 * 4.0 * f64::EPSILON));
    }
}
