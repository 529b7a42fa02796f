//! The scripts that Slurm is given, and the folder that they are kept in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::backend::BackendArguments;
use crate::experiment::{Experiment, shipped};
use crate::run_cli::RunOptions;
use crate::store::write_whole;
use crate::{ExperimentError, Result};

use super::absolute;

/// The scripts of a run.
#[derive(Debug)]
pub(super) struct Scripts {
    /// Where they are, and where the jobs leave their logs.
    pub(super) folder: PathBuf,
    /// Runs a share of the trials.
    pub(super) task: PathBuf,
    /// Writes the results.
    pub(super) render: PathBuf,
    /// What the jobs are called: letters, digits, and `.-_`.
    pub(super) name: String,
}

impl Scripts {
    /// Writes the scripts, and a copy of the experiment's file, into the store.
    ///
    /// # Errors
    /// [`ExperimentError::Io`].
    pub(super) fn write(
        names: &[String],
        experiments: &[Experiment],
        out: &Path,
        options: &RunOptions,
        tasks: u64,
    ) -> Result<Self> {
        let store = absolute(&options.store)?;
        let name = name_of(names, experiments);
        let folder = store.join("slurm").join(&name);
        make_folder(&folder)?;
        let mut start = Words::of_program()?;
        match (names, experiments) {
            ([name], [experiment]) => {
                start.push("run");
                start.push(copied(name, experiment, &folder)?);
            }
            _ => {
                let numbers = experiments.iter().filter_map(Experiment::figure);
                let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
                start.push("figures");
                start.push("--only");
                start.push(numbers.join(","));
            }
        }
        start.push("--store");
        start.push(&store);
        start.push_choices(options);

        let mut task = start.clone();
        task.push("--threads");
        task.push(options.cluster.cpus.unwrap_or(1).to_string());
        task.push("--shard");
        // The one word that the task's shell completes.
        task.0.extend_from_slice(format!(" \"$SLURM_ARRAY_TASK_ID/{tasks}\"").as_bytes());

        let mut render = start;
        render.push("--no-compute");
        render.push("--out");
        render.push(absolute(out)?);
        render.push_if(options.fresh, "--fresh");
        render.push_if(options.require_claims, "--require-claims");

        let scripts = Self {
            task: folder.join("task.sh"),
            render: folder.join("render.sh"),
            name: name.replace(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c), "_"),
            folder,
        };
        write(&scripts.task, &script(&task)?)?;
        write(&scripts.render, &script(&render)?)?;
        Ok(scripts)
    }
}

/// What a run is called in the store.
fn name_of(names: &[String], experiments: &[Experiment]) -> String {
    match (names, experiments) {
        ([_], [experiment]) => experiment.name.clone(),
        _ => experiments
            .iter()
            .filter_map(Experiment::figure)
            .fold("figures".into(), |name, figure| format!("{name}-{figure}")),
    }
}

/// A copy of the experiment's file as it is now; the name of one that comes with the program.
fn copied(name: &str, experiment: &Experiment, folder: &Path) -> Result<OsString> {
    if shipped().iter().any(|shipped| shipped.name == name) {
        return Ok(name.into());
    }
    // Jobs of a former text may still wait for theirs.
    let place = folder.join(format!("{:016x}", xxh3_64(experiment.text.as_bytes())));
    make_folder(&place)?;
    let mut file = OsString::from(&experiment.name);
    file.push(".toml");
    let path = place.join(file);
    write(&path, experiment.text.as_bytes())?;
    Ok(path.into())
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| ExperimentError::Io { path: path.into(), source })
}

/// Writes a file beside its place and moves it there: a job may be about to read it.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, |file| file.write_all(bytes))
        .map_err(|source| ExperimentError::Io { path: path.into(), source })
}

/// A script that becomes the command, so that the job's process is the program's.
///
/// Names stand behind the first command only, where Slurm looks for its own lines no more.
fn script(command: &Words) -> Result<Vec<u8>> {
    let here = std::env::current_dir()
        .map_err(|source| ExperimentError::Io { path: ".".into(), source })?;
    let mut text =
        b"#!/bin/sh\n# Written by `layerwise --on slurm`, which writes it anew.\ncd".to_vec();
    quote(&mut text, here.as_os_str());
    text.extend_from_slice(b" || exit\n");
    let kernel = layerwise_linalg::KERNEL_VARIABLE;
    if let Some(value) = std::env::var_os(kernel) {
        // Clusters may give a job none of its user's variables.
        text.extend_from_slice(format!("{kernel}=").as_bytes());
        let mut quoted = Vec::new();
        quote(&mut quoted, &value);
        text.extend_from_slice(quoted.trim_ascii_start());
        text.extend_from_slice(format!("\nexport {kernel}\n").as_bytes());
    }
    text.extend_from_slice(b"exec");
    text.extend_from_slice(&command.0);
    text.push(b'\n');
    Ok(text)
}

/// Words of a command for a shell, each behind a space.
#[derive(Debug, Clone)]
struct Words(Vec<u8>);

impl Words {
    fn of_program() -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|source| ExperimentError::Io { path: "this program".into(), source })?;
        let mut words = Self(Vec::new());
        words.push(program);
        Ok(words)
    }

    fn push(&mut self, word: impl AsRef<OsStr>) {
        quote(&mut self.0, word.as_ref());
    }

    fn push_if(&mut self, wanted: bool, word: &str) {
        if wanted {
            self.push(word);
        }
    }

    /// What every program of the run must be told alike.
    fn push_choices(&mut self, options: &RunOptions) {
        let RunOptions { quick, trials, seed, backend: BackendArguments { backend }, .. } = options;
        self.push_if(*quick, "--quick");
        let numbers = [("--trials", trials), ("--seed", seed)];
        for (name, number) in numbers {
            if let Some(number) = number {
                self.push(name);
                self.push(number.to_string());
            }
        }
        if let Some(backend) = backend {
            self.push("--backend");
            self.push(backend.name());
        }
    }
}

/// Adds a space and the word in quotes, in which a shell takes everything as it is.
fn quote(text: &mut Vec<u8>, word: &OsStr) {
    text.extend_from_slice(b" '");
    for &byte in word.as_encoded_bytes() {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            // Slurm refuses scripts with the line breaks of DOS, in quotes too.
            b'\r' => text.extend_from_slice(br#"'"$(printf '\r')"'"#),
            _ => text.push(byte),
        }
    }
    text.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gives_every_word_back() {
        for word in
            ["", "a b", "it's", "\"$(exit 3)\" `x`", "two\nlines\r\n#SBATCH --x\n", "-n", "*"]
        {
            let mut text = b"printf %s".to_vec();
            quote(&mut text, word.as_ref());
            assert!(!text.contains(&b'\r'));
            let text = String::from_utf8(text).unwrap();
            let output = std::process::Command::new("sh").args(["-c", &text]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word, "{text}");
        }
    }
}
