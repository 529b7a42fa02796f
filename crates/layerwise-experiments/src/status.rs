//! Exit statuses of the program.

/// Done.
pub const SUCCESS: u8 = 0;
/// Something failed: the results, or the words about them, could not be made or written.
pub const FAILURE: u8 = 1;
/// The arguments are not valid.
pub const USAGE: u8 = 2;
/// All files are written, but with `--require-claims` a claim does not hold, or a statement fails.
pub const CLAIM_FAILED: u8 = 3;
/// Interrupted by the user.
pub const INTERRUPTED: u8 = 130;
