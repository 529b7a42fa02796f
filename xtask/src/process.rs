//! Child processes and how they fail.

use std::io::{self, Write};
use std::process::{Command, ExitStatus, Output, Stdio};

/// Why a command of this program ends with a status other than 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One line: what is wrong, where, and what is allowed.
    pub(crate) message: String,
    /// The status this program ends with; never 0.
    pub(crate) status: u8,
}

impl Failure {
    /// The status for arguments that are not understood.
    pub(crate) const USAGE: u8 = 2;

    /// A failure of our own, with status 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// The failure of a child, whose status becomes ours.
    pub(crate) fn of_child(command: &Command, status: ExitStatus) -> Self {
        let shown = describe(command);
        match status.code() {
            Some(code) => Self {
                message: format!("`{shown}` ended with status {code}"),
                status: u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1),
            },
            None => {
                let signal = signal(status);
                Self {
                    message: format!("`{shown}` was ended by signal {signal}"),
                    status: u8::try_from(128 + signal).unwrap_or(1),
                }
            }
        }
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> i32 {
    std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> i32 {
    0
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.display(), quote(&value.to_string_lossy())))
    });
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program)
        .chain(command.get_args())
        .map(|word| quote(&word.to_string_lossy()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

/// The word in quotes where a shell would take it apart.
fn quote(word: &str) -> String {
    if word.is_empty() || word.contains([' ', '*', '\'', '"', '$', ';', '&', '|']) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.to_owned()
    }
}

/// Runs the command with our own input and outputs; any status but 0 is a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::of_child(command, status)),
        Err(error) => Err(not_started(command, &error)),
    }
}

/// Runs the command without input and collects what it prints, whatever its status.
pub(crate) fn capture(command: &mut Command) -> Result<Output, Failure> {
    command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))
}

pub(crate) fn not_started(command: &Command, error: &io::Error) -> Failure {
    Failure::new(format!("`{}` could not be started: {error}", describe(command)))
}

/// Prints a line on stderr; one that nobody can read is lost without harm.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The stdout of a program, or its last word on stderr.
pub(crate) fn output(command: &mut Command, name: &str) -> Result<String, Failure> {
    let output = capture(command)?;
    if !output.status.success() {
        let failure = Failure::of_child(command, output.status);
        let word = last_line(&output.stderr);
        return Err(Failure { message: format!("{name} failed: {word}"), ..failure });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.trim_end().lines().last().unwrap_or("it does not say why").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/opt/bin/cargo");
        command.args(["bench", "--bench", "*", "it's"]).env("RUSTDOCFLAGS", "-D warnings");
        command.env_remove("CARGO_PKG_NAME");
        let typed = r"RUSTDOCFLAGS='-D warnings' cargo bench --bench '*' 'it'\''s'";
        assert_eq!(describe(&command), typed);
    }

    #[test]
    #[cfg(unix)]
    fn the_status_of_a_child_is_ours() {
        let failure = |script| run(Command::new("sh").args(["-c", script])).unwrap_err();
        assert_eq!(failure("exit 7").status, 7);
        assert_eq!(failure("exit 7").message, "`sh -c 'exit 7'` ended with status 7");
        assert_eq!(failure("kill -TERM $$").status, 128 + 15);
        assert_eq!(run(&mut Command::new("true")), Ok(()));
    }

    #[test]
    fn a_missing_program_is_a_failure() {
        let failure = run(&mut Command::new("layerwise-no-such-program")).unwrap_err();
        assert_eq!(failure.status, 1);
        assert!(failure.message.starts_with("`layerwise-no-such-program` could not be started"));
    }
}
