//! The SVG document of a canvas.

use super::Picture;
use super::canvas::{Anchor, Canvas, Item, Place};
use super::palette::{Colour, Stroke};
use std::fmt::Write;

/// DejaVu Sans, by whose widths the page is laid out, or something no wider or alike.
const FONTS: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// Writes the document, with a description in words of the picture that the canvas shows.
pub(super) fn write(canvas: &Canvas, picture: &Picture) -> String {
    let (width, height) = (canvas.width, canvas.height);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.3}in\" height=\"{:.3}in\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"{FONTS}\" stroke-linejoin=\"round\" \
         stroke-linecap=\"round\">\n",
        width / 300.0,
        height / 300.0,
    );
    if !picture.title.is_empty() {
        let _ = writeln!(svg, "<title>{}</title>", escape(&picture.title));
    }
    let _ = writeln!(svg, "<desc>{}</desc>", escape(&description(picture)));
    let _ = writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>");
    for item in &canvas.items {
        // Writing to a string cannot fail.
        let _ = write_item(&mut svg, item);
    }
    svg.push_str("</svg>\n");
    svg
}

/// What the panels show, for readers who cannot see them.
fn description(picture: &Picture) -> String {
    let panels: Vec<String> = picture
        .panels
        .iter()
        .map(|panel| {
            let mut sentence = format!("{} against {}", panel.y.label, panel.x.label);
            if !panel.title.is_empty() {
                sentence = format!("{}: {sentence}", panel.title);
            }
            match &panel.note {
                Some(note) => format!("{sentence} ({note})"),
                None => sentence,
            }
        })
        .collect();
    panels.join("; ")
}

fn write_item(svg: &mut String, item: &Item) -> std::fmt::Result {
    match item {
        Item::Polyline { points, colour, width, stroke } => {
            write!(
                svg,
                "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"",
                path(points),
                hex(*colour)
            )?;
            if let Some((on, off)) = dashes(*stroke, *width) {
                write!(svg, " stroke-dasharray=\"{on:.1} {off:.1}\"")?;
            } else if points.len() == 2 {
                svg.push_str(" stroke-linecap=\"butt\"");
            }
            svg.push_str("/>\n");
        }
        Item::Polygon { points, fill, opacity } => {
            write!(svg, "<path d=\"{}z\" fill=\"{}\"", path(points), hex(*fill))?;
            if *opacity < 1.0 {
                write!(svg, " fill-opacity=\"{opacity:.2}\"")?;
            }
            svg.push_str("/>\n");
        }
        Item::Circle { centre, radius, fill } => writeln!(
            svg,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\" fill=\"{}\"/>",
            tenths(centre.0),
            tenths(centre.1),
            hex(*fill)
        )?,
        Item::Rectangle { corner, size, fill } => writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" \
             shape-rendering=\"crispEdges\"/>",
            corner.0,
            corner.1,
            size.0,
            size.1,
            hex(*fill)
        )?,
        Item::Text { at, content, setting } => {
            let anchor = match setting.anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let (x, y) = (tenths(at.0), tenths(at.1));
            write!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" text-anchor=\"{anchor}\" fill=\"{}\"",
                setting.size,
                hex(setting.colour)
            )?;
            if setting.bold {
                svg.push_str(" font-weight=\"bold\"");
            }
            writeln!(svg, ">{}</text>", escape(content))?;
        }
    }
    Ok(())
}

/// Lengths of dash and gap, measured between the centres of the round ends.
pub(super) fn dashes(stroke: Stroke, width: f64) -> Option<(f64, f64)> {
    match stroke {
        Stroke::Solid => None,
        Stroke::Dashed => Some((3.4 * width, 2.8 * width)),
        Stroke::Dotted => Some((0.0, 2.2 * width)),
    }
}

/// Path data in steps of a tenth of a unit, each point relative to the one before.
fn path(points: &[Place]) -> String {
    let mut data = String::with_capacity(points.len() * 10);
    let mut before: Option<(i64, i64)> = None;
    for &(x, y) in points {
        let now = ((x * 10.0).round() as i64, (y * 10.0).round() as i64);
        let (letter, step) = match before {
            None => ('M', now),
            Some(b) => ('l', (now.0 - b.0, now.1 - b.1)),
        };
        let _ = write!(data, "{letter}{} {}", step.0 as f64 / 10.0, step.1 as f64 / 10.0);
        before = Some(now);
    }
    data
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn hex(Colour(red, green, blue): Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text as XML character data; characters that XML does not allow are left out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
