//! Programs as a user of `layerwise-optim` would write them, in a package outside the workspace.

use std::fs;
use std::io;
use std::path::Path;

use crate::backend::Feature;
use crate::process::{Failure, run as run_command, say};
use crate::workspace;

/// The dependency as it stands in xtask/downstream/Cargo.toml.
const DEPENDENCY: &str = r#"layerwise-optim = { path = "../../crates/layerwise-optim" }"#;

/// Copies the package to the build folder, then builds it and runs each of its programs.
pub(crate) fn run(feature: Feature) -> Result<(), Failure> {
    let source = workspace::root().join("xtask").join("downstream");
    let target = workspace::target_directory()?;
    let package = target.join("downstream");
    let mut programs = copy(&source, &package, feature)
        .map_err(|error| Failure::new(format!("copying {}: {error}", source.display())))?;
    programs.push(
        copy_readme(&package)
            .map_err(|error| Failure::new(format!("copying README.md's program: {error}")))?,
    );
    // With the workspace's versions and folder nothing is downloaded or compiled a second time.
    fs::copy(workspace::root().join("Cargo.lock"), package.join("Cargo.lock"))
        .map_err(|error| Failure::new(format!("copying Cargo.lock: {error}")))?;
    let cargo = |subcommand: &str| {
        let mut command = workspace::cargo();
        command.current_dir(&package).env("CARGO_TARGET_DIR", &target).arg(subcommand);
        command
    };
    run_command(cargo("build").arg("--bins"))?;
    for program in programs {
        say(&format!("{program}:"));
        run_command(cargo("run").args(["--quiet", "--bin", &program]))?;
    }
    Ok(())
}

/// Writes the package anew and returns the names of its programs, in order.
fn copy(source: &Path, package: &Path, feature: Feature) -> io::Result<Vec<String>> {
    match fs::remove_dir_all(package) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let source_folder = Path::new("src");
    let program_folder = source_folder.join("bin");
    fs::create_dir_all(package.join(&program_folder))?;
    let manifest = manifest(&fs::read_to_string(source.join("Cargo.toml"))?, feature)
        .ok_or_else(|| io::Error::other(format!("Cargo.toml lacks the line `{DEPENDENCY}`")))?;
    fs::write(package.join("Cargo.toml"), manifest)?;
    copy_rust_files(&source.join(source_folder), &package.join(source_folder))?;
    let mut programs =
        copy_rust_files(&source.join(&program_folder), &package.join(&program_folder))?;
    programs.sort();
    if programs.is_empty() {
        return Err(io::Error::other("src/bin holds no program"));
    }
    Ok(programs)
}

/// Copies the Rust files that stand in a folder and returns their names without extension.
fn copy_rust_files(from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        if let (Some(file), Some(name)) = (path.file_name(), path.file_stem()) {
            fs::copy(&path, to.join(file))?;
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Makes a program of the Rust code that README.md shows, and returns its name.
fn copy_readme(package: &Path) -> io::Result<String> {
    let name = "readme";
    let readme = fs::read_to_string(workspace::root().join("README.md"))?;
    let code = rust_code(&readme).ok_or_else(|| io::Error::other("it shows no Rust code"))?;
    fs::write(package.join("src").join("bin").join(name).with_extension("rs"), code)?;
    Ok(name.to_owned())
}

/// The first block of Rust code in a Markdown text.
fn rust_code(markdown: &str) -> Option<&str> {
    let (_, after) = markdown.split_once("\n```rust\n")?;
    after.split_once("```").map(|(code, _)| code)
}

/// The manifest with an absolute path and, unless it is the default, the feature.
fn manifest(template: &str, feature: Feature) -> Option<String> {
    let optim = workspace::root().join("crates").join("layerwise-optim");
    let path = optim.to_string_lossy().replace('\\', r"\\").replace('"', "\\\"");
    let features = match feature {
        Feature::PureRust => String::new(),
        _ => format!(r#", default-features = false, features = ["{}"]"#, feature.name()),
    };
    let dependency = format!(r#"layerwise-optim = {{ path = "{path}"{features} }}"#);
    template.contains(DEPENDENCY).then(|| template.replace(DEPENDENCY, &dependency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_what_stands_between_the_fences() {
        assert_eq!(rust_code("a\n```rust\nfn f() {}\n```\nb"), Some("fn f() {}\n"));
        assert_eq!(rust_code("a\n```\nfn f() {}\n```\nb"), None);
        assert_eq!(rust_code("a\n```rust\nfn f() {}"), None);
    }

    #[test]
    fn the_manifest_names_the_crate_by_an_absolute_path() {
        let source = workspace::root().join("xtask").join("downstream").join("Cargo.toml");
        let template = fs::read_to_string(source).unwrap();
        let default = manifest(&template, Feature::PureRust).unwrap();
        let path = workspace::root().join("crates").join("layerwise-optim");
        assert!(path.is_absolute() && path.is_dir(), "{}", path.display());
        assert!(default.contains(path.to_str().unwrap()), "{default}");
        assert!(!default.contains("../"), "{default}");
        assert!(!default.contains("default-features"), "{default}");
        let openblas = manifest(&template, Feature::OpenblasSystem).unwrap();
        assert!(openblas.contains(r#"default-features = false, features = ["openblas-system"]"#));
        assert_eq!(manifest("[package]", Feature::PureRust), None);
    }
}
