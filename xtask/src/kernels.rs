//! The tests that depend on OpenBLAS's arithmetic, under its kernels.

use std::process::Command;

use crate::backend::{Answer, CORETYPE, Feature};
use crate::process::{Failure, run as run_command, say};
use crate::test::statements;
use crate::workspace;

/// Kernels of which each has code of its own, older ones first, and why one is left out.
pub(crate) fn older(feature: Feature) -> [(&'static str, Option<&'static str>); 3] {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let (sse3, avx, avx2) = (
        is_x86_feature_detected!("sse3"),
        is_x86_feature_detected!("avx"),
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    );
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let (sse3, avx, avx2) = (false, false, false);
    [("Prescott", sse3), ("Sandybridge", avx), ("Haswell", avx2)].map(|(kernel, runs_here)| {
        let reason = match (feature, runs_here) {
            (Feature::OpenblasStatic, _) => Some("OpenBLAS was built for this processor alone"),
            (_, false) => Some("this processor cannot run it"),
            (_, true) => None,
        };
        (kernel, reason)
    })
}

/// The tests of optimizers that train networks for hundreds of steps.
const TRAININGS: [&str; 2] = ["losses_fall_", "defaults_train_"];

/// Runs the tests under a kernel, or under the best one for this processor.
///
/// They are built for the first kernel alone: for the others only the environment differs.
pub(crate) fn tests_under(kernel: Option<&str>, feature: Feature) -> Result<(), Failure> {
    let example = |kernel| {
        let mut example = feature.example("dev");
        in_environment(kernel, &mut example);
        example
    };
    let (answer, kernel) = match kernel {
        None => Answer::under_best_kernel(|| example(None))?,
        Some(name) => (Answer::of(&mut example(kernel))?, Some(name.to_owned())),
    };
    let kernel = kernel.as_deref();
    say(&answer.description);
    // OpenBLAS takes another, and says nothing, where it does not have the one asked for.
    if !answer.is_openblas(kernel) {
        return Err(Failure::new(format!(
            "asked for OpenBLAS with {}, but what runs is {}",
            kernel.map_or("any kernel".to_owned(), |name| format!("kernel {name}")),
            answer.description
        )));
    }
    let test = |selection: &[&str]| {
        let mut command = workspace::cargo();
        command.arg("test").args(feature.cargo_flags()).args(selection);
        run_command(in_environment(kernel, &mut command))
    };
    // Whole trainings take a minute, and tell kernels apart no better than the rest: those of the ends do.
    let between = matches!(kernel, Some("Sandybridge" | "Haswell"));
    let skipped = TRAININGS.iter().flat_map(|name| ["--skip", name]);
    let skipped: Vec<&str> = ["--"].into_iter().chain(skipped).filter(|_| between).collect();
    let optimizers =
        ["--tests", "-p", "layerwise-linalg", "-p", "layerwise-optim", "-p", "layerwise-theory"];
    test(&[&optimizers[..], &skipped].concat())?;
    test(&["-p", "layerwise-experiments", "--test", "theorems"])?;
    test(&["-p", "layerwise-experiments", "--test", "it", "cli_bad_input"])?;
    run_command(in_environment(kernel, &mut statements(feature)?))
}

/// Without a kernel OpenBLAS chooses, whatever the user's environment says.
fn in_environment<'a>(kernel: Option<&str>, command: &'a mut Command) -> &'a mut Command {
    match kernel {
        Some(name) => command.env(CORETYPE, name),
        None => command.env_remove(CORETYPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_runs_a_kernel_runs_the_older_ones() {
        let runs = older(Feature::OpenblasSystem).map(|(_, reason)| reason.is_none());
        assert!(runs.is_sorted_by(|older, newer| older >= newer), "{runs:?}");
        assert_eq!(runs[0], cfg!(any(target_arch = "x86", target_arch = "x86_64")));
    }

    #[test]
    fn an_openblas_from_source_has_one_kernel() {
        assert!(older(Feature::OpenblasStatic).iter().all(|(_, reason)| reason.is_some()));
    }

    #[test]
    fn the_kernel_is_the_environments_or_openblass_choice() {
        let set = |kernel| {
            let mut command = Command::new("true");
            command.env(CORETYPE, "Nehalem");
            let variables = in_environment(kernel, &mut command).get_envs();
            variables.map(|(_, value)| value.map(|word| word.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(set(Some("Haswell")), [Some("Haswell".into())]);
        assert_eq!(set(None), [None]);
    }
}
