//! Training loss against steps and seconds.

use kuva::backend::svg::SvgBackend;
use kuva::plot::legend::LegendPosition;
use kuva::plot::{LinePlot, LineStyle};
use kuva::render::figure::Figure;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;

use crate::methods::{Family, REFERENCE};
use crate::report::{median, seconds_a_step};
use crate::tuning::Trained;

/// Told apart also without colour vision (Okabe and Ito 2008).
const COLOURS: [&str; 6] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
/// Once all colours are taken, lines are dashed.
const STYLES: [LineStyle; 3] = [LineStyle::Solid, LineStyle::Dashed, LineStyle::Dotted];
/// Of the method that every panel shows.
const REFERENCE_COLOUR: &str = "#000000";

/// How losses are drawn.
#[derive(Clone, Copy, Debug)]
pub enum LossAxis {
    /// Those that fall by orders of magnitude.
    Logarithmic,
    /// Those that do not: curves start where they come below this.
    UpTo(f64),
}

/// What is shown of a task beside its runs.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Above all panels.
    pub title: &'a str,
    /// How losses are drawn.
    pub axis: LossAxis,
}

/// An SVG with a row of two panels for each family of methods; each point is the median over runs.
#[must_use]
pub fn svg(methods: &[Trained], look: Look<'_>) -> String {
    let curves = methods.iter().flat_map(|trained| &trained.runs);
    let ends = curves.filter_map(|run| run.curve.last().map(|point| point.step as f64));
    let steps = ends.fold(1.0, f64::max);
    let mut plots = Vec::new();
    let mut layouts = Vec::new();
    for family in Family::ALL {
        for (x, x_label) in [(Horizontal::Steps, "steps"), (Horizontal::Seconds, "seconds")] {
            let lines = lines(methods, family, x, look.axis);
            let mut layout = Layout::auto_from_plots(&lines)
                .with_x_label(x_label)
                .with_y_label("training loss (nats)")
                .with_title(family.title());
            layout = match look.axis {
                LossAxis::Logarithmic => layout.with_log_y(),
                LossAxis::UpTo(_) => layout,
            };
            if x == Horizontal::Steps {
                layout = layout.with_x_axis_max(steps);
            }
            layouts.push(layout.with_legend_position(LegendPosition::OutsideRightTop));
            plots.push(lines);
        }
    }
    let figure = Figure::new(Family::ALL.len(), 2)
        .with_title(look.title)
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(560.0, 300.0)
        .with_col_width(0, 420.0);
    SvgBackend.render_scene(&figure.render())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Horizontal {
    Steps,
    Seconds,
}

/// The curves of a family and of the reference.
fn lines(methods: &[Trained], family: Family, x: Horizontal, axis: LossAxis) -> Vec<Plot> {
    let is_reference = |trained: &&Trained| trained.candidate.name == REFERENCE;
    let reference = methods.iter().filter(is_reference);
    let of_family = methods
        .iter()
        .filter(|trained| trained.candidate.family == family && !is_reference(trained));
    let mut plots: Vec<Plot> = reference
        .map(|trained| line(trained, x, axis, (REFERENCE_COLOUR, LineStyle::Solid)))
        .collect();
    plots.extend(of_family.enumerate().map(|(number, trained)| {
        let style = STYLES[number / COLOURS.len() % STYLES.len()].clone();
        line(trained, x, axis, (COLOURS[number % COLOURS.len()], style))
    }));
    plots
}

fn line(
    trained: &Trained,
    x: Horizontal,
    axis: LossAxis,
    (colour, style): (&str, LineStyle),
) -> Plot {
    let points = trained.runs.iter().map(|run| run.curve.len()).min().unwrap_or(0);
    let seconds_a_step = seconds_a_step(trained);
    let data = (0..points).map(|i| {
        // Curves have their points at the same steps.
        let step = trained.runs[0].curve[i].step as f64;
        let x = match x {
            Horizontal::Steps => step,
            Horizontal::Seconds => step * seconds_a_step,
        };
        (x, median(trained.runs.iter().map(|run| run.curve[i].loss)))
    });
    let is_shown = |loss: f64| match axis {
        LossAxis::Logarithmic => loss.is_finite(),
        LossAxis::UpTo(most) => loss <= most,
    };
    let line = LinePlot::new()
        .with_data(data.filter(|&(x, loss)| x.is_finite() && is_shown(loss)))
        .with_color(colour)
        .with_line_style(style)
        .with_stroke_width(1.6);
    // One legend for both panels of a row, on its right.
    Plot::Line(match x {
        Horizontal::Steps => line,
        Horizontal::Seconds => line.with_legend(trained.candidate.name),
    })
}
