//! `judge`: the verdicts of a store, computed a second time.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::judge::{compare, judge};
use crate::run_cli::{Document, plan_name};
use crate::runner::Results;
use crate::status::{CLAIM_FAILED, FAILURE, SUCCESS, say_on};
use crate::store::Store;
use crate::{ExperimentError, Result};

/// Arguments of `judge`.
#[derive(Debug, Clone, Args)]
pub struct JudgeArguments {
    /// The store
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
}

/// What is found of a store's documents.
#[derive(Default)]
struct Findings {
    text: String,
    /// A verdict or number is not as reported.
    differs: bool,
    /// Something is not there, or not as it was written.
    lacks: bool,
}

impl Findings {
    fn line(&mut self, line: &str) {
        self.text.push_str(&line.replace(['\n', '\r'], " "));
        self.text.push('\n');
    }
}

/// Computes every verdict of every document in a store anew and says on `out` what differs, what is missing
/// and what is damaged, a line each. Returns the exit status: 3 where a verdict or a number differs, else 1
/// where something is missing or damaged, else 0. Nothing is written.
///
/// # Errors
/// Where the store cannot be read, or holds no document; where a closed form is undefined.
pub fn run(arguments: &JudgeArguments, out: &mut impl Write) -> Result<u8> {
    let store = Store::open_existing(&arguments.store)?;
    let mut findings = Findings::default();
    let mut documents: Vec<(String, Document)> = Vec::new();
    let names = store.documents()?;
    if names.is_empty() {
        return Err(ExperimentError::Output {
            path: store.path().into(),
            reason: "holds no experiment that was run to its end".into(),
        });
    }
    for name in names {
        let bytes = store.document(&name)?.unwrap_or_default();
        match serde_json::from_slice(&bytes) {
            Ok(document) => documents.push((name, document)),
            Err(error) => {
                findings.lacks = true;
                findings.line(&format!("{name}: is not an experiment's data ({error})"));
            }
        }
    }
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    for (_, document) in &documents {
        *runs.entry(document.experiment.clone()).or_default() += 1;
    }
    for (file, document) in &documents {
        let shown = match runs.get(&document.experiment) {
            Some(1) | None => document.experiment.clone(),
            _ => format!("{} ({})", document.experiment, plan_name(&document.run)),
        };
        one(&store, file, document, &shown, &mut findings)?;
    }
    for damage in store.damage() {
        findings.lacks = true;
        findings.line(&format!("damaged: {damage}"));
    }
    say_on(out, &findings.text)?;
    Ok(match findings {
        Findings { differs: true, .. } => CLAIM_FAILED,
        Findings { lacks: true, .. } => FAILURE,
        _ => SUCCESS,
    })
}

fn one(
    store: &Store,
    file: &str,
    document: &Document,
    name: &str,
    findings: &mut Findings,
) -> Result<()> {
    if *file != document.file_name() {
        findings.differs = true;
        let expected = document.file_name();
        findings.line(&format!("{name}: is named {file}, but its run is that of {expected}"));
    }
    let experiment = match document.read() {
        Ok(experiment) => experiment,
        // An experiment that this program does not take is a document that was not written by it.
        Err(error @ ExperimentError::Experiment { .. }) => {
            findings.lacks = true;
            findings.line(&format!("{name}: {error}"));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let (results, missing) = Results::read_of(&experiment, store, &document.run.backend)?;
    for missing in &missing {
        findings.lacks = true;
        findings.line(&format!("{name}: missing or damaged: {missing}"));
    }
    if !missing.is_empty() {
        findings.line(&format!("{name}: not judged, as {} records are missing", missing.len()));
        return Ok(());
    }
    let judged = judge(&experiment, &results)?;
    let differences = compare(&judged, &document.claims);
    let count = judged.len();
    let verdicts = if count == 1 { "1 verdict".into() } else { format!("{count} verdicts") };
    if differences.is_empty() {
        findings.line(&format!("{name}: {verdicts} recomputed, all as reported"));
        return Ok(());
    }
    findings.differs = true;
    findings.line(&format!("{name}: {verdicts} recomputed, differences: {}", differences.len()));
    for line in differences {
        findings.line(&format!("  {name}: {line}"));
    }
    Ok(())
}
