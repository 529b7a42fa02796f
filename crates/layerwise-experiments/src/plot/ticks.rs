//! Ranges of axes, and where their numbers stand and how they are written.

use super::Scale;

/// Numbers beyond this size are not drawn, nor their reciprocals on a logarithmic scale, so that
/// differences and powers stay finite.
const LARGEST: f64 = 1e300;

/// Whether a number has a place on a scale.
pub(super) fn drawable(scale: Scale, value: f64) -> bool {
    value.abs() <= LARGEST && (scale == Scale::Linear || value >= 1.0 / LARGEST)
}

/// The coordinate that is equally spaced on the page.
pub(super) fn coordinate(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log10 => value.log10(),
    }
}

/// The number at a coordinate.
pub(super) fn value_at(scale: Scale, coordinate: f64) -> f64 {
    match scale {
        Scale::Linear => coordinate,
        Scale::Log10 => 10_f64.powf(coordinate),
    }
}

/// The range of the drawable values, widened at each end by a share of it; never empty.
pub(super) fn data_range(
    scale: Scale,
    values: impl Iterator<Item = f64>,
    widen: f64,
) -> (f64, f64) {
    let extremes = values.filter(|&v| drawable(scale, v)).map(|v| coordinate(scale, v)).fold(
        None,
        |found: Option<(f64, f64)>, c| {
            Some(found.map_or((c, c), |(low, high)| (low.min(c), high.max(c))))
        },
    );
    let (low, high) = extremes.unwrap_or((0.0, 1.0));
    let middle = low / 2.0 + high / 2.0;
    let least = match scale {
        Scale::Linear if middle == 0.0 => 0.5,
        Scale::Linear => (middle.abs() * 1e-3).max(1.0 / LARGEST),
        Scale::Log10 => 0.15,
    };
    let half = ((high / 2.0 - low / 2.0) * (1.0 + 2.0 * widen)).max(least);
    let reach = |c: f64| match scale {
        Scale::Linear => c,
        Scale::Log10 => c.clamp(-307.0, 307.0),
    };
    (value_at(scale, reach(middle - half)), value_at(scale, reach(middle + half)))
}

/// Powers of ten from one written number to the next.
const STRIDES: [u32; 9] = [1, 2, 3, 5, 10, 20, 50, 100, 200];

/// Numbers of an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ticks {
    /// Numbers that are written, with their text.
    pub(super) major: Vec<(f64, String)>,
    /// Numbers that get a short stroke alone.
    pub(super) minor: Vec<f64>,
}

/// At most about `most` written numbers between `low` and `high`.
pub(super) fn ticks(scale: Scale, (low, high): (f64, f64), most: usize) -> Ticks {
    match scale {
        Scale::Linear => linear_ticks(low, high, most),
        Scale::Log10 => log_ticks(low, high, most),
    }
}

/// Whether `value` is in the range, up to rounding at its ends.
fn within(value: f64, low: f64, high: f64) -> bool {
    let slack = 1e-9 * (high - low);
    value >= low - slack && value <= high + slack
}

fn linear_ticks(low: f64, high: f64, most: usize) -> Ticks {
    let most = most.max(2) as f64;
    let rough = (high - low) / most;
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|m| m * decade)
        .find(|step| (high - low) / step <= most)
        .unwrap_or(10.0 * decade);
    let first = (low / step - 1e-9).ceil();
    let values: Vec<f64> = (0..=2 * most as usize)
        .map(|i| (first + i as f64) * step)
        .filter(|v| v.is_finite() && within(*v, low, high))
        .collect();
    let largest = low.abs().max(high.abs());
    let decimals = -step.log10().floor();
    let major = values
        .into_iter()
        .map(|v| {
            let text = if largest >= 1e5 || decimals > 4.0 {
                scientific(v, step)
            } else {
                signed(&format!("{v:.*}", decimals.max(0.0) as usize))
            };
            (v, text)
        })
        .collect();
    Ticks { major, minor: Vec::new() }
}

/// Powers of ten, and their small multiples as minor ticks; on a range that holds fewer than
/// two powers the multiples 2 and 5 are written too, and on a narrower one equal steps.
fn log_ticks(low: f64, high: f64, most: usize) -> Ticks {
    let first = (low.log10() - 1e-9).ceil() as i32;
    let last = (high.log10() + 1e-9).floor() as i32;
    let multiples = |digits: &[i32]| -> Vec<(i32, i32)> {
        (first - 1..=last)
            .flat_map(|power| digits.iter().map(move |&digit| (digit, power)))
            .filter(|&(digit, power)| within(f64::from(digit) * ten_to(power), low, high))
            .collect()
    };
    let number = |&(digit, power): &(i32, i32)| f64::from(digit) * ten_to(power);
    let powers = last - first + 1;
    if powers >= 2 {
        let least = powers.unsigned_abs().div_ceil(most.max(2) as u32);
        let stride = STRIDES.into_iter().find(|&s| s >= least).unwrap_or(least) as i32;
        let (written, rest): (Vec<i32>, Vec<i32>) =
            (first..=last).partition(|power| power.rem_euclid(stride) == 0);
        let minor = match stride {
            1 => multiples(&[2, 3, 4, 5, 6, 7, 8, 9]).iter().map(number).collect(),
            2..=5 => rest.into_iter().map(ten_to).collect(),
            _ => Vec::new(),
        };
        let major = written.into_iter().map(|p| (ten_to(p), power_of_ten(p))).collect();
        return Ticks { major, minor };
    }
    let all = multiples(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for digits in [&[1, 2, 5][..], &[1, 2, 3, 4, 5, 6, 7, 8, 9]] {
        let written = multiples(digits);
        if written.len() >= 2 {
            let minor = all.iter().filter(|m| !written.contains(m)).map(number).collect();
            let major = written.iter().map(|m| (number(m), multiple_of_power(m.0, m.1))).collect();
            return Ticks { major, minor };
        }
    }
    linear_ticks(low, high, most)
}

/// Plain numbers 1, 2, 5, 10, … between `low` and `high`, for a logarithmic colour bar.
pub(super) fn plain_log_ticks(low: f64, high: f64, most: usize) -> Ticks {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    for digits in [&[1, 2, 5][..], &[1]] {
        let major: Vec<(f64, String)> = (first..=last)
            .flat_map(|power| digits.iter().map(move |&digit| (digit, power)))
            .map(|(digit, power)| {
                (f64::from(digit) * ten_to(power), multiple_of_power(digit, power))
            })
            .filter(|(value, _)| within(*value, low, high))
            .collect();
        if (2..=most).contains(&major.len()) {
            return Ticks { major, minor: Vec::new() };
        }
    }
    log_ticks(low, high, most)
}

fn ten_to(power: i32) -> f64 {
    // Correctly rounded, which `powi` is not.
    format!("1e{power}").parse().unwrap_or(f64::NAN)
}

/// `10ᵖ` in Unicode superscripts.
pub(super) fn power_of_ten(power: i32) -> String {
    let digits = power.to_string();
    let superscripts = digits.chars().map(|c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    });
    "10".chars().chain(superscripts).collect()
}

/// `digit · 10ᵖ`, written out from 0.001 to 9000.
fn multiple_of_power(digit: i32, power: i32) -> String {
    match (digit, power) {
        (_, 0..=3) => format!("{}", f64::from(digit) * ten_to(power)),
        (_, -3..0) => format!("{digit}e{power}")
            .parse::<f64>()
            .map_or_else(|_| String::new(), |v| format!("{v}")),
        (1, _) => power_of_ten(power),
        _ => format!("{digit}×{}", power_of_ten(power)),
    }
}

/// A number in powers of ten, with the digits that tell it from its neighbours.
fn scientific(value: f64, step: f64) -> String {
    if value.abs() < step * 1e-6 {
        return "0".to_owned();
    }
    let power = (value.abs().log10() + 1e-9).floor();
    let decimals = (power - (step.log10() + 1e-9).floor()).clamp(0.0, 6.0) as usize;
    let mantissa = value / 10_f64.powf(power);
    format!("{}×{}", signed(&format!("{mantissa:.decimals$}")), power_of_ten(power as i32))
}

/// The typographic minus, and no sign before zero.
fn signed(number: &str) -> String {
    match number.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => number.to_owned(),
    }
}
