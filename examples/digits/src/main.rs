//! `digits [--quick] [--output FOLDER]`: prints two tables, and writes the curves as `digits.svg`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use digits::data::{Images, Split, digits};
use digits::network::Network;
use digits::training::{Budget, Trained, train, tune_and_train};
use digits::transfer::refit_accuracy;
use digits::{methods, plot, report};
use layerwise_optim::linalg::set_backend_threads;
use layerwise_optim::ndarray::{Array2, s};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

type Failure = Box<dyn std::error::Error>;

struct Arguments {
    quick: bool,
    output: PathBuf,
}

fn arguments() -> Result<Arguments, Failure> {
    let mut arguments = Arguments { quick: false, output: PathBuf::from(".") };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--quick" => arguments.quick = true,
            "--output" => {
                arguments.output = given.next().ok_or("--output needs a folder")?.into();
            }
            other => {
                let usage = "usage: digits [--quick] [--output FOLDER]";
                return Err(format!("{other} is not known; {usage}").into());
            }
        }
    }
    Ok(arguments)
}

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
    let arguments = arguments()?;
    // The set steps layers side by side: see the guide of layerwise-optim on threads.
    set_backend_threads(1);
    let budget = if arguments.quick {
        Budget { steps: 100, every: 5, tuning_runs: 1, shown_runs: 1 }
    } else {
        Budget { steps: 400, every: 5, tuning_runs: 2, shown_runs: 3 }
    };
    let data = digits()?;
    writeln!(
        out,
        "{} training and {} test images; {} settings a method, {} steps a run, medians of {}\n",
        data.train.labels.len(),
        data.test.labels.len(),
        methods::SETTINGS,
        budget.steps,
        budget.shown_runs
    )?;
    let mut trained = Vec::new();
    for candidate in methods::all() {
        trained.push(tune_and_train(&candidate, &data, &budget)?);
    }
    writeln!(out, "{}", report::table(&trained))?;
    writeln!(out, "{}", transfer(&trained, &data, &budget)?)?;
    std::fs::create_dir_all(&arguments.output)?;
    let path = arguments.output.join("digits.svg");
    std::fs::write(&path, plot::svg(&trained))?;
    writeln!(out, "curves: {}", path.display())?;
    Ok(())
}

/// Features learned on 0 to 4 by each method, with the setting chosen on all digits.
fn transfer(methods: &[Trained], data: &Split, budget: &Budget) -> Result<String, Failure> {
    let (source, target) = (data.of(0..5), data.of(5..10));
    let seeds = budget.tuning_runs..budget.tuning_runs + budget.shown_runs;
    let mut text = String::from("features learned on 0-4, linear head refit on 5-9\n");
    let mut line = |name: &str, accuracies: Vec<f64>| {
        text += &format!("{name:<22} {:>6.1}%\n", 100.0 * report::median(accuracies));
    };
    let pixels = |images: &Images| {
        let (count, pixels) = images.pixels.dim();
        let mut with_constant = Array2::ones((count, pixels + 1));
        with_constant.slice_mut(s![.., ..pixels]).assign(&images.pixels);
        with_constant
    };
    line("pixels, no features", vec![refit_accuracy(pixels, &target)?]);
    let untrained: Result<Vec<f64>, _> = seeds
        .clone()
        .map(|seed| {
            let network = Network::new(5, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            refit_accuracy(|images| network.features(&images.pixels), &target)
        })
        .collect();
    line("untrained", untrained?);
    for trained in methods {
        let mut accuracies = Vec::new();
        for seed in seeds.clone() {
            let network = train(&trained.setting, &source, budget, seed)?.network;
            accuracies.push(refit_accuracy(|images| network.features(&images.pixels), &target)?);
        }
        line(trained.name, accuracies);
    }
    Ok(text)
}
