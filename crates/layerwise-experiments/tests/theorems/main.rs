//! Statements: as properties, without their assumptions, on wrong steps, and as a command.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a call that fails is a test that fails")]

mod assumptions;
mod folder;
mod mutations;
mod properties;
mod single_index;
