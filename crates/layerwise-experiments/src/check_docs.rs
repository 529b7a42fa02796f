//! `figures --check-docs`: whether the figures in a folder are what the program makes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::claim::{Claim, LOG_T_INTERVAL, Side};
use crate::experiment::{Choices, Experiment};
use crate::judge::{self, compare, judge};
use crate::output::record;
use crate::record::{ExperimentRecord, RunInfo};
use crate::report::{Report, report};
use crate::run_cli::{RunOptions, compute};
use crate::runner::{Results, Share, Work};
use crate::status::{CLAIM_FAILED, SUCCESS, say_on};
use crate::store::Store;
use crate::{ExperimentError, Result, claims_page};

/// What numbers may differ by, in proportion to their size, where the backend and its kernel are
/// the same. Then the sums have the same order, and what differs is the system's exp, log and tanh: by 10⁻¹⁶
/// of their values, which the iterations that settle raise to 3·10⁻¹⁰ at most ("Backends, kernels and bits"
/// in docs/reproducing.md measures more than this, between kernels). Those that do not settle carry over to
/// the same library only; there they are the same.
const TOLERANCE: f64 = 1e-9;

/// A folder of figures.
struct Pages {
    folder: PathBuf,
    /// By the names of their experiments, in the order of the page of claims.
    records: BTreeMap<String, ExperimentRecord>,
    /// Whether all of the figures' files are of this format.
    whole: bool,
    differences: Vec<String>,
}

impl Pages {
    /// Reads a folder. What is missing or of another format of the figures `wanted` is a difference.
    ///
    /// # Errors
    /// [`ExperimentError::Io`] where the folder or a file cannot be read.
    fn read(folder: &Path, wanted: &[String]) -> Result<Self> {
        let mut pages = Self {
            folder: folder.into(),
            records: BTreeMap::new(),
            whole: true,
            differences: Vec::new(),
        };
        let failed = |source| ExperimentError::Io { path: folder.into(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".json").map(str::to_string));
        }
        names.sort();
        for name in wanted.iter().filter(|name| !names.contains(name)) {
            pages.differences.push(format!("{name}.json: is not there"));
        }
        for name in names {
            let text = pages.text(&format!("{name}.json"))?.unwrap_or_default();
            match serde_json::from_str::<ExperimentRecord>(&text) {
                Ok(record) if record.experiment == name => {
                    pages.records.insert(name, record);
                }
                Ok(record) if wanted.contains(&name) => {
                    let other = record.experiment;
                    pages.differences.push(format!("{name}.json: is of the experiment {other}"));
                }
                Err(error) if wanted.contains(&name) => {
                    let line = format!("{name}.json: is not of this program's format ({error})");
                    pages.differences.push(line);
                    pages.whole = false;
                }
                // The page of claims is made of figures and other experiments alone.
                Ok(_) | Err(_) => pages.whole &= !name.starts_with("figure"),
            }
        }
        Ok(pages)
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ExperimentError::Io { path, source }),
        }
    }

    /// Compares the page of claims with the one that the folder's data make.
    fn check_page(&mut self) -> Result<()> {
        const PAGE: &str = "claims.md";
        let mut records = self.records.values();
        let Some(first) = records.next() else { return Ok(()) };
        let others: Vec<String> = records
            .filter(|record| record.run != first.run)
            .map(|record| {
                format!(
                    "{}.json: is of another run than {}.json",
                    record.experiment, first.experiment
                )
            })
            .collect();
        if !others.is_empty() {
            self.differences.extend(others);
            return Ok(());
        }
        let made: Vec<ExperimentRecord> = self.records.values().cloned().collect();
        let made = claims_page::write(&first.run, &made);
        let line = match self.text(PAGE)? {
            None => format!("{PAGE}: is not there"),
            Some(page) if page == made => return Ok(()),
            Some(_) if !self.whole => {
                format!("{PAGE}: not compared, as not all data are of this program's format")
            }
            Some(page) => {
                let (mut ours, mut theirs) = (made.lines(), page.lines());
                let mut number = 1;
                while let (Some(a), Some(b)) = (ours.next(), theirs.next()) {
                    if a != b {
                        break;
                    }
                    number += 1;
                }
                format!("{PAGE}: is not what the data make, from line {number} on")
            }
        };
        self.differences.push(line);
        Ok(())
    }
}

/// Compares the figures in a folder with what their experiments give now, and says on `out` each difference
/// in a line. Size, trials and seed are those of the folder. What is missing of the trials is run into the
/// store; nothing else is written. Returns the exit status: 3 where something differs.
///
/// # Errors
/// Where the folder or the store cannot be read, or a run fails.
pub(crate) fn run(
    names: &[String],
    folder: &Path,
    options: &RunOptions,
    out: &mut impl Write,
) -> Result<u8> {
    // One thread a product: trials run in parallel, and OpenBLAS's bits depend on it.
    layerwise_linalg::set_backend_threads(1);
    let mut pages = Pages::read(folder, names)?;
    pages.check_page()?;
    let mut experiments = Vec::new();
    for name in names {
        if let Some(record) = pages.records.get(name) {
            let plan = record.run.plan;
            let choices = Choices { quick: plan.quick, trials: plan.trials, seed: Some(plan.seed) };
            experiments.push(Experiment::open(name, choices)?);
        }
    }
    let mut compared = 0;
    if !experiments.is_empty() {
        let store = Store::open(&options.store)?;
        let work = Work::missing(&experiments, Some(&store), Share::ALL);
        if let Some(status) = compute(&work, &store, options)? {
            return Ok(status);
        }
        for experiment in &experiments {
            let results = match results(experiment, &store, options)? {
                Ok(results) => results,
                Err(status) => return Ok(status),
            };
            let made = report(experiment, &results)?;
            let Some(page) = pages.records.get(&experiment.name) else { continue };
            let mut lines = of_figure(page, experiment, &made);
            let csv = pages.text(&format!("{}.csv", experiment.name))?;
            lines.extend(csv.and_then(|csv| of_table(page, &csv, &made.table.to_csv())));
            let judged = judge(experiment, &results)?;
            let judged = compare(&judged, &made.claims);
            lines.extend(judged.iter().map(|line| format!("report against judge: {line}")));
            let named = lines.iter().map(|line| format!("{}: {line}", experiment.name));
            pages.differences.extend(named);
            compared += made.claims.len();
        }
    }
    let mut text = String::new();
    for line in &pages.differences {
        text.push_str(&line.replace(['\n', '\r'], " "));
        text.push('\n');
    }
    let count = pages.differences.len();
    text.push_str(&format!("{compared} claims compared, differences: {count}\n"));
    say_on(out, &text)?;
    Ok(if count == 0 { SUCCESS } else { CLAIM_FAILED })
}

/// All results, a damaged record computed again once; the exit status where that is interrupted.
fn results(
    experiment: &Experiment,
    store: &Store,
    options: &RunOptions,
) -> Result<std::result::Result<Results, u8>> {
    if let Some(results) = Results::read(experiment, store)? {
        return Ok(Ok(results));
    }
    let again = std::slice::from_ref(experiment);
    let work = Work::missing(again, Some(store), Share::ALL);
    if let Some(status) = compute(&work, store, options)? {
        return Ok(Err(status));
    }
    let read = Results::read(experiment, store)?;
    let missing = || ExperimentError::MissingResults("records that were just written".into());
    read.map(Ok).ok_or_else(missing)
}

/// Whether numbers carry over: see [`TOLERANCE`].
fn same_numbers(page: &ExperimentRecord) -> bool {
    page.run.backend == RunInfo::new(page.run.plan).backend
}

fn of_figure(page: &ExperimentRecord, experiment: &Experiment, made: &Report) -> Vec<String> {
    let now = record(&RunInfo::new(experiment.plan), experiment, made);
    let mut lines = Vec::new();
    let mut differ = |what: &str, page: &str, now: &str| {
        lines.push(format!("{what}: the folder has {page}, now it is {now}"));
    };
    if page.title != now.title {
        differ("title", &page.title, &now.title);
    }
    if page.caption != now.caption {
        differ("caption", &page.caption, &now.caption);
    }
    if page.figure != now.figure {
        let number = |figure: Option<u8>| figure.map_or("none".into(), |n: u8| n.to_string());
        differ("figure", &number(page.figure), &number(now.figure));
    }
    if let Some((place, page, now)) = unequal(&page.settings, &now.settings, "settings") {
        differ(&place, &page, &now);
    }
    let numbers = same_numbers(page);
    if numbers {
        let chosen = |record: &ExperimentRecord| serde_json::to_value(&record.chosen_rates);
        if let (Ok(page), Ok(now)) = (chosen(page), chosen(&now))
            && let Some((place, page, now)) = unequal(&page, &now, "chosen_rates")
        {
            differ(&place, &page, &now);
        }
    }
    if page.claims.len() != now.claims.len() {
        differ("claims", &page.claims.len().to_string(), &now.claims.len().to_string());
    }
    for (page, now) in page.claims.iter().zip(&now.claims) {
        of_claim(page, now, numbers, &mut differ);
    }
    lines
}

fn of_claim(page: &Claim, now: &Claim, numbers: bool, differ: &mut impl FnMut(&str, &str, &str)) {
    let mut differs = |what: &str, page: &dyn std::fmt::Display, now_: &dyn std::fmt::Display| {
        differ(&format!("{}: {what}", now.id), &page.to_string(), &now_.to_string());
    };
    if page.id != now.id {
        differs("id", &page.id, &now.id);
    }
    if !judge::same_but_for_numbers(&page.text, &now.text) {
        differs("text", &page.text, &now.text);
    }
    if page.whose != now.whose {
        differs("whose", &format!("{:?}", page.whose), &format!("{:?}", now.whose));
    }
    if page.side != now.side {
        let side = |side| if side == Side::AtMost { "at most" } else { "at least" };
        differs("side", &side(page.side), &side(now.side));
    }
    if page.threshold != now.threshold {
        differs("threshold", &page.threshold, &now.threshold);
    }
    if page.interval_method != now.interval_method {
        differs("interval_method", &page.interval_method, &now.interval_method);
    }
    if page.verdict != now.verdict {
        differs("verdict", &page.verdict, &now.verdict);
    }
    if !numbers {
        return;
    }
    let all = |claim: &Claim| [claim.measured, claim.interval[0], claim.interval[1]];
    // A difference of numbers is no more exact than these are: they are of the ends' size. The ends of a
    // geometric mean may be of any size.
    let geometric = now.interval_method == LOG_T_INTERVAL;
    let sizes = all(now).into_iter().filter(|x| x.is_finite());
    let scale = sizes.fold(0.0_f64, |scale, x| scale.max(x.abs()));
    let names = ["measured", "lower end of the interval", "upper end of the interval"];
    for (name, (page, now)) in names.iter().zip(all(page).into_iter().zip(all(now))) {
        let equal = match (page.is_finite(), now.is_finite()) {
            (true, true) if geometric => near(page, now),
            (true, true) => (page - now).abs() <= TOLERANCE * scale,
            // JSON has one null for all that is not finite.
            (page, now) => page == now,
        };
        if !equal {
            differs(name, &page, &now);
        }
    }
}

/// The first place where two values differ, numbers by more than the tolerance, and what is there.
fn unequal(page: &Value, now: &Value, place: &str) -> Option<(String, String, String)> {
    let here = || Some((place.to_string(), page.to_string(), now.to_string()));
    match (page, now) {
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() && a.keys().eq(b.keys()) => a
            .iter()
            .zip(b.values())
            .find_map(|((key, a), b)| unequal(a, b, &format!("{place}.{key}"))),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.into_iter().find_map(|(i, (a, b))| unequal(a, b, &format!("{place}.{i}")))
        }
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) if near(a, b) => None,
            _ if a == b => None,
            _ => here(),
        },
        _ if page == now => None,
        _ => here(),
    }
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// Where a figure's table differs: cells where numbers carry over, else its shape.
fn of_table(page: &ExperimentRecord, csv: &str, now: &str) -> Option<String> {
    let (theirs, ours): (Vec<&str>, Vec<&str>) = (csv.lines().collect(), now.lines().collect());
    let differs = |line: usize| Some(format!("the table differs in line {}", line + 1));
    if theirs.first() != ours.first() {
        return differs(0);
    }
    if theirs.len() != ours.len() {
        return Some(format!("the table has {} lines, now {}", theirs.len(), ours.len()));
    }
    if !same_numbers(page) {
        return None;
    }
    let same_cell = |a: &str, b: &str| {
        let numbers = a.parse::<f64>().ok().zip(b.parse::<f64>().ok());
        a == b || numbers.is_some_and(|(a, b)| near(a, b))
    };
    let same_line = |a: &str, b: &str| {
        let (a, b): (Vec<&str>, Vec<&str>) = (a.split(',').collect(), b.split(',').collect());
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same_cell(a, b))
    };
    (0..ours.len()).find(|&i| !same_line(theirs[i], ours[i])).and_then(differs)
}
