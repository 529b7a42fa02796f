//! `report`: what a store's experiments show, without running anything.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::complain;
use crate::experiment::Experiment;
use crate::output::OutputFolder;
use crate::record::RunInfo;
use crate::report::{Report, report};
use crate::run_cli::{Document, plan_name, summary};
use crate::runner::Results;
use crate::status::{FAILURE, SUCCESS, say_on};
use crate::store::Store;
use crate::{ExperimentError, Result};

/// Arguments of `report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArguments {
    /// The store
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "report")]
    pub out: PathBuf,
    /// Replace results of a run with other settings
    #[arg(long)]
    pub fresh: bool,
}

/// The documents of a store, by what was chosen beside their files and by the backend that computed them.
type Runs = BTreeMap<(String, String), Vec<Document>>;

/// Reads them; what is none is passed over, and said.
///
/// # Errors
/// Where the store cannot be read, or holds no experiment.
fn documents(store: &Store, passed_over: &mut Vec<String>) -> Result<Runs> {
    let mut runs = Runs::new();
    for name in store.documents()? {
        let bytes = store.document(&name)?.unwrap_or_default();
        let document: Document = match serde_json::from_slice(&bytes) {
            Ok(document) => document,
            Err(error) => {
                passed_over.push(format!("{name} is not an experiment's data ({error})"));
                continue;
            }
        };
        let run = (plan_name(&document.run), document.run.backend.clone());
        runs.entry(run).or_default().push(document);
    }
    if runs.is_empty() {
        return Err(ExperimentError::Output {
            path: store.path().into(),
            reason: "holds no experiment that was run to its end".into(),
        });
    }
    Ok(runs)
}

/// A backend as part of a folder's name.
fn in_a_name(backend: &str) -> String {
    let words = backend.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// Writes what the store's experiments show. Returns the exit status.
///
/// # Errors
/// Where results are missing, or a folder cannot be used.
pub(crate) fn main(arguments: &ReportArguments, out: &mut impl Write) -> Result<u8> {
    let store = Store::open_existing(&arguments.store)?;
    let mut passed_over = Vec::new();
    let runs = documents(&store, &mut passed_over)?;
    let mut text = String::new();
    for ((plan, backend), documents) in &runs {
        let folder = match runs.keys().filter(|(other, _)| other == plan).count() {
            _ if runs.len() == 1 => arguments.out.clone(),
            1 => arguments.out.join(plan),
            _ => arguments.out.join(format!("{plan}-{}", in_a_name(backend))),
        };
        let mut experiments: Vec<Experiment> = Vec::new();
        for document in documents {
            match document.read() {
                Ok(experiment) => experiments.push(experiment),
                // Another version of this program took it.
                Err(error @ ExperimentError::Experiment { .. }) => {
                    passed_over.push(format!("{}: {error}", document.file_name()));
                }
                Err(error) => return Err(error),
            }
        }
        if experiments.is_empty() {
            continue;
        }
        let mut reports: Vec<(&Experiment, Report)> = Vec::new();
        for experiment in &experiments {
            // Those of the backend that computed them, whichever this program has.
            let (results, missing) = Results::read_of(experiment, &store, backend)?;
            if let Some(first) = missing.first() {
                let damage = store.damage().first().map_or(String::new(), |d| format!("; {d}"));
                return Err(ExperimentError::MissingResults(format!(
                    "{} trials of {} in {}, such as {first}{damage}; `layerwise run` computes them",
                    missing.len(),
                    experiment.name,
                    store.path().display()
                )));
            }
            reports.push((experiment, report(experiment, &results)?));
        }
        let Some(document) = documents.first() else { continue };
        // What is computed is theirs, and what is made of it is this program's.
        let run = RunInfo { backend: backend.clone(), ..RunInfo::new(document.run.plan) };
        let names: Vec<&str> = experiments.iter().map(|e| e.name.as_str()).collect();
        OutputFolder::open(&folder, &run, &names, arguments.fresh)?.save(&run, &reports)?;
        text.push_str(&format!("{}written to {}\n", summary(&reports), folder.display()));
    }
    say_on(out, &text)?;
    if passed_over.is_empty() {
        return Ok(SUCCESS);
    }
    complain(&format!("passed over: {}", passed_over.join("; ")));
    Ok(FAILURE)
}
