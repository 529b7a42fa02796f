//! Texts of claims, and whether two of them say the same.

use crate::judge::order::median;

/// Puts medians in the place of "{name:.1}", or "{name:.1%}" for a share, with as many decimals.
pub(super) fn with_median(text: &str, name: &str, values: impl Fn() -> Vec<f64>) -> String {
    let opening = format!("{{{name}:.");
    let mut parts = text.split(&opening);
    let mut filled = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let Some((format, rest)) = part.split_once('}') else {
            filled.extend([&opening, part]);
            continue;
        };
        let (digits, factor, unit) = match format.split_once('%') {
            Some((digits, "")) => (digits, 100.0, " %"),
            _ => (format, 1.0, ""),
        };
        let decimals = digits.parse().map_or(0, |decimals: usize| decimals.min(17));
        filled.push_str(&format!("{:.decimals$}{unit}{rest}", factor * median(values())));
    }
    filled
}

/// Whether two texts differ at most in the numbers in them.
pub(crate) fn same_but_for_numbers(a: &str, b: &str) -> bool {
    without_numbers(a) == without_numbers(b)
}

/// A text with "#" in the place of each number.
fn without_numbers(text: &str) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let behind = |c: char| !(c.is_ascii_digit() || c == '.');
        let end = rest[start..].find(behind).map_or(rest.len(), |length| start + length);
        // The dot behind a number ends a sentence.
        let end = start + rest[start..end].trim_end_matches('.').len();
        words.extend([rest[..start].strip_suffix('-').unwrap_or(&rest[..start]), "#"]);
        rest = &rest[end..];
    }
    words.push_str(rest);
    ["-inf", "inf", "NaN"].iter().fold(words, |words, number| words.replace(number, "#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_have_their_decimals() {
        let text = "{left:.0} against {right:.2}, {left:.1%}, {left:.1";
        let left = with_median(text, "left", || vec![0.256]);
        let both = with_median(&left, "right", || vec![2.0]);
        assert_eq!(both, "0 against 2.00, 25.6 %, {left:.1");
    }

    #[test]
    fn texts_may_differ_in_numbers() {
        let same = same_but_for_numbers;
        assert!(same("at most 0.05 (here 0.731).", "at most 0.05 (here 1)."));
        assert!(!same("at most 0.05 (here 0.731).", "at least 0.05 (here 0.731)."));
        assert!(same("on -0.5 points", "on 17 points") && same("on NaN points", "on 17 points"));
        assert!(!same("on 3 points", "at 3 points"));
    }
}
