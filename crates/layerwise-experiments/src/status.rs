//! Exit statuses of the program, and its answers.

use std::io::{ErrorKind, Write};

use crate::{ExperimentError, Result};

/// Done.
pub const SUCCESS: u8 = 0;
/// Something failed: the results, or the words about them, could not be made or written.
pub const FAILURE: u8 = 1;
/// The arguments are not valid.
pub const USAGE: u8 = 2;
/// All files are written, but with `--require-claims` a claim does not hold, or a statement fails; or what
/// was reported is not what is computed now.
pub const CLAIM_FAILED: u8 = 3;
/// Interrupted by the user.
pub const INTERRUPTED: u8 = 130;

/// Says something where answers go. A reader that has gone away has seen what it wanted.
///
/// # Errors
/// [`ExperimentError::Io`] where it cannot be written for another reason.
pub(crate) fn say_on(out: &mut impl Write, text: &str) -> Result<u8> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(ExperimentError::Io { path: "standard output".into(), source: e })
        }
        _ => Ok(SUCCESS),
    }
}
