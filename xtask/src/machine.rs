//! How OpenBLAS may be had on a machine: by which package manager, with which rights, or else
//! from source. Decisions alone; `openblas` carries them out.

use std::collections::BTreeSet;

/// Programs whose presence decides.
pub(crate) const PROGRAMS: [&str; 12] = [
    "apt-get",
    "dnf",
    "pacman",
    "brew",
    "sudo",
    "make",
    "cc",
    "gcc",
    "gfortran",
    "flang",
    "flang-new",
    "ifort",
];

/// What is known of the machine and of the user's rights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// Those of [`PROGRAMS`] that are on the path.
    pub(crate) programs: BTreeSet<&'static str>,
    /// The user is root.
    pub(crate) root: bool,
    /// `sudo` works without asking for a password.
    pub(crate) sudo_without_password: bool,
}

/// A package manager that has OpenBLAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Pacman,
    Brew,
}

impl Manager {
    const ALL: [Self; 4] = [Self::Apt, Self::Dnf, Self::Pacman, Self::Brew];

    fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Brew => "brew",
        }
    }

    /// What to run, in order: OpenBLAS with what is needed to link it, and pkg-config, by which
    /// its build finds it.
    fn steps(self) -> Vec<Step> {
        match self {
            // The lists of packages are missing in fresh containers, and stale elsewhere.
            Self::Apt => vec![
                Step::new("apt-get update --quiet", true),
                Step::new(
                    "env DEBIAN_FRONTEND=noninteractive \
                     apt-get install --quiet --yes libopenblas-dev pkg-config",
                    false,
                ),
            ],
            Self::Dnf => {
                vec![Step::new("dnf install --assumeyes openblas-devel pkgconf-pkg-config", false)]
            }
            Self::Pacman => {
                vec![Step::new("pacman -Sy --noconfirm --needed openblas pkgconf", false)]
            }
            // openblas-src asks Homebrew for both libraries.
            Self::Brew => vec![Step::new("brew install openblas libomp pkgconf", false)],
        }
    }

    /// Homebrew refuses to be root; the others ask for it.
    fn needs_root(self) -> bool {
        self != Self::Brew
    }
}

/// One command of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Program and arguments.
    pub(crate) words: Vec<String>,
    /// Whether the next step is worth trying where this one fails.
    pub(crate) may_fail: bool,
}

impl Step {
    pub(crate) fn new(words: &str, may_fail: bool) -> Self {
        Self { words: words.split_whitespace().map(str::to_owned).collect(), may_fail }
    }

    pub(crate) fn with_prefix(mut self, prefix: &[&str]) -> Self {
        self.words.splice(0..0, prefix.iter().map(|&word| word.to_owned()));
        self
    }
}

/// What to do where the linker finds no OpenBLAS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Run these, then look again; if it is still missing, go by [`Machine::without_packages`].
    Install(Vec<Step>),
    /// Let cargo build it.
    BuildFromSource,
    /// Neither is possible: say this.
    Stop(String),
}

impl Machine {
    /// The first plan.
    pub(crate) fn plan(&self) -> Plan {
        match self.manager() {
            Some(manager) if self.may_run(manager) => Plan::Install(
                manager.steps().into_iter().map(|step| self.with_rights(manager, step)).collect(),
            ),
            _ => self.without_packages(),
        }
    }

    /// The plan where packages cannot be installed.
    pub(crate) fn without_packages(&self) -> Plan {
        if self.can_build() { Plan::BuildFromSource } else { Plan::Stop(self.advice()) }
    }

    pub(crate) fn has(&self, program: &str) -> bool {
        self.programs.contains(program)
    }

    fn manager(&self) -> Option<Manager> {
        Manager::ALL.into_iter().find(|manager| self.has(manager.program()))
    }

    fn may_run(&self, manager: Manager) -> bool {
        if manager.needs_root() { self.root || self.sudo_without_password } else { !self.root }
    }

    fn with_rights(&self, manager: Manager, step: Step) -> Step {
        if manager.needs_root() && !self.root { step.with_prefix(&["sudo", "-n"]) } else { step }
    }

    fn can_build(&self) -> bool {
        let any = |programs: &[&str]| programs.iter().any(|program| self.has(program));
        self.has("make") && any(&["cc", "gcc"]) && any(&["gfortran", "flang", "flang-new", "ifort"])
    }

    /// The one command to type.
    fn advice(&self) -> String {
        let Some(manager) = self.manager() else {
            return "OpenBLAS is missing, and none of apt-get, dnf, pacman and brew is there to \
                    install it: install OpenBLAS with its development files and pkg-config, or a \
                    C and a Fortran compiler and make to have it built from source"
                .to_owned();
        };
        let prefix: &[&str] = if manager.needs_root() && !self.root { &["sudo"] } else { &[] };
        let steps = manager.steps().into_iter();
        let typed: Vec<String> =
            steps.map(|step| step.with_prefix(prefix).words.join(" ")).collect();
        let reason = match (self.may_run(manager), self.root) {
            (true, _) => "could not be installed",
            (false, true) => "cannot be installed by root with Homebrew",
            (false, false) => "needs root or passwordless sudo to be installed",
        };
        format!(
            "OpenBLAS is missing, {reason}, and cannot be built from source (that needs make and \
             a C and a Fortran compiler): run `{}`, then this command again",
            typed.join(" && ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(programs: &[&'static str]) -> Machine {
        Machine { programs: programs.iter().copied().collect(), ..Machine::default() }
    }

    fn root(programs: &[&'static str]) -> Machine {
        Machine { root: true, ..user(programs) }
    }

    fn sudoer(programs: &[&'static str]) -> Machine {
        Machine { sudo_without_password: true, ..user(programs) }
    }

    fn installed(machine: &Machine) -> Vec<String> {
        match machine.plan() {
            Plan::Install(steps) => steps.iter().map(|step| step.words.join(" ")).collect(),
            other => panic!("{machine:?}: {other:?}"),
        }
    }

    fn advice(plan: Plan) -> String {
        match plan {
            Plan::Stop(advice) => advice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn root_installs_with_the_manager_that_is_there() {
        assert_eq!(
            installed(&root(&["apt-get", "make"])),
            [
                "apt-get update --quiet",
                "env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes \
                 libopenblas-dev pkg-config",
            ]
        );
        assert_eq!(
            installed(&root(&["dnf"])),
            ["dnf install --assumeyes openblas-devel pkgconf-pkg-config"]
        );
        assert_eq!(
            installed(&root(&["pacman"])),
            ["pacman -Sy --noconfirm --needed openblas pkgconf"]
        );
    }

    #[test]
    fn root_without_sudo_needs_none() {
        assert!(installed(&root(&["apt-get"])).iter().all(|step| !step.contains("sudo")));
    }

    #[test]
    fn an_update_that_fails_does_not_end_the_installation() {
        let Plan::Install(steps) = root(&["apt-get"]).plan() else { panic!("no installation") };
        assert_eq!(steps.iter().map(|step| step.may_fail).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_user_with_passwordless_sudo_installs_through_it_and_never_waits_for_a_password() {
        let steps = installed(&sudoer(&["apt-get", "sudo"]));
        assert!(steps.iter().all(|step| step.starts_with("sudo -n ")), "{steps:?}");
        // sudo drops the variables of its caller, so the variable must come after it.
        assert!(steps[1].starts_with("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get"));
    }

    #[test]
    fn homebrew_runs_as_the_user_and_never_as_root() {
        let step = "brew install openblas libomp pkgconf";
        assert_eq!(installed(&user(&["brew"])), [step]);
        assert_eq!(installed(&sudoer(&["brew", "sudo"])), [step]);
        let advice = advice(root(&["brew"]).plan());
        assert!(advice.contains("cannot be installed by root with Homebrew"), "{advice}");
    }

    #[test]
    fn the_systems_own_manager_comes_before_homebrew() {
        assert!(installed(&root(&["apt-get", "brew"]))[0].starts_with("apt-get"));
    }

    #[test]
    fn a_user_without_rights_builds_from_source_where_that_is_possible() {
        for fortran in ["gfortran", "flang", "flang-new", "ifort"] {
            let machine = user(&["apt-get", "sudo", "make", "cc", fortran]);
            assert_eq!(machine.plan(), Plan::BuildFromSource, "{fortran}");
        }
        for incomplete in [["make", "cc"], ["make", "gfortran"], ["cc", "gfortran"]] {
            let plan = user(&incomplete).plan();
            assert!(matches!(plan, Plan::Stop(_)), "{incomplete:?}: {plan:?}");
        }
    }

    #[test]
    fn a_machine_without_packages_builds_from_source_or_stops() {
        let machine = root(&["make", "gcc", "gfortran"]);
        assert_eq!(machine.plan(), Plan::BuildFromSource);
        let advice = advice(root(&[]).plan());
        assert!(advice.contains("none of apt-get, dnf, pacman and brew"), "{advice}");
    }

    #[test]
    fn an_installation_that_failed_falls_back_or_stops() {
        let tools = root(&["apt-get", "make", "cc", "gfortran"]);
        assert_eq!(tools.without_packages(), Plan::BuildFromSource);
        let advice = advice(root(&["apt-get"]).without_packages());
        assert!(advice.contains("could not be installed"), "{advice}");
    }

    #[test]
    fn who_may_not_install_is_told_the_one_command_to_type_on_one_line() {
        let advice = advice(user(&["apt-get", "sudo"]).plan());
        assert!(
            advice.ends_with(
                "run `sudo apt-get update --quiet && sudo env DEBIAN_FRONTEND=noninteractive \
                 apt-get install --quiet --yes libopenblas-dev pkg-config`, then this command again"
            ),
            "{advice}"
        );
        assert!(!advice.contains('\n'));
    }
}
