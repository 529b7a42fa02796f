//! `report`: what a store's experiments show, without running anything.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::experiment::Experiment;
use crate::output::OutputFolder;
use crate::report::{Report, report};
use crate::run_cli::{Document, plan_name, summary};
use crate::runner::Results;
use crate::status::say_on;
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

/// The documents of a store, by what was chosen beside their files.
///
/// # Errors
/// Where the store cannot be read, or holds no experiment.
pub(crate) fn documents(store: &Store) -> Result<BTreeMap<String, Vec<Document>>> {
    let mut by_plan: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    for name in store.documents()? {
        let bytes = store.document(&name)?.unwrap_or_default();
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|error| ExperimentError::Output {
                path: store.path().join("experiments").join(&name),
                reason: format!("is not an experiment's data ({error}); remove it"),
            })?;
        by_plan.entry(plan_name(&document.run)).or_default().push(document);
    }
    if by_plan.is_empty() {
        return Err(ExperimentError::Output {
            path: store.path().into(),
            reason: "holds no experiment that was run to its end".into(),
        });
    }
    Ok(by_plan)
}

/// Writes what the store's experiments show. Returns the exit status.
///
/// # Errors
/// Where results are missing, or a folder cannot be used.
pub(crate) fn main(arguments: &ReportArguments, out: &mut impl Write) -> Result<u8> {
    let store = Store::open_existing(&arguments.store)?;
    let by_plan = documents(&store)?;
    let mut text = String::new();
    for (plan, documents) in &by_plan {
        let folder = match by_plan.len() {
            1 => arguments.out.clone(),
            _ => arguments.out.join(plan),
        };
        let experiments: Vec<Experiment> =
            documents.iter().map(Document::read).collect::<Result<_>>()?;
        let mut reports: Vec<(&Experiment, Report)> = Vec::new();
        for (document, experiment) in documents.iter().zip(&experiments) {
            // Those of the backend that computed them, whichever this program has.
            let backend = &document.run.backend;
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
        let Some(run) = documents.first().map(|document| document.run.clone()) else { continue };
        let names: Vec<&str> = experiments.iter().map(|e| e.name.as_str()).collect();
        OutputFolder::open(&folder, &run, &names, arguments.fresh)?.save(&run, &reports)?;
        text.push_str(&format!("{}written to {}\n", summary(&reports), folder.display()));
    }
    say_on(out, &text)
}
