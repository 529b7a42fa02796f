//! The figure's one legend.

use super::LegendEntry;
use super::canvas::{Anchor, Canvas, Item, LABEL, MARGIN, Setting};
use super::marks::{BAND, LINE, MARKER, line_width};
use super::palette::Stroke;
use super::text::{fit, width};

/// Length of a line's sample in the legend.
const SAMPLE: f64 = 84.0;
/// Height of a legend's row.
const ROW: f64 = 43.0;

impl LegendEntry {
    fn label(&self) -> &str {
        match self {
            Self::Line { label, .. } | Self::Points { label, .. } | Self::Band { label, .. } => {
                label
            }
        }
    }
}

/// Draws the entries row by row in aligned columns, centred below the panels; returns its
/// height.
pub(super) fn draw(canvas: &mut Canvas, entries: &[LegendEntry], top: f64) -> f64 {
    const BESIDE: f64 = SAMPLE + 14.0;
    const SPACE: f64 = 46.0;
    if entries.is_empty() {
        return 0.0;
    }
    let room = canvas.width - 2.0 * MARGIN;
    let widths_in = |columns: usize| -> Vec<f64> {
        (0..columns)
            .map(|column| {
                let labels = entries.iter().skip(column).step_by(columns).map(LegendEntry::label);
                BESIDE + labels.map(|l| width(l, LABEL, false)).fold(0.0, f64::max)
            })
            .collect()
    };
    let total = |widths: &[f64]| widths.iter().sum::<f64>() + SPACE * (widths.len() as f64 - 1.0);
    let most = (1..=entries.len()).rev().find(|&n| total(&widths_in(n)) <= room).unwrap_or(1);
    let rows = entries.len().div_ceil(most);
    let columns = entries.len().div_ceil(rows);
    let widths = widths_in(columns);
    let left = MARGIN + (room - total(&widths)).max(0.0) / 2.0;
    for (row, entries) in entries.chunks(columns).enumerate() {
        let mut x = left;
        let y = top + ROW * row as f64 + ROW / 2.0;
        for (entry, width) in entries.iter().zip(&widths) {
            draw_sample(canvas, entry, x, y);
            let size = fit(entry.label(), LABEL, false, room - BESIDE);
            let setting = Setting::new(size, Anchor::Start);
            canvas.text((x + BESIDE, y + 10.5), entry.label(), setting);
            x += width + SPACE;
        }
    }
    ROW * rows as f64
}

fn draw_sample(canvas: &mut Canvas, entry: &LegendEntry, x: f64, y: f64) {
    let middle = (x + SAMPLE / 2.0, y);
    match *entry {
        LegendEntry::Line { style, .. } => {
            let ends = vec![(x, y), (x + SAMPLE, y)];
            canvas.polyline(ends, style.colour, line_width(style), style.stroke);
            if let Some(shape) = style.marker {
                canvas.marker(shape, middle, MARKER, style.colour, true);
            }
        }
        LegendEntry::Points { colour, shape, error, .. } => {
            if error {
                let ends = vec![(middle.0, y - 18.0), (middle.0, y + 18.0)];
                canvas.polyline(ends, colour, LINE * 0.7, Stroke::Solid);
            }
            canvas.marker(shape, middle, MARKER, colour, false);
        }
        LegendEntry::Band { colour, .. } => {
            let (left, right) = (x + 10.0, x + SAMPLE - 10.0);
            let points =
                vec![(left, y - 13.0), (right, y - 13.0), (right, y + 13.0), (left, y + 13.0)];
            canvas.items.push(Item::Polygon { points, fill: colour, opacity: BAND * 1.6 });
        }
    }
}
