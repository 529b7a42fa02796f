//! Who does the linear algebra: what `--backend` says, and the features of the workspace's crates
//! that it means.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use clap::{Parser, ValueEnum};

use crate::openblas;
use crate::process::{Failure, capture, describe, say};
use crate::workspace;

/// What `--backend` chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Backend {
    /// Faer, which needs nothing but Rust
    #[default]
    PureRust,
    /// OpenBLAS, which is installed or built where it is missing
    Openblas,
}

impl Backend {
    /// The name, as it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PureRust => "pure-rust",
            Self::Openblas => "openblas",
        }
    }

    /// The feature to build with, once what it needs is there.
    pub(crate) fn ensure(self) -> Result<Feature, Failure> {
        match self {
            Self::PureRust => Ok(Feature::PureRust),
            Self::Openblas => openblas::ensure(),
        }
    }
}

// The option `--backend`, alike in all commands. (No documentation: clap would show it as theirs.)
#[derive(Debug, Parser)]
pub(crate) struct BackendOption {
    /// Who does the linear algebra
    #[arg(long, value_enum, default_value_t)]
    pub(crate) backend: Backend,
}

impl BackendOption {
    /// Finds the option among arguments that are for another program.
    pub(crate) fn among(command: &str, arguments: &[OsString]) -> Result<Backend, clap::Error> {
        let mut ours = vec![OsString::from(command)];
        let mut words = arguments.iter().take_while(|word| *word != "--").peekable();
        while let Some(word) = words.next() {
            let shown = word.to_string_lossy();
            if shown == "--backend" {
                ours.push(word.clone());
                ours.extend(words.next_if(|value| !starts_with_hyphen(value)).cloned());
            } else if shown.starts_with("--backend=") {
                ours.push(word.clone());
            }
        }
        Self::try_parse_from(ours).map(|option| option.backend)
    }
}

fn starts_with_hyphen(word: &OsString) -> bool {
    word.to_string_lossy().starts_with('-')
}

/// The features of the workspace's crates, each of which gives them a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// The default.
    PureRust,
    /// Links the OpenBLAS that the system has.
    OpenblasSystem,
    /// Lets cargo build OpenBLAS from source.
    OpenblasStatic,
}

impl Feature {
    pub(crate) const ALL: [Self; 3] = [Self::PureRust, Self::OpenblasSystem, Self::OpenblasStatic];

    /// The feature's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PureRust => "pure-rust",
            Self::OpenblasSystem => "openblas-system",
            Self::OpenblasStatic => "openblas-static",
        }
    }

    /// The backend that it selects.
    pub(crate) fn backend(self) -> Backend {
        match self {
            Self::PureRust => Backend::PureRust,
            Self::OpenblasSystem | Self::OpenblasStatic => Backend::Openblas,
        }
    }

    /// What cargo is told to have this feature and no other.
    pub(crate) fn cargo_flags(self) -> Vec<&'static str> {
        match self {
            Self::PureRust => Vec::new(),
            _ => vec!["--no-default-features", "--features", self.name()],
        }
    }

    /// The program that says what the backend is, to be built with a profile of cargo's.
    pub(crate) fn example(self, profile: &str) -> Command {
        let mut command = workspace::cargo();
        command.args(["run", "--package", "layerwise-linalg", "--example", "backend"]);
        command.args(["--profile", profile]).args(self.cargo_flags());
        command
    }
}

/// The variable that chooses OpenBLAS's kernel.
pub(crate) const CORETYPE: &str = "OPENBLAS_CORETYPE";

/// What the program of [`Feature::example`] says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// As in `OpenBLAS 0.3.21, kernel Haswell` or `faer 0.24, kernel AVX2`.
    pub(crate) description: String,
    /// The kernel to ask OpenBLAS for, where it took one older than the processor.
    pub(crate) better_kernel: Option<String>,
}

impl Answer {
    /// The answer under the best kernel that OpenBLAS has for this processor, and the kernel to ask for
    /// where OpenBLAS does not take it by itself, of which the user is told.
    pub(crate) fn under_best_kernel(
        mut example: impl FnMut() -> Command,
    ) -> Result<(Self, Option<String>), Failure> {
        let (mut answer, mut kernel) = (Self::of(&mut example())?, None);
        // Each proposal comes after those that this OpenBLAS refused.
        while let Some(better) = answer.better_kernel.take() {
            let with_better = Self::of(example().env(CORETYPE, &better))?;
            if with_better.is_openblas(Some(&better)) {
                let before = &answer.description;
                say(&format!("{before}: older than this processor, {CORETYPE}={better} is set"));
                kernel = Some(better);
            }
            answer = with_better;
        }
        Ok((answer, kernel))
    }

    /// Runs the program.
    pub(crate) fn of(example: &mut Command) -> Result<Self, Failure> {
        // It has to be built first, of which cargo tells.
        let output = capture(example.stderr(Stdio::inherit()))?;
        if !output.status.success() {
            return Err(Failure::of_child(example, output.status));
        }
        Self::parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
            Failure::new(format!("`{}` does not say what the backend is", describe(example)))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let description = text.lines().next().filter(|line| !line.is_empty())?.to_owned();
        let advice = |line: &str| Some(line.strip_prefix(CORETYPE)?.strip_prefix('=')?.to_owned());
        Some(Self { description, better_kernel: text.lines().skip(1).find_map(advice) })
    }

    /// Whether OpenBLAS runs, on that kernel where one is given.
    pub(crate) fn is_openblas(&self, kernel: Option<&str>) -> bool {
        self.description.starts_with("OpenBLAS ")
            && kernel.is_none_or(|name| self.description.ends_with(&format!(", kernel {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(line: &str) -> Result<Backend, clap::Error> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        BackendOption::among("cargo xtask figures", &words)
    }

    #[test]
    fn the_backend_is_found_among_other_arguments_in_both_spellings() {
        assert_eq!(among("").unwrap(), Backend::PureRust);
        assert_eq!(among("--only 1,3 --quick").unwrap(), Backend::PureRust);
        for backend in [Backend::PureRust, Backend::Openblas] {
            let name = backend.name();
            assert_eq!(among(&format!("--quick --backend {name} --seed 2")).unwrap(), backend);
            assert_eq!(among(&format!("--quick --backend={name} --seed 2")).unwrap(), backend);
        }
    }

    #[test]
    fn what_stands_after_two_hyphens_or_is_no_such_option_is_not_taken() {
        assert_eq!(among("-- --backend openblas").unwrap(), Backend::PureRust);
        assert_eq!(among("--backend openblas -- --backend mkl").unwrap(), Backend::Openblas);
        assert_eq!(among("--backends openblas backend openblas").unwrap(), Backend::PureRust);
    }

    #[test]
    fn a_bad_missing_or_second_value_is_refused_in_one_line() {
        let told = |line| crate::usage(&among(line).unwrap_err());
        let allowed = "allowed: pure-rust | openblas";
        let bad = format!("invalid value 'mkl' for '--backend <BACKEND>'; {allowed}");
        let missing = format!(
            "a value is required for '--backend <BACKEND>' but none was supplied; {allowed}"
        );
        let second = "the argument '--backend <BACKEND>' cannot be used multiple times; \
                      allowed: cargo xtask figures [OPTIONS]"
            .to_owned();
        for (line, message) in [
            ("--backend mkl", &bad),
            ("--backend=mkl", &bad),
            ("--quick --backend", &missing),
            ("--backend --quick", &missing),
            ("--backend openblas --backend openblas", &second),
            ("--backend openblas --quick --backend=pure-rust", &second),
        ] {
            let failure = told(line);
            assert_eq!((&failure.message, failure.status), (message, Failure::USAGE), "{line}");
        }
    }

    #[test]
    fn each_feature_is_chosen_alone() {
        assert_eq!(Feature::PureRust.cargo_flags(), Vec::<&str>::new());
        for feature in [Feature::OpenblasSystem, Feature::OpenblasStatic] {
            let flags = ["--no-default-features", "--features", feature.name()];
            assert_eq!(feature.cargo_flags(), flags);
            assert_eq!(feature.backend(), Backend::Openblas);
        }
    }

    #[test]
    fn the_answer_has_the_description_and_perhaps_a_better_kernel() {
        let old = Answer::parse("OpenBLAS 0.3.21, kernel Prescott\nOPENBLAS_CORETYPE=SkylakeX\n");
        let old = old.unwrap();
        assert_eq!(old.description, "OpenBLAS 0.3.21, kernel Prescott");
        assert_eq!(old.better_kernel.as_deref(), Some("SkylakeX"));
        assert!(old.is_openblas(None) && old.is_openblas(Some("Prescott")));
        assert!(!old.is_openblas(Some("Haswell")) && !old.is_openblas(Some("cott")));

        let faer = Answer::parse("faer 0.24, kernel AVX2\n").unwrap();
        assert_eq!(
            (faer.description.as_str(), &faer.better_kernel),
            ("faer 0.24, kernel AVX2", &None)
        );
        assert!(!faer.is_openblas(None));
        assert_eq!(Answer::parse(""), None);
    }
}
