//! That the default build holds nothing of C.

use std::process::Stdio;

use serde_json::Value;

use crate::process::{Failure, capture, describe};
use crate::workspace;

/// What builds or finds C libraries for the build scripts that use it.
const TOOLS: [&str; 5] = ["bindgen", "cc", "cmake", "pkg-config", "vcpkg"];

/// Packages that only look like bindings to C.
const PURE_RUST: [&str; 3] = [
    // Its `links` sees to it that a program has one version of it.
    "rayon-core",
    // The numbers and structures of the kernel's interface.
    "linux-raw-sys",
    // Windows itself, which every program calls there; no compiler is needed.
    "windows-sys",
];

/// Checks the packages that cargo would build for this machine, those of the tests included, as
/// they too have to compile where there is no C. A package is refused
/// - where its manifest has a `links`, with which cargo wants native libraries to be declared,
/// - where its name ends with `-sys`, as not all declare it, `cblas-sys` and `lapack-sys` among them,
/// - where it is one of [`TOOLS`],
///
/// unless [`PURE_RUST`] names it.
pub(crate) fn check() -> Result<(), Failure> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--format-version", "1", "--filter-platform", &host()?]);
    let output = capture(command.stderr(Stdio::inherit()))?;
    if !output.status.success() {
        return Err(Failure::of_child(&command, output.status));
    }
    let found = serde_json::from_slice(&output.stdout)
        .ok()
        .and_then(|metadata: Value| offenders(&metadata))
        .ok_or_else(|| Failure::new(format!("`{}` lists no packages", describe(&command))))?;
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the default build must hold nothing of C, but holds {}; \
         `cargo tree --workspace --invert NAME` tells for whom",
        found.join(", ")
    )))
}

/// The packages that are refused, or nothing where the metadata has no packages.
fn offenders(metadata: &Value) -> Option<Vec<String>> {
    let packages = metadata["packages"].as_array()?;
    let refused = packages.iter().filter_map(|package| {
        let name = package["name"].as_str()?;
        let of_c = package["links"].is_string() || name.ends_with("-sys") || TOOLS.contains(&name);
        (of_c && !PURE_RUST.contains(&name)).then(|| name.to_owned())
    });
    Some(refused.collect())
}

/// This machine, as cargo calls it.
fn host() -> Result<String, Failure> {
    let mut command = workspace::cargo();
    let output = capture(command.arg("-vV"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("`{}` names no host", describe(&command))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_names_and_tools_are_refused_unless_known_to_be_pure_rust() {
        let package = |name: &str, links: Value| json!({ "name": name, "links": links });
        let metadata = json!({ "packages": [
            package("faer", Value::Null),
            package("rayon-core", json!("rayon-core")),
            package("linux-raw-sys", Value::Null),
            package("openblas-src", json!("openblas")),
            package("lapack-sys", Value::Null),
            package("cc", Value::Null),
            package("syslog", Value::Null),
        ]});
        assert_eq!(offenders(&metadata).unwrap(), ["openblas-src", "lapack-sys", "cc"]);
        assert_eq!(offenders(&json!({})), None);
    }

    #[test]
    fn the_host_is_a_target() {
        let host = host().unwrap();
        assert!(host.split('-').count() >= 3, "{host}");
    }
}
