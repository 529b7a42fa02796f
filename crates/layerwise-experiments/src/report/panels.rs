//! The picture of an experiment.

use serde_json::Value;

use crate::Result;
use crate::experiment::file::{PanelFile, SeriesFile, Statistic};
use crate::experiment::grid::Grid;
use crate::model::{Kind, Measure};
use crate::plot::{
    Axis, Cell, Colour, ColourBar, LegendEntry, LineStyle, Mark, Panel, Picture, Scale, Shape,
    Stroke, palette,
};
use crate::report::view::{At, View};
use crate::statistics::{mean_and_error, median, quantile};

/// Half-length of error bars, in standard errors.
const BAR: f64 = 2.0;
/// Points of a curve of theory, also in a quick run.
const FINE: usize = 97;
/// Marks where most trials diverged.
const DIVERGED: Shape = Shape::Plus;

/// The picture, with one legend for all panels.
///
/// # Errors
/// Where a closed form is undefined.
pub(crate) fn picture(view: View<'_>) -> Result<Picture> {
    let file = &view.experiment.file;
    let names: Vec<&str> = view.experiment.methods.iter().map(|m| m.label.as_str()).collect();
    let drawing = Drawing { view, styles: palette::styles(&names) };
    let panels = file.panel.iter().map(|panel| drawing.panel(panel)).collect::<Result<Vec<_>>>()?;
    Ok(Picture {
        title: String::new(),
        columns: file.picture.columns.unwrap_or(panels.len()),
        panels,
        legend: drawing.legend(),
        colour_bar: file.picture.colour_bar.as_ref().map(|bar| ColourBar {
            label: bar.label.clone(),
            scale: Scale::Log10,
            range: bar.range.map(|[low, high]| (low, high)),
            diverged: bar.diverged.clone(),
            not_reached: bar.not_reached.clone(),
        }),
    })
}

struct Drawing<'a> {
    view: View<'a>,
    /// How each method's lines look.
    styles: Vec<LineStyle>,
}

/// One of a panel's settings, and how it is told apart.
struct Series<'a> {
    settings: Vec<usize>,
    file: Option<&'a SeriesFile>,
}

impl Series<'_> {
    fn stroke(&self) -> Stroke {
        self.file.map_or(Stroke::Solid, |file| file.stroke.into())
    }

    fn marker(&self) -> Shape {
        self.file.map_or(Shape::Circle, |file| file.marker.into())
    }
}

/// What a method shows in a panel: a point at each value of the axis, or the same everywhere.
enum Shown {
    Along(Vec<(f64, At)>),
    Everywhere(At),
}

impl<'a> Drawing<'a> {
    fn panel(&self, file: &PanelFile) -> Result<Panel> {
        if let Some(measure) = file.map.as_deref().and_then(|m| self.measure(m)) {
            return Ok(self.map(file, measure));
        }
        let measure = self.measure(&file.y);
        let mut panel = Panel {
            title: file.title.clone(),
            x: self.x_axis(file),
            y: self.y_axis(file, measure),
            marks: Vec::new(),
            note: None,
        };
        let Some(measure) = measure else { return Ok(panel) };
        for series in self.series(file) {
            if let Some(x) = self.measure(&file.x) {
                self.against(file, x, measure, &series, &mut panel);
            } else if file.x == "iteration" {
                self.curves(file, measure, &series, &mut panel);
            } else {
                match file.statistic {
                    Statistic::Median => self.medians(file, measure, &series, &mut panel),
                    Statistic::Mean => self.means(file, measure, &series, &mut panel)?,
                }
            }
        }
        Ok(panel)
    }

    fn measure(&self, name: &str) -> Option<&'static Measure> {
        self.view.experiment.model.measure(name)
    }

    fn series<'f>(&self, file: &'f PanelFile) -> Vec<Series<'f>> {
        let experiment = self.view.experiment;
        if file.series.is_empty() {
            let settings = experiment.group(file.setting.as_deref());
            return vec![Series { settings, file: None }];
        }
        let of = |series: &'f SeriesFile| Series {
            settings: experiment.group(Some(&series.setting)),
            file: Some(series),
        };
        file.series.iter().map(of).collect()
    }

    /// The methods of a panel that run on a setting, in the panel's order.
    fn methods(&self, file: &PanelFile, setting: usize) -> Vec<usize> {
        let experiment = self.view.experiment;
        let on_it = || experiment.settings[setting].methods.iter().map(|(method, _)| *method);
        match &file.methods {
            None => on_it().collect(),
            Some(names) => names
                .iter()
                .filter_map(|name| experiment.method(name))
                .filter(|method| on_it().any(|other| other == *method))
                .collect(),
        }
    }

    fn x_axis(&self, file: &PanelFile) -> Axis {
        let measure = self.measure(&file.x);
        let standard = match (file.x.as_str(), measure) {
            (_, Some(measure)) => measure.label,
            ("iteration", _) => "iteration t",
            ("rate", _) => "learning rate η",
            ("damping", _) => "damping λ",
            (other, _) => other,
        };
        let scale = match (file.x_scale, file.x.as_str()) {
            (Some(scale), _) => scale.into(),
            (None, "iteration") => Scale::Log10,
            _ if measure.is_some_and(|measure| measure.logarithmic) => Scale::Log10,
            (None, axis) if self.grids(axis).any(Grid::is_logarithmic) => Scale::Log10,
            _ => Scale::Linear,
        };
        let label = file.x_label.clone().unwrap_or_else(|| standard.into());
        Axis { label, scale, range: None }
    }

    fn y_axis(&self, file: &PanelFile, measure: Option<&Measure>) -> Axis {
        let label = file.y_label.clone().unwrap_or_else(|| match measure {
            Some(measure) => measure.label.into(),
            None => file.y.clone(),
        });
        let logarithmic = measure.is_some_and(|measure| measure.logarithmic);
        let scale = match file.y_scale {
            Some(scale) => scale.into(),
            None if logarithmic => Scale::Log10,
            None => Scale::Linear,
        };
        Axis { label, scale, range: None }
    }

    /// The grids of something that is varied, in methods and settings.
    fn grids(&self, axis: &str) -> impl Iterator<Item = &'a Grid> {
        let experiment = self.view.experiment;
        let of_methods =
            (0..experiment.methods.len()).flat_map(|m| experiment.methods[m].grid(axis));
        let groups = 0..experiment.file.setting.len();
        let of_settings = groups.flat_map(|group| experiment.grid_of_settings(group, axis));
        of_methods.chain(of_settings).collect::<Vec<_>>().into_iter()
    }

    /// The cell of a method that a panel shows where it is not on an axis.
    fn at(
        &self,
        file: &PanelFile,
        setting: usize,
        method: usize,
        held: &[(&str, &Value)],
    ) -> Option<At> {
        match file.fastest.as_deref().and_then(|name| self.measure(name)) {
            Some(measure) => self.view.fastest(setting, method, measure, held),
            None => self.view.tuned(setting, method, held).map(|chosen| chosen.at),
        }
    }

    fn shown(&self, file: &PanelFile, series: &Series<'_>, method: usize) -> Option<Shown> {
        let experiment = self.view.experiment;
        let entry = &experiment.methods[method];
        let first = *series.settings.first()?;
        if let Some(axis) = entry.axis(&file.x) {
            let cells: Vec<At> = if entry.axes[axis].tuned {
                self.view.along(self.at(file, first, method, &[])?, &file.x)
            } else {
                let values = entry.axes[axis].grid.values(experiment.plan.quick);
                let at = |value: &Value| self.at(file, first, method, &[(&file.x, value)]);
                values.iter().filter_map(at).collect()
            };
            let point = |at: At| Some((entry.number(at.cell, &file.x)?, at));
            return Some(Shown::Along(cells.into_iter().filter_map(point).collect()));
        }
        let points: Vec<(f64, At)> = series
            .settings
            .iter()
            .filter_map(|&setting| {
                let x = experiment.settings[setting].value(&file.x)?.as_f64()?;
                Some((x, self.at(file, setting, method, &[])?))
            })
            .collect();
        if points.is_empty() {
            return self.at(file, first, method, &[]).map(Shown::Everywhere);
        }
        Some(Shown::Along(points))
    }

    /// Medians against the iteration, with the quartiles as a band.
    fn curves(&self, file: &PanelFile, measure: &Measure, series: &Series<'_>, panel: &mut Panel) {
        let Some(&setting) = series.settings.first() else { return };
        for rule in &file.rule {
            panel.marks.push(Mark::Rule {
                y: median(&self.view.of_trials(setting, &rule.trial)),
                colour: Colour::GREY,
                stroke: rule.stroke.into(),
            });
        }
        for below in &file.below {
            let method = self.view.experiment.method(&below.method);
            let at = method.and_then(|method| self.at(file, setting, method, &[]));
            panel.marks.extend(at.map(|at| self.curve(at, &below.y, below.stroke.into())));
        }
        let cells = self.shown_cells(file, setting);
        panel.marks.extend(cells.iter().map(|&at| self.curve(at, measure.name, series.stroke())));
        panel.note = panel.note.take().or_else(|| self.divergence_note(&cells));
    }

    /// The cell of each method of a panel, where it has one.
    fn shown_cells(&self, file: &PanelFile, setting: usize) -> Vec<At> {
        let methods = self.methods(file, setting).into_iter();
        methods.filter_map(|method| self.at(file, setting, method, &[])).collect()
    }

    fn curve(&self, at: At, measure: &str, stroke: Stroke) -> Mark {
        let column = |fraction: f64| self.column(at, measure, fraction);
        Mark::Line {
            x: self.view.setting(at).problem.recorded().iter().map(|&t| t as f64).collect(),
            y: column(0.5),
            band: Some((column(0.25), column(0.75))),
            style: self.styles[at.method].with_stroke(stroke),
        }
    }

    /// A quantile over the trials, at each recorded iteration.
    fn column(&self, at: At, measure: &str, fraction: f64) -> Vec<f64> {
        let runs = self.view.series(at, measure);
        let of = |i: usize| {
            let values: Vec<f64> =
                runs.iter().map(|run| run.get(i).copied().unwrap_or(f64::NAN)).collect();
            quantile(&values, fraction)
        };
        (0..self.view.setting(at).problem.recorded().len()).map(of).collect()
    }

    /// The median of a measure against that of another, a point an iteration.
    fn against(
        &self,
        file: &PanelFile,
        x: &Measure,
        y: &Measure,
        series: &Series<'_>,
        panel: &mut Panel,
    ) {
        let Some(&setting) = series.settings.first() else { return };
        let cells = self.shown_cells(file, setting);
        panel.marks.extend(cells.iter().map(|&at| Mark::Line {
            x: self.column(at, x.name, 0.5),
            y: self.column(at, y.name, 0.5),
            band: None,
            style: self.styles[at.method].with_stroke(series.stroke()),
        }));
        panel.note = panel.note.take().or_else(|| self.divergence_note(&cells));
    }

    /// Medians at the end against what is varied, with the quartiles as a band.
    fn medians(&self, file: &PanelFile, measure: &Measure, series: &Series<'_>, panel: &mut Panel) {
        let Some(&first) = series.settings.first() else { return };
        let mut marked = Vec::new();
        let mut cells = Vec::new();
        for method in self.methods(file, first) {
            match self.shown(file, series, method) {
                None => {}
                Some(Shown::Everywhere(at)) => {
                    cells.push(at);
                    panel.marks.push(Mark::Rule {
                        y: median(&self.view.ends(at, measure)),
                        colour: self.styles[method].colour,
                        stroke: series.stroke(),
                    });
                }
                Some(Shown::Along(points)) => {
                    cells.extend(self.at(file, first, method, &[]));
                    let ends: Vec<Vec<f64>> =
                        points.iter().map(|(_, at)| self.view.ends(*at, measure)).collect();
                    let column =
                        |fraction: f64| ends.iter().map(|row| quantile(row, fraction)).collect();
                    let y: Vec<f64> = column(0.5);
                    let lost: Vec<usize> = (0..points.len())
                        .filter(|&i| self.view.most_diverged(points[i].1))
                        .collect();
                    marked.push(Mark::Points {
                        x: lost.iter().map(|&i| points[i].0).collect(),
                        y: lost.iter().map(|&i| y[i]).collect(),
                        error: None,
                        colour: Colour::INK,
                        shape: DIVERGED,
                    });
                    panel.marks.push(Mark::Line {
                        x: points.iter().map(|(x, _)| *x).collect(),
                        y,
                        band: Some((column(0.25), column(0.75))),
                        style: self.styles[method].with_stroke(series.stroke()),
                    });
                }
            }
        }
        if file.diverged.is_some() {
            panel.marks.extend(marked);
        }
        panel.note = panel.note.take().or_else(|| self.divergence_note(&cells));
    }

    /// Means at the end against what is varied, with bars, and what theory says.
    fn means(
        &self,
        file: &PanelFile,
        measure: &Measure,
        series: &Series<'_>,
        panel: &mut Panel,
    ) -> Result<()> {
        let Some(&first) = series.settings.first() else { return Ok(()) };
        // Something that is the same everywhere stands where none of the others do.
        let mut between = None;
        let methods = self.methods(file, first);
        for &method in &methods {
            if let Some(Shown::Along(points)) = self.shown(file, series, method) {
                let middle = points.len() / 2;
                if let (Some(a), Some(b)) = (points.get(middle.wrapping_sub(1)), points.get(middle))
                {
                    between = Some(match panel.x.scale {
                        Scale::Log10 => (a.0 * b.0).sqrt(),
                        Scale::Linear => 0.5 * (a.0 + b.0),
                    });
                }
            }
        }
        for method in methods {
            let style = self.styles[method].with_stroke(series.stroke()).without_marker();
            let (x, cells): (Vec<f64>, Vec<At>) = match self.shown(file, series, method) {
                None => continue,
                Some(Shown::Along(points)) => {
                    if file.theory
                        && let Some((x, y)) = self.theory(file, &points)?
                    {
                        panel.marks.push(Mark::Line { x, y, band: None, style });
                    }
                    points.into_iter().unzip()
                }
                Some(Shown::Everywhere(at)) => {
                    let cell = self.view.setting(at).cells(method).map(|cells| &cells[at.cell]);
                    if file.theory
                        && let Some(cell) = cell
                        && let Some(y) = self.view.setting(at).problem.predict(cell)?
                    {
                        let (colour, stroke) = (style.colour, series.stroke());
                        panel.marks.push(Mark::Rule { y, colour, stroke });
                    }
                    (between.into_iter().collect(), between.map(|_| at).into_iter().collect())
                }
            };
            let (y, errors): (Vec<f64>, Vec<f64>) =
                cells.iter().map(|&at| mean_and_error(&self.view.ends(at, measure))).unzip();
            panel.marks.push(Mark::Points {
                x,
                y,
                error: Some(errors.iter().map(|error| BAR * error).collect()),
                colour: self.styles[method].colour,
                shape: series.marker(),
            });
        }
        Ok(())
    }

    /// The curve of theory along an axis, on a grid of its own where the axis is equally spaced; `None`
    /// where theory says nothing.
    fn theory(
        &self,
        file: &PanelFile,
        points: &[(f64, At)],
    ) -> Result<Option<(Vec<f64>, Vec<f64>)>> {
        let Some(&(_, at)) = points.first() else { return Ok(None) };
        let experiment = self.view.experiment;
        let group = self.view.setting(at).group;
        let of_method = experiment.methods[at.method].grid(&file.x);
        let grid = of_method.or_else(|| experiment.grid_of_settings(group, &file.x));
        let fine = grid.and_then(|grid| grid.refined(FINE));
        let x = fine.unwrap_or_else(|| points.iter().map(|(x, _)| *x).collect());
        let mut y = Vec::with_capacity(x.len());
        for &value in &x {
            match self.view.experiment.predicted(
                (at.setting, at.method, at.cell),
                &file.x,
                value,
            )? {
                Some(predicted) => y.push(predicted),
                None => return Ok(None),
            }
        }
        Ok(Some((x, y)))
    }

    /// One method's cells over two of its axes.
    fn map(&self, file: &PanelFile, measure: &Measure) -> Panel {
        let experiment = self.view.experiment;
        let setting = self.series(file).first().and_then(|s| s.settings.first().copied());
        let setting = setting.unwrap_or_default();
        let method = self.methods(file, setting).first().copied().unwrap_or_default();
        let entry = &experiment.methods[method];
        let values = |name: &str| -> Vec<Value> {
            entry
                .axis(name)
                .map(|axis| entry.axes[axis].grid.values(experiment.plan.quick))
                .unwrap_or_default()
        };
        let numbers =
            |values: &[Value]| -> Vec<f64> { values.iter().filter_map(Value::as_f64).collect() };
        let (x, y) = (values(&file.x), values(&file.y));
        let content = |x: &Value, y: &Value| {
            let held = [(file.x.as_str(), x), (file.y.as_str(), y)];
            self.at(file, setting, method, &held)
                .map_or(Cell::NotReached, |at| self.cell(at, measure))
        };
        let cells = y.iter().map(|y| x.iter().map(|x| content(x, y)).collect()).collect();
        let y_file = PanelFile { x: file.y.clone(), x_label: file.y_label.clone(), ..file.clone() };
        Panel {
            title: file.title.clone(),
            x: self.x_axis(file),
            y: self.x_axis(&y_file),
            marks: vec![Mark::Map { x: numbers(&x), y: numbers(&y), cells }],
            note: None,
        }
    }

    fn cell(&self, at: At, measure: &Measure) -> Cell {
        let value = median(&self.view.ends(at, measure));
        let last = self.view.setting(at).problem.recorded().last().copied().unwrap_or_default();
        let there = match measure.kind {
            Kind::Iteration => value <= last as f64,
            _ => value.is_finite(),
        };
        if there && (measure.kind == Kind::Iteration || !self.view.most_diverged(at)) {
            Cell::Value(value)
        } else if self.view.most_diverged(at) {
            Cell::Diverged
        } else {
            Cell::NotReached
        }
    }

    /// A note for a panel in which some methods have nothing to show, or none.
    fn divergence_note(&self, cells: &[At]) -> Option<String> {
        let all = |at: &&At| self.view.diverged(**at).iter().all(|diverged| *diverged);
        let diverged: Vec<&str> = cells
            .iter()
            .filter(all)
            .map(|at| self.view.experiment.methods[at.method].label.as_str())
            .collect();
        if diverged.is_empty() {
            None
        } else if diverged.len() == cells.len() {
            Some("all runs diverged".into())
        } else {
            Some(format!("all trials diverged: {}", diverged.join(", ")))
        }
    }

    fn legend(&self) -> Vec<LegendEntry> {
        let file = &self.view.experiment.file;
        let lines = |panel: &&PanelFile| panel.map.is_none();
        let means = |panel: &&PanelFile| panel.statistic == Statistic::Mean;
        let mut legend = Vec::new();
        let names = self.view.experiment.methods.iter().map(|method| &method.label);
        if file.panel.iter().filter(lines).any(|panel| means(&panel)) {
            let theory = file.panel.iter().any(|panel| panel.theory);
            for (name, style) in names.clone().zip(&self.styles) {
                if theory {
                    let style = style.with_stroke(Stroke::Solid).without_marker();
                    let label = format!("{name}, theory");
                    add(&mut legend, LegendEntry::Line { label, style });
                }
                let label = if theory { format!("{name}, simulation") } else { name.clone() };
                let (colour, shape) = (style.colour, Shape::Circle);
                add(&mut legend, LegendEntry::Points { label, colour, shape, error: true });
            }
        }
        if file.panel.iter().filter(lines).any(|panel| !means(&panel)) {
            for (name, style) in names.zip(&self.styles) {
                add(&mut legend, LegendEntry::Line { label: name.clone(), style: *style });
            }
            legend.push(LegendEntry::Band { label: "quartiles".into(), colour: Colour::GREY });
        }
        for panel in &file.panel {
            for below in &panel.below {
                if let Some(method) = self.view.experiment.method(&below.method) {
                    let style = self.styles[method].with_stroke(below.stroke.into());
                    add(&mut legend, LegendEntry::Line { label: below.label.clone(), style });
                }
            }
            for rule in &panel.rule {
                let style = LineStyle::plain(Colour::GREY).with_stroke(rule.stroke.into());
                add(&mut legend, LegendEntry::Line { label: rule.label.clone(), style });
            }
            if let Some(label) = &panel.diverged {
                add(
                    &mut legend,
                    LegendEntry::Points {
                        label: label.clone(),
                        colour: Colour::INK,
                        shape: DIVERGED,
                        error: false,
                    },
                );
            }
            for series in &panel.series {
                let marker = (panel.statistic == Statistic::Mean).then(|| series.marker.into());
                let (colour, stroke) = (Colour::INK, series.stroke.into());
                let style = LineStyle { colour, stroke, strong: false, marker };
                add(&mut legend, LegendEntry::Line { label: series.label.clone(), style });
            }
        }
        legend
    }
}

/// Adds an entry that is not there yet.
fn add(legend: &mut Vec<LegendEntry>, entry: LegendEntry) {
    if !legend.contains(&entry) {
        legend.push(entry);
    }
}
