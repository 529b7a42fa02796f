//! Width of text, known without asking the viewer's fonts.

/// Advance widths of DejaVu Sans, U+0020 to U+007E, in thousandths of the size (the font's own
/// `hmtx` table).
const ADVANCE: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];

const NO_BREAK_SPACE: char = '\u{a0}';

/// Bold letters are wider by at most this factor.
const BOLD: f64 = 1.14;

/// Width of `text` in DejaVu Sans at `size`, in the units of `size`; within a few percent for
/// characters beyond ASCII.
pub(super) fn width(text: &str, size: u32, bold: bool) -> f64 {
    let thousandths: u32 = text
        .chars()
        .map(|c| match c {
            ' '..='~' => ADVANCE.get(c as usize - 0x20).copied().unwrap_or(1000),
            '⁰' | '¹' | '²' | '³' | '⁴'..='⁹' | '₀'..='₉' => 401,
            '⁻' => 528,
            '\u{300}'..='\u{36f}' => 0,
            'α'..='ω' => 640,
            '·' | NO_BREAK_SPACE => 318,
            '−' | '×' | '≤' | '≥' | '→' | '≈' => 838,
            _ => 1000,
        })
        .map(u32::from)
        .sum();
    f64::from(thousandths) * 1e-3 * f64::from(size) * if bold { BOLD } else { 1.0 }
}

/// The largest size up to `size` at which `text` is no wider than `room`, but at least
/// three fifths of `size`.
pub(super) fn fit(text: &str, size: u32, bold: bool, room: f64) -> u32 {
    let least = size * 3 / 5;
    (least..=size).rev().find(|&s| width(text, s, bold) <= room).unwrap_or(least)
}

/// Breaks `text` at spaces (not at no-break ones) into lines no wider than `room`, and inside
/// words that are wider.
pub(super) fn wrap(text: &str, size: u32, bold: bool, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let breaks = |c: char| c.is_whitespace() && c != NO_BREAK_SPACE;
    for word in text.split(breaks).filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size, bold) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => {
                lines.push(String::new());
                for c in word.chars() {
                    match lines.last_mut() {
                        Some(line)
                            if line.is_empty()
                                || width(&format!("{line}{c}"), size, bold) <= room =>
                        {
                            line.push(c);
                        }
                        _ => lines.push(c.to_string()),
                    }
                }
            }
        }
    }
    lines
}
