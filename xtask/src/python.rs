//! A Python environment with pinned packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::process::{Failure, capture, output, say};

/// The interpreter of the virtual environment in the folder `home`, which is made unless it is whole and of
/// the same requirements.
pub(crate) fn environment(home: &Path, file: &Path) -> Result<PathBuf, Failure> {
    let python = home.join(if cfg!(windows) { r"Scripts\python.exe" } else { "bin/python" });
    let requirements = fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", file.display())))?;
    let stamp = home.join("requirements.txt");
    if is_whole(&stamp, &requirements) && python.is_file() {
        return Ok(python);
    }
    let unwritable =
        |error: io::Error| Failure::new(format!("{} cannot be written: {error}", home.display()));
    remove(&stamp, home).map_err(unwritable)?;
    say(&format!("peers: installing NumPy and PyTorch, some 2.5 GB, in {}", home.display()));
    let needed =
        "install Python 3.11 or newer with venv (Debian, Ubuntu: apt-get install python3-venv)";
    let mut command = Command::new(if cfg!(windows) { "python" } else { "python3" });
    let made = capture(command.args(["-m", "venv"]).arg(home));
    let why = match made {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some("python3 cannot make a virtual environment".to_owned()),
        Err(failure) => Some(failure.message),
    };
    if let Some(why) = why {
        return Err(Failure::new(format!("{why}: {needed}")));
    }
    let mut command = Command::new(&python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    let name = format!("pip, which needs PyPI and Python 3.11 or newer for {},", file.display());
    output(command.args(["--no-deps", "--requirement"]).arg(file), &name)?;
    fs::write(&stamp, &requirements).map_err(unwritable)?;
    Ok(python)
}

/// Whether the environment was finished, with these requirements.
fn is_whole(stamp: &Path, requirements: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|text| text == requirements)
}

/// Removes an environment, its stamp first: what is left of it if that fails is not taken for whole.
fn remove(stamp: &Path, home: &Path) -> io::Result<()> {
    for result in [fs::remove_file(stamp), fs::remove_dir_all(home)] {
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_environment_of_the_same_requirements_is_used() {
        let home = std::env::temp_dir().join(format!("xtask-python-{}", std::process::id()));
        let stamp = home.join("requirements.txt");
        fs::create_dir_all(&home).unwrap();
        assert!(!is_whole(&stamp, "numpy==2"));
        fs::write(&stamp, "numpy==2").unwrap();
        assert!(is_whole(&stamp, "numpy==2"));
        assert!(!is_whole(&stamp, "numpy==3"));
        remove(&stamp, &home).unwrap();
        assert!(!home.exists());
        remove(&stamp, &home).unwrap();
    }
}
