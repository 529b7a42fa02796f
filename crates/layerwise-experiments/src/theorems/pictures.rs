//! The two pictures beside the table: how condition numbers slow AMGD and not KFAC, and where on
//! a single-index model a step of KFAC beats one of SGD.

use layerwise_data::{LinearTask, Spectrum, Streams};
use layerwise_models::TwoLayerLinear;
use layerwise_theory::{
    AmgdMap, KfacAlignment, LinkMoments, kfac_contraction, kfac_steps, sgd_alignment,
};
use rayon::prelude::*;

use crate::Result;
use crate::linear::{Needs, StepData};
use crate::monitor::Monitor;
use crate::plot::{
    Axis, Cell, Colour, ColourBar, LegendEntry, LineStyle, Mark, Panel, Picture, Scale as Spacing,
    Shape, Stroke, method_style,
};
use crate::single_index::NOISE;
use crate::theorems::l3::{contraction, kfac_ratio};
use crate::theorems::l4::{FROM, RATE, TO, amgd_steps_needed, distant_start, steps_to_target};
use crate::theorems::problems::conditioned_task;
use crate::theorems::{KfacRates, Scale, Steps, contour};

/// (d_Y, k, d_X) and κ(F⋆) of the tasks.
const SHAPE: (usize, usize, usize) = (4, 2, 8);
const HEAD_CONDITION: f64 = 2.0;
/// Batch size of KFAC's runs.
const SAMPLES: usize = 40;

/// What was measured at one condition number; NaN, a gap in the picture, where a step fails
/// numerically or where that takes too many steps to run.
struct Measured {
    condition: f64,
    amgd_gap: f64,
    kfac_gap: f64,
    amgd_steps: f64,
    kfac_steps: f64,
}

fn or_gap(measured: Result<Option<f64>>) -> Result<f64> {
    match measured {
        Err(error) if error.is_numerical() => Ok(f64::NAN),
        measured => Ok(measured?.unwrap_or(f64::NAN)),
    }
}

/// κ = 10^{1, 1.5, …, 6}.
fn conditions() -> Vec<f64> {
    (2..=12).map(|half| 10_f64.powf(0.5 * f64::from(half))).collect()
}

fn task_of(condition: f64, streams: &Streams) -> Result<(LinearTask, TwoLayerLinear)> {
    // The same bases and the same start at every κ.
    let rng = &mut streams.stream("contraction picture", "task", 0);
    let outside = condition / (HEAD_CONDITION * HEAD_CONDITION);
    let task = conditioned_task(SHAPE, outside, HEAD_CONDITION, rng)?;
    let start = distant_start(&task, rng)?;
    Ok((task, start))
}

/// Real KFAC steps on fresh noise-free batches from `start` to the target.
fn kfac_steps_from(
    task: &LinearTask,
    start: &TwoLayerLinear,
    streams: &Streams,
    steps: &dyn Steps,
) -> Result<Option<usize>> {
    const LIMIT: usize = 500;
    let rates = KfacRates { representation: RATE, head: 1.0, damping: 0.0 };
    let mut algorithm = steps.kfac(rates, SHAPE)?;
    let mut data = StepData::new(SHAPE.2, SHAPE.0, SAMPLES, Needs::default());
    let mut batches = streams.stream("contraction picture", "batches", 0);
    let (mut net, reference) = (start.clone(), task.representation());
    steps_to_target(algorithm.as_mut(), &mut net, reference, LIMIT, &mut data, |data| {
        steps.draw(task, &mut batches, data)
    })
}

/// Contraction per step near the solution, and steps from dist 0.5 to 10⁻⁶, against κ: AMGD at its
/// best rate and KFAC at η_G = 0.3, points from real steps on lines from theory.
///
/// # Errors
/// [`crate::ExperimentError::Interrupted`], and faults of a step that are not numerical.
pub fn contraction_picture(
    scale: Scale,
    streams: &Streams,
    steps: &dyn Steps,
    monitor: &dyn Monitor,
) -> Result<Picture> {
    let most = scale.choose(1e3, 1e4);
    let measured: Vec<Measured> = conditions()
        .into_par_iter()
        .with_max_len(1)
        .map(|condition| {
            monitor.check()?;
            let (task, start) = task_of(condition, streams)?;
            let rate =
                AmgdMap::new(task.head(), task.representation(), task.covariance().matrix())?
                    .best_rate();
            let slow = condition > most * 1.001;
            let gap = |factor: f64| Some(1.0 - factor);
            let count = |steps: Option<usize>| steps.map(|steps| steps as f64);
            let amgd = if slow { Ok(None) } else { amgd_steps_needed(&task, &start, steps) };
            Ok(Measured {
                condition,
                amgd_gap: or_gap(contraction(&task, rate, steps).map(gap))?,
                kfac_gap: or_gap(kfac_ratio(&task, &start, RATE, steps).map(gap))?,
                amgd_steps: or_gap(amgd.map(count))?,
                kfac_steps: or_gap(kfac_steps_from(&task, &start, streams, steps).map(count))?,
            })
        })
        .collect::<Result<_>>()?;
    // Lines from κ itself: AMGD's (κ − 1)/(κ + 1), and the steps that follow.
    let x: Vec<f64> = (0..=100).map(|i| 10_f64.powf(0.8 + 0.054 * f64::from(i))).collect();
    let factor = |kappa: f64| (kappa - 1.0) / (kappa + 1.0);
    let amgd_gap = x.iter().map(|&kappa| 1.0 - factor(kappa)).collect();
    let amgd_steps = x.iter().map(|&kappa| (FROM / TO).ln() / -factor(kappa).ln()).collect();
    let kfac_gap = vec![1.0 - kfac_contraction(RATE)?; x.len()];
    let kfac_line = vec![kfac_steps(FROM, TO, RATE)?; x.len()];
    let panel = |title: &str, label: &str, lines: [Vec<f64>; 2], points: [Vec<f64>; 2]| {
        let condition = measured.iter().map(|m| m.condition).collect::<Vec<f64>>();
        let mut marks = Vec::new();
        for ((method, shape), (line, points)) in
            METHODS.into_iter().zip(lines.into_iter().zip(points))
        {
            let style = method_style(method).without_marker();
            marks.push(Mark::Line { x: x.clone(), y: line, band: None, style });
            let colour = style.colour;
            let (x, y) = (condition.clone(), points);
            marks.push(Mark::Points { x, y, error: None, colour, shape });
        }
        Panel {
            title: title.into(),
            x: axis("condition number κ", Spacing::Log10, Some((6.0, 1.7e6))),
            y: axis(label, Spacing::Log10, None),
            marks,
            note: None,
        }
    };
    Ok(Picture {
        title: String::new(),
        panels: vec![
            panel(
                "near G⋆",
                "1 − contraction factor of a step",
                [amgd_gap, kfac_gap],
                [
                    measured.iter().map(|m| m.amgd_gap).collect(),
                    measured.iter().map(|m| m.kfac_gap).collect(),
                ],
            ),
            panel(
                "from afar",
                "steps from dist 0.5 to 10⁻⁶",
                [amgd_steps, kfac_line],
                [
                    measured.iter().map(|m| m.amgd_steps).collect(),
                    measured.iter().map(|m| m.kfac_steps).collect(),
                ],
            ),
        ],
        columns: 2,
        legend: METHODS
            .into_iter()
            .flat_map(|(method, shape)| {
                let style = method_style(method).without_marker();
                let name = match method {
                    "KFAC" => format!("KFAC at rate {RATE}"),
                    other => format!("{other} at its best rate"),
                };
                [
                    LegendEntry::Line { label: format!("{name}, theory"), style },
                    LegendEntry::Points {
                        label: format!("{method}, real steps"),
                        colour: style.colour,
                        shape,
                        error: false,
                    },
                ]
            })
            .collect(),
        colour_bar: None,
    })
}

const METHODS: [(&str, Shape); 2] = [("AMGD", Shape::Diamond), ("KFAC", Shape::Circle)];

fn axis(label: &str, scale: Spacing, range: Option<(f64, f64)>) -> Axis {
    Axis { label: label.into(), scale, range }
}

/// λ_G of the phase diagrams.
const DAMPING: f64 = 0.01;
/// Eigenvalues in the closed forms' means: half 1 + ε, half 1 − ε.
const EIGENVALUES: usize = 2;
/// Differences along which lines are drawn.
const LEVELS: [(f64, Stroke); 2] = [(0.1, Stroke::Dashed), (0.2, Stroke::Solid)];
/// Readable on the whole colour scale and on paper.
const LEVEL_COLOUR: Colour = Colour(230, 80, 40);

/// Limits of alignment of SGD and of KFAC, tanh link.
struct Alignments {
    sgd: f64,
    kfac: f64,
}

impl Alignments {
    fn at(samples_per_dimension: f64, epsilon: f64, link: &LinkMoments) -> Result<Self> {
        let spectrum = Spectrum::TwoLevel { epsilon }.eigenvalues(EIGENVALUES)?;
        let ratio = samples_per_dimension.recip();
        let spectrum = spectrum.view();
        Ok(Self {
            sgd: sgd_alignment(spectrum, link, ratio, NOISE)?,
            kfac: KfacAlignment::new(spectrum, link, ratio, DAMPING, NOISE)?.alignment,
        })
    }

    fn difference(&self) -> f64 {
        self.kfac - self.sgd
    }
}

/// Alignment with β⋆ after one step in the proportional limit, over n/d and anisotropy ε: SGD,
/// KFAC at λ_G = 0.01, and KFAC less SGD with lines of equal difference.
///
/// # Errors
/// None: all parameters are in range.
pub fn phase_picture() -> Result<Picture> {
    let link = LinkMoments::tanh(1.0)?;
    let grid = |columns: usize, rows: usize| -> Result<Vec<Vec<Alignments>>> {
        let at = |i, j| Alignments::at(n_at(i, columns), e_at(j, rows), &link);
        (0..rows).map(|j| (0..columns).map(|i| at(i, j)).collect()).collect()
    };
    let rows = grid(COLUMNS, ROWS)?;
    let samples: Vec<f64> = (0..COLUMNS).map(|i| n_at(i, COLUMNS)).collect();
    let epsilons: Vec<f64> = (0..ROWS).map(|j| e_at(j, ROWS)).collect();
    let panel = |title: &str, value: &dyn Fn(&Alignments) -> f64| {
        let cells = rows
            .iter()
            .map(|row| row.iter().map(|cell| Cell::Value(value(cell))).collect())
            .collect();
        Panel {
            title: title.into(),
            x: axis("samples per dimension n/d", Spacing::Log10, None),
            y: axis("anisotropy ε", Spacing::Linear, None),
            marks: vec![Mark::Map { x: samples.clone(), y: epsilons.clone(), cells }],
            note: None,
        }
    };
    let mut difference = panel("KFAC − SGD", &Alignments::difference);
    let (columns, rows) = (FINER * COLUMNS, FINER * ROWS);
    let fine: Vec<Vec<f64>> = grid(columns, rows)?
        .iter()
        .map(|row| row.iter().map(Alignments::difference).collect())
        .collect();
    for (level, stroke) in LEVELS {
        difference.marks.extend(contour::lines(&fine, level).into_iter().map(|line| {
            let place = |&(i, j): &(f64, f64)| (n_between(i, columns), e_between(j, rows));
            let (x, y) = line.iter().map(place).unzip();
            Mark::Line { x, y, band: None, style: level_style(stroke) }
        }));
    }
    Ok(Picture {
        title: String::new(),
        panels: vec![
            panel("SGD", &|cell| cell.sgd),
            panel(&format!("KFAC, λ = {DAMPING}"), &|cell| cell.kfac),
            difference,
        ],
        columns: 3,
        legend: LEVELS
            .into_iter()
            .map(|(level, stroke)| LegendEntry::Line {
                label: format!("KFAC − SGD = {level}"),
                style: level_style(stroke),
            })
            .collect(),
        colour_bar: Some(ColourBar {
            label: "alignment with β⋆; in (c) its difference".into(),
            scale: Spacing::Linear,
            range: None,
            diverged: String::new(),
            not_reached: String::new(),
        }),
    })
}

fn level_style(stroke: Stroke) -> LineStyle {
    LineStyle { colour: LEVEL_COLOUR, stroke, strong: false, marker: None }
}

/// Cells of a map along n/d, and along ε.
const COLUMNS: usize = 40;
const ROWS: usize = 32;
/// How much finer the grid for lines is.
const FINER: usize = 4;

/// n/d in the middle of column `i` of as many: from 10^{−0.5} to 10², on a logarithmic scale.
fn n_at(i: usize, columns: usize) -> f64 {
    n_between(i as f64, columns)
}

fn n_between(i: f64, columns: usize) -> f64 {
    10_f64.powf(-0.5 + 2.5 * (i + 0.5) / columns as f64)
}

/// ε in the middle of row `j` of as many: from 0 to 1.
fn e_at(j: usize, rows: usize) -> f64 {
    e_between(j as f64, rows)
}

fn e_between(j: f64, rows: usize) -> f64 {
    (j + 0.5) / rows as f64
}
