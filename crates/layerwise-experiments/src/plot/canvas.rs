//! The list of shapes from which both formats are written.

use super::palette::{Colour, Shape, Stroke};

/// A place on the page: rightwards and downwards, in 1/300 inch.
pub(super) type Place = (f64, f64);

/// White, the page's colour.
pub(super) const PAPER: Colour = Colour(255, 255, 255);

/// Blank border of the page.
pub(super) const MARGIN: f64 = 14.0;

/// Size of labels, titles and legend, 7.2 pt.
pub(super) const LABEL: u32 = 30;

/// Width of the rim around a marker.
const RIM: f64 = 2.5;

/// Where a text's reference point lies on its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How text is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) size: u32,
    pub(super) anchor: Anchor,
    pub(super) bold: bool,
    pub(super) colour: Colour,
}

impl Setting {
    /// Upright text in ink.
    pub(super) const fn new(size: u32, anchor: Anchor) -> Self {
        Self { size, anchor, bold: false, colour: Colour::INK }
    }
}

/// One shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Polyline { points: Vec<Place>, colour: Colour, width: f64, stroke: Stroke },
    Polygon { points: Vec<Place>, fill: Colour, opacity: f64 },
    Circle { centre: Place, radius: f64, fill: Colour },
    Rectangle { corner: Place, size: (f64, f64), fill: Colour },
    Text { at: Place, content: String, setting: Setting },
}

/// A page and what is on it, in drawing order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Canvas {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) items: Vec<Item>,
}

impl Canvas {
    pub(super) fn polyline(
        &mut self,
        points: Vec<Place>,
        colour: Colour,
        width: f64,
        stroke: Stroke,
    ) {
        self.items.push(Item::Polyline { points, colour, width, stroke });
    }

    /// A solid straight line.
    pub(super) fn line(&mut self, from: Place, to: Place, colour: Colour, width: f64) {
        self.polyline(vec![from, to], colour, width, Stroke::Solid);
    }

    pub(super) fn text(&mut self, at: Place, content: &str, setting: Setting) {
        if !content.trim().is_empty() {
            self.items.push(Item::Text { at, content: content.to_owned(), setting });
        }
    }

    /// A filled rectangle, its edges on whole units so that neighbours meet without a seam.
    pub(super) fn rectangle(&mut self, from: Place, to: Place, fill: Colour) {
        let corner = (from.0.min(to.0).round(), from.1.min(to.1).round());
        let size = (from.0.max(to.0).round() - corner.0, from.1.max(to.1).round() - corner.1);
        self.items.push(Item::Rectangle { corner, size, fill });
    }

    /// The outline of a rectangle.
    pub(super) fn outline(&mut self, from: Place, to: Place, colour: Colour, width: f64) {
        for (a, b) in [
            (from, (to.0, from.1)),
            ((to.0, from.1), to),
            (to, (from.0, to.1)),
            ((from.0, to.1), from),
        ] {
            self.line(a, b, colour, width);
        }
    }

    /// A marker of about `2 radius` in width, with a thin white rim if it is to be set off.
    pub(super) fn marker(
        &mut self,
        shape: Shape,
        centre: Place,
        radius: f64,
        colour: Colour,
        rim: bool,
    ) {
        let layers = [(RIM, PAPER), (0.0, colour)];
        for (more, fill) in layers.into_iter().skip(usize::from(!rim)) {
            let radius = radius + more;
            match shape {
                Shape::Circle => self.items.push(Item::Circle { centre, radius, fill }),
                Shape::Cross | Shape::Plus => {
                    let turn = if shape == Shape::Cross { 0.125 } else { 0.0 };
                    for part in [turn, turn + 0.25] {
                        let points = ring(centre, radius, &[part, part + 0.5]);
                        self.polyline(points, fill, 4.5 + 2.0 * more, Stroke::Solid);
                    }
                }
                _ => {
                    let points = outline_of(shape, centre, radius);
                    self.items.push(Item::Polygon { points, fill, opacity: 1.0 });
                }
            }
        }
    }
}

/// Corners of a polygonal marker.
fn outline_of(shape: Shape, centre: Place, radius: f64) -> Vec<Place> {
    let (corners, turn, factor) = match shape {
        Shape::Triangle => (3, 0.75, 1.25),
        Shape::TriangleDown => (3, 0.25, 1.25),
        Shape::Square => (4, 0.125, 1.25),
        Shape::Hexagon => (6, 0.0, 1.1),
        Shape::Star => (10, 0.75, 1.45),
        Shape::Diamond | Shape::Circle | Shape::Cross | Shape::Plus => (4, 0.0, 1.3),
    };
    let parts: Vec<f64> = (0..corners).map(|i| turn + f64::from(i) / f64::from(corners)).collect();
    let mut points = ring(centre, radius * factor, &parts);
    if shape == Shape::Star {
        for (x, y) in points.iter_mut().skip(1).step_by(2) {
            *x = centre.0 + 0.45 * (*x - centre.0);
            *y = centre.1 + 0.45 * (*y - centre.1);
        }
    }
    points
}

/// Points of a circle, at the given parts of a full turn (clockwise from the right).
fn ring(centre: Place, radius: f64, parts: &[f64]) -> Vec<Place> {
    parts
        .iter()
        .map(|part| {
            let (sin, cos) = (part * std::f64::consts::TAU).sin_cos();
            (centre.0 + radius * cos, centre.1 + radius * sin)
        })
        .collect()
}
