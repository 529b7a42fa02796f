//! Where panels stand on the page, and what is drawn around their frames.

use super::canvas::{Anchor, Canvas, Item, LABEL, MARGIN, PAPER, Place, Setting};
use super::clip::Frame;
use super::marks::{Along, Field};
use super::palette::Colour;
use super::text::{fit, width, wrap};
use super::ticks::{Ticks, data_range, ticks};
use super::{Axis, Mark, Panel, Picture, Scale, legend, maps};
use std::ops::Range;

/// Page width of one column, 3.5 inches.
const NARROW: f64 = 1050.0;
/// Page width of two and more columns, 6 inches.
const WIDE: f64 = 1800.0;
/// Space between neighbouring panels.
const GAP: f64 = 34.0;
/// Room for a number that is centred below the last frame's right edge.
const OVERHANG: f64 = 32.0;
/// Size of the axes' numbers, 6.5 pt.
const NUMBER: u32 = 27;
/// Smallest size of titles, 6.2 pt.
const SMALL: u32 = 26;
/// Length of a tick.
const TICK: f64 = 9.0;
/// Height of a line above a frame: title, label of the vertical axis.
const HEAD: f64 = 38.0;
/// Height below a frame for numbers and label.
const FOOT: f64 = 92.0;
/// Ratio of a frame's height to its width.
const ASPECT: f64 = 0.76;
/// Lines of the grid.
const GRID: Colour = Colour(228, 228, 228);

/// A panel with everything that follows from its data alone.
struct Prepared<'a> {
    panel: &'a Panel,
    x_range: (f64, f64),
    y_range: (f64, f64),
    y_ticks: Ticks,
    /// Width of numbers and ticks on the left.
    gutter: f64,
}

impl<'a> Prepared<'a> {
    fn new(panel: &'a Panel) -> Self {
        let y_range = axis_range(&panel.y, panel, |mark| y_values(mark, panel.y.scale));
        let x_range = axis_range(&panel.x, panel, |mark| x_values(mark, panel.x.scale));
        let y_ticks = ticks(panel.y.scale, y_range, 6);
        let numbers = y_ticks.major.iter().map(|(_, text)| width(text, NUMBER, false));
        let gutter = numbers.fold(0.0, f64::max) + TICK + 8.0;
        Self { panel, x_range, y_range, y_ticks, gutter }
    }
}

/// Draws a picture that has been validated.
pub(super) fn draw(picture: &Picture) -> Canvas {
    let columns = picture.columns.min(picture.panels.len());
    let page = if columns == 1 { NARROW } else { WIDE };
    let prepared: Vec<Prepared> = picture.panels.iter().map(Prepared::new).collect();
    let rows: Vec<&[Prepared]> = prepared.chunks(columns).collect();

    // Frames of a column share their left edge, and all frames their size.
    let gutters: Vec<f64> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|p| p.gutter).fold(0.0, f64::max)
        })
        .collect();
    let spaces = 2.0 * MARGIN + GAP * (columns as f64 - 1.0) + OVERHANG;
    let wide = ((page - spaces - gutters.iter().sum::<f64>()) / columns as f64).max(60.0);
    let high = (wide * ASPECT).max(300.0);

    let size = head_size(picture, wide);
    let mut canvas = Canvas { width: page, height: 0.0, items: Vec::new() };
    let mut top = MARGIN;
    if !picture.title.is_empty() {
        let size = fit(&picture.title, LABEL + 4, true, page - 2.0 * MARGIN);
        let setting = Setting { bold: true, ..Setting::new(size, Anchor::Middle) };
        canvas.text((page / 2.0, top + 34.0), &picture.title, setting);
        top += 52.0;
    }
    let bar = picture.colour_bar.as_ref().map(|bar| (bar, maps::bar_range(picture, bar)));
    for (row, panels) in rows.iter().enumerate() {
        let heads: Vec<Vec<Vec<HeadText>>> = panels
            .iter()
            .enumerate()
            .map(|(column, prepared)| {
                let letter = (picture.panels.len() > 1).then(|| letter(row * columns + column));
                heading(prepared.panel, letter, wide, size)
            })
            .collect();
        let head = 10.0 + HEAD * heads.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let mut left = MARGIN;
        for ((panel, gutter), lines) in panels.iter().zip(&gutters).zip(&heads) {
            let frame = Frame {
                left: left + gutter,
                top: top + head,
                right: left + gutter + wide,
                bottom: top + head + high,
            };
            draw_heading(&mut canvas, lines, frame, size);
            draw_panel(&mut canvas, panel, frame, bar);
            left = frame.right + GAP;
        }
        top += head + high + FOOT;
    }
    if let Some((bar, range)) = bar {
        maps::draw_bar(&mut canvas, bar, range, (MARGIN, page - MARGIN), top + 10.0);
        top += maps::BAR_HEIGHT + 24.0;
    }
    top += legend::draw(&mut canvas, &picture.legend, top);
    canvas.height = (top + MARGIN).ceil();
    canvas
}

/// (a), (b), …, (z), (aa), …
fn letter(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        letters.insert(0, char::from(b'a' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    format!("({})", letters.into_iter().collect::<String>())
}

/// The axis's own range, or that of the marks with a little room; a map fills its panel.
fn axis_range(axis: &Axis, panel: &Panel, values: impl Fn(&Mark) -> Vec<f64>) -> (f64, f64) {
    axis.range.unwrap_or_else(|| {
        let map = panel.marks.iter().any(|mark| matches!(mark, Mark::Map { .. }));
        let room = if map { 0.0 } else { 0.035 };
        data_range(axis.scale, panel.marks.iter().flat_map(values), room)
    })
}

fn x_values(mark: &Mark, scale: Scale) -> Vec<f64> {
    match mark {
        Mark::Line { x, .. } | Mark::Points { x, .. } => x.clone(),
        Mark::Rule { .. } => Vec::new(),
        Mark::Map { x, .. } => maps::borders(scale, x),
    }
}

fn y_values(mark: &Mark, scale: Scale) -> Vec<f64> {
    match mark {
        Mark::Line { y, band, .. } => {
            let (low, high) = band.as_ref().map_or((&[][..], &[][..]), |(l, h)| (l, h));
            y.iter().chain(low).chain(high).copied().collect()
        }
        Mark::Points { y, error, .. } => {
            let half = |i: usize| error.as_ref().and_then(|e| e.get(i)).copied().unwrap_or(0.0);
            y.iter().enumerate().flat_map(|(i, &y)| [y, y - half(i), y + half(i)]).collect()
        }
        Mark::Rule { y, .. } => vec![*y],
        Mark::Map { y, .. } => maps::borders(scale, y),
    }
}

fn draw_panel(
    canvas: &mut Canvas,
    prepared: &Prepared,
    frame: Frame,
    bar: Option<(&super::ColourBar, (f64, f64))>,
) {
    let panel = prepared.panel;
    let field = Field {
        frame,
        x: Along::new(panel.x.scale, prepared.x_range, frame.left, frame.right),
        y: Along::new(panel.y.scale, prepared.y_range, frame.bottom, frame.top),
    };
    draw_axes(canvas, prepared, &field);

    let before = canvas.items.len();
    for mark in &panel.marks {
        if let (Mark::Map { x, y, cells }, Some(bar)) = (mark, bar) {
            let centres = [(panel.x.scale, &x[..]), (panel.y.scale, &y[..])];
            maps::draw_cells(canvas, &field, &centres, cells, bar);
        }
    }
    for mark in &panel.marks {
        field.draw_band(canvas, mark);
    }
    for mark in &panel.marks {
        field.draw(canvas, mark);
    }
    let after = canvas.items.len();
    canvas.outline((frame.left, frame.top), (frame.right, frame.bottom), Colour::INK, 2.2);
    if let Some(note) = &panel.note {
        draw_note(canvas, note, frame, before..after);
    }
}

/// The largest size at which no title and no label above a frame needs a second line; the
/// smallest if there is none.
fn head_size(picture: &Picture, room: f64) -> u32 {
    let letters = picture.panels.len() > 1;
    let fits = |size: u32| {
        picture.panels.iter().enumerate().all(|(index, panel)| {
            let untitled = panel.title.trim().is_empty() || panel.y.label.trim().is_empty();
            let lines = heading(panel, letters.then(|| letter(index)), room, size);
            lines.len() <= if untitled { 1 } else { 2 }
        })
    };
    (SMALL..=LABEL).rev().find(|&size| fits(size)).unwrap_or(SMALL)
}

/// Text in a line above a frame, this far from the frame's left edge.
struct HeadText {
    indent: f64,
    text: String,
    bold: bool,
}

/// The lines above a frame: letter and title, then the label of the vertical axis, which is
/// read more easily level than on its side. Without a title the label stands beside the letter.
fn heading(panel: &Panel, letter: Option<String>, room: f64, size: u32) -> Vec<Vec<HeadText>> {
    let indent = letter.as_ref().map_or(0.0, |letter| width(letter, size, true) + 12.0);
    let set = |text: &str, bold: bool, indent: f64| -> Vec<Vec<HeadText>> {
        wrap(text, size, bold, room - indent)
            .into_iter()
            .map(|text| vec![HeadText { indent, text, bold }])
            .collect()
    };
    let mut lines = if panel.title.trim().is_empty() {
        set(&panel.y.label, false, indent)
    } else {
        let mut lines = set(&panel.title, true, indent);
        lines.extend(set(&panel.y.label, false, 0.0));
        lines
    };
    if let Some(text) = letter {
        let letter = HeadText { indent: 0.0, text, bold: true };
        match lines.first_mut() {
            Some(line) => line.push(letter),
            None => lines.push(vec![letter]),
        }
    }
    lines
}

fn draw_heading(canvas: &mut Canvas, lines: &[Vec<HeadText>], frame: Frame, size: u32) {
    for (above, line) in lines.iter().rev().enumerate() {
        let baseline = frame.top - 14.0 - HEAD * above as f64;
        for HeadText { indent, text, bold } in line {
            let setting = Setting { bold: *bold, ..Setting::new(size, Anchor::Start) };
            canvas.text((frame.left + indent, baseline), text, setting);
        }
    }
}

fn draw_axes(canvas: &mut Canvas, prepared: &Prepared, field: &Field) {
    let (panel, frame) = (prepared.panel, field.frame);
    let x_ticks = fitting_ticks(&panel.x, prepared.x_range, frame.width());
    let grid = !panel.marks.iter().any(|mark| matches!(mark, Mark::Map { .. }));

    for (value, text) in &x_ticks.major {
        let Some(x) = field.x.place(*value) else { continue };
        if grid {
            canvas.line((x, frame.top), (x, frame.bottom), GRID, 2.0);
        }
        canvas.line((x, frame.bottom), (x, frame.bottom + TICK), Colour::INK, 2.2);
        let at = (x, frame.bottom + TICK + 27.0);
        canvas.text(at, text, Setting::new(NUMBER, Anchor::Middle));
    }
    for x in x_ticks.minor.iter().filter_map(|v| field.x.place(*v)) {
        canvas.line((x, frame.bottom), (x, frame.bottom + TICK / 2.0), Colour::INK, 1.6);
    }
    for (value, text) in &prepared.y_ticks.major {
        let Some(y) = field.y.place(*value) else { continue };
        if grid {
            canvas.line((frame.left, y), (frame.right, y), GRID, 2.0);
        }
        canvas.line((frame.left - TICK, y), (frame.left, y), Colour::INK, 2.2);
        let at = (frame.left - TICK - 6.0, y + 9.5);
        canvas.text(at, text, Setting::new(NUMBER, Anchor::End));
    }
    for y in prepared.y_ticks.minor.iter().filter_map(|v| field.y.place(*v)) {
        canvas.line((frame.left - TICK / 2.0, y), (frame.left, y), Colour::INK, 1.6);
    }

    let size = fit(&panel.x.label, LABEL, false, frame.width() + 60.0);
    let at = (frame.left.midpoint(frame.right), frame.bottom + 75.0);
    canvas.text(at, &panel.x.label, Setting::new(size, Anchor::Middle));
}

/// As many numbers as stand side by side without touching.
fn fitting_ticks(axis: &Axis, range: (f64, f64), room: f64) -> Ticks {
    let along = Along::new(axis.scale, range, 0.0, room);
    let fits = |ticks: &Ticks| {
        let spans: Vec<(f64, f64)> = ticks
            .major
            .iter()
            .filter_map(|(value, text)| {
                let half = width(text, NUMBER, false) / 2.0;
                along.place(*value).map(|x| (x - half, x + half))
            })
            .collect();
        spans.windows(2).all(|pair| pair[1].0 - pair[0].1 >= 14.0)
    };
    (2..=7)
        .rev()
        .map(|most| ticks(axis.scale, range, most))
        .find(|ticks| fits(ticks))
        .unwrap_or_else(|| ticks(axis.scale, range, 2))
}

/// A sentence in the middle of an empty panel; else at its top or bottom, where it hides less.
fn draw_note(canvas: &mut Canvas, note: &str, frame: Frame, drawn: Range<usize>) {
    const LINE_HEIGHT: f64 = 36.0;
    let lines = wrap(note, NUMBER, false, 0.86 * frame.width());
    let widths = lines.iter().map(|line| width(line, NUMBER, false));
    let half = widths.fold(0.0, f64::max) / 2.0 + 12.0;
    let height = LINE_HEIGHT * lines.len() as f64 + 6.0;
    let middle = frame.left.midpoint(frame.right);
    let drawn = canvas.items.get(drawn).unwrap_or_default();
    let at = |top| Frame { left: middle - half, top, right: middle + half, bottom: top + height };
    let place = if drawn.is_empty() {
        at(frame.top + (frame.height() - height) / 2.0)
    } else {
        let (high, low) = (at(frame.top + 8.0), at(frame.bottom - height - 8.0));
        if hidden(drawn, high) > hidden(drawn, low) { low } else { high }
    };
    if !drawn.is_empty() {
        canvas.rectangle((place.left, place.top), (place.right, place.bottom), PAPER);
    }
    for (i, line) in lines.iter().enumerate() {
        let at = (middle, place.top + LINE_HEIGHT * i as f64 + 29.0);
        canvas.text(at, line, Setting::new(NUMBER, Anchor::Middle));
    }
}

/// How many corners of lines, markers and cells lie in a frame.
fn hidden(items: &[Item], frame: Frame) -> usize {
    let count = |points: &[Place]| points.iter().filter(|&&p| frame.contains(p)).count();
    items
        .iter()
        .map(|item| match item {
            Item::Polyline { points, .. } | Item::Polygon { points, .. } => count(points),
            Item::Circle { centre, .. } => count(&[*centre]),
            Item::Rectangle { corner, .. } => count(&[*corner]),
            Item::Text { .. } => 0,
        })
        .sum()
}
