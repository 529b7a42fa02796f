//! Figure 3: single-index learning, theory and simulation of one step of SGD and of KFAC.

use layerwise_data::Streams;
use rand::Rng;

use crate::claim::{Claim, Side, Whose};
use crate::figures::convergence::mean_claim;
use crate::figures::{Figure, Report};
use crate::plan::Plan;
use crate::plot::{
    Axis, LegendEntry, LineStyle, Mark, Panel, Picture, Scale, Shape, Stroke, method_style,
};
use crate::runner::{Demand, Results};
use crate::single_index::{DIMENSION, Predicted, SingleIndexResults, SingleIndexSetting, Teacher};
use crate::statistics::{Estimate, mean_and_error, quantile};
use crate::table::Table;
use crate::{ExperimentError, Result};

const TEACHERS: [Teacher; 2] = [Teacher::Tanh, Teacher::CentredRelu];
/// n/d on the left, each with its stroke and marker.
const RATIOS: [(f64, Stroke, Shape); 3] = [
    (1.5, Stroke::Dotted, Shape::Triangle),
    (4.0, Stroke::Dashed, Shape::Square),
    (20.0, Stroke::Solid, Shape::Circle),
];
const LEFT_EPSILON: f64 = 0.5;
const RIGHT_RATIO: f64 = 20.0;
const RIGHT_DAMPING: f64 = 0.01;
/// Half-length of error bars, in standard errors.
const BAR: f64 = 2.0;

/// The figure.
pub(crate) struct Figure3;

fn dampings(plan: &Plan) -> Vec<f64> {
    plan.grid(-3.0, 1.0, 13, 3)
}

fn epsilons(plan: &Plan) -> Vec<f64> {
    plan.linear_grid(0.0, 0.95, 11, 5)
}

fn left(teacher: Teacher, ratio: f64, plan: &Plan) -> SingleIndexSetting {
    let name = format!("{}, n/d = {ratio}, damping varied", teacher.name());
    SingleIndexSetting {
        stream: name.clone(),
        name,
        teacher,
        epsilon: LEFT_EPSILON,
        samples: samples(ratio),
        dampings: dampings(plan),
    }
}

/// All ε share one stream, so that they are compared on the same draws.
fn right(teacher: Teacher, epsilon: f64) -> SingleIndexSetting {
    let stream = format!("{}, n/d = {RIGHT_RATIO}, epsilon varied", teacher.name());
    SingleIndexSetting {
        name: format!("{stream}: {epsilon}"),
        stream,
        teacher,
        epsilon,
        samples: samples(RIGHT_RATIO),
        dampings: vec![RIGHT_DAMPING],
    }
}

fn samples(ratio: f64) -> usize {
    (ratio * DIMENSION as f64).round() as usize
}

impl Figure for Figure3 {
    fn number(&self) -> u8 {
        3
    }

    fn title(&self) -> &'static str {
        "One step of SGD and of KFAC on a single-index model"
    }

    fn caption(&self) -> &'static str {
        "Alignment of the direction learned in one step with the true one, d = 400, for a tanh \
         link (above) and a centred ReLU (below); half of Σ's eigenvalues are 1 + ε, half 1 − ε. \
         Left: against the damping λ at ε = 0.5 for three sample sizes. Right: against ε at \
         n/d = 20, λ = 0.01. Lines are asymptotic theory (horizontal: SGD's, which knows no λ), \
         points means of simulated steps with bars of two standard errors."
    }

    fn demand(&self, plan: &Plan) -> Demand {
        let trials = plan.shown_trials(30, 3);
        let mut single_index = Vec::new();
        for teacher in TEACHERS {
            let left = RATIOS.iter().map(|(ratio, ..)| left(teacher, *ratio, plan));
            let right = epsilons(plan).into_iter().map(|epsilon| right(teacher, epsilon));
            single_index.extend(left.chain(right).map(|setting| (setting, trials)));
        }
        Demand { linear: Vec::new(), single_index }
    }

    fn report(&self, plan: &Plan, results: &Results) -> Result<Report> {
        let mut panels = Vec::new();
        let mut claims = Vec::new();
        let mut table = Table::new(vec![
            "teacher",
            "samples",
            "epsilon",
            "method",
            "damping",
            "trial",
            "alignment",
            "theory",
        ]);
        for teacher in TEACHERS {
            let comparisons = |settings: Vec<SingleIndexSetting>| -> Result<Vec<Comparison<'_>>> {
                settings.iter().map(|setting| Comparison::new(results, &setting.name)).collect()
            };
            let left = comparisons(RATIOS.map(|(ratio, ..)| left(teacher, ratio, plan)).to_vec())?;
            let right = comparisons(
                epsilons(plan).into_iter().map(|epsilon| right(teacher, epsilon)).collect(),
            )?;
            panels.push(left_panel(teacher, &left)?);
            panels.push(right_panel(teacher, &right)?);
            left.iter().chain(&right).for_each(|comparison| comparison.tabulate(&mut table));
            claims.push(theory_claim(teacher, plan, left.iter().chain(&right)));
            claims.extend(fall_claims(teacher, &right));
        }
        let picture = Picture {
            title: String::new(),
            panels,
            columns: 2,
            legend: legend(),
            colour_bar: None,
        };
        Ok(Report { picture, table, claims, chosen: Vec::new() })
    }
}

/// A setting's trials beside what theory says.
struct Comparison<'a> {
    results: &'a SingleIndexResults,
    predicted: Predicted,
}

/// One point of a panel: the trials, and the prediction.
struct Point {
    simulated: Vec<f64>,
    predicted: f64,
}

impl<'a> Comparison<'a> {
    fn new(results: &'a Results, name: &str) -> Result<Self> {
        let results = results
            .single_index
            .get(name)
            .ok_or_else(|| ExperimentError::MissingResults(name.into()))?;
        Ok(Self { results, predicted: results.setting.predict()? })
    }

    fn sgd(&self) -> Point {
        Point { simulated: self.results.sgd(), predicted: self.predicted.sgd }
    }

    fn kfac(&self) -> Vec<Point> {
        (0..self.predicted.kfac.len())
            .map(|i| Point { simulated: self.results.kfac(i), predicted: self.predicted.kfac[i] })
            .collect()
    }

    fn points(&self) -> Vec<Point> {
        let mut points = self.kfac();
        points.push(self.sgd());
        points
    }

    fn tabulate(&self, table: &mut Table) {
        let setting = &self.results.setting;
        let mut push = |method: &str, damping: Option<f64>, point: &Point| {
            for (trial, &alignment) in point.simulated.iter().enumerate() {
                table.push(vec![
                    setting.teacher.name().into(),
                    setting.samples.into(),
                    setting.epsilon.into(),
                    method.into(),
                    damping.into(),
                    trial.into(),
                    alignment.into(),
                    point.predicted.into(),
                ]);
            }
        };
        push("SGD", None, &self.sgd());
        for (&damping, point) in setting.dampings.iter().zip(self.kfac()) {
            push("KFAC", Some(damping), &point);
        }
    }
}

fn alignment_axis() -> Axis {
    Axis { label: "alignment with β⋆".into(), scale: Scale::Linear, range: None }
}

fn style(method: &str, stroke: Stroke) -> LineStyle {
    method_style(method).with_stroke(stroke).without_marker()
}

fn simulated(method: &str, x: Vec<f64>, points: &[Point], shape: Shape) -> Mark {
    let (y, errors): (Vec<f64>, Vec<f64>) =
        points.iter().map(|point| mean_and_error(&point.simulated)).unzip();
    let error = Some(errors.iter().map(|error| BAR * error).collect());
    Mark::Points { x, y, error, colour: method_style(method).colour, shape }
}

fn theory(method: &str, x: Vec<f64>, y: Vec<f64>, stroke: Stroke) -> Mark {
    Mark::Line { x, y, band: None, style: style(method, stroke) }
}

/// The grid on which theory is drawn: that of the full figure, refined, also in a quick run.
const FINE: usize = 97;
const FULL: Plan = Plan { quick: false, trials: None, seed: 0 };

fn left_panel(teacher: Teacher, comparisons: &[Comparison<'_>]) -> Result<Panel> {
    let mut marks = Vec::new();
    for (comparison, (_, stroke, shape)) in comparisons.iter().zip(RATIOS) {
        let dampings = &comparison.results.setting.dampings;
        let sgd = comparison.sgd();
        marks.push(Mark::Rule { y: sgd.predicted, colour: method_style("SGD").colour, stroke });
        // SGD knows no damping: its point stands where none of KFAC's does.
        let middle = dampings.len() / 2;
        let between = (dampings[middle - 1] * dampings[middle]).sqrt();
        marks.push(simulated("SGD", vec![between], &[sgd], shape));
        let fine = FULL.grid(-3.0, 1.0, FINE, 1);
        let setting =
            SingleIndexSetting { dampings: fine.clone(), ..comparison.results.setting.clone() };
        marks.push(theory("KFAC", fine, setting.predict()?.kfac, stroke));
        marks.push(simulated("KFAC", dampings.clone(), &comparison.kfac(), shape));
    }
    Ok(Panel {
        title: teacher.name().into(),
        x: Axis { label: "damping λ".into(), scale: Scale::Log10, range: None },
        y: alignment_axis(),
        marks,
        note: None,
    })
}

fn right_panel(teacher: Teacher, comparisons: &[Comparison<'_>]) -> Result<Panel> {
    let x: Vec<f64> = comparisons.iter().map(|c| c.results.setting.epsilon).collect();
    let fine = FULL.linear_grid(0.0, 0.95, FINE, 1);
    let predicted: Vec<Predicted> =
        fine.iter().map(|&epsilon| right(teacher, epsilon).predict()).collect::<Result<_>>()?;
    let (_, stroke, shape) = RATIOS[2];
    let sgd: Vec<Point> = comparisons.iter().map(Comparison::sgd).collect();
    let kfac: Vec<Point> = comparisons.iter().flat_map(Comparison::kfac).collect();
    let marks = vec![
        theory("SGD", fine.clone(), predicted.iter().map(|p| p.sgd).collect(), stroke),
        simulated("SGD", x.clone(), &sgd, shape),
        theory("KFAC", fine, predicted.iter().flat_map(|p| p.kfac.clone()).collect(), stroke),
        simulated("KFAC", x, &kfac, shape),
    ];
    Ok(Panel {
        title: teacher.name().into(),
        x: Axis { label: "anisotropy ε".into(), scale: Scale::Linear, range: None },
        y: alignment_axis(),
        marks,
        note: None,
    })
}

fn legend() -> Vec<LegendEntry> {
    let mut legend = Vec::new();
    for method in ["SGD", "KFAC"] {
        legend.push(LegendEntry::Line {
            label: format!("{method}, theory"),
            style: style(method, Stroke::Solid),
        });
        legend.push(LegendEntry::Points {
            label: format!("{method}, simulation"),
            colour: method_style(method).colour,
            shape: Shape::Circle,
            error: true,
        });
    }
    for (ratio, stroke, shape) in RATIOS {
        let colour = crate::plot::Colour::INK;
        let style = LineStyle { colour, stroke, strong: false, marker: Some(shape) };
        legend.push(LegendEntry::Line { label: format!("n/d = {ratio}"), style });
    }
    legend
}

/// Largest `|theory − mean| − 3 standard errors` over points.
fn excess_deviation<'a>(points: impl Iterator<Item = (&'a [f64], f64)>) -> f64 {
    points
        .map(|(simulated, predicted)| {
            let (mean, error) = mean_and_error(simulated);
            (predicted - mean).abs() - 3.0 * error
        })
        // Not f64::max, which would drop a NaN.
        .fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
}

fn theory_claim<'a>(
    teacher: Teacher,
    plan: &Plan,
    comparisons: impl Iterator<Item = &'a Comparison<'a>>,
) -> Claim {
    const RESAMPLES: usize = 2000;
    let points: Vec<Point> = comparisons.flat_map(Comparison::points).collect();
    let value = excess_deviation(points.iter().map(|p| (p.simulated.as_slice(), p.predicted)));
    let mut rng = Streams::new(plan.seed).stream("figure 3", teacher.name(), 0);
    let trials = points.first().map_or(0, |point| point.simulated.len());
    let mut resampled: Vec<Vec<f64>> = points.iter().map(|p| p.simulated.clone()).collect();
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        // A trial is resampled as a whole: many of the points share its draws.
        let chosen: Vec<usize> = (0..trials).map(|_| rng.random_range(0..trials)).collect();
        for (target, point) in resampled.iter_mut().zip(&points) {
            for (x, &trial) in target.iter_mut().zip(&chosen) {
                *x = point.simulated[trial];
            }
        }
        let predicted = points.iter().map(|p| p.predicted);
        values.push(excess_deviation(resampled.iter().map(Vec::as_slice).zip(predicted)));
    }
    let estimate = if value.is_finite() {
        Estimate { value, low: quantile(&values, 0.025), high: quantile(&values, 0.975) }
    } else {
        Estimate::mean(&[value])
    };
    Claim::judge(
        format!("3a/{}", teacher.name()),
        Whose::Ours,
        format!(
            "{}: theory lies within 3 standard errors + 0.02 of the simulated mean at every point \
             (largest deviation beyond 3 standard errors, over {} points)",
            teacher.name(),
            points.len()
        ),
        estimate,
        "bootstrap percentiles over trials, 2000 resamples",
        Side::AtMost,
        0.02,
    )
}

fn fall_claims(teacher: Teacher, comparisons: &[Comparison<'_>]) -> Vec<Claim> {
    let (Some(first), Some(last)) = (comparisons.first(), comparisons.last()) else {
        return Vec::new();
    };
    let fall = |alignments: &dyn Fn(&SingleIndexResults) -> Vec<f64>| -> Vec<f64> {
        let (start, end) = (alignments(first.results), alignments(last.results));
        start.iter().zip(end).map(|(start, end)| start - end).collect()
    };
    let sgd = fall(&SingleIndexResults::sgd);
    let kfac = fall(&|results| results.kfac(0));
    let margin: Vec<f64> = sgd.iter().zip(&kfac).map(|(sgd, kfac)| sgd / 3.0 - kfac).collect();
    let name = teacher.name();
    vec![
        mean_claim(
            format!("3b/{name}"),
            Whose::Paper,
            format!(
                "{name}: anisotropy biases SGD: its alignment falls by at least 0.15 from ε = 0 to \
                 0.95 (mean over paired trials)"
            ),
            &sgd,
            Side::AtLeast,
            0.15,
        ),
        mean_claim(
            format!("3c/{name}"),
            Whose::Paper,
            format!(
                "{name}: KFAC is hardly affected: its alignment falls by less than a third of \
                 SGD's fall (a third of SGD's fall less KFAC's, mean over paired trials)"
            ),
            &margin,
            Side::AtLeast,
            0.0,
        ),
    ]
}
