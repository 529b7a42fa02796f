//! The `theorems` command: the table of statements and its pictures.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use layerwise_data::Streams;
use serde::Deserialize;

use crate::arguments::{parse_seed, parse_threads};
use crate::backend::BackendArguments;
use crate::folder::Folder;
use crate::monitor::Monitor;
use crate::plot::{self, Picture};
use crate::progress::Progress;
use crate::status::{CLAIM_FAILED, SUCCESS};
use crate::theorems::page::{self, TheoremsRun};
use crate::theorems::{self, RealSteps, Row, Scale, Statement, Steps, pictures};
use crate::{ExperimentError, Result};

/// Arguments of `theorems`.
#[derive(Debug, Clone, Args)]
pub struct TheoremsArguments {
    /// Fewer cases and smaller simulations of the same statements
    #[arg(long)]
    pub quick: bool,
    /// Seed of all random numbers, 0 to 2⁶⁴ − 1
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = parse_seed,
        allow_negative_numbers = true)]
    pub seed: u64,
    /// Threads, 1 to 1024; the results do not depend on it [default: one a core]
    #[arg(long, value_name = "N", value_parser = parse_threads, allow_negative_numbers = true)]
    pub threads: Option<u16>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "theorems")]
    pub out: PathBuf,
    /// Replace results of a run with other settings
    #[arg(long)]
    pub fresh: bool,
    /// The linear algebra.
    #[command(flatten)]
    pub backend: BackendArguments,
}

const JSON: &str = "theorems.json";
const FILES: [&str; 6] =
    ["theorems.md", JSON, "contraction.svg", "contraction.png", "phase.svg", "phase.png"];

/// Checks `statements` on `steps`, writes the table and its pictures, and prints the table on
/// `out`. Returns the exit status: [`SUCCESS`] if all hold, else [`CLAIM_FAILED`].
///
/// # Errors
/// Where the output folder cannot be used, a check fails to run, or the user interrupts.
pub fn theorems(
    arguments: &TheoremsArguments,
    statements: &[&dyn Statement],
    steps: &dyn Steps,
    out: &mut impl Write,
) -> Result<u8> {
    // One thread a product: cases run in parallel, and OpenBLAS's bits depend on it.
    layerwise_linalg::set_backend_threads(1);
    let run = TheoremsRun::new(arguments.quick, arguments.seed);
    let mut folder = open(&arguments.out, &run, arguments.fresh)?;
    let scale = if arguments.quick { Scale::Quick } else { Scale::Full };
    let threads = match arguments.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (rows, contraction) = {
        let progress = Progress::start(statements.len() as u64 + 1);
        let rows = theorems::run(statements, scale, run.seed, threads, steps, &progress)?;
        let streams = Streams::new(run.seed);
        let contraction = theorems::pool(threads)?
            .install(|| pictures::contraction_picture(scale, &streams, steps, &progress))?;
        progress.advance(1);
        (rows, contraction)
    };
    save(&mut folder, run, &rows, &contraction)?;
    print(&page::text(&rows), &arguments.out, out)?;
    let all_hold = rows.iter().all(|row| row.outcome.holds());
    Ok(if all_hold { SUCCESS } else { CLAIM_FAILED })
}

/// The program's call: all statements, on the steps as they are.
pub(crate) fn main(arguments: &TheoremsArguments) -> Result<u8> {
    theorems(arguments, theorems::STATEMENTS, &RealSteps, &mut std::io::stdout())
}

#[derive(Deserialize)]
struct Former {
    run: TheoremsRun,
}

fn open(path: &Path, run: &TheoremsRun, fresh: bool) -> Result<Folder> {
    let folder = Folder::open(path, FILES.into_iter().map(String::from))?;
    if !fresh
        && let Some(Former { run: former }) =
            folder.read::<Former>(JSON, "a table of statements")?
        && former != *run
    {
        let size = if former.quick { "quick" } else { "full size" };
        return Err(folder.refusal(format!(
            "holds the statements of a run with other settings ({size}, seed {}, version {}, {}); \
             replace it with --fresh, or choose another --out",
            former.seed, former.version, former.backend
        )));
    }
    Ok(folder)
}

fn save(folder: &mut Folder, run: TheoremsRun, rows: &[Row], contraction: &Picture) -> Result<()> {
    let markdown = page::markdown(&run, rows);
    let mut json = serde_json::to_vec_pretty(&page::entries(run, rows))?;
    json.push(b'\n');
    let contraction = plot::render(contraction)?;
    let phase = plot::render(&pictures::phase_picture()?)?;
    let contents = [
        markdown.into_bytes(),
        json,
        contraction.svg.into_bytes(),
        contraction.png,
        phase.svg.into_bytes(),
        phase.png,
    ];
    let files: Vec<(String, Vec<u8>)> = FILES.into_iter().map(String::from).zip(contents).collect();
    folder.replace(&files)
}

fn print(table: &str, folder: &Path, out: &mut impl Write) -> Result<()> {
    let text = format!("{table}written to {}\n", folder.display());
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away has seen what it wanted; the files are there.
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(ExperimentError::Io { path: "standard output".into(), source: e })
        }
        _ => Ok(()),
    }
}
