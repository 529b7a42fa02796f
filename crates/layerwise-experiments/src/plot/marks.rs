//! Lines, bands, points and rules inside a panel's frame.

use super::canvas::{Canvas, Item, Place};
use super::clip::{Frame, simplify};
use super::palette::{Colour, LineStyle, Shape, Stroke};
use super::ticks::{coordinate, drawable};
use super::{Mark, Scale};

/// Width of a line, 0.9 pt.
pub(super) const LINE: f64 = 3.8;
/// Width of a strong line, 1.6 pt.
pub(super) const STRONG: f64 = 6.6;
/// Radius of a marker.
pub(super) const MARKER: f64 = 8.5;
/// Opacity of a band.
pub(super) const BAND: f64 = 0.16;
/// Curves may move by this much when points are left out; 1/600 inch.
const TOLERANCE: f64 = 0.5;
/// Markers along a line.
const MARKERS: u32 = 5;

/// Width of a style's line.
pub(super) const fn line_width(style: LineStyle) -> f64 {
    if style.strong { STRONG } else { LINE }
}

/// From numbers to places along one direction of the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Along {
    /// `range.0` is put at `from`, `range.1` at `to`.
    pub(super) fn new(scale: Scale, range: (f64, f64), from: f64, to: f64) -> Self {
        let (low, high) = (coordinate(scale, range.0), coordinate(scale, range.1));
        Self { scale, low, high, from, to }
    }

    /// Place of a number; `None` if it has none on this scale.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        drawable(self.scale, value).then(|| {
            let share = (coordinate(self.scale, value) - self.low) / (self.high - self.low);
            self.from + share * (self.to - self.from)
        })
    }
}

/// A panel's frame and its two axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) frame: Frame,
    pub(super) x: Along,
    pub(super) y: Along,
}

impl Field {
    fn place(&self, x: f64, y: f64) -> Option<Place> {
        Some((self.x.place(x)?, self.y.place(y)?))
    }

    /// The band of a line, beneath all lines.
    pub(super) fn draw_band(&self, canvas: &mut Canvas, mark: &Mark) {
        let Mark::Line { x, band: Some((low, high)), style, .. } = mark else {
            return;
        };
        let edges = x
            .iter()
            .zip(low)
            .zip(high)
            .map(|((&x, &low), &high)| Some((self.place(x, low)?, self.place(x, high)?)));
        for run in runs(edges) {
            let (low, high): (Vec<Place>, Vec<Place>) = run.into_iter().unzip();
            let mut outline = simplify(&low, TOLERANCE);
            outline.extend(simplify(&high, TOLERANCE).into_iter().rev());
            let points = self.frame.clip_polygon(&outline);
            if points.len() > 2 {
                canvas.items.push(Item::Polygon { points, fill: style.colour, opacity: BAND });
            }
        }
    }

    /// Everything but bands and maps.
    pub(super) fn draw(&self, canvas: &mut Canvas, mark: &Mark) {
        match mark {
            Mark::Line { x, y, style, .. } => self.draw_line(canvas, x, y, *style),
            Mark::Points { x, y, error, colour, shape } => {
                self.draw_points(canvas, (x, y), error.as_deref(), *colour, *shape);
            }
            Mark::Rule { y, colour, stroke } => self.draw_rule(canvas, *y, *colour, *stroke),
            Mark::Map { .. } => {}
        }
    }

    fn draw_line(&self, canvas: &mut Canvas, x: &[f64], y: &[f64], style: LineStyle) {
        let width = line_width(style);
        let mut seen: Vec<Place> = Vec::new();
        for run in runs(x.iter().zip(y).map(|(&x, &y)| self.place(x, y))) {
            seen.extend(run.iter().filter(|&&p| self.frame.contains(p)));
            if let [alone] = run[..]
                && self.frame.contains(alone)
            {
                let radius = width * 0.9;
                canvas.items.push(Item::Circle { centre: alone, radius, fill: style.colour });
            }
            for piece in self.frame.clip_polyline(&run) {
                let points = simplify(&piece, TOLERANCE);
                canvas.polyline(points, style.colour, width, style.stroke);
            }
        }
        if let Some(shape) = style.marker {
            for at in self.marker_places(&seen, shape) {
                canvas.marker(shape, at, MARKER, style.colour, true);
            }
        }
    }

    /// A few of a line's places, evenly spread over the frame, and displaced by shape so that
    /// the markers of neighbouring lines do not cover each other.
    fn marker_places(&self, seen: &[Place], shape: Shape) -> Vec<Place> {
        let phase = (0.05 + 0.618 * f64::from(shape as u8)).fract();
        let mut places: Vec<Place> = (0..MARKERS)
            .filter_map(|i| {
                let share = (f64::from(i) + phase) / f64::from(MARKERS);
                let target = self.frame.left + share * self.frame.width();
                seen.iter()
                    .copied()
                    .min_by(|p, q| (p.0 - target).abs().total_cmp(&(q.0 - target).abs()))
            })
            .collect();
        places.dedup();
        places
    }

    fn draw_points(
        &self,
        canvas: &mut Canvas,
        (x, y): (&[f64], &[f64]),
        error: Option<&[f64]>,
        colour: Colour,
        shape: Shape,
    ) {
        for (index, (&x, &y)) in x.iter().zip(y).enumerate() {
            let Some(at) = self.place(x, y) else { continue };
            let half = error.and_then(|e| e.get(index)).filter(|e| e.is_finite() && **e > 0.0);
            if let Some(half) = half {
                self.draw_error_bar(canvas, at.0, y - half, y + half, colour);
            }
            if self.frame.contains(at) {
                canvas.marker(shape, at, MARKER, colour, half.is_none());
            }
        }
    }

    /// A vertical bar with caps at the ends that lie in the frame; an end without a place on
    /// the axis is at the frame.
    fn draw_error_bar(&self, canvas: &mut Canvas, x: f64, low: f64, high: f64, colour: Colour) {
        let ends = [
            self.y.place(low).unwrap_or(self.frame.bottom + 1.0),
            self.y.place(high).unwrap_or(self.frame.top - 1.0),
        ];
        for piece in self.frame.clip_polyline(&[(x, ends[0]), (x, ends[1])]) {
            canvas.polyline(piece, colour, 2.6, Stroke::Solid);
        }
        for end in ends {
            for piece in self.frame.clip_polyline(&[(x - 5.0, end), (x + 5.0, end)]) {
                canvas.polyline(piece, colour, 2.6, Stroke::Solid);
            }
        }
    }

    fn draw_rule(&self, canvas: &mut Canvas, y: f64, colour: Colour, stroke: Stroke) {
        let Some(y) = self.y.place(y) else { return };
        let ends = [(self.frame.left, y), (self.frame.right, y)];
        for piece in self.frame.clip_polyline(&ends) {
            canvas.polyline(piece, colour, LINE, stroke);
        }
    }
}

/// The uninterrupted stretches of a sequence with gaps.
fn runs<T>(sequence: impl Iterator<Item = Option<T>>) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    let mut open = false;
    for entry in sequence {
        match (entry, runs.last_mut()) {
            (Some(entry), Some(run)) if open => run.push(entry),
            (Some(entry), _) => {
                runs.push(vec![entry]);
                open = true;
            }
            (None, _) => open = false,
        }
    }
    runs
}
