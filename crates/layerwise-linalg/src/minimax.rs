//! Polynomials that bring singular values to 1 as fast as their degree allows.

use crate::{LinalgError, Result};

/// The degree of a [minimax polynomial](minimax_polynomials).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OddDegree {
    /// a s + b s³: a product with X Xᵀ less per step.
    Three,
    /// a s + b s³ + c s⁵.
    Five,
}

/// What of the optimum is given up for the sake of rounding; see [`minimax_polynomials`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margins {
    /// In [0, 1): a polynomial is made for values of at least this share of the largest, and then scaled so
    /// that smaller ones are served as well.
    pub cushion: f64,
    /// In [1, 2]: values may be larger by this factor than they should be, but at the last step.
    pub safety: f64,
}

impl Margins {
    /// The optimum itself.
    pub const NONE: Margins = Margins { cushion: 0.0, safety: 1.0 };
}

/// Below this relative width of the interval the polynomial is the one with its maximal contact at 1.
const CONVERGED: f64 = 5e-6;

/// a, b, c of odd polynomials a s + b s³ + c s⁵ whose composition, from the first to the last, is closest to 1
/// over [lower, 1] of all compositions of so many polynomials of this degree.
///
/// Each is the best approximation of 1 on the interval that the ones before lead to, and this greedy choice is
/// the best of all (Amsel, Persson, Musco and Gower 2025, *The Polar Express*, arXiv 2505.16932). Of degree three it has a closed form (Grishina, Smirnov and Rakhuba 2025, CANS,
/// arXiv 2506.10935); of degree five its four points of equal error are found by Remez' exchange.
///
/// # Errors
///
/// [`LinalgError::InvalidParameter`] for a lower end outside [10⁻⁸, 1], and margins out of range, and more than 1000 steps.
pub fn minimax_polynomials(
    degree: OddDegree,
    lower: f64,
    steps: usize,
    margins: Margins,
) -> Result<Vec<[f64; 3]>> {
    let Margins { cushion, safety } = margins;
    let count = steps as f64;
    for (name, value, allowed, is_allowed) in [
        ("number of steps", count, "at most 1000", steps <= 1000),
        ("lower", lower, "in [1e-8, 1]", (1e-8..=1.0).contains(&lower)),
        ("cushion", cushion, "in [0, 1)", (0.0..1.0).contains(&cushion)),
        ("safety", safety, "in [1, 2]", (1.0..=2.0).contains(&safety)),
    ] {
        if !is_allowed {
            return Err(LinalgError::InvalidParameter { name, value, allowed });
        }
    }
    let (mut low, mut high) = (lower, 1.0_f64);
    let mut polynomials = Vec::with_capacity(steps);
    for step in 1..=steps {
        let safety = if step == steps { 1.0 } else { safety };
        let polynomial = if low >= high * (1.0 - CONVERGED) {
            flat(degree, high)
        } else {
            let from = low.max(cushion * high);
            let best = match degree {
                OddDegree::Three => best_cubic(from, high),
                OddDegree::Five => best_quintic(from, high),
            };
            // Around 1 over the whole interval again, and for values that are too large by `safety`.
            let centre =
                if from > low { (value(best, low) + value(best, high)) / 2.0 } else { 1.0 };
            [1, 3, 5].map(|power: i32| best[power as usize / 2] / centre / safety.powi(power))
        };
        polynomials.push(polynomial);
        low = value(polynomial, low);
        high = 2.0 - low;
    }
    Ok(polynomials)
}

fn value([a, b, c]: [f64; 3], s: f64) -> f64 {
    s * (a + s * s * (b + c * s * s))
}

/// 1 at `s`, with as many derivatives of 0 there as the degree allows.
fn flat(degree: OddDegree, s: f64) -> [f64; 3] {
    let [a, b, c] = match degree {
        OddDegree::Three => [3.0 / 2.0, -1.0 / 2.0, 0.0],
        OddDegree::Five => [15.0 / 8.0, -10.0 / 8.0, 3.0 / 8.0],
    };
    [a / s, b / s.powi(3), c / s.powi(5)]
}

/// β (t s − s³) has equal values at both ends for t = l² + l u + u², its maximum at s² = t/3, and its mean there
/// is 1 for this β.
fn best_cubic(l: f64, u: f64) -> [f64; 3] {
    let t = l * l + l * u + u * u;
    let beta = 2.0 / (l * u * (l + u) + 2.0 * (t / 3.0).powf(1.5));
    [beta * t, -beta, 0.0]
}

/// By Remez' exchange: p = 1 − e, 1 + e, 1 − e, 1 + e at l, q, r, u, with q and r where p′ vanishes.
fn best_quintic(l: f64, u: f64) -> [f64; 3] {
    let (mut q, mut r) = ((3.0 * l + u) / 4.0, (l + 3.0 * u) / 4.0);
    let (mut best, mut error) = ([0.0; 3], f64::INFINITY);
    // It converges quadratically; each exchange that does not lessen the change is rounding.
    for _ in 0..100 {
        let [a, b, c, e] = equal_errors([l, q, r, u]);
        if (e - error).abs() <= f64::EPSILON || e.is_nan() {
            break;
        }
        (best, error) = ([a, b, c], e);
        let root = (9.0 * b * b - 20.0 * a * c).sqrt();
        (q, r) = (((-3.0 * b - root) / (10.0 * c)).sqrt(), ((-3.0 * b + root) / (10.0 * c)).sqrt());
    }
    best
}

/// a, b, c and e with a s + b s³ + c s⁵ ± e = 1 at four points, the signs in turn, by elimination with pivots.
fn equal_errors(points: [f64; 4]) -> [f64; 4] {
    let mut rows = [[0.0; 5]; 4];
    for (index, (row, s)) in rows.iter_mut().zip(points).enumerate() {
        let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
        *row = [s, s.powi(3), s.powi(5), sign, 1.0];
    }
    for column in 0..4 {
        let largest =
            |&i: &usize, &j: &usize| rows[i][column].abs().total_cmp(&rows[j][column].abs());
        let pivot = (column..4).max_by(largest).unwrap_or(column);
        rows.swap(column, pivot);
        for below in column + 1..4 {
            let factor = rows[below][column] / rows[column][column];
            for entry in column..5 {
                rows[below][entry] -= factor * rows[column][entry];
            }
        }
    }
    let mut solution = [0.0; 4];
    for row in (0..4).rev() {
        let known: f64 = (row + 1..4).map(|column| rows[row][column] * solution[column]).sum();
        solution[row] = (rows[row][4] - known) / rows[row][row];
    }
    solution
}
