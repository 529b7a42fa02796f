//! Finding OpenBLAS, and getting it where it is missing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::backend::Feature;
use crate::machine::{Machine, PROGRAMS, Plan, Step};
use crate::process::{Failure, capture, not_started, say};
use crate::workspace;

/// The command `setup --backend openblas`.
pub(crate) fn setup() -> Result<(), Failure> {
    say(match ensure()? {
        Feature::OpenblasStatic => "OpenBLAS: the other commands will build it from source",
        _ => "OpenBLAS: the system has it, nothing is left to do",
    });
    Ok(())
}

/// Makes sure that there is an OpenBLAS to link with, and says what it does to that end.
pub(crate) fn ensure() -> Result<Feature, Failure> {
    if links()? {
        return Ok(Feature::OpenblasSystem);
    }
    say("OpenBLAS: the linker does not find it on this system");
    let machine = inspect();
    let plan = match machine.plan() {
        Plan::Install(steps) => {
            if install("OpenBLAS", &steps) && links()? {
                say("OpenBLAS: installed");
                return Ok(Feature::OpenblasSystem);
            }
            say("OpenBLAS: could not be installed");
            machine.without_packages()
        }
        other => other,
    };
    match plan {
        Plan::BuildFromSource => {
            say("OpenBLAS: to be built from source, which takes some minutes the first time");
            Ok(Feature::OpenblasStatic)
        }
        Plan::Stop(advice) => Err(Failure::new(advice)),
        Plan::Install(_) => Err(Failure::new("OpenBLAS could not be installed")),
    }
}

/// Runs the steps of an installation of something; true if it went through.
pub(crate) fn install(what: &str, steps: &[Step]) -> bool {
    steps.iter().all(|step| {
        let Some((program, arguments)) = step.words.split_first() else { return true };
        say(&format!("{what}: running {}", step.words.join(" ")));
        // The outputs of package managers are news, not results: stderr.
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status();
        step.may_fail || status.is_ok_and(|status| status.success())
    })
}

/// A program that needs CBLAS and LAPACK of OpenBLAS to link, and the library to start.
const PROBE: &str = r#"
#[link(name = "openblas")]
extern "C" {
    fn cblas_dgemm();
    fn dsyevd_();
}

fn main() {
    std::hint::black_box([cblas_dgemm as *const (), dsyevd_ as *const ()]);
}
"#;

/// Whether Rust programs link with the system's OpenBLAS and start: tried with the compiler that
/// builds the workspace, because headers and package databases tell less than the linker.
fn links() -> Result<bool, Failure> {
    let folder = workspace::target_directory()?.join("openblas-probe");
    let unwritable = |error: std::io::Error| {
        Failure::new(format!("{} cannot be written: {error}", folder.display()))
    };
    std::fs::create_dir_all(&folder).map_err(unwritable)?;
    // Commands that run at the same time do not meet.
    let program = folder.join(std::process::id().to_string());
    let found = compile(&program)? && starts(&program);
    if program.exists() {
        std::fs::remove_file(&program).map_err(unwritable)?;
    }
    Ok(found)
}

fn compile(program: &Path) -> Result<bool, Failure> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(["--edition", "2021", "--crate-name", "openblas_probe", "-o"]).arg(program);
    for folder in library_folders() {
        command.arg("-L").arg(folder);
    }
    command.arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| not_started(&command, &error))?;
    if let Some(mut source) = child.stdin.take() {
        // A compiler that does not read its source ends with a status that says so.
        let _ = source.write_all(PROBE.as_bytes());
    }
    let status = child.wait().map_err(|error| not_started(&command, &error))?;
    Ok(status.success())
}

fn starts(program: &Path) -> bool {
    capture(&mut Command::new(program)).is_ok_and(|output| output.status.success())
}

/// Where the build of openblas-src looks beyond the linker's own folders: pkg-config, and
/// Homebrew's OpenBLAS, which macOS keeps out of the way of its own BLAS.
fn library_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        printed_by(Command::new("pkg-config").args(["--libs-only-L", "openblas"]))
            .split_whitespace()
            .filter_map(|flag| flag.strip_prefix("-L"))
            .map(PathBuf::from)
            .collect();
    if cfg!(target_os = "macos") {
        let prefix = printed_by(Command::new("brew").args(["--prefix", "openblas"]));
        if !prefix.trim().is_empty() {
            folders.push(Path::new(prefix.trim()).join("lib"));
        }
    }
    folders
}

/// The command's stdout, or nothing where it fails or is not there.
fn printed_by(command: &mut Command) -> String {
    match capture(command) {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => String::new(),
    }
}

/// Looks at the machine.
pub(crate) fn inspect() -> Machine {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        |program: &&str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let programs: std::collections::BTreeSet<_> = PROGRAMS.into_iter().filter(on_path).collect();
    let sudo_without_password = programs.contains("sudo")
        && capture(Command::new("sudo").args(["-n", "true"]))
            .is_ok_and(|output| output.status.success());
    let root = printed_by(Command::new("id").arg("-u")).trim() == "0";
    Machine { programs, root, sudo_without_password }
}
