//! The tests that depend on OpenBLAS's arithmetic, under its kernels.

use std::process::Command;

use crate::backend::{Answer, CORETYPE, Feature};
use crate::process::{Failure, run as run_command, say};
use crate::test::statements;
use crate::workspace;

/// Kernels of which each has code of its own, and whether this processor can run them.
pub(crate) fn older() -> [(&'static str, bool); 3] {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let (sse3, avx, avx2) = (
        is_x86_feature_detected!("sse3"),
        is_x86_feature_detected!("avx"),
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    );
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let (sse3, avx, avx2) = (false, false, false);
    [("Prescott", sse3), ("Sandybridge", avx), ("Haswell", avx2)]
}

/// Runs the tests under a kernel, or under the best one for this processor.
///
/// They are built for the first kernel alone: for the others only the environment differs.
pub(crate) fn tests_under(kernel: Option<&str>, feature: Feature) -> Result<(), Failure> {
    let advised = match kernel {
        Some(_) => None,
        None => Answer::of(in_environment(None, &mut feature.example("dev")))?.better_kernel,
    };
    let kernel = kernel.or(advised.as_deref());
    let answer = Answer::of(in_environment(kernel, &mut feature.example("dev")))?;
    let description = &answer.description;
    say(description);
    // OpenBLAS takes a kernel of its own choice, and says nothing, where it has not the one asked for.
    if !answer.is_openblas(kernel) {
        let asked =
            kernel.map_or("OpenBLAS".to_owned(), |name| format!("OpenBLAS's kernel {name}"));
        return Err(Failure::new(format!("asked for {asked}, but what runs is {description}")));
    }
    for selection in [
        [
            "--package=layerwise-linalg",
            "--package=layerwise-optim",
            "--package=layerwise-theory",
            "--tests",
        ]
        .as_slice(),
        &["--package=layerwise-experiments", "--test=theorem*"],
    ] {
        let mut command = workspace::cargo();
        command.arg("test").args(selection).args(feature.cargo_flags());
        run_command(in_environment(kernel, &mut command))?;
    }
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
        let runs = older().map(|(_, runs)| runs);
        assert!(runs.is_sorted_by(|older, newer| older >= newer), "{runs:?}");
        assert_eq!(runs[0], cfg!(any(target_arch = "x86", target_arch = "x86_64")));
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
