//! Maps of coloured cells, and the colour bar that is their key.

use super::canvas::{Anchor, Canvas, PAPER, Place, Setting};
use super::marks::{Along, Field};
use super::palette::{Colour, Stroke};
use super::text::width;
use super::ticks::{coordinate, data_range, drawable, plain_log_ticks, ticks, value_at};
use super::{Cell, ColourBar, Mark, Picture, Scale};

/// Nine equally spaced colours of "viridis" (van der Walt and Smith, matplotlib, CC0): even in
/// lightness, and readable with any colour vision and in grey.
const VIRIDIS: [Colour; 9] = [
    Colour(68, 1, 84),
    Colour(71, 44, 122),
    Colour(59, 81, 139),
    Colour(44, 113, 142),
    Colour(33, 144, 141),
    Colour(39, 173, 129),
    Colour(92, 200, 99),
    Colour(170, 220, 50),
    Colour(253, 231, 37),
];

/// Fill of a cell whose run did not get there.
const NOT_REACHED: Colour = Colour(214, 214, 214);
/// Steps of colour in the bar.
const STEPS: u32 = 64;
/// Size of the bar's text.
const TEXT: u32 = 27;

/// Colour at a share between 0 and 1 of the scale.
fn colour_at(share: f64) -> Colour {
    let position = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (position.floor() as usize).min(VIRIDIS.len() - 2);
    let t = position - below as f64;
    let (a, b) = (VIRIDIS[below], VIRIDIS[below + 1]);
    let mix = |a: u8, b: u8| (f64::from(a) + t * (f64::from(b) - f64::from(a))).round() as u8;
    Colour(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Numbers of the bar's ends: the given ones, or those of all maps.
pub(super) fn bar_range(picture: &Picture, bar: &ColourBar) -> (f64, f64) {
    let maps = picture.panels.iter().flat_map(|panel| &panel.marks);
    let values = maps.flat_map(|mark| match mark {
        Mark::Map { cells, .. } => cells
            .iter()
            .flatten()
            .filter_map(|cell| match cell {
                Cell::Value(value) => Some(*value),
                _ => None,
            })
            .collect::<Vec<f64>>(),
        _ => Vec::new(),
    });
    bar.range.unwrap_or_else(|| data_range(bar.scale, values, 0.0))
}

/// Borders of cells with these centres: halfway between them on the page.
pub(super) fn borders(scale: Scale, centres: &[f64]) -> Vec<f64> {
    let c: Vec<f64> = centres.iter().map(|&v| coordinate(scale, v)).collect();
    let (Some(&first), Some(&last)) = (c.first(), c.last()) else {
        return Vec::new();
    };
    let half = |pair: Option<(f64, f64)>| pair.map_or(0.5, |(a, b)| (b - a) / 2.0);
    let mut borders = vec![first - half(c.first().copied().zip(c.get(1).copied()))];
    borders.extend(c.windows(2).map(|pair| pair[0] / 2.0 + pair[1] / 2.0));
    borders.push(last + half(c.iter().rev().nth(1).copied().zip(Some(last))));
    borders.into_iter().map(|b| value_at(scale, b)).collect()
}

/// Draws a map's cells, clipped at the frame.
pub(super) fn draw_cells(
    canvas: &mut Canvas,
    field: &Field,
    [x, y]: &[(Scale, &[f64]); 2],
    cells: &[Vec<Cell>],
    (bar, range): (&ColourBar, (f64, f64)),
) {
    let along = |&(scale, centres): &(Scale, &[f64]), axis: &Along, low: f64, high: f64| {
        let places: Vec<f64> = borders(scale, centres)
            .into_iter()
            .map(|b| axis.place(b).unwrap_or(low).clamp(low, high))
            .collect();
        places.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
    };
    let frame = field.frame;
    let columns = along(x, &field.x, frame.left, frame.right);
    let rows = along(y, &field.y, frame.top, frame.bottom);
    let scale = Along::new(bar.scale, range, 0.0, 1.0);
    for (row, &(bottom, top)) in cells.iter().zip(&rows) {
        for (cell, &(left, right)) in row.iter().zip(&columns) {
            if left == right || top == bottom {
                continue;
            }
            match cell {
                Cell::Value(value) => {
                    if let Some(share) = scale.place(*value) {
                        canvas.rectangle((left, top), (right, bottom), colour_at(share));
                    }
                }
                special => draw_special(canvas, *special, (left, top), (right, bottom)),
            }
        }
    }
}

/// A cell without a number: grey if not reached, white with a cross if diverged.
fn draw_special(canvas: &mut Canvas, cell: Cell, from: Place, to: Place) {
    match cell {
        Cell::NotReached => canvas.rectangle(from, to, NOT_REACHED),
        Cell::Diverged => {
            canvas.rectangle(from, to, PAPER);
            let middle = (from.0.midpoint(to.0), from.1.midpoint(to.1));
            let arm = 0.22 * (to.0 - from.0).abs().min((to.1 - from.1).abs());
            for sign in [-1.0, 1.0] {
                canvas.polyline(
                    vec![
                        (middle.0 - arm, middle.1 - sign * arm),
                        (middle.0 + arm, middle.1 + sign * arm),
                    ],
                    Colour::GREY,
                    3.2,
                    Stroke::Solid,
                );
            }
        }
        Cell::Value(_) => {}
    }
}

/// Height of the bar with its numbers.
pub(super) const BAR_HEIGHT: f64 = 66.0;

/// Draws the key of all maps, centred between `left` and `right` from `top` downwards.
pub(super) fn draw_bar(
    canvas: &mut Canvas,
    bar: &ColourBar,
    range: (f64, f64),
    (left, right): (f64, f64),
    top: f64,
) {
    const SIDE: f64 = 30.0;
    const SPACE: f64 = 48.0;
    let names = [(&bar.diverged, Cell::Diverged), (&bar.not_reached, Cell::NotReached)];
    let special: f64 = names
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, _)| SPACE + SIDE + 12.0 + width(name, TEXT, false))
        .sum();
    let label = width(&bar.label, TEXT, false) + 24.0;
    let length = (right - left - label - special).clamp(200.0, 620.0);
    let mut x = left + (right - left - label - length - special).max(0.0) / 2.0;
    let baseline = top + 24.0;
    canvas.text((x, baseline), &bar.label, Setting::new(TEXT, Anchor::Start));
    x += label;

    let bottom = top + SIDE;
    let border = |i: u32| x + length * f64::from(i) / f64::from(STEPS);
    for i in 0..STEPS {
        let colour = colour_at((f64::from(i) + 0.5) / f64::from(STEPS));
        canvas.rectangle((border(i), top), (border(i + 1), bottom), colour);
    }
    canvas.outline((x, top), (x + length, bottom), Colour::INK, 2.0);
    let along = Along::new(bar.scale, range, x, x + length);
    let numbers = match bar.scale {
        Scale::Linear => ticks(bar.scale, range, 6),
        Scale::Log10 => plain_log_ticks(range.0, range.1, 9),
    };
    for (value, text) in numbers.major {
        if let Some(at) = along.place(value).filter(|_| drawable(bar.scale, value)) {
            canvas.line((at, bottom), (at, bottom + 8.0), Colour::INK, 2.0);
            canvas.text((at, bottom + 34.0), &text, Setting::new(TEXT - 2, Anchor::Middle));
        }
    }
    x += length;
    for (name, cell) in names.into_iter().filter(|(name, _)| !name.is_empty()) {
        x += SPACE;
        draw_special(canvas, cell, (x, top), (x + SIDE, bottom));
        canvas.outline((x, top), (x + SIDE, bottom), Colour::INK, 2.0);
        x += SIDE + 12.0;
        canvas.text((x, baseline), name, Setting::new(TEXT, Anchor::Start));
        x += width(name, TEXT, false);
    }
}
