//! The `store` command: what is in a store, whether it is whole, and how to get it out.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::export::{ExportArguments, export};
use super::files::{self, Naming, RECORDS};
use super::prune::Pruned;
use super::record::Facts;
use super::{Store, prune as pruning};
use crate::Result;
use crate::status::{FAILURE, SUCCESS, say_on};

/// What to do with a store.
#[derive(Debug, Clone, Subcommand)]
pub enum StoreArguments {
    /// Say what a store holds: records by model, version and backend, bytes, segments, damage
    Info(StoreFolder),
    /// Read every record and list what is damaged; end with status 1 if anything is
    Verify(StoreFolder),
    /// Remove duplicates and records of older result versions, and move damaged bytes aside
    Prune(StoreFolder),
    /// Write all numbers as one long table
    Export(ExportArguments),
}

/// The store that a command is about.
#[derive(Debug, Clone, Args)]
pub struct StoreFolder {
    /// Folder of the store
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Runs the command and returns the exit status. `current` knows the result version of each model.
///
/// # Errors
/// Those of [`info`], [`verify`], [`prune`] and [`export`].
pub fn run(
    arguments: &StoreArguments,
    current: impl Fn(&str) -> Option<u64>,
    out: &mut impl Write,
) -> Result<u8> {
    match arguments {
        StoreArguments::Info(folder) => info(folder, out),
        StoreArguments::Verify(folder) => verify(folder, out),
        StoreArguments::Prune(folder) => prune(folder, current, out),
        StoreArguments::Export(arguments) => export(arguments, out),
    }
}

/// Says on `out` what is in the store. Every record is read.
///
/// # Errors
/// [`crate::ExperimentError::Store`] where there is no store or it cannot be read;
/// [`crate::ExperimentError::Io`] where `out` takes no text; a closed pipe is no error.
pub fn info(arguments: &StoreFolder, out: &mut impl Write) -> Result<u8> {
    let store = Store::open_existing(&arguments.folder)?;
    let mut kinds: BTreeMap<_, u64> = BTreeMap::new();
    store.visit(|record| {
        let Facts { model, version, backend, .. } = Facts::of(&record.identity);
        *kinds.entry((model, version, backend)).or_default() += 1;
    })?;
    let (segments, bytes) = size(&store)?;
    let mut text = format!(
        "{}, {bytes} bytes in {}\n",
        counted(store.len(), "record"),
        counted(segments, "segment")
    );
    for ((model, version, backend), records) in kinds {
        text.push_str(&format!(
            "  model {}, version {}, backend {}: {records}\n",
            model.as_deref().unwrap_or("unknown"),
            version.map_or_else(|| "unknown".into(), |version| version.to_string()),
            backend.as_deref().unwrap_or("unknown"),
        ));
    }
    text.push_str(&format!("{}\n", counted(store.documents()?.len(), "document")));
    say_on(out, &(text + &damage_list(&store)))?;
    Ok(SUCCESS)
}

/// Number and bytes of the segments.
fn size(store: &Store) -> Result<(usize, u64)> {
    let records = store.path().join(RECORDS);
    let paths = files::list(&records).naming(&records, "cannot be listed")?;
    // What has gone since is not counted.
    let sizes = paths.iter().filter(|path| files::is_segment(path)).flat_map(fs::metadata);
    Ok(sizes.fold((0, 0), |(segments, bytes), file| (segments + 1, bytes + file.len())))
}

/// Reads every record, and says on `out` what is damaged. Returns [`SUCCESS`] if nothing is, else
/// [`FAILURE`].
///
/// # Errors
/// As [`info`].
pub fn verify(arguments: &StoreFolder, out: &mut impl Write) -> Result<u8> {
    let store = Store::open_existing(&arguments.folder)?;
    let mut good = 0;
    store.visit(|_| good += 1)?;
    say_on(out, &format!("{}\n{}", counted(good, "good record"), damage_list(&store)))?;
    Ok(if store.damage().is_empty() { SUCCESS } else { FAILURE })
}

fn damage_list(store: &Store) -> String {
    let damage = store.damage();
    let lines: String = damage.iter().map(|damage| format!("  {damage}\n")).collect();
    format!("{}\n{lines}", counted(damage.len(), "damaged piece"))
}

/// That something is missing from what was told, if it is.
pub(super) fn damage_note(store: &Store) -> String {
    match store.damage().len() {
        0 => String::new(),
        pieces => format!(
            "{} left out; 'verify' lists what is damaged\n",
            counted(pieces, "damaged piece")
        ),
    }
}

/// Rewrites the segments that nobody is writing: without duplicates, without records of a model that
/// has a newer result version (`current`; nothing for an unknown model, whose records all stay), and
/// without damaged bytes, which are moved to the folder `aside`. Killed at any moment, no good record
/// is lost.
///
/// # Errors
/// As [`info`]; and where a file cannot be written, which leaves all good records there.
pub fn prune(
    arguments: &StoreFolder,
    current: impl Fn(&str) -> Option<u64>,
    out: &mut impl Write,
) -> Result<u8> {
    let Pruned { kept, duplicates, older, aside, rewritten, held } =
        pruning::prune(&arguments.folder, current)?;
    let mut text = format!(
        "kept {}; removed {} and {} of older result versions; moved {} aside; rewrote {}\n",
        counted(kept, "record"),
        counted(duplicates, "duplicate"),
        counted(older, "record"),
        counted(aside, "damaged piece"),
        counted(rewritten, "segment"),
    );
    if held > 0 {
        text.push_str(&format!(
            "left {} alone: in use, or on a file system without locks\n",
            counted(held, "segment")
        ));
    }
    say_on(out, &text)?;
    Ok(SUCCESS)
}

pub(super) fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
