//! An experiment as it stands in a file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::claim::{ThresholdSet, Whose};
use crate::experiment::grid::Grid;
use crate::plot::{Scale, Shape, Stroke};

/// A file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentFile {
    /// One line that says what it shows.
    #[schemars(length(min = 1, max = 200))]
    pub(crate) title: String,
    /// A sentence or two on how to read the picture, with the settings that matter.
    #[schemars(length(max = 4000))]
    pub(crate) caption: String,
    /// Number of the figure, where it is one.
    #[serde(default)]
    #[schemars(range(min = 1, max = 99))]
    pub(crate) figure: Option<u8>,
    /// Kind of experiment.
    pub(crate) model: String,
    /// Seed of all random numbers.
    #[serde(default = "one")]
    pub(crate) seed: u64,
    /// Numbers of trials.
    pub(crate) trials: TrialsFile,
    /// The measure whose median at the end of the tuning trials chooses hyperparameters.
    #[serde(default)]
    pub(crate) tune_by: Option<String>,
    /// Keys of tasks that all settings share.
    #[serde(default)]
    pub(crate) task: Map<String, Value>,
    /// Tasks, each with the methods that run on it.
    #[schemars(length(min = 1))]
    pub(crate) setting: Vec<SettingFile>,
    /// What is compared.
    #[schemars(length(min = 1))]
    pub(crate) method: Vec<MethodFile>,
    /// What panels share.
    #[serde(default)]
    pub(crate) picture: PictureFile,
    /// What is drawn.
    #[schemars(length(min = 1))]
    pub(crate) panel: Vec<PanelFile>,
    /// Which numbers the CSV holds; without it, all measures.
    #[serde(default)]
    pub(crate) table: Option<TableFile>,
    /// When the thresholds of the claims were set, and what was known then.
    #[serde(default)]
    pub(crate) thresholds_set: Option<ThresholdSet>,
    /// What is claimed, and judged on the shown trials.
    #[serde(default)]
    pub(crate) claim: Vec<ClaimFile>,
}

fn one() -> u64 {
    1
}

/// Numbers of trials.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialsFile {
    /// Shown in panels and judged in claims.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) shown: u64,
    /// The same in a quick run.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) quick_shown: Option<u64>,
    /// On which hyperparameters are chosen; never shown.
    #[serde(default)]
    #[schemars(range(max = 10_000_000))]
    pub(crate) tuning: u64,
    /// The same in a quick run.
    #[serde(default)]
    pub(crate) quick_tuning: Option<u64>,
}

/// A task, and over what it is swept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingFile {
    /// Names the random streams: settings with equal names see the same draws.
    #[schemars(length(min = 1, max = 200))]
    pub(crate) name: String,
    /// In panels and claims; the name where it is left out.
    #[serde(default)]
    pub(crate) title: Option<String>,
    /// Keys of its task, beside those of all settings.
    #[serde(default)]
    pub(crate) task: Map<String, Value>,
    /// Keys of the task that are varied, by their paths.
    #[serde(default)]
    pub(crate) sweep: BTreeMap<String, Grid>,
    /// The methods that are run on it, all where they are left out.
    #[serde(default)]
    pub(crate) methods: Option<Vec<String>>,
}

/// A method, what of it is tuned, and what is swept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MethodFile {
    /// In this file.
    #[schemars(length(min = 1, max = 200))]
    pub(crate) name: String,
    /// In legends and tables; the name where it is left out.
    #[serde(default)]
    pub(crate) label: Option<String>,
    /// The method itself, as its model reads it.
    #[serde(rename = "use")]
    pub(crate) spec: Value,
    /// Hyperparameters of which the best on the tuning trials is taken.
    #[serde(default)]
    pub(crate) tune: BTreeMap<String, Grid>,
    /// Hyperparameters that are shown at each value.
    #[serde(default)]
    pub(crate) sweep: BTreeMap<String, Grid>,
}

/// What panels share.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PictureFile {
    /// Panels in a row; by default all in one.
    #[serde(default)]
    #[schemars(range(min = 1, max = 6))]
    pub(crate) columns: Option<usize>,
    /// Key of maps.
    #[serde(default)]
    pub(crate) colour_bar: Option<ColourBarFile>,
}

/// Key of maps.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColourBarFile {
    /// What the colours are.
    pub(crate) label: String,
    /// Numbers at the ends of the bar.
    #[serde(default)]
    pub(crate) range: Option<[f64; 2]>,
    /// What cells are called in which most trials diverged.
    #[serde(default = "diverged")]
    pub(crate) diverged: String,
    /// What cells are called in which most trials did not reach what is shown.
    #[serde(default = "not_reached")]
    pub(crate) not_reached: String,
}

fn diverged() -> String {
    "diverged".into()
}

fn not_reached() -> String {
    "not reached".into()
}

/// A panel: curves against the iteration or a hyperparameter, or a map over two of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "if" = {"required": ["map"]},
    "then" = {"required": ["methods"], "properties": {"methods": {"minItems": 1, "maxItems": 1}}},
))]
pub(crate) struct PanelFile {
    /// Above it.
    #[serde(default)]
    pub(crate) title: String,
    /// "iteration", something that is varied, or a measure, against which another is drawn.
    pub(crate) x: String,
    /// A measure; of a map the second thing that is varied.
    pub(crate) y: String,
    /// The measure that a map shows.
    #[serde(default)]
    pub(crate) map: Option<String>,
    /// Name of the horizontal axis; that of what is varied where it is left out.
    #[serde(default)]
    pub(crate) x_label: Option<String>,
    /// Name of the vertical axis; that of the measure where it is left out.
    #[serde(default)]
    pub(crate) y_label: Option<String>,
    /// Spacing of the horizontal axis.
    #[serde(default)]
    pub(crate) x_scale: Option<ScaleName>,
    /// Spacing of the vertical axis.
    #[serde(default)]
    pub(crate) y_scale: Option<ScaleName>,
    /// The setting, by name or title; the first where it is left out.
    #[serde(default)]
    pub(crate) setting: Option<String>,
    /// Settings that are told apart by stroke and marker, in place of one.
    #[serde(default)]
    pub(crate) series: Vec<SeriesFile>,
    /// Methods, all where they are left out.
    #[serde(default)]
    pub(crate) methods: Option<Vec<String>>,
    /// The measure by whose median the hyperparameters that are not on an axis are chosen, on the
    /// shown trials; without it they are the tuned ones.
    #[serde(default)]
    pub(crate) fastest: Option<String>,
    /// What of the trials is shown.
    #[serde(default)]
    pub(crate) statistic: Statistic,
    /// Draw what theory says beside it.
    #[serde(default)]
    pub(crate) theory: bool,
    /// Drawn below the curves.
    #[serde(default)]
    pub(crate) below: Vec<BelowFile>,
    /// Horizontal lines at numbers of the trials.
    #[serde(default)]
    pub(crate) rule: Vec<RuleFile>,
    /// Marks where most trials diverged, under this name in the legend.
    #[serde(default)]
    pub(crate) diverged: Option<String>,
}

/// What of the trials is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Statistic {
    /// Medians, with quartiles as a band.
    #[default]
    Median,
    /// Means, with bars of two standard errors.
    Mean,
}

/// Spacing of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScaleName {
    Linear,
    Log,
}

impl From<ScaleName> for Scale {
    fn from(name: ScaleName) -> Self {
        match name {
            ScaleName::Linear => Self::Linear,
            ScaleName::Log => Self::Log10,
        }
    }
}

/// A setting in a panel of several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesFile {
    /// The setting, by name or title.
    pub(crate) setting: String,
    /// In the legend.
    pub(crate) label: String,
    /// Stroke of its lines.
    #[serde(default)]
    pub(crate) stroke: StrokeName,
    /// Form of its points.
    #[serde(default)]
    pub(crate) marker: MarkerName,
}

/// Stroke of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StrokeName {
    #[default]
    Solid,
    Dashed,
    Dotted,
}

impl From<StrokeName> for Stroke {
    fn from(name: StrokeName) -> Self {
        match name {
            StrokeName::Solid => Self::Solid,
            StrokeName::Dashed => Self::Dashed,
            StrokeName::Dotted => Self::Dotted,
        }
    }
}

/// Form of a point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MarkerName {
    #[default]
    Circle,
    Square,
    Triangle,
    Diamond,
}

impl From<MarkerName> for Shape {
    fn from(name: MarkerName) -> Self {
        match name {
            MarkerName::Circle => Self::Circle,
            MarkerName::Square => Self::Square,
            MarkerName::Triangle => Self::Triangle,
            MarkerName::Diamond => Self::Diamond,
        }
    }
}

/// Another measure of some methods, below the curves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BelowFile {
    /// The method.
    pub(crate) method: String,
    /// The measure.
    pub(crate) y: String,
    /// In the legend.
    pub(crate) label: String,
    /// Stroke of the line.
    #[serde(default)]
    pub(crate) stroke: StrokeName,
}

/// A horizontal line at the median of a number of the trials.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    /// The number of the trials.
    pub(crate) trial: String,
    /// In the legend.
    pub(crate) label: String,
    /// Stroke of the line.
    #[serde(default)]
    pub(crate) stroke: StrokeName,
}

/// Which numbers the CSV holds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableFile {
    /// What a row is.
    pub(crate) rows: Rows,
    /// Its columns: names, or `{ header, value }`.
    pub(crate) columns: Vec<ColumnFile>,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rows {
    /// A recorded iteration of a trial, at the tuned hyperparameters.
    Iterations,
    /// The end of a trial, at the tuned hyperparameters but for the rate, which takes all values.
    Rates,
    /// The end of a trial, at all hyperparameters.
    All,
}

/// A column: a name that is both its header and what stands in it, or the two apart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(from = "ColumnSpelled")]
pub(crate) struct ColumnFile {
    pub(crate) header: String,
    pub(crate) value: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
enum ColumnSpelled {
    Both(String),
    Apart { header: String, value: String },
}

impl From<ColumnSpelled> for ColumnFile {
    fn from(spelled: ColumnSpelled) -> Self {
        match spelled {
            ColumnSpelled::Both(name) => Self { header: name.clone(), value: name },
            ColumnSpelled::Apart { header, value } => Self { header, value },
        }
    }
}

/// A claim: a number of the trials, and the side of a threshold on which it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {"oneOf": [{"required": ["at_most"]}, {"required": ["at_least"]}]},
    {"oneOf": [{"required": ["value"]}, {"required": ["ratio"]}, {"required": ["difference"]}, {"required": ["deviation"]}, {"required": ["theory_gap"]}]},
]))]
pub(crate) struct ClaimFile {
    /// "{method}" stands for each of the methods.
    pub(crate) id: String,
    /// As the id, and "{threshold}", "{left:.1}" and "{right:.0%}" for medians of what is compared,
    /// with a number of decimals, and "{points}" for how many are compared with theory.
    pub(crate) text: String,
    /// "paper", "ours", or `{ paper_for = [methods] }`.
    #[serde(default)]
    pub(crate) whose: WhoseFile,
    /// The claim is made for each of these.
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    /// The mean of a number.
    #[serde(default)]
    pub(crate) value: Option<NumberFile>,
    /// The geometric mean of the ratio of two numbers, trial by trial.
    #[serde(default)]
    pub(crate) ratio: Option<[NumberFile; 2]>,
    /// The mean of the difference of two numbers, trial by trial.
    #[serde(default)]
    pub(crate) difference: Option<[NumberFile; 2]>,
    /// The mean of |a/b − 1| for two numbers, trial by trial.
    #[serde(default)]
    pub(crate) deviation: Option<[NumberFile; 2]>,
    /// The largest distance between theory and means.
    #[serde(default)]
    pub(crate) theory_gap: Option<TheoryGapFile>,
    /// The threshold that the number is claimed not to exceed.
    #[serde(default)]
    pub(crate) at_most: Option<f64>,
    /// The threshold that the number is claimed to reach.
    #[serde(default)]
    pub(crate) at_least: Option<f64>,
    /// When this threshold was set, where it was not with the others.
    #[serde(default)]
    pub(crate) threshold_set: Option<ThresholdSet>,
}

/// Whose a claim is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhoseFile {
    /// Stated by the paper in words.
    Paper,
    /// Derived or chosen here.
    #[default]
    Ours,
    /// The paper's for these methods, ours for others.
    PaperFor(Vec<String>),
}

impl WhoseFile {
    pub(crate) fn of(&self, method: Option<&str>) -> Whose {
        match self {
            Self::Paper => Whose::Paper,
            Self::Ours => Whose::Ours,
            Self::PaperFor(methods) => match method {
                Some(method) if methods.iter().any(|name| name == method) => Whose::Paper,
                _ => Whose::Ours,
            },
        }
    }
}

/// The largest distance between theory and means, less some standard errors.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TheoryGapFile {
    /// Settings whose points are compared, by name or title.
    #[schemars(length(min = 1))]
    pub(crate) settings: Vec<String>,
    /// How many standard errors are taken off each distance.
    pub(crate) standard_errors: f64,
    /// Names the random stream of the bootstrap.
    pub(crate) stream: [String; 2],
}

/// A number of each trial. One of `end`, `matched`, `trial`, `decades`, `share`, `smallest` and `less`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "oneOf" = [{"required": ["end"]}, {"required": ["matched"]}, {"required": ["trial"]}, {"required": ["decades"]}, {"required": ["share"]}, {"required": ["smallest"]}, {"required": ["less"]}],
    "dependentRequired" = {"decades": ["level"], "matched": ["by", "level"]},
    "if" = {"anyOf": [{"required": ["end"]}, {"required": ["matched"]}, {"required": ["decades"]}, {"required": ["share"]}]},
    "then" = {"required": ["method"]},
    "else" = {"properties": {"method": false}},
))]
pub(crate) struct NumberFile {
    /// Of which method.
    #[serde(default)]
    pub(crate) method: Option<String>,
    /// Of which setting, by name or title; the first where it is left out.
    #[serde(default)]
    pub(crate) setting: Option<String>,
    /// At which values of what is swept: one of them, "first" or "last".
    #[serde(default)]
    #[schemars(extend("additionalProperties" = {"type": ["number", "string", "boolean"]}))]
    pub(crate) at: BTreeMap<String, Value>,
    /// A measure of the method at the end of the trial.
    #[serde(default)]
    pub(crate) end: Option<String>,
    /// A measure of the method where another, named by `by`, has come down to `level` for good,
    /// interpolated between the recorded iterations.
    #[serde(default)]
    pub(crate) matched: Option<String>,
    /// See `matched`.
    #[serde(default)]
    pub(crate) by: Option<String>,
    /// The number of the trial that the level of `matched` is a multiple of; 1 where it is left out.
    #[serde(default)]
    pub(crate) of: Option<String>,
    /// Which hyperparameters.
    #[serde(default)]
    pub(crate) cell: CellChoice,
    /// What a diverged run counts as: "undecided" (the default), or "counts", as what it recorded.
    #[serde(default)]
    pub(crate) diverged: Diverged,
    /// A number of the trial itself.
    #[serde(default)]
    pub(crate) trial: Option<String>,
    /// Decades of learning rates over which this measure ends at most at `level`.
    #[serde(default)]
    pub(crate) decades: Option<String>,
    /// See `decades` and `matched`.
    #[serde(default)]
    pub(crate) level: Option<f64>,
    /// Share of the method's hyperparameters at which this iteration is reached.
    #[serde(default)]
    pub(crate) share: Option<String>,
    /// The smallest of several numbers.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) smallest: Option<Vec<NumberFile>>,
    /// The first of two numbers less the second.
    #[serde(default)]
    pub(crate) less: Option<Box<[NumberFile; 2]>>,
    /// By what the number is divided.
    #[serde(default)]
    pub(crate) divided_by: Option<f64>,
    /// A value that says that there is nothing to compare.
    #[serde(default)]
    pub(crate) undecided_at: Option<f64>,
}

/// Which of a method's hyperparameters a number is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CellChoice {
    /// Those chosen on the tuning trials.
    #[default]
    Tuned,
    /// Those with the smallest median of this measure on the tuning trials.
    TunedBy(String),
    /// In each trial, those with the smallest number.
    Best,
    /// Those with the smallest median over the shown trials.
    Fastest,
}

/// What a diverged run counts as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Diverged {
    /// Nothing is decided.
    #[default]
    Undecided,
    /// As what it recorded, the worst there is.
    Counts,
}
