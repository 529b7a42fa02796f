//! Everything that must pass.

use std::process::Command;
use std::time::Instant;

use crate::backend::{Backend, Feature};
use crate::process::{Failure, capture, describe, run as run_command, say};
use crate::{downstream, kernels, no_c, slurm, workspace};

/// A part of the tests.
struct Check {
    name: String,
    run: Box<dyn Fn() -> Result<(), Failure>>,
}

fn check(name: impl Into<String>, run: impl Fn() -> Result<(), Failure> + 'static) -> Check {
    Check { name: name.into(), run: Box::new(run) }
}

/// Runs all checks of a backend in order, up to the first that fails.
pub(crate) fn run(backend: Backend) -> Result<(), Failure> {
    let start = Instant::now();
    let (checks, left_out) = match backend.ensure()? {
        Feature::PureRust => of_pure_rust(),
        openblas => of_openblas(openblas),
    };
    for (number, check) in checks.iter().enumerate() {
        let position = format!("{} of {}", number + 1, checks.len());
        say(&format!("\n==== {position}: {} ====", check.name));
        (check.run)().map_err(|failure| Failure {
            message: format!("xtask test: {} ({position}): {}", check.name, failure.message),
            ..failure
        })?;
    }
    let seconds = start.elapsed().as_secs();
    say("");
    for what in left_out {
        say(&format!("xtask test: left out: {what}"));
    }
    say(&format!("xtask test: all {} checks passed in {seconds} s", checks.len()));
    Ok(())
}

/// All tests, for which a Rust toolchain and a linker are enough, and what is left out.
fn of_pure_rust() -> (Vec<Check>, Vec<String>) {
    let feature = Feature::PureRust;
    let checks = vec![
        check("format", format),
        check("nothing of C", no_c::check),
        check("lints", move || lints(feature)),
        check("no backend is refused", no_backend_is_refused),
        check("tests", tests),
        check("statements", move || run_command(&mut statements(feature)?)),
        check("documentation", documentation),
        check("downstream programs", move || downstream::run(feature)),
    ];
    let mut left_out =
        vec!["OpenBLAS, which `cargo xtask test --backend openblas` tests".to_owned()];
    if !slurm::is_there() {
        left_out.push("Slurm, which `cargo xtask setup --slurm` gets".to_owned());
    }
    (checks, left_out)
}

/// What another backend can change, which code is compiled and how numbers are rounded, and what
/// is left out.
fn of_openblas(feature: Feature) -> (Vec<Check>, Vec<String>) {
    let mut checks = vec![check("lints", move || lints(feature))];
    // With openblas-system among the features openblas-src looks for the system's OpenBLAS and
    // downloads nothing, and what is there for openblas-static is compiled nevertheless.
    let system = Feature::OpenblasSystem;
    for features in
        [Feature::ALL.as_slice(), &[Feature::PureRust, system], &[Feature::OpenblasStatic, system]]
    {
        let names: Vec<_> = features.iter().map(|feature| feature.name()).collect();
        let names = names.join(",");
        checks.push(check(format!("types with {names}"), move || types(&names)));
    }
    let mut left_out = Vec::new();
    for (kernel, reason) in kernels::older(feature) {
        match reason {
            Some(reason) => left_out.push(format!("kernel {kernel}: {reason}")),
            None => checks.push(check(format!("tests under kernel {kernel}"), move || {
                kernels::tests_under(Some(kernel), feature)
            })),
        }
    }
    checks.push(check("tests under the best kernel", move || kernels::tests_under(None, feature)));
    checks.push(check("downstream programs", move || downstream::run(feature)));
    (checks, left_out)
}

fn format() -> Result<(), Failure> {
    run_command(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    let downstream = workspace::root().join("xtask").join("downstream").join("Cargo.toml");
    let mut command = workspace::cargo();
    run_command(command.args(["fmt", "--check", "--manifest-path"]).arg(downstream))
}

fn lints(feature: Feature) -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["clippy", "--workspace", "--all-targets"]).args(feature.cargo_flags());
    run_command(command.args(["--", "-D", "warnings"]))
}

fn types(features: &str) -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["check", "--workspace", "--no-default-features", "--features", features]);
    run_command(&mut command)
}

/// Without a backend the build must end with the error that says what to choose.
fn no_backend_is_refused() -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["check", "--quiet", "--color", "never"]);
    command.args(["--package", "layerwise-optim", "--no-default-features"]);
    let output = capture(&mut command)?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && names_all_backends(&messages) {
        return Ok(());
    }
    say(&messages);
    Err(Failure::new(format!(
        "`{}` ended with {}, but must fail with an error that names {}",
        describe(&command),
        output.status,
        Feature::ALL.map(Feature::name).join(", ")
    )))
}

fn names_all_backends(messages: &str) -> bool {
    messages.lines().any(|line| {
        line.starts_with("error: ")
            && Feature::ALL.iter().all(|feature| line.contains(feature.name()))
    })
}

fn tests() -> Result<(), Failure> {
    run_command(workspace::cargo().args(["test", "--workspace"]))
}

/// The command by which every statement must hold, at the sizes of a quick run.
pub(crate) fn statements(feature: Feature) -> Result<Command, Failure> {
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--package", "layerwise-experiments", "--bin", "layerwise"]);
    command.args(feature.cargo_flags()).args(["--", "theorems", "--quick", "--fresh"]);
    command.args(["--backend", feature.backend().name(), "--out"]);
    command.arg(workspace::target_directory()?.join("theorems"));
    Ok(command)
}

fn documentation() -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["doc", "--workspace", "--no-deps"]);
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_must_name_all_backends_on_its_line() {
        assert!(names_all_backends(
            "warning: x\n\
             error: choose one of pure-rust, openblas-system, openblas-static\n --> lib.rs"
        ));
        assert!(!names_all_backends("error: choose openblas-system or openblas-static"));
        assert!(!names_all_backends("error: pure-rust, openblas-system\nerror: openblas-static"));
        assert!(!names_all_backends("note: pure-rust, openblas-system or openblas-static"));
        assert!(!names_all_backends(""));
    }

    #[test]
    fn openblas_is_tested_under_every_kernel_that_is_not_left_out() {
        for feature in [Feature::OpenblasSystem, Feature::OpenblasStatic] {
            let (checks, left_out) = of_openblas(feature);
            let under = checks.iter().filter(|check| check.name.contains("kernel")).count();
            // The best one beside the older ones.
            assert_eq!(under + left_out.len(), kernels::older(feature).len() + 1);
            assert!(under >= 1);
        }
    }

    #[test]
    fn openblas_is_checked_with_every_mixture_of_features() {
        let (checks, _) = of_openblas(Feature::OpenblasSystem);
        for mixture in [
            "pure-rust,openblas-system,openblas-static",
            "pure-rust,openblas-system",
            "openblas-static,openblas-system",
        ] {
            let name = format!("types with {mixture}");
            assert!(checks.iter().any(|check| check.name == name), "{name}");
        }
    }
}
