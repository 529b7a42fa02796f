//! What a run of figures leaves in its folder.

use std::path::Path;

use serde_json::{Value, json};

use crate::figures::{FIGURES, Figure, Report};
use crate::folder::Folder;
use crate::linear::setting::{INPUTS, NOISE, OUTPUTS, RANK};
use crate::linear::{LinearMethod, LinearSetting};
use crate::plan::Plan;
use crate::record::{FigureFile, RunInfo};
use crate::runner::Demand;
use crate::{Result, claims_page, plot, single_index};

const CLAIMS_PAGE: &str = "claims.md";

/// A folder of figures that this run alone may write to, until it is dropped.
#[derive(Debug)]
pub struct OutputFolder {
    folder: Folder,
    /// Results of a former run are replaced.
    fresh: bool,
    kept: Vec<FigureFile>,
}

impl OutputFolder {
    /// Makes the folder where it does not exist, locks it, and sees that it can be written to and
    /// holds no results of another kind of run; with `fresh` such results are replaced.
    ///
    /// # Errors
    /// [`crate::ExperimentError::Output`] with what stands in the way.
    pub fn open(path: &Path, run: &RunInfo, fresh: bool) -> Result<Self> {
        let folder = Folder::open(path, names_of_all())?;
        let mut kept = Vec::new();
        if !fresh {
            for figure in FIGURES {
                let name = format!("figure{}.json", figure.number());
                if let Some(file) = folder.read::<FigureFile>(&name, "a figure's data")? {
                    if file.run != *run {
                        return Err(folder.refusal(format!(
                            "holds figure {} of a run with other settings ({}); replace it with \
                             --fresh, or choose another --out",
                            file.figure,
                            describe(&file.run)
                        )));
                    }
                    kept.push(file);
                }
            }
        }
        Ok(Self { folder, fresh, kept })
    }

    /// Writes the figures' files and the page of all claims in the folder. All of them are first
    /// written beside their places, and moved there when every one is complete.
    ///
    /// # Errors
    /// [`crate::ExperimentError::Io`], and what drawing a picture can fail with. Every file is then
    /// whole, the former one or the new one, and none has changed unless moving one failed.
    pub fn save(&mut self, run: &RunInfo, reports: &[(&dyn Figure, Report)]) -> Result<()> {
        let mut files = Vec::new();
        let mut pages: Vec<FigureFile> = self.kept.clone();
        for (figure, report) in reports {
            let number = figure.number();
            let page = FigureFile {
                figure: number,
                title: figure.title().into(),
                caption: figure.caption().into(),
                run: run.clone(),
                settings: settings(&figure.demand(&run.plan)),
                chosen_rates: report.chosen.clone(),
                claims: report.claims.clone(),
            };
            let rendered = plot::render(&report.picture)?;
            let mut json = serde_json::to_vec_pretty(&page)?;
            json.push(b'\n');
            let csv = report.table.to_csv().into_bytes();
            let contents = [rendered.svg.into_bytes(), rendered.png, csv, json];
            files.extend(names(number).into_iter().zip(contents));
            pages.retain(|kept| kept.figure != number);
            pages.push(page);
        }
        pages.sort_by_key(|page| page.figure);
        files.push((CLAIMS_PAGE.into(), claims_page::write(run, &pages).into_bytes()));
        self.folder.replace(&files)?;
        if self.fresh {
            self.remove_others(&pages);
        }
        self.kept = pages;
        Ok(())
    }

    /// Removes the figures of a former run that this one did not make.
    fn remove_others(&self, pages: &[FigureFile]) {
        for figure in FIGURES {
            if pages.iter().all(|page| page.figure != figure.number()) {
                for name in names(figure.number()) {
                    self.folder.remove(&name);
                }
            }
        }
    }
}

/// The files of a figure.
fn names(number: u8) -> [String; 4] {
    ["svg", "png", "csv", "json"].map(|kind| format!("figure{number}.{kind}"))
}

/// The files of a whole folder.
fn names_of_all() -> impl Iterator<Item = String> {
    FIGURES.iter().flat_map(|figure| names(figure.number())).chain([CLAIMS_PAGE.to_string()])
}

fn describe(run: &RunInfo) -> String {
    let Plan { quick, trials, seed } = run.plan;
    let trials = trials.map_or("default trials".into(), |n| format!("trials: {n}"));
    let size = if quick { "quick" } else { "full size" };
    format!("{size}, {trials}, seed {seed}, version {}, {}", run.version, run.backend)
}

/// The methods of a setting, each with the rates and the dampings on which it was run.
fn methods(setting: &LinearSetting) -> Vec<Value> {
    let mut methods: Vec<(LinearMethod, Vec<f64>, Vec<f64>)> = Vec::new();
    for cell in &setting.cells {
        if methods.last().is_none_or(|(method, ..)| *method != cell.method) {
            methods.push((cell.method, Vec::new(), Vec::new()));
        }
        if let Some((_, rates, dampings)) = methods.last_mut() {
            for (list, value) in [(rates, Some(cell.rate)), (dampings, cell.damping)] {
                list.extend(value.filter(|value| !list.contains(value)));
            }
        }
    }
    let describe = |(method, rates, dampings): (LinearMethod, Vec<f64>, Vec<f64>)| json!({ "method": method.name(), "rates": rates, "dampings": dampings });
    methods.into_iter().map(describe).collect()
}

/// The settings of a figure for its JSON.
fn settings(demand: &Demand) -> Value {
    let linear: Vec<Value> = demand
        .linear
        .iter()
        .map(|(setting, trials)| {
            json!({
                "name": setting.name,
                "inputs": format!("{:?}", setting.law),
                "basis": format!("{:?}", setting.basis),
                "d_x": INPUTS, "d_y": OUTPUTS, "k": RANK, "noise": NOISE,
                "spectrum": "log-spaced, trace d_x",
                "condition": setting.condition,
                "head_condition": setting.head_condition,
                "samples": setting.samples,
                "iterations": setting.iterations,
                "target_distance": setting.target_distance,
                "methods": methods(setting),
                "shown_trials": trials.shown,
                "tuning_trials": trials.tuning,
            })
        })
        .collect();
    let single_index: Vec<Value> = demand
        .single_index
        .iter()
        .map(|(setting, trials)| {
            json!({
                "name": setting.name,
                "teacher": setting.teacher.name(),
                "student": "tanh",
                "d": single_index::DIMENSION, "h": single_index::DIMENSION,
                "noise": single_index::NOISE,
                "epsilon": setting.epsilon,
                "samples": setting.samples,
                "dampings": setting.dampings,
                "trials": trials,
            })
        })
        .collect();
    json!({ "whose": "ours", "linear": linear, "single_index": single_index })
}
