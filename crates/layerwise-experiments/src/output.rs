//! What a run of experiments leaves in its folder.

use std::path::Path;

use serde_json::{Value, json};

use crate::experiment::Experiment;
use crate::folder::Folder;
use crate::plan::Plan;
use crate::record::{CODE, ExperimentRecord, RunInfo};
use crate::report::Report;
use crate::{Result, claims_page, plot};

const CLAIMS_PAGE: &str = "claims.md";

/// A folder of results that this run alone may write to, until it is dropped.
#[derive(Debug)]
pub struct OutputFolder {
    folder: Folder,
    /// Results of a former run are replaced.
    fresh: bool,
    /// What the folder holds of former runs.
    kept: Vec<ExperimentRecord>,
}

impl OutputFolder {
    /// Makes the folder where it does not exist, locks it, and sees that it can be written to and
    /// holds no results of another kind of run; with `fresh` such results are replaced.
    ///
    /// # Errors
    /// [`crate::ExperimentError::Output`] with what stands in the way.
    pub fn open(path: &Path, run: &RunInfo, experiments: &[&str], fresh: bool) -> Result<Self> {
        let all = experiments.iter().flat_map(|name| names(name)).chain([CLAIMS_PAGE.to_string()]);
        let folder = Folder::open(path, all)?;
        let mut kept = Vec::new();
        let mut present = folder.names_with_extension("json")?;
        present.sort();
        for name in present {
            let stem = name.trim_end_matches(".json");
            let mine = experiments.contains(&stem);
            let Some(file) = folder.read_if::<ExperimentRecord>(
                &name,
                "an experiment's data",
                mine && !fresh,
            )?
            else {
                continue;
            };
            if file.experiment != stem {
                continue;
            }
            if !fresh && file.run != *run {
                return Err(folder.refusal(format!(
                    "holds {} of a run with other settings ({}); replace it with --fresh, or choose \
                     another --out",
                    file.experiment,
                    describe(&file.run)
                )));
            }
            kept.push(file);
        }
        Ok(Self { folder, fresh, kept })
    }

    /// Writes the experiments' files and the page of all claims in the folder. All of them are first
    /// written beside their places, and moved there when every one is complete.
    ///
    /// # Errors
    /// [`crate::ExperimentError::Io`], and what drawing a picture can fail with. Every file is then
    /// whole, the former one or the new one, and none has changed unless moving one failed.
    pub fn save(&mut self, run: &RunInfo, reports: &[(&Experiment, Report)]) -> Result<()> {
        let mut files = Vec::new();
        let mut pages = if self.fresh { Vec::new() } else { self.kept.clone() };
        for (experiment, report) in reports {
            let page = record(run, experiment, report);
            let rendered = plot::render(&report.picture)?;
            let mut json = serde_json::to_vec_pretty(&page)?;
            json.push(b'\n');
            let csv = report.table.to_csv().into_bytes();
            let contents = [rendered.svg.into_bytes(), rendered.png, csv, json];
            files.extend(names(&experiment.name).into_iter().zip(contents));
            pages.retain(|kept| kept.experiment != page.experiment);
            pages.push(page);
        }
        pages.sort_by(|a, b| a.experiment.cmp(&b.experiment));
        files.push((CLAIMS_PAGE.into(), claims_page::write(run, &pages).into_bytes()));
        self.folder.replace(&files)?;
        for former in &self.kept {
            // Of a former run that this one did not make again.
            if self.fresh && pages.iter().all(|page| page.experiment != former.experiment) {
                names(&former.experiment).iter().for_each(|name| self.folder.remove(name));
            }
        }
        self.kept = pages;
        Ok(())
    }
}

/// What is written of an experiment beside its picture and data.
#[must_use]
pub fn record(run: &RunInfo, experiment: &Experiment, report: &Report) -> ExperimentRecord {
    ExperimentRecord {
        experiment: experiment.name.clone(),
        figure: experiment.figure(),
        title: experiment.title().into(),
        caption: experiment.caption().into(),
        run: run.clone(),
        code: CODE.into(),
        settings: settings(experiment),
        chosen_rates: report.chosen.clone(),
        claims: report.claims.clone(),
    }
}

/// The files of an experiment.
fn names(experiment: &str) -> [String; 4] {
    ["svg", "png", "csv", "json"].map(|kind| format!("{experiment}.{kind}"))
}

fn describe(run: &RunInfo) -> String {
    let Plan { quick, trials, seed } = run.plan;
    let trials = trials.map_or("default trials".into(), |n| format!("trials: {n}"));
    let size = if quick { "quick" } else { "full size" };
    format!("{size}, {trials}, seed {seed}, version {}, {}", run.version, run.backend)
}

/// All tasks and methods as they were run.
fn settings(experiment: &Experiment) -> Value {
    let settings: Vec<Value> = experiment
        .settings
        .iter()
        .map(|setting| {
            let methods: Vec<&str> = setting
                .methods
                .iter()
                .map(|(method, _)| experiment.methods[*method].name.as_str())
                .collect();
            json!({
                "name": setting.name,
                "stream": setting.stream,
                "task": setting.problem.canonical(),
                "methods": methods,
            })
        })
        .collect();
    let methods: Vec<Value> = experiment
        .methods
        .iter()
        .enumerate()
        .map(|(number, method)| {
            let varied: serde_json::Map<String, Value> = method
                .axes
                .iter()
                .map(|axis| (axis.name.clone(), axis.values(experiment.plan.quick).into()))
                .collect();
            let first = experiment.settings.iter().find_map(|setting| setting.cells(number));
            json!({
                "method": method.name,
                "first": first.and_then(|cells| cells.first()),
                "varied": varied,
            })
        })
        .collect();
    json!({
        "model": experiment.model.name(),
        "shown_trials": experiment.trials.shown,
        "tuning_trials": experiment.trials.tuning,
        "settings": settings,
        "methods": methods,
    })
}
