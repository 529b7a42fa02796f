//! Gives the program a hash of the code that its results come from, as `LAYERWISE_CODE`.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

fn main() -> std::io::Result<()> {
    let experiments = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    for name in ["linalg", "data", "models", "optim", "metrics", "theory", "experiments"] {
        let package = experiments.with_file_name(format!("layerwise-{name}"));
        // A package by itself has no neighbours: its dependencies' versions are in the lock file.
        for part in ["src", "experiments"].map(|part| package.join(part)) {
            if part.is_dir() {
                println!("cargo::rerun-if-changed={}", part.display());
                collect(&part, &mut files)?;
            }
        }
    }
    if let Some(lock) =
        experiments.ancestors().map(|at| at.join("Cargo.lock")).find(|at| at.is_file())
    {
        println!("cargo::rerun-if-changed={}", lock.display());
        files.push(lock);
    }
    let mut named: Vec<(String, PathBuf)> = files
        .into_iter()
        .map(|file| {
            let from = file.strip_prefix(experiments.parent().unwrap_or(Path::new("")));
            (from.unwrap_or(&file).to_string_lossy().replace('\\', "/"), file.clone())
        })
        .collect();
    named.sort();
    let mut hash = Xxh3::new();
    for (name, file) in named {
        // Where the workspace lies is not part of it.
        hash.update(
            name.rsplit_once("Cargo.lock").map_or(name.as_str(), |_| "Cargo.lock").as_bytes(),
        );
        hash.update(&std::fs::read(file)?);
    }
    println!("cargo::rustc-env=LAYERWISE_CODE={:016x}", hash.digest());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
