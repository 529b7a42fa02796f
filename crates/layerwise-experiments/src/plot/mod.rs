//! Pictures from plain data: panels with lines, points and maps, as SVG and PNG.
//!
//! A [`Picture`] says what is shown; [`render`] decides where it stands on the page. Both
//! outputs are drawn from one list of shapes, so they agree, and their bytes depend on the
//! picture alone. A picture with two or more columns is 6 inches wide, one with a single column
//! 3½ inches, at 300 dots per inch; its text is between 6 and 8 points high.
//!
//! Non-finite numbers, numbers beyond 10³⁰⁰ in size, and numbers below 10⁻³⁰⁰ (so the
//! non-positive ones) on a logarithmic axis, are gaps. What lies outside a fixed axis range is clipped at the frame.

mod canvas;
mod clip;
mod layout;
mod legend;
mod maps;
mod marks;
pub mod palette;
mod png;
mod svg;
mod text;
mod ticks;
mod validate;

pub use palette::{Colour, LineStyle, Shape, Stroke, method_style};
use thiserror::Error;

/// A figure: panels in rows of [`Picture::columns`], one legend below them, and one colour
/// bar when a panel holds a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Short title above the panels; may be empty.
    pub title: String,
    /// Panels, row by row. Two or more are lettered (a), (b), …
    pub panels: Vec<Panel>,
    /// Panels in a row, at least 1.
    pub columns: usize,
    /// The figure's only legend; may be empty.
    pub legend: Vec<LegendEntry>,
    /// Colour scale of all the figure's maps; needed if there is one.
    pub colour_bar: Option<ColourBar>,
}

/// One coordinate system and what is drawn in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Short title beside the panel's letter; may be empty. A title too long for its panel is broken
    /// at spaces, but not at no-break spaces.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// Drawn in this order, later ones on top. May be empty.
    pub marks: Vec<Mark>,
    /// Sentence written inside the panel, such as "all runs diverged".
    pub note: Option<String>,
}

/// A panel's axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Quantity with its symbol, in Unicode, such as "learning rate η".
    pub label: String,
    /// Spacing of the numbers.
    pub scale: Scale,
    /// First and last number shown; from the data when `None`. Both positive on a logarithmic
    /// axis.
    pub range: Option<(f64, f64)>,
}

/// Spacing of the numbers on an axis or a colour bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences, equal distances.
    Linear,
    /// Equal ratios, equal distances; labelled in powers of ten.
    Log10,
}

/// Something drawn in a panel.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A curve through points, in the order given; one non-drawable point breaks it.
    Line {
        /// Abscissas.
        x: Vec<f64>,
        /// Ordinates, as many as `x`.
        y: Vec<f64>,
        /// Lower and upper ordinates (quartiles, say) of a translucent band, as many as `x`.
        band: Option<(Vec<f64>, Vec<f64>)>,
        /// Colour, stroke, weight and marker.
        style: LineStyle,
    },
    /// Single points.
    Points {
        /// Abscissas.
        x: Vec<f64>,
        /// Ordinates, as many as `x`.
        y: Vec<f64>,
        /// Half-lengths of vertical error bars, as many as `x`, in the units of `y`.
        error: Option<Vec<f64>>,
        /// Colour of point and bar.
        colour: Colour,
        /// Form of the point.
        shape: Shape,
    },
    /// A horizontal line over the whole panel.
    Rule {
        /// Its ordinate.
        y: f64,
        /// Its colour.
        colour: Colour,
        /// Its stroke.
        stroke: Stroke,
    },
    /// A map: one coloured cell for each pair of coordinates.
    Map {
        /// Abscissas of the cells' centres, strictly increasing.
        x: Vec<f64>,
        /// Ordinates of the cells' centres, strictly increasing.
        y: Vec<f64>,
        /// `cells[j][i]` belongs to `(x[i], y[j])`.
        cells: Vec<Vec<Cell>>,
    },
}

/// Content of a map's cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// A number, coloured by the picture's [`ColourBar`]; left blank if it is not finite.
    Value(f64),
    /// The run diverged.
    Diverged,
    /// The run did not get there in the steps allowed.
    NotReached,
}

/// Key of a picture's maps: a sequential, colour-blind-safe scale and the two special cells.
#[derive(Clone, Debug, PartialEq)]
pub struct ColourBar {
    /// What is counted, such as "steps to dist ≤ 0.2".
    pub label: String,
    /// Spacing of the numbers over the colours.
    pub scale: Scale,
    /// Numbers of the first and last colour; from all maps of the picture when `None`.
    pub range: Option<(f64, f64)>,
    /// Name of the cells that are [`Cell::Diverged`], in the key.
    pub diverged: String,
    /// Name of the cells that are [`Cell::NotReached`], in the key.
    pub not_reached: String,
}

/// One line of the legend.
#[derive(Clone, Debug, PartialEq)]
pub enum LegendEntry {
    /// Names a line style.
    Line {
        /// Its name.
        label: String,
        /// The style named.
        style: LineStyle,
    },
    /// Names a kind of points.
    Points {
        /// Their name.
        label: String,
        /// Their colour.
        colour: Colour,
        /// Their form.
        shape: Shape,
        /// Whether they carry error bars.
        error: bool,
    },
    /// Names a translucent band.
    Band {
        /// Its name.
        label: String,
        /// Its colour.
        colour: Colour,
    },
}

/// A picture in both formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// SVG document.
    pub svg: String,
    /// PNG file.
    pub png: Vec<u8>,
}

/// Why a picture cannot be drawn. Panels and marks are counted from 0.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlotError {
    /// A picture without panels.
    #[error("a picture needs at least one panel")]
    NoPanels,
    /// A picture without columns.
    #[error("a picture needs at least one column of panels")]
    NoColumns,
    /// Lists that belong together differ in length.
    #[error("panel {panel}, mark {mark}: {what} has {found} entries, expected {expected}")]
    Length {
        /// Panel of the mark.
        panel: usize,
        /// The mark.
        mark: usize,
        /// The list at fault.
        what: &'static str,
        /// Length it should have.
        expected: usize,
        /// Length it has.
        found: usize,
    },
    /// A map's centres do not increase, or cannot be drawn on their axis.
    #[error(
        "panel {panel}, mark {mark}: the map's {what} must be finite, increasing, and positive on a logarithmic axis; entry {index} is {value}"
    )]
    Centres {
        /// Panel of the map.
        panel: usize,
        /// The map.
        mark: usize,
        /// `"x"` or `"y"`.
        what: &'static str,
        /// First entry at fault.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// An axis range that is empty, not finite, or not positive on a logarithmic axis.
    #[error("{what}: {low} to {high} is no range for its scale")]
    Range {
        /// Which axis.
        what: String,
        /// First number.
        low: f64,
        /// Last number.
        high: f64,
    },
    /// A map in a picture that has no colour bar.
    #[error("panel {panel} holds a map, but the picture has no colour bar")]
    NoColourBar {
        /// Panel of the map.
        panel: usize,
    },
    /// The PNG could not be written.
    #[error("the PNG could not be made: {0}")]
    Png(String),
}

/// Draws a picture.
///
/// # Errors
///
/// [`PlotError`] if lists that belong together differ in length, a range or a map's centres
/// cannot be drawn, or there is no panel. Data that cannot be drawn are gaps, not errors.
pub fn render(picture: &Picture) -> Result<Rendered, PlotError> {
    validate::validate(picture)?;
    let canvas = layout::draw(picture);
    Ok(Rendered { svg: svg::write(&canvas, picture), png: png::write(&canvas)? })
}

#[cfg(test)]
mod tests;
