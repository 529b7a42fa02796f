//! One colour, weight and marker a method, the same in every figure.
//!
//! The colours are taken from the qualitative schemes of Okabe and Ito (2008,
//! <https://jfly.uni-koeln.de/color/>) and of Tol (2021, "bright" and "muted",
//! <https://personal.sron.nl/~pault/>), both made for readers with any colour vision. Markers tell
//! the lines apart in black and white.

/// A colour in sRGB: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// Near-black, for what belongs to no method.
    pub const INK: Self = Self(34, 34, 34);
    /// Grey, for references.
    pub const GREY: Self = Self(119, 119, 119);
}

/// Stroke of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stroke {
    /// Unbroken.
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
}

/// Form of a point or of a line's markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Disc.
    Circle,
    /// Square.
    Square,
    /// Triangle, point upwards.
    Triangle,
    /// Triangle, point downwards.
    TriangleDown,
    /// Square on its corner.
    Diamond,
    /// Two diagonal strokes.
    Cross,
    /// A horizontal and a vertical stroke.
    Plus,
    /// Hexagon.
    Hexagon,
    /// Star of five points.
    Star,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineStyle {
    /// Colour of the line, its band and its markers.
    pub colour: Colour,
    /// Stroke.
    pub stroke: Stroke,
    /// Drawn heavier than the others.
    pub strong: bool,
    /// Marker, drawn at a few places of the line.
    pub marker: Option<Shape>,
}

impl LineStyle {
    /// A solid line without markers.
    #[must_use]
    pub const fn plain(colour: Colour) -> Self {
        Self { colour, stroke: Stroke::Solid, strong: false, marker: None }
    }

    /// The same with another stroke; a line that is not solid has no markers.
    #[must_use]
    pub const fn with_stroke(self, stroke: Stroke) -> Self {
        let marker = if matches!(stroke, Stroke::Solid) { self.marker } else { None };
        Self { stroke, marker, ..self }
    }

    /// The same without markers.
    #[must_use]
    pub const fn without_marker(self) -> Self {
        Self { marker: None, ..self }
    }
}

/// Methods' names (letters and digits alone, in lower case) and how their lines look.
const METHODS: [(&str, Colour, Option<Shape>); 11] = [
    ("sgd", Colour(136, 136, 136), Some(Shape::Circle)),
    ("momentum", Colour(34, 34, 34), Some(Shape::Square)),
    ("adam", Colour(86, 180, 233), Some(Shape::Triangle)),
    ("amgd", Colour(0, 158, 115), Some(Shape::Diamond)),
    ("amgdbn", Colour(51, 34, 136), Some(Shape::Star)),
    ("ngdgaussnewton", Colour(0, 114, 178), Some(Shape::TriangleDown)),
    ("ngdempiricalfisher", Colour(68, 170, 153), Some(Shape::Star)),
    ("shampoo", Colour(204, 121, 167), Some(Shape::Plus)),
    ("soap", Colour(230, 159, 0), Some(Shape::Cross)),
    ("muon", Colour(136, 34, 85), Some(Shape::Hexagon)),
    ("kfac", Colour(213, 94, 0), None),
];

/// How a method's lines look in every figure; KFAC's are the strongest.
///
/// Capitals, spaces and punctuation of the name do not matter: "NGD (Gauss-Newton)" and
/// "ngd_gauss_newton" are one method, as are "SGD with momentum" and "momentum". A name that is
/// not known gets a plain grey line.
#[must_use]
pub fn method_style(name: &str) -> LineStyle {
    let key: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let key = match key.as_str() {
        "sgdwithmomentum" | "sgdmomentum" => "momentum",
        "ngd" | "ngdgn" | "gaussnewton" => "ngdgaussnewton",
        "ngdef" | "empiricalfisher" => "ngdempiricalfisher",
        other => other,
    };
    METHODS.iter().find(|(known, ..)| *known == key).map_or(
        LineStyle::plain(Colour::GREY),
        |&(_, colour, marker)| LineStyle {
            colour,
            stroke: Stroke::Solid,
            strong: key == "kfac",
            marker,
        },
    )
}

/// Colours of methods that have none of their own, in this order (Tol, "muted" and "bright").
const OTHERS: [(Colour, Shape); 8] = [
    (Colour(102, 17, 0), Shape::Circle),
    (Colour(51, 187, 238), Shape::Square),
    (Colour(153, 153, 51), Shape::Triangle),
    (Colour(170, 51, 119), Shape::Diamond),
    (Colour(17, 119, 51), Shape::TriangleDown),
    (Colour(221, 170, 51), Shape::Hexagon),
    (Colour(68, 119, 170), Shape::Cross),
    (Colour(238, 102, 119), Shape::Star),
];

/// How the lines of several methods look: each known one as everywhere, the others by their order.
#[must_use]
pub fn styles(names: &[&str]) -> Vec<LineStyle> {
    let mut others = OTHERS.iter().cycle();
    names
        .iter()
        .map(|name| {
            let style = method_style(name);
            if style != LineStyle::plain(Colour::GREY) {
                return style;
            }
            others.next().map_or(style, |&(colour, marker)| LineStyle {
                marker: Some(marker),
                ..LineStyle::plain(colour)
            })
        })
        .collect()
}
