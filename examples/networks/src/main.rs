//! `networks [dense|convolution|transformer ...] [--quick] [--output FOLDER]`: prints a table of each
//! network, and writes its curves as an SVG of its name.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use layerwise_optim::linalg::set_backend_threads;
use networks::arguments::{Choice, parse};
use networks::data::Examples;
use networks::data::digits::digits;
use networks::data::text::play;
use networks::network::Network;
use networks::plot::{Look, svg};
use networks::task::{Budget, CONTEXT, Task};
use networks::tuning::{Trained, tune_and_train};
use networks::{methods, report, task, transfer};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &Failure) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(out: &mut impl Write) -> Result<(), Failure> {
    let arguments = parse(std::env::args().skip(1))?;
    // Runs are side by side: each has one thread.
    set_backend_threads(1);
    std::fs::create_dir_all(&arguments.output)?;
    for &choice in &arguments.networks {
        let budget = budget(choice);
        let budget = if arguments.quick { budget.quick() } else { budget };
        let path = arguments.output.join(format!("{}.svg", choice.name()));
        match choice {
            Choice::Dense => {
                let split = digits()?;
                let trained = show(out, &task::dense(split.clone()), &budget, &path)?;
                writeln!(out, "{}", transfer::table(&trained, &split, &budget)?)?;
            }
            Choice::Convolution => {
                show(out, &task::convolution(digits()?), &budget, &path)?;
            }
            Choice::Transformer => {
                show(out, &task::transformer(play(CONTEXT)?), &budget, &path)?;
            }
        }
    }
    Ok(())
}

/// So much that all of it takes some minutes.
fn budget(choice: Choice) -> Budget {
    match choice {
        Choice::Dense => Budget { steps: 400, every: 5, tuning_runs: 2, shown_runs: 5 },
        Choice::Convolution => Budget { steps: 300, every: 10, tuning_runs: 1, shown_runs: 5 },
        Choice::Transformer => Budget { steps: 300, every: 10, tuning_runs: 1, shown_runs: 5 },
    }
}

/// Trains the network by all methods; prints the table and writes the curves.
fn show<N: Network<f32, Batch = E::Batch>, E: Examples>(
    out: &mut impl Write,
    task: &Task<N, E>,
    budget: &Budget,
    path: &Path,
) -> Result<Vec<Trained>, Failure> {
    let parameters = task.network.parameters();
    let entries: usize = parameters.iter().map(|p| p.shape.0 * p.shape.1).sum();
    writeln!(
        out,
        "{}: {entries} parameters, {} steps of {} examples.\n\
         {} rates for each method, in half decades round its default; chosen by the training loss at the end.\n\
         Seeds: {} for that choice, {} others for the medians; runs side by side: {}. * The best rate is the largest\n\
         or smallest that was tried. KFAC, EKFAC: Fisher matrix, from labels drawn from the prediction.",
        task.title,
        budget.steps,
        task.batch,
        methods::RATES,
        budget.tuning_runs,
        budget.shown_runs,
        rayon::current_num_threads(),
    )?;
    if parameters.iter().any(|parameter| !parameter.is_weight()) {
        writeln!(
            out,
            "Embeddings and gains are stepped by AdamW at its default, whatever the method."
        )?;
    }
    let trained = tune_and_train(&methods::all(), task, budget)?;
    writeln!(out, "\n{}", report::table(&trained, task.target))?;
    std::fs::write(path, svg(&trained, Look { title: &task.title, axis: task.axis }))?;
    writeln!(out, "curves: {}\n", path.display())?;
    Ok(trained)
}
