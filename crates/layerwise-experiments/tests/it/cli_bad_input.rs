//! What a user can get wrong: each mistake is one line on stderr, a status, and nothing written.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use layerwise_experiments::backend::Backend;

/// The cheapest run there is.
const SMALL: [&str; 6] = ["figures", "--quick", "--trials", "1", "--only", "2"];

fn layerwise(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerwise"));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn run<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
    layerwise(folder).args(arguments).output().unwrap()
}

/// The names in a folder, hidden ones too, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Checks status and form of a failure; returns its line without `error: `.
fn complaint(output: &Output, status: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let line = text.strip_prefix("error: ").unwrap_or_else(|| panic!("{text:?}"));
    let line = line.strip_suffix('\n').unwrap_or_else(|| panic!("{text:?}"));
    assert!(!line.contains('\n') && !line.contains("error:"), "{text:?}");
    line.to_string()
}

#[test]
fn a_backend_that_is_not_there_is_refused_with_what_to_type() {
    let folder = tempfile::tempdir().unwrap();
    let (other, serves) = match Backend::serving() {
        Backend::PureRust => ("openblas", "pure-rust"),
        Backend::Openblas => ("pure-rust", "openblas"),
    };
    for command in ["figures", "theorems"] {
        let line = complaint(&run(folder.path(), [command, "--backend", other]), 2);
        assert_eq!(
            line,
            format!(
                "this program was built with {serves}, not {other}: \
                 type `cargo xtask {command} --backend {other}`"
            )
        );
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
#[cfg(any(feature = "openblas-system", feature = "openblas-static"))]
fn a_kernel_that_openblas_does_not_know_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = layerwise(folder.path());
    let output = command.args(SMALL).env("OPENBLAS_CORETYPE", "Foo").output().unwrap();
    // OpenBLAS itself complains of the variable first.
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let line = text.lines().last().unwrap();
    assert!(line.starts_with("error: OPENBLAS_CORETYPE=Foo is not a kernel of this"), "{text}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn arguments_are_refused_with_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let figures = "choose among 1,2,3,4,5,6";
    let trials = "from 1 to 10000000";
    let threads = "from 1 to 1024";
    let seed = "from 0 to 18446744073709551615";
    for (arguments, says) in [
        (&["--only", "7"][..], figures),
        (&["--only", "0"], figures),
        (&["--only", ""], figures),
        (&["--only", "1,"], figures),
        (&["--only", "x"], figures),
        (&["--only", "1\n\n2"], figures),
        (&["--only", "256"], figures),
        (&["--only", "1,1"], "figure 1 is named twice"),
        (&["--only", "3, 1,03"], "figure 3 is named twice"),
        (&["--only"], "a value is required for '--only <LIST>'"),
        (&["--trials", "0"], trials),
        (&["--trials", "-1"], trials),
        (&["--trials", "1e3"], trials),
        (&["--trials", "10000001"], trials),
        (&["--trials", "99999999999999999999"], trials),
        (&["--threads", "0"], threads),
        (&["--threads", "-3"], threads),
        (&["--threads", "65537"], threads),
        (&["--seed", "-1"], seed),
        (&["--seed", "18446744073709551616"], seed),
        (&["--out", ""], "a value is required for '--out <DIR>'"),
        (&["--backend", "blas"], "[possible values: pure-rust, openblas]"),
        (&["--backend"], "a value is required for '--backend <B>'"),
        (&["--bogus"], "unexpected argument '--bogus'"),
        (&["extra"], "unexpected argument 'extra'"),
    ] {
        let line = complaint(&run(folder.path(), [&["figures"], arguments].concat()), 2);
        assert!(line.contains(says), "{arguments:?}: {line}");
        if let [name, value] = arguments
            && !value.is_empty()
            && !value.contains('\n')
        {
            assert!(line.contains(name) && line.contains(value), "{arguments:?}: {line}");
        }
    }
    assert!(complaint(&run(folder.path(), [] as [&str; 0]), 2).contains("layerwise figures"));
    assert!(complaint(&run(folder.path(), ["figure"]), 2).contains("'figure'"));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn help_and_version_are_answers() {
    let folder = tempfile::tempdir().unwrap();
    for (argument, says) in [("--help", "figures"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = run(folder.path(), [argument]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(says));
        assert!(output.stderr.is_empty());
    }
}

/// Runs the small run with a further `--out`, which has to be refused; returns the line.
fn refused(folder: &Path, out: &str) -> String {
    complaint(&run(folder, SMALL.into_iter().chain(["--out", out])), 1)
}

#[test]
fn a_place_that_is_no_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "mine").unwrap();
    assert!(refused(folder.path(), "file").contains("file: is not a folder"));
    assert!(refused(folder.path(), "file/deeper/still").contains("Not a directory"));
    assert_eq!(names(folder.path()), ["file"]);
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "mine");
}

#[cfg(unix)]
#[test]
fn a_path_with_a_line_break_is_still_one_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("two\nlines"), "").unwrap();
    assert!(refused(folder.path(), "two\nlines").contains("two lines: is not a folder"));
}

#[test]
fn a_folder_that_another_run_writes_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let lock = File::open(&out).unwrap();
    lock.try_lock().unwrap();
    assert!(refused(folder.path(), "out").contains("is being written by another run"));
    assert_eq!(names(&out), [""; 0]);
}

#[test]
fn what_is_not_ours_is_refused_before_anything_is_run() {
    for (name, content, says) in [
        ("figure2.json", "{", "figure2.json: is not an experiment's data"),
        ("figure2.json", "[1, 2]", "figure2.json: is not an experiment's data"),
        ("figure2.json", "\u{0}\u{1}", "figure2.json: is not an experiment's data"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        assert!(refused(folder.path(), ".").contains(says));
        assert_eq!(names(folder.path()), [name]);
    }
    for name in ["figure2.png", "figure2.json", "claims.md"] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(name)).unwrap();
        let line = refused(folder.path(), ".");
        assert!(line.contains(&format!("holds a folder {name}")), "{line}");
        assert_eq!(names(folder.path()), [name]);
    }
}

/// Permissions do not bind root, so this asks first.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o555)).unwrap();
    if File::create(out.join("probe")).is_ok() {
        return;
    }
    assert!(refused(folder.path(), "out").contains("out: cannot be written to"));
    assert!(refused(folder.path(), "out/new").contains("out/new: cannot be made"));
    assert_eq!(names(&out), [""; 0]);
}
