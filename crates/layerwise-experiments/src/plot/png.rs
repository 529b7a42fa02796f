//! The PNG file of a canvas, by kuva's rasteriser and its embedded DejaVu Sans.

use super::PlotError;
use super::canvas::{Anchor, Canvas, Item, Place, Setting};
use super::palette::{Colour, Stroke};
use super::svg::dashes;
use kuva::RasterBackend;
use kuva::render::color::Color;
use kuva::render::render::{PathData, Primitive, Scene, TextAnchor, TextSpan};

/// Draws the canvas with one pixel a unit.
///
/// # Errors
///
/// [`PlotError::Png`] with the rasteriser's message.
pub(super) fn write(canvas: &Canvas) -> Result<Vec<u8>, PlotError> {
    let mut scene = Scene::new(canvas.width, canvas.height);
    for item in &canvas.items {
        add(&mut scene, item);
    }
    RasterBackend::new().with_scale(1.0).render_scene(&scene).map_err(PlotError::Png)
}

fn add(scene: &mut Scene, item: &Item) {
    match item {
        Item::Polyline { points, colour, width, stroke } => {
            add_polyline(scene, points, *colour, *width, *stroke);
        }
        Item::Polygon { points, fill, opacity } => {
            let mut d = String::new();
            for (i, (x, y)) in points.iter().enumerate() {
                d.push_str(&format!("{}{x:.2} {y:.2} ", if i == 0 { 'M' } else { 'L' }));
            }
            d.push('Z');
            let translucent = *opacity < 1.0;
            scene.add(Primitive::Path(Box::new(PathData {
                d,
                fill: Some(color(*fill)),
                stroke: Color::None,
                stroke_width: 0.0,
                opacity: translucent.then_some(*opacity),
                stroke_dasharray: None,
            })));
            if !translucent {
                let next = points.iter().cycle().skip(1);
                points.iter().zip(next).for_each(|(&a, &b)| scene.add(hair(a, b, *fill)));
            }
        }
        Item::Circle { centre, radius, fill } => scene.add(disc(*centre, *radius, *fill)),
        Item::Rectangle { corner, size, fill } => {
            scene.add(rectangle(*corner, *size, *fill));
        }
        Item::Text { at, content, setting } => scene.add(text(*at, content, setting)),
    }
}

fn color(Colour(red, green, blue): Colour) -> Color {
    Color::Rgb(red, green, blue)
}

fn disc((cx, cy): Place, r: f64, fill: Colour) -> Primitive {
    let fill = color(fill);
    Primitive::Circle { cx, cy, r, fill, fill_opacity: None, stroke: None, stroke_width: None }
}

fn rectangle((x, y): Place, (width, height): (f64, f64), fill: Colour) -> Primitive {
    let fill = color(fill);
    Primitive::Rect { x, y, width, height, fill, stroke: None, stroke_width: None, opacity: None }
}

fn text((x, y): Place, content: &str, setting: &Setting) -> Primitive {
    let anchor = match setting.anchor {
        Anchor::Start => TextAnchor::Start,
        Anchor::Middle => TextAnchor::Middle,
        Anchor::End => TextAnchor::End,
    };
    let color = Some(color(setting.colour));
    let size = setting.size;
    if setting.bold {
        let spans = vec![TextSpan { bold: true, ..TextSpan::plain(content) }];
        return Primitive::RichText { x, y, spans, size, anchor, color };
    }
    // The rasteriser would read what stands between two dollar signs as a formula.
    let content = content.replace('$', "\\$");
    Primitive::Text { x, y, content, size, anchor, rotate: None, bold: false, color }
}

/// Adds a line as pieces that the rasteriser draws smoothly: upright and level ones as
/// rectangles, dots as discs, and others as a core between two hair lines.
fn add_polyline(scene: &mut Scene, points: &[Place], colour: Colour, width: f64, stroke: Stroke) {
    match (dashes(stroke, width), points) {
        (None, &[a, b]) if a.0 == b.0 || a.1 == b.1 => {
            scene.add(straight(a, b, colour, width));
        }
        (None, points) => add_solid(scene, points, colour, width),
        (Some((on, off)), points) => {
            for dash in cut(points, on, off) {
                match dash[..] {
                    [dot] => scene.add(disc(dot, width / 2.0, colour)),
                    _ => add_solid(scene, &dash, colour, width),
                }
            }
        }
    }
}

/// An upright or level line, on whole pixels across.
fn straight(a: Place, b: Place, colour: Colour, width: f64) -> Primitive {
    let thick = width.round().max(1.0);
    let across = |c: f64| (c - thick / 2.0).round();
    if a.0 == b.0 {
        rectangle((across(a.0), a.1.min(b.1)), (thick, (a.1 - b.1).abs()), colour)
    } else {
        rectangle((a.0.min(b.0), across(a.1)), ((a.0 - b.0).abs(), thick), colour)
    }
}

fn add_solid(scene: &mut Scene, points: &[Place], colour: Colour, width: f64) {
    let core = (width - 1.0).max(1.6);
    scene.add(Primitive::PolyLine {
        points: points.to_vec(),
        stroke: color(colour),
        stroke_width: core,
        stroke_dasharray: None,
    });
    for (&a, &b) in points.iter().zip(points.iter().skip(1)) {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy);
        if length > 0.0 {
            for half in [-core / 2.0, core / 2.0] {
                let (nx, ny) = (-dy / length * half, dx / length * half);
                scene.add(hair((a.0 + nx, a.1 + ny), (b.0 + nx, b.1 + ny), colour));
            }
        }
    }
}

/// A line of one pixel, the only kind that the rasteriser smooths in every direction; drawn
/// along an edge, it hides the edge's steps.
fn hair(from: Place, to: Place, colour: Colour) -> Primitive {
    // Pixel (i, j) has its centre at (i + ½, j + ½) in fills, but at (i, j) in thin lines.
    Primitive::Line {
        x1: from.0 - 0.5,
        y1: from.1 - 0.5,
        x2: to.0 - 0.5,
        y2: to.1 - 0.5,
        stroke: color(colour),
        stroke_width: 1.0,
        stroke_dasharray: None,
    }
}

/// The dashes of a polyline, with corners inside them; single points if `on` is zero.
fn cut(points: &[Place], on: f64, off: f64) -> Vec<Vec<Place>> {
    let mut dashes: Vec<Vec<Place>> = points.first().map(|&p| vec![p]).into_iter().collect();
    let (mut drawing, mut left) = (on > 0.0, if on > 0.0 { on } else { off });
    for (&a, &b) in points.iter().zip(points.iter().skip(1)) {
        let length = (b.0 - a.0).hypot(b.1 - a.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let t = done / length;
            let at = (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1));
            match dashes.last_mut() {
                Some(dash) if drawing => dash.push(at),
                _ => dashes.push(vec![at]),
            }
            drawing = on > 0.0 && !drawing;
            left = if drawing { on } else { off };
        }
        left -= length - done;
        if let Some(dash) = dashes.last_mut().filter(|_| drawing) {
            dash.push(b);
        }
    }
    dashes
}
