//! Slurm, on which the tests run jobs where it is there.

use std::path::PathBuf;

use crate::machine::{Machine, Step};
use crate::openblas::{inspect, install};
use crate::process::{Failure, say};

/// What the tests start and call.
const PROGRAMS: [&str; 6] = ["slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol"];

/// Whether all of its programs are there.
pub(crate) fn is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons lie beside what a user's path has.
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .collect();
    PROGRAMS.iter().all(|program| folders.iter().any(|folder| folder.join(program).is_file()))
}

/// The command `setup --slurm`.
pub(crate) fn setup() -> Result<(), Failure> {
    if is_there() {
        say("Slurm: it is there, nothing is left to do");
        return Ok(());
    }
    let machine = inspect();
    if may_install(&machine) && install("Slurm", &steps(&machine)) && is_there() {
        say("Slurm: installed");
        return Ok(());
    }
    Err(Failure::new(advice(&machine)))
}

fn may_install(machine: &Machine) -> bool {
    machine.has("apt-get") && (machine.root || machine.sudo_without_password)
}

fn steps(machine: &Machine) -> Vec<Step> {
    let sudo: &[&str] = match (machine.root, machine.sudo_without_password) {
        (true, _) => &[],
        (false, true) => &["sudo", "-n"],
        (false, false) => &["sudo"],
    };
    [
        // The lists of packages are missing in fresh containers, and stale elsewhere.
        ("apt-get update --quiet", true),
        ("env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes slurm-wlm munge", false),
    ]
    .map(|(words, may_fail)| Step::new(words, may_fail).with_prefix(sudo))
    .into()
}

/// The one command to type.
fn advice(machine: &Machine) -> String {
    if !machine.has("apt-get") {
        return "Slurm is missing, and apt-get is not there to install it: install Slurm (slurmctld, \
                slurmd, sbatch) and munge with this system's package manager"
            .to_owned();
    }
    let typed: Vec<String> = steps(machine).into_iter().map(|step| step.words.join(" ")).collect();
    let reason = match may_install(machine) {
        true => "could not be installed",
        false => "needs root or passwordless sudo to be installed",
    };
    format!("Slurm is missing, and {reason}: run `{}`", typed.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(root: bool, sudo_without_password: bool) -> Vec<String> {
        let machine = Machine { root, sudo_without_password, ..Machine::default() };
        steps(&machine).into_iter().map(|step| step.words.join(" ")).collect()
    }

    #[test]
    fn rights_are_used_as_they_are() {
        assert!(typed(true, false)[1].starts_with("env DEBIAN_FRONTEND=noninteractive apt-get"));
        assert!(typed(false, true).iter().all(|step| step.starts_with("sudo -n ")));
        assert!(typed(false, false).iter().all(|step| step.starts_with("sudo apt-get")
            || step.starts_with("sudo env DEBIAN_FRONTEND=noninteractive apt-get")));
    }

    #[test]
    fn who_may_not_install_is_told_what_to_type_on_one_line() {
        let machine = Machine { programs: ["apt-get"].into(), ..Machine::default() };
        assert!(!may_install(&machine));
        let advice = advice(&machine);
        assert!(advice.contains("run `sudo apt-get update") && !advice.contains('\n'), "{advice}");
        let other = super::advice(&Machine { root: true, ..Machine::default() });
        assert!(other.contains("apt-get is not there") && !other.contains('\n'), "{other}");
    }
}
