//! Loss and accuracy against steps and seconds.

use kuva::backend::svg::SvgBackend;
use kuva::plot::LinePlot;
use kuva::render::figure::Figure;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;

use crate::report::median;
use crate::training::{Point, Trained};

/// Told apart also without colour vision (Okabe and Ito 2008).
const COLOURS: [&str; 5] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"];

/// An SVG of four panels; each point is the median over runs.
#[must_use]
pub fn svg(methods: &[Trained]) -> String {
    let step = |p: &Point| p.step as f64;
    let seconds = |p: &Point| p.seconds;
    let panels: [(Vec<Plot>, Layout); 4] = [
        panel(methods, step, "steps", |p| p.loss, Vertical::Loss),
        panel(methods, seconds, "seconds", |p| p.loss, Vertical::Loss),
        panel(methods, step, "steps", |p| p.accuracy, Vertical::Accuracy),
        panel(methods, seconds, "seconds", |p| p.accuracy, Vertical::Accuracy),
    ];
    let (plots, layouts): (Vec<_>, Vec<_>) = panels.into_iter().unzip();
    let figure = Figure::new(2, 2)
        .with_title("Two hidden layers on 1,797 handwritten digits")
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(420.0, 300.0)
        .with_shared_legend_bottom();
    SvgBackend.render_scene(&figure.render())
}

enum Vertical {
    Loss,
    Accuracy,
}

fn panel(
    methods: &[Trained],
    x: impl Fn(&Point) -> f64,
    x_label: &str,
    y: impl Fn(&Point) -> f64,
    vertical: Vertical,
) -> (Vec<Plot>, Layout) {
    let mut plots = Vec::new();
    for (trained, colour) in methods.iter().zip(COLOURS) {
        let points = trained.runs.iter().map(|run| run.curve.len()).min().unwrap_or(0);
        let data = (0..points).map(|i| {
            let at = |number: &dyn Fn(&Point) -> f64| {
                median(trained.runs.iter().map(|run| number(&run.curve[i])))
            };
            (at(&x), at(&y))
        });
        let line = LinePlot::new()
            .with_data(data)
            .with_color(colour)
            .with_stroke_width(1.8)
            .with_legend(trained.name);
        plots.push(Plot::Line(line));
    }
    let layout = Layout::auto_from_plots(&plots).with_x_label(x_label);
    let layout = match vertical {
        Vertical::Loss => layout.with_y_label("training loss (nats)").with_log_y(),
        Vertical::Accuracy => layout.with_y_label("test accuracy").with_y_axis_min(0.8),
    };
    (plots, layout)
}
