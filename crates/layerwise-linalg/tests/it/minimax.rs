//! Polynomials towards 1: published lists, and what makes them the best.

use layerwise_linalg::{
    LinalgError, Margins, NewtonSchulz, OddDegree, PolarWorkspace, minimax_polynomials,
    singular_values,
};

use crate::common::{generator, with_singular_values};

/// The list of Polar Express as its authors publish it (github.com/NoahAmsel/PolarExpress), for values from
/// 10⁻³ to 1 with a cushion of 0.02 and 1 % of safety.
const POLAR_EXPRESS: [[f64; 3]; 8] = [
    [8.237312490495555, -23.157747414558198, 16.680568411445915],
    [4.082441999064835, -2.893047735332586, 0.5252849256975648],
    [3.9263479922546582, -2.8547468034765298, 0.5318022422894988],
    [3.2982187133085143, -2.424541981026706, 0.48632008358844075],
    [2.2970369434552573, -1.63662558125903, 0.4002628455953627],
    [1.8763805351440397, -1.2347896577722228, 0.35891887501668385],
    [1.8564423485617974, -1.2132449880935525, 0.3568003487825883],
    [1.8749994008682747, -1.2499988017229169, 0.3749994008546422],
];

fn value([a, b, c]: [f64; 3], s: f64) -> f64 {
    a * s + b * s.powi(3) + c * s.powi(5)
}

fn composed(polynomials: &[[f64; 3]], s: f64) -> f64 {
    polynomials.iter().fold(s, |s, &polynomial| value(polynomial, s))
}

#[test]
fn polar_express_is_met() {
    let margins = Margins { cushion: 0.02, safety: 1.01 };
    let found = minimax_polynomials(OddDegree::Five, 1e-3, 8, margins).unwrap();
    for (step, (&found, expected)) in found.iter().zip(POLAR_EXPRESS).enumerate() {
        for (found, expected) in found.into_iter().zip(expected).filter(|_| step < 7) {
            // Towards the end the four points of equal error draw together, and coefficients lose as many
            // digits as the third power of the interval's width, 0.02 in the end.
            let tolerance = if step < 5 { 1e-12 } else { 1e-9 };
            let difference = (found - expected).abs();
            assert!(difference <= tolerance * expected.abs(), "{step}: {found} {expected}");
        }
        // Values lose fewer: the last serves [0.98, 1.02], on which its error is some 10⁻⁶, known to ε, so
        // that the points where it is attained are known to √(ε/10⁻⁶) of the width: 1.5·10⁻⁵ of 10⁻⁶ each.
        for s in (0..=100).map(|i| 0.98 + 0.0004 * f64::from(i)) {
            let difference = (value(found, s) - value(expected, s)).abs();
            assert!(difference <= 1e-9, "{step}: {difference:e} at {s}");
        }
    }
}

/// The largest error over [lower, 1], on a grid by ratios.
fn largest_error(polynomials: &[[f64; 3]], lower: f64) -> f64 {
    let points = 20_000;
    (0..=points)
        .map(|i| lower.powf(f64::from(i) / f64::from(points)))
        .map(|s| (composed(polynomials, s) - 1.0).abs())
        .fold(0.0, f64::max)
}

#[test]
fn errors_are_equal_and_no_neighbour_has_less() {
    for degree in [OddDegree::Three, OddDegree::Five] {
        for lower in [1e-8, 1e-3, 0.05, 0.5, 0.9] {
            let [best] = minimax_polynomials(degree, lower, 1, Margins::NONE).unwrap()[..] else {
                panic!("one polynomial");
            };
            let error = largest_error(&[best], lower);
            // At both ends of the interval the error is the largest there is.
            for end in [lower, 1.0] {
                let at_end = (value(best, end) - 1.0).abs();
                assert!((at_end - error).abs() <= 1e-6 * error + 1e-12, "{degree:?} {lower} {end}");
            }
            // Of all polynomials of the degree near it, none is better by more than the grid misses.
            for change in 0..3 * usize::from(error > 1e-6) {
                for by in [-1e-3, 1e-3] {
                    let mut other = best;
                    other[change] *= 1.0 + by;
                    let is_another = other != best;
                    let worse = largest_error(&[other], lower) >= error * (1.0 - 1e-6);
                    assert!(worse || !is_another, "{degree:?} {lower} {change} {by}");
                }
            }
        }
    }
}

#[test]
fn more_steps_come_nearer_and_beat_muons() {
    let muon = [[3.4445, -4.7750, 2.0315]; 5];
    let mut last = 1.0;
    for steps in 1..=8 {
        let best = minimax_polynomials(OddDegree::Five, 1e-3, steps, Margins::NONE).unwrap();
        let error = largest_error(&best, 1e-3);
        // Until nothing but the rounding of as many steps is left.
        assert!(error < last || error <= 1e-12, "{steps}: {error:e}");
        last = error.max(1e-12);
        if steps == 5 {
            assert!(error < largest_error(&muon, 1e-3), "{error}");
        }
    }
    assert!(last <= 1e-12, "{last:e}");
}

#[test]
fn an_iteration_takes_each_polynomial_in_turn() {
    let rng = &mut generator(21);
    let values = [1.0, 0.4, 0.05, 2e-3];
    let polynomials = minimax_polynomials(OddDegree::Three, 1e-3, 6, Margins::NONE).unwrap();
    for (rows, cols) in [(4, 7), (7, 4)] {
        let m = with_singular_values(rng, rows, cols, &values);
        let norm = m.iter().map(|x| x * x).sum::<f64>().sqrt();
        let method = NewtonSchulz {
            polynomials: polynomials.clone(),
            steps: 8,
            epsilon: 0.0,
            epsilon_is_floor: false,
        };
        let mut iterate = m.clone();
        method.apply(&mut iterate.view_mut(), &mut PolarWorkspace::with_shape(rows, cols)).unwrap();
        let mut expected: Vec<f64> = values
            .iter()
            .map(|s| {
                let six = composed(&polynomials, s / norm);
                // The last serves both steps after it.
                composed(&[polynomials[5]; 2], six)
            })
            .collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        let found = singular_values(iterate.view()).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            // The smallest value is 2e-3/‖M‖ and grows 1.5-fold to threefold a step, its rounding with it.
            assert!((found - expected).abs() <= 1e-12, "{found} {expected}");
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let refused = |lower, margins, name| {
        let error = minimax_polynomials(OddDegree::Five, lower, 3, margins).unwrap_err();
        assert!(
            matches!(error, LinalgError::InvalidParameter { name: n, .. } if n == name),
            "{error}"
        );
    };
    for lower in [0.0, -1.0, 1.5, f64::NAN, 1e-9] {
        refused(lower, Margins::NONE, "lower");
    }
    for cushion in [-0.1, 1.0, f64::NAN] {
        refused(0.1, Margins { cushion, ..Margins::NONE }, "cushion");
    }
    for safety in [0.9, 3.0, f64::NAN] {
        refused(0.1, Margins { safety, ..Margins::NONE }, "safety");
    }
    assert_eq!(
        minimax_polynomials(OddDegree::Five, 1.0, 0, Margins::NONE).unwrap(),
        Vec::<[f64; 3]>::new()
    );
    let error = minimax_polynomials(OddDegree::Five, 0.1, usize::MAX, Margins::NONE).unwrap_err();
    assert!(error.to_string().starts_with("number of steps"), "{error}");
    let flat = minimax_polynomials(OddDegree::Three, 1.0, 1, Margins::NONE).unwrap();
    assert_eq!(flat, [[1.5, -0.5, 0.0]]);
    let method = NewtonSchulz { polynomials: Vec::new(), ..NewtonSchulz::default() };
    let mut m = ndarray::Array2::<f64>::ones((2, 2));
    let error = method.apply(&mut m.view_mut(), &mut PolarWorkspace::with_shape(2, 2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "number of polynomials = 0 is not allowed: it must be at least 1"
    );
}
